"""Sealing of what is kept in a database and must not be read there."""
