"""Whose connection is closed when replies wait for callers."""

import pytest

from tollgate_edge.inference.slow_readers import SlowReaders

pytestmark = pytest.mark.unit


class Reader:
    """A connection with so many bytes that wait, whose caller took something last at `taken_at`."""

    def __init__(self, size, taken_at):
        self.size, self.taken_at, self.dropped = size, taken_at, False

    def unread(self, now):
        if not self.size:
            self.taken_at = now
        return self.size

    def drop(self):
        self.dropped = True


def looked(readers, *, now=100.0, timeout=60.0, most=1000):
    """Returns (what still waits, closed for their time, closed for memory, places of those who were closed)."""
    found = SlowReaders(timeout, most)
    found.check(readers, now)
    dropped = [place for place, reader in enumerate(readers) if reader.dropped]
    return found.waiting_bytes, found.closed["timeout"], found.closed["memory"], dropped


def test_who_takes_what_comes_is_never_closed():
    assert looked([Reader(0, 0.0), Reader(1000, 99.0)]) == (1000, 0, 0, [])


def test_who_took_nothing_for_the_whole_limit_is_closed_whatever_waits():
    assert looked([Reader(1, 40.0), Reader(1, 40.1), Reader(1, 39.0)]) == (1, 2, 0, [0, 2])


def test_above_the_limit_those_go_first_that_took_nothing_for_longest_and_then_the_largest():
    readers = [Reader(400, 90.0), Reader(500, 99.0), Reader(300, 80.0), Reader(600, 99.0)]
    assert looked(readers) == (500, 0, 3, [0, 2, 3])


def test_time_makes_room_before_memory_is_looked_at():
    assert looked([Reader(900, 99.0), Reader(500, 30.0)]) == (900, 1, 0, [1])
