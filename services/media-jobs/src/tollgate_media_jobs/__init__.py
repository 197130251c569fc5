"""Long image and video jobs, their assets and their charge."""
