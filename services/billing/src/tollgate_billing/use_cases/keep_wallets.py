"""Everything that changes a wallet outside a batch: grants, rebuilding, the regular look and the sweep.

All of it and the booking of batches take turns, in this process and with the others of the same ledger: between
batches, what is free in a wallet is exactly the ledger's balance less what is held and what is settled and not booked.
A process may die, or lose Redis, between the ledger and the wallets; whoever has the next turn finishes that first.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

from tollgate_billing.domain.books import nearest
from tollgate_billing.ports import Grant, Ledger, SweepResult, Wallets, WalletState
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.book_settled import BookSettled
from tollgate_holds import request_of

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of a wallet, in pico-units; `before` is None where there was none."""

    organization_id: str
    before: int | None
    wallet: int
    changed: bool
    currency: str


Turns = AbstractAsyncContextManager[None]


class KeepWallets:
    """`lock` is the one that batches are booked under, by every process that books into this ledger.

    `swept` is told what each sweep of an organization's holds found. `estimate` books settled holds that nobody booked;
    without it they are only named.
    """

    def __init__(
        self,
        ledger: Ledger,
        wallets: Wallets,
        counters: BillingCounters,
        lock: Turns,
        swept: Callable[[str, SweepResult], None] = lambda _organization_id, _swept: None,
        estimate: BookSettled | None = None,
    ) -> None:
        self._ledger = ledger
        self._wallets = wallets
        self._counters = counters
        self._lock = lock
        self._swept = swept
        self._estimate = estimate
        # The last batch of each source that Redis is known to have.
        self._applied: dict[str, str] = {}
        # Organizations whose wallet was beyond what Redis counts when it was last compared.
        self._beyond: set[str] = set()
        # What was said of each organization to be settled and never booked, as long as that is so.
        self._overdue: dict[str, frozenset[str]] = {}

    def applied(self, source: str, batch: str) -> None:
        """Takes note that Redis has a batch, so that nobody has to see to it again."""
        self._applied[source] = batch

    async def resume(self) -> None:
        """Applies what the ledger has and Redis may not have, before any wallet is compared. Raises Unavailable."""
        async with self._lock:
            await self.catch_up()

    async def grant(self, grant: Grant) -> int:
        """Credits an organization once per key; returns the ledger's balance. Raises InvalidGrant or Unavailable."""
        async with self._lock:
            await self.catch_up()
            balance = await self._ledger.grant(grant)
            await self._wallets.rebuild(grant.organization_id, balance)
        return balance

    async def change(self, work: Callable[[], Awaitable[tuple[T, Mapping[str, int]]]]) -> T:
        """Runs work on the ledger, and lets wallets follow; returns what the work returns.

        The work returns the new balances of the organizations concerned too. Raises what it raises, and Unavailable.
        """
        async with self._lock:
            await self.catch_up()
            found, balances = await work()
            for organization_id, balance in balances.items():
                await self._wallets.rebuild(organization_id, balance)
        return found

    async def balance(self, organization_id: str) -> tuple[str, int, WalletState]:
        """Returns the currency, the ledger's balance and what Redis has. Raises Unavailable."""
        async with self._lock:
            currency, balance = await self._ledger.balance(organization_id)
            return currency, balance, await self._wallets.state(organization_id)

    async def expected(self, organization_id: str) -> tuple[int, WalletState]:
        """Returns what the wallet should be, and what Redis has; nothing is mended. Raises Unavailable.

        It may be beyond int64: the wallet should be the nearest to it then.
        """
        async with self._lock:
            await self.catch_up()
            _, balance = await self._ledger.balance(organization_id)
            state = await self._wallets.state(organization_id)
            return balance - state.held - state.settled, state

    async def rebuild(self, organization_id: str) -> tuple[int, bool]:
        """Makes the wallet what the ledger says; returns it and whether it was another. Raises Unavailable."""
        async with self._lock:
            await self.catch_up()
            _, balance = await self._ledger.balance(organization_id)
            wallet, changed = await self._wallets.rebuild(organization_id, balance)
        if changed:
            self._counters.add("rebuilt_wallets")
        return wallet, changed

    async def rebuild_all(self, organization_id: str = "") -> list[Rebuilt]:
        """Makes every wallet, or one, what the ledger says, taking turns with batches. Raises Unavailable."""
        async with self._lock:
            await self.catch_up()
            names = [organization_id] if organization_id else sorted(await self._ledger.balances())
        found = []
        for name in names:
            async with self._lock:
                await self.catch_up()
                before = (await self._wallets.state(name)).wallet
                currency, balance = await self._ledger.balance(name)
                wallet, changed = await self._wallets.rebuild(name, balance)
            self._counters.add("rebuilt_wallets", int(changed))
            found.append(Rebuilt(name, before, wallet, changed, currency))
        return found

    async def reconcile(self) -> None:
        """Compares every wallet with the ledger, repairs what differs, and sweeps expired holds. Raises Unavailable."""
        async with self._lock:
            await self.catch_up()
            balances = await self._ledger.balances()
        unbooked = 0
        if self._estimate is not None:
            self._estimate.look()
        for organization_id in balances:
            async with self._lock:
                await self._compare(organization_id)
            unbooked += await self._sweep(organization_id)
        self._counters.unbooked_holds = unbooked
        self._counters.wallets_beyond = len(self._beyond)

    async def catch_up(self) -> None:
        """Applies what the ledger has and Redis may not have; for whoever has the turn. Raises Unavailable."""
        for last in await self._ledger.unfinished(self._applied):
            for effect in last.effects:
                # A wallet that is missing is made from the ledger below, with this batch in it.
                await self._wallets.book(effect, last.source, last.batch)
            self.applied(last.source, last.batch)

    async def _compare(self, organization_id: str) -> None:
        await self.catch_up()
        _, balance = await self._ledger.balance(organization_id)
        state = await self._wallets.state(organization_id)
        exact = balance - state.held - state.settled
        expected, moved_from_bound = nearest(exact), self._note_beyond(organization_id, exact)
        if state.wallet == expected:
            return
        wallet, changed = await self._wallets.rebuild(organization_id, balance)
        if not changed:
            return
        if state.wallet is None:
            self._counters.add("rebuilt_wallets")
            log.warning("a wallet was missing and is back", extra={"fields": {"organization_id": organization_id}})
            return
        if moved_from_bound:
            return
        drift = state.wallet - expected
        self._counters.add("drifted_wallets")
        self._counters.add("drift_pico", abs(drift))
        log.error(
            "a wallet differed from the ledger and is repaired",
            extra={"fields": {"organization_id": organization_id, "drift_pico": drift, "wallet_pico": wallet}},
        )

    def _note_beyond(self, organization_id: str, exact: int) -> bool:
        """Notes whether a wallet is beyond what Redis counts; returns whether it is or was when it was last compared.

        Such a wallet moves from the nearest that Redis counts, and so away from the ledger without any error.
        """
        before = organization_id in self._beyond
        if nearest(exact) == exact:
            self._beyond.discard(organization_id)
            return before
        if not before:
            self._beyond.add(organization_id)
            log.error(
                "a wallet is beyond what Redis counts and stays at the nearest to it",
                extra={"fields": {"organization_id": organization_id, "exact_pico": str(exact)}},
            )
        return True

    async def _sweep(self, organization_id: str) -> int:
        """Gives expired holds back; returns how many settled ones nobody has booked for an hour."""
        swept = await self._wallets.sweep(organization_id)
        if self._estimate is not None:
            swept = replace(swept, estimated=await self._estimate(organization_id, swept.overdue))
        self._swept(organization_id, swept)
        self._counters.add("released_holds", swept.released)
        self._counters.add("overdue_holds", len(swept.overdue))
        if swept.released:
            fields = {"organization_id": organization_id, "holds": swept.released}
            log.warning("holds expired and were given back", extra={"fields": fields})
        # Each once: the alert and the gauge go on to tell of it.
        known = self._overdue.pop(organization_id, frozenset())
        new = [hold_id for hold_id in swept.overdue if hold_id not in known][:20]
        if swept.overdue:
            self._overdue[organization_id] = known.intersection(swept.overdue).union(new)
        for hold_id in new:
            log.error(
                "a settled hold was never booked",
                extra={"fields": {"organization_id": organization_id, "request_id": request_of(hold_id)}},
            )
        return len(swept.overdue)
