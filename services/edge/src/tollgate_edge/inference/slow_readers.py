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
    """One per process, asked once a second. `waiting_bytes` is what waited at the last look, in all connections.

    `closed` counts those that were closed, by why: `timeout` or `memory`.
    """

    def __init__(self, timeout_seconds: float, max_bytes: int) -> None:
        self._timeout = timeout_seconds
        self._max_bytes = max_bytes
        self.waiting_bytes = 0
        self.closed = Counter(timeout=0, memory=0)

    def check(self, readers: Iterable[Reader], now: float) -> None:
        """Closes who took nothing for the whole time limit; while too much waits, also who took nothing for longest."""
        waiting = [(reader, size) for reader in readers if (size := reader.unread(now))]
        self.waiting_bytes = sum(size for _, size in waiting)
        for reader, size in sorted(waiting, key=_by_patience):
            if now - reader.taken_at >= self._timeout:
                self._close(reader, size, "timeout")
            elif self.waiting_bytes > self._max_bytes:
                self._close(reader, size, "memory")

    def _close(self, reader: Reader, size: int, why: str) -> None:
        self.waiting_bytes -= size
        self.closed[why] += 1
        reader.drop()


def _by_patience(found: tuple[Reader, int]) -> tuple[float, int]:
    reader, size = found
    return reader.taken_at, -size
