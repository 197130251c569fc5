"""The ledger in memory, transaction by transaction."""

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_billing.domain.postings import FUNDING, WALLET, Line, Transfer
from tollgate_billing.errors import InvalidGrant
from tollgate_billing.ports import Effect, PostedTransfer, Unfinished
from tollgate_kit.event_log import OwnershipLost
from tollgate_rating import INT64_MAX


class FakeLedger:
    def __init__(self, fuse=None):
        self.fuse = fuse or Fuse()
        self.transfers = []
        self.accounts = {}
        self.currency = {}
        self.sources = {}
        self.exceptions = {}
        # (source, final) by event.
        self.finals_kept = {}
        self.grants = {}

    @guarded
    async def claim(self, source, owner):
        _, high, batch, effects = self.sources.get(source, ("", 0, "", ()))
        self.sources[source] = (owner, high, batch, effects)

    @guarded
    async def claimed(self):
        return list(self.sources)

    @guarded
    async def post(self, posting):
        bounds = posting.bounds
        owner, high, batch, effects = self.sources.get(bounds.source, (None, 0, "", ()))
        if owner != posting.owner:
            raise OwnershipLost("booked by another process")
        if high >= bounds.high:
            return effects if batch == bounds.batch else ()
        self._transfer(posting.transfers, bounds.batch)
        effects = tuple(self._effect(one) for one in posting.effects)
        self.sources[bounds.source] = (owner, bounds.high, bounds.batch, effects)
        for request in posting.closed:
            self.exceptions.pop(request, None)
        for one in posting.opened:
            self.exceptions[one.request_id] = one
        for event_id in posting.corrected:
            if event_id in self.finals_kept:
                source, one = self.finals_kept[event_id]
                self.finals_kept[event_id] = source, one._replace(stands=False)
        for one in posting.finals:
            self.finals_kept.setdefault(one.event_id, (bounds.source, one))
        return effects

    @guarded
    async def unfinished(self, applied):
        return [
            Unfinished(source, batch, effects)
            for source, (_, _, batch, effects) in self.sources.items()
            if batch and applied.get(source) != batch
        ]

    @guarded
    async def open_requests(self, since_us):
        oldest_us = since_us - 91 * 24 * 3600 * 10**6
        kept_us = {"settled": oldest_us}
        self.exceptions = {
            name: one for name, one in self.exceptions.items() if one.at_us >= kept_us.get(one.status, since_us)
        }
        self.finals_kept = {
            name: (source, one) for name, (source, one) in self.finals_kept.items() if one.started_at_us >= oldest_us
        }
        return frozenset(self.exceptions)

    @guarded
    async def finals(self, requests, before=None):
        found = {}
        for source, one in self.finals_kept.values():
            if one.request_id in requests and not (before and source == before.source and one.offset >= before.low):
                found.setdefault(one.request_id, {})[one.event_id] = one.stands
        return found

    @guarded
    async def grant(self, grant):
        if not 0 < grant.amount_pico <= INT64_MAX:
            raise InvalidGrant("amount")
        if len(grant.currency) != 3 or not grant.currency.isupper() or not grant.key or not grant.organization_id:
            raise InvalidGrant("currency, key or organization")
        content = (grant.organization_id, grant.currency, grant.amount_pico)
        currency, balance = self._balance(grant.organization_id)
        if grant.key in self.grants:
            if self.grants[grant.key] != content:
                raise InvalidGrant("key was used")
            return balance
        if currency not in {"", grant.currency} or balance + grant.amount_pico > INT64_MAX:
            raise InvalidGrant("currency or balance")
        self.grants[grant.key] = content
        line = Line(grant.organization_id, "", "", "", grant.currency, FUNDING, WALLET)
        self._transfer([Transfer(line, grant.amount_pico, 1)], f"grant/{grant.key}")
        return balance + grant.amount_pico

    @guarded
    async def balance(self, organization_id):
        return self._balance(organization_id)

    @guarded
    async def balances(self):
        return {organization: self._balance(organization)[1] for organization in self.currency}

    @guarded
    async def posted(self, batch, organization_id, project_id, model, price_digest, rate_digest):
        names = (organization_id, project_id, model, price_digest)
        return [
            PostedTransfer(
                batch, one.line.debit, one.line.credit, one.line.currency, one.amount_pico, one.events, created_us=0
            )
            for of, one in self.transfers
            if of == batch and one.line[:4] == names and one.line.rate_digest == rate_digest
        ]

    def _balance(self, organization):
        currency = self.currency.get(organization, "")
        return currency, self.accounts.get((organization, WALLET, currency), 0)

    def _transfer(self, transfers, batch):
        for transfer in transfers:
            assert transfer.amount_pico > 0
            line = transfer.line
            self.transfers.append((batch, transfer))
            for account, amount in ((line.debit, -transfer.amount_pico), (line.credit, transfer.amount_pico)):
                key = (line.organization_id, account, line.currency)
                self.accounts[key] = self.accounts.get(key, 0) + amount
        for line in sorted({transfer.line for transfer in transfers}, key=lambda line: line.currency):
            self.currency.setdefault(line.organization_id, line.currency)

    def _effect(self, effect):
        own = self.currency.get(effect.organization_id, "")
        charges = {}
        for (hold_id, currency), charge in effect.charges.items():
            charges[hold_id] = charges.get(hold_id, 0) + (charge if currency == own else 0)
        return Effect(effect.organization_id, tuple(charges.items()), effect.credits.get(own, 0))
