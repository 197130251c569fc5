"""Replies that callers do not take: who takes nothing for too long is closed, and who holds too much of the memory."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol


class Reader(Protocol):
    """A connection that replies are written to. `taken_at`: its caller took something then, or had nothing to take."""

    taken_at: float

    def unread(self, now: float) -> int:
        """Returns how many bytes wait for the caller at `now` of the loop's clock."""
        ...

    def drop(self) -> None:
        """Closes at once; what waits is lost."""
        ...


class SlowReaders:
    """One per process, asked once a second, and at once by who has used up the room.

    `room` is what may still be written before somebody has to look: each write takes its size from it, whoever reads,
    so that between two looks no more can wait than the limit and the one write that used it up. A look finds out how
    much of it has left, and gives that back. `waiting_bytes` is what waited at the last look, in all connections.
    `closed` counts those that were closed, by why: `timeout` or `memory`.
    """

    def __init__(self, timeout_seconds: float, max_bytes: int) -> None:
        self._timeout = timeout_seconds
        self._max_bytes = max_bytes
        self.room = max_bytes
        self.waiting_bytes = 0
        self.closed = Counter(timeout=0, memory=0)

    def check(self, readers: Iterable[Reader], now: float) -> None:
        """Closes who took nothing for the whole time limit; while too much waits, also who took nothing for longest."""
        self._look(readers, now, self._max_bytes)

    def find_room(self, readers: Iterable[Reader], now: float) -> None:
        """The room is used up: looks out of turn.

        An eighth of the limit is free afterwards, so that where nobody reads at all, a walk over the connections is
        made once in so many bytes and not with every write.
        """
        self._look(readers, now, self._max_bytes - self._max_bytes // 8)

    def _look(self, readers: Iterable[Reader], now: float, most: int) -> None:
        waiting = [(reader, size) for reader in readers if (size := reader.unread(now))]
        self.waiting_bytes = sum(size for _, size in waiting)
        for reader, size in sorted(waiting, key=_by_patience):
            if now - reader.taken_at >= self._timeout:
                self._close(reader, size, "timeout")
            elif self.waiting_bytes > most:
                self._close(reader, size, "memory")
        self.room = self._max_bytes - self.waiting_bytes

    def _close(self, reader: Reader, size: int, why: str) -> None:
        self.waiting_bytes -= size
        self.closed[why] += 1
        reader.drop()


def _by_patience(found: tuple[Reader, int]) -> tuple[float, int]:
    reader, size = found
    return reader.taken_at, -size
