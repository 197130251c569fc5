"""What the request log is told of requests that are refused, and that it is told nothing of others."""

import json

import pytest
from services.edge.tests.fakes.inference import KEY, MODEL, UNPRICED, Bench, chat, eventually

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.principal import Principal
from tollgate_edge.ports import Refused
from tollgate_holds import HoldResult

pytestmark = pytest.mark.integration
SECRET = "what the caller wants to know"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": SECRET}]}).encode()
CALLER = ("org_1", "prj_1", "key_1")
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
async def bench():
    async with Bench().serving() as made:
        yield made


async def only(bench):
    """Returns the only row; nothing secret is in it."""
    (row,) = await bench.refused_rows()
    assert SECRET not in str(row)
    assert KEY not in str(row)
    return row


def caller(row):
    return row.organization_id, row.project_id, row.api_key_id


async def test_money_that_is_gone(bench):
    bench.admission.result = HoldResult.INSUFFICIENT
    client = await bench.client()
    client.send(
        chat(
            body=BODY,
            extra=f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n",
        )
    )
    status, headers, body = await client.reply()
    row = await only(bench)
    assert (row.status, row.code) == (status, "insufficient_quota") == (429, "insufficient_quota")
    assert row.message == json.loads(body)["error"]["message"]
    assert row.request_id == headers[b"x-request-id"].decode()
    assert caller(row) == CALLER
    assert (row.route, row.operation, row.model) == ("/v1/chat/completions", "chat", MODEL)
    assert (row.trace_id, row.request_bytes, row.left_out) == (TRACE, len(BODY), 0)
    assert row.refused_at_us > 0


@pytest.mark.parametrize(
    ("sent", "status", "code", "known"),
    [
        (chat(key="sk-not-a-key", body=BODY), 401, "invalid_api_key", False),
        (chat(model="no-such-model"), 404, "model_not_found", True),
        (chat(model=UNPRICED), 404, "model_not_priced", True),
        (chat(body=b"[]"), 400, "invalid_request", True),
        (chat(extra="Content-Length: 99999999999\r\n"), 413, "payload_too_large", False),
        (b"\x00\r\n\r\n", 400, "invalid_request", False),
    ],
)
async def test_each_refusal_is_a_row_that_says_what_the_caller_was_told(bench, sent, status, code, known):
    client = await bench.client()
    client.send(sent)
    assert (await client.reply())[0] == status
    row = await only(bench)
    assert (row.status, row.code) == (status, code)
    assert caller(row) == (CALLER if known else ("", "", ""))
    assert "sk-not-a-key" not in str(row)


async def test_a_key_that_was_revoked_is_named_by_its_id(bench):
    revoked = Refused("The API key was revoked.", principal=Principal("key_9", "org_9", "prj_9"))
    bench.keys.refused = revoked
    client = await bench.client()
    client.send(chat(key="sk-revoked", body=BODY))
    assert (await client.reply())[0] == 401
    row = await only(bench)
    assert caller(row) == ("org_9", "prj_9", "key_9")
    assert row.model == ""


async def test_a_caller_who_leaves_before_a_router_has_it(bench):
    bench.admission.gate = []
    client = await bench.client()
    client.send(chat(body=BODY))
    await eventually(lambda: bench.admission.gate)
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    row = await only(bench)
    assert (row.status, row.code) == (499, "client_closed_request")


async def test_what_a_router_had_is_no_refusal(bench):
    client = await bench.client()
    for _ in range(2):
        client.send(chat(body=BODY))
        frame = await bench.stream.next()
        bench.stream.reply(frame.id, b"{}")
        assert (await client.reply())[0] == 200
    client.send(chat(body=BODY))
    frame = await bench.stream.next()
    bench.stream.end(frame.id, error=errors.ERROR_KIND_UPSTREAM_UNAVAILABLE)
    assert (await client.reply())[0] == 502
    assert await bench.refused_rows() == []


async def test_a_log_that_is_away_costs_nobody_anything(bench):
    bench.event_log.away = True
    client = await bench.client()
    for _ in range(3):
        client.send(chat(key="sk-not-a-key", body=BODY))
        assert (await client.reply())[0] == 401
        await bench.gateway.refused_log.flush()
    assert bench.gateway.refused_log.failures == 3
    bench.event_log.away = False
    assert len(await bench.refused_rows()) == 3


async def test_it_can_be_switched_off():
    async with Bench(request_log_rows_per_second=0).serving() as bench:
        client = await bench.client()
        client.send(chat(key="sk-not-a-key", body=BODY))
        assert (await client.reply())[0] == 401
        assert await bench.refused_rows() == []
        assert bench.gateway.refused_log.dropped == 0
