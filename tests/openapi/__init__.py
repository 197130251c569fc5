"""The published description of the API against the running product, by schemathesis from a lock of its own."""
