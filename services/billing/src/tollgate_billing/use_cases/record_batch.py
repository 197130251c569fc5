"""Books one batch of usage events: the same records always lead to the same rows, transfers and effects.

Each step may be repeated: inserts carry the batch as their token, the ledger takes a batch once, wallets know the last
batch of each source. So whatever breaks, the batch is done again from its first step until all have succeeded.
"""

import asyncio
import base64
import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tollgate_billing.domain.event import ESTIMATE, Event, decode_all
from tollgate_billing.domain.fields import Columns, columns_of
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import (
    ROW_LOST,
    Booked,
    Judged,
    KeptFinal,
    KeptFinals,
    judge,
    looked_up,
    set_aside,
)
from tollgate_billing.domain.poison import POISON_LIMIT, count_on_end
from tollgate_billing.domain.postings import (
    TOO_MUCH_MONEY,
    TakenBack,
    Transfer,
    WalletEffect,
    effects_of,
    first_beyond,
    taken_back_of,
    transfers_of,
)
from tollgate_billing.domain.recent import WINDOW_US, RecentIds
from tollgate_billing.domain.rows import SETTLED, Block, Row, rows_of
from tollgate_billing.domain.verify import Mismatch, verify_all
from tollgate_billing.errors import TooMuchPoison
from tollgate_billing.ports import DeadLetters, Ledger, Letter, OpenException, Posting, Prices, UsageStore, Wallets
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.insert_rows import InsertRows
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_kit.clock import Clock
from tollgate_kit.event_log import Stored
from tollgate_rating import INT64_MAX

log = logging.getLogger(__name__)

# Rows are asked for from a little before the window, which is counted in slots.
_RECENT_US: Final = WINDOW_US + 10 * 60 * 1_000_000
_OPEN_US: Final = 24 * 3600 * 1_000_000
_STATUS_NAMES: Final = {2: "confirmed", 1: "unconfirmed", 0: "witness", ESTIMATE: SETTLED}


@dataclass(slots=True)
class Prepared:
    """What was decided about a batch before anything was written; `at`: when, in seconds of the machine's own clock.

    Of the events themselves, which are most of the memory, only those are kept whose trace is, or that have no price.
    """

    at: float
    events: int
    traced: list[Judged]
    unpriced: list[Event]
    rows: Block
    letters: list[Letter]
    mismatches: list[Mismatch]
    duplicates: int
    transfers: list[Transfer]
    effects: list[WalletEffect]
    opened: list[OpenException]
    closed: list[str]
    finals: list[KeptFinal]
    corrected: list[bytes]
    taken_back: list[TakenBack]
    lost: int
    adjustments: int


@dataclass(slots=True)
class Decoded:
    """The events of a batch, their fields by column, and what is none; the versions that have the prices they name.

    `places` are those of the letters among the records.
    """

    events: list[Event]
    columns: Columns
    letters: list[Letter]
    places: list[int]
    versions: dict[str, str]


@dataclass(slots=True)
class Batch:
    """Records of one source, in order. `resumed`: an earlier process had begun to book them.

    `marked`: the log has its intent; `written`: the usage store has its rows. `again`: it was booked long ago, and what
    was wrong with it was said then.
    """

    bounds: Bounds
    owner: str
    records: Sequence[Stored]
    resumed: bool
    started_us: int
    decoded: Decoded | None = None
    prepared: Prepared | None = None
    marked: bool = False
    written: bool = False
    again: bool = False

    def let_go(self) -> None:
        """Notes that it is written, and keeps nothing of its rows and records: to book it needs neither.

        The first record tells how old it is.
        """
        assert self.prepared is not None
        self.written = True
        self.records = self.records[:1]
        self.prepared.rows = Block(dict.fromkeys(self.prepared.rows.columns, ()))


@dataclass(slots=True)
class SourceState:
    """What is remembered about a source while it is held: of every batch that was prepared, written or not.

    A batch that was prepared is tried until it is booked, or the source is lost and this with it. `exceptions` are
    requests with a final that something better may still replace; those of other sources do no harm. `poison` is how
    many of the last records on end could not be used.
    """

    recent: RecentIds | None = None
    exceptions: set[str] | None = None
    poison: int = 0


def _nobody_asks(_organizations: Iterable[str]) -> None:
    """Without budgets, nobody needs to know whose usage was booked."""


class RecordBatch:
    """`reached` is told each step that is behind, for tests that end the process there; `boottime` counts sleep, too.

    `keep` knows which batches Redis has, and brings those that others left in the ledger; `booked` is told whose usage
    was booked. More poison on end than `poison_limit` is not set aside; 0 is no limit.
    """

    def __init__(
        self,
        *,
        store: UsageStore,
        ledger: Ledger,
        wallets: Wallets,
        prices: Prices,
        letters: DeadLetters,
        clock: Clock,
        boottime: Callable[[], float],
        counters: BillingCounters,
        reached: Callable[[str], None],
        keep: KeepWallets,
        booked: Callable[[Iterable[str]], None] = _nobody_asks,
        poison_limit: int = POISON_LIMIT,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._wallets = wallets
        self._prices = prices
        self._letters = letters
        self._clock = clock
        self._boottime = boottime
        self._insert = InsertRows(store, boottime)
        self._counters = counters
        self._reached = reached
        self._keep = keep
        self._booked = booked
        self._poison_limit = poison_limit

    async def prepare(self, batch: Batch, state: SourceState, *, ahead: bool = False) -> None:
        """Decides what becomes of each event, once; writes nothing. Batches of a source are prepared in their order.

        `ahead` is while an earlier batch is being written: what needs the rows of earlier ones is left to another call.
        Raises Unavailable or TooMuchPoison.
        """
        if batch.prepared is not None:
            return
        if batch.decoded is None:
            batch.decoded = await asyncio.to_thread(_decoded, batch)
        decoded, at = batch.decoded, self._boottime()
        most, poison = count_on_end(state.poison, decoded.places, len(batch.records))
        # What was booked already is poison that somebody looked at, whatever the limit is by now.
        if decoded.letters and not batch.again and 0 < self._poison_limit < most:
            raise TooMuchPoison(_too_much(batch, decoded.letters, most))
        first_us = min(record.at_us for record in batch.records)
        if state.exceptions is None:
            state.exceptions = set(await self._ledger.open_requests(first_us - _OPEN_US))
        if state.recent is None:
            state.recent = await self._store.recent_ids(batch.bounds, first_us - _RECENT_US)
        looked = looked_up(decoded.events, state.exceptions)
        if looked and ahead:
            return
        # In this order: rows are there before the ledger keeps what they say.
        finals = await self._ledger.finals(looked, batch.bounds) if looked else {}
        history = await self._store.history(looked, batch.bounds) if looked else {}
        if not batch.again and (aside := set_aside(decoded.events, history, finals)):
            _take_out(decoded, aside, batch, ROW_LOST)
        await self._learn_prices(decoded.versions)
        decide = functools.partial(self._decided, at, batch, decoded, looked, history, finals, state.recent)
        prepared = batch.prepared = await asyncio.to_thread(decide)
        batch.decoded, state.poison = None, poison
        _remember(prepared, state.recent)
        state.exceptions.difference_update(prepared.closed)
        state.exceptions.update(one.request_id for one in prepared.opened)
        if not batch.again:
            _report(prepared.mismatches)
            _report_unpriced(prepared.unpriced)

    async def write(self, batch: Batch) -> None:
        """Writes the usage store and dead letters of a prepared batch. Raises Unavailable or EventLogUnavailable."""
        prepared, token = batch.prepared, batch.bounds.batch
        assert prepared is not None
        if prepared.letters:
            await self._letters.send(prepared.letters)
            self._reached("after_letters")
            await self._store.insert_poison([poison_row(letter) for letter in prepared.letters], f"{token}/poison")
        if prepared.mismatches:
            rows = [mismatch_row(one, batch.bounds, self._clock.now_us()) for one in prepared.mismatches]
            await self._store.insert_mismatches(rows, f"{token}/mismatch")
        await self._insert(batch.bounds, prepared.rows, prepared.at, resumed=batch.resumed)
        # The same batch may be tried again by this process, when a later step failed.
        batch.resumed = True
        self._reached("after_insert")

    async def book(self, batch: Batch) -> None:
        """Posts the ledger and applies the effects on wallets; nothing else that changes a wallet may run meanwhile.

        Raises Unavailable, OwnershipLost or LedgerRefused.
        """
        prepared = batch.prepared
        assert prepared is not None
        effects = await self._ledger.post(
            Posting(
                bounds=batch.bounds,
                owner=batch.owner,
                transfers=prepared.transfers,
                effects=prepared.effects,
                opened=prepared.opened,
                closed=prepared.closed,
                finals=prepared.finals,
                corrected=prepared.corrected,
                taken_back=prepared.taken_back,
                now_us=self._clock.now_us(),
            )
        )
        self._reached("after_ledger")
        self._booked(effect.organization_id for effect in effects)
        source, name = batch.bounds.source, batch.bounds.batch
        # All at once, so that they share round trips. Each is ended before the lock is let go, whatever another meets.
        outcomes = await asyncio.gather(
            *(self._wallets.book(effect, source, name) for effect in effects), return_exceptions=True
        )
        missing = []
        for effect, outcome in zip(effects, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            self._counters.add("corrected_holds", outcome.corrected)
            if outcome.missing:
                missing.append(effect.organization_id)
        self._keep.applied(batch.bounds.source, batch.bounds.batch)
        if missing:
            # The ledger that they are made from may have more batches that Redis has not.
            await self._keep.catch_up()
        for organization_id in missing:
            _, balance = await self._ledger.balance(organization_id)
            await self._wallets.rebuild(organization_id, balance)
            self._counters.add("rebuilt_wallets")
        self._reached("after_redis")

    def finish(self, batch: Batch) -> None:
        """Counts what was booked, once the batch is committed."""
        prepared = batch.prepared
        assert prepared is not None
        add = self._counters.add
        add("batches")
        add("events", prepared.events)
        add("duplicates", prepared.duplicates)
        add("poison", len(prepared.letters))
        add("lost", prepared.lost)
        add("adjustments", prepared.adjustments)
        add("unpriced", len(prepared.unpriced))
        for mismatch in prepared.mismatches:
            self._counters.mismatches[mismatch.reason] += 1

    async def _learn_prices(self, versions: Mapping[str, str]) -> None:
        unknown = {digest: version for digest, version in versions.items() if digest and not self._prices.knows(digest)}
        if unknown:
            await self._prices.learn(unknown)

    def _decided(
        self,
        at: float,
        batch: Batch,
        decoded: Decoded,
        looked: frozenset[str],
        history: Mapping[str, Sequence[Booked]],
        finals: KeptFinals,
        recent: RecentIds,
    ) -> Prepared:
        while True:
            judged, duplicates = judge(decoded.events, recent, looked, history, finals)
            events = [one.event for one in judged]
            columns = columns_of([event.fields for event in events]) if duplicates else decoded.columns
            transfers = transfers_of(judged, columns)
            # All together, so that no sum of some of them is beyond it either.
            if sum(one.amount_pico for one in transfers) <= INT64_MAX:
                break
            beyond = first_beyond(judged, INT64_MAX)
            _take_out(decoded, [event for event in decoded.events if event.offset >= beyond], batch, TOO_MUCH_MONEY)
        opened, closed = _exceptions(judged)
        rows = rows_of(judged, batch.bounds, self._clock.now_us(), columns)
        self._store.make_ready(rows)
        corrected = [one.corrects.event_id for one in judged if one.corrects is not None]
        return Prepared(
            at=at,
            events=len(judged),
            traced=[one for one in judged if one.event.fields.trace_kept],
            unpriced=[event for event in events if event.fields.unpriced],
            rows=rows,
            letters=decoded.letters,
            mismatches=verify_all(events, columns, self._prices),
            duplicates=duplicates,
            transfers=transfers,
            effects=effects_of(judged),
            opened=opened,
            closed=closed,
            finals=_finals(judged),
            corrected=corrected,
            taken_back=taken_back_of(judged),
            lost=sum(rows.columns["superseded"]),
            adjustments=len(corrected),
        )


def _decoded(batch: Batch) -> Decoded:
    records = batch.records
    events, columns, poison = decode_all(records)
    letters = []
    for place, reason in poison:
        record = records[place]
        letters.append(_letter(record, reason))
    if letters and not batch.again:
        first = letters[0]
        fields = {"records": len(letters), "partition": first.partition, "offset": first.offset, "reason": first.reason}
        log.error("records of the event log cannot be used", extra={"fields": fields})
    versions = dict(zip(columns["price_digest"], columns["config_digest"], strict=True))
    versions |= {event.rate_digest: event.fields.config_digest for event in events if event.converted is not None}
    return Decoded(events, columns, letters, [place for place, _ in poison], versions)


def _letter(record: Stored, reason: str) -> Letter:
    claim = record.claim
    return Letter(claim.topic, claim.partition, record.offset, record.at_us, record.key, record.value, reason)


def _take_out(decoded: Decoded, aside: Sequence[Event], batch: Batch, reason: str) -> None:
    """Makes letters of events that can be read and cannot be booked in this batch."""
    offsets = {event.offset for event in aside}
    decoded.events = [event for event in decoded.events if event.offset not in offsets]
    decoded.columns = columns_of([event.fields for event in decoded.events])
    decoded.letters += [_letter(record, reason) for record in batch.records if record.offset in offsets]
    if not batch.again:
        fields = {"events": len(aside), "request_id": aside[0].request_id, "reason": reason}
        log.error("events are set aside that can be replayed later", extra={"fields": fields})


def _too_much(batch: Batch, letters: Sequence[Letter], most: int) -> str:
    bounds, first = batch.bounds, letters[0]
    return (
        f"partition {bounds.partition} of {bounds.topic} is stopped before record {bounds.low}: {most} records on end "
        f"cannot be used, such as record {first.offset}: {first.reason}"
    )


def _remember(prepared: Prepared, recent: RecentIds) -> None:
    # Adjustments are the last rows, and no events.
    count, columns = prepared.events, prepared.rows.columns
    recent.add_all(columns["event_id"][:count], columns["logged_at"][:count])


def _report(mismatches: Sequence[Mismatch]) -> None:
    """One alert a batch and reason, with an example; the rows name every request."""
    examples: dict[str, list[Mismatch]] = {}
    for one in mismatches:
        examples.setdefault(one.reason, []).append(one)
    for reason, found in examples.items():
        first = found[0]
        fields = {
            "reason": reason,
            "events": len(found),
            "request_id": first.event.request_id,
            "found_pico": first.found_pico,
            "expected_pico": first.expected_pico,
            "detail": first.detail,
        }
        log.error("router and billing do not agree on a charge", extra={"fields": fields})


def _report_unpriced(unpriced: Sequence[Event]) -> None:
    """One alert a batch: what is served and not charged for want of a price is seen at once, not in a month's sums."""
    if unpriced:
        first = unpriced[0].fields
        fields = {"events": len(unpriced), "request_id": first.request_id, "model": first.model}
        log.error("requests used what has no price and are charged nothing", extra={"fields": fields})


def _exceptions(judged: Sequence[Judged]) -> tuple[list[OpenException], list[str]]:
    """Returns the finals that something better may still replace, and the requests of which that is over."""
    opened: dict[str, OpenException] = {}
    closed: set[str] = set()
    for one in judged:
        if not one.exceptional or not one.event.final or one.lost:
            continue
        event = one.event
        status, request = event.rank[0], event.request_id
        if status == 2:
            opened.pop(request, None)
            closed.add(request)
        else:
            opened[request] = OpenException(
                request, event.event_id, _STATUS_NAMES[status], event.number_of_try, event.at_us
            )
    return list(opened.values()), sorted(closed)


def _finals(judged: Sequence[Judged]) -> list[KeptFinal]:
    return [
        KeptFinal(
            one.event.event_id, one.event.request_id, one.event.offset, one.event.fields.started_at_us, not one.lost
        )
        for one in judged
        if one.exceptional and one.event.final
    ]


def poison_row(letter: Letter) -> Row:
    """Returns the row of the usage store about a record that could not be used."""
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "logged_at": letter.at_us,
        "reason": letter.reason,
        "key_base64": base64.b64encode(letter.key).decode(),
        "value_base64": base64.b64encode(letter.value).decode(),
    }


def mismatch_row(mismatch: Mismatch, bounds: Bounds, now_us: int) -> Row:
    """Returns the row of the usage store about a charge that router and billing do not agree on."""
    event = mismatch.event
    return {
        "event_id": event.event_id,
        "request_id": event.request_id,
        "organization_id": event.fields.organization_id,
        "model": event.fields.model,
        "price_digest": event.fields.price_digest,
        "reason": mismatch.reason,
        "detail": mismatch.detail,
        "found_pico": mismatch.found_pico,
        "expected_pico": mismatch.expected_pico,
        "batch": bounds.batch,
        "src_offset": event.offset,
        "found_at": now_us,
    }
