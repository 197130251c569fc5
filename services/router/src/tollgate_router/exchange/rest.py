"""When the loop stands still: after a write with data of many streams, until the next one may leave.

Chunks of many streams come one by one, and each would wake the process and find its caches cold, though none leaves
before the pause between writes is over. The turn after the rest reads them all. Of 256 paced streams it takes a fifth
of edge's and router's processor time (docs/reference/benchmarks.md). What else comes meanwhile waits as long at most.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

# Streams with data in one write.
_MANY: Final = 12
# However long the pause is: no request waits for longer.
_MOST_SECONDS: Final = 0.003


class Rest:
    """One per process. `sleep` blocks the loop for so many seconds."""

    def __init__(self, pause_seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._seconds = min(pause_seconds, _MOST_SECONDS)
        self._sleep = sleep
        self._due = False

    def wrote(self, streams: int) -> None:
        """A write with data of so many streams has left; the loop rests once, after all that is due in this turn."""
        if streams >= _MANY and self._seconds and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._stand_still)

    def _stand_still(self) -> None:
        self._due = False
        self._sleep(self._seconds)
