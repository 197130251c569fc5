"""Inbound: HTTP and gRPC."""
