"""One module per wire."""
