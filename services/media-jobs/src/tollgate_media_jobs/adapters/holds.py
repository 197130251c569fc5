"""Holds over Redis. A job of a tenant with limits is admitted within them in the call that holds its money."""

from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from tollgate_holds import HoldResult, LimitSet, Operation
from tollgate_holds.holds import Holds as RedisHolds
from tollgate_holds.pipe import RedisError, RedisUnavailable
from tollgate_media_jobs.domain.job import Job
from tollgate_media_jobs.errors import HoldsUnavailable
from tollgate_media_jobs.ports import Held, HoldState

T = TypeVar("T")

_STATES: Final = {
    HoldResult.DONE: HoldState.HELD,
    HoldResult.INSUFFICIENT: HoldState.INSUFFICIENT,
    HoldResult.NO_WALLET: HoldState.NO_WALLET,
    HoldResult.TOO_LATE: HoldState.GONE,
    # Settled already: whatever it is, it holds no money for a job that is open.
    HoldResult.DIFFERS: HoldState.GONE,
    HoldResult.LIMITED: HoldState.OVER_LIMIT,
    HoldResult.OVER_BUDGET: HoldState.OVER_LIMIT,
}


class WalletHolds:
    def __init__(self, holds: RedisHolds, ttl_seconds: int, slot_seconds: int) -> None:
        self._holds = holds
        self._ttl_seconds = ttl_seconds
        self._slot_seconds = slot_seconds

    async def hold(self, job: Job, *, prepaid: bool) -> Held:
        if not job.tenant.limits:
            organization = job.tenant.organization_id
            call = self._holds.hold(organization, job.request_id, job.hold_pico, self._ttl_seconds, prepaid=prepaid)
            return Held(_STATES[await _known(call)])
        operation = Operation.HOLD if prepaid else Operation.HOLD_POSTPAID
        verdict = await self._limited(operation, job, job.hold_pico, job.counted_tokens)
        return Held(_STATES[HoldResult(verdict[0])], tuple(verdict))

    async def renew(self, job: Job) -> HoldState:
        if job.tenant.limits:
            return _STATES[HoldResult((await self._limited(Operation.RENEW, job))[0])]
        call = self._holds.renew(job.tenant.organization_id, job.request_id, self._ttl_seconds)
        return _STATES[await _known(call)]

    async def release(self, job: Job) -> None:
        if job.tenant.limits:
            await self._limited(Operation.FORGET, job, tokens=-job.counted_tokens)
        else:
            await _known(self._holds.release(job.tenant.organization_id, job.request_id))

    async def finish(self, job: Job, tokens: int) -> None:
        if job.tenant.limits:
            await self._limited(Operation.SETTLE, job, job.charge_pico, tokens - job.counted_tokens)

    async def _limited(self, operation: Operation, job: Job, amount_pico: int = 0, tokens: int = 0) -> list[int]:
        call = self._holds.admit_limited(
            operation,
            job.request_id,
            amount_pico,
            LimitSet(job.tenant.organization_id, job.tenant.limits),
            ttl_seconds=self._ttl_seconds,
            slot_seconds=self._slot_seconds,
            tokens=tokens,
            second=job.counted_second,
        )
        return await _known(call)


async def _known(call: Coroutine[Any, Any, T]) -> T:
    try:
        return await call
    except (RedisUnavailable, RedisError) as error:
        raise HoldsUnavailable(str(error)) from error
