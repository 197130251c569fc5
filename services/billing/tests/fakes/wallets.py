"""Wallets in memory, by the table of states in tollgate_holds."""

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_billing.domain.books import nearest
from tollgate_billing.errors import WalletsUnavailable
from tollgate_billing.ports import HoldRecord, Outcome, SweepResult, WalletState


class FakeWallets:
    def __init__(self, fuse=None, clock=None, overdue_seconds=3600):
        self.fuse = fuse or Fuse()
        # Without one, no hold is ever overdue.
        self.clock, self.overdue_seconds = clock, overdue_seconds
        self.wallet = {}
        self.holds = {}
        self.booked = {}
        # When a hold expires or was settled; never, where nothing is said.
        self.times = {}
        # Scopes whose budgets a hold moves.
        self.budgets = {}
        self.away = False

    def hold(self, organization, hold_id, amount):
        """What edge does before a request."""
        self.holds[organization, hold_id] = ["held", amount]
        self.wallet[organization] -= amount

    def hold_again(self, organization, before, hold_id, amount):
        """What edge does before a second try: it takes over what the first one holds, or holds anew."""
        record = self.holds.get((organization, before))
        if record and record[0] == "held":
            self.holds[organization, hold_id] = self.holds.pop((organization, before))
        elif organization in self.wallet:
            self.hold(organization, hold_id, amount)

    def settle(self, organization, hold_id, cost):
        """What edge does after a request."""
        record = self.holds.get((organization, hold_id))
        if record and record[0] == "held":
            # A wallet that was lost is made again from the ledger, less what is held and settled.
            if organization in self.wallet:
                self.wallet[organization] += record[1] - cost
            record[:] = ["settled", cost]
            if self.clock is not None:
                self.times[organization, hold_id] = self.clock.now_us()

    @guarded
    async def book(self, effect, source, batch):
        self._check()
        organization = effect.organization_id
        last = self.booked.get((organization, source))
        if last is not None and (last == batch or _is_older(source, batch, last)):
            return Outcome(missing=False, corrected=0)
        corrected, change = 0, effect.credit_pico
        for hold_id, charge in effect.charges:
            record = self.holds.pop((organization, hold_id), None)
            change -= charge
            if record and record[0] != "released":
                change += record[1]
                corrected += record[0] == "settled" and record[1] != charge
        self.booked[organization, source] = batch
        if organization not in self.wallet:
            return Outcome(missing=True, corrected=corrected)
        self.wallet[organization] = nearest(self.wallet[organization] + change)
        return Outcome(missing=False, corrected=corrected)

    @guarded
    async def reserve(self, organization_id, hold_id, amount_pico):
        self._check()
        if (organization_id, hold_id) in self.holds:
            return self.holds[organization_id, hold_id][0] == "held"
        if self.wallet[organization_id] < amount_pico:
            return False
        self.hold(organization_id, hold_id, amount_pico)
        return True

    @guarded
    async def release(self, organization_id, hold_id):
        self._check()
        record = self.holds.pop((organization_id, hold_id), None)
        if record and record[0] == "held":
            self.wallet[organization_id] += record[1]

    @guarded
    async def rebuild(self, organization_id, ledger_pico):
        self._check()
        before = self.wallet.get(organization_id)
        state = self._state(organization_id)
        self.wallet[organization_id] = nearest(ledger_pico - state.held - state.settled)
        return self.wallet[organization_id], self.wallet[organization_id] != before

    @guarded
    async def state(self, organization_id):
        self._check()
        return self._state(organization_id)

    @guarded
    async def find_hold(self, organization_id, hold_id):
        self._check()
        found = self.holds.get((organization_id, hold_id))
        return None if found is None else self._record(organization_id, hold_id, found)

    @guarded
    async def list_holds(self, organization_id):
        self._check()
        mine = {hold_id: found for (owner, hold_id), found in self.holds.items() if owner == organization_id}
        return [self._record(organization_id, hold_id, found) for hold_id, found in mine.items()]

    @guarded
    async def sweep(self, organization_id):
        self._check()
        overdue = [
            hold_id
            for (owner, hold_id), (state, _) in self.holds.items()
            if owner == organization_id and state == "settled" and self._is_overdue(owner, hold_id)
        ]
        return SweepResult(0, 0, tuple(overdue))

    def _is_overdue(self, organization, hold_id):
        settled_us = self.times.get((organization, hold_id), 1 << 62)
        return self.clock is not None and settled_us + self.overdue_seconds * 10**6 < self.clock.now_us()

    def _record(self, organization, hold_id, found):
        at_us = self.times.get((organization, hold_id), 1 << 62)
        return HoldRecord(hold_id, *found, at_us=at_us, budgets=self.budgets.get((organization, hold_id), ()))

    def _state(self, organization):
        sums = {"held": 0, "settled": 0, "released": 0}
        for (owner, _), (state, amount) in self.holds.items():
            if owner == organization:
                sums[state] += amount
        return WalletState(self.wallet.get(organization), sums["held"], sums["settled"])

    def _check(self):
        if self.away:
            raise WalletsUnavailable("away")


def _is_older(source, batch, last):
    """Whether both are batches of this partition of a log, and this one ends no later."""
    ends = []
    for name in (batch, last):
        of, _, place = name.rpartition("/")
        low, _, high = place.partition("-")
        if "/" not in source or of != source or not (low.isdecimal() and high.isdecimal()):
            return False
        ends.append(int(high))
    return ends[0] <= ends[1]
