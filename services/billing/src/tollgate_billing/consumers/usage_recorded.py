"""Reads usage.recorded.v1 and books it in batches: intent, write, book, commit, one batch at a time.

The loop never skips: a batch that cannot be finished is tried again until it is, and nothing is read meanwhile.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.trace import SpanKind

from tollgate_billing.domain.event import MAX_BATCH_EVENTS
from tollgate_billing.domain.intent import Bounds, Intent, parse_intent
from tollgate_billing.errors import Unavailable
from tollgate_billing.ports import Ledger
from tollgate_billing.telemetry import SPAN_RECORD, BillingCounters
from tollgate_billing.use_cases.keep_wallets import Turns
from tollgate_billing.use_cases.record_batch import Batch, RecordBatch, SourceState
from tollgate_kit.clock import Clock
from tollgate_kit.event_log import Claim, EventConsumer, EventLogUnavailable, OwnershipLost, Stored
from tollgate_kit.tracing import SpanRecord, Tracing, format_traceparent, new_span_id, parse_traceparent

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS: Final = 0.2
_LAST_RETRY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_LAG_SECONDS: Final = 2.0
# How many full batches may wait, of all partitions together.
_MOST_WAITING: Final = 4


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch closes at the first of these."""

    events: int
    size_bytes: int
    age_seconds: float


@dataclass(slots=True)
class Intake:
    """What was read of a claim and is not booked yet."""

    claim: Claim
    owner: str
    resume: Intent | None
    # One beyond the last record that was booked.
    position: int
    state: SourceState = field(default_factory=SourceState)
    records: list[Stored] = field(default_factory=list)
    size_bytes: int = 0
    since: float = 0.0

    def add(self, record: Stored, now: float) -> None:
        """Takes a record in, at `now` of the monotonic clock."""
        if not self.records:
            self.since = now
        self.records.append(record)
        self.size_bytes += len(record.value)

    def due(self, limits: BatchLimits, now: float) -> bool:
        """Tells whether a batch closes now. One that was begun before closes when all its records are here."""
        if not self.records:
            return False
        if self.resume is not None:
            return self.records[-1].offset + 1 >= self.resume.high
        full = len(self.records) >= limits.events or self.size_bytes >= limits.size_bytes
        return full or now - self.since >= limits.age_seconds

    def close(self, limits: BatchLimits, now: float) -> list[Stored]:
        """Takes the records of the next batch out."""
        count = 0
        size = 0
        for record in self.records:
            if self.resume is not None:
                if record.offset >= self.resume.high:
                    break
            elif count and (count >= limits.events or size >= limits.size_bytes):
                break
            count += 1
            size += len(record.value)
        taken, self.records = self.records[:count], self.records[count:]
        self.size_bytes -= size
        self.since = now
        return taken


class UsageRecordedConsumer:
    """Owns the consumer of the topic. `booking` is the turn that whoever changes wallets takes."""

    def __init__(
        self,
        *,
        consumer: EventConsumer,
        record: RecordBatch,
        ledger: Ledger,
        limits: BatchLimits,
        clock: Clock,
        booking: Turns,
        tracing: Tracing,
        counters: BillingCounters,
        reached: Callable[[str], None],
        new_owner: Callable[[], str],
    ) -> None:
        if not 0 < limits.events <= MAX_BATCH_EVENTS:
            raise ValueError(f"a batch has 1 to {MAX_BATCH_EVENTS} events")
        self._consumer = consumer
        self._record = record
        self._ledger = ledger
        self._limits = limits
        self._clock = clock
        self._booking = booking
        self._tracing = tracing
        self._counters = counters
        self._reached = reached
        self._new_owner = new_owner
        self._started = False
        self._intakes: dict[Claim, Intake] = {}
        self._open: tuple[Intake, Batch] | None = None
        self._delay = _FIRST_RETRY_SECONDS
        self._lag_at = -_LAG_SECONDS
        self.problem = "the event log was not read yet"
        self.lag_events = 0

    @property
    def lag_ms(self) -> int:
        """Age of the oldest record that was read and is not booked, in milliseconds."""
        oldest = [intake.records[0].at_us for intake in self._intakes.values() if intake.records]
        if self._open is not None:
            oldest.append(self._open[1].records[0].at_us)
        return max(0, self._clock.now_us() - min(oldest)) // 1000 if oldest else 0

    @property
    def recent_ids(self) -> int:
        return sum(len(intake.state.recent or ()) for intake in self._intakes.values())

    async def step(self, stopping: asyncio.Event) -> None:
        """Reads once and books what is due; waits a moment when something is away."""
        try:
            if self._open is not None:
                await self._finish(*self._open)
            await self._read()
            self.problem = "" if self._intakes else "no partition of the event log is held"
            self._delay = _FIRST_RETRY_SECONDS
        except OwnershipLost as error:
            log.warning("a partition is lost", extra={"fields": {"reason": str(error)}})
            self._open = None
        except (Unavailable, EventLogUnavailable) as error:
            self._counters.add("retries")
            if not self.problem:
                log.warning("booking waits; nothing is skipped", extra={"fields": {"reason": str(error)}})
            self.problem = f"booking waits: {error}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._delay)
            self._delay = min(self._delay * 2, _LAST_RETRY_SECONDS)
        except BaseException:
            self.problem = "booking failed; see the log"
            raise

    async def drain(self) -> None:
        """Books what has been read, for a stop in good order."""
        for intake in list(self._intakes.values()):
            while self._open is None and intake.records and not intake.claim.lost and intake.resume is None:
                await self._close(intake)

    async def _read(self) -> None:
        if not self._started:
            await self._consumer.start()
            self._started = True
        waiting = sum(len(intake.records) for intake in self._intakes.values())
        # Every partition makes batches of its own: with room for one of them in all, each would be a fraction.
        room = max(1, self._limits.events * min(max(1, len(self._intakes)), _MOST_WAITING) - waiting)
        for record in await self._consumer.poll(room, _POLL_SECONDS):
            intake = self._intakes.get(record.claim) or await self._begin(record.claim)
            intake.add(record, self._clock.monotonic())
        for claim in self._consumer.claims():
            if claim not in self._intakes:
                await self._begin(claim)
        for claim in [one for one in self._intakes if one.lost]:
            del self._intakes[claim]
        for intake in list(self._intakes.values()):
            while intake.due(self._limits, self._clock.monotonic()):
                await self._close(intake)
        await self._measure_lag()

    async def _begin(self, claim: Claim) -> Intake:
        owner = self._new_owner()
        bounds = Bounds(claim.epoch, claim.topic, claim.partition, claim.offset, claim.offset)
        intake = Intake(claim, owner, parse_intent(claim.metadata), claim.offset)
        self._intakes[claim] = intake
        try:
            await self._ledger.claim(bounds.source, owner)
        except Unavailable:
            # What was polled would be gone: the whole consumer begins again at what is committed.
            self._forget()
            raise
        if intake.resume is not None:
            log.warning("a batch of an earlier process is finished first", extra={"fields": {"source": bounds.source}})
        return intake

    def _forget(self) -> None:
        self._intakes.clear()
        self._open = None
        self._started = False

    async def _close(self, intake: Intake) -> None:
        records = intake.close(self._limits, self._clock.monotonic())
        claim = intake.claim
        low, high = records[0].offset, records[-1].offset + 1
        resume, intake.resume = intake.resume, None
        if resume is not None:
            low, high = resume.low, resume.high
            if len(records) != resume.count:
                log.critical(
                    "a batch that was begun before has other records now",
                    extra={"fields": {"expected": resume.count, "found": len(records), "low": low, "high": high}},
                )
            self._counters.add("repeated_batches")
        bounds = Bounds(claim.epoch, claim.topic, claim.partition, low, high)
        batch = Batch(bounds, intake.owner, records, resumed=resume is not None, started_us=self._clock.now_us())
        self._open = (intake, batch)
        await self._finish(intake, batch)

    async def _finish(self, intake: Intake, batch: Batch) -> None:
        """Takes the batch from intent to commit; called again for the same batch after a failure."""
        claim, bounds = intake.claim, batch.bounds
        if claim.lost:
            raise OwnershipLost(f"{bounds.source} was given to another consumer")
        if not batch.resumed:
            intent = Intent(bounds.low, bounds.high, len(batch.records))
            await self._consumer.commit(claim, bounds.low, intent.encode())
        self._reached("after_intent")
        await self._record.write(batch, intake.state)
        async with self._booking:
            await self._record.book(batch)
        self._reached("before_commit")
        await self._consumer.commit(claim, bounds.high, "")
        self._reached("after_commit")
        self._record.finish(batch, intake.state)
        intake.position = bounds.high
        self._open = None
        self._trace(batch)

    async def _measure_lag(self) -> None:
        now = self._clock.monotonic()
        if now - self._lag_at < _LAG_SECONDS:
            return
        self._lag_at = now
        ends = await self._consumer.ends()
        lag = 0
        for claim, intake in self._intakes.items():
            done = intake.records[0].offset if intake.records else intake.position
            lag += max(0, ends.get(claim.partition, 0) - done)
        self.lag_events = lag

    def _trace(self, batch: Batch) -> None:
        if not self._tracing.enabled or batch.prepared is None:
            return
        now = self._clock.now_us()
        for one in batch.prepared.judged:
            message = one.event.message
            parent = parse_traceparent(message.traceparent) if message.trace_kept else None
            if parent is None:
                continue
            self._tracing.record(
                SpanRecord(
                    name=SPAN_RECORD,
                    span=format_traceparent(parent[0], new_span_id(), sampled=True),
                    parent_span_id=parent[1],
                    start_us=batch.started_us,
                    end_us=now,
                    kind=SpanKind.CONSUMER,
                    attributes={
                        "messaging.destination.name": batch.bounds.topic,
                        "messaging.kafka.offset": one.event.offset,
                        "tollgate.request_id": one.event.request_id,
                        "tollgate.charge_pico": one.charge_pico,
                        "tollgate.batch": batch.bounds.batch,
                    },
                )
            )
