"""One suite for every event log: order, positions with metadata, ownership. SQLite's file and Apache Kafka pass it."""

import asyncio

import pytest
from libs.kit.tests.integration.polling import claim_of, take

from tollgate_kit.event_log import Claim, OwnershipLost, Record

pytestmark = pytest.mark.integration


def numbered(first, count):
    return [Record(b"key", b"%d" % number, (("n", b"%d" % number),)) for number in range(first, first + count)]


async def test_records_come_out_in_order_with_their_headers(event_log):
    producer = event_log.producer()
    await producer.send(event_log.topic, numbered(0, 3))
    await producer.send(event_log.topic, [Record(b"key", b"3")])
    found = await take(await event_log.consumer(), 4)
    assert [one.value for one in found] == [b"0", b"1", b"2", b"3"]
    assert [tuple(one.headers) for one in found] == [(("n", b"0"),), (("n", b"1"),), (("n", b"2"),), ()]
    assert {one.key for one in found} == {b"key"}
    offsets = [one.offset for one in found]
    assert offsets == sorted(set(offsets))
    assert all(one.at_us > 1_600_000_000_000_000 for one in found)


@pytest.mark.parametrize("count", [1, 8, 64, 65, 137, 201])
async def test_records_of_one_call_keep_their_order_however_many(event_log, count):
    await event_log.producer().send(event_log.topic, numbered(0, count))
    found = await take(await event_log.consumer(), count)
    assert [one.value for one in found] == [b"%d" % number for number in range(count)]
    assert [tuple(one.headers) for one in found] == [(("n", b"%d" % number),) for number in range(count)]


async def test_several_producers_lose_nothing(event_log):
    producers = [event_log.producer() for _ in range(3)]
    await producers[0].send(event_log.topic, numbered(0, 10))
    await asyncio.gather(
        *(one.send(event_log.topic, numbered(100 * index, 20)) for index, one in enumerate(producers, 1))
    )
    found = await take(await event_log.consumer(), 70)
    assert len({one.value for one in found}) == len(found) == 70


async def test_a_consumer_begins_where_the_last_one_committed_and_reads_its_metadata(event_log):
    producer = event_log.producer()
    await producer.send(event_log.topic, numbered(0, 5))
    first = await event_log.consumer()
    found = await take(first, 5)
    await first.commit(found[0].claim, found[2].offset, "lo-hi é")
    await first.close()
    event_log.made.remove(first)
    second = await event_log.consumer()
    # The poll that makes the claim may have its records too: in Kafka it has, when it waits long enough.
    claim, begun = await claim_of(second, wait_seconds=30)
    assert (claim.offset, claim.metadata) == (found[2].offset, "lo-hi é")
    assert claim.epoch == found[0].claim.epoch
    again = await take(second, 3, begun=begun)
    assert [one.value for one in again] == [b"2", b"3", b"4"]
    assert [one.offset for one in again] == [one.offset for one in found[2:]]


async def test_a_poll_returns_no_more_than_its_limit_and_the_rest_after_it(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 7))
    consumer = await event_log.consumer()
    pages = []
    while sum(map(len, pages)) < 7:
        pages.append(await consumer.poll(3, 0.2))
    assert max(map(len, pages)) == 3
    assert [one.value for page in pages for one in page] == [b"%d" % number for number in range(7)]


async def test_what_is_not_asked_for_comes_later(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 4))
    consumer = await event_log.consumer()
    claim, begun = await claim_of(consumer)
    await event_log.producer().send(event_log.topic, numbered(4, 2))
    assert await consumer.poll(100, 0.2, [Claim(event_log.topic, 99, claim.epoch, 0)]) == []
    found = begun
    async with asyncio.timeout(60):
        while len(found) < 6:
            found += await consumer.poll(100, 0.2, [claim])
    assert [one.value for one in found] == [b"%d" % number for number in range(6)]


async def test_the_end_is_one_beyond_the_last_record(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 4))
    consumer = await event_log.consumer()
    found = await take(consumer, 4)
    assert await consumer.ends() == {0: found[-1].offset + 1}


async def test_who_was_replaced_cannot_commit_any_more(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 2))
    old = await event_log.consumer()
    found = await take(old, 2)
    await old.commit(found[0].claim, found[0].offset, "mine")
    # The same member again, as a supervisor would start it while the old process hangs.
    new = await event_log.consumer()

    async def go_on():
        async with asyncio.timeout(60):
            while True:
                await new.poll(10, 0.1)
                await old.commit(found[0].claim, found[1].offset, "stale")

    with pytest.raises(OwnershipLost):
        await go_on()
    assert found[0].claim.lost
    assert found[0].claim not in old.claims()


async def test_a_record_that_was_not_committed_comes_again(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 2))
    first = await event_log.consumer()
    assert len(await take(first, 2)) == 2
    await first.close()
    event_log.made.remove(first)
    assert [one.value for one in await take(await event_log.consumer(), 2)] == [b"0", b"1"]


async def test_a_consumer_that_starts_again_goes_on_at_its_last_commit(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 3))
    consumer = await event_log.consumer()
    found = await take(consumer, 3)
    await consumer.commit(found[0].claim, found[1].offset, "")
    await consumer.start()
    assert found[0].claim.lost
    assert [one.value for one in await take(consumer, 2)] == [b"1", b"2"]


async def test_groups_have_positions_of_their_own(event_log):
    await event_log.producer().send(event_log.topic, numbered(0, 2))
    first = await event_log.consumer(group="g1." + event_log.topic)
    found = await take(first, 2)
    await first.commit(found[0].claim, found[1].offset + 1, "")
    second = await event_log.consumer(group="g2." + event_log.topic)
    assert len(await take(second, 2)) == 2
