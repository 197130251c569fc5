"""Asks the store about keys: many in one read, one read at a time, and no more than so many a second.

A storm of keys that nobody knows, or a start with many that everybody uses, costs the database a bounded number of
reads; whoever waits behind too many others is told that keys cannot be checked now.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tollgate_edge.errors import StoreUnavailable
from tollgate_edge.ports import KeyLookup, KeyStore

_MOST_AT_ONCE: Final = 100
_Found = tuple[KeyLookup | None, int]


class KeyLookups:
    """`pause_seconds` pass between two reads; of keys that wait there are at most `most_waiting`."""

    def __init__(
        self,
        store: KeyStore,
        *,
        pause_seconds: float,
        most_waiting: int = 10_000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._pause = pause_seconds
        self._most_waiting = most_waiting
        self._sleep = sleep
        self._waiting: dict[tuple[str, ...], asyncio.Future[_Found]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, hashes: tuple[str, ...]) -> _Found:
        """Returns what one of a key's hashes belongs to, and the change sequence as of then. Raises StoreUnavailable.

        One question at a time for each key.
        """
        if len(self._waiting) >= self._most_waiting:
            raise StoreUnavailable("too many keys wait to be looked up")
        future: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        self._waiting[hashes] = future
        if self._task is None:
            self._task = asyncio.create_task(self._read_all())
        try:
            return await future
        finally:
            if self._waiting.get(hashes) is future:
                # Whoever asked waits no longer.
                del self._waiting[hashes]

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                await self._read_some()
                await self._sleep(self._pause)
        finally:
            self._task = None

    async def _read_some(self) -> None:
        some = [(hashes, self._waiting.pop(hashes)) for hashes in list(self._waiting)[:_MOST_AT_ONCE]]
        failed = StoreUnavailable("the keys could not be read")
        try:
            found, sequence = await self._store.find_keys([one for hashes, _ in some for one in hashes])
            for hashes, future in some:
                if not future.done():
                    future.set_result((next((found[one] for one in hashes if one in found), None), sequence))
        except StoreUnavailable as error:
            failed = error
        finally:
            # Whatever happened, nobody waits for ever.
            for _, future in some:
                if not future.done():
                    future.set_exception(failed)
