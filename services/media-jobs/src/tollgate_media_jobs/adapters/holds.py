"""Holds over Redis."""

from typing import Final

from tollgate_holds import HoldResult
from tollgate_holds.holds import Holds as RedisHolds
from tollgate_holds.pipe import RedisError, RedisUnavailable
from tollgate_media_jobs.errors import HoldsUnavailable
from tollgate_media_jobs.ports import HoldState

_STATES: Final = {
    HoldResult.DONE: HoldState.HELD,
    HoldResult.INSUFFICIENT: HoldState.INSUFFICIENT,
    HoldResult.NO_WALLET: HoldState.NO_WALLET,
    HoldResult.TOO_LATE: HoldState.GONE,
    # Settled already: whatever it is, it holds no money for a job that is open.
    HoldResult.DIFFERS: HoldState.GONE,
}


class WalletHolds:
    def __init__(self, holds: RedisHolds, ttl_seconds: int) -> None:
        self._holds = holds
        self._ttl_seconds = ttl_seconds

    async def hold(self, organization_id: str, hold_id: str, amount_pico: int) -> HoldState:
        try:
            return _STATES[await self._holds.hold(organization_id, hold_id, amount_pico, self._ttl_seconds)]
        except (RedisUnavailable, RedisError) as error:
            raise HoldsUnavailable(str(error)) from error

    async def renew(self, organization_id: str, hold_id: str) -> HoldState:
        try:
            return _STATES[await self._holds.renew(organization_id, hold_id, self._ttl_seconds)]
        except (RedisUnavailable, RedisError) as error:
            raise HoldsUnavailable(str(error)) from error

    async def release(self, organization_id: str, hold_id: str) -> None:
        try:
            await self._holds.release(organization_id, hold_id)
        except (RedisUnavailable, RedisError) as error:
            raise HoldsUnavailable(str(error)) from error
