"""The sequence of changes, by which other processes learn what to forget."""

import sqlalchemy as sa

from tollgate_edge.adapters.sql import tables as t


def bump(connection: sa.Connection, kind: str, key_hash: str, at_us: int) -> int:
    """Writes down a change and returns its sequence; whoever changes something later waits for this commit."""
    sequence: int = connection.execute(
        t.change_counter.update()
        .where(t.change_counter.c.id == 1)
        .values(sequence=t.change_counter.c.sequence + 1)
        .returning(t.change_counter.c.sequence)
    ).scalar_one()
    connection.execute(t.changes.insert().values(sequence=sequence, kind=kind, key_hash=key_hash, changed_at_us=at_us))
    return sequence
