"""SQL that media-jobs owns: expand first, contract a release later."""
