"""Channels, routes, upstream calls and the usage event of every attempt."""
