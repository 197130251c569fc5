"""What only Apache Kafka does: topics that are made again, brokers that die, keys that stay in their partition."""

import asyncio
import uuid
from pathlib import Path

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from libs.kit.tests.integration.polling import claim_of, take
from tests.servers.kafka import KafkaBroker

from tollgate_kit.clock import ManualClock
from tollgate_kit.event_log import EventLogUnavailable, Record, new_consumer, new_producer
from tollgate_kit.event_log.kafka_consumer import KafkaConsumer
from tollgate_kit.event_log.kafka_member import Patience
from tollgate_kit.event_log.kafka_topics import create_missing

pytestmark = pytest.mark.integration

TOPIC_FILES = sorted((Path(__file__).resolve().parents[4] / "topics").glob("*.yaml"))


@pytest.fixture
def topic():
    return f"t.{uuid.uuid4().hex[:12]}"


async def test_a_topic_made_again_is_read_from_its_beginning_whatever_was_committed(kafka_broker, topic):
    url = f"{kafka_broker.url}?partitions=1"
    producer, consumer = new_producer(url), new_consumer(url, f"g.{topic}", [topic], instance="member")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    try:
        await producer.send(topic, [Record(b"k", b"%d" % number) for number in range(5)])
        await consumer.start()
        found = await take(consumer, 5)
        old = found[0].claim
        await consumer.commit(old, found[-1].offset + 1, "done")
        await consumer.close()
        await admin.delete_topics([topic])
        for _ in range(300):
            if topic not in await admin.list_topics():
                break
            await asyncio.sleep(0.1)
        await create_missing(kafka_broker.bootstrap, [topic], 1)
        # The position of the old topic, as a late committer would leave it.
        stale = new_consumer(url, f"g.{topic}", [topic], instance="member")
        await stale.start()
        claim, _ = await claim_of(stale)
        assert claim.epoch != old.epoch
        claim.epoch = old.epoch
        await stale.commit(claim, 3, "stale")
        await stale.close()
        fresh = new_producer(url)
        await fresh.send(topic, [Record(b"k", b"new %d" % number) for number in range(4)])
        await fresh.close()
        await consumer.start()
        again = await take(consumer, 4)
        assert [one.value for one in again] == [b"new 0", b"new 1", b"new 2", b"new 3"]
        assert (again[0].claim.offset, again[0].claim.metadata) == (0, "")
    finally:
        await admin.close()
        await producer.close()
        await consumer.close()


async def test_records_of_one_key_are_in_one_partition_and_in_order(kafka_broker, topic):
    url = f"{kafka_broker.url}?partitions=4"
    producer, consumer = new_producer(url), new_consumer(url, f"g.{topic}", [topic], instance="member")
    try:
        for number in range(10):
            await producer.send(topic, [Record(b"key %d" % key, b"%d" % number) for key in range(12)])
        await consumer.start()
        found = await take(consumer, 120)
        assert len(consumer.claims()) == 4
        by_key = {}
        for one in found:
            by_key.setdefault(one.key, []).append((one.claim.partition, int(one.value)))
        for where in by_key.values():
            assert [value for _, value in where] == list(range(10))
            assert len({partition for partition, _ in where}) == 1
        assert len({one.claim.partition for one in found}) > 1
    finally:
        await producer.close()
        await consumer.close()


async def test_partitions_are_read_by_themselves_and_the_others_lose_nothing(kafka_broker, topic):
    url = f"{kafka_broker.url}?partitions=3"
    producer = new_producer(url)
    # Whoever is not asked for long is no partition that says nothing: time passes between polls, and in none of them.
    clock = ManualClock()
    consumer = KafkaConsumer(
        kafka_broker.bootstrap, f"g.{topic}", [topic], partitions=3, clock=clock, patience=Patience(silence=0.3)
    )
    try:
        await consumer.start()
        async with asyncio.timeout(60):
            while len(consumer.claims()) < 3:
                assert await consumer.poll(10, 0.1) == []
        await producer.send(topic, [Record(b"key %d" % number, b"%d" % number) for number in range(60)])
        await consumer.ends()
        first, *others = consumer.claims()
        found = []
        async with asyncio.timeout(60):
            while not found:
                found += await consumer.poll(100, 0.1, [first])
            for _ in range(8):
                clock.advance(1)
                found += await consumer.poll(100, 0.1, [first])
            assert {one.claim for one in found} == {first}
            while len(found) < 60:
                found += await consumer.poll(100, 0.1, others)
        assert {int(one.value) for one in found} == set(range(60))
        assert [claim.lost for claim in (first, *others)] == [False] * 3
    finally:
        await producer.close()
        await consumer.close()


async def test_nobody_there_is_unavailable():
    producer = new_producer("kafka://127.0.0.1:1")
    with pytest.raises(EventLogUnavailable):
        await producer.send("topic", [Record(b"k", b"v")])
    await producer.close()
    consumer = new_consumer("kafka://127.0.0.1:1", "g", ["topic"])
    with pytest.raises(EventLogUnavailable):
        await consumer.start()
    await consumer.close()


@pytest.fixture
def own_broker(tmp_path):
    """A broker of one test's own, for topics whose names are fixed."""
    broker = KafkaBroker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


async def test_topics_are_made_as_their_files_say(own_broker):
    """By who sends, or by who reads; a broker alone has one replica, and asks for one in sync."""
    producer = new_producer(own_broker.url)
    consumer = new_consumer(own_broker.url, "g", ["usage.recorded.v1", "request.refused.v1"])
    admin = AIOKafkaAdminClient(bootstrap_servers=own_broker.bootstrap)
    await admin.start()
    try:
        await producer.send("usage.dead-letter.v1", [Record(b"k", b"v")])
        await consumer.start()
        files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in TOPIC_FILES]
        assert len(files) == 3
        names = [file["topic"] for file in files]
        made = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(names)}
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
        settings = {found[3]: {row[0]: row[1] for row in found[4]} for one in answers for found in one.resources}
        for file in files:
            name = file["topic"]
            assert len(made[name]) == file["partitions"]
            assert {len(partition["replicas"]) for partition in made[name]} == {1}
            wanted = file["settings"] | {
                "retention.ms": str(file["retention_hours"] * 3_600_000),
                "min.insync.replicas": "1",
            }
            assert {key: settings[name][key] for key in wanted} == wanted
    finally:
        await admin.close()
        await producer.close()
        await consumer.close()
