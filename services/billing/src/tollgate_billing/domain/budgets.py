"""Budgets over what was booked: windows by computation, thresholds, and what holds while they are reached.

A window belongs to the calendar of the budget's time zone: it begins at the first moment of its first day and ends
where the next one begins, so that days of 23 and 25 hours are whole days. A rolling one is the last N times 24 hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

ORGANIZATION: Final = "organization"
TAG: Final = "tag"
MEMBER: Final = "member"
SCOPES: Final = (ORGANIZATION, "project", MEMBER, "key", "model", TAG)
PERIODS: Final = ("day", "week", "month", "total", "rolling")
NOTIFY, DOWNGRADE, BLOCK = "notify", "downgrade", "block"
ACTIONS: Final = (NOTIFY, DOWNGRADE, BLOCK)
MAX_DAYS: Final = 366
MAX_PERCENT: Final = 1_000
DAY_US: Final = 86_400_000_000
HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Threshold:
    """At `percent` of the amount and above, `action` is taken; `model` is what a downgrade turns to."""

    percent: int
    action: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """`scope_id` is the id of a project or key, a member, a model's name or a tag of keys; empty for the organization.

    Amounts are pico-units.

    `days` is the length of a rolling period, else 0. `thresholds` are in ascending order of their percents.
    """

    id: str
    organization_id: str
    name: str
    scope: str
    scope_id: str
    period: str
    days: int
    time_zone: str
    amount_pico: int
    currency: str
    thresholds: tuple[Threshold, ...]
    created_us: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Of time in microseconds, its begin included and its end not; an end of 0 is none.

    `name` is what a threshold is told under once: the first day of a calendar window, the day of a rolling one.
    """

    name: str
    begin_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class State:
    """What a budget has taken in a window. `reached` is in ascending order of percents.

    `action` is what holds now, empty for nothing; it ends at `opens_us` if nothing more is spent, 0 for not by itself.
    """

    window: Window
    spent_pico: int
    reached: tuple[Threshold, ...]
    action: str
    model: str
    opens_us: int
    evaluated_us: int

    @property
    def reached_percent(self) -> int:
        """The highest threshold that is reached; 0 for none."""
        return self.reached[-1].percent if self.reached else 0


def window_at(budget: Budget, now_us: int) -> Window:
    """Returns the window that a moment is in."""
    zone = ZoneInfo(budget.time_zone)
    today = datetime.fromtimestamp(now_us // 1_000_000, UTC).astimezone(zone).date()
    if budget.period == "total":
        return Window("total", 0, 0)
    if budget.period == "rolling":
        return Window(today.isoformat(), now_us - budget.days * DAY_US, 0)
    first, following = _calendar(budget.period, today)
    return Window(first.isoformat(), _first_moment(first, zone), _first_moment(following, zone))


def _calendar(period: str, today: date) -> tuple[date, date]:
    if period == "day":
        return today, today + timedelta(days=1)
    if period == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    first = today.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def _first_moment(day: date, zone: ZoneInfo) -> int:
    # Where clocks are put forward at midnight, the midnight that does not exist is the moment of the change; where they
    # are put back over it, it is the earlier of the two.
    return int(datetime.combine(day, time(), zone).timestamp()) * 1_000_000


def reached(budget: Budget, spent_pico: int) -> tuple[Threshold, ...]:
    """Returns the thresholds that a sum has reached, in ascending order."""
    return tuple(one for one in budget.thresholds if spent_pico * 100 >= budget.amount_pico * one.percent)


def evaluate(budget: Budget, window: Window, spent_pico: int, now_us: int, opens_us: int = 0) -> State:
    """Returns the state of a budget; `opens_us` is when a rolling one falls below what it is held by."""
    found = reached(budget, spent_pico)
    held = holding(found)
    opens = 0 if held is None else window.end_us or opens_us
    return State(
        window=window,
        spent_pico=spent_pico,
        reached=found,
        action=held.action if held is not None else "",
        model=held.model if held is not None else "",
        opens_us=opens,
        evaluated_us=now_us,
    )


def holding(found: Sequence[Threshold]) -> Threshold | None:
    """Returns the threshold that decides about requests: a block before a downgrade, a higher before a lower one."""
    for action in (BLOCK, DOWNGRADE):
        of_action = [one for one in found if one.action == action]
        if of_action:
            return of_action[-1]
    return None


def opens_at(budget: Budget, threshold: Threshold, spent_pico: int, hours: Sequence[tuple[int, int]]) -> int:
    """Returns when a rolling budget falls below a threshold if nothing more is spent.

    `hours` are (begin in microseconds, pico-units spent in that hour), ascending. An hour has left the window as a
    whole when its end has.
    """
    left = spent_pico
    for begin_us, charge_pico in hours:
        left -= charge_pico
        if left * 100 < budget.amount_pico * threshold.percent:
            return begin_us + HOUR_US + budget.days * DAY_US
    return 0
