"""Declared resources: shapes, validation with file and line, model catalogue and provider data."""
