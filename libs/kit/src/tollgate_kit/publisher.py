"""Takes records from the spool to the event log: batches what gathered, repeats for ever, then discards.

A record whose `send` failed may be in the log all the same, so it is marked when it is sent again.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from tollgate_kit.clock import Clock, SystemClock
from tollgate_kit.event_log.port import EventLogUnavailable, EventProducer, Headers, Record
from tollgate_kit.spool import Spool

log = logging.getLogger(__name__)

# A transaction of the embedded log costs more than its rows: of 40 records each takes 10 us, of 140 6.
_GATHER_SECONDS: Final = 0.1
_MAX_RECORDS: Final = 2_000
_MAX_BYTES: Final = 1024 * 1024
_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 5.0
_TRACE_HEADER: Final = "traceparent"

OnPublished = Callable[[bytes, int, int], None]
# Sequence in the spool, record, and when it was queued, in microseconds; where only spans need that, 0.
_Queued = tuple[int, Record, int]


class Publisher:
    """One per process. `queue` costs an append; `run` is the task that sends.

    `again` is appended to the value of a record that may be in the log already (protobuf messages concatenate).
    `on_published(traceparent, queued_us, done_us)` is called for each record that carries that header.
    """

    def __init__(
        self,
        spool: Spool,
        producer: EventProducer,
        topic: str,
        *,
        again: bytes = b"",
        gather_seconds: float = _GATHER_SECONDS,
        clock: Clock | None = None,
        on_published: OnPublished | None = None,
    ) -> None:
        self._spool = spool
        self._producer = producer
        self._topic = topic
        self._again = again
        self._gather_seconds = gather_seconds
        self._clock = clock or SystemClock()
        self._queue: deque[_Queued] = deque()
        self._sending: list[_Queued] = []
        # What is sent may be in the log already.
        self._uncertain = False
        self._wake = asyncio.Event()
        self.on_published = on_published
        self.published = 0
        self.failures = 0
        self.problem = ""

    def queue(self, sequence: int, key: bytes, value: bytes, headers: Headers = ()) -> None:
        """Takes a spooled record over; it is discarded from the spool once the log has it."""
        # Only spans need the time.
        at_us = self._clock.now_us() if headers else 0
        self._queue.append((sequence, Record(key, value, headers), at_us))
        if not self._wake.is_set():
            self._wake.set()

    def depth(self) -> int:
        """Returns how many records are on their way."""
        return len(self._queue) + len(self._sending)

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends until `stopping` and until all is sent; cancelled before, the spool keeps it for the next process."""
        stopped: asyncio.Future[bool] = asyncio.ensure_future(stopping.wait())
        delay = _FIRST_RETRY_SECONDS
        try:
            while self.depth() or not stopping.is_set():
                await self._gather(stopped)
                if await self._send_all():
                    delay = _FIRST_RETRY_SECONDS
                    continue
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_SECONDS)
        finally:
            stopped.cancel()

    async def _gather(self, stopped: asyncio.Future[bool]) -> None:
        if not self._queue and not self._sending:
            self._wake.clear()
            wake: asyncio.Future[bool] = asyncio.ensure_future(self._wake.wait())
            await asyncio.wait((wake, stopped), return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wake
        if not stopped.done() and len(self._queue) < _MAX_RECORDS:
            await asyncio.sleep(self._gather_seconds)

    async def _send_all(self) -> bool:
        """Returns False when the log could not be reached."""
        while self._sending or self._queue:
            if not self._sending:
                self._sending = self._take()
            batch = self._sending
            try:
                await self._producer.send(self._topic, [self._marked(record) for _, record, _ in batch])
            except EventLogUnavailable as error:
                self._failed(str(error))
                return False
            self._sending, self._uncertain = [], False
            self._done(batch)
        return True

    def _take(self) -> list[_Queued]:
        batch: list[_Queued] = []
        size = 0
        while self._queue and len(batch) < _MAX_RECORDS and size < _MAX_BYTES:
            queued = self._queue.popleft()
            size += len(queued[1].value)
            batch.append(queued)
        return batch

    def _marked(self, record: Record) -> Record:
        return Record(record.key, record.value + self._again, record.headers) if self._uncertain else record

    def _failed(self, problem: str) -> None:
        self.failures += 1
        if not self.problem:
            log.error("the event log is away; events stay in the spool", extra={"fields": {"error": problem}})
        self.problem = problem
        self._uncertain = True

    def _done(self, batch: list[_Queued]) -> None:
        if self.problem:
            log.warning("the event log is back")
            self.problem = ""
        self.published += len(batch)
        self._spool.discard([sequence for sequence, _, _ in batch])
        if self.on_published is None:
            return
        now = self._clock.now_us()
        for _, record, at_us in batch:
            for name, value in record.headers:
                if name == _TRACE_HEADER:
                    self.on_published(value, at_us, now)
