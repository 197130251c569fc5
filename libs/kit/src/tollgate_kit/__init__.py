"""Plumbing that two services need; no domain words."""
