"""Wallets in Redis, through the scripts of tollgate_holds."""

import math
from collections.abc import Awaitable
from typing import Final, TypeVar

from tollgate_billing.errors import WalletsUnavailable
from tollgate_billing.ports import Effect, HoldRecord, Outcome, SweepResult, WalletState
from tollgate_holds import BookState, HoldInfo, HoldResult
from tollgate_holds.holds import Holds
from tollgate_holds.pipe import RedisError, RedisUnavailable

T = TypeVar("T")

# So long a released hold is remembered, with its budgets. Events may come later, up to 90 days: their charge leaves the
# wallet all the same, since a hold that is gone is booked as a released one is. Only what budgets count at admission
# lacks it then, until their window ends; what was spent of them is summed from usage rows.
_TOMBSTONE_SECONDS: Final = 7 * 24 * 3600
# A script keeps Redis from everybody else as long as it runs: some microseconds for each of these.
_EFFECTS_A_CALL: Final = 2_000
# Far longer than a transaction takes; a process that dies in between leaves the rest to the sweep.
_RESERVED_SECONDS: Final = 120


class RedisWallets:
    """A hold that was settled and not booked for `overdue_seconds` is named by the sweep."""

    def __init__(self, holds: Holds, overdue_seconds: float = 3600) -> None:
        self._holds = holds
        self._overdue_seconds = math.ceil(overdue_seconds)

    async def book(self, effect: Effect, source: str, batch: str) -> Outcome:
        organization, charges = effect.organization_id, effect.charges
        parts = range(_EFFECTS_A_CALL, len(charges), _EFFECTS_A_CALL)
        if parts and await _known(self._holds.booked(organization, source)) == batch:
            return Outcome(missing=False, corrected=0)
        missing, corrected = False, 0
        # What follows the first part is booked before it, under names of its own, so that the batch's name still says
        # that all of it is in Redis. A part's batch is named after its own source: only so are they in an order.
        offsets = batch.removeprefix(source) if batch.startswith(f"{source}/") else f"/{batch}"
        for part, first in enumerate(parts, 1):
            some, own = charges[first : first + _EFFECTS_A_CALL], f"{source}#{part}"
            booking = await _known(self._holds.book(organization, own, own + offsets, some))
            missing, corrected = missing or booking.state is BookState.NO_WALLET, corrected + booking.corrected
        some = charges[:_EFFECTS_A_CALL]
        booking = await _known(self._holds.book(organization, source, batch, some, effect.credit_pico))
        return Outcome(missing or booking.state is BookState.NO_WALLET, corrected + booking.corrected)

    async def rebuild(self, organization_id: str, ledger_pico: int) -> tuple[int, bool]:
        return await _known(self._holds.rebuild(organization_id, ledger_pico))

    async def reserve(self, organization_id: str, hold_id: str, amount_pico: int) -> bool:
        result = await _known(self._holds.hold(organization_id, hold_id, amount_pico, _RESERVED_SECONDS))
        return result is HoldResult.DONE

    async def release(self, organization_id: str, hold_id: str) -> None:
        await _known(self._holds.release(organization_id, hold_id))

    async def state(self, organization_id: str) -> WalletState:
        balance = await _known(self._holds.balance(organization_id))
        return WalletState(balance.wallet, balance.held, balance.settled)

    async def find_hold(self, organization_id: str, hold_id: str) -> HoldRecord | None:
        found = await _known(self._holds.record(organization_id, hold_id))
        return None if found is None else _record(found)

    async def list_holds(self, organization_id: str) -> list[HoldRecord]:
        return [_record(one) for one in await _known(self._holds.records(organization_id))]

    async def sweep(self, organization_id: str) -> SweepResult:
        swept = await _known(
            self._holds.sweep(
                organization_id, tombstone_seconds=_TOMBSTONE_SECONDS, overdue_seconds=self._overdue_seconds
            )
        )
        return SweepResult(swept.released, swept.forgotten, swept.overdue)


def _record(found: HoldInfo) -> HoldRecord:
    return HoldRecord(found.hold_id, found.state, found.amount_pico, found.second * 1_000_000, found.budgets)


async def _known(work: Awaitable[T]) -> T:
    try:
        return await work
    except (RedisUnavailable, RedisError) as error:
        raise WalletsUnavailable(f"Redis: {error}") from error
