"""What a key has used and may still use, in its organization's currency: for the balances that chat clients show."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import controls_pb2 as controls
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.figures import currency_of
from tollgate_edge.domain.limits import KEY, PROJECT, budget_window
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error
from tollgate_holds import Scope
from tollgate_rating import PICO, RateTable

USD: Final = "USD"
_BLOCK: Final = "block"
_MOST_BUDGETS: Final = 1000


@dataclass(frozen=True, slots=True)
class KeyBalance:
    """Amounts in `currency`. `used` is the key's own, of all time; `remaining` None: nothing limits it.

    `remaining` is the least of the wallet and of what is left of each budget that the key is within; below zero where
    more was spent.
    """

    currency: str
    used: Decimal
    remaining: Decimal | None

    def converted(self, rate: Decimal, currency: str) -> "KeyBalance":
        """Returns the same at `rate` units of `currency` for one of ours."""
        left = self.remaining
        return KeyBalance(currency, self.used * rate, None if left is None else left * rate)


async def key_balance(context: HttpContext, principal: Principal) -> KeyBalance:
    """Returns the balance of a key as billing and its wallet know it now. Raises PublicError."""
    money = await context.billing.balance(billing.GetBalanceRequest(organization_id=principal.organization_id))
    currency = money.currency or principal.currency or await currency_of(context, principal.organization_id) or USD
    of_key = billing.UsageFilter(organization_id=principal.organization_id, api_key_id=principal.api_key_id)
    used = await _spent(context, of_key, currency)
    left = [amount async for amount in _left(context, principal, currency)]
    if principal.prepaid:
        unbooked = money.held_pico + money.settled_unbooked_pico
        left.append(money.wallet_pico if money.HasField("wallet_pico") else money.ledger_pico - unbooked)
    return KeyBalance(currency, _decimal(used), _decimal(min(left)) if left else None)


def in_usd(balance: KeyBalance, rates: RateTable, at_us: int) -> KeyBalance:
    """Returns the balance in USD by the rate in force, or by the way back where only that one is declared.

    Raises PublicError when neither is.
    """
    if balance.currency == USD:
        return balance
    there, back = rates.find(balance.currency, USD, at_us), rates.find(USD, balance.currency, at_us)
    if there is not None:
        return balance.converted(_decimal(there.rate), USD)
    if back is not None:
        return balance.converted(1 / _decimal(back.rate), USD)
    raise public_error(
        errors.ERROR_KIND_UNAVAILABLE,
        f"The balance is in {balance.currency} and this page shows USD, but no rate between them is in force. "
        "An operator declares one under exchange_rates; /api/v1/balance shows it as it is.",
        code="no_exchange_rate",
    )


async def _left(context: HttpContext, principal: Principal, currency: str) -> AsyncIterator[int]:
    """Yields what is left of each budget that ends requests of the key, in pico-units."""
    for scope in principal.limits.scopes if principal.limits is not None else ():
        if scope.budget_pico:
            window = budget_window(scope.budget_window, context.clock.now_us())
            asked = _of_scope(principal, scope)
            asked.from_us, asked.to_us = window.begin_us, window.end_us
            yield scope.budget_pico - await _spent(context, asked, currency)
    request = controls.ListBudgetsRequest(organization_id=principal.organization_id, limit=_MOST_BUDGETS)
    for one in (await context.controls.budgets(request)).budgets:
        blocks = [threshold.percent for threshold in one.budget.thresholds if threshold.action == _BLOCK]
        if blocks and _concerns(one.budget, principal):
            yield one.budget.amount_pico * min(blocks) // 100 - one.state.spent_pico


def _of_scope(principal: Principal, scope: Scope) -> billing.UsageFilter:
    asked = billing.UsageFilter(organization_id=principal.organization_id)
    if scope.kind == KEY:
        asked.api_key_id = scope.id
    elif scope.kind == PROJECT:
        asked.project_id = scope.id
    return asked


def _concerns(budget: controls.Budget, principal: Principal) -> bool:
    """Budgets of one model are left out: they end requests of that model only."""
    return {
        "organization": True,
        PROJECT: budget.scope_id == principal.project_id,
        KEY: budget.scope_id == principal.api_key_id,
        "tag": budget.scope_id in principal.tags.split(","),
    }.get(budget.scope, False)


async def _spent(context: HttpContext, asked: billing.UsageFilter, currency: str) -> int:
    """Returns what was charged, in pico-units; amounts in a currency that was paid in before are not of this wallet."""
    found = await context.billing.usage(billing.QueryUsageRequest(filter=asked, group_by=["model"], limit=1))
    return sum(total.charge_pico for total in found.totals if total.currency in {"", currency})


def _decimal(pico: int) -> Decimal:
    return Decimal(pico) / PICO
