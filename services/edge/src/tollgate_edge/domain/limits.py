"""Limits that operators set on keys, projects and organizations."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tollgate_holds import LimitSet, Scope

KEY: Final = "key"
PROJECT: Final = "project"
ORGANIZATION: Final = "organization"
# Whole numbers, 0 for none.
LIMIT_NAMES: Final = ("requests_per_minute", "tokens_per_minute", "concurrency")
# Of one request, whoever asks: beyond it nobody can mean it.
MAX_OUTPUT_TOKENS: Final = 100_000_000
MAX_CHOICES: Final = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key, project or organization may use; 0 is no limit. `concurrency` counts open requests.

    `budget_pico` may be spent in `budget_window`, in pico-units of the organization's currency.
    """

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    budget_pico: int = 0
    budget_window: str = "month"

    @property
    def any(self) -> bool:
        """Says whether anything is limited."""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.concurrency or self.budget_pico)

    def scope(self, kind: str, owner: str) -> Scope | None:
        """Returns the scope in which they are counted; None when there is nothing to count."""
        if not self.any:
            return None
        return Scope(
            kind,
            owner,
            self.requests_per_minute,
            self.tokens_per_minute,
            self.concurrency,
            self.budget_pico,
            self.budget_window,
        )


NO_LIMITS: Final = Limits()


def limit_set(organization: str, *scopes: Scope | None) -> LimitSet | None:
    """Returns what a request of this organization is admitted within; None when no scope limits anything."""
    found = tuple(scope for scope in scopes if scope is not None)
    return LimitSet(organization, found) if found else None


@dataclass(frozen=True, slots=True)
class BudgetWindow:
    """A window of a budget: its name, as `budgets.lua` says it, and its ends in microseconds, 0 for none."""

    name: str
    begin_us: int
    end_us: int


def budget_window(kind: str, at_us: int) -> BudgetWindow:
    """Returns the day, the month or all time at this moment; days and months are those of UTC."""
    if kind == "total":
        return BudgetWindow("all", 0, 0)
    day = datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(hour=0, minute=0, second=0)
    if kind == "day":
        return BudgetWindow(f"{day:%Y-%m-%d}", _us(day), _us(day + timedelta(days=1)))
    first = day.replace(day=1)
    return BudgetWindow(f"{first:%Y-%m}", _us(first), _us((first + timedelta(days=31)).replace(day=1)))


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
