"""Values and rules of media jobs: no I/O."""
