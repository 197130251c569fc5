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


def test_room_is_what_the_limit_leaves_after_a_look():
    found = SlowReaders(60.0, 1000)
    assert found.room == 1000
    found.room -= 700
    found.check([Reader(300, 99.0)], 100.0)
    assert (found.room, found.waiting_bytes) == (700, 300)
    found.check([], 100.0)
    assert (found.room, found.waiting_bytes) == (1000, 0)


def test_who_looks_for_room_leaves_an_eighth_of_the_limit_free():
    found = SlowReaders(60.0, 1000)
    readers = [Reader(300, 99.0 - place) for place in range(3)]
    # At the regular look this is within the limit.
    found.check(readers, 100.0)
    assert (found.room, found.closed["memory"]) == (100, 0)
    found.room -= 101
    found.find_room(readers, 100.0)
    assert [reader.dropped for reader in readers] == [False, False, True]
    assert (found.room, found.waiting_bytes) == (400, 600)
    assert found.room >= 1000 // 8
