"""Outbound adapters of the router's ports."""
