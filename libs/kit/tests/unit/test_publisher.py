"""The publisher takes everything to the log, marks what may be there already, and only then lets the spool forget."""

import asyncio

import pytest

from tollgate_kit.clock import ManualClock
from tollgate_kit.event_log import EventLogUnavailable
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool

pytestmark = pytest.mark.unit


class FakeProducer:
    """Takes what it is sent; refuses the first `failures` calls, having kept the records when `keeps` is set."""

    def __init__(self, failures=0, *, keeps=False):
        self.failures = failures
        self.keeps = keeps
        self.sent = []
        self.calls = []
        self.called = asyncio.Event()

    async def send(self, topic, records):
        self.calls.append(len(records))
        self.called.set()
        failing = self.failures > 0
        self.failures -= 1
        if not failing or self.keeps:
            self.sent += [record.value for record in records]
        if failing:
            raise EventLogUnavailable("away")

    async def close(self):
        pass


def started(tmp_path, producer, **options):
    spool = Spool.open(tmp_path)
    return spool, Publisher(spool, producer, "topic", gather_seconds=0, **options)


async def drained(publisher):
    stopping = asyncio.Event()
    stopping.set()
    await publisher.run(stopping)


async def test_what_may_be_in_the_log_already_is_marked_when_it_is_sent_again(tmp_path):
    producer = FakeProducer(failures=1, keeps=True)
    spool, publisher = started(tmp_path, producer, again=b"+again")
    publisher.queue(spool.append(b"a"), b"k", b"a")
    stopping = asyncio.Event()
    running = asyncio.create_task(publisher.run(stopping))
    await producer.called.wait()
    # What is queued after the failure was never sent, so it carries no mark.
    publisher.queue(spool.append(b"b"), b"k", b"b")
    stopping.set()
    await running
    assert producer.sent == [b"a", b"a+again", b"b"]
    assert (spool.records, publisher.depth(), publisher.published, publisher.failures) == (0, 0, 2, 1)


async def test_the_spool_keeps_a_record_until_the_log_has_it(tmp_path):
    producer = FakeProducer(failures=10**9)
    spool, publisher = started(tmp_path, producer)
    publisher.queue(spool.append(b"a"), b"k", b"a")
    running = asyncio.create_task(publisher.run(asyncio.Event()))
    await producer.called.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (spool.records, publisher.depth()) == (1, 1)
    assert publisher.problem == "away"


async def test_a_long_queue_goes_in_batches_in_order(tmp_path):
    producer = FakeProducer()
    spool, publisher = started(tmp_path, producer)
    for number in range(4_500):
        publisher.queue(spool.append(b""), b"k", b"%d" % number)
    await drained(publisher)
    assert producer.sent == [b"%d" % number for number in range(4_500)]
    assert max(producer.calls) <= 2_000


async def test_a_batch_is_bounded_by_size_too(tmp_path):
    producer = FakeProducer()
    spool, publisher = started(tmp_path, producer)
    for _ in range(6):
        publisher.queue(spool.append(b""), b"k", b"x" * 400_000)
    await drained(publisher)
    assert max(producer.calls) == 3
    assert sum(producer.calls) == 6


async def test_it_says_when_a_record_with_a_trace_has_arrived(tmp_path):
    clock, seen = ManualClock(), []
    producer = FakeProducer()
    spool, publisher = started(tmp_path, producer, clock=clock, on_published=lambda *what: seen.append(what))
    queued = clock.now_us()
    publisher.queue(spool.append(b""), b"k", b"a", (("traceparent", b"00-1-2-01"),))
    publisher.queue(spool.append(b""), b"k", b"b")
    clock.advance(1)
    await drained(publisher)
    assert seen == [(b"00-1-2-01", queued, queued + 1_000_000)]
