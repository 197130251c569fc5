"""A thousand spenders of one wallet at once: what it may fall below zero by, and that nothing of it is lost."""

import asyncio
import random
from dataclasses import dataclass

import pytest

from tollgate_holds import HoldResult

pytestmark = pytest.mark.integration

ORGANIZATION = "org_spenders"
SPENDERS = 1_000
# Half of what they all would hold.
FUNDS = 250_000
DAY = 86_400
GONE = -5


@dataclass
class Spender:
    """A request: what it holds and costs, and what becomes of it. `lives` is how long its hold is good, in seconds."""

    name: str
    amount: int
    charge: int
    end: str
    lives: int
    admitted: bool = False


def spenders(source):
    for number in range(SPENDERS):
        amount = source.randint(1, 1_000)
        end = source.choice(("settled", "settled", "settled", "released", "held", "expired"))
        charge = 0 if end == "released" else source.choice((amount, amount, amount, source.randint(0, amount)))
        yield Spender(f"r{number}", amount, charge, end, GONE if end == "expired" else 600)


async def spend(holds, one):
    """A request until its end, with calls that are sent again since nobody knows whether they arrived."""
    for _ in range(2):
        one.admitted = await holds.hold(ORGANIZATION, one.name, one.amount, one.lives) is HoldResult.DONE
    if not one.admitted:
        return
    if one.end == "settled":
        for _ in range(2):
            assert await holds.settle(ORGANIZATION, one.name, one.charge) is HoldResult.DONE
    elif one.end == "released":
        await holds.release(ORGANIZATION, one.name)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_thousand_spenders_overdraw_a_wallet_by_no_more_than_holds_that_expired(holds, seed):
    source = random.Random(seed)
    await holds.rebuild(ORGANIZATION, FUNDS)
    all_of_them = list(spenders(source))
    at_once = asyncio.Semaphore(100)

    async def in_turn(one):
        async with at_once:
            await spend(holds, one)

    running = [asyncio.create_task(in_turn(one)) for one in all_of_them]
    lowest = FUNDS
    while not all(task.done() for task in running):
        # Swept meanwhile as billing does, which gives what expired to others.
        await holds.sweep(ORGANIZATION, tombstone_seconds=DAY, overdue_seconds=DAY)
        balance = await holds.balance(ORGANIZATION)
        lowest = min(lowest, balance.wallet)
    await asyncio.gather(*running)
    # Admitting alone never takes more than there is.
    assert lowest >= 0
    admitted = [one for one in all_of_them if one.admitted]
    assert len(admitted) < SPENDERS, "nobody was refused, so nothing was scarce"
    # Events come in any order, in batches of any size, and each batch twice.
    source.shuffle(admitted)
    booked = 0
    while booked < len(admitted):
        size = source.randint(1, 60)
        part = [(one.name, one.charge) for one in admitted[booked : booked + size]]
        batch = f"topic/0/{booked}-{booked + len(part)}"
        for _ in range(2):
            await holds.book(ORGANIZATION, "topic/0", batch, part)
        booked += len(part)
    balance = await holds.balance(ORGANIZATION)
    assert balance.wallet == FUNDS - sum(one.charge for one in admitted)
    assert (balance.held, balance.settled) == (0, 0)
    # The stated bound: what was held by requests whose holds expired before their event came.
    expired = sum(one.amount for one in admitted if one.end == "expired")
    assert -expired <= balance.wallet < 0, "the wallet was not overdrawn, so the bound was not met"
