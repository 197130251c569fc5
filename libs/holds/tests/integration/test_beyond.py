"""Sums beyond what Redis counts: nothing breaks off half done, and a wallet stays at the nearest that is counted."""

import random

import pytest

from tollgate_holds import BookState, HoldResult, LimitSet, Operation, Scope

pytestmark = pytest.mark.integration

ORGANIZATION = "org_beyond"
DAY = 86_400
MOST = 2**63 - 1


async def state(holds):
    found = await holds.balance(ORGANIZATION)
    return found.wallet, found.held, found.settled


async def test_a_batch_that_goes_beyond_is_applied_whole_and_once(holds):
    await holds.rebuild(ORGANIZATION, 50 - MOST)
    await holds.hold(ORGANIZATION, "r1", 20, 60, prepaid=False)
    booking = await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 30), ("r2", 40)])
    assert booking.state is BookState.APPLIED
    assert await state(holds) == (-MOST, 0, 0)
    assert (await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 30)])).state is BookState.REPEATED
    # The next one is none the worse for it.
    assert (await holds.book(ORGANIZATION, "t/0", "b2", [("r4", 5)], 25)).state is BookState.APPLIED
    assert await state(holds) == (25 - MOST, 0, 0)


async def test_credit_that_goes_beyond_is_applied_whole(holds):
    await holds.rebuild(ORGANIZATION, MOST - 5)
    assert (await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 3)], 20)).state is BookState.APPLIED
    assert await state(holds) == (MOST, 0, 0)


@pytest.mark.parametrize("ending", ["settle", "release", "sweep", "book"])
@pytest.mark.parametrize("ledger", [MOST + 10, -MOST - 10])
async def test_a_hold_of_a_wallet_at_its_bound_ends_in_every_way(holds, ending, ledger):
    await holds.rebuild(ORGANIZATION, 0)
    await holds.hold(ORGANIZATION, "r1", 8, -5 if ending == "sweep" else 60, prepaid=False)
    bound = MOST if ledger > 0 else -MOST
    assert await holds.rebuild(ORGANIZATION, ledger) == (bound, True)
    if ending == "settle":
        assert await holds.settle(ORGANIZATION, "r1", 11 if ledger < 0 else 3) is HoldResult.DONE
    elif ending == "release":
        assert await holds.release(ORGANIZATION, "r1") is HoldResult.DONE
    elif ending == "sweep":
        assert (await holds.sweep(ORGANIZATION, tombstone_seconds=DAY, overdue_seconds=DAY)).released == 1
    else:
        assert (await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 8)])).state is BookState.APPLIED
    wallet, held, _ = await state(holds)
    assert held == 0
    # What is given back to a wallet below comes off it; the ledger puts it right when it is made again.
    assert wallet == bound + (8 if ledger < 0 and ending in {"release", "sweep"} else 0)


async def test_nobody_is_admitted_whose_hold_would_go_beyond(holds):
    await holds.rebuild(ORGANIZATION, -MOST - 10)
    for _ in range(2):
        assert await holds.hold(ORGANIZATION, "r1", 8, 60, prepaid=False) is HoldResult.INSUFFICIENT
    assert await state(holds) == (-MOST, 0, 0)


async def test_holds_that_are_beyond_together_are_added_up_exactly(holds):
    amounts = [MOST, MOST, 10**9, 10**9 - 1, 7, 0]
    for number, amount in enumerate(amounts):
        # Without a wallet, those who pay later are admitted.
        assert await holds.hold(ORGANIZATION, f"r{number}", amount, 60, prepaid=False) is HoldResult.DONE
    await holds.settle(ORGANIZATION, "r1", MOST - 1)
    held, settled = sum(amounts) - MOST, MOST - 1
    assert await state(holds) == (None, held, settled)
    for left in (0, -1, 5 * 10**9, -5 * 10**9, 10**9, -(10**9), MOST, -MOST):
        assert (await holds.rebuild(ORGANIZATION, held + settled + left))[0] == left
        assert await holds.rebuild(ORGANIZATION, held + settled + left) == (left, False)


async def test_a_wallet_is_the_ledger_less_holds_or_the_nearest_to_it(holds):
    chance = random.Random(3)
    held = settled = 0
    for number in range(200):
        amount = chance.randrange(10 ** chance.randint(1, 18))
        await holds.pipe.call("DEL", f"{{{ORGANIZATION}}}:wallet")
        await holds.hold(ORGANIZATION, f"r{number}", amount, 60, prepaid=False)
        if number % 3:
            held += amount
        else:
            await holds.settle(ORGANIZATION, f"r{number}", amount)
            settled += amount
        ledger = chance.choice([1, -1]) * chance.randrange(10 ** chance.randint(1, 20))
        exact = ledger - held - settled
        assert (await holds.rebuild(ORGANIZATION, ledger))[0] == max(-MOST, min(MOST, exact))
        assert (await state(holds))[1:] == (held, settled)


EDGES = (0, 1, 10**15 - 1, 10**15, 10**15 + 1, 2**53 + 1, MOST - 1)


@pytest.mark.parametrize("held", EDGES)
@pytest.mark.parametrize("charge", EDGES)
async def test_what_takes_the_place_of_a_hold_is_exact_whatever_its_digits(holds, held, charge):
    limits = LimitSet(ORGANIZATION, (Scope("key", "k", budget_pico=MOST),))
    for end in (MOST, 0, -MOST):
        await holds.pipe.call("FLUSHALL")
        asked = (Operation.HOLD_POSTPAID, "r1", held, limits)
        await holds.admit_limited(*asked, ttl_seconds=60, slot_seconds=60)
        # It is to end at a bound or in the middle, as far as a wallet can begin there.
        wallet = max(-MOST, min(MOST, end + charge - held))
        await holds.rebuild(ORGANIZATION, wallet + held)
        wallet = (await holds.balance(ORGANIZATION)).wallet
        await holds.settle(ORGANIZATION, "r1", charge)
        exact = wallet + held - charge
        assert await state(holds) == (exact if -MOST <= exact <= MOST else (MOST if exact > 0 else -MOST), 0, charge)
        left = int(await holds.pipe.call("HGET", f"{{{ORGANIZATION}}}:budget:key:k", "left"))
        assert left == MOST - charge


async def test_a_settlement_moves_a_wallet_once(holds):
    await holds.rebuild(ORGANIZATION, 100)
    await holds.hold(ORGANIZATION, "r1", 30, 60)
    await holds.pipe.call("CONFIG", "RESETSTAT")
    assert await holds.settle(ORGANIZATION, "r1", 7) is HoldResult.DONE
    told = (await holds.pipe.call("INFO", "commandstats")).decode().splitlines()
    assert [line.partition(":")[2].partition(",")[0] for line in told if "crby" in line] == ["calls=1"]


async def test_a_budget_of_the_most_there_is_can_be_changed_and_overspent(holds):
    key = f"{{{ORGANIZATION}}}:budget:key:k"

    def limits(cap):
        return LimitSet(ORGANIZATION, (Scope("key", "k", budget_pico=cap),))

    async def hold(name, amount, cap):
        asked = (Operation.HOLD_POSTPAID, name, amount, limits(cap))
        return (await holds.admit_limited(*asked, ttl_seconds=60, slot_seconds=60))[0]

    assert await hold("r1", 8, MOST) == HoldResult.DONE
    assert await hold("r2", 1, MOST - 1) == HoldResult.DONE
    assert int(await holds.pipe.call("HGET", key, "left")) == MOST - 10
    # Twice the most is charged to a request that held little, which leaves nothing for anybody.
    await holds.hold(ORGANIZATION, "r3", 1, 60, prepaid=False)
    for number in (1, 2):
        await holds.settle(ORGANIZATION, f"r{number}", MOST)
    assert int(await holds.pipe.call("HGET", key, "left")) <= 2 - MOST
    for _ in range(2):
        assert await hold("r4", MOST, MOST - 1) == HoldResult.OVER_BUDGET
    assert (await holds.book(ORGANIZATION, "t/0", "b1", [("r1", MOST), ("r2", 4)])).state is not BookState.REPEATED
    assert await holds.records(ORGANIZATION) == [await holds.record(ORGANIZATION, "r3")]
