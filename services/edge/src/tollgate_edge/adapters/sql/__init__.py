"""Identity and configuration in SQL: SQLite and PostgreSQL pass the same suite."""
