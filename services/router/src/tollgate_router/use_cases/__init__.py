"""What the router does besides requests."""
