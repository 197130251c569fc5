"""A process that stands still for longer than the store remembers what others write meanwhile."""

import asyncio
import logging

import pytest
from services.billing.tests.fakes.crash import Crash
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import World
from services.billing.tests.fakes.usage_store import FakeUsageStore

pytestmark = pytest.mark.unit


class Standing(FakeUsageStore):
    """Its first caller stands still in the last moment before its insert; it counts who asks what is there."""

    def __init__(self, window, fuse):
        super().__init__(window, fuse)
        self.reached, self.gate = asyncio.Event(), asyncio.Event()
        self.asked = 0

    async def insert_usage(self, rows, token, *more):
        if not self.reached.is_set():
            self.reached.set()
            await self.gate.wait()
        await super().insert_usage(rows, token, *more)

    async def present(self, bounds):
        self.asked += 1
        return await super().present(bounds)


@pytest.fixture
async def world():
    made = World(window=1)
    made.store = Standing(1, made.fuse)
    await made.fund()
    return made


async def stopped(world, event):
    """Books an event up to the last moment before its insert; returns the process and what it goes on with."""
    world.append(event)
    await world.run(1)
    world.clock.advance(5)
    process, world.process = world.process, None
    going = asyncio.ensure_future(process.consumer.step(asyncio.Event()))
    await world.store.reached.wait()
    return process, going


async def test_who_stood_still_before_its_insert_asks_what_is_there_and_says_what_mends_it(world, caplog):
    event = usage_event("a")
    process, going = await stopped(world, event)
    world.clock.advance(11)
    await world.settle()
    # Others push the token out of the window.
    await world.store.insert_usage([], "another")
    await world.store.insert_usage([], "and another")
    assert len(world.store.usage) == 1
    with caplog.at_level(logging.WARNING):
        world.store.gate.set()
        await going
        for _ in range(2):
            await process.consumer.step(asyncio.Event())
    assert len(world.store.usage) == 1
    assert world.sums() == (event.charge_pico,) * 3
    (said,) = [one for one in caplog.records if "booked by another process" in one.message]
    assert "`tollgate usage rebuild`" in said.message
    assert said.fields == {"batch": world.store.usage[0]["batch"]}


async def test_who_stood_still_and_lost_nothing_goes_on(world):
    event = usage_event("a")
    process, going = await stopped(world, event)
    world.clock.advance(3600)
    world.store.gate.set()
    await going
    world.process = process
    await world.settle()
    assert world.store.asked == 1
    assert len(world.store.usage) == 1
    assert world.sums() == (event.charge_pico,) * 3


async def test_nobody_asks_who_did_not_stand_still(world):
    world.store.gate.set()
    world.append(usage_event("a"))
    await world.settle()
    assert (len(world.store.usage), world.store.asked) == (1, 0)


@pytest.mark.parametrize("forgotten", [False, True])
async def test_where_a_token_is_forgotten_it_says_that_sums_may_lack_the_batch(world, caplog, forgotten):
    world.store.gate.set()
    event = usage_event("a")
    world.append(event)
    await world.run(1)
    world.clock.advance(5)
    post = world.ledger.post

    async def crash(_posting):
        raise Crash

    world.ledger.post = crash
    await world.run(1)
    world.ledger.post = post
    assert (len(world.store.usage), world.process) == (1, None)
    for number in range(2 * forgotten):
        await world.store.insert_usage([], f"another {number}")
    with caplog.at_level(logging.CRITICAL):
        await world.settle()
    said = [one for one in caplog.records if "sums" in one.message]
    # As long as it is remembered, each rollup takes what it lacks.
    assert [one.fields for one in said] == [{"batch": world.store.usage[0]["batch"]}] * forgotten
    assert all("`tollgate usage rebuild`" in one.message for one in said)
    assert len(world.store.usage) == 1
    assert world.sums() == (event.charge_pico,) * 3
