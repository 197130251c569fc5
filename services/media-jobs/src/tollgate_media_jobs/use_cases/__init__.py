"""One module per verb; orchestration without I/O libraries."""
