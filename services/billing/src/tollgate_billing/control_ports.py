"""What budgets, notices and anomalies need from outside."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tollgate_billing.domain.alerts import Alert
from tollgate_billing.domain.anomalies import Anomaly, KeyHour, KeyNetwork, Repeat
from tollgate_billing.domain.budgets import Budget, State, Threshold
from tollgate_billing.domain.delivery import Destination
from tollgate_billing.domain.forecast import Pace


@dataclass(frozen=True, slots=True)
class Part:
    """Usage of an organization, or of one of its projects, keys or models (`scope`, `scope_id`)."""

    organization_id: str
    scope: str
    scope_id: str


@dataclass(frozen=True, slots=True)
class Spend:
    """Usage whose requests began in this time, in microseconds; an end of 0 is none."""

    part: Part
    begin_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class BudgetWithState:
    """`state` is None before the first evaluation; of its `reached` only the highest percent is kept."""

    budget: Budget
    state: State | None


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that people are to be told once. `key` is what it is told once under; `content` is plain JSON.

    `organization_id` says whom it concerns, empty for the books; `about` is budget, anomaly, books or test.
    """

    key: str
    organization_id: str
    about: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Thresholds that a state has newly reached, in ascending order, and what to tell of the highest."""

    state: State
    thresholds: tuple[Threshold, ...]
    fact: Fact


@dataclass(frozen=True, slots=True)
class Notice:
    """One fact for one destination. `state` is waiting, sent or failed; times are microseconds, 0 is never.

    `message_id` is that of the message it travels in, which stays the same however often that is tried.
    """

    id: str
    destination_id: str
    organization_id: str
    about: str
    content: Mapping[str, Any]
    state: str = "waiting"
    attempts: int = 0
    created_us: int = 0
    due_us: int = 0
    sent_us: int = 0
    message_id: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Notices that travel together to one destination."""

    id: str
    destination: Destination
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: `problem` is empty when it was taken. `retry_after_seconds` is what was asked for."""

    problem: str = ""
    final: bool = False
    retry_after_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in words: a title, and paragraphs. `facts` are what it was made of, for programs."""

    id: str
    title: str
    paragraphs: tuple[str, ...]
    created_us: int
    facts: tuple[Mapping[str, Any], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Troubled:
    """Rows that something is wrong with: how many, when the last came in microseconds, and some of them by name."""

    count: int
    last_us: int
    request_ids: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What a process has on its disk that the event log has not; `problem` is why it cannot leave, or empty."""

    process: str
    records: int
    size_bytes: int
    limit_bytes: int
    problem: str = ""


class Troubles(Protocol):
    """What usage rows say of their own making. Raises UsageStoreUnavailable."""

    async def mismatches(self, since_us: int) -> Troubled:
        """Returns charges that billing computed otherwise since then; `names` are the reasons."""
        ...

    async def unpriced(self, since_us: int) -> Troubled:
        """Returns calls without a price that were booked since then; `names` are the models."""
        ...

    async def last_letter_us(self) -> int:
        """Returns when the newest dead letter came into the log; 0 where there is none."""
        ...


class Alerts(Protocol):
    """Raises LedgerUnavailable."""

    async def keep(
        self,
        found: Sequence[Alert],
        looked: Mapping[str, Collection[str] | None],
        facts: Callable[[Alert], Fact],
        now_us: int,
    ) -> Sequence[Alert]:
        """Keeps what is wrong now, with a notice for each destination where that is news; returns what was news.

        `looked` has the subjects that were looked at by kind, None for all: all others of them are kept as being over.
        `facts` gives what to tell. It is one transaction.
        """
        ...


class Spending(Protocol):
    """What usage rows say of money. Raises UsageStoreUnavailable."""

    async def spent(self, asked: Sequence[Spend]) -> list[int]:
        """Returns what each of them cost, in pico-units."""
        ...

    async def pace(self, part: Part, now_us: int) -> Pace:
        """Returns what was spent in the last 24 hours."""
        ...

    async def hours(self, spend: Spend) -> list[tuple[int, int]]:
        """Returns (begin in microseconds, pico-units) of each hour with use, ascending."""
        ...

    async def key_hours(self, since_us: int, until_us: int, active_since_us: int) -> list[KeyHour]:
        """Returns hours of use by key and model, of the keys that were used since `active_since_us`, ascending."""
        ...

    async def project_hours(self, since_us: int, until_us: int, active_since_us: int) -> list[KeyHour]:
        """Returns hours of use by project and model, of organizations that used any since `active_since_us`."""
        ...

    async def key_networks(self, since_us: int, until_us: int, active_since_us: int) -> list[KeyNetwork]:
        """Returns the networks of the keys that were used from a known one since `active_since_us`."""
        ...

    async def repeats(self, since_us: int, until_us: int, hour_us: int, fewest: int) -> list[Repeat]:
        """Returns requests that a key sent at least `fewest` times in the hour that begins at `hour_us`."""
        ...

    async def members(self, keys: Sequence[tuple[str, str]], since_us: int, until_us: int) -> dict[str, str]:
        """Returns whose keys, as (organization, key), were, by key; those of nobody are left out."""
        ...


class Budgets(Protocol):
    """Raises LedgerUnavailable."""

    async def add(self, budget: Budget) -> None:
        """Keeps a new budget. Raises NameTaken, or InvalidControl when the organization has too many."""
        ...

    async def list(self, organization_id: str, limit: int, before_id: str) -> Sequence[BudgetWithState]:
        """Returns budgets by id, newest first; of all organizations when none is named."""
        ...

    async def get(self, budget_id: str) -> BudgetWithState | None:
        """Returns a budget; None when there is none."""
        ...

    async def remove(self, budget_id: str) -> bool:
        """Removes a budget and what was kept of it; says whether there was one."""
        ...

    async def of(self, organizations: Sequence[str]) -> Sequence[BudgetWithState]:
        """Returns all budgets of these organizations."""
        ...

    async def stale(self, before_us: int, limit: int) -> Sequence[BudgetWithState]:
        """Returns budgets that were last evaluated before then, those that waited longest first."""
        ...

    async def save(self, states: Mapping[str, State], crossings: Mapping[str, Crossing]) -> int:
        """Keeps states by the budget's id, and crossings that were not kept before with a notice for each destination.

        All of it is one transaction. Returns how many notices there are to send.
        """
        ...

    async def holding(self, now_us: int) -> Sequence[BudgetWithState]:
        """Returns the budgets that block or downgrade now, by id."""
        ...


class Destinations(Protocol):
    """Raises LedgerUnavailable."""

    async def add(self, destination: Destination) -> None:
        """Keeps a new destination. Raises NameTaken."""
        ...

    async def list(self) -> list[Destination]:
        """Returns all of them by name."""
        ...

    async def get(self, destination_id: str) -> Destination | None:
        """Returns a destination; None when there is none."""
        ...

    async def remove(self, destination_id: str) -> bool:
        """Removes a destination with what waits for it; says whether there was one."""
        ...


class Outbox(Protocol):
    """Notices that wait, and what became of them. Raises LedgerUnavailable."""

    async def take(self, now_us: int, lease_us: int, limit: int) -> list[Message]:
        """Returns up to `limit` messages that are due; nobody else gets them until the lease is over.

        What is due at a destination in quiet hours is put off to their end.
        """
        ...

    async def settle(self, message: Message, outcome: Outcome, now_us: int, retry_us: int) -> None:
        """Says what became of a message; `retry_us` is when to try again, 0 for never."""
        ...

    async def list(self, limit: int, before_id: str) -> list[Notice]:
        """Returns notices by id, newest first."""
        ...


class Anomalies(Protocol):
    """Raises LedgerUnavailable."""

    async def add(self, found: Sequence[Anomaly], facts: Mapping[str, Fact], now_us: int) -> int:
        """Keeps those that were not found before that day, with a notice for each destination; returns how many.

        `facts` are by the anomaly's id.
        """
        ...

    async def list(self, organization_id: str, limit: int, before_id: str) -> list[Anomaly]:
        """Returns anomalies by id, newest first; of all organizations when none is named."""
        ...


class Sender(Protocol):
    """Carries a letter to a destination."""

    async def send(self, destination: Destination, letter: Letter) -> Outcome:
        """Returns what became of it; never raises for what the other side does."""
        ...
