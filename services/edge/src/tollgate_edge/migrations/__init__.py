"""SQL that edge owns: expand first, contract a release later."""
