"""What billing does, one module per verb."""
