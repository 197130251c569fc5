"""Writes usage rows again that the store has lost, from the events that the event log still keeps.

Every batch that is booked is decided again as it was then: with the bounds that its rows or the ledger name, after all
that came before it. What of its rows is missing is collected beside the others, if with it the batch says what the
ledger booked, and all of it is attached at once between two batches. The ledger and wallets are only read: what was
charged stays charged, and nothing is charged again. Then sums that rows are missing of are made again, and what rows
and ledger do not agree on after all is named. Before all that, rows that were inserted again are taken away.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import Final

from tollgate_billing.domain.books import Difference, amounts_of, parse_batch
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.rebuilding import Cut, Cutter, bounds_of, joined, unfit
from tollgate_billing.domain.rollups import DAY_US, HOUR_US, ROLLUPS, floor
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.mending_ports import BetweenBatches, KeptEvents, RebuildingStore
from tollgate_billing.ports import Ledger, LedgerBooks, UsageBooks
from tollgate_billing.use_cases.compare_books import CompareBooks
from tollgate_billing.use_cases.compare_rollups import CompareRollups
from tollgate_billing.use_cases.drop_copies import DropCopies
from tollgate_billing.use_cases.record_batch import Batch, RecordBatch, SourceState, mismatch_row, poison_row
from tollgate_billing.use_cases.refill_rollups import RefillRollups
from tollgate_kit.clock import Clock
from tollgate_kit.event_log import Claim, Stored

_ROWS_TOGETHER: Final = 20_000
_BATCHES_TOGETHER: Final = 2_000
# The clocks of the log and of billing may differ by less.
_SKEW_US: Final = HOUR_US
_COMPARED_TOGETHER_US: Final = 6 * HOUR_US
_MOST: Final = 200
_MONEY: Final = ("charge", "cost", "loss")
_CLAIM_OF: Final = attrgetter("claim")


@dataclass(frozen=True, slots=True)
class Kept:
    """The oldest record of a partition that was read: its place and when it was appended, in microseconds."""

    partition: int
    offset: int
    at_us: int


@dataclass(slots=True)
class Rebuilt:
    """How far a rebuild is. `step` is copies, read, attach, sums, compare or done.

    `copies` were rows of a place that has another one. `missing` rows were not there, `unfit` ones of them do not make
    their batch what the ledger booked and are left out; `sums` are lines of rollups that were made again. `not_rebuilt`
    says what rows and ledger still do not agree on, and why; `cut` counts those that are not written out.
    """

    step: str = "copies"
    records: int = 0
    batches: int = 0
    copies: int = 0
    missing: int = 0
    unfit: int = 0
    sums: int = 0
    letters: int = 0
    mismatches: int = 0
    kept: list[Kept] = field(default_factory=list)
    not_rebuilt: list[Difference] = field(default_factory=list)
    cut: int = 0


@dataclass(slots=True)
class _Source:
    """A partition that is read: its batches, and those that were decided and not collected yet."""

    bounds: Bounds
    cutter: Cutter
    # Events that were not booked, though they could be read.
    aside: set[int]
    state: SourceState = field(default_factory=SourceState)
    pending: list[Batch] = field(default_factory=list)
    rows: int = 0


@dataclass(frozen=True, slots=True)
class RebuildParts:
    """What a rebuild works with. `record` decides batches by the earlier rows of `store`; it writes nothing.

    `reached` is told each step that is behind, for tests that end the process there.
    """

    events: KeptEvents
    store: RebuildingStore
    record: RecordBatch
    books: UsageBooks
    ledger: Ledger
    booked: LedgerBooks
    compare: CompareBooks
    rollups: CompareRollups
    refill: RefillRollups
    drop_copies: DropCopies
    between_batches: BetweenBatches
    clock: Clock
    reached: Callable[[str], None]


class RebuildUsage:
    def __init__(self, parts: RebuildParts) -> None:
        self._parts = parts
        self._running = asyncio.Lock()

    async def __call__(self, from_us: int, to_us: int, *, dry_run: bool) -> AsyncGenerator[Rebuilt, None]:
        """Rebuilds what was logged in this time, yielding how far it is; of a dry run, says what it would.

        Raises InvalidQuery, also while another one runs, and Unavailable; to do it again then ends the same.
        """
        if not 0 < from_us < to_us:
            raise InvalidQuery("usage is rebuilt from a time before another one, both after 1970")
        if self._running.locked():
            raise InvalidQuery("usage is being rebuilt already; wait for that to end")
        async with self._running:
            run = _Run(self._parts, from_us, to_us, dry_run=dry_run)
            try:
                async with aclosing(run.steps()) as steps:
                    async for so_far in steps:
                        yield so_far
            finally:
                await self._parts.store.drop()


class _Run:
    """One rebuild."""

    def __init__(self, parts: RebuildParts, from_us: int, to_us: int, *, dry_run: bool) -> None:
        self._parts = parts
        self._reached = parts.reached
        self._from_us = from_us
        self._to_us = to_us
        self._dry_run = dry_run
        self._heights: Mapping[str, int] = {}
        self._sources: dict[Claim, _Source] = {}
        self._hours: set[int] = set()
        # Batches that a dry run would have made what the ledger booked.
        self._would: set[str] = set()
        self._done = Rebuilt()

    async def steps(self) -> AsyncGenerator[Rebuilt, None]:
        parts, done = self._parts, self._done
        # All that is below is committed: nobody writes rows of it any more.
        self._heights = await parts.between_batches(parts.booked.heights)
        await parts.store.begin()
        yield done
        # With copies, batches would not be what the ledger booked, and nothing of them that is missing would fit.
        copies = await parts.drop_copies.rows(self._from_us, self._to_us, dry_run=self._dry_run)
        done.copies = sum(copies.values())
        if self._dry_run:
            self._would.update(copies)
        done.step = "read"
        async with aclosing(parts.events.read()) as reading:
            async for records in reading:
                for claim, of_claim in groupby(records, _CLAIM_OF):
                    await self._take(claim, list(of_claim))
                yield done
        for source in self._sources.values():
            await self._decide_all(source, source.cutter.rest())
            await self._collect(source)
        if not self._dry_run:
            done.step = "attach"
            yield done
            self._reached("before_attach")
            await parts.between_batches(parts.store.attach, forget=True)
            self._reached("after_attach")
            done.step = "sums"
            yield done
            done.sums += await parts.drop_copies.sums()
            await self._mend_sums()
        done.step = "compare"
        yield done
        await self._say_what_is_left()
        done.step = "done"
        yield done

    async def _take(self, claim: Claim, records: list[Stored]) -> None:
        source = self._sources.get(claim)
        if source is None:
            source = self._sources[claim] = await self._begin(claim, records[0])
        self._done.records += len(records)
        await self._decide_all(source, source.cutter.add(records))

    async def _begin(self, claim: Claim, first: Stored) -> _Source:
        parts, bounds = self._parts, Bounds(claim.epoch, claim.topic, claim.partition, first.offset, first.offset)
        self._done.kept.append(Kept(claim.partition, first.offset, first.at_us))
        names = {*await parts.store.batches(bounds)}
        names.update(await parts.booked.batches_of(bounds.source, first.at_us - _SKEW_US))
        cutter = Cutter(bounds_of(names, bounds.source), self._heights.get(bounds.source, 0))
        return _Source(bounds, cutter, await parts.store.set_aside(bounds))

    async def _decide_all(self, source: _Source, cuts: Iterable[Cut]) -> None:
        for cut in cuts:
            if self._from_us <= cut.records[0].at_us < self._to_us:
                await self._decide(source, cut)

    async def _decide(self, source: _Source, cut: Cut) -> None:
        """Decides a batch as it was decided when it was booked."""
        parts, bounds = self._parts, replace(source.bounds, low=cut.low, high=cut.high)
        records = [record for record in cut.records if record.offset not in source.aside]
        if not records:
            return
        batch = Batch(bounds, "", records, resumed=False, started_us=parts.clock.now_us(), again=True)
        if source.state.exceptions is None:
            since_us = min(record.at_us for record in cut.records) - DAY_US
            source.state.exceptions = await parts.store.open_requests(bounds, since_us)
            source.state.exceptions.update(await parts.ledger.open_requests(since_us))
        await parts.record.prepare(batch, source.state, ahead=bool(source.pending))
        if batch.prepared is None:
            # It needs earlier rows of its requests, some of which may not be collected yet.
            await self._collect(source)
            await parts.record.prepare(batch, source.state)
        assert batch.prepared is not None
        self._done.batches += 1
        source.pending.append(batch)
        source.rows += len(batch.prepared.rows)
        if source.rows >= _ROWS_TOGETHER or len(source.pending) >= _BATCHES_TOGETHER:
            await self._collect(source)

    async def _collect(self, source: _Source) -> None:
        """Collects the missing rows of the batches that were decided."""
        parts, pending = self._parts, source.pending
        source.pending, source.rows = [], 0
        if not pending:
            return
        bounds = replace(source.bounds, low=pending[0].bounds.low, high=pending[-1].bounds.high)
        present = await parts.store.present(bounds)
        blocks = []
        for batch in pending:
            assert batch.prepared is not None
            started = batch.prepared.rows.columns["started_at"]
            self._hours.update(floor(at_us, HOUR_US) for at_us in started)
            if rows := batch.prepared.rows.without(present):
                blocks.append(rows)
        missing = joined(blocks) if blocks else None
        if missing is not None:
            names = {*missing.columns["batch"]}
            there = await parts.books.amounts_of_batches(names)
            booked = amounts_of(await parts.booked.transfers_of(names))
            fit = missing.without(unfit(missing, there, booked))
            self._done.missing += len(missing)
            self._done.unfit += len(missing) - len(fit)
            if fit and self._dry_run:
                self._would.update(fit.columns["batch"])
            if fit:
                await parts.store.add(fit)
            missing = fit
        await self._restore_reports(bounds, pending, {*missing.columns["event_id"]} if missing is not None else set())

    async def _restore_reports(self, bounds: Bounds, pending: Sequence[Batch], made: set[bytes]) -> None:
        """Writes what was said about records that could not be used, and about charges of the rows that were made."""
        store, token = self._parts.store, f"rebuilt/{bounds.batch}/{self._parts.clock.now_us()}"
        letters = [one for batch in pending if batch.prepared is not None for one in batch.prepared.letters]
        if letters:
            known = await store.letters(bounds)
            letters = [one for one in letters if one.offset not in known]
        found = [
            mismatch_row(one, batch.bounds, batch.records[-1].at_us)
            for batch in pending
            if batch.prepared is not None
            for one in batch.prepared.mismatches
            if one.event.event_id in made
        ]
        if found:
            said = await store.mismatched({row["batch"] for row in found})
            found = [row for row in found if row["event_id"] not in said]
        self._done.letters += len(letters)
        self._done.mismatches += len(found)
        if letters and not self._dry_run:
            await store.insert_poison([poison_row(one) for one in letters], f"{token}/poison")
        if found and not self._dry_run:
            await store.insert_mismatches(found, f"{token}/mismatch")

    async def _mend_sums(self) -> None:
        """Makes the sums again that rows are missing of, in the hours that were read: also of a run that was killed."""
        for rollup in ROLLUPS.values():
            # What is lacking is looked for between two inserts; beside one it may look otherwise.
            found = await self._parts.rollups.differing(rollup, sorted(self._hours), _ROWS_TOGETHER, doubtful=True)
            for day in sorted({floor(one.bucket_us, DAY_US) for one in found}):
                self._done.sums += await self._parts.refill.lacking(rollup, day, day + DAY_US)

    async def _say_what_is_left(self) -> None:
        # Nothing was booked before the first transfer.
        first_us = max(self._from_us, await self._parts.booked.first_us() or self._to_us)
        report = await self._parts.compare.rows_and_ledger(first_us, self._to_us, _COMPARED_TOGETHER_US)
        left = [one for one in report.differences if one.kind in _MONEY and one.batch not in self._would]
        kept = {source.bounds.source: source.bounds.low for source in self._sources.values()}
        self._done.not_rebuilt = [replace(one, detail=f"{_why(one.batch, kept)}; {one.detail}") for one in left[:_MOST]]
        self._done.cut = report.cut + max(0, len(left) - _MOST)


def _why(batch: str, kept: Mapping[str, int]) -> str:
    name = parse_batch(batch)
    if name is None or name.source not in kept:
        return "the event log has no records of its partition"
    if name.low < kept[name.source]:
        return f"the event log keeps records from {kept[name.source]} on"
    return "made again it is not what the ledger booked, or would be"
