"""Fakes of edge's ports; those of stores pass the same suite as SQL."""
