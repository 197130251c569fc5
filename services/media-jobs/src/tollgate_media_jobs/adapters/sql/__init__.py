"""Jobs in SQL: SQLite and PostgreSQL pass the same suite."""
