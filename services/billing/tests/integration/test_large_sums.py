"""Sums beyond what int64 holds: booked to the last unit, said where they can be, and refused in words where not."""

import time

import pytest
from grpc import aio
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.running import BillingProcess, send, servers_of

from tollgate.billing.v1 import billing_pb2, dead_letters_pb2, reports_pb2, reports_pb2_grpc
from tollgate_kit.grpc_io import new_channel
from tollgate_rating import INT64_MAX, MAX_CHARGE_PICO

pytestmark = pytest.mark.integration

FUNDS = 9 * 10**18
COUNT = 1_050
# As many tokens as one request can pay for.
TOKENS = MAX_CHARGE_PICO // 10**6


async def refused(work):
    with pytest.raises(aio.AioRpcError) as found:
        await work
    return found.value.details()


def dearest():
    """Returns events that cost together more than int64 holds, each as much as one request may."""
    now = time.time_ns() // 1000
    return [
        usage_event(f"r{place}", at_us=now, input_tokens=TOKENS, output_tokens=0, cost_pico=0) for place in range(COUNT)
    ]


async def test_sums_beyond_int64_are_booked_and_said_or_refused_in_words(request, tmp_path, valkey):
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of("embedded", request, tmp_path, valkey))
    channel = new_channel(billing.socket)
    now = time.time_ns() // 1000
    charge = TOKENS * 10**6
    total = COUNT * charge
    assert total > INT64_MAX
    try:
        billing.start()
        client = billing.client()
        await client.grant(FUNDS)
        await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], dearest())
        await client.booked(COUNT)
        balance = await client.balance()
        assert balance.ledger_pico == balance.wallet_pico == FUNDS - total
        found = await client.call("CompareBooks", billing_pb2.CompareBooksRequest(from_us=now - 3600 * 10**6))
        assert list(found.differences) == []
        asked = reports_pb2.GetStatementRequest(organization_id="org", from_us=1, to_us=1 << 62)
        said = await refused(reports_pb2_grpc.ReportServiceStub(channel).GetStatement(asked, timeout=60))
        assert "9223372.036854775807 USD" in said
        said = await refused(client.stub.QueryUsage(billing_pb2.QueryUsageRequest(), timeout=60))
        assert "9223372.036854775807 USD" in said
        query = billing_pb2.QueryViewRequest(name="spend_by_model", operator=True, limit=10)
        (row,) = (await client.call("QueryView", query)).rows_json
        assert f"{total // 10**12}.{total % 10**12:012d}" in row
        await client.close()
        await channel.close()
    finally:
        billing.clean()


@pytest.mark.parametrize("profile", ["embedded", "cluster"])
async def test_a_batch_beyond_int64_is_booked_as_far_as_it_goes_and_the_rest_can_be_replayed(
    request, tmp_path, valkey, profile
):
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of(profile, request, tmp_path, valkey))
    # One partition, one batch, which closes when it has them all, however slowly they are read.
    billing.servers["TOLLGATE_BILLING_BATCH_MAX_EVENTS"] = str(COUNT + 1)
    billing.servers["TOLLGATE_BILLING_BATCH_AGE_SECONDS"] = "10"
    url = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"].replace("partitions=2", "partitions=1")
    billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"] = url
    charge = TOKENS * 10**6
    fit = INT64_MAX // charge
    try:
        await send(url, [*dearest(), usage_event("small", at_us=time.time_ns() // 1000, organization="org-2")])
        billing.start()
        client = billing.client()
        await client.grant(FUNDS)
        await client.booked(fit)
        status = await client.call("GetStatus", billing_pb2.GetStatusRequest())
        assert (status.rows, status.poison) == (fit, COUNT + 1 - fit)
        balance = await client.balance()
        assert balance.ledger_pico == balance.wallet_pico == FUNDS - fit * charge
        letters = await client.letters.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(limit=1), timeout=60)
        assert letters.letters[0].state == "ready"
        assert "9223372.036854775807" in letters.letters[0].reason
        for _ in range(2):
            asked = dead_letters_pb2.ReplayDeadLettersRequest(all=True)
            await client.letters.ReplayDeadLetters(asked, timeout=60)
        await client.booked(COUNT + 1)
        balance = await client.balance()
        assert balance.ledger_pico == balance.wallet_pico == FUNDS - COUNT * charge
        assert (await client.balance("org-2")).ledger_pico == -usage_event("small").charge_pico
        compared = billing_pb2.CompareBooksRequest(from_us=time.time_ns() // 1000 - 3600 * 10**6)
        assert list((await client.call("CompareBooks", compared)).differences) == []
        await client.close()
    finally:
        billing.clean()
