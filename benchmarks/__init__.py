"""What a request costs: `make bench`. Prints figures, asserts none; see docs/reference/benchmarks.md."""
