"""Long random runs over the whole product: `make chaos`; see docs/reference/chaos.md."""
