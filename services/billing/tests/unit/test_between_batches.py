"""Work between two batches: nothing is under way then, nothing is left to be finished, and nobody else books."""

import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import Process, World

from tollgate_billing.domain.intent import Bounds
from tollgate_billing.errors import InvalidQuery, Unavailable


@pytest.fixture
async def world():
    made = World()
    await made.fund()
    return made


def offered(world, count, first=0):
    for number in range(first, first + count):
        world.append(usage_event(f"r{number}", at_us=world.clock.now_us()))


async def test_batches_that_are_begun_are_committed_before(world):
    offered(world, 12)
    # Of a backlog, the first batch is written and not booked after one step.
    await world.run()
    assert world.log.committed[0][1]

    async def work():
        offset, metadata = world.log.committed[0]
        assert (metadata, len(world.store.usage)) == ("", offset)
        assert world.ledger.sources[Bounds("epoch", "usage.recorded.v1", 0, 0, 0).source][1] == offset > 0
        return offset

    assert await world.process.consumer.between_batches(work) % 4 == 0
    await world.settle()
    assert len(world.store.usage) == 12


async def test_nothing_is_done_before_the_batches_of_an_earlier_process_are_finished(world):
    offered(world, 4)
    world.store.away = True
    await world.run(2)
    world.process, world.store.away = None, False

    async def work():
        raise AssertionError("too early")

    # It has not read the log yet, and so does not know what was begun.
    world.process = Process(world)
    with pytest.raises(Unavailable, match="finished first"):
        await world.process.consumer.between_batches(work)
    await world.settle()
    assert await world.process.consumer.between_batches(lambda: _said("done")) == "done"


async def _said(word):
    return word


async def test_other_processes_that_book_are_a_reason_to_refuse(world):
    offered(world, 4)
    await world.settle()
    await world.ledger.claim(Bounds("epoch", "usage.recorded.v1", 1, 0, 0).source, "another")
    with pytest.raises(InvalidQuery, match=r"1 partitions .* other billing processes"):
        await world.process.consumer.between_batches(lambda: _said("done"))
    # A log that was there before this one is nobody's.
    world.ledger.sources.clear()
    await world.ledger.claim(Bounds("earlier", "usage.recorded.v1", 1, 0, 0).source, "another")
    assert await world.process.consumer.between_batches(lambda: _said("done")) == "done"


async def test_work_that_another_process_began_beside_is_not_called_done(world):
    offered(world, 4)
    await world.settle()

    async def overtaken():
        # As the log says it to whoever loses a partition.
        for claim in world.process.consumer._consumer.claims():
            claim.lost = True
        return "done"

    with pytest.raises(Unavailable, match=r"another billing process .* do it again"):
        await world.process.consumer.between_batches(overtaken)


async def test_what_is_known_of_earlier_events_is_read_anew(world):
    offered(world, 4)
    await world.settle()
    lost, world.store.usage[:] = world.store.usage[:], []
    # A process that begins with rows missing does not know their events.
    world.process = None
    offered(world, 1, first=9)
    await world.settle()

    async def rebuilt():
        world.store.usage += lost

    await world.process.consumer.between_batches(rebuilt, forget=True)
    offered(world, 4)
    await world.settle()
    assert len(world.store.usage) == 5
    assert world.counters.counts["duplicates"] == 4
