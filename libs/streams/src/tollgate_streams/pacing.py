"""When the next write of a stream leaves: at once where the last one is old enough, else by one timer.

Sleeping in turns until then cost requests that come one by one 1.1 ms and 300 µs of processor more
(docs/reference/benchmarks.md).
"""

import asyncio
from collections.abc import Callable
from typing import Final

# Timers of the loop go by milliseconds: a wait of less would be a turn of the loop, again and again.
_TICK_SECONDS: Final = 0.0005


class Pace:
    """Keeps writes `short` seconds apart when something urgent waits, `long` seconds when nothing does.

    It calls `write`, which says with `left` when it has written. Needs a running loop when it is made.
    """

    __slots__ = ("_at", "_handle", "_last", "_long", "_loop", "_short", "_write")

    def __init__(self, short: float, long: float, write: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._short, self._long = short, long
        self._write = write
        self._last = self._loop.time() - long
        # When the next write is due: never while nothing waits.
        self._at = float("inf")
        self._handle: asyncio.Handle | None = None

    def waits(self, urgent: bool) -> None:  # noqa: FBT001 - the one thing that is said.
        """Something waits to be written; to be called when it is the first, or the first that is urgent."""
        at = self._last + (self._short if urgent else self._long)
        if at >= self._at:
            return
        self._at = at
        if self._handle is not None:
            self._handle.cancel()
        delay = at - self._loop.time()
        # Not now: what else comes in this turn of the loop goes with it.
        self._handle = (
            self._loop.call_soon(self._write) if delay < _TICK_SECONDS else self._loop.call_later(delay, self._write)
        )

    def left(self, *, busy: bool = False) -> None:
        """All that waited was written; the next write waits twice as long where streams are `busy`."""
        self._last = self._loop.time() + self._short * busy
        self.stop()

    def stop(self) -> None:
        """Nothing is due any more."""
        self._at = float("inf")
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
