"""The states of a hold, against a real server: every transition of the table in `holds.py`, and what a crash leaves."""

import asyncio
import random

import pytest
from libs.holds.tests.fakes.limits_model import AGAIN

from tollgate_holds import BookState, HoldResult, Operation
from tollgate_holds.holds import Holds, checked, flatten
from tollgate_holds.pipe import RedisUnavailable

pytestmark = pytest.mark.integration

ORGANIZATION = "org_test"
DAY = 86_400


async def fund(holds, amount):
    await holds.rebuild(ORGANIZATION, amount)


async def test_holding_needs_a_wallet_and_money(holds):
    assert await holds.hold(ORGANIZATION, "r1", 5, 60) is HoldResult.NO_WALLET
    await fund(holds, 10)
    assert await holds.hold(ORGANIZATION, "r1", 8, 60) is HoldResult.DONE
    assert await holds.hold(ORGANIZATION, "r2", 3, 60) is HoldResult.INSUFFICIENT
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (2, 8, 0)


async def test_what_is_left_is_what_nothing_holds(holds):
    assert await holds.left(ORGANIZATION) is None
    await fund(holds, 10)
    await holds.hold(ORGANIZATION, "r1", 8, 60)
    assert await holds.left(ORGANIZATION) == 2
    # All of it may be held, and cost more.
    assert await holds.hold(ORGANIZATION, "r2", 2, 60) is HoldResult.DONE
    assert await holds.settle(ORGANIZATION, "r2", 7) is HoldResult.DONE
    assert await holds.left(ORGANIZATION) == -5
    assert await holds.hold(ORGANIZATION, "r3", 1, 60) is HoldResult.INSUFFICIENT


async def test_who_pays_later_needs_no_wallet_and_goes_below_nothing(holds):
    async def hold(name, amount):
        reply = asyncio.get_running_loop().create_future()
        flat = flatten([(Operation.HOLD_POSTPAID, name, amount)])
        assert holds.pipe.submit(holds.pack(ORGANIZATION, 60, flat), reply.set_result)
        return await reply

    assert await hold("r1", 5) == [HoldResult.DONE]
    assert (await holds.balance(ORGANIZATION)).wallet is None
    await fund(holds, 0)
    assert await hold("r2", 3) == [HoldResult.DONE]
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held) == (-8, 8)
    await holds.settle(ORGANIZATION, "r1", 2)
    assert (await holds.balance(ORGANIZATION)).wallet == -5


async def test_holding_twice_under_one_id_holds_once(holds):
    await fund(holds, 10)
    for _ in range(3):
        assert await holds.hold(ORGANIZATION, "r1", 8, 60) is HoldResult.DONE
    assert (await holds.balance(ORGANIZATION)).wallet == 2


async def second_try(holds, amount, operation=Operation.HOLD_AGAIN):
    reply = asyncio.get_running_loop().create_future()
    assert holds.pipe.submit(holds.pack(ORGANIZATION, 60, flatten([(operation, "r1.2", amount)])), reply.set_result)
    return (await reply)[0]


@pytest.mark.parametrize("operation", AGAIN)
async def test_a_second_try_takes_over_what_the_first_one_holds(holds, operation):
    await fund(holds, 10)
    await holds.hold(ORGANIZATION, "r1", 8, -5)
    # Nobody else can have it between the two, there need be no more than it, and a lost reply changes nothing.
    assert [await second_try(holds, 8, operation) for _ in range(2)] == [HoldResult.DONE] * 2
    assert await holds.record(ORGANIZATION, "r1") is None
    assert (await holds.balance(ORGANIZATION)).wallet == 2
    # Its time begins anew.
    assert (await holds.sweep(ORGANIZATION, tombstone_seconds=DAY, overdue_seconds=DAY)).released == 0
    # What becomes known of the first try ends nothing that the second one holds.
    await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 0)])
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held) == (2, 8)
    await holds.settle(ORGANIZATION, "r1.2", 3)
    await holds.book(ORGANIZATION, "t/0", "b2", [("r1.2", 3)])
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (7, 0, 0)


@pytest.mark.parametrize(("left", "result"), [(8, HoldResult.DONE), (7, HoldResult.INSUFFICIENT)])
async def test_a_second_try_whose_first_one_was_booked_needs_money_of_its_own(holds, left, result):
    await fund(holds, left)
    await holds.hold(ORGANIZATION, "r1", 5, 60)
    await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 0)])
    assert await second_try(holds, 8) == result
    assert (await holds.balance(ORGANIZATION)).held == (8 if result is HoldResult.DONE else 0)


async def test_a_second_try_takes_no_tombstone_over(holds):
    await fund(holds, 10)
    await holds.hold(ORGANIZATION, "r1", 8, -5)
    await holds.sweep(ORGANIZATION, tombstone_seconds=DAY, overdue_seconds=DAY)
    assert await second_try(holds, 8) == HoldResult.DONE
    assert (await holds.record(ORGANIZATION, "r1")).state == "released"
    assert (await holds.balance(ORGANIZATION)).held == 8


async def test_settle_returns_the_difference_and_a_second_settle_changes_nothing(holds):
    await fund(holds, 10)
    await holds.hold(ORGANIZATION, "r1", 8, 60)
    assert await holds.settle(ORGANIZATION, "r1", 3) is HoldResult.DONE
    assert await holds.settle(ORGANIZATION, "r1", 3) is HoldResult.DONE
    assert await holds.settle(ORGANIZATION, "r1", 4) is HoldResult.DIFFERS
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (7, 0, 3)


@pytest.mark.parametrize(
    ("before", "charge", "corrected"),
    [("held", 3, 0), ("settled", 3, 0), ("settled", 5, 1), ("released", 3, 0), ("missing", 3, 0), ("held", 0, 0)],
)
async def test_booking_charges_once_from_every_state(holds, before, charge, corrected):
    await fund(holds, 100)
    if before != "missing":
        await holds.hold(ORGANIZATION, "r1", 8, -5 if before == "released" else 60)
    if before == "settled":
        await holds.settle(ORGANIZATION, "r1", 3)
    if before == "released":
        swept = await holds.sweep(ORGANIZATION, tombstone_seconds=DAY, overdue_seconds=DAY)
        assert swept.released == 1
    booking = await holds.book(ORGANIZATION, "t/0", "b1", [("r1", charge)])
    assert (booking.state, booking.corrected) == (BookState.APPLIED, corrected)
    assert (await holds.book(ORGANIZATION, "t/0", "b1", [("r1", charge)])).state is BookState.REPEATED
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (100 - charge, 0, 0)


async def test_a_hold_that_a_batch_names_twice_is_booked_once_and_charged_twice(holds):
    await fund(holds, 100)
    await holds.hold(ORGANIZATION, "r1", 8, 60)
    booking = await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 3), ("r2", 1), ("r1", 4)])
    assert booking.state is BookState.APPLIED
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (100 - 8, 0, 0)


async def test_a_long_batch_is_booked_whole(holds):
    await fund(holds, 10_000)
    for number in range(0, 2_500, 100):
        await holds.hold(ORGANIZATION, f"r{number}", 8, 60)
    await holds.book(ORGANIZATION, "t/0", "b1", [(f"r{number}", 2) for number in range(2_500)])
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (5_000, 0, 0)


async def test_a_released_hold_cannot_be_taken_again(holds):
    await fund(holds, 100)
    await holds.hold(ORGANIZATION, "r1", 8, -5)
    await holds.sweep(ORGANIZATION, tombstone_seconds=DAY, overdue_seconds=DAY)
    assert await holds.hold(ORGANIZATION, "r1", 8, 60) is HoldResult.TOO_LATE
    assert await holds.settle(ORGANIZATION, "r1", 8) is HoldResult.TOO_LATE
    assert (await holds.balance(ORGANIZATION)).wallet == 100


async def test_renewed_holds_outlive_the_sweep_and_old_tombstones_go(holds):
    await fund(holds, 100)
    await holds.hold(ORGANIZATION, "long", 8, -5)
    await holds.renew(ORGANIZATION, "long", 60)
    await holds.hold(ORGANIZATION, "dead", 1, -5)
    first = await holds.sweep(ORGANIZATION, tombstone_seconds=-5, overdue_seconds=DAY)
    assert (first.released, first.forgotten) == (1, 0)
    second = await holds.sweep(ORGANIZATION, tombstone_seconds=-5, overdue_seconds=DAY)
    assert (second.released, second.forgotten) == (0, 1)
    assert (await holds.balance(ORGANIZATION)).held == 8


async def test_settled_holds_that_nobody_booked_are_named(holds):
    await fund(holds, 100)
    await holds.hold(ORGANIZATION, "r1", 8, 60)
    await holds.settle(ORGANIZATION, "r1", 8)
    assert (await holds.sweep(ORGANIZATION, tombstone_seconds=1, overdue_seconds=-5)).overdue == ("r1",)


async def test_a_lost_wallet_is_rebuilt_to_the_same_amount(holds):
    await fund(holds, 100)
    await holds.hold(ORGANIZATION, "open", 8, 60)
    await holds.hold(ORGANIZATION, "done", 8, 60)
    await holds.settle(ORGANIZATION, "done", 3)
    before = await holds.balance(ORGANIZATION)
    await holds.pipe.call("DEL", "{org_test}:wallet")
    assert (await holds.book(ORGANIZATION, "t/0", "b9", [("done", 3)])).state is BookState.NO_WALLET
    assert await holds.rebuild(ORGANIZATION, 97) == (before.wallet, True)
    assert await holds.rebuild(ORGANIZATION, 97) == (before.wallet, False)


async def test_amounts_beyond_what_doubles_count_stay_exact(holds):
    large = 2**62 + 1
    await fund(holds, large)
    await holds.hold(ORGANIZATION, "r1", 2**61 + 1, 60)
    await holds.settle(ORGANIZATION, "r1", 2**60 + 1)
    await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 2**60 + 1)])
    assert (await holds.balance(ORGANIZATION)).wallet == large - 2**60 - 1


async def test_what_no_wallet_can_hold_is_not_held_when_it_is_asked_for_again(holds):
    """A wallet below nothing, less the most that there is, is beyond what Redis counts."""
    await fund(holds, -5)
    for _ in range(2):
        assert await holds.hold(ORGANIZATION, "r1", 2**63 - 1, 60) is HoldResult.INSUFFICIENT
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held) == (-5, 0)


async def test_a_batch_of_many_effects_is_booked_like_many_batches(holds):
    """More than one call of Redis takes, some of them on holds that are settled, missing, or named before."""
    await fund(holds, 10_000)
    names = [f"r{number}" for number in range(2_300)]
    await asyncio.gather(*(holds.hold(ORGANIZATION, name, 3, 60) for name in names))
    await asyncio.gather(*(holds.settle(ORGANIZATION, name, 2) for name in names[::2]))
    effects = [(name, 2) for name in names] + [("missing", 7), ("r0", 1), (names[-1], 1), ("missing", 1)]
    booking = await holds.book(ORGANIZATION, "t/0", "b1", effects)
    assert (booking.state, booking.corrected) == (BookState.APPLIED, 0)
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (10_000 - 2 * len(names) - 10, 0, 0)
    assert await holds.records(ORGANIZATION) == []


async def test_many_operations_travel_in_one_call_and_answer_in_order(holds):
    await fund(holds, 10)
    flat = flatten([(Operation.HOLD, f"r{i}", 4) for i in range(3)] + [(Operation.SETTLE, "r0", 1)])
    reply = asyncio.get_running_loop().create_future()
    assert holds.pipe.submit(holds.pack(ORGANIZATION, 60, flat), reply.set_result)
    assert await reply == [1, 1, 0, 1]
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.held, balance.settled) == (5, 4, 1)


async def test_forgotten_scripts_are_loaded_again(holds):
    await fund(holds, 10)
    await holds.pipe.call("SCRIPT", "FLUSH")
    assert await holds.hold(ORGANIZATION, "r1", 4, 60) is HoldResult.DONE


async def test_a_broken_connection_fails_what_waits_and_comes_back(holds):
    await fund(holds, 10)
    closed = asyncio.create_task(holds.pipe.call("CLIENT", "KILL", "SKIPME", "no", "TYPE", "normal"))
    with pytest.raises(RedisUnavailable):
        await asyncio.gather(closed, *(holds.pipe.call("PING") for _ in range(3)))
    assert await holds.wait_ready(60)
    assert await holds.hold(ORGANIZATION, "r1", 4, 60) is HoldResult.DONE


async def test_a_server_that_may_evict_is_refused(holds, redis_url):
    await holds.pipe.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    other = Holds(redis_url, timeout_seconds=60)
    await other.start()
    try:
        assert not await other.wait_ready(0.5)
        await holds.pipe.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert await other.wait_ready(60)
    finally:
        await holds.pipe.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await other.close()


async def test_random_lives_of_holds_keep_wallet_plus_taken_equal_to_the_ledger(holds):
    rng = random.Random(7)
    ledger = 10_000
    await fund(holds, ledger)
    live: dict[str, int] = {}
    for step in range(300):
        name, amount = f"r{rng.randrange(60)}", rng.randrange(1, 90)
        match rng.randrange(4):
            case 0:
                if await holds.hold(ORGANIZATION, name, amount, rng.choice([60, -5])) is HoldResult.DONE:
                    live[name] = amount
            case 1:
                await holds.settle(ORGANIZATION, name, amount)
            case 2:
                booking = await holds.book(ORGANIZATION, "t/0", f"b{step}", [(name, amount)])
                assert booking.state is BookState.APPLIED
                ledger -= amount
            case 3:
                await holds.sweep(ORGANIZATION, tombstone_seconds=rng.choice([DAY, -5]), overdue_seconds=DAY)
        balance = await holds.balance(ORGANIZATION)
        assert balance.wallet + balance.held + balance.settled == ledger
    assert live


class Model:
    """What a batch of operations does, one after another, in Python's own integers."""

    def __init__(self, wallet):
        self.wallet = wallet
        self.records = {}

    def apply(self, operation, name, amount):
        state, held = self.records.get(name, ("", 0))
        if operation in AGAIN:
            before = name.removesuffix(".2")
            if not state and self.records.get(before, ("", 0))[0] == "held":
                self.records[name] = self.records.pop(before)
                return HoldResult.DONE
            operation = AGAIN[operation]
        match operation, state:
            case ((Operation.HOLD | Operation.HOLD_POSTPAID), ""):
                if amount > self.wallet and operation is Operation.HOLD:
                    return HoldResult.INSUFFICIENT
                self.wallet -= amount
                self.records[name] = ("held", amount)
            case Operation.SETTLE, "held":
                self.wallet += held - amount
                self.records[name] = ("settled", amount)
            case Operation.FORGET, "held":
                self.wallet += held
                del self.records[name]
            case Operation.SETTLE, "settled":
                return HoldResult.DONE if held == amount else HoldResult.DIFFERS
            case ((Operation.HOLD | Operation.HOLD_POSTPAID | Operation.END), _) | (Operation.RENEW, "held"):
                pass
            case _:
                return HoldResult.TOO_LATE
        return HoldResult.DONE

    def taken(self, state):
        return sum(amount for found, amount in self.records.values() if found == state)


@pytest.mark.parametrize("wallet", [1_000, 10**15 - 1, 10**15 + 1, 5 * 10**15, 2**62 + 1, -3, -(10**15) - 7])
@pytest.mark.parametrize("largest", [90, 10**15 + 5, 2**57 + 1])
async def test_a_batch_does_what_its_operations_do_one_after_another(holds, wallet, largest):
    rng = random.Random(wallet ^ largest)
    model = Model(wallet)
    await fund(holds, wallet)
    results = set()
    for _ in range(12):
        batch = []
        for _ in range(rng.randrange(1, 30)):
            operation = rng.choice((Operation.HOLD, Operation.HOLD, Operation.SETTLE, *Operation))
            name = f"r{rng.randrange(25)}" + ".2" * (operation in AGAIN or rng.random() < 0.2)
            batch.append((operation, name, rng.randrange(1, rng.choice((90, largest)))))
        wanted = [model.apply(*one) for one in batch]
        reply = asyncio.get_running_loop().create_future()
        assert holds.pipe.submit(holds.pack(ORGANIZATION, 60, flatten(batch)), reply.set_result)
        assert await reply == wanted
        results.update(wanted)
        balance = await holds.balance(ORGANIZATION)
        assert (balance.wallet, balance.held, balance.settled) == (
            model.wallet,
            model.taken("held"),
            model.taken("settled"),
        )
    effects = [(f"r{number}", rng.randrange(0, largest)) for number in (*range(25), 3)]
    effects += [(f"r{number}.2", rng.randrange(0, largest)) for number in range(25)]
    named = {name for name, _ in effects}
    freed = sum(amount for name, (_, amount) in model.records.items() if name in named)
    await holds.book(ORGANIZATION, "t/0", "b1", effects, credit_pico=largest)
    balance = await holds.balance(ORGANIZATION)
    assert balance.wallet == model.wallet + freed - sum(charge for _, charge in effects) + largest
    assert (balance.held, balance.settled) == (0, 0)
    assert HoldResult.TOO_LATE in results


async def test_a_batch_larger_than_one_command_takes_is_done_whole(holds):
    await fund(holds, 10**9)
    for operation in (Operation.HOLD, Operation.SETTLE):
        reply = asyncio.get_running_loop().create_future()
        flat = flatten([(operation, f"r{number}", 2) for number in range(1_201)])
        assert holds.pipe.submit(holds.pack(ORGANIZATION, 60, flat), reply.set_result)
        assert await reply == [HoldResult.DONE] * 1_201
    assert (await holds.balance(ORGANIZATION)).settled == 2_402
    assert (
        await holds.book(ORGANIZATION, "t/0", "b1", [(f"r{number}", 3) for number in range(1_201)])
    ).corrected == 1_201
    balance = await holds.balance(ORGANIZATION)
    assert (balance.wallet, balance.settled) == (10**9 - 3_603, 0)


@pytest.mark.parametrize("amount", [-1, 2**63])
def test_amounts_that_redis_cannot_count_are_refused(amount):
    with pytest.raises(ValueError, match="pico-units"):
        checked(amount)
