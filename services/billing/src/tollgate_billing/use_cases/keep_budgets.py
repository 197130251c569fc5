"""Budgets as people handle them: made, listed, looked at with a forecast, deleted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tollgate_billing.control_ports import Budgets, BudgetWithState, Part, Spending
from tollgate_billing.domain.budgets import Budget
from tollgate_billing.domain.control_checks import check_budget
from tollgate_billing.domain.forecast import Forecast, forecast, of_budget
from tollgate_billing.errors import NotFound
from tollgate_billing.ports import Ledger
from tollgate_billing.use_cases.watch_budgets import WatchBudgets, part_of
from tollgate_kit.clock import Clock


@dataclass(frozen=True, slots=True)
class Shown:
    """A budget as it stands now. `wallet` is about all money of its organization."""

    found: BudgetWithState
    forecast: Forecast
    wallet: Forecast
    balance_pico: int


class KeepBudgets:
    def __init__(
        self,
        budgets: Budgets,
        spending: Spending,
        watch: WatchBudgets,
        ledger: Ledger,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._budgets = budgets
        self._spending = spending
        self._watch = watch
        self._ledger = ledger
        self._clock = clock
        self._new_id = new_id

    async def create(self, budget: Budget) -> Budget:
        """Keeps a new budget, which is evaluated at once. Raises InvalidControl, NameTaken or Unavailable."""
        made = replace(check_budget(budget), id=self._new_id(), created_us=self._clock.now_us())
        await self._budgets.add(made)
        self._watch.booked([made.organization_id])
        return made

    async def list(self, organization_id: str, limit: int, before_id: str) -> Sequence[BudgetWithState]:
        """Returns budgets, newest first, as they were last evaluated. Raises Unavailable."""
        return await self._budgets.list(organization_id, limit, before_id)

    async def show(self, budget_id: str, organization_id: str) -> Shown:
        """Returns a budget as it stands now. Raises NotFound or Unavailable."""
        found = await self._budgets.get(budget_id)
        if found is None or organization_id not in {"", found.budget.organization_id}:
            raise NotFound("there is no such budget")
        budget, now_us = found.budget, self._clock.now_us()
        state = (await self._watch.look([found], now_us))[budget.id]
        pace = await self._spending.pace(part_of(budget), now_us)
        wallet, balance, _ = await self.wallet(budget.organization_id)
        left = of_budget(budget, state.window, state.spent_pico, pace, now_us)
        return Shown(BudgetWithState(budget, state), left, wallet, balance)

    async def wallet(self, organization_id: str) -> tuple[Forecast, int, str]:
        """Returns when an organization's money is gone, what it has, and its currency. Raises Unavailable."""
        now_us = self._clock.now_us()
        currency, balance = await self._ledger.balance(organization_id)
        pace = await self._spending.pace(Part(organization_id, "organization", ""), now_us)
        return forecast(pace, balance, now_us), balance, currency

    async def delete(self, budget_id: str) -> None:
        """Removes a budget; what it refused is served again within seconds. Raises NotFound or Unavailable."""
        if not await self._budgets.remove(budget_id):
            raise NotFound("there is no such budget")
