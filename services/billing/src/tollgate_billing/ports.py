"""What billing needs from outside, each port no wider than its caller uses it."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol

from tollgate_billing.domain.books import Amounts, BatchLine, Difference
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked, KeptFinal, KeptFinals
from tollgate_billing.domain.postings import TakenBack, Transfer, WalletEffect
from tollgate_billing.domain.recent import RecentIds
from tollgate_billing.domain.rows import Block, Row
from tollgate_billing.domain.table import Table
from tollgate_billing.domain.usage_export import Month
from tollgate_billing.domain.usage_view import View
from tollgate_billing.domain.verify import KnownPrices


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that could not be used, with its original bytes and the reason."""

    topic: str
    partition: int
    offset: int
    at_us: int
    key: bytes
    value: bytes
    reason: str


class UsageStore(Protocol):
    """Raises UsageStoreUnavailable from every method."""

    async def recent_ids(self, source: Bounds, since_us: int) -> RecentIds:
        """Returns the ids of the source's events below `source.low` that were logged since."""
        ...

    async def history(self, requests: AbstractSet[str], before: Bounds) -> dict[str, list[Booked]]:
        """Returns what earlier batches booked for these requests, not counting `before` and what follows it."""
        ...

    async def present(self, bounds: Bounds) -> set[tuple[int, int]]:
        """Returns (offset, index) of each row that a batch with these bounds has already."""
        ...

    async def remembers(self, bounds: Bounds) -> bool:
        """Tells whether the token of a batch that has rows is surely remembered still; False where it may not be."""
        ...

    def make_ready(self, rows: Block) -> None:
        """Makes of rows what `insert_usage` writes, in the calling thread, so that it need not."""
        ...

    async def insert_usage(self, rows: Block, token: str, check: Callable[[], None] | None = None) -> None:
        """Adds usage rows once per token, to the rows and to each rollup, whichever of them has them already.

        `check` is called in the last moment, in any thread; what it raises is raised, and nothing is added.
        """
        ...

    async def insert_mismatches(self, rows: Sequence[Row], token: str) -> None:
        """Adds rows about rating that did not agree, once per token."""
        ...

    async def insert_poison(self, rows: Sequence[Row], token: str) -> None:
        """Adds rows about records that could not be used, once per token."""
        ...


@dataclass(frozen=True, slots=True)
class Effect:
    """What is done to one wallet in Redis: (hold id, charge) pairs and a credit, in pico-units."""

    organization_id: str
    charges: tuple[tuple[str, int], ...]
    credit_pico: int


@dataclass(frozen=True, slots=True)
class OpenException:
    """A final that something better may still replace."""

    request_id: str
    event_id: bytes
    status: str
    number_of_try: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Posting:
    """All that one batch writes to the ledger."""

    bounds: Bounds
    owner: str
    transfers: Sequence[Transfer]
    effects: Sequence[WalletEffect]
    opened: Sequence[OpenException] = field(default=())
    closed: Sequence[str] = field(default=())
    # Finals to keep, and the events whose charge the batch takes back.
    finals: Sequence[KeptFinal] = field(default=())
    corrected: Sequence[bytes] = field(default=())
    taken_back: Sequence[TakenBack] = field(default=())
    now_us: int = 0


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The last effects that were posted for a source, which Redis may or may not have."""

    source: str
    batch: str
    effects: tuple[Effect, ...]


class Ledger(Protocol):
    """Raises LedgerUnavailable from every method."""

    async def claim(self, source: str, owner: str) -> None:
        """Makes `owner` the only one whose postings for this source are taken from now on."""
        ...

    async def claimed(self) -> list[str]:
        """Returns every source that was ever claimed."""
        ...

    async def post(self, posting: Posting) -> tuple[Effect, ...]:
        """Writes a batch once and returns its effects on wallets, the same ones again when it was written before.

        Raises OwnershipLost when somebody else has claimed the source, and LedgerRefused, with nothing written, for
        values that no column or index can keep or that break a rule of the tables.
        """
        ...

    async def unfinished(self, applied: Mapping[str, str]) -> list[Unfinished]:
        """Returns the last effects of each source, but for those whose last batch is `applied`."""
        ...

    async def open_requests(self, since_us: int) -> frozenset[str]:
        """Returns the requests with an open exception that was logged since."""
        ...

    async def finals(self, requests: Collection[str], before: Bounds | None = None) -> KeptFinals:
        """Returns the finals of these requests that are kept; of `before`'s source, only those below it."""
        ...

    async def grant(self, grant: "Grant") -> int:
        """Credits a wallet once per key and returns the balance in pico-units. Raises InvalidGrant."""
        ...

    async def balance(self, organization_id: str) -> tuple[str, int]:
        """Returns the currency ("" when there is none) and what may be spent, the credit line included."""
        ...

    async def balances(self) -> dict[str, int]:
        """Returns what every organization may spend, the credit line included, in pico-units."""
        ...

    async def posted(
        self, batch: str, organization_id: str, project_id: str, model: str, price_digest: str, rate_digest: str
    ) -> "list[PostedTransfer]":
        """Returns what a batch moved for one project, model, price version and exchange rate."""
        ...


@dataclass(frozen=True, slots=True)
class PostedTransfer:
    """A transfer of the ledger and how many events it is the sum of."""

    batch: str
    debit: str
    credit: str
    currency: str
    amount_pico: int
    events: int
    created_us: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Credit for an organization; one key is granted once, whatever is asked again."""

    organization_id: str
    currency: str
    amount_pico: int
    key: str
    reason: str
    now_us: int


@dataclass(frozen=True, slots=True)
class WalletState:
    """In pico-units; `wallet` is None while Redis has none."""

    wallet: int | None
    held: int
    settled: int


@dataclass(frozen=True, slots=True)
class SweepResult:
    """`overdue` names holds that were settled long ago and never booked; `estimated` of them are being booked now."""

    released: int
    forgotten: int
    overdue: tuple[str, ...]
    estimated: int = 0


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """A hold as Redis has it. `state` is held, settled or released; `at_us` when it expires, was settled, is forgotten.

    In pico-units: what is held, or what it was settled with. `budgets` are the scopes whose budgets it moves.
    """

    hold_id: str
    state: str
    amount_pico: int
    at_us: int
    budgets: tuple[tuple[str, str], ...] = ()


class Wallets(Protocol):
    """Raises WalletsUnavailable from every method. A wallet that would be beyond int64 is the nearest to it."""

    async def book(self, effect: Effect, source: str, batch: str) -> "Outcome":
        """Applies an effect once per (source, batch)."""
        ...

    async def rebuild(self, organization_id: str, ledger_pico: int) -> tuple[int, bool]:
        """Sets the wallet to what the ledger says less what is held and unbooked; returns it and whether it changed."""
        ...

    async def reserve(self, organization_id: str, hold_id: str, amount_pico: int) -> bool:
        """Holds an amount as a request would, once per id; False when less is free. The wallet is there."""
        ...

    async def release(self, organization_id: str, hold_id: str) -> None:
        """Gives back what was reserved and not booked."""
        ...

    async def state(self, organization_id: str) -> WalletState:
        """Returns what Redis has."""
        ...

    async def find_hold(self, organization_id: str, hold_id: str) -> HoldRecord | None:
        """Returns a hold, or None for one that was booked or never was."""
        ...

    async def list_holds(self, organization_id: str) -> list[HoldRecord]:
        """Returns every hold of an organization."""
        ...

    async def sweep(self, organization_id: str) -> SweepResult:
        """Releases expired holds and forgets old tombstones."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """`missing`: there is no wallet and it has to be rebuilt; `corrected` holds were settled at another cost."""

    missing: bool
    corrected: int


class Prices(KnownPrices, Protocol):
    async def learn(self, wanted: Mapping[str, str]) -> None:
        """Tries to get price books and exchange rates that are not known.

        `wanted` maps the digest of each to a configuration version that has it.
        """
        ...


class DeadLetters(Protocol):
    async def send(self, letters: Sequence[Letter]) -> None:
        """Keeps records that could not be used where people find them. Raises EventLogUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Empty strings and zeros leave a condition out; `to_us` is exclusive."""

    organization_id: str = ""
    project_id: str = ""
    api_key_id: str = ""
    member: str = ""
    tag: str = ""
    model: str = ""
    from_us: int = 0
    to_us: int = 0


# Of a row in a list of requests: when it began (microseconds) and its event id.
Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class RequestFilter(UsageFilter):
    """Which single requests; empty leaves a condition out, too.

    `status` is confirmed, unconfirmed, witness, settled, repeated or refused; `error` the kind of a failure or the code
    of a refusal.
    """

    request_id: str = ""
    trace_id: str = ""
    outcome: str = ""
    status: str = ""
    error: str = ""
    http_status: int = 0


class RequestLog(Protocol):
    """Refused requests. Raises UsageStoreUnavailable from every method."""

    async def insert(self, rows: Sequence[Row], token: str) -> None:
        """Adds rows, a block once per token."""
        ...

    async def find(self, where: RequestFilter, limit: int, before: Place | None) -> list[dict[str, Any]]:
        """Returns refused requests, newest first, each once, older than `before`."""
        ...


class UsageQueries(Protocol):
    """Raises UsageStoreUnavailable from every method."""

    async def sums(self, where: UsageFilter, group_by: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """Returns sums over usage rows by group and currency, the dearest first; by tag a row is in several groups.

        Raises InvalidQuery for an unknown group.
        """
        ...

    async def requests(
        self, where: UsageFilter, request_id: str, limit: int, before: tuple[int, str] | None
    ) -> list[dict[str, Any]]:
        """Returns rows of single requests, newest first, older than `before` (started_at_us, event id)."""
        ...

    async def mismatches(self, request_id: str) -> list[dict[str, Any]]:
        """Returns where router and billing computed different charges for a request."""
        ...

    async def counts(self) -> dict[str, int]:
        """Returns how many rows, poisonous records and mismatches there are."""
        ...


class UsageViews(Protocol):
    """The questions that are kept as views."""

    def views(self) -> Sequence[View]:
        """Returns every view."""
        ...

    async def ask(self, view: View, values: Mapping[str, str | int], limit: int) -> Table:
        """Returns up to `limit` rows, in the view's order. Raises UsageStoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row of a batch: its request and what it says of money."""

    request_id: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class RepeatedRequest:
    """`repeated` rows more than events; `standing` finals that carry a charge."""

    request_id: str
    organization_id: str
    repeated: int
    standing: int


class UsageBooks(Protocol):
    """The usage store for comparisons. Raises UsageStoreUnavailable from every method. Times are of ingestion."""

    async def batch_amounts(self, from_us: int, to_us: int) -> dict[BatchLine, tuple[Amounts, int, int]]:
        """Returns (amounts, rows, time of the first) of each line of the batches that came in this time."""
        ...

    async def amounts_of_batches(self, batches: Collection[str]) -> dict[BatchLine, Amounts]:
        """Returns the same amounts for batches by name."""
        ...

    async def rows_of(self, line: BatchLine) -> list[BatchRow]:
        """Returns the first 10,000 rows of a line, in the log's order."""
        ...

    async def offsets_of(self, batch: str) -> list[int]:
        """Returns the places in the log that rows of a batch came from."""
        ...

    async def repeated(self, from_us: int, to_us: int, most: int, organization_id: str = "") -> list[RepeatedRequest]:
        """Returns requests with an event twice or with more than one charge, of an organization or of all.

        What came late in this time is compared with what came before it.
        """
        ...

    async def booked_finals(self, hold_ids: Collection[str], before_us: int) -> dict[str, str]:
        """Returns the batch of the final of each try that holds one of these, where there is one; and maybe others."""
        ...

    async def mismatches_between(self, from_us: int, to_us: int, most: int) -> list[Difference]:
        """Returns where router and billing computed different charges."""
        ...

    async def poison_between(self, from_us: int, to_us: int, most: int) -> list[Letter]:
        """Returns the records that could not be used."""
        ...

    async def provider_costs(self, provider: str, from_us: int, to_us: int) -> list[tuple[str, str, str, int]]:
        """Returns (UTC day, upstream model, currency, cost in pico-units) of calls of a provider that began then."""
        ...


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """What one SQL query of an operator may take."""

    seconds: int
    memory_bytes: int
    rows: int
    read_rows: int = 1_000_000_000


class UsageSql(Protocol):
    async def run(self, sql: str, limit: int) -> Table:
        """Returns up to `limit` rows of a SELECT and one more where there are more.

        Raises InvalidQuery for what cannot be run or takes too much, and UsageStoreUnavailable.
        """
        ...


class UsageExport(Protocol):
    def month(self, organization_id: str, month: Month, columns: Sequence[str]) -> AsyncIterator[bytes]:
        """Yields a Parquet file with an organization's rows of a month, in pieces. Raises UsageStoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """An account whose balance is not the sum of its transfers, in pico-units."""

    organization_id: str
    account: str
    currency: str
    balance_pico: int
    transfers_pico: int


class LedgerBooks(Protocol):
    """The ledger for comparisons. Raises LedgerUnavailable. A transfer is its line, debit, credit and amount."""

    async def heights(self) -> dict[str, int]:
        """Returns how far each source is booked (exclusive)."""
        ...

    async def transfers_of(self, batches: Collection[str]) -> list[tuple[BatchLine, str, str, int]]:
        """Returns what these batches moved."""
        ...

    async def transfers_between(self, from_us: int, to_us: int) -> list[tuple[BatchLine, str, str, int]]:
        """Returns what was booked of usage in this time."""
        ...

    async def first_us(self) -> int:
        """Returns when the first transfer was written; 0 before there is one."""
        ...

    async def batches_of(self, source: str, since_us: int) -> list[str]:
        """Returns the batches of a source that moved anything since."""
        ...

    async def unbalanced(self) -> list[Account]:
        """Returns the accounts that do not add up."""
        ...
