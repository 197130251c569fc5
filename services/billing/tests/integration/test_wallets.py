"""Wallets: one suite for the fake and Valkey."""

import uuid

import pytest
from services.billing.tests.fakes.wallets import FakeWallets

from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.errors import WalletsUnavailable
from tollgate_billing.ports import Effect, Outcome
from tollgate_holds.holds import Holds
from tollgate_holds.pipe import RedisUnavailable
from tollgate_rating import INT64_MAX

pytestmark = pytest.mark.integration


@pytest.fixture
def organization():
    return f"org-{uuid.uuid4().hex[:8]}"


async def hold(wallets, organization, hold_id, amount):
    if isinstance(wallets, FakeWallets):
        wallets.hold(organization, hold_id, amount)
    else:
        await wallets.holds.hold(organization, hold_id, amount, 600)


async def settle(wallets, organization, hold_id, cost):
    if isinstance(wallets, FakeWallets):
        wallets.settle(organization, hold_id, cost)
    else:
        await wallets.holds.settle(organization, hold_id, cost)


async def test_a_batch_is_applied_once(wallets, organization):
    await wallets.rebuild(organization, 1000)
    await hold(wallets, organization, "a", 100)
    await hold(wallets, organization, "b", 100)
    await settle(wallets, organization, "b", 30)
    effect = Effect(organization, (("a", 40), ("b", 30), ("gone", 5)), 7)
    for _ in range(3):
        assert await wallets.book(effect, "source", "batch") == Outcome(missing=False, corrected=0)
    state = await wallets.state(organization)
    assert (state.wallet, state.held, state.settled) == (1000 - 40 - 30 - 5 + 7, 0, 0)


async def test_what_is_beyond_int64_becomes_the_nearest_to_it(wallets, organization):
    for bound in (INT64_MAX, -INT64_MAX):
        assert (await wallets.rebuild(organization, 3 * bound))[0] == bound
        assert (await wallets.state(organization)).wallet == bound
    assert await wallets.book(Effect(organization, (("a", 40),), 0), "source", "b1") == Outcome(False, 0)
    assert await wallets.book(Effect(organization, (), 7), "source", "b2") == Outcome(False, 0)
    assert (await wallets.rebuild(organization, 5)) == (5, True)


def large(organization):
    """An effect of several calls: what it takes in all, and 7 of credit."""
    charges = tuple((f"r{number}", number % 3) for number in range(5_000))
    return Effect(organization, charges, 7), sum(charge for _, charge in charges)


async def test_a_large_batch_is_applied_once(wallets, organization):
    await wallets.rebuild(organization, 10_000)
    await hold(wallets, organization, "r4999", 100)
    effect, charged = large(organization)
    for _ in range(2):
        assert await wallets.book(effect, "source", "one") == Outcome(missing=False, corrected=0)
    assert (await wallets.state(organization)).wallet == 10_000 - charged + 7
    await wallets.book(effect, "source", "two")
    state = await wallets.state(organization)
    assert (state.wallet, state.held) == (10_000 - 2 * (charged - 7), 0)


class Breaking(Holds):
    """Loses its connection after some bookings, before or after the server has done the last of them."""

    def __init__(self, url, left, *, done):
        super().__init__(url)
        self.left, self.done = left, done

    async def book(self, *arguments):
        self.left -= 1
        if self.left < 0 and not self.done:
            raise RedisUnavailable("away")
        booking = await super().book(*arguments)
        if self.left < 0:
            raise RedisUnavailable("away")
        return booking


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_large_batch_that_broke_off_is_finished_and_not_repeated(valkey, organization, left, done):
    breaking, whole = Breaking(valkey.url, left, done=done), Holds(valkey.url)
    for holds in (breaking, whole):
        await holds.start()
        assert await holds.wait_ready(60)
    wallets = RedisWallets(whole)
    await wallets.rebuild(organization, 10_000)
    effect, charged = large(organization)
    with pytest.raises(WalletsUnavailable):
        await RedisWallets(breaking).book(effect, "source", "batch")
    for _ in range(2):
        await wallets.book(effect, "source", "batch")
    assert (await wallets.state(organization)).wallet == 10_000 - charged + 7
    for holds in (breaking, whole):
        await holds.close()


async def test_a_process_that_stood_still_does_not_apply_an_old_batch_again(wallets, organization):
    """It had posted the ledger; another process applied that batch and the next one meanwhile."""
    await wallets.rebuild(organization, 100)
    effect = Effect(organization, (("x", 10),), 0)
    for batch in ("e/t/0/0-9", "e/t/0/9-10", "e/t/0/0-9", "e/t/0/9-10"):
        await wallets.book(effect, "e/t/0", batch)
    assert (await wallets.state(organization)).wallet == 80
    # A topic that was made again begins at 0, and the keys of other money are in no order.
    await wallets.book(effect, "f/t/0", "f/t/0/0-1")
    for key in ("operations/1-5", "operations/1-3", "refund-2", "refund-1"):
        await wallets.book(effect, "operations", key)
    assert (await wallets.state(organization)).wallet == 30


async def test_a_process_that_stood_still_does_not_apply_an_old_large_batch_again(wallets, organization):
    await wallets.rebuild(organization, 10_000)
    effect, charged = large(organization)
    for batch in ("e/t/0/0-5000", "e/t/0/5000-10000", "e/t/0/0-5000", "e/t/0/5000-10000"):
        await wallets.book(effect, "e/t/0", batch)
    assert (await wallets.state(organization)).wallet == 10_000 - 2 * (charged - 7)


async def test_sources_do_not_hide_each_other(wallets, organization):
    await wallets.rebuild(organization, 100)
    for source in ("one", "two"):
        await wallets.book(Effect(organization, (("x", 10),), 0), source, "batch")
    assert (await wallets.state(organization)).wallet == 80


async def test_another_charge_than_was_settled_is_counted(wallets, organization):
    await wallets.rebuild(organization, 100)
    await hold(wallets, organization, "a", 50)
    await settle(wallets, organization, "a", 20)
    assert (await wallets.book(Effect(organization, (("a", 30),), 0), "s", "b")).corrected == 1
    assert (await wallets.state(organization)).wallet == 70


async def test_a_missing_wallet_is_said_and_rebuilt_less_what_is_held(wallets, organization):
    await wallets.rebuild(organization, 1000)
    await hold(wallets, organization, "a", 100)
    assert await wallets.rebuild(organization, 990) == (890, True)
    assert await wallets.rebuild(organization, 990) == (890, False)
    stranger = f"{organization}-new"
    assert (await wallets.book(Effect(stranger, (("x", 1),), 0), "s", "b")).missing
    assert (await wallets.state(stranger)).wallet is None


async def test_a_sweep_leaves_what_is_alive(wallets, organization):
    await wallets.rebuild(organization, 1000)
    await hold(wallets, organization, "a", 100)
    swept = await wallets.sweep(organization)
    assert (swept.released, swept.forgotten, swept.overdue) == (0, 0, ())


async def test_nobody_there_is_unavailable():
    holds = Holds("redis://127.0.0.1:1/0")
    await holds.start()
    with pytest.raises(WalletsUnavailable):
        await RedisWallets(holds).state("org")
    await holds.close()
