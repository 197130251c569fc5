"""How long the machine has been on: what a process goes by that may have stood still, or slept with its machine."""

import time
from typing import Final

# Elsewhere the monotonic clock counts sleep, too.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds on a clock that never goes back and does not stop while the machine sleeps."""
    return time.clock_gettime(_CLOCK)
