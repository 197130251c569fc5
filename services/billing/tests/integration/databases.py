"""Databases of one test's own on a server that several share."""

import uuid

import clickhouse_connect


def new_clickhouse_database(dsn):
    """Makes a database; returns the DSN that names it."""
    name = f"t{uuid.uuid4().hex[:12]}"
    client = clickhouse_connect.get_client(dsn=dsn)
    client.command(f"CREATE DATABASE {name}")
    client.close()
    return f"{dsn.rpartition('/')[0]}/{name}"
