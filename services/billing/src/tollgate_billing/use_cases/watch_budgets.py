"""Evaluates budgets as usage is booked, and tells of thresholds once.

What was spent is asked of the usage store anew each time, so there is no count that a crash could leave wrong: a
process that starts again evaluates what it finds. An organization whose usage was booked is looked at within a second;
all others now and then, since windows begin and end by themselves.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tollgate_billing.control_ports import (
    Budgets,
    BudgetWithState,
    Crossing,
    Fact,
    Part,
    Spend,
    Spending,
)
from tollgate_billing.domain.budgets import Budget, State, Threshold, evaluate, holding, opens_at, reached, window_at
from tollgate_billing.domain.forecast import Forecast, forecast, of_budget
from tollgate_billing.ports import Ledger
from tollgate_kit.clock import Clock

log = logging.getLogger(__name__)

# Without new usage: windows end, and rolling ones let go of old hours.
_STALE_US: Final = 10 * 1_000_000
_STALE_AT_ONCE: Final = 40
_MOST_DIRTY: Final = 100_000


class WatchBudgets:
    def __init__(self, budgets: Budgets, spending: Spending, ledger: Ledger, clock: Clock) -> None:
        self._budgets = budgets
        self._spending = spending
        self._ledger = ledger
        self._clock = clock
        self._dirty: set[str] = set()

    def booked(self, organizations: Iterable[str]) -> None:
        """Usage of these organizations was booked, or a budget of theirs was made."""
        # Those that find no room are looked at when they are stale.
        if len(self._dirty) < _MOST_DIRTY:
            self._dirty.update(organizations)

    async def step(self) -> int:
        """Evaluates what may have changed; returns how many notices that makes. Raises Unavailable."""
        now_us = self._clock.now_us()
        dirty, self._dirty = self._dirty, set()
        try:
            notices = await self._evaluate(await self._budgets.of(sorted(dirty)), now_us) if dirty else 0
            # Behind those that spend: however many there are, they take turns.
            stale = await self._budgets.stale(now_us - _STALE_US, _STALE_AT_ONCE)
            return notices + await self._evaluate(stale, now_us)
        except BaseException:
            self._dirty |= dirty
            raise

    async def look(self, found: Sequence[BudgetWithState], now_us: int) -> dict[str, State]:
        """Returns what these budgets have taken by now, by id. Raises Unavailable."""
        windows = [window_at(one.budget, now_us) for one in found]
        asked = [
            Spend(part_of(one.budget), window.begin_us, window.end_us)
            for one, window in zip(found, windows, strict=True)
        ]
        sums = await self._spending.spent(asked)
        states = {}
        for one, window, spend, spent in zip(found, windows, asked, sums, strict=True):
            opens_us = await self._opens(one.budget, spend, spent) if one.budget.period == "rolling" else 0
            states[one.budget.id] = evaluate(one.budget, window, spent, now_us, opens_us)
        return states

    async def _opens(self, budget: Budget, spend: Spend, spent: int) -> int:
        held = holding(reached(budget, spent))
        return 0 if held is None else opens_at(budget, held, spent, await self._spending.hours(spend))

    async def _evaluate(self, found: Sequence[BudgetWithState], now_us: int) -> int:
        if not found:
            return 0
        states = await self.look(found, now_us)
        crossings = {}
        for one in found:
            state = states[one.budget.id]
            new = newly_reached(one.budget, one.state, state)
            if new:
                fact = await self._fact(one.budget, state, new[-1], now_us)
                crossings[one.budget.id] = Crossing(state, new, fact)
        for budget_id, crossing in crossings.items():
            fields = {"budget": budget_id, "percent": crossing.thresholds[-1].percent, "action": crossing.state.action}
            log.info("a budget's threshold is reached", extra={"fields": fields})
        return await self._budgets.save(states, crossings)

    async def _fact(self, budget: Budget, state: State, threshold: Threshold, now_us: int) -> Fact:
        pace = await self._spending.pace(part_of(budget), now_us)
        ahead = of_budget(budget, state.window, state.spent_pico, pace, now_us)
        whole = await self._spending.pace(Part(budget.organization_id, "organization", ""), now_us)
        _, balance = await self._ledger.balance(budget.organization_id)
        return fact_of(budget, state, threshold, ahead, forecast(whole, balance, now_us))


def part_of(budget: Budget) -> Part:
    """Returns the usage that a budget is about."""
    return Part(budget.organization_id, budget.scope, budget.scope_id)


def newly_reached(budget: Budget, before: State | None, now: State) -> tuple[Threshold, ...]:
    """Returns the thresholds that are reached and were not when this window was last looked at.

    A rolling budget has no window to begin anew: a threshold is new when the sum was below it in between.
    """
    same = before is not None and (budget.period == "rolling" or before.window.name == now.window.name)
    known = before.reached_percent if before is not None and same else 0
    return tuple(one for one in now.reached if one.percent > known)


def fact_of(budget: Budget, state: State, threshold: Threshold, ahead: Forecast, wallet: Forecast) -> Fact:
    """Returns what to tell of a threshold that was reached, once for each window."""
    content: Mapping[str, object] = {
        "about": "budget",
        "budget_id": budget.id,
        "budget": budget.name,
        "organization_id": budget.organization_id,
        "scope": budget.scope,
        "scope_id": budget.scope_id,
        "period": budget.period,
        "days": budget.days,
        "window": state.window.name,
        "percent": threshold.percent,
        "action": state.action,
        "model": state.model,
        "spent_pico": state.spent_pico,
        "amount_pico": budget.amount_pico,
        "currency": budget.currency,
        "opens_us": state.opens_us,
        "runs_out_us": ahead.runs_out_us if state.spent_pico < budget.amount_pico else 0,
        "wallet_runs_out_us": wallet.runs_out_us,
    }
    key = f"budget/{budget.id}/{state.window.name}/{threshold.percent}/{threshold.action}"
    return Fact(key, budget.organization_id, "budget", content)
