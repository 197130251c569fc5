"""What reports need from outside: the ledger's months, and usage row by row."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tollgate_rating import ExchangeRate


@dataclass(slots=True)
class StatementLine:
    """What one project paid for one model by one price book and exchange rate, in pico-units.

    What was taken back is above 0.
    """

    project_id: str
    model: str
    price_digest: str
    rate_digest: str = ""
    requests: int = 0
    charged_pico: int = 0
    taken_back_requests: int = 0
    taken_back_pico: int = 0


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that moved without a request; the amount is above 0 in favour of the organization."""

    at_us: int
    kind: str
    reason: str
    amount_pico: int


@dataclass(frozen=True, slots=True)
class Statement:
    """Opening and what happened make closing; without the credit line, below 0 is owed."""

    currency: str
    opening_pico: int
    closing_pico: int
    lines: tuple[StatementLine, ...] = field(default=())
    movements: tuple[Movement, ...] = field(default=())
    shortened: bool = False


class Statements(Protocol):
    async def statement(self, organization_id: str, from_us: int, to_us: int) -> Statement:
        """Returns what was booked from `from_us` on and before `to_us`. Raises LedgerUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class UsedUnits:
    """What one request used, and its charge in the price book's currency; `sign` -1 takes one back."""

    organization_id: str
    project_id: str
    model: str
    price_group: str
    currency: str
    started_us: int
    service: str
    units: dict[str, int]
    charge_pico: int
    sign: int


class UsedRows(Protocol):
    """Raises UsageStoreUnavailable."""

    async def count(self, organization_id: str, from_us: int, to_us: int) -> int:
        """Returns how many rows `pages` would give."""
        ...

    def pages(self, organization_id: str, from_us: int, to_us: int) -> AsyncIterator[Sequence[UsedUnits]]:
        """Yields what was charged and taken back, by the start of the request."""
        ...


class ExchangeRates(Protocol):
    """Raises LedgerUnavailable."""

    async def learn(self, wanted: Mapping[str, str]) -> None:
        """Tries to get rates that are not known; `wanted` maps each to a configuration version, empty for none."""
        ...

    def rate(self, digest: str) -> ExchangeRate | None:
        """Returns the rate with this digest."""
        ...
