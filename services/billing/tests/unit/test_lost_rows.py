"""Rows of the usage store are lost: what the ledger keeps of replays and of finals that were compared stays exact."""

import pytest
from services.billing.tests.fakes.events import BOOK, WITNESS, usage_event
from services.billing.tests.fakes.process import World

from tollgate_billing.adapters.usage_store import TIMES
from tollgate_billing.domain.rerated import rate_row, rerated_event
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.use_cases.replay_letters import _REPLAY

pytestmark = pytest.mark.unit

HOUR_US = 3600 * 10**6
WITNESSED = usage_event("r", status=WITNESS, attempt=0, output_tokens=7)
LATER = usage_event("r", tried=2, output_tokens=4)


@pytest.fixture
async def world():
    made = World()
    await made.fund()
    return made


async def booked(world, *events):
    for event in events:
        world.append(event)
    await world.settle()


def lose(world, request):
    """Takes the rows of a request away, and the process that remembers its ids; returns the rows."""
    lost = [row for row in world.store.usage if row["request_id"] == request]
    world.store.usage[:] = [row for row in world.store.usage if row not in lost]
    world.process = None
    return lost


def charged(world):
    return world.sums()[1]


async def letter_of(world, request):
    found, _ = await world.process.letters.page(10, "")
    return next(one for one in found if one.message and one.message.request_id == request)


async def test_a_letter_whose_row_is_lost_is_never_charged_again(world):
    early = usage_event("early", at_us=world.clock.now_us() + 2 * HOUR_US)
    await booked(world, early)
    world.clock.advance(2 * 3600)
    await world.process.letters.replay_all()
    await world.settle()
    assert charged(world) == early.charge_pico
    lost = lose(world, "early")
    await booked(world, usage_event("other"))
    expected = early.charge_pico + usage_event("other").charge_pico
    # Neither by the command, which knows it, nor by whoever sends it past the command.
    letter = await letter_of(world, "early")
    assert letter.state == "booked"
    assert dict((await world.process.letters.replay([letter.id]))[1]) == {"booked": 1}
    assert await world.process.letters.unbooked([letter.letter]) == []
    await booked(world, early.SerializeToString() + _REPLAY)
    assert charged(world) == expected
    assert world.counters.counts["duplicates"] == 1
    world.store.usage += lost
    assert world.sums() == (expected,) * 3


async def test_what_would_replace_a_final_whose_row_is_lost_waits_until_the_row_is_back(world):
    await booked(world, WITNESSED)
    lost = lose(world, "r")
    await booked(world, usage_event("other"), LATER, usage_event("neighbour"))
    others = 2 * usage_event("other").charge_pico
    assert charged(world) == WITNESSED.charge_pico + others
    letter = await letter_of(world, "r")
    assert (letter.state, letter.letter.value) == ("unusable", LATER.SerializeToString())
    assert "`tollgate usage rebuild`" in letter.problem
    assert letter.problem == letter.letter.reason
    assert dict((await world.process.letters.replay_all())[1]) == {"unusable": 1}
    # Sent all the same, it is set aside again.
    await booked(world, LATER.SerializeToString() + _REPLAY)
    assert charged(world) == WITNESSED.charge_pico + others
    world.store.usage += lost
    assert (await letter_of(world, "r")).state == "ready"
    await world.process.letters.replay_all()
    await world.settle()
    assert world.sums() == (LATER.charge_pico + others,) * 3
    assert (await letter_of(world, "r")).state == "booked"


async def test_many_that_wait_for_lost_rows_are_no_poison_that_stops_a_partition(world):
    names = [f"r{number}" for number in range(120)]
    await booked(world, *(usage_event(name, status=WITNESS, attempt=0) for name in names))
    world.store.usage.clear()
    world.process = None
    await booked(world, *(usage_event(name, tried=2) for name in names))
    assert len(world.store.poison) == 120
    assert world.process.consumer.stopped == []
    assert charged(world) == sum(usage_event(name).charge_pico for name in names)


async def test_a_final_that_lost_or_was_replaced_is_no_reason_to_wait(world):
    await booked(world, WITNESSED)
    await booked(world, LATER)
    lost = [row for row in world.store.usage if row["status"] == "witness" and row["kind"] == "usage"]
    world.store.usage[:] = [row for row in world.store.usage if row not in lost]
    world.process = None
    third = usage_event("r", tried=3, output_tokens=1)
    await booked(world, third)
    assert world.store.poison == []
    assert charged(world) == third.charge_pico
    # And it is still known, though its row is not there.
    world.process = None
    await booked(world, WITNESSED.SerializeToString() + _REPLAY)
    assert charged(world) == third.charge_pico
    assert len([row for row in world.store.usage if row["status"] == "witness" and row["kind"] == "usage"]) == 0


async def test_what_was_rated_later_is_known_without_its_row(world):
    unpriced = usage_event("new", unpriced=True, charge_pico=0, cost_pico=7, price_digest="")
    await booked(world, unpriced)
    row = {f"{name}_us" if name in TIMES else name: value for name, value in world.store.usage[0].items()}
    price = BOOK.price("m", "")
    rated = rerated_event(row, rate_row(row, price, price, None))
    await booked(world, rated)
    assert charged(world) == rated.charge_pico > 0
    kept = world.store.usage[0]
    lose(world, "new")
    world.store.usage.append(kept)
    await booked(world, rated)
    assert charged(world) == rated.charge_pico
    assert [to_pico(one["charge"]) for one in world.store.usage] == [0]
