"""What billing answers over gRPC."""
