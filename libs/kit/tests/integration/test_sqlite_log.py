"""What the embedded log costs that one file holds all topics: what was looked through is not looked through again."""

import pytest

from tollgate_kit.clock import SystemClock
from tollgate_kit.event_log import Record, new_producer
from tollgate_kit.event_log.sqlite_log import SqliteConsumer

pytestmark = pytest.mark.integration


async def test_records_of_other_topics_are_looked_through_once(tmp_path):
    path = tmp_path / "events.sqlite"
    producer = new_producer(f"sqlite://{path}")
    await producer.send("busy", [Record(b"k", b"v")] * 2000)
    consumer = SqliteConsumer(path, "readers", ["rare"], SystemClock())
    await consumer.start()
    steps = []

    def count():
        steps.append(1)

    await consumer._file.read(lambda connection: connection.set_progress_handler(count, 10))
    assert await consumer.poll(10, 0) == []
    first = len(steps)
    assert await consumer.poll(10, 0) == []
    assert len(steps) - first < 20 < first
    # None is missed for it, whichever side of others it comes.
    await producer.send("rare", [Record(b"k", b"1")])
    await producer.send("busy", [Record(b"k", b"v")] * 3)
    await producer.send("rare", [Record(b"k", b"2")])
    found = [*await consumer.poll(1, 0), *await consumer.poll(10, 0)]
    assert [one.value for one in found] == [b"1", b"2"]
    assert await consumer.poll(10, 0) == []
    await consumer.close()
    await producer.close()
