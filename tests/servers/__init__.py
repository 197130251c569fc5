"""Real servers for tests: each starts on loopback in a folder of its own and is stopped by its process id."""
