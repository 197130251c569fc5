"""What runs in the background of this process: says that it still runs, and ends what was cancelled elsewhere."""

import asyncio
import logging
from typing import Final, Protocol

from tollgate_kit.clock import Clock
from tollgate_kit.lifecycle import forever
from tollgate_router.errors import StoreUnavailable
from tollgate_router.ports import ResponseStore

log = logging.getLogger(__name__)

# How long a response is believed to run after its process was heard of last.
LEASE_US: Final = 30_000_000
# How much more of a response may be made after it was cancelled through another process.
_LOOK_SECONDS: Final = 1.0

# Project and id of a response.
Key = tuple[str, str]


class Running(Protocol):
    """A response that runs here; `begun` when a provider answers."""

    key: Key
    begun: bool

    def stop(self) -> None:
        """Its owner does not want it any more. Never raises."""
        ...


class WatchBackground:
    """One per process. What is added is removed by itself when it has ended."""

    def __init__(self, store: ResponseStore, clock: Clock) -> None:
        self.running: dict[Key, Running] = {}
        self._store = store
        self._clock = clock
        self._told: set[Key] = set()
        self._away = False

    def add(self, one: Running) -> None:
        """It runs here from now on."""
        self.running[one.key] = one

    def remove(self, one: Running) -> None:
        """It has ended."""
        self.running.pop(one.key, None)
        self._told.discard(one.key)

    def stop(self, key: Key) -> None:
        """Its owner cancelled a response, or deleted it; one that runs elsewhere is not known here."""
        if (one := self.running.get(key)) is not None:
            one.stop()

    async def run(self, stopping: asyncio.Event) -> None:
        """Looks after what runs until `stopping`."""
        await forever("looking after the background", self.look, pause_seconds=_LOOK_SECONDS, stopping=stopping)

    async def look(self) -> None:
        """Says once of all that it runs, and stops what does not any more."""
        if not self.running:
            return
        keys = set(self.running)
        begun = {key for key in keys - self._told if self.running[key].begun}
        now = self._clock.now_us()
        try:
            alive = await self._store.renew(keys, begun, now, now + LEASE_US)
        except StoreUnavailable as error:
            if not self._away:
                log.warning("running responses cannot be looked after", extra={"fields": {"error": str(error)}})
            self._away = True
            return
        self._away = False
        self._told |= begun & set(self.running)
        for key in keys - alive:
            self.stop(key)
