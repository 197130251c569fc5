"""A settled hold whose usage event never comes is booked as estimated, once; a final that comes takes its place."""

import pytest
from services.billing.tests.fakes.books import FakeLedgerBooks, FakeUsageBooks
from services.billing.tests.fakes.crash import Crash
from services.billing.tests.fakes.events import CONFIRMED, UNCONFIRMED, WITNESS, usage_event
from services.billing.tests.fakes.process import Process, World

from tollgate_billing.domain.books import amounts_of, compare
from tollgate_billing.domain.event import DAY_US, settled_id
from tollgate_billing.domain.postings import ADJUSTMENT, REVENUE
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.domain.settled import settled_event

pytestmark = pytest.mark.unit

FUNDS = 10**12
COST = 77 * 10**6
HOUR = 3600
MINUTE = 60


async def settled(hold_id):
    """Returns a world whose edge settled a hold."""
    made = World()
    await made.fund()
    await made.settle()
    made.wallets.hold("org", hold_id, 500 * 10**6)
    made.wallets.settle("org", hold_id, COST)
    return made


@pytest.fixture
async def world():
    """A world with a request that was settled, and whose event is nowhere."""
    return await settled("lost")


async def sweep(world, minutes=1):
    """Looks at wallets and holds once a minute, in a process that lives on, as billing does."""
    for _ in range(minutes):
        world.clock.advance(MINUTE)
        await world.run()
        await world.process.keep.reconcile()
    await world.settle()


async def look(world, minutes):
    """The same, while nothing is booked."""
    for _ in range(minutes):
        world.clock.advance(MINUTE)
        await world.process.keep.reconcile()


async def check(world, charged):
    """Rows, ledger and wallet say that this was charged, batch by batch."""
    assert world.sums() == (charged,) * 3
    batches = {row["batch"] for row in world.store.usage}
    said = await FakeUsageBooks(world.store).amounts_of_batches(batches)
    assert compare(said, amounts_of(await FakeLedgerBooks(world.ledger).transfers_of(batches))) == []
    assert await FakeLedgerBooks(world.ledger).unbalanced() == []
    assert await FakeUsageBooks(world.store).repeated(0, 1 << 62, 10) == []
    assert world.store.mismatches == []
    assert world.store.poison == []


async def test_one_that_stays_is_logged_once_and_told_each_time(world, caplog):
    # Billing is behind, so that nothing is estimated.
    world.behind = True

    def logged():
        return [one.fields["request_id"] for one in caplog.records if "never booked" in one.message]

    await world.run()
    await look(world, 70)
    assert logged() == ["lost"]
    world.wallets.hold("org", "another", 5)
    world.wallets.settle("org", "another", 5)
    await look(world, 70)
    assert logged() == ["lost", "another"]
    assert world.counters.unbooked_holds == 2
    assert len(world.swept[-1][1].overdue) == 2
    # One that was gone and is there again is news.
    kept = world.wallets.holds.pop(("org", "lost"))
    await look(world, 1)
    world.wallets.holds["org", "lost"] = kept
    await look(world, 1)
    assert logged() == ["lost", "another", "lost"]


async def test_it_is_booked_after_the_hour_and_not_before(world):
    await sweep(world, 60)
    assert world.store.usage == []
    assert world.wallets.holds
    assert world.counters.unbooked_holds == 0
    await sweep(world, 2)
    (row,) = world.store.usage
    assert (row["source"], row["status"], row["estimated"], row["final"]) == ("billing", "settled", True, True)
    assert (row["request_id"], row["organization_id"], row["model"]) == ("lost", "org", "")
    assert [to_pico(row[name]) for name in ("charge", "cost", "loss")] == [COST, 0, 0]
    assert row["event_id"].bytes == settled_id("lost")
    assert world.wallets.holds == {}
    assert world.wallets.wallet["org"] == FUNDS - COST
    assert world.ledger.accounts["org", REVENUE, "USD"] == COST
    await check(world, COST)
    assert world.counters.counts["estimated_holds"] == 1
    # It is told once, and nobody names it any more.
    assert sum(found.estimated for _, found in world.swept) == 1
    await sweep(world)
    assert world.counters.unbooked_holds == 0
    assert world.swept[-1][1].overdue == ()
    assert len(world.log.records[0]) == 1


async def test_a_second_sweep_sends_nothing_while_the_first_event_waits(world):
    # The partition is another process's, which stands still.
    await sweep(world)
    await look(world, 90)
    assert len(world.log.records[0]) == 1
    assert world.counters.unbooked_holds == 1
    # After an hour it is sent again, and booked once.
    await look(world, 60)
    assert len(world.log.records[0]) == 2
    assert world.counters.counts["estimated_holds"] == 1
    await world.settle()
    await check(world, COST)


async def test_nothing_is_estimated_while_billing_has_events_to_book(world):
    world.behind = True
    await sweep(world, 180)
    assert world.store.usage == []
    assert world.counters.unbooked_holds == 1
    # What waited in spools comes first: it keeps up for an hour before anything is estimated.
    world.behind = False
    await sweep(world, 59)
    assert world.store.usage == []
    await sweep(world, 3)
    await check(world, COST)


async def test_a_new_process_waits_as_long(world):
    await sweep(world, 59)
    world.process = None
    await sweep(world, 59)
    assert world.store.usage == []
    await sweep(world, 3)
    await check(world, COST)


async def test_a_sweep_that_is_killed_anywhere_books_it_once(world):
    calls = 0
    while True:
        calls += 1
        world.process = Process(world)
        await world.process.keep.resume()
        await look(world, 60)
        world.clock.advance(MINUTE)
        world.fuse.left = calls
        try:
            await world.process.keep.reconcile()
        except Crash:
            continue
        finally:
            world.fuse.left = None
        break
    # At each call of a sweep, before it and after it: those behind the sending sent it.
    assert calls > 15
    assert len(world.log.records[0]) > 1
    await world.settle()
    await check(world, COST)
    assert len(world.store.usage) == 1


@pytest.mark.parametrize(
    "late",
    [
        usage_event("lost", output_tokens=9),
        usage_event("lost", output_tokens=9, tried=2),
        usage_event("lost", output_tokens=9, status=UNCONFIRMED, replay=True),
        usage_event("lost", output_tokens=9, status=WITNESS, attempt=0),
        usage_event("lost", output_tokens=0, input_tokens=0),
    ],
    ids=["confirmed", "later-try", "unconfirmed", "witness", "free"],
)
@pytest.mark.parametrize("days", [0, 2, 80])
async def test_a_late_final_replaces_it_exactly(world, late, days):
    await sweep(world, 62)
    await check(world, COST)
    # Whoever was cut off for so long does not say that it might have come before.
    world.clock.advance(days * DAY_US // 10**6)
    world.process = None
    late.started_at_us, late.ended_at_us = world.clock.now_us() - 80 * DAY_US, world.clock.now_us() - 80 * DAY_US + 1
    world.append(late)
    await world.settle()
    await check(world, late.charge_pico)
    assert world.ledger.accounts["org", ADJUSTMENT, "USD"] == -COST
    assert world.wallets.wallet["org"] == FUNDS - late.charge_pico
    standing = [row for row in world.store.usage if row["kind"] == "usage"]
    assert [(row["status"], row["model"]) for row in standing] == [("settled", ""), (standing[1]["status"], "m")]
    # Sent again, neither changes anything.
    world.append(late)
    world.append(world.log.records[0][0][2])
    await world.settle()
    await check(world, late.charge_pico)


async def test_an_estimate_that_comes_after_the_final_charges_nothing(world):
    await sweep(world)
    await look(world, 62)
    ((_, _, estimate),) = world.log.records[0]
    world.log.records[0].clear()
    final = usage_event("lost", output_tokens=9)
    world.append(final)
    await world.settle()
    world.append(estimate)
    await world.settle()
    await check(world, final.charge_pico)
    assert [row["superseded"] for row in world.store.usage] == [False, True]


async def test_what_the_hold_says_of_key_and_project_is_kept(world):
    world.wallets.budgets["org", "lost"] = (("key", "key_1"), ("project", "prj_1"), ("organization", "org"))
    await sweep(world, 62)
    (row,) = world.store.usage
    assert (row["api_key_id"], row["project_id"]) == ("key_1", "prj_1")


async def test_the_hold_of_a_second_try_is_booked_as_that_try(world):
    event = settled_event("org", "lost.2", charge_pico=5, currency="USD", settled_us=7, now_us=8)
    assert (event.request_id, getattr(event, "try"), event.charge_pico) == ("lost", 2, 5)
    assert (event.event_id, event.started_at_us) == (settled_id("lost.2"), 7)


async def test_a_hold_of_an_older_release_is_booked_whatever_its_age(world):
    world.wallets.times["org", "lost"] -= 200 * DAY_US
    await sweep(world, 61)
    await check(world, COST)
    assert len(world.store.usage) == 1


async def test_a_settled_hold_without_a_charge_ends_too(world):
    world.wallets.hold("org", "free", 500)
    world.wallets.settle("org", "free", 0)
    await sweep(world, 62)
    await check(world, COST)
    assert world.wallets.holds == {}


async def test_the_log_that_is_away_stops_no_other_organization(world):
    await world.fund("other", key="second")
    world.wallets.hold("other", "lost-too", 500)
    world.wallets.settle("other", "lost-too", 20)
    await sweep(world, 60)
    world.process.topic.away = True
    await sweep(world, 2)
    assert world.store.usage == []
    assert world.counters.unbooked_holds == 2
    world.process.topic.away = False
    await sweep(world, 2)
    assert sorted(row["organization_id"] for row in world.store.usage) == ["org", "other"]


FIRST_TRY = {
    "witness": usage_event("again", input_tokens=0, output_tokens=0, status=WITNESS, attempt=0),
    "unconfirmed": usage_event("again", output_tokens=3, status=UNCONFIRMED, replay=True),
}


@pytest.fixture
async def second_try():
    """A world with a request whose second try was settled, and whose event is nowhere."""
    return await settled("again.2")


@pytest.mark.parametrize("first", FIRST_TRY)
@pytest.mark.parametrize("after", [False, True], ids=["first-before", "first-after"])
@pytest.mark.parametrize("late", [None, CONFIRMED, UNCONFIRMED])
async def test_a_second_try_that_edge_settled_is_charged(second_try, first, after, late):
    world, events = second_try, [FIRST_TRY[first]]
    if late is not None:
        events.append(usage_event("again", output_tokens=9, tried=2, status=late, replay=True))
    for event in events:
        event.started_at_us, event.ended_at_us = world.clock.now_us(), world.clock.now_us() + 1
    if not after:
        world.append(events[0])
        await world.settle()
    await sweep(world, 62)
    if after:
        world.append(events[0])
        await world.settle()
    await check(world, COST)
    assert world.wallets.holds == {}
    if late is not None:
        world.append(events[1])
        await world.settle()
        await check(world, events[1].charge_pico)


async def test_a_first_try_that_edge_settled_is_not_charged_beside_a_second_one(world):
    # An edge of an older release settled the second try under the first one's id.
    second = usage_event("lost", output_tokens=9, tried=2)
    second.started_at_us, second.ended_at_us = world.clock.now_us(), world.clock.now_us() + 1
    world.append(second)
    await sweep(world, 62)
    await check(world, second.charge_pico)
    assert world.wallets.holds == {}
    assert [(row["status"], row["superseded"]) for row in world.store.usage] == [
        ("confirmed", False),
        ("settled", True),
    ]
