"""When the next write of a stream leaves: at once where the last one is old enough, else by one timer."""

import asyncio
from typing import Final

# Timers of the loop go by milliseconds: a wait of less would be a turn of the loop, again and again.
_TICK_SECONDS: Final = 0.0005


class Pace:
    """Keeps writes `short` seconds apart when something urgent waits, `long` seconds when nothing does.

    A writer waits for `due`, calls `leaves`, writes, and calls `left`. Needs a running loop when it is made.
    """

    __slots__ = ("_at", "_last", "_long", "_loop", "_short", "_timer", "due")

    def __init__(self, short: float, long: float) -> None:
        self.due = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._short, self._long = short, long
        self._last = self._loop.time() - long
        # When the next write is due: never while nothing waits, nor again while one is under way.
        self._at = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def waits(self, urgent: bool) -> None:  # noqa: FBT001 - the one thing that is said.
        """Something waits to be written; to be called when it is the first, or the first that is urgent."""
        at = self._last + (self._short if urgent else self._long)
        if at >= self._at:
            return
        self._at = at
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = at - self._loop.time()
        if delay < _TICK_SECONDS:
            self.due.set()
        else:
            self._timer = self._loop.call_later(delay, self.due.set)

    def leaves(self) -> None:
        """A write begins, of all that waits; what comes meanwhile waits until it has left."""
        self._at, self._timer = float("-inf"), None
        self.due.clear()

    def left(self, *, busy: bool = False) -> None:
        """The write is done; the next one waits twice as long where streams are `busy`."""
        self._last, self._at = self._loop.time() + self._short * busy, float("inf")
