"""Sends what the spool holds to the event log, in batches, until the log has it."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tollgate_kit.spool import Spool

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.03
_LAST_RETRY_SECONDS: Final = 5.0
_MAX_BATCH: Final = 1000

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """One event as the log stores it."""

    key: bytes
    value: bytes
    headers: Headers = ()


class EventProducer(Protocol):
    async def send(self, topic: str, records: Sequence[Record]) -> None:
        """Returns once the log has all records durably. Raises EventLogUnavailable; sending again may double them."""
        ...

    async def close(self) -> None:
        """Gives up connections."""
        ...


class EventLogUnavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """The log did not take the records."""


class Publisher:
    """One per spool. `queue` is called from the event loop's thread and never waits."""

    def __init__(self, spool: Spool, producer: EventProducer, topic: str) -> None:
        self._spool = spool
        self._producer = producer
        self._topic = topic
        self._waiting: list[tuple[int, Record]] = []
        self._wake = asyncio.Event()

    def queue(self, sequence: int, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Sends the spool's record `sequence` as `value` with the next batch."""
        self._waiting.append((sequence, Record(key, value, headers)))
        self._wake.set()

    def depth(self) -> int:
        """Returns how many records wait."""
        return len(self._waiting)

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends until `stopping` is set and what waits is sent; a log that is away is asked again for ever."""
        delay = _PAUSE_SECONDS
        stopped = asyncio.create_task(stopping.wait())
        try:
            while self._waiting or not stopping.is_set():
                if not self._waiting:
                    woken = asyncio.create_task(self._wake.wait())
                    await asyncio.wait({stopped, woken}, return_when=asyncio.FIRST_COMPLETED)
                    woken.cancel()
                if not stopping.is_set():
                    await asyncio.sleep(delay)
                self._wake.clear()
                delay = await self._send_one_batch(delay)
        finally:
            stopped.cancel()

    async def _send_one_batch(self, delay: float) -> float:
        batch = self._waiting[:_MAX_BATCH]
        if not batch:
            return _PAUSE_SECONDS
        try:
            await self._producer.send(self._topic, [record for _, record in batch])
        except EventLogUnavailable as error:
            log.warning("the event log takes nothing, trying again", extra={"fields": {"error": str(error)}})
            return min(max(delay, 0.1) * 2, _LAST_RETRY_SECONDS)
        del self._waiting[: len(batch)]
        self._spool.discard([sequence for sequence, _ in batch])
        return _PAUSE_SECONDS
