"""Of a backlog, few partitions are read at a time, so that their batches are full; nobody waits for ever."""

import asyncio
import gc
import weakref

import pytest
from services.billing.tests.fakes.event_log import FakeConsumer, FakeLog
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import World
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate_billing.consumers.intake import BatchLimits
from tollgate_kit.event_log import EventLogUnavailable

pytestmark = pytest.mark.unit

PARTITIONS = 12
EVENTS = 10


class Broker(FakeConsumer):
    """Hands out three records of a partition in a call, as a broker hands out little at once."""

    async def poll(self, limit, wait_seconds, only=()):
        found = []
        for claim in only or self.claims():
            found += await super().poll(min(3, limit - len(found)), wait_seconds, [claim]) if len(found) < limit else []
        return found


class Wide(World):
    def __init__(self):
        super().__init__(BatchLimits(events=EVENTS, size_bytes=1 << 20, age_seconds=0.5))
        self.log = FakeLog(partitions=PARTITIONS)

    def new_consumer(self):
        return Broker(self.log, self.fuse)

    def fill(self, count, partition):
        """Appends events; returns what they cost."""
        events = [usage_event(f"p{partition}-{len(self.log.records[partition]) + number}") for number in range(count)]
        for event in events:
            self.log.append(event.SerializeToString(), self.clock.now_us(), partition)
        return sum(event.charge_pico for event in events)

    def booked(self):
        return all(position == len(self.log.records[number]) for number, (position, _) in self.log.committed.items())


@pytest.fixture
async def world():
    made = Wide()
    await made.fund()
    return made


async def test_batches_of_a_backlog_are_full(world):
    charged = sum(world.fill(5 * EVENTS, partition) for partition in range(PARTITIONS))
    for _ in range(200):
        # Each step takes as long as after which any batch closes.
        world.clock.advance(0.5)
        await world.run()
        if world.booked():
            break
    assert world.sums() == (charged,) * 3
    batches = world.counters.counts["batches"]
    # Twelve partitions that are read a little each would make batches of three.
    assert batches <= 1.1 * 5 * PARTITIONS, batches


class Slow(Broker):
    """Answers who waits; who does not gets nothing, as of a broker that is asked again at once."""

    handed = 0

    def __init__(self, log, fuse, enough):
        super().__init__(log, fuse)
        self.enough = enough

    async def poll(self, limit, wait_seconds, only=()):
        found = await super().poll(limit, wait_seconds, only) if wait_seconds else []
        self.handed += len(found)
        if self.handed > EVENTS or not wait_seconds:
            self.enough.set()
        return found


class Patient(FakeUsageStore):
    """Takes as long for a block as the broker for as many records as make the next batch, if it is asked for them."""

    async def insert_usage(self, rows, token, *more):
        await self.enough.wait()
        await super().insert_usage(rows, token, *more)


async def test_what_a_broker_is_about_to_hand_out_is_waited_for_while_a_batch_is_written(world):
    store = world.store = Patient()
    store.enough = asyncio.Event()
    broker = Slow(world.log, world.fuse, store.enough)
    world.new_consumer = lambda: broker
    world.fill(3 * EVENTS, 0)
    await world.run()
    world.clock.advance(0.5)
    await world.run()
    assert len(store.usage) == 3
    assert broker.handed > EVENTS


class Keen(FakeUsageStore):
    """Sees each block on its way in, and what of the batches before is still held then."""

    async def insert_usage(self, rows, token, *more):
        await super().insert_usage(rows, token, *more)
        gc.collect()
        self.blocks.append(weakref.ref(rows))
        self.held.append(sum(one() is not None for one in self.blocks))


async def test_of_a_batch_that_is_written_no_row_is_held(world):
    store = world.store = Keen()
    store.blocks, store.held = [], []
    charged = world.fill(6 * EVENTS, 0)
    await world.settle()
    assert world.sums() == (charged,) * 3
    # The one that is written, whoever is booked beside it.
    assert store.held == [1] * len(store.held)
    assert len(store.held) >= 6


async def test_a_partition_with_little_is_booked_beside_one_with_a_backlog(world):
    charged = world.fill(100 * EVENTS, 0)
    await world.run(3)
    charged += world.fill(1, 7)
    for _ in range(20):
        world.clock.advance(0.5)
        await world.run()
    assert world.log.committed[7] == (1, "")
    assert world.log.committed[0][0] < 100 * EVENTS
    for _ in range(300):
        world.clock.advance(0.5)
        await world.run()
    assert world.booked()
    assert world.sums() == (charged,) * 3


class Forgetful(FakeConsumer):
    """Reads a log that has forgotten its first four records, as retention has it."""

    async def start(self):
        await super().start()
        self._next = {number: max(4, position) for number, position in self._next.items()}


@pytest.mark.parametrize("begun", ["i1;0;4;4", "i1;0;2;2,i1;2;4;2", "i1;0;2;2,i1;2;5;3"])
async def test_a_batch_whose_records_the_log_has_forgotten_is_told_of_and_holds_nothing_up(begun, caplog):
    world = World()
    await world.fund()
    world.new_consumer = lambda: Forgetful(world.log, world.fuse)
    events = [usage_event(f"r{number}") for number in range(6)]
    for event in events:
        world.append(event)
    world.log.committed[0] = (0, begun)
    await world.settle()
    assert world.sums() == (sum(event.charge_pico for event in events[4:]),) * 3
    told = [one for one in caplog.records if one.levelname == "CRITICAL"]
    assert told
    assert told[0].fields["low"] == 0


class Late(FakeConsumer):
    """Gets its partitions only after a while, as of a broker that others still hold them of, and reads nothing yet."""

    held = away = False

    def claims(self):
        return super().claims() if self.held else []

    async def poll(self, limit, wait_seconds, only=()):
        return []

    async def ends(self):
        if self.away:
            raise EventLogUnavailable("the broker is away")
        return await super().ends()


async def test_what_waits_is_known_before_anything_is_said_to_be_well():
    """Edge asks for how far billing is: 0 records without a problem would be all booked."""
    world = World()
    await world.fund()
    made = []
    world.new_consumer = lambda: made.append(Late(world.log, world.fuse)) or made[-1]
    world.append(usage_event("r"))
    stopping = asyncio.Event()
    # Who waits for the broker is woken at once.
    stopping.set()
    await world.run()
    for held, away, records, well in [
        (False, False, 0, False),
        (True, True, 0, False),
        (True, False, 1, True),
        (False, False, 1, True),
    ]:
        made[0].held, made[0].away = held, away
        # Less than what lies between two measurements.
        world.clock.advance(0.1)
        await world.process.consumer.step(stopping)
        assert (world.process.consumer.lag_events, not world.process.consumer.problem) == (records, well)
