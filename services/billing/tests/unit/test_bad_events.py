"""Events that are strange and still usage: of other releases, unknown organizations, other days, and jumping clocks."""

import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import World

from tollgate_billing.domain.event import DAY_US

pytestmark = pytest.mark.unit


@pytest.fixture
async def world():
    made = World()
    await made.fund()
    return made


async def test_an_event_of_an_older_release_is_booked(world):
    """One that knows only what a charge needs: no timings, trace, operation, dialect, configuration or reason."""
    event = usage_event("old", at_us=world.clock.now_us())
    for name in ("operation", "dialect", "outcome", "provider", "channel", "traceparent", "timings", "config_digest"):
        event.ClearField(name)
    world.append(event)
    await world.settle()
    assert world.sums() == (event.charge_pico,) * 3
    assert world.store.poison == []


async def test_an_organization_that_nobody_knows_is_booked_to_its_own_account(world):
    known, stranger = usage_event("a"), usage_event("b", organization="nobody")
    world.append(known)
    world.append(stranger)
    await world.settle()
    rows = {row["organization_id"]: int(row["charge"].scaleb(12)) for row in world.store.usage}
    assert rows == {"org": known.charge_pico, "nobody": stranger.charge_pico}
    assert world.ledger.accounts["nobody", "wallet", "USD"] == -stranger.charge_pico
    assert world.wallets.wallet == {"org": 10**12 - known.charge_pico, "nobody": -stranger.charge_pico}
    assert sum(world.ledger.accounts.values()) == 0


async def test_events_out_of_order_by_days_are_booked_to_their_days(world):
    now = world.clock.now_us()
    days = [0, 30, 2, 89, 1, 45]
    events = [usage_event(f"r{day}", at_us=now - day * DAY_US, output_tokens=day) for day in days]
    for event in events:
        world.append(event)
    await world.settle()
    assert {row["request_id"]: row["started_at"] for row in world.store.usage} == {
        event.request_id: event.started_at_us for event in events
    }
    assert world.sums() == (sum(event.charge_pico for event in events),) * 3


@pytest.mark.parametrize("jump", [-3 * 3600, 3 * 3600, 400 * 24 * 3600, -400 * 24 * 3600])
async def test_a_clock_that_jumps_changes_nothing(world, jump):
    """Billing's wall clock jumps between two batches; the second one has an event of the first one again."""
    first, second = usage_event("a"), usage_event("b", output_tokens=7)
    at_us = world.clock.now_us()
    world.append(first, at_us=at_us)
    await world.settle()
    world.clock.advance(jump)
    world.append(first, at_us=at_us + 10**6)
    world.append(second, at_us=at_us + 10**6)
    # The monotonic clock goes on, whatever the other one does; here they are one, so age is measured from now.
    world.process = None
    await world.settle()
    charged = first.charge_pico + second.charge_pico
    assert world.sums() == (charged,) * 3
    assert len(world.store.usage) == 2
    assert world.store.poison == []
