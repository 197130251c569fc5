"""Models that stand beside the real thing."""
