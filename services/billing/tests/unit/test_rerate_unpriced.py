"""A request that is rated later, booked beside others: rows, ledger and wallet say the same of each event."""

from itertools import permutations

import pytest
from services.billing.tests.fakes.books import FakeLedgerBooks, FakeUsageBooks
from services.billing.tests.fakes.events import BOOK, WITNESS, usage_event
from services.billing.tests.fakes.process import World

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.adapters.usage_store import TIMES
from tollgate_billing.domain.books import amounts_of, compare
from tollgate_billing.domain.rebuilding import unfit
from tollgate_billing.domain.rerated import rate_row, rerated_event
from tollgate_billing.domain.rows import Block, to_pico

pytestmark = pytest.mark.unit

UNPRICED = usage_event("rerated", unpriced=True, charge_pico=0, cost_pico=7, price_digest="")
CARRIES = usage_event("losing", output_tokens=100)
OTHERS = {
    "losing": usage_event("losing", status=WITNESS, attempt=0, output_tokens=1),
    "plain": usage_event("plain", output_tokens=7),
    "picture": usage_event(
        "picture",
        model="picture",
        usage=wire.Usage(images=[wire.ImageCount(count=1)]),
        charge_pico=2 * 10**10,
        cost_pico=10**10,
    ),
}


async def world_of(order=("rerated",)):
    """Returns a world that has booked a request without a price, and then events in this order, and those events."""
    world = World()
    await world.fund()
    world.append(UNPRICED)
    world.append(CARRIES)
    await world.settle()
    row = {f"{name}_us" if name in TIMES else name: value for name, value in world.store.usage[0].items()}
    price = BOOK.price("m", "")
    events = OTHERS | {"rerated": rerated_event(row, rate_row(row, price, price, None))}
    for name in order:
        world.append(events[name])
    await world.settle()
    return world, events


@pytest.mark.parametrize("order", [*permutations(("rerated", "plain", "picture", "losing")), ("rerated", "losing")])
async def test_each_row_says_what_its_own_event_says(order):
    world, events = await world_of(order)
    rows = world.store.usage[2:]
    assert [(row["request_id"], row["kind"], row["src_offset"]) for row in rows] == [
        *((name, "usage", 2 + place) for place, name in enumerate(order)),
        ("rerated", "adjustment", 2 + order.index("rerated")),
    ]
    for row, name in zip(rows, order, strict=False):
        event, lost = events[name], name == "losing"
        assert row["superseded"] == lost, name
        assert [to_pico(row[amount]) for amount in ("charge", "cost", "loss")] == [
            0 if lost else event.charge_pico,
            event.cost_pico,
            event.cost_pico if lost else 0,
        ], name
        assert (row["input_tokens"], row["images"]) == (event.usage.input_tokens, len(event.usage.images)), name
    charged = CARRIES.charge_pico + sum(events[name].charge_pico for name in order if name != "losing")
    assert world.sums() == (charged,) * 3
    assert world.store.mismatches == []
    batches = {row["batch"] for row in world.store.usage}
    said = await FakeUsageBooks(world.store).amounts_of_batches(batches)
    assert compare(said, amounts_of(await FakeLedgerBooks(world.ledger).transfers_of(batches))) == []


async def test_rows_that_were_rated_later_fit_what_the_ledger_booked():
    world, _ = await world_of()
    lost = world.store.usage[2:]
    assert [to_pico(row["cost"]) for row in lost][1] == -7
    columns = {name: [row[name] for row in lost] for name in lost[0]}
    amounts = {name: list(map(to_pico, columns[name])) for name in ("charge", "cost", "loss")}
    booked = amounts_of(await FakeLedgerBooks(world.ledger).transfers_of({lost[0]["batch"]}))
    assert unfit(Block(columns | amounts), {}, booked) == set()
