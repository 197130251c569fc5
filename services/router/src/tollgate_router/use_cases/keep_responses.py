"""Makes the store of responses ready, and forgets what has expired."""

import asyncio
import contextlib
import logging
from typing import Final

from tollgate_kit.clock import Clock
from tollgate_router.errors import StoreUnavailable
from tollgate_router.ports import ResponseStore

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 2.0
_PURGE_SECONDS: Final = 600.0


class KeepResponses:
    """`problem` says why responses cannot be stored now; empty while they can."""

    def __init__(self, store: ResponseStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.problem = "the store of responses is not ready yet"

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping`; a store that is away is tried again."""
        prepared = False
        while not stopping.is_set():
            seconds = _PURGE_SECONDS
            try:
                if not prepared:
                    await self._store.migrate()
                    prepared = True
                await self.forget()
                self.problem = ""
            except StoreUnavailable as error:
                seconds = _RETRY_SECONDS
                if not self.problem.endswith(str(error)):
                    log.warning("stored responses cannot be reached", extra={"fields": {"error": str(error)}})
                self.problem = f"stored responses cannot be reached: {error}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)

    async def forget(self) -> int:
        """Forgets what has expired; returns how many responses that were."""
        gone = 0
        while found := await self._store.purge(self._clock.now_us()):
            gone += found
        return gone
