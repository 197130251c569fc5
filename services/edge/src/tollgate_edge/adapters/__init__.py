"""Outbound: SQL, gRPC and files."""
