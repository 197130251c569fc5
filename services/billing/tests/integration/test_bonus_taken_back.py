"""Charges that are taken back: what bonus credit paid of them is bonus credit again, and never money to be refunded."""

import asyncio
import itertools
import time

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.billing.tests.fakes.events import CONFIRMED, UNCONFIRMED, usage_event
from services.billing.tests.integration.running import BillingProcess, send, servers_of

from tollgate.billing.v1 import ledger_pb2, ledger_pb2_grpc
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_operations import SqlOperations
from tollgate_billing.adapters.sql_tables import BONUS_DRAWS
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.postings import ADJUSTMENT, REVENUE, WALLET, Line, TakenBack, Transfer
from tollgate_billing.errors import InvalidMove
from tollgate_billing.ledger_ports import BonusGrant, Move
from tollgate_billing.ports import Grant, Posting
from tollgate_kit.grpc_io import new_channel
from tollgate_kit.sql import Database

pytestmark = pytest.mark.integration

DAY_US = 24 * 3600 * 1_000_000


@pytest.mark.parametrize(
    ("bonus", "paid", "old", "new", "left"),
    [
        # The same again, less, more, and nothing.
        (10, 0, 5, 5, {"bonus": 5}),
        (10, 0, 5, 3, {"bonus": 7}),
        (10, 100, 5, 12, {"wallet": 98}),
        (10, 0, 5, 0, {"bonus": 10}),
        # Bonus credit paid a part of it: paid money comes back first.
        (3, 10, 5, 4, {"wallet": 9}),
        (3, 10, 5, 2, {"wallet": 10, "bonus": 1}),
        # A part of it was owed.
        (3, 0, 5, 4, {"receivable": -1}),
        (3, 0, 5, 1, {"bonus": 2}),
        # Bonus credit paid nothing of it.
        (0, 10, 5, 5, {"wallet": 5}),
    ],
)
async def test_after_it_the_money_is_what_it_would_be_if_only_the_new_charge_had_been(
    money, bonus, paid, old, new, left
):
    if paid:
        await money.pay(paid)
    if bonus:
        await money.bonus(bonus)
    batch = await money.charge(old)
    await money.charge(new, back={batch: old})
    found = await money.accounts()
    assert {name: found[name] for name in ("wallet", "bonus", "receivable") if name in found} == left
    with pytest.raises(InvalidMove, match=r"paid money|is free"):
        await money.move.refund(money.moving(left.get("wallet", 0) + 1))
    await money.check()


async def test_what_the_rest_of_its_batch_needed_stays_drawn(money):
    """Bonus credit is spent first, so without one of two requests the other would have taken all of it."""
    await money.pay(10)
    await money.bonus(5)
    batch = await money.charge(10)
    await money.charge(0, back={batch: 4})
    assert (await money.accounts())["wallet"] == 9
    await money.charge(0, back={batch: 3})
    assert await money.left() == [(2, 100)]
    assert (await money.accounts())["wallet"] == 10
    await money.charge(0, back={batch: 3})
    assert await money.left() == [(5, 100)]
    assert (await money.accounts())["wallet"] == 10
    await money.check()


async def test_it_comes_back_to_its_own_grant_whatever_was_granted_and_spent_since(money):
    await money.bonus(4, priority=1)
    await money.bonus(4, priority=2)
    batch = await money.charge(6)
    await money.bonus(9, priority=0)
    await money.charge(9)
    assert await money.left() == [(2, 2)]
    await money.charge(0, back={batch: 6})
    assert await money.left() == [(4, 1), (4, 2)]
    await money.check()


async def test_it_comes_back_with_its_expiry(money):
    await money.bonus(10, expires_us=50)
    batch = await money.charge(5)
    assert await money.move.expire(50) == 1
    # Its time is over: it pays for the new charge, and what is left of it is booked out again.
    batch = await money.charge(4, back={batch: 5})
    assert await money.left() == [(1, 100)]
    assert await money.move.expire(60) == 1
    await money.charge(2, back={batch: 4})
    assert await money.move.expire(70) == 1
    assert await money.left() == []
    # 11 were charged, 9 of it taken back, and 8 of the 10 expired.
    assert await money.accounts() == {"adjustment": -11, "revenue": 11}
    await money.check()


async def test_what_bonus_paid_is_kept_for_as_long_as_a_charge_may_be_taken_back(money):
    await money.bonus(10)
    await money.charge(5)
    rows = sa.select(sa.func.count()).select_from(BONUS_DRAWS)
    for since_us, kept in ((91 * DAY_US, 1), (91 * DAY_US + 2, 0)):
        await money.ledger.open_requests(since_us)
        assert await money.database.read(lambda connection: connection.execute(rows).scalar_one()) == kept


CHARGES = st.lists(st.integers(0, 9), min_size=1, max_size=3)
# Which request is charged anew, of those that were charged so far, and how much.
AGAIN = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=3)
GRANT = st.tuples(st.just("grant"), st.integers(1, 9), st.integers(0, 2), st.sampled_from([0, 0, 3, 8]))
STEPS = st.one_of(
    GRANT,
    st.tuples(st.just("pay"), st.integers(1, 9)),
    st.tuples(st.just("batch"), CHARGES, st.just([])),
    st.tuples(st.just("batch"), st.just([]), AGAIN),
    st.tuples(st.just("batch"), CHARGES, AGAIN),
    st.tuples(st.just("expire")),
)


class Model:
    """Grants as heaps of single coins. A batch keeps the coins that it took, and for which charges."""

    def __init__(self):
        self.paid = self.given = self.expired = 0
        self.grants = {}
        self.coins, self.charges, self.batch_of = {}, {}, {}

    def grant(self, key, amount, priority, expires):
        order = (priority, expires == 0, expires, len(self.grants))
        self.grants[key] = [order, expires, amount]
        self.given += amount

    def expire(self, now):
        for grant in self.grants.values():
            if 0 < grant[1] <= now:
                self.expired += grant[2]
                grant[2] = 0

    def batch(self, name, charges, again):
        old = {request: self.batch_of[request] for request in again}
        for request, before in old.items():
            del self.charges[before][request]
        for before in old.values():
            while len(self.coins[before]) > sum(self.charges[before].values()):
                self.grants[self.coins[before].pop()][2] += 1
        self.coins[name], self.charges[name] = [], charges | again
        for _ in range(sum(self.charges[name].values())):
            left = [(grant[0], key) for key, grant in self.grants.items() if grant[2]]
            if left:
                key = min(left)[1]
                self.grants[key][2] -= 1
                self.coins[name].append(key)
        self.batch_of |= dict.fromkeys(self.charges[name], name)

    def expected(self):
        bonus = sum(left for _, _, left in self.grants.values())
        charged = sum(sum(charges.values()) for charges in self.charges.values())
        own = self.paid + self.given - self.expired - charged - bonus
        return {"wallet": max(own, 0), "bonus": bonus, "receivable": min(own, 0)}, {
            key: left for key, (_, _, left) in self.grants.items() if left
        }


class Story:
    """The same steps on a ledger, for an organization of its own."""

    def __init__(self, database, org):
        self.ledger, self.operations, self.org = SqlLedger(database), SqlOperations(database), org
        self.now, self.high = 0, 0
        self.batches, self.charged = {}, {}

    async def pay(self, amount):
        self.now += 1
        await self.ledger.grant(Grant(self.org, "USD", amount, f"{self.org}/{self.now}", "paid", self.now))

    async def grant(self, key, amount, priority, expires):
        move = Move(self.org, "USD", amount, key, "bonus", self.now)
        await self.operations.grant_bonus(BonusGrant(move, priority, expires))

    async def batch(self, charges, again):
        bounds = Bounds("epoch", self.org, 0, self.high, self.high + 1)
        self.high += 1
        taken = {}
        for request in again:
            taken[self.batches[request]] = taken.get(self.batches[request], 0) + self.charged[request]
        back = [TakenBack(batch, self.org, "USD", amount) for batch, amount in sorted(taken.items()) if amount]
        sums = ((WALLET, REVENUE, sum((charges | again).values())), (ADJUSTMENT, WALLET, sum(taken.values())))
        transfers = [
            Transfer(Line(self.org, "p", "m", "sha256:b", "USD", debit, credit), amount, 1)
            for debit, credit, amount in sums
            if amount
        ]
        await self.ledger.claim(bounds.source, "me")
        await self.ledger.post(Posting(bounds, "me", transfers, (), taken_back=back, now_us=self.now))
        self.charged |= charges | again
        self.batches |= dict.fromkeys(charges | again, bounds.batch)
        return bounds.batch

    async def found(self):
        found = await self.operations.accounts(self.org)
        sums = {name: balance for name, _, balance in found.accounts}
        left = {one.key: one.remaining_pico for one in found.bonuses}
        return {name: sums.get(name, 0) for name in ("wallet", "bonus", "receivable")}, left


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One for all stories: each has an organization of its own."""
    made = Database(f"sqlite:////{tmp_path_factory.mktemp('sql')}/l.sqlite", migrations="tollgate_billing:migrations")
    made.migrate_here()
    yield made
    made.close()


NAMES = itertools.count()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=GRANT, steps=st.lists(STEPS, min_size=3, max_size=14))
def test_any_story_of_charges_that_are_taken_back_is_the_models(database, first, steps):
    asyncio.run(told(Story(database, f"org-{next(NAMES)}"), Model(), [first, *steps]))


async def told(story, model, steps):
    for step in steps:
        if step[0] == "pay":
            await story.pay(step[1])
            model.paid += step[1]
        elif step[0] == "grant":
            _, amount, priority, lasts = step
            story.now += 1
            key, expires = f"{story.org}/{story.now}", lasts and story.now + lasts
            await story.grant(key, amount, priority, expires)
            model.grant(key, amount, priority, expires)
        elif step[0] == "batch":
            story.now += 1
            known = sorted(story.charged)
            again = {known[place % len(known)]: amount for place, amount in step[2] if known}
            charges = {f"r{story.now}-{place}": amount for place, amount in enumerate(step[1])}
            model.batch(await story.batch(charges, again), charges, again)
        else:
            story.now += 1
            await story.operations.expire(story.now)
            model.expire(story.now)
        found = await story.found()
        assert found == model.expected()
        # Bonus credit never becomes money that can be refunded.
        assert found[0]["wallet"] <= model.paid


async def test_a_second_try_that_is_cheaper_gives_bonus_credit_back(request, tmp_path, valkey):
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of("embedded", request, tmp_path, valkey))
    url = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
    channel = new_channel(billing.socket)
    ledger = ledger_pb2_grpc.LedgerServiceStub(channel)
    now = time.time_ns() // 1000
    first = usage_event("req", status=UNCONFIRMED, output_tokens=50, at_us=now)
    second = usage_event("req", status=CONFIRMED, tried=2, output_tokens=20, at_us=now)
    bonus = 2 * first.charge_pico
    try:
        billing.start()
        client = billing.client()
        await client.grant(7)
        asked = ledger_pb2.GrantBonusRequest(organization_id="org", currency="USD", amount_pico=bonus)
        asked.idempotency_key = "welcome"
        await ledger.GrantBonus(asked, timeout=60)
        await send(url, [first])
        await client.booked(1)
        await send(url, [second])
        # A row for each, and one that takes the first charge back.
        await client.booked(3)
        found = await ledger.GetAccounts(ledger_pb2.GetAccountsRequest(organization_id="org"), timeout=60)
        assert {one.account: one.balance_pico for one in found.accounts}["wallet"] == 7
        assert [one.remaining_pico for one in found.bonuses] == [bonus - second.charge_pico]
        balance = await client.balance()
        assert balance.wallet_pico == balance.ledger_pico == 7 + bonus - second.charge_pico
        await client.close()
    finally:
        await channel.close()
        billing.clean()
