"""When money or a budget is used up, if spending goes on as it did in the last 24 hours."""

from dataclasses import dataclass
from typing import Final

from tollgate_billing.domain.budgets import HOUR_US, Budget, Window

SPAN_US: Final = 24 * HOUR_US
_DAY_HOURS: Final = 24
# Beyond this nobody plans, and a date may be more than a calendar holds.
_FARTHEST_US: Final = 10 * 365 * 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Pace:
    """What was spent in the last 24 hours, in pico-units, and since when there was any use in them; 0 for none."""

    charge_pico: int
    first_us: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """`runs_out_us` is 0 where it does not within the window, or not at this pace. `hours` is what was measured."""

    per_day_pico: int
    runs_out_us: int
    hours: int


def forecast(pace: Pace, left_pico: int, now_us: int, end_us: int = 0) -> Forecast:
    """Returns when `left_pico` is used up at this pace; what is used up already was so at `now_us`.

    Use that began less than 24 hours ago is taken over the hours since then, at least one, so that a new key's first
    minutes are not spread over a day, nor blown up to one.
    """
    since = now_us - pace.first_us if pace.first_us else 0
    hours = min(_DAY_HOURS, max(1, -(-since // HOUR_US)))
    per_day = pace.charge_pico * _DAY_HOURS // hours
    if left_pico <= 0:
        return Forecast(per_day, now_us, hours)
    if pace.charge_pico <= 0:
        return Forecast(0, 0, hours)
    after = left_pico * hours * HOUR_US // pace.charge_pico
    runs_out = now_us + after if after < _FARTHEST_US else 0
    return Forecast(per_day, 0 if end_us and runs_out >= end_us else runs_out, hours)


def of_budget(budget: Budget, window: Window, spent_pico: int, pace: Pace, now_us: int) -> Forecast:
    """Returns when a budget is used up within its window; a rolling one, if nothing left its window meanwhile."""
    return forecast(pace, budget.amount_pico - spent_pico, now_us, window.end_us)
