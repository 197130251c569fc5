"""A partition whose records are nearly all poison is stopped before more of them are set aside; nothing is skipped."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.billing.tests.fakes.event_log import FakeLog
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import World

from tollgate_billing.adapters.dead_letters import TOPIC, DeadLetterTopic
from tollgate_billing.consumers.intake import BatchLimits
from tollgate_billing.domain.poison import count_on_end
from tollgate_billing.errors import LedgerRefused
from tollgate_billing.ports import Letter
from tollgate_billing.use_cases.record_batch import RecordBatch
from tollgate_kit.event_log import RecordTooLarge

pytestmark = pytest.mark.unit


class Limited(World):
    """Billing stops after more than three records of poison on end."""

    poison_limit = 3

    def new_record(self, **parts):
        return RecordBatch(**parts, poison_limit=self.poison_limit)


@pytest.fixture
async def world():
    made = Limited()
    await made.fund()
    return made


def poison(world, count, partition=0):
    for number in range(count):
        world.log.append(b"\xff%d" % number, world.clock.now_us(), partition)


def good(world, name, partition=0):
    event = usage_event(name)
    world.log.append(event.SerializeToString(), world.clock.now_us(), partition)
    return event.charge_pico


async def run(world, steps=12):
    for _ in range(steps):
        world.clock.advance(2)
        await world.run()


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=30))
def test_how_many_are_poison_on_end(before, flags):
    most = last = before
    for flag in flags:
        last = last + 1 if flag else 0
        most = max(most, last)
    places = [place for place, flag in enumerate(flags) if flag]
    assert count_on_end(before, places, len(flags)) == (most, last)


async def test_poison_up_to_the_limit_is_set_aside_and_booking_goes_on(world):
    poison(world, 3)
    charged = good(world, "a")
    poison(world, 3)
    await world.settle()
    assert len(world.letters.letters) == 6
    assert world.sums() == (charged,) * 3
    assert world.process.consumer.problem == ""


async def test_a_partition_of_poison_is_stopped_and_says_where(world, caplog):
    charged = good(world, "a")
    poison(world, 40)
    after = good(world, "z")
    await run(world)
    # The first batch has three of them; the next four would make seven on end.
    assert len(world.letters.letters) == 3
    assert world.sums() == (charged,) * 3
    assert world.log.committed[0][0] == 4
    assert "partition 0 of usage.recorded.v1 is stopped before record 4: 7 records" in world.process.consumer.problem
    assert "not a UsageRecorded message" in world.process.consumer.problem
    await world.process.consumer.step(asyncio.Event())
    assert (world.process.consumer.lag_events, world.process.consumer.lag_ms > 0) == (38, True)
    (told,) = [one for one in caplog.records if "is stopped" in one.message]
    assert told.levelname == "CRITICAL"
    # It stays so: in this process, at its end, and in the next one.
    await run(world)
    await world.process.consumer.drain()
    world.process = None
    await run(world)
    assert (len(world.letters.letters), world.log.committed[0][0]) == (3, 4)
    # Whoever has looked has all of it set aside.
    world.process, world.poison_limit = None, 0
    await world.settle()
    assert [letter.offset for letter in world.letters.letters] == list(range(1, 41))
    assert world.sums() == (charged + after,) * 3
    assert world.process.consumer.problem == ""


async def test_poison_that_comes_slowly_is_counted_over_batches(world):
    for _ in range(6):
        poison(world, 1)
        await run(world, 2)
    assert [letter.offset for letter in world.letters.letters] == [0, 1, 2]
    assert "stopped before record 3: 4 records on end" in world.process.consumer.problem


async def test_a_release_that_understands_the_events_books_them_as_the_batch_that_was_begun(world):
    poison(world, 4)
    await run(world)
    assert world.log.committed[0] == (0, "i1;0;4;4")
    events = [usage_event(name) for name in "abcd"]
    world.log.records[0] = [(world.clock.now_us(), b"", event.SerializeToString()) for event in events]
    world.process = None
    await world.settle()
    assert {row["batch"] for row in world.store.usage} == {"epoch/usage.recorded.v1/0/0-4"}
    assert world.sums() == (sum(event.charge_pico for event in events),) * 3
    assert world.letters.letters == []


async def test_other_partitions_go_on_and_what_was_begun_is_booked(world):
    """The batch before the poison is written and waits for Redis when the one behind it is found to be poison."""
    world.log = FakeLog(partitions=2)
    world.limits = BatchLimits(events=2, size_bytes=1 << 20, age_seconds=1.0)
    charged = good(world, "a") + good(world, "b")
    poison(world, 30)
    world.wallets.away = True
    stopped = asyncio.Event()
    stopped.set()
    await world.run(1)
    for _ in range(4):
        world.clock.advance(2)
        await world.process.consumer.step(stopped)
    assert len(world.store.usage) == 2
    world.wallets.away = False
    for name in "cdefgh":
        charged += good(world, name, partition=1)
        await run(world, 3)
    assert world.sums() == (charged,) * 3
    assert world.log.committed[1] == (6, "")
    # Two were set aside with the batch before the one that would make four on end.
    assert [letter.offset for letter in world.letters.letters] == [2, 3]
    assert world.log.committed[0][0] == 4
    assert "partition 0 of usage.recorded.v1 is stopped before record 4" in world.process.consumer.problem


class NarrowLedger:
    """A ledger in front of another one, which has no column for what some organization is called."""

    def __init__(self, ledger):
        self._ledger = ledger

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    async def post(self, posting):
        if any(one.line.organization_id == "too wide" for one in posting.transfers):
            raise LedgerRefused("value too long")
        return await self._ledger.post(posting)


async def test_a_batch_that_the_ledger_can_never_take_stops_its_partition_alone(world, caplog):
    """Its records can be read, so nothing sets them aside; what follows them in their partition waits for a release."""
    world.log = FakeLog(partitions=2)
    world.limits = BatchLimits(events=2, size_bytes=1 << 20, age_seconds=1.0)
    ledger, world.ledger = world.ledger, NarrowLedger(world.ledger)
    charged = good(world, "a") + good(world, "b")
    for name in ("c", "d"):
        world.log.append(usage_event(name, organization="too wide").SerializeToString(), world.clock.now_us(), 0)
    waiting = sum(good(world, name) for name in "efgh")
    await run(world)
    for name in "ijklmn":
        charged += good(world, name, partition=1)
        await run(world, 3)
    assert ledger.accounts["org", "wallet", "USD"] == 10**12 - charged
    assert (world.log.committed[0][0], world.log.committed[1]) == (2, (6, ""))
    reason = "partition 0 of usage.recorded.v1 is stopped before record 2: the ledger cannot take its batch of records"
    assert reason in world.process.consumer.problem
    assert world.process.consumer.stopped_partitions == [0]
    (told,) = [one for one in caplog.records if "is stopped" in one.message]
    assert told.levelname == "CRITICAL"
    await world.process.consumer.drain()
    # A release that can keep it begins with the batches that were begun.
    world.process, world.ledger = None, ledger
    await world.settle()
    assert ledger.accounts["org", "wallet", "USD"] == 10**12 - charged - waiting
    assert len(world.store.usage) == 14
    assert (world.store.poison, world.process.consumer.problem) == ([], "")


async def test_letters_that_cannot_be_written_are_waited_for(world):
    charged = good(world, "a")
    poison(world, 2)
    charged += good(world, "b")
    world.letters.away = True
    stopped = asyncio.Event()
    stopped.set()
    await world.run(1)
    for _ in range(5):
        world.clock.advance(2)
        await world.process.consumer.step(stopped)
    assert "booking waits: the log of letters is away" in world.process.consumer.problem
    assert (world.store.usage, world.log.committed[0][0]) == ([], 0)
    world.letters.away = False
    await world.settle()
    assert world.sums() == (charged,) * 3
    assert [letter.offset for letter in world.letters.letters] == [1, 2]


class NarrowTopic:
    """A producer of a topic that takes records of ten bytes."""

    def __init__(self):
        self.sent = []

    async def send(self, topic, records):
        if any(len(record.value) > 10 for record in records):
            raise RecordTooLarge("too large")
        self.sent += [(topic, record) for record in records]

    async def close(self):
        pass


async def test_a_letter_that_is_too_large_for_its_topic_is_told_of_there_without_its_bytes():
    topic = NarrowTopic()
    letters = [Letter("usage", 1, place, 0, b"k", b"v" * size, "why") for place, size in enumerate((3, 11, 5))]
    await DeadLetterTopic(topic).send(letters)
    assert [name for name, _ in topic.sent] == [TOPIC] * 3
    assert [record.value for _, record in topic.sent] == [b"vvv", b"", b"vvvvv"]
    said = [dict(record.headers) for _, record in topic.sent]
    assert [one["offset"] for one in said] == [b"0", b"1", b"2"]
    assert said[1]["error"] == b"why; its 11 bytes are more than this topic takes"
    assert (said[0]["error"], said[2]["error"]) == (b"why", b"why")
