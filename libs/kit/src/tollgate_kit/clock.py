"""Time as an argument: services take a `Clock`, tests hand in one that stands still."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...


class SystemClock:
    # The library's own function, without a frame of ours around it: hot paths ask several times a request.
    monotonic = staticmethod(time.monotonic)

    def now_us(self) -> int:
        return time.time_ns() // 1000


class ManualClock:
    """A clock for tests: it moves when told to."""

    def __init__(self, now_us: int = 1_764_000_000_000_000) -> None:
        self._now_us = now_us
        self._start_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def monotonic(self) -> float:
        return (self._now_us - self._start_us) / 1e6

    def advance(self, seconds: float) -> None:
        """Moves the clock forward by `seconds`."""
        self._now_us += round(seconds * 1e6)
