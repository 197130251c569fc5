"""Retention passes what a group has not read: how much is gone is told, at the start and while it reads."""

import asyncio
import contextlib
import uuid

import pytest
from aiokafka import TopicPartition
from libs.kit.tests.integration.polling import claim_of, take
from tests.servers.kafka import delete_records

from tollgate_kit.event_log import EventLogUnavailable, Record, new_producer
from tollgate_kit.event_log.kafka_consumer import KafkaConsumer

pytestmark = pytest.mark.integration


class Scene:
    """A topic of one partition, records that are their own offsets, and a consumer of it."""

    def __init__(self, broker):
        self._broker = broker
        self.topic = f"t.{uuid.uuid4().hex[:12]}"
        self.partition = TopicPartition(self.topic, 0)
        self._producer = new_producer(f"{broker.url}?partitions=1")
        self.consumer = KafkaConsumer(broker.bootstrap, f"g.{self.topic}", [self.topic], partitions=1)
        self._sent = 0

    async def send(self, count):
        records = [Record(b"k", b"%d" % number) for number in range(self._sent, self._sent + count)]
        await self._producer.send(self.topic, records)
        self._sent += count

    async def delete(self, before):
        await delete_records(self._broker, self.partition, before)

    async def close(self):
        await self.consumer.close()
        await self._producer.close()


@pytest.fixture
async def scene(kafka_broker):
    made = Scene(kafka_broker)
    await made.send(10)
    await made.consumer.start()
    yield made
    await made.close()


async def test_a_claim_tells_how_many_records_after_what_was_committed_are_gone(scene, caplog):
    found = await take(scene.consumer, 10)
    assert found[0].claim.forgotten == 0
    await scene.consumer.commit(found[0].claim, 4, "kept")
    await scene.delete(7)
    await scene.consumer.start()
    again = await take(scene.consumer, 3)
    claim = again[0].claim
    assert (claim.offset, claim.metadata, claim.forgotten) == (4, "kept", 3)
    assert [one.value for one in again] == [b"7", b"8", b"9"]
    assert "records are gone before they were read" in caplog.text


async def test_where_all_are_gone_it_is_told_though_none_comes(scene):
    found = await take(scene.consumer, 10)
    await scene.consumer.commit(found[0].claim, 4, "")
    await scene.delete(10)
    await scene.consumer.start()
    claim, begun = await claim_of(scene.consumer)
    assert (claim.offset, claim.forgotten, begun) == (4, 6, [])
    await scene.send(1)
    assert [one.offset for one in await take(scene.consumer, 1)] == [10]


async def test_what_nobody_has_committed_is_not_counted_and_read_from_where_the_log_begins(scene):
    await scene.delete(7)
    found = await take(scene.consumer, 3)
    claim = found[0].claim
    assert (claim.offset, claim.forgotten) == (7, 0)
    assert [one.value for one in found] == [b"7", b"8", b"9"]


async def test_a_reader_that_is_passed_while_it_holds_the_partition_claims_it_anew(scene):
    found = await take(scene.consumer, 10)
    old = found[0].claim
    await scene.consumer.commit(old, 8, "")
    # As if nothing had been read for the time of the retention.
    scene.consumer._member.consumer.pause(scene.partition)
    await scene.send(10)
    await scene.delete(15)
    scene.consumer._member.consumer.resume(scene.partition)
    read = []
    async with asyncio.timeout(60):
        while not old.lost:
            with contextlib.suppress(EventLogUnavailable):
                read += await scene.consumer.poll(100, 0.2)
    assert read == []
    again = await take(scene.consumer, 5)
    assert [one.value for one in again] == [b"15", b"16", b"17", b"18", b"19"]
    assert (again[0].claim.offset, again[0].claim.forgotten) == (8, 7)


async def test_a_log_that_ends_before_what_was_committed_is_neither_read_again_nor_skipped(scene):
    found = await take(scene.consumer, 10)
    await scene.consumer.commit(found[0].claim, 12, "")
    await scene.consumer.start()
    read, refused = [], []
    async with asyncio.timeout(60):
        while len(refused) < 3:
            try:
                read += await scene.consumer.poll(100, 0.2)
            except EventLogUnavailable as error:
                refused.append(str(error))
    assert read == []
    assert all("OffsetOutOfRange" in why for why in refused)
