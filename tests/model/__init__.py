"""The whole way of a usage event as a model: real code, parts in memory, crashes anywhere; docs/reference/chaos.md."""
