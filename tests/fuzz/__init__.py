"""Random bad input for whatever reads bytes from outside: `make fuzz`; see docs/reference/fuzz-and-chaos.md."""
