"""Other gateways beside ours, on the same workloads: `make bench-peers`; see docs/reference/benchmarks.md."""
