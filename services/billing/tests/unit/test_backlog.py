"""Of a backlog, few partitions are read at a time, so that their batches are full; nobody waits for ever."""

import pytest
from services.billing.tests.fakes.event_log import FakeConsumer, FakeLog
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import World

from tollgate_billing.consumers.intake import BatchLimits

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
