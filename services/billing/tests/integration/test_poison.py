"""A partition of poison, and letters that cannot be written, with a real process on both logs: nothing is skipped."""

import asyncio
import contextlib
import sqlite3
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.partitioner import murmur2
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.running import TOPIC, BillingProcess, send, servers_of

from tollgate.billing.v1 import billing_pb2
from tollgate.billing.v1 import dead_letters_pb2 as wire
from tollgate_billing.adapters.dead_letters import TOPIC as LETTERS

pytestmark = pytest.mark.integration

FUNDS = 10**13
POISON = 300
URL = "TOLLGATE_BILLING_EVENT_LOG_URL"
LIMIT = "TOLLGATE_BILLING_POISON_LIMIT"
PARTITIONS = 2
PATIENCE_SECONDS = 180


@pytest.fixture(params=["embedded", "cluster"])
def billing(request, tmp_path, valkey):
    valkey.clear()
    process = BillingProcess(tmp_path, servers_of(request.param, request, tmp_path, valkey))
    process.profile = request.param
    yield process
    process.clean()


def made(first, count):
    now = time.time_ns() // 1000
    return [usage_event(f"r{number}", at_us=now) for number in range(first, first + count)]


def in_partition_of_poison(billing, events):
    """Returns those of the events that are in one partition with what `send` appends as poison."""
    if billing.profile == "embedded":
        return events
    place = murmur2(b"key") % PARTITIONS
    return [one for one in events if murmur2(one.request_id.encode()) % PARTITIONS == place]


async def all_booked(client, events, poison):
    """Every event is charged once, every record of poison is a letter, and nothing waits."""
    status = await client.booked(len(events))
    charged = sum(event.charge_pico for event in events)
    assert (status.rows, status.poison) == (len(events), poison)
    balance = await client.balance()
    assert (await client.total()).charge_pico == charged
    assert balance.ledger_pico == balance.wallet_pico == FUNDS - charged


async def test_a_partition_of_poison_is_stopped_and_the_others_go_on(billing):
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    events = made(0, 30)
    await send(billing.servers[URL], [*events, *(b"\xff%d" % number for number in range(POISON))])
    reason = await client.unready("is stopped before record")
    assert "records on end cannot be used" in reason
    more = made(30, 30)
    await send(billing.servers[URL], more)
    waiting = in_partition_of_poison(billing, more)
    assert waiting
    # What it was asked before is answered while it is not ready, and what is elsewhere is booked.
    while (status := await client.call("GetStatus", billing_pb2.GetStatusRequest())).rows < 60 - len(waiting):
        assert billing.process.poll() is None
    assert status.rows == 60 - len(waiting)
    assert status.poison <= 100
    await client.unready("is stopped before record")
    # Somebody has looked, and wants all of it set aside.
    assert billing.stop() == 0
    billing.servers[LIMIT] = "0"
    billing.start()
    await all_booked(client, events + more, POISON)
    await client.close()
    assert billing.stop() == 0


async def test_events_that_one_database_takes_and_another_does_not_are_letters_on_both(billing):
    """SQLite knows no lengths and keeps a NUL; PostgreSQL refuses both, at each try."""
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    events, now = made(0, 20), time.time_ns() // 1000
    worse = [
        usage_event("long" * 65, at_us=now),
        usage_event("nul\0", at_us=now),
        usage_event("long-model", at_us=now, model="m" * 300),
        usage_event("nul-model", at_us=now, model="m\0", status=2, replay=True),
        usage_event("long-owner", at_us=now, organization="o" * 300),
        usage_event("money", at_us=now, organization="stranger", currency="usd"),
    ]
    await send(billing.servers[URL], [*events[:10], *worse, *events[10:]])
    await all_booked(client, events, len(worse))
    for _ in range(2):
        reply = await client.letters.ListDeadLetters(wire.ListDeadLettersRequest(), timeout=60)
        assert sorted(one.state for one in reply.letters) == ["unusable"] * len(worse)
        answer = await client.letters.ReplayDeadLetters(wire.ReplayDeadLettersRequest(all=True), timeout=60)
        assert not any(one.state == "sent" for one in answer.letters)
    # What was never booked has given nobody a currency.
    await client.grant(5, key="stranger", organization="stranger")
    await client.close()
    assert billing.stop() == 0


class Letters:
    """The topic of letters, on either log, which takes none or takes them."""

    def __init__(self, billing):
        self._url = billing.servers[URL]
        self._kafka = billing.profile == "cluster"
        self._servers = self._url.removeprefix("kafka://").partition("?")[0]

    async def refuse(self):
        if self._kafka:
            await self._admin(lambda admin: admin.create_topics([NewTopic(LETTERS, 1, 1)]))
            await self._limit(1)
            await self._refused()
            return
        self._run(
            f"CREATE TRIGGER full BEFORE INSERT ON records WHEN NEW.topic = '{LETTERS}' "
            "BEGIN SELECT RAISE(ABORT, 'no letters'); END"
        )

    async def take(self, most=1 << 20):
        if self._kafka:
            await self._limit(most)
        else:
            self._run("DROP TRIGGER full")

    async def _limit(self, most):
        limit = ConfigResource(ConfigResourceType.TOPIC, LETTERS, configs={"max.message.bytes": str(most)})
        await self._admin(lambda admin: admin.alter_configs([limit]))

    async def _refused(self):
        """Waits until the broker goes by its limit, which it says before it does."""
        producer = AIOKafkaProducer(bootstrap_servers=self._servers)
        await producer.start()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                with contextlib.suppress(MessageSizeTooLargeError):
                    while True:
                        await producer.send_and_wait(LETTERS, b"none of ours")
        finally:
            await producer.stop()

    async def _admin(self, call):
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            await call(admin)
        finally:
            await admin.close()

    def _run(self, statement):
        connection = sqlite3.connect(self._url.removeprefix("sqlite:///"), timeout=30)
        connection.execute(statement)
        connection.commit()
        connection.close()


async def test_letters_that_cannot_be_written_are_waited_for(billing):
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    events = made(0, 20)
    await send(billing.servers[URL], events[:5])
    await client.booked(5)
    letters = Letters(billing)
    await letters.refuse()
    await send(billing.servers[URL], [b"\xff poison", *events[5:]])
    await client.unready("booking waits")
    status = await client.call("GetStatus", billing_pb2.GetStatusRequest())
    assert (status.poison, status.lag_ms > 0) == (0, True)
    await letters.take()
    await all_booked(client, events, 1)
    await client.close()
    assert billing.stop() == 0


@pytest.mark.parametrize("billing", ["cluster"], indirect=True)
async def test_a_letter_too_large_for_its_topic_holds_nothing_up_and_is_kept_whole(billing):
    """The topic of usage was given a higher limit than that of letters has."""
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    letters = Letters(billing)
    await letters.refuse()
    await letters.take(most=2_000)
    events, large = made(0, 10), b"\xff" * 100_000
    await send(billing.servers[URL], [*events[:5], large, b"\xff small", *events[5:]])
    await all_booked(client, events, 2)
    reply = await client.letters.ListDeadLetters(wire.ListDeadLettersRequest(), timeout=60)
    sizes = []
    for one in reply.letters:
        shown = await client.letters.GetDeadLetter(wire.GetDeadLetterRequest(id=one.id), timeout=60)
        sizes.append(len(shown.value))
    assert sorted(sizes) == [len(b"\xff small"), len(large)]
    await client.close()
    assert billing.stop() == 0


def test_poison_goes_where_some_of_the_events_go():
    """What the first test counts on, and the topic that it is about."""
    place = murmur2(b"key") % PARTITIONS
    places = {murmur2(one.request_id.encode()) % PARTITIONS for one in made(30, 30)}
    assert (TOPIC, places) == ("usage.recorded.v1", {0, 1})
    assert place in places
