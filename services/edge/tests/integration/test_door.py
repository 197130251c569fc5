"""The door on a real port: what clients do to a connection, and what is answered, kept and refused."""

import asyncio
import json
import socket
from dataclasses import replace

import pytest
import uvloop
from services.edge.tests.fakes.door import CHUNK, SSE, answered, clean, error_of
from services.edge.tests.fakes.inference import PRICES, UNPRICED, Bench, chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds import HoldResult
from tollgate_rating import ExchangeRate, PriceBook, PriceTable

pytestmark = pytest.mark.integration


# A reply, whole and as a stream.


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
async def test_a_reply_is_answered_acknowledged_and_settled(bench, path):
    client = await bench.client()
    client.send(chat(path=path))
    status, headers, body = await answered(bench, client, b'{"id":1}')
    assert (status, body, headers[b"content-type"]) == (200, b'{"id":1}', b"application/json")
    request_id = headers[b"x-request-id"].decode()
    assert bench.admission.settled == [(request_id, 7)]
    assert bench.stream.acks == [1]


async def test_a_stream_is_chunked_and_its_pieces_leave_as_they_come(bench):
    client = await bench.client()
    client.send(chat(stream=True) + chat())
    frame = await bench.stream.next()
    assert frame.stream
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    head = await client.until(CHUNK)
    assert b"content-type: text/event-stream" in head
    assert b"transfer-encoding: chunked" in head
    bench.stream.data(frame.id, b"data: [DONE]\n\n")
    bench.stream.end(frame.id)
    assert (await client.until(b"\r\n0\r\n\r\n")).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    # The connection goes on with the next request.
    assert (await answered(bench, client))[0] == 200


def test_small_writes_leave_at_once():
    """On the loop that edge runs on, which sees to it; asyncio's own does not for accepted sockets."""

    async def accepted():
        async with Bench().serving() as bench:
            await bench.client()
            await eventually(lambda: bench.gateway.doors)
            (door,) = bench.gateway.doors
            found = door.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await clean(bench)
            return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(accepted()) == 1


# Several requests on one connection.


async def test_pipelined_requests_are_answered_in_order_one_at_a_time(bench):
    client = await bench.client()
    client.send(chat() + chat() + chat())
    for number in range(3):
        frame = await bench.stream.next()
        assert bench.stream.opened.empty()
        bench.stream.reply(frame.id, b"%d" % number)
        assert (await client.reply())[2] == b"%d" % number


async def test_requests_of_both_kinds_share_a_connection_in_order(bench):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(chat() + get("/one") + chat() + get("/two") + get("/three") + chat())
    frame = await bench.stream.next()
    # The app is not asked while the reply before its own is under way.
    assert bench.app_calls == []
    bench.stream.reply(frame.id, b"first")
    bench.app_gate.set()
    assert (await client.reply())[2] == b"first"
    assert json.loads((await client.reply())[2])["app"] == "/one"
    assert (await answered(bench, client, b"second"))[2] == b"second"
    assert json.loads((await client.reply())[2])["app"] == "/two"
    assert json.loads((await client.reply())[2])["app"] == "/three"
    assert (await answered(bench, client, b"third"))[2] == b"third"
    assert bench.app_calls == ["/one", "/two", "/three"]


async def test_inference_waits_for_an_app_that_is_still_answering(bench):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(get("/slow"))
    await eventually(lambda: bench.app_calls == ["/slow"])
    client.send(chat())
    client.send(get("/next"))
    await asyncio.sleep(0)
    assert bench.stream.opened.empty()
    bench.app_gate.set()
    assert json.loads((await client.reply())[2])["app"] == "/slow"
    assert (await answered(bench, client, b"chat"))[2] == b"chat"
    assert json.loads((await client.reply())[2])["app"] == "/next"


async def test_a_body_of_the_app_after_an_inference_request_arrives_whole(bench):
    client = await bench.client()
    post = b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    client.send(chat() + post + get("/after"))
    assert (await answered(bench, client))[0] == 200
    assert json.loads((await client.reply())[2]) == {"app": "/upload", "size": 200_000}
    assert json.loads((await client.reply())[2])["app"] == "/after"


async def test_a_flood_of_pipelined_requests_ends_the_connection(bench):
    client = await bench.client()
    client.send(chat() * 40)
    await bench.stream.next()
    assert await client.rest() == b""
    await eventually(lambda: bench.stream.cancels == [(1, wire.CANCEL_REASON_CLIENT_GONE)])
    bench.stream.end(1)


# Refusals keep the connection where they can.


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(chat(key="wrong"), 401, "invalid_api_key", id="unknown key"),
        pytest.param(chat(model="no-such"), 404, "model_not_found", id="unknown model"),
        pytest.param(chat(model=UNPRICED), 404, "model_not_priced", id="model without a price"),
        pytest.param(chat(model="dear"), 400, "request_too_dear", id="more than a request may cost"),
        pytest.param(chat(body=b"{"), 400, "invalid_request", id="not JSON"),
        pytest.param(chat(extra="Content-Type: text/plain\r\nContent-Length: 2\r\n", body=b"{}"), 415, None, id="type"),
        pytest.param(get("/v1/chat/completions"), 405, "method_not_allowed", id="GET"),
        pytest.param(
            b"POST /v1/chat/completions?%bkey=a-key HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n" % (b"a=1&" * 60),
            401,
            "invalid_api_key",
            id="a query of many fields",
        ),
    ],
)
async def test_the_connection_is_kept_after_a_refusal(bench, request_bytes, status, code):
    client = await bench.client()
    client.send(request_bytes + chat())
    found, headers, body = await client.reply()
    assert found == status
    assert error_of(body)["code"] == (code or "unsupported_media_type")
    assert headers[b"x-request-id"]
    assert (await answered(bench, client))[0] == 200
    assert len(bench.admission.held) == 1


async def test_what_is_too_dear_in_the_currency_of_its_price_is_refused_in_a_cheaper_one_too(bench):
    """It could not be charged: its usage event says both amounts."""
    yuan = PriceBook(name="public", effective_us=0, currency="CNY", models=PRICES)
    rate = ExchangeRate(base="CNY", quote="USD", rate="0.14", effective_us=0)
    bench.version = replace(bench.version, price_table=PriceTable([yuan], rates=[rate]))
    bench.keys.principal = replace(bench.keys.principal, currency="USD")
    client = await bench.client()
    client.send(chat(model="dear") + chat())
    status, _, body = await client.reply()
    # 8,192 tokens at 3 CNY; 3,440 USD would be no reason.
    assert (status, error_of(body)["code"]) == (400, "request_too_dear")
    assert "may cost 24576." in error_of(body)["message"]
    assert (await answered(bench, client))[0] == 200
    (held,) = bench.admission.held
    assert held


async def test_a_request_without_money_never_reaches_a_router(bench):
    bench.admission.result = HoldResult.INSUFFICIENT
    client = await bench.client()
    client.send(chat())
    status, headers, body = await client.reply()
    assert (status, error_of(body)["code"]) == (429, "insufficient_quota")
    assert headers[b"x-should-retry"] == b"false"
    assert bench.stream.opened.empty()


async def test_a_body_that_is_too_large_is_refused_by_its_announced_length():
    async with Bench(max_body_bytes=1000).serving() as bench:
        client = await bench.client()
        client.send(chat(body=b"x" * 1001) + chat())
        status, _, body = await client.reply()
        assert (status, error_of(body)["code"]) == (413, "payload_too_large")
        # A short one is read and dropped, so that the connection is kept.
        assert (await answered(bench, client))[0] == 200
        await clean(bench)


async def test_a_chunked_body_that_grows_too_large_is_refused_and_the_connection_closed():
    async with Bench(max_body_bytes=1000).serving() as bench:
        client = await bench.client()
        client.send(chat(extra="Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", body=b""))
        client.send(b"200\r\n" + b"x" * 512 + b"\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n")
        status, headers, body = await client.reply()
        assert (status, error_of(body)["code"]) == (413, "payload_too_large")
        assert headers[b"connection"] == b"close"
        assert await client.rest() == b""
        await clean(bench)


async def test_bodies_of_all_connections_together_are_limited():
    async with Bench(max_body_memory_bytes=1000).serving() as bench:
        first = await bench.client()
        first.send(chat(body=b"x" * 900)[:-100])
        await eventually(lambda: bench.gateway.body_bytes == 800)
        second = await bench.client()
        second.send(chat(body=b"x" * 300))
        status, headers, body = await second.reply()
        assert (status, error_of(body)["code"]) == (503, "service_unavailable")
        assert headers[b"retry-after"] == b"1"
        await clean(bench)


# What HTTP allows.


async def test_a_client_that_waits_for_100_continue_gets_it(bench):
    client = await bench.client()
    whole = chat(extra="Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 44\r\n", body=b"")
    client.send(whole)
    assert (await client.reply())[0] == 100
    client.send(b'{"model":"a-model","messages":[{"role":"u"}]}'[:44])
    assert (await client.reply())[0] == 400
    client.send(whole.replace(b"44", b"45"))
    assert (await client.reply())[0] == 100
    client.send(b'{"model":"a-model","messages":[{"role":"u"}]}')
    assert (await answered(bench, client))[0] == 200


async def test_a_client_that_waits_for_100_continue_is_refused_before_its_body():
    async with Bench(max_body_bytes=1000).serving() as bench:
        client = await bench.client()
        extra = "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n"
        client.send(chat(extra=extra, body=b""))
        status, headers, _ = await client.reply()
        assert (status, headers[b"connection"]) == (413, b"close")
        assert await client.rest() == b""
        await clean(bench)


async def test_http_1_0_gets_a_length_and_a_stream_that_ends_with_the_connection(bench):
    client = await bench.client()
    client.send(chat(version="1.0"))
    status, headers, body = await answered(bench, client, b"whole")
    assert (status, body, headers[b"connection"]) == (200, b"whole", b"close")
    assert await client.rest() == b""
    await client.close()

    client = await bench.client()
    client.send(chat(version="1.0", stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    bench.stream.end(frame.id)
    reply = await client.rest()
    assert b"transfer-encoding" not in reply
    assert reply.endswith(b"\r\n\r\n" + CHUNK)


async def test_a_body_in_odd_pieces_is_one_request(bench):
    client = await bench.client()
    for byte in chat():
        client.send(bytes([byte]))
        await client.writer.drain()
    assert (await answered(bench, client))[0] == 200


async def test_a_long_body_follows_its_open_in_pieces_as_far_as_the_router_takes_them(bench):
    text = json.dumps({"model": "a-model", "messages": [{"role": "user", "content": "x" * 600_000}]}).encode()
    client = await bench.client()
    client.send(chat(body=text))
    frame = await bench.stream.next()
    assert frame.body_length == len(text)
    assert len(frame.body) + sum(len(data) for _, data in bench.stream.bodies) <= 256 * 1024
    bench.stream.pending[frame.id].credit(len(text))
    assert frame.body + b"".join(data for _, data in bench.stream.bodies) == text
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


# What HTTP does not allow.


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no request line"),
        pytest.param(b"CONNECT  HTTP/1.1\r\n\r\n", id="no address"),
        pytest.param(chat(extra="Content-Length: 2\r\nContent-Length: 3\r\n", body=b"{}"), id="two lengths"),
        pytest.param(chat(extra="Content-Length: -1\r\n", body=b""), id="negative length"),
        pytest.param(chat(extra="Content-Length: 9999999999999999999999\r\n", body=b""), id="endless length"),
        pytest.param(chat(extra="Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", body=b"{}"), id="both framings"),
        pytest.param(chat(extra="Transfer-Encoding: chunked\r\n", body=b"zz\r\n"), id="no chunk size"),
        pytest.param(chat(extra="Bad Header: x\r\n", body=b"{}"), id="blank in a name"),
    ],
)
async def test_what_is_not_http_is_answered_with_400_in_openai_s_shape_and_closed(bench, request_bytes):
    client = await bench.client()
    client.send(request_bytes)
    status, headers, body = await client.reply()
    assert (status, headers[b"connection"]) == (400, b"close")
    assert error_of(body)["type"] == "invalid_request_error"
    assert await client.rest() == b""
    assert bench.stream.opened.empty()


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(chat(extra="X-Long: " + "x" * 70_000 + "\r\nContent-Length: 2\r\n", body=b"{}"), id="one header"),
        pytest.param(chat(extra="X-A: b\r\n" * 150 + "Content-Length: 2\r\n", body=b"{}"), id="many headers"),
        pytest.param(get("/" + "x" * 70_000), id="address"),
    ],
)
async def test_a_head_that_is_too_large_is_refused_with_431(bench, request_bytes):
    client = await bench.client()
    client.send(request_bytes)
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (431, "headers_too_large")
    assert await client.rest() == b""


async def test_a_body_that_never_ends_is_answered_with_408(bench):
    client = await bench.client()
    client.send(chat()[:-5])
    await eventually(lambda: bench.gateway.body_bytes > 0)
    bench.later(30)
    assert bench.gateway.doors
    bench.later(100)
    status, headers, body = await client.reply()
    assert (status, headers[b"connection"]) == (408, b"close")
    assert error_of(body)["code"] == "request_timeout"
    assert await client.rest() == b""


async def test_a_body_for_the_app_that_never_ends_is_answered_with_408_too(bench):
    client = await bench.client()
    client.send(b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 20\r\n\r\nhalf")
    await eventually(lambda: any(door.cycle is not None for door in bench.gateway.doors))
    bench.later(100)
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (408, "request_timeout")
    assert await client.rest() == b""
    assert bench.app_calls == []


async def test_a_body_for_the_app_whose_framing_breaks_is_answered_with_400_before_the_app_answers(bench):
    client = await bench.client()
    client.send(b"POST /upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (400, "invalid_request")
    assert await client.rest() == b""
    assert bench.app_calls == []


async def test_what_follows_a_request_of_the_app_and_is_not_http_is_not_taken_for_its_reply(bench):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(get("/slow") + b"nonsense\r\n\r\n")
    assert await client.rest() == b""


async def test_trailers_count_as_a_part_of_the_head_and_their_request_is_not_served(bench):
    client = await bench.client()
    extra = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    body = b'{"model":"a-model","messages":[]}'
    chunked = b"%x\r\n%s\r\n0\r\n" % (len(body), body)
    client.send(chat(extra=extra, body=chunked + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n"))
    assert (await client.reply())[0] == 431
    assert await client.rest() == b""
    assert bench.stream.opened.empty()


async def test_a_head_that_never_ends_is_answered_with_408_and_silence_with_nothing(bench):
    client, silent = await bench.client(), await bench.client()
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\n")
    await eventually(lambda: any(getattr(door, "url", b"") for door in bench.gateway.doors))
    bench.later(100)
    assert (await client.reply())[0] == 408
    assert await silent.rest() == b""


async def test_a_reply_that_takes_long_is_not_taken_for_a_slow_request(bench):
    client = await bench.client()
    client.send(chat())
    frame = await bench.stream.next()
    bench.later(500)
    bench.stream.reply(frame.id, b"late")
    assert (await client.reply())[2] == b"late"
