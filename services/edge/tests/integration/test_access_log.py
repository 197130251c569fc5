"""The line of each request: one, whatever became of it, with nothing in it that is nobody's business."""

import json

import pytest
from services.edge.tests.fakes.inference import KEY, MODEL, UPSTREAM_CUT, Bench, chat, eventually, get

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds import HoldResult

pytestmark = pytest.mark.integration

SSE = b"text/event-stream; charset=utf-8"
SECRET = "what the caller wants to know"
BODY = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": SECRET}]}).encode()
CALLER = {"organization_id": "org_1", "project_id": "prj_1", "api_key_id": "key_1"}
NOBODY = dict.fromkeys(CALLER, "")


@pytest.fixture
async def bench():
    async with Bench(access_log="on").serving() as made:
        yield made


async def line(bench):
    """Returns the only line."""
    await eventually(bench.access_lines)
    (found,) = bench.access_lines()
    assert SECRET not in json.dumps(found)
    assert KEY not in json.dumps(found)
    return found


def has(found, **expected):
    assert {name: found[name] for name in expected} == expected


def end(bench, frame_id, outcome=wire.OUTCOME_OK, **more):
    """Ends a request as a router does."""
    message = wire.End(id=frame_id, outcome=outcome, charge_pico=7, channel="main", attempts=2, **more)
    bench.stream.pending[frame_id].deliver(None, b"", message)


async def test_a_whole_answer(bench):
    client = await bench.client()
    client.send(chat(body=BODY))
    frame = await bench.stream.next()
    bench.stream.head(frame.id)
    bench.stream.data(frame.id, b'{"id":1}')
    end(bench, frame.id)
    _, headers, _ = await client.reply()
    found = await line(bench)
    has(
        found,
        **CALLER,
        type="access",
        request_id=headers[b"x-request-id"].decode(),
        operation="chat",
        model=MODEL,
        stream=False,
        channel="main",
        tries=1,
        attempts=2,
        status=200,
        outcome="ok",
        error="",
        request_bytes=len(BODY),
        response_bytes=8,
        charge_pico=7,
        dropped=0,
    )
    assert found["trace_id"] == frame.traceparent.split("-")[1]
    assert 0 <= found["queue_ms"] <= found["first_byte_ms"] <= found["total_ms"]
    assert found["ts"].endswith("+00:00")


async def test_a_stream_that_breaks_off(bench):
    client = await bench.client()
    client.send(chat(stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, b"data: {}\n\n")
    problem = wire.End().error
    problem.kind = UPSTREAM_CUT
    end(bench, frame.id, wire.OUTCOME_UPSTREAM_CUT, error=problem)
    await client.rest_of_stream()
    found = await line(bench)
    has(found, stream=True, status=200, outcome="upstream_cut", error="upstream_cut", channel="main", charge_pico=7)
    assert found["response_bytes"] > 10


async def test_what_is_refused_before_anybody_is_known(bench):
    client = await bench.client()
    client.send(chat(key="sk-not-a-key", body=BODY))
    assert (await client.reply())[0] == 401
    found = await line(bench)
    has(found, **NOBODY, status=401, outcome="refused", error="invalid_api_key", model="", tries=0, charge_pico=0)
    assert found["queue_ms"] is found["first_byte_ms"] is None
    assert "sk-not-a-key" not in json.dumps(found)


async def test_a_key_in_the_address_is_not_written(bench, caplog):
    caplog.set_level("DEBUG")
    client = await bench.client()
    request = chat(path=f"/v1/chat/completions?key={KEY}&other=thing", body=b"[]").replace(b"Authorization", b"X-Other")
    client.send(request)
    assert (await client.reply())[0] == 400
    found = await line(bench)
    # Known by its key, refused for its body.
    has(found, **CALLER, status=400, error="invalid_request")
    assert "?" not in json.dumps(found)
    assert KEY not in caplog.text


async def test_a_model_that_nobody_serves_is_written_as_it_was_asked_for(bench):
    client = await bench.client()
    client.send(chat(model='no "such" model'))
    assert (await client.reply())[0] == 404
    has(await line(bench), **CALLER, model='no "such" model', status=404, error="model_not_found")


async def test_what_money_refuses(bench):
    bench.admission.result = HoldResult.INSUFFICIENT
    client = await bench.client()
    client.send(chat(body=BODY))
    await client.reply()
    has(await line(bench), **CALLER, status=429, outcome="refused", error="insufficient_quota", model=MODEL)


async def test_what_is_too_large_or_no_request_at_all(bench):
    for request, status in (
        (chat(extra="Content-Type: application/json\r\nContent-Length: 99999999\r\n", body=b""), 413),
        (b"nonsense\r\n\r\n", 400),
        (get("/v1/chat/completions"), 405),
    ):
        client = await bench.client()
        client.send(request)
        assert (await client.reply())[0] == status
    found = bench.access_lines()
    assert [(one["status"], one["outcome"]) for one in found] == [(413, "refused"), (400, "refused"), (405, "refused")]
    assert len({one["request_id"] for one in found}) == 3


async def test_a_caller_that_leaves_is_written_when_the_router_has_said_what_it_costs(bench):
    client = await bench.client()
    client.send(chat(body=BODY))
    frame = await bench.stream.next()
    await client.close()
    await eventually(lambda: bench.stream.cancels)
    assert bench.access_lines() == []
    end(bench, frame.id, wire.OUTCOME_CANCELLED)
    has(await line(bench), status=499, outcome="cancelled", charge_pico=7, channel="main", error="")


async def test_a_caller_that_leaves_before_it_is_admitted(bench):
    bench.admission.gate = []
    client = await bench.client()
    client.send(chat(body=BODY))
    await eventually(lambda: bench.admission.gate)
    await client.close()
    has(await line(bench), **CALLER, status=499, outcome="cancelled", tries=0, charge_pico=0)
    bench.admission.gate[0].admitted(HoldResult.DONE)
    assert len(bench.access_lines()) == 1


async def test_a_request_that_is_tried_again_is_one_line(bench):
    bench.pool.streams.append(bench.spare)
    client = await bench.client()
    client.send(chat(body=BODY))
    await bench.stream.next()
    bench.stream.lose()
    frame = await bench.spare.next()
    bench.spare.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    has(await line(bench), tries=2, status=200, outcome="ok", response_bytes=2)


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_router_that_vanishes(bench, leaves):
    client = await bench.client()
    client.send(chat(stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, b"data: {}\n\n")
    await client.until(b"{}")
    if leaves:
        await client.close()
        await eventually(lambda: bench.stream.cancels)
    bench.stream.lose()
    has(
        await line(bench),
        status=200,
        outcome="router_lost",
        error="" if leaves else "upstream_cut",
        # Billing decides between what the witness and the router say.
        charge_pico=None,
    )


async def test_errors_are_written_when_nothing_else_is():
    async with Bench().serving() as bench:
        client = await bench.client()
        client.send(chat())
        bench.stream.reply((await bench.stream.next()).id, b"{}")
        assert (await client.reply())[0] == 200
        assert bench.access_lines() == []
        client.send(chat())
        bench.stream.end((await bench.stream.next()).id, error=errors.ERROR_KIND_UPSTREAM_TIMEOUT)
        assert (await client.reply())[0] == 504
        has(await line(bench), status=504, outcome="upstream_error", error="upstream_timeout")


async def test_lines_leave_by_themselves_and_whole(bench):
    client = await bench.client()
    for _ in range(3):
        client.send(chat())
        bench.stream.reply((await bench.stream.next()).id, b"{}")
        await client.reply()
    await eventually(lambda: b"".join(bench.written).count(b"\n") == 3)
    assert all(piece.endswith(b"}\n") for piece in bench.written)
