"""A billing process that is killed behind a notice: it is sent again, and the copy has the id of the first."""

import asyncio
import base64
import time

import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.running import BillingProcess, send

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import controls_pb2_grpc
from tollgate_kit.grpc_io import new_channel

pytestmark = pytest.mark.integration

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def billing(tmp_path, valkey):
    valkey.clear()
    process = BillingProcess(
        tmp_path,
        {
            "TOLLGATE_BILLING_DATABASE_URL": f"sqlite:////{tmp_path}/ledger.sqlite",
            "TOLLGATE_BILLING_CLICKHOUSE_DSN": f"chdb:///{tmp_path}/usage",
            "TOLLGATE_BILLING_EVENT_LOG_URL": f"sqlite:///{tmp_path}/events.sqlite",
            "TOLLGATE_BILLING_REDIS_URL": valkey.url,
            "TOLLGATE_BILLING_NOTIFY_PRIVATE_NETWORK": "true",
        },
    )
    yield process
    process.clean()


async def test_a_notice_survives_kill_9_after_it_is_sent(billing, receivers):
    billing.start("after_send")
    client = billing.client()
    await client.grant(10**13)
    channel = new_channel(billing.socket)
    stub = controls_pb2_grpc.ControlServiceStub(channel)
    hook = wire.Destination(name="hook", kind="webhook")
    asked = wire.CreateDestinationRequest(
        destination=hook, target=receivers.add("hook", "webhook", SECRET), secret=SECRET
    )
    await stub.CreateDestination(asked, wait_for_ready=True)
    charge = usage_event("r").charge_pico
    budget = wire.Budget(organization_id="org", name="b", scope="organization", period="total", time_zone="UTC")
    budget.amount_pico, budget.currency = 3 * charge, "USD"
    budget.thresholds.add(percent=100, action="block")
    made = (await stub.CreateBudget(wire.CreateBudgetRequest(budget=budget))).budget
    now = time.time_ns() // 1000
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [usage_event(f"r{n}", at_us=now) for n in range(3)])
    # Killed when the receiver has it and billing has not written that down.
    assert await billing.died() != 0
    assert len(receivers.messages("hook", 1, 140)) == 1
    # The lease of the dead is waited for.
    billing.start()
    messages = await asyncio.to_thread(receivers.messages, "hook", 2, 140)
    assert [(one["problem"], one["copy"]) for one in messages] == [("", False), ("", True)]
    held = (await stub.GetControls(wire.GetControlsRequest(), wait_for_ready=True)).controls
    assert [(one.budget_id, one.action) for one in held] == [(made.id, "block")]
    while True:
        (notice,) = (await stub.ListNotices(wire.ListNoticesRequest(), wait_for_ready=True)).notices
        if notice.state == "sent":
            break
        await asyncio.sleep(0.1)
    assert notice.attempts == 2
    await channel.close()
    await client.close()
