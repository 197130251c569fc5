"""Tells those who wait in this process that a job has moved or that there is work."""

import asyncio
import contextlib
from collections import defaultdict


class Notices:
    """Waiters by job id. A waiter registers before it reads the job, so that no move falls between the two."""

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def register(self, job_id: str) -> asyncio.Event:
        """Returns an event that is set when the job ends here."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)
        return event

    def forget(self, job_id: str, event: asyncio.Event) -> None:
        """Ends a registration."""
        waiters = self._waiters.get(job_id)
        if waiters is not None:
            waiters.discard(event)
            if not waiters:
                del self._waiters[job_id]

    def ended(self, job_id: str) -> None:
        """Wakes all who wait for the job."""
        for event in self._waiters.get(job_id, ()):
            event.set()

    @property
    def waiting(self) -> int:
        """How many jobs somebody waits for."""
        return len(self._waiters)


class Bell:
    """Rings for one loop; a ring while the loop is at work is not lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wakes the loop, now or when it comes to wait."""
        self._event.set()

    def ring_after(self, seconds: float) -> None:
        """Rings after a pause."""
        asyncio.get_running_loop().call_later(max(seconds, 0), self._event.set)

    async def wait(self, seconds: float) -> None:
        """Returns at the next ring, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        self._event.clear()
