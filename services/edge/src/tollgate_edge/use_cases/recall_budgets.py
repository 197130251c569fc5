"""What a budget took in its window before Redis began to count it: asked of billing, and told to Redis.

Redis begins a budget with each window, when an operator sets one, and when it has lost its memory; only in the first
case nothing was spent before. What waits in the event log by then is spent as well, and no record of Redis will move
this budget for it: it is told again once that is booked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.domain.limits import KEY, PROJECT, budget_window
from tollgate_edge.errors import PublicError
from tollgate_edge.ports import BillingPort
from tollgate_holds import LimitSet
from tollgate_kit.clock import Clock

log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 2.0
# Billing works up a backlog, and many budgets may wait for that.
_BEHIND_SECONDS: Final = 10.0
_MOST_AT_ONCE: Final = 1_000

Tell = Callable[[LimitSet, int, str, int], None]


class RecallBudgets:
    """`tell` is told (limits, place of the scope, window, pico-units). While billing is away it is asked again."""

    def __init__(
        self,
        ask: BillingPort,
        clock: Clock,
        tell: Tell,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._billing = ask
        self._clock = clock
        self._tell = tell
        self._sleep = sleep
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    def begin(self, limits: LimitSet, place: int, started_us: int) -> None:
        """Redis began a budget with a request that started then; counts what was spent before that request."""
        scope = limits.scopes[place - 1]
        name = (scope.kind, scope.id)
        if name in self._running or len(self._running) >= _MOST_AT_ONCE:
            return
        task = self._running[name] = asyncio.create_task(self._recall(limits, place, started_us))
        task.add_done_callback(lambda _: self._running.pop(name, None))

    async def stop(self) -> None:
        """Gives up what is under way; the next request that begins the budget asks again."""
        for task in tuple(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _recall(self, limits: LimitSet, place: int, started_us: int) -> None:
        scope = limits.scopes[place - 1]
        window = budget_window(scope.budget_window, started_us)
        spent = billing.UsageFilter(
            organization_id=limits.organization, from_us=window.begin_us, to_us=max(started_us, 1)
        )
        if scope.kind == KEY:
            spent.api_key_id = scope.id
        elif scope.kind == PROJECT:
            spent.project_id = scope.id
        told = 0
        while not window.end_us or self._clock.now_us() < window.end_us:
            try:
                # Asked before what was spent: what was booked meanwhile is in both.
                behind = self._is_behind(await self._billing.status(), started_us)
                if not (behind and told):
                    found = await self._billing.usage(billing.QueryUsageRequest(filter=spent))
                    charge = found.total.charge_pico
                    if charge > told:
                        told = charge
                        self._tell(limits, place, window.name, told)
            except PublicError as error:
                log.warning("a budget waits for billing to say what was spent", extra={"fields": {"error": str(error)}})
                await self._sleep(_PAUSE_SECONDS)
            else:
                if not behind:
                    return
                await self._sleep(_BEHIND_SECONDS)

    def _is_behind(self, status: billing.GetStatusResponse, started_us: int) -> bool:
        """Tells whether what reached the event log before a request began may not be booked yet.

        `lag_ms` is 0 where nothing was read yet of what waits.
        """
        oldest_us = self._clock.now_us() - status.lag_ms * 1000
        return bool(status.lag_events) and not (status.lag_ms and oldest_us > started_us)
