"""Reads usage.recorded.v1 and books it in batches: intent, write, book, commit, one batch at a time.

The loop never skips: a batch that cannot be finished is tried again until it is, and nothing is read meanwhile. While
one is written, the next one is prepared, if it is here: decoded and judged, which writes nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
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
    # The next batch, whose records are no longer among the others. Nothing says in the log yet that it was begun.
    ahead: Batch | None = None

    @property
    def first(self) -> Stored | None:
        """The oldest record that no batch was begun for."""
        if self.ahead is not None:
            return self.ahead.records[0]
        return self.records[0] if self.records else None

    def add(self, records: Sequence[Stored], now: float) -> None:
        """Takes records in, at `now` of the monotonic clock."""
        if not self.records:
            self.since = now
        self.records += records
        self.size_bytes += sum(len(record.value) for record in records)

    def due(self, limits: BatchLimits, now: float) -> bool:
        """Tells whether a batch closes now. One that was begun before closes when all its records are here."""
        if self.ahead is not None:
            return True
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
        oldest = [first.at_us for intake in self._intakes.values() if (first := intake.first) is not None]
        if self._open is not None:
            oldest.append(self._open[1].records[0].at_us)
        return max(0, self._clock.now_us() - min(oldest)) // 1000 if oldest else 0

    @property
    def recent_ids(self) -> int:
        return sum(len(intake.state.recent or ()) for intake in self._intakes.values())

    @property
    def open_exceptions(self) -> int:
        """How many finals nobody confirmed, of the sources that are held and of those that were when they began."""
        return len(set[str]().union(*(intake.state.exceptions or () for intake in self._intakes.values())))

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
            while self._open is None and intake.first and not intake.claim.lost and intake.resume is None:
                await self._close(intake)

    async def _read(self) -> None:
        if not self._started:
            await self._consumer.start()
            self._started = True
        waiting = sum(
            len(intake.records) + (len(intake.ahead.records) if intake.ahead else 0)
            for intake in self._intakes.values()
        )
        # Every partition makes batches of its own: with room for one of them in all, each would be a fraction.
        room = max(1, self._limits.events * (min(max(1, len(self._intakes)), _MOST_WAITING) + 1) - waiting)
        found = await self._consumer.poll(room, 0 if self._next() else _POLL_SECONDS)
        for claim, records in groupby(found, attrgetter("claim")):
            intake = self._intakes.get(claim) or await self._begin(claim)
            intake.add(list(records), self._clock.monotonic())
        for claim in self._consumer.claims():
            if claim not in self._intakes:
                await self._begin(claim)
        for claim in [one for one in self._intakes if one.lost]:
            del self._intakes[claim]
        # One a turn, so that what comes after the next one is here by the time that it is prepared.
        if (due := self._next()) is not None:
            await self._close(due)
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

    def _next(self) -> Intake | None:
        """Returns whose batch closes now: one that is prepared, or else what has waited longest."""
        now = self._clock.monotonic()
        due = [intake for intake in self._intakes.values() if intake.due(self._limits, now)]
        return min(due, key=lambda intake: (intake.ahead is None, intake.since), default=None)

    async def _close(self, intake: Intake) -> None:
        batch, intake.ahead = intake.ahead or self._taken(intake), None
        self._open = (intake, batch)
        await self._finish(intake, batch)

    async def _prepare_ahead(self) -> None:
        intake = self._next()
        if intake is None:
            return
        intake.ahead = intake.ahead or self._taken(intake)
        # What is away is met again when it is this one's turn.
        with contextlib.suppress(Unavailable, EventLogUnavailable):
            await self._record.prepare(intake.ahead, intake.state, ahead=True)

    def _taken(self, intake: Intake) -> Batch:
        """Returns the next batch, its records taken out of the intake."""
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
        return Batch(bounds, intake.owner, records, resumed=resume is not None, started_us=self._clock.now_us())

    async def _finish(self, intake: Intake, batch: Batch) -> None:
        """Takes the batch from intent to commit; called again for the same batch after a failure."""
        claim, bounds = intake.claim, batch.bounds
        if claim.lost:
            raise OwnershipLost(f"{bounds.source} was given to another consumer")
        if not batch.resumed:
            intent = Intent(bounds.low, bounds.high, len(batch.records))
            await self._consumer.commit(claim, bounds.low, intent.encode())
        self._reached("after_intent")
        await self._record.prepare(batch, intake.state)
        ahead = asyncio.create_task(self._prepare_ahead())
        try:
            await self._record.write(batch)
            async with self._booking:
                await self._record.book(batch)
            self._reached("before_commit")
            await self._consumer.commit(claim, bounds.high, "")
            self._reached("after_commit")
            self._record.finish(batch)
            intake.position = bounds.high
            self._open = None
        finally:
            await ahead
        self._trace(batch)

    async def _measure_lag(self) -> None:
        now = self._clock.monotonic()
        if now - self._lag_at < _LAG_SECONDS:
            return
        self._lag_at = now
        ends = await self._consumer.ends()
        lag = 0
        for claim, intake in self._intakes.items():
            done = first.offset if (first := intake.first) is not None else intake.position
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
