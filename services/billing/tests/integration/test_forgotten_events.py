"""The retention of Kafka passes what billing has not booked: operators are told how much of which partition is gone."""

import asyncio
import base64
import json
import time

import httpx
import pytest
from aiokafka import TopicPartition
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.running import TOPIC, BillingProcess, send, servers_of
from tests.servers.kafka import delete_records

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import controls_pb2_grpc
from tollgate_kit.grpc_io import new_channel

pytestmark = pytest.mark.integration

FUNDS = 10**13
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def billing(request, tmp_path, valkey, fresh_kafka):
    valkey.clear()
    more = {
        "TOLLGATE_BILLING_EVENT_LOG_URL": f"{fresh_kafka.url}?partitions=1",
        "TOLLGATE_BILLING_ALERT_SECONDS": "0.5",
        "TOLLGATE_BILLING_NOTIFY_PRIVATE_NETWORK": "true",
    }
    process = BillingProcess(tmp_path, servers_of("cluster", request, tmp_path, valkey) | more)
    yield process
    process.clean()


async def forgotten(billing):
    transport = httpx.AsyncHTTPTransport(uds=billing.admin.removeprefix("unix:"))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing") as admin:
        lines = (await admin.get("/metrics")).text.splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("tollgate_billing_forgotten_events_total ")]
    return float(value)


async def watch(billing, receivers):
    channel = new_channel(billing.socket)
    asked = wire.CreateDestinationRequest(
        destination=wire.Destination(name="hook", kind="webhook", about=["books"]),
        target=receivers.add("hook", "webhook", SECRET),
        secret=SECRET,
    )
    await controls_pb2_grpc.ControlServiceStub(channel).CreateDestination(asked)
    await channel.close()


async def test_events_that_the_log_forgot_are_counted_and_told_and_all_others_are_booked(
    billing, receivers, fresh_kafka
):
    now = time.time_ns() // 1000
    events = [usage_event(f"r{number}", output_tokens=number % 40, at_us=now) for number in range(50)]
    url = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    await watch(billing, receivers)
    await send(url, events[:20])
    await client.booked(20)
    assert await forgotten(billing) == 0
    await client.close()
    assert billing.stop() == 0
    await send(url, events[20:])
    await delete_records(fresh_kafka, TopicPartition(TOPIC, 0), 32)
    billing.start()
    client = billing.client()
    await client.booked(38)
    kept = [*events[:20], *events[32:]]
    assert (await client.total()).charge_pico == sum(event.charge_pico for event in kept)
    assert await forgotten(billing) == 12
    (line,) = [line for line in billing.log().splitlines() if "has forgotten events that are not booked" in line]
    assert f"/{TOPIC}/0 low=20 high=32" in line
    assert "events=12 " in line
    (message,) = await asyncio.to_thread(receivers.messages, "hook", 1, 60)
    (item,) = json.loads(message["text"])["data"]["items"]
    assert (item["kind"], item["numbers"]) == ("forgotten", {"count": 12, "places": [f"{TOPIC}/0: 20 to 31"]})
    # What is committed by now is not told again.
    await client.close()
    assert billing.stop() == 0
    billing.start()
    client = billing.client()
    await client.ready()
    assert await forgotten(billing) == 0
    await client.close()
