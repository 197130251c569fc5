"""SQL that the router owns: expand first, contract a release later."""
