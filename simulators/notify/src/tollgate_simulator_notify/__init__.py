"""A stand-in for whoever takes notifications; shares no code with the product."""
