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
# Billing works up a backlog, and many budgets may wait for that; one question of how far it is serves them all.
_BEHIND_SECONDS: Final = 10.0
# How much of the time that it has waited already a budget waits until it looks again, and how long at most: a partition
# of the event log that is stopped stays behind until somebody mends it.
_BEHIND_SHARE: Final = 0.25
_MOST_BEHIND_SECONDS: Final = 300.0
_MOST_WAITING: Final = 20_000
_MOST_AT_ONCE: Final = 100

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
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        self._status, self._status_us = billing.GetStatusResponse(), -1
        self._asking = asyncio.Lock()

    def begin(self, limits: LimitSet, place: int, started_us: int) -> None:
        """Redis began a budget with a request that started then; counts what was spent before that request.

        What an earlier beginning of the same budget waits for is given up: Redis has forgotten what it was told then.
        """
        scope = limits.scopes[place - 1]
        name = (scope.kind, scope.id)
        if (earlier := self._running.get(name)) is not None:
            earlier.cancel()
        elif len(self._running) >= _MOST_WAITING:
            return
        task = self._running[name] = asyncio.create_task(self._recall(limits, place, started_us))
        task.add_done_callback(lambda done: self._ended(name, done))

    async def stop(self) -> None:
        """Gives up what is under way; the next request that begins the budget asks again."""
        for task in tuple(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _ended(self, name: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._running.get(name) is task:
            del self._running[name]

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
        told, waited, asked = 0, 0.0, False
        while not window.end_us or self._clock.now_us() < window.end_us:
            try:
                # Asked before what was spent: what was booked meanwhile is in both.
                behind = await self._is_behind(started_us)
                if not (behind and asked):
                    async with self._turns:
                        found = await self._billing.usage(billing.QueryUsageRequest(filter=spent))
                    asked = True
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
                pause = min(max(_BEHIND_SECONDS, waited * _BEHIND_SHARE), _MOST_BEHIND_SECONDS)
                await self._sleep(pause)
                waited += pause

    async def _is_behind(self, started_us: int) -> bool:
        """Tells whether what reached the event log before a request began may not be booked yet. Raises PublicError."""
        async with self._asking:
            now_us = self._clock.now_us()
            # What was said before the request began says nothing about it.
            if not max(started_us, now_us - int(_BEHIND_SECONDS / 2 * 1_000_000)) <= self._status_us <= now_us:
                self._status, self._status_us = await self._billing.status(), now_us
        status = self._status
        # Billing has counted nothing that waits before it has read the log, and counts none while it cannot book.
        if status.problem:
            return True
        # `lag_ms` is 0 where nothing was read yet of what waits.
        if status.lag_ms:
            return self._status_us - status.lag_ms * 1000 <= started_us
        return bool(status.lag_events)
