"""The ports over real things: SQL, Redis, the event log, object storage and providers."""
