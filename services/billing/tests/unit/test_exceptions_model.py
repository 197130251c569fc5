"""The exception rules as a model: any plausible history of requests, cut into any batches, with crashes anywhere.

The oracle is the table in `domain/judge.py` and knows nothing of batches, stores or crashes.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services.billing.tests.fakes.events import CONFIRMED, UNCONFIRMED, WITNESS, usage_event
from services.billing.tests.fakes.process import World

from tollgate_billing.consumers.intake import BatchLimits

pytestmark = pytest.mark.unit

RANKS = {CONFIRMED: 2, UNCONFIRMED: 1, WITNESS: 0}


@st.composite
def histories(draw):
    """The events of one request, in the order in which they reach the log."""
    request = draw(st.sampled_from("abcd"))
    ends = {
        "normal": [(CONFIRMED, 1)],
        "retried": [(UNCONFIRMED, 1), (CONFIRMED, 2)],
        "lost": [(UNCONFIRMED, 1), (WITNESS, 1)],
        "lost twice": [(UNCONFIRMED, 1), (UNCONFIRMED, 2), (WITNESS, 2)],
        "vanished": [(WITNESS, 1)],
        "vanished twice": [(UNCONFIRMED, 1), (WITNESS, 2)],
    }
    kept = draw(st.sampled_from(list(ends.values())))
    events = []
    for status, tried in draw(st.permutations(kept)):
        cost = draw(st.integers(0, 5))
        attempts = draw(st.integers(0, 1)) if status != WITNESS else 0
        for attempt in range(1, attempts + 1):
            events.append(usage_event(request, tried=tried, attempt=attempt, final=False, status=status))
        last = 0 if status == WITNESS else attempts + 1
        events.append(usage_event(request, tried=tried, attempt=last, status=status, output_tokens=cost))
    for index in draw(st.lists(st.integers(0, len(events) - 1), max_size=2)):
        again = type(events[0])()
        again.CopyFrom(events[index])
        again.replay = True
        events.insert(draw(st.integers(index + 1, len(events))), again)
    return events


@st.composite
def logs(draw):
    """Histories of different requests, mixed, each in its own order; with the pauses between records."""
    found = {}
    for history in draw(st.lists(histories(), min_size=1, max_size=4)):
        found.setdefault(history[0].request_id, history)
    queues = list(found.values())
    mixed = []
    while queues:
        queue = draw(st.sampled_from(queues))
        mixed.append((queue.pop(0), draw(st.sampled_from([0, 1, 3600]))))
        queues = [one for one in queues if one]
    return mixed


def oracle(events):
    """Returns request → charge, the number of rows without adjustments, and the cost of all that were booked."""
    seen, best = {}, {}
    for event in events:
        if event.event_id in seen:
            continue
        seen[event.event_id] = event
        rank = (RANKS[event.status], getattr(event, "try"))
        if event.final and (event.request_id not in best or rank > best[event.request_id][0]):
            best[event.request_id] = (rank, event.charge_pico)
    cost = sum(event.cost_pico for event in seen.values())
    return {request: charge for request, (_, charge) in best.items()}, len(seen), cost


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(log=logs(), size=st.integers(1, 4), fuses=st.lists(st.integers(1, 60), max_size=4), chunks=st.integers(1, 5))
def test_any_history_is_charged_once_whatever_crashes(log, size, fuses, chunks):
    asyncio.run(replay(log, size, fuses, chunks))


async def replay(log, size, fuses, chunks):
    world = World(BatchLimits(events=size, size_bytes=1 << 20, age_seconds=0.5))
    await world.fund()
    requests = {event.request_id for event, _ in log}
    for request in requests:
        world.wallets.hold("org", request, 10**9)
    waiting = [event for event, _ in log]
    for number, (event, pause) in enumerate(log):
        world.clock.advance(pause)
        event.started_at_us = event.ended_at_us = world.clock.now_us()
        world.append(event)
        if number % chunks == 0:
            world.fuse.left = fuses.pop() if fuses else None
            await world.run(2)
    await world.settle()
    charges, rows, cost = oracle(waiting)
    assert world.sums() == (sum(charges.values()),) * 3
    usage = [row for row in world.store.usage if row["kind"] == "usage"]
    assert len(usage) == rows
    by_request = {}
    for row in world.store.usage:
        by_request[row["request_id"]] = by_request.get(row["request_id"], 0) + int(row["charge"].scaleb(12))
    assert by_request == charges
    assert int(sum(row["cost"] for row in world.store.usage).scaleb(12)) == cost
    accounts = world.ledger.accounts
    assert sum(accounts.values()) == 0
    assert accounts.get(("org", "payable", "USD"), 0) == cost
    lost = int(sum(row["loss"] for row in world.store.usage).scaleb(12))
    assert -accounts.get(("org", "loss", "USD"), 0) == lost
    assert world.wallets.holds == {}
