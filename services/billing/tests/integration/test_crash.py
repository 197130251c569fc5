"""kill -9 at each failpoint, embedded and with PostgreSQL, Kafka and ClickHouse's HTTP: exact to the pico-unit."""

import random
import time

import pytest
from services.billing.tests.fakes.events import UNCONFIRMED, WITNESS, usage_event
from services.billing.tests.integration.running import BillingProcess, send, servers_of

from tollgate_billing.adapters.failpoints import OF_BATCHES

pytestmark = pytest.mark.integration

FUNDS = 10**13
DAY_US = 24 * 3600 * 10**6
SUMS = "sum(charge), sum(cost), sum(loss)"


@pytest.fixture
def billing(request, tmp_path, valkey):
    valkey.clear()
    process = BillingProcess(tmp_path, servers_of(request.param, request, tmp_path, valkey))
    yield process
    process.clean()


def events_of(seed):
    """Returns events with every kind of exception, the sum that is charged, and how many rows they make."""
    rng = random.Random(seed)
    present = time.time_ns() // 1000
    events, charged, rows = [], 0, 0
    for number in range(60):
        # A batch is of two months, so of two parts of the table, and out of order by weeks.
        now = present - number % 2 * 40 * DAY_US
        name = f"s{seed}-r{number}"
        event = usage_event(name, output_tokens=rng.randrange(50), at_us=now)
        witness = usage_event(name, status=WITNESS, attempt=0, output_tokens=rng.randrange(50), at_us=now)
        lost = usage_event(name, status=UNCONFIRMED, output_tokens=rng.randrange(50), at_us=now)
        again = type(event)()
        again.CopyFrom(event)
        again.replay = True
        retried = usage_event(name, tried=2, output_tokens=rng.randrange(50), at_us=now)
        story, wins, kept = rng.choice(
            [
                ([event], event, 1),
                ([event, event], event, 1),
                ([event, again], event, 1),
                ([witness, lost], lost, 2),
                ([lost, witness], lost, 2),
                ([lost, retried], retried, 2),
                ([retried, lost], retried, 2),
            ]
        )
        events.append(story)
        charged += wins.charge_pico
        rows += kept
    mixed = []
    while events:
        story = rng.choice(events)
        mixed.append(story.pop(0))
        events = [one for one in events if one]
    return mixed, charged, rows


async def check(client, charged, usage_rows, *, poison=0):
    """Compares rows, ledger and Redis to the last pico-unit."""
    status = await client.booked(usage_rows)
    total, balance = await client.total(), await client.balance()
    assert status.rows >= usage_rows
    assert total.charge_pico == charged
    assert total.requests == 60 * (charged > 0)
    assert balance.ledger_pico == FUNDS - charged
    assert (balance.wallet_pico, balance.held_pico, balance.settled_unbooked_pico) == (FUNDS - charged, 0, 0)
    assert status.poison == poison
    assert status.mismatches == 0
    # And so does every rollup, whatever was killed between the raw rows and it.
    raw = await client.sql(f"SELECT count(), {SUMS} FROM usage_events")
    for rollup in ("usage_1m", "usage_1h", "usage_1d"):
        assert await client.sql(f"SELECT sum(rows), {SUMS} FROM {rollup}") == raw, rollup


@pytest.mark.parametrize("billing", ["embedded", "cluster"], indirect=True)
async def test_a_kill_at_each_failpoint_changes_nothing(billing, holds):
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    events, charged, rows = events_of(1)
    for event in events:
        await holds.hold("org", event.request_id, 10**9, 600)
    billing.kill()
    size = -(-len(events) // len(OF_BATCHES))
    parts = [events[first : first + size] for first in range(0, len(events), size)]
    for failpoint, part in zip(OF_BATCHES, parts, strict=True):
        await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [*part, b"\xff poison"])
        billing.start(failpoint)
        assert await billing.died() == -9, f"{failpoint}: {billing.log()[-2000:]}"
    billing.start()
    await check(client, charged, rows, poison=len(OF_BATCHES))
    await client.close()
    assert billing.stop() == 0


@pytest.mark.parametrize("billing", ["embedded", "cluster"], indirect=True)
async def test_kills_at_random_times_change_nothing(billing):
    rng = random.Random(7)
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    events, charged, rows = events_of(2)
    while events:
        count = rng.randrange(1, 30)
        part, events = events[:count], events[count:]
        await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], part)
        await client.grant(FUNDS)
        if rng.random() < 0.5:
            billing.kill()
            billing.start()
    await check(client, charged, rows)
    await client.close()
    assert billing.starts > 1
