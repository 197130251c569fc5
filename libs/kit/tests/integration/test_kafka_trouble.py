"""A consumer of Apache Kafka in trouble: it says so, no call hangs, and it goes on by itself when it can."""

import asyncio
import contextlib
import uuid

import pytest
from aiokafka import TopicPartition
from libs.kit.tests.integration.polling import claim_of, take

from tollgate_kit.event_log import EventLogUnavailable, Record, new_producer
from tollgate_kit.event_log.kafka_consumer import KafkaConsumer
from tollgate_kit.event_log.kafka_member import Patience

pytestmark = pytest.mark.integration

SHORT = Patience(join=2, answer=1, stop=1)


class Scene:
    """A topic of one partition with three records, and consumers of it."""

    def __init__(self, broker):
        self._broker = broker
        self.topic = f"t.{uuid.uuid4().hex[:12]}"
        self._producer = new_producer(f"{broker.url}?partitions=1")
        self.consumers = []

    async def send(self, *values):
        """Appends; a broker that was frozen in an earlier test may take a moment."""
        await until_it_works(lambda: self._producer.send(self.topic, [Record(b"k", value) for value in values]))

    async def consumer(self, patience=None):
        made = KafkaConsumer(
            self._broker.bootstrap, f"g.{self.topic}", [self.topic], instance="member", partitions=1, patience=patience
        )
        self.consumers.append(made)
        await made.start()
        return made

    @contextlib.contextmanager
    def frozen(self, consumer, patience=None):
        """While open, the broker answers nothing, and the consumer has its own patience for that."""
        before = consumer._patience
        consumer._patience = patience or before
        self._broker.freeze(frozen=True)
        try:
            yield
        finally:
            self._broker.freeze(frozen=False)
            consumer._patience = before

    async def close(self):
        for one in self.consumers:
            await one.close()
        await self._producer.close()


@pytest.fixture
async def scene(kafka_broker):
    made = Scene(kafka_broker)
    await made.send(b"0", b"1", b"2")
    yield made
    await made.close()


async def until_it_works(call):
    """Calls again and again while the log is unavailable, as billing's loop does."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(EventLogUnavailable):
                return await call()
            await asyncio.sleep(0.05)


async def read_on(consumer, count):
    found = []
    while len(found) < count:
        found += await until_it_works(lambda: consumer.poll(100, 0.2))
    return [one.value for one in found]


async def polled_until_unavailable(consumer):
    """Polls until that is refused; returns why."""
    async with asyncio.timeout(60):
        while True:
            try:
                await consumer.poll(100, 0.1)
            except EventLogUnavailable as error:
                return str(error)


def end_fetching(consumer):
    consumer._fetcher._fetch_task.cancel()


def end_metadata(consumer):
    consumer._client._sync_task.cancel()


def end_coordination(consumer):
    consumer._coordinator._assignors = ()
    consumer._coordinator.request_rejoin()


def end_heartbeat(consumer):
    # The broker refuses a heartbeat without a group, which aiokafka did not expect.
    consumer._coordinator.group_id = ""


@pytest.mark.parametrize("end", [end_fetching, end_metadata, end_coordination, end_heartbeat])
async def test_what_has_ended_inside_is_an_error_and_a_new_member_goes_on(scene, end):
    consumer = await scene.consumer(Patience(stop=1))
    found = await take(consumer, 3)
    end(consumer._member.consumer)
    await scene.send(b"3")
    await polled_until_unavailable(consumer)
    assert await read_on(consumer, 4) == [b"0", b"1", b"2", b"3"]
    assert found[0].claim.lost
    assert found[0].claim not in consumer.claims()


async def test_a_partition_that_gives_nothing_of_what_it_has_is_an_error_and_a_new_member_goes_on(scene):
    consumer = await scene.consumer(Patience(silence=0.5))
    found = await take(consumer, 3)
    consumer._member.consumer.pause(TopicPartition(scene.topic, 0))
    await scene.send(b"3")
    assert await consumer.ends() == {0: found[-1].offset + 2}
    assert f"{scene.topic}/0 gave nothing" in await polled_until_unavailable(consumer)
    assert found[0].claim.lost
    assert await read_on(consumer, 4) == [b"0", b"1", b"2", b"3"]


async def test_a_partition_that_was_read_to_its_end_may_be_silent(scene):
    consumer = await scene.consumer(Patience(silence=0.3))
    found = await take(consumer, 3)
    await consumer.ends()
    for _ in range(5):
        assert await consumer.poll(100, 0.2) == []
    await scene.send(b"3")
    again = await take(consumer, 1)
    assert again[0].value == b"3"
    assert again[0].claim is found[0].claim


async def test_a_broker_that_does_not_answer_is_unavailable_and_the_same_commit_works_later(scene):
    consumer = await scene.consumer()
    found = await take(consumer, 3)
    claim = found[0].claim
    with scene.frozen(consumer, SHORT):
        async with asyncio.timeout(60):
            with pytest.raises(EventLogUnavailable):
                await consumer.commit(claim, found[1].offset, "kept")
            with pytest.raises(EventLogUnavailable):
                await consumer.ends()
        assert not claim.lost
    await until_it_works(lambda: consumer.commit(claim, found[1].offset, "kept"))
    await consumer.close()
    second = await scene.consumer()
    resumed, begun = await claim_of(second)
    assert (resumed.offset, resumed.metadata) == (found[1].offset, "kept")
    assert [one.value for one in await take(second, 2, begun=begun)] == [b"1", b"2"]


async def test_a_poll_ends_in_time_while_the_group_moves_on_and_holds_nothing(scene):
    consumer = await scene.consumer()
    claim = (await take(consumer, 3))[0].claim
    with scene.frozen(consumer):
        consumer._member.consumer._coordinator.request_rejoin()
        async with asyncio.timeout(60):
            while not claim.lost:
                await until_it_works(lambda: consumer.poll(100, 0.05))
            for _ in range(3):
                assert await consumer.poll(100, 0.05) == []
                assert consumer.claims() == []
    assert await read_on(consumer, 3) == [b"0", b"1", b"2"]


async def test_no_claim_comes_of_a_position_that_was_asked_for_before_the_group_moved_on(scene):
    consumer = await scene.consumer()
    member = consumer._member
    assert member.assigned
    with scene.frozen(consumer):
        turns = member.turns
        polling = asyncio.create_task(consumer.poll(100, 0.05))
        await asyncio.sleep(0)
        member.consumer._coordinator.request_rejoin()
        await member.turn(turns, 60)
    assert await polling == []
    assert consumer.claims() == []
    assert await read_on(consumer, 3) == [b"0", b"1", b"2"]


async def test_leaving_and_joining_have_an_end_though_the_broker_says_nothing(scene, caplog):
    consumer = await scene.consumer()
    claim = (await take(consumer, 3))[0].claim
    with scene.frozen(consumer, SHORT):
        consumer._member.consumer._coordinator.request_rejoin()
        async with asyncio.timeout(60):
            while not claim.lost:
                await until_it_works(lambda: consumer.poll(100, 0.05))
            with pytest.raises(EventLogUnavailable):
                await consumer.start()
        assert "did not stop in good order" in caplog.text
    assert await read_on(consumer, 3) == [b"0", b"1", b"2"]
