"""Reads usage.recorded.v1 and books it in batches: intent, write, book, commit, each batch in the order of its log.

The loop never skips: a batch that cannot be finished is tried again until it is, and nothing is read meanwhile. A
partition whose records are nearly all poison is stopped before more of them are set aside, as is one with a batch that
the ledger can never take, and the others go on. Of a backlog, three batches are under way: one is booked while the next
one is written and the third one, which nothing says in the log yet, is decoded and judged.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import groupby
from operator import attrgetter
from random import Random
from typing import Any, Final, TypeVar

from opentelemetry.trace import SpanKind

from tollgate_billing.consumers.intake import BatchLimits, Intake
from tollgate_billing.domain.event import MAX_BATCH_EVENTS
from tollgate_billing.domain.intent import Bounds, Intent, encode_intents, parse_intents
from tollgate_billing.errors import InvalidQuery, LedgerRefused, TooMuchPoison, Unavailable
from tollgate_billing.ports import Ledger
from tollgate_billing.telemetry import SPAN_RECORD, BillingCounters
from tollgate_billing.use_cases.keep_wallets import Turns
from tollgate_billing.use_cases.record_batch import Batch, RecordBatch, SourceState
from tollgate_kit.clock import Clock
from tollgate_kit.event_log import Claim, EventConsumer, EventLogUnavailable, OwnershipLost, Stored
from tollgate_kit.tracing import SpanRecord, Tracing, format_traceparent, new_span_id, parse_traceparent

log = logging.getLogger(__name__)

T = TypeVar("T")
_CLAIM_OF: Final = attrgetter("claim")

_FIRST_RETRY_SECONDS: Final = 0.2
_LAST_RETRY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
# A broker answers within this time when it has more; a batch that is written is held up by no more.
_AHEAD_SECONDS: Final = 0.05
_LAG_SECONDS: Final = 2.0
# How many full batches may wait, of all partitions together.
_MOST_WAITING: Final = 4


class UsageRecordedConsumer:
    """Owns the consumer of the topic. `booking` is the turn that whoever changes wallets takes.

    `forgotten` is told which records the log had no longer when they were to be booked.
    """

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
        random_source: Random,
        counters: BillingCounters,
        reached: Callable[[str], None],
        new_owner: Callable[[], str],
        forgotten: Callable[[Bounds], None],
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
        self._random = random_source
        self._counters = counters
        self._reached = reached
        self._new_owner = new_owner
        self._forgotten = forgotten
        self._started = False
        self._intakes: dict[Claim, Intake] = {}
        # What was read while batches were under way.
        self._polled: list[Stored] = []
        # The oldest first. Only the last one may not be written yet.
        self._begun: list[tuple[Intake, Batch]] = []
        self._failed = self._waits = False
        # Held by each step, and by whoever works between two batches.
        self._stepping = asyncio.Lock()
        self._delay = _FIRST_RETRY_SECONDS
        self._lag_at = -_LAG_SECONDS
        self.problem = "the event log was not read yet"
        self.lag_events = 0

    @property
    def lag_ms(self) -> int:
        """Age of the oldest record that was read and is not booked, in milliseconds."""
        oldest = [first.at_us for intake in self._intakes.values() if (first := intake.first) is not None]
        oldest += [batch.records[0].at_us for _, batch in self._begun]
        return max(0, self._clock.now_us() - min(oldest)) // 1000 if oldest else 0

    @property
    def recent_ids(self) -> int:
        return sum(len(intake.state.recent or ()) for intake in self._intakes.values())

    @property
    def open_exceptions(self) -> int:
        """How many finals nobody confirmed, of the sources that are held and of those that were when they began."""
        return len(set[str]().union(*(intake.state.exceptions or () for intake in self._intakes.values())))

    @property
    def stopped(self) -> list[str]:
        """Why partitions are stopped, a sentence for each that is."""
        return [intake.stopped for intake in self._intakes.values() if intake.stopped]

    @property
    def stopped_partitions(self) -> list[int]:
        """The numbers of the partitions that are stopped, ascending."""
        return sorted(intake.claim.partition for intake in self._intakes.values() if intake.stopped)

    async def step(self, stopping: asyncio.Event) -> None:
        """Reads once and books what is due; waits a moment when something is away."""
        async with self._stepping:
            await self._step(stopping)

    async def between_batches(self, work: Callable[[], Awaitable[T]], *, forget: bool = False) -> T:
        """Returns what the work does while no batch is begun, and none of an earlier process waits to be finished.

        With `forget` what is known of earlier events is read anew before the next batch. Raises Unavailable, also where
        a partition was lost before the end; InvalidQuery where other processes hold some; and what the work raises.
        """
        async with self._stepping:
            try:
                await self._finish()
            except (Unavailable, EventLogUnavailable, OwnershipLost) as error:
                self._failed = True
                raise Unavailable(f"booking waits: {error}") from error
            await self._check_alone()
            found = await work()
            if any(intake.claim.lost for intake in self._intakes.values()):
                raise Unavailable("another billing process took over meanwhile; do it again once only one runs")
            if forget:
                for intake in self._intakes.values():
                    intake.state = SourceState()
                    if intake.ahead is not None:
                        # It was decided by what was known before.
                        intake.ahead.prepared = None
            return found

    async def _check_alone(self) -> None:
        """Raises unless all partitions are held here, and nothing of them that was begun is left to be finished."""
        if not self._intakes or any(intake.claim.lost or intake.resume for intake in self._intakes.values()):
            raise Unavailable("batches of an earlier process are finished first; try again in a moment")
        own = {intake.source for intake in self._intakes.values()}
        logs = {source.rpartition("/")[0] for source in own}
        others = [one for one in await self._ledger.claimed() if one not in own and one.rpartition("/")[0] in logs]
        if others:
            raise InvalidQuery(
                f"{len(others)} partitions of the event log are booked by other billing processes: run one process of"
                " billing, then try again"
            )

    async def _step(self, stopping: asyncio.Event) -> None:
        try:
            if self._failed:
                await self._finish()
            self._failed = False
            await self._read()
            if (due := self._next()) is not None:
                self._open(due)
            if self._begun:
                await self._turn()
            # A batch waits to be booked only for another one that is written beside it.
            if self._next() is None:
                await self._finish()
            await self._measure_lag()
            self.problem = "; ".join(self.stopped) if self._intakes else "no partition of the event log is held"
            self._waits = False
            self._delay = _FIRST_RETRY_SECONDS
        except OwnershipLost as error:
            log.warning("a partition is lost", extra={"fields": {"reason": str(error)}})
            self._failed = True
        except (Unavailable, EventLogUnavailable) as error:
            self._failed = True
            self._counters.add("retries")
            if not self._waits:
                log.warning("booking waits; nothing is skipped", extra={"fields": {"reason": str(error)}})
            self._waits = True
            self.problem = f"booking waits: {error}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._delay)
            self._delay = min(self._delay * 2, _LAST_RETRY_SECONDS)
        except BaseException:
            self._failed = True
            self.problem = "booking failed; see the log"
            raise

    async def drain(self) -> None:
        """Books what has been read, for a stop in good order."""
        await self._finish()
        for intake in list(self._intakes.values()):
            while intake.first and not (intake.claim.lost or intake.resume or intake.stopped):
                self._open(intake)
                await self._finish()

    async def _read(self) -> None:
        if not self._started:
            await self._consumer.start()
            self._started = True
        await self._take_in()
        if self._next() is None:
            self._polled += await self._consumer.poll(max(1, self._room()), _POLL_SECONDS, self._wanted())
            await self._take_in()

    def _room(self) -> int:
        """Returns how many records may be read now."""
        waiting = len(self._polled) + sum(
            len(intake.records) + (len(intake.ahead.records) if intake.ahead else 0)
            for intake in self._intakes.values()
        )
        # Every partition makes batches of its own: with room for one of them in all, each would be a fraction.
        return self._limits.events * (min(max(1, len(self._intakes)), _MOST_WAITING) + 1) - waiting

    def _wanted(self) -> list[Claim]:
        """Returns the partitions to read now, none of those that are stopped; nothing: all of them.

        Of a backlog these are few, and first those that have records: each makes batches of its own, and a row of a
        small batch costs twice as much.
        """
        going = [intake for intake in self._intakes.values() if not intake.stopped]
        if sum(len(intake.records) for intake in going) < self._limits.events:
            return [intake.claim for intake in going] if len(going) < len(self._intakes) else []
        going.sort(key=lambda intake: (intake.full(self._limits), not intake.records, intake.since))
        return [intake.claim for intake in going[:_MOST_WAITING]]

    async def _take_in(self) -> None:
        """Adds what was read to its claims, begins new ones and forgets those that are lost."""
        polled, self._polled = self._polled, []
        for claim in dict.fromkeys(record.claim for record in polled):
            if not claim.lost and claim not in self._intakes:
                await self._begin(claim)
        self._polled = self._keep(polled)
        for claim in self._consumer.claims():
            if claim not in self._intakes:
                await self._begin(claim)
        for claim in [one for one in self._intakes if one.lost]:
            del self._intakes[claim]

    def _keep(self, polled: Sequence[Stored]) -> list[Stored]:
        """Adds records to those claims that are begun; returns the others."""
        others: list[Stored] = []
        now = self._clock.monotonic()
        for claim, records in groupby(polled, _CLAIM_OF):
            intake = self._intakes.get(claim)
            if intake is not None:
                intake.add(list(records), now)
                for gone in intake.forget_gone():
                    fields = {"source": intake.source, "low": gone.low, "high": gone.high, "expected": gone.count}
                    log.critical("the log has no record of a batch that was begun before", extra={"fields": fields})
            elif not claim.lost:
                others += records
        return others

    async def _begin(self, claim: Claim) -> Intake:
        owner = self._new_owner()
        intents = parse_intents(claim.metadata)
        intake = Intake(claim, owner, intents, list(intents), claim.offset)
        self._intakes[claim] = intake
        try:
            await self._ledger.claim(intake.source, owner)
        except Unavailable:
            # What was polled would be gone: the whole consumer begins again at what is committed.
            self._forget()
            raise
        if claim.forgotten:
            beyond = claim.offset + claim.forgotten
            self._forgotten(Bounds(claim.epoch, claim.topic, claim.partition, claim.offset, beyond))
        if intents:
            log.warning("batches of an earlier process are finished first", extra={"fields": {"source": intake.source}})
        return intake

    def _forget(self) -> None:
        self._intakes.clear()
        self._polled.clear()
        self._begun.clear()
        self._started = False

    def _next(self) -> Intake | None:
        """Returns whose batch closes now: one that is prepared, or else what has waited longest."""
        now = self._clock.monotonic()
        due = [intake for intake in self._intakes.values() if intake.due(self._limits, now)]
        return min(due, key=lambda intake: (intake.ahead is None, intake.since), default=None)

    def _open(self, intake: Intake) -> None:
        """Begins the next batch of an intake; nothing says so in the log yet."""
        batch, intake.ahead = intake.ahead or self._taken(intake), None
        self._begun.append((intake, batch))

    async def _look_ahead(self, written: asyncio.Event) -> None:
        """Prepares the batch after those that are begun, and reads on. What is away is met again in its turn.

        Until one is `written` that goes on beside it, what a broker is about to hand out is waited for.
        """
        with contextlib.suppress(Unavailable, EventLogUnavailable):
            intake = self._next()
            if intake is not None:
                batch = intake.ahead = intake.ahead or self._taken(intake)
                try:
                    await self._record.prepare(batch, intake.state, ahead=True)
                except TooMuchPoison as error:
                    self._stop(intake, batch, str(error))
            # A broker hands out little at once, and every partition makes a batch of its own.
            while (room := self._room()) > 0:
                wait_seconds = 0 if written.is_set() else _AHEAD_SECONDS
                if not (found := await self._consumer.poll(room, wait_seconds, self._wanted())):
                    break
                self._polled += self._keep(found)

    def _taken(self, intake: Intake) -> Batch:
        """Returns the next batch, its records taken out of the intake."""
        records = intake.close(self._limits, self._clock.monotonic())
        claim = intake.claim
        low, high = records[0].offset, records[-1].offset + 1
        resume = intake.resume.pop(0) if intake.resume else None
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
        batch.marked = batch.resumed
        return batch

    async def _finish(self) -> None:
        """Takes all batches that are begun to their end."""
        while self._begun:
            await self._turn()

    async def _turn(self) -> None:
        """Books the oldest batch that is begun, if it is written, and beside that writes the newest, if it is not."""
        (first, oldest), (last, newest) = self._begun[0], self._begun[-1]
        works: list[tuple[Intake, Coroutine[Any, Any, None]]] = []
        if not newest.written:
            # Before what goes on beside it, which ends with a commit too.
            await self._mark(last, newest)
            self._reached("after_intent")
            works.append((last, self._write(last, newest)))
        if oldest.written:
            works.append((first, self._book(first, oldest)))
        outcomes = await asyncio.gather(*(work for _, work in works), return_exceptions=True)
        for (intake, _), outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, OwnershipLost):
                await self._give_up(intake)
            elif isinstance(outcome, TooMuchPoison):
                # Only what is written is decided about.
                self._stop(intake, newest, str(outcome))
            elif isinstance(outcome, LedgerRefused):
                # Only what is booked is posted. To try it for ever would keep every other partition waiting.
                self._stop(intake, oldest, _refused(oldest, outcome))
        stops = (TooMuchPoison, LedgerRefused)
        failures = [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, stops)]
        if failures:
            # What ends the process before what is only away.
            raise min(failures, key=lambda one: (isinstance(one, Exception), isinstance(one, OwnershipLost)))

    async def _mark(self, intake: Intake, batch: Batch) -> None:
        """Keeps the intent in the log, behind those of batches that are not booked yet; then it may be written."""
        if batch.marked:
            return
        intents = [*intake.intents, Intent(batch.bounds.low, batch.bounds.high, len(batch.records))]
        try:
            await self._consumer.commit(intake.claim, intents[0].low, encode_intents(intents))
        except OwnershipLost:
            self._drop(intake)
            raise
        intake.intents, batch.marked = intents, True

    async def _write(self, intake: Intake, batch: Batch) -> None:
        _check_held(intake)
        await self._record.prepare(batch, intake.state)
        written = asyncio.Event()
        ahead = asyncio.create_task(self._look_ahead(written))
        try:
            await self._record.write(batch)
            batch.let_go()
        finally:
            written.set()
            await ahead

    async def _book(self, intake: Intake, batch: Batch) -> None:
        _check_held(intake)
        async with self._booking:
            await self._record.book(batch)
        self._reached("before_commit")
        intents = intake.intents[1:]
        position = intents[0].low if intents else batch.bounds.high
        await self._consumer.commit(intake.claim, position, encode_intents(intents))
        self._reached("after_commit")
        intake.intents, intake.position = intents, batch.bounds.high
        self._begun.pop(0)
        self._record.finish(batch)
        self._trace(batch)

    async def _give_up(self, intake: Intake) -> None:
        """Drops what is under way of a partition that is lost.

        Where only the ledger says so and the log does not, a process that was late has claimed what it had lost before:
        the source is claimed again, and nothing is dropped.
        """
        if not intake.claim.lost:
            with contextlib.suppress(OwnershipLost):
                await self._consumer.commit(intake.claim, intake.intents[0].low, encode_intents(intake.intents))
                await self._ledger.claim(intake.source, intake.owner)
                return
        self._drop(intake)

    def _drop(self, intake: Intake) -> None:
        for batch in [batch for one, batch in self._begun if one is intake and batch.written]:
            # As good as always its token was remembered; whoever stood still for too long is the exception.
            fields = {"batch": batch.bounds.batch}
            log.warning(
                "a batch was written and is booked by another process; if `tollgate reconcile` names repeated_event,"
                " `tollgate usage rebuild` takes its second rows away",
                extra={"fields": fields},
            )
        self._begun = [one for one in self._begun if one[0] is not intake]

    def _stop(self, intake: Intake, batch: Batch, reason: str) -> None:
        """Stops a partition before a batch. What was begun before that is booked, and all others go on.

        Intents of it and of what follows, if the log has them, are for whoever holds the partition next.
        """
        low = batch.bounds.low
        self._begun = [(owner, one) for owner, one in self._begun if owner is not intake or one.bounds.low < low]
        intake.stop(reason, batch.records[0])
        log.critical("a partition is stopped: nothing of it is booked", extra={"fields": {"reason": intake.stopped}})

    async def _measure_lag(self) -> None:
        if not self._intakes:
            # What waits is counted as soon as a partition is held.
            self.lag_events, self._lag_at = 0, -_LAG_SECONDS
            return
        now = self._clock.monotonic()
        if now - self._lag_at < _LAG_SECONDS:
            return
        ends = await self._consumer.ends()
        self._lag_at = now
        lag = 0
        for claim, intake in self._intakes.items():
            done = first.offset if (first := intake.first) is not None else intake.position
            done = intake.intents[0].low if intake.intents else done
            lag += max(0, ends.get(claim.partition, 0) - done)
        self.lag_events = lag

    def _trace(self, batch: Batch) -> None:
        if not self._tracing.enabled or batch.prepared is None:
            return
        now = self._clock.now_us()
        for one in batch.prepared.traced:
            fields = one.event.fields
            parent = parse_traceparent(fields.traceparent)
            if parent is None:
                continue
            self._tracing.record(
                SpanRecord(
                    name=SPAN_RECORD,
                    span=format_traceparent(parent[0], new_span_id(self._random), sampled=True),
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


def _refused(batch: Batch, reason: LedgerRefused) -> str:
    bounds = batch.bounds
    return (
        f"partition {bounds.partition} of {bounds.topic} is stopped before record {bounds.low}: the ledger cannot take "
        f"its batch of records up to {bounds.high - 1}: {reason}"
    )


def _check_held(intake: Intake) -> None:
    if intake.claim.lost:
        raise OwnershipLost(f"{intake.source} was given to another consumer")
