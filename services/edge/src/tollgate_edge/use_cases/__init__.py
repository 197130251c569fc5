"""What edge does, one module per verb; no I/O library."""
