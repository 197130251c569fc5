"""A process that stops: what is open ends whole, what is new is told to come again, and time runs out in words."""

import asyncio
import json

import pytest
from services.edge.tests.fakes.inference import Bench, chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.integration

SSE = b"text/event-stream; charset=utf-8"
CHUNK = b'data: {"choices":[]}\n\n'
LONG = 60
HEAD_ONLY = chat(extra="Content-Type: application/json\r\nContent-Length: 2\r\n", body=b"")


@pytest.fixture
async def draining():
    """Makes benches whose drain takes as long as it needs, and whose unused connections stay."""
    async with Bench(drain_seconds=LONG, drain_idle_seconds=LONG).serving() as made:
        yield made


async def begun(bench):
    """Returns a client whose stream has begun, and its frame."""
    client = await bench.client()
    client.send(chat(stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    await client.until(CHUNK)
    return client, frame


async def refused(client):
    """Asserts that the next reply tells the client to come again, and that the connection is closed behind it."""
    status, headers, body = await client.reply()
    assert (status, headers[b"retry-after"], headers[b"connection"]) == (503, b"1", b"close")
    assert json.loads(body)["error"]["code"] == "service_unavailable"
    assert await client.rest() == b""


async def ended(draining):
    await asyncio.wait_for(draining, LONG)


async def test_a_stream_ends_whole_and_the_next_request_on_its_connection_is_told_to_come_again(draining):
    client, frame = await begun(draining)
    drain = await draining.drain()
    draining.stream.data(frame.id, b"data: [DONE]\n\n")
    draining.stream.end(frame.id)
    assert b"[DONE]" in await client.rest_of_stream()
    client.send(chat())
    await refused(client)
    await ended(drain)
    assert draining.admission.settled
    assert draining.counters.refused["service_unavailable"] == 1


async def test_new_requests_of_any_kind_are_told_to_come_again(draining):
    inference, other, health = [await draining.client() for _ in range(3)]
    for client in (inference, other, health):
        client.send(get("/healthz"))
        assert (await client.reply())[0] == 200
    drain = await draining.drain()
    inference.send(chat() + chat())
    other.send(get("/v1/models"))
    # A process that drains still says so, and the connection closes after it.
    health.send(get("/readyz"))
    assert (await health.reply())[1][b"connection"] == b"close"
    await refused(inference)
    await refused(other)
    await ended(drain)
    assert draining.app_calls == ["/healthz"] * 3 + ["/readyz"]
    assert draining.stream.opened.empty()


async def test_a_request_that_had_begun_to_arrive_is_served(draining):
    client, unborn = await draining.client(), await draining.client()
    client.send(HEAD_ONLY)
    # Half a head: nobody can tell yet what it asks for.
    unborn.send(b"POST /v1/chat/comple")
    await eventually(lambda: sum(door.busy for door in draining.gateway.doors) == 2)
    drain = await draining.drain()
    client.send(b"{}")
    unborn.send(b"tions HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
    await refused(unborn)
    # Not a chat request, and told so by what would have served it.
    assert (await client.reply())[0] == 400
    assert await client.rest() == b""
    await ended(drain)


async def test_an_answer_that_has_not_begun_says_that_the_connection_closes(draining):
    draining.app_gate.clear()
    inference, app = await draining.client(), await draining.client()
    inference.send(chat())
    frame = await draining.stream.next()
    app.send(get("/v1/models"))
    await eventually(lambda: draining.app_calls)
    drain = await draining.drain()
    draining.stream.reply(frame.id, b"{}")
    draining.app_gate.set()
    for client in (inference, app):
        status, headers, _ = await client.reply()
        assert (status, headers[b"connection"]) == (200, b"close")
        assert await client.rest() == b""
    await ended(drain)


async def test_a_request_behind_a_stream_is_dropped_and_the_stream_is_not(draining):
    client, frame = await begun(draining)
    drain = await draining.drain()
    client.send(chat())
    (door,) = draining.gateway.doors
    await eventually(lambda: door._ending)
    draining.stream.data(frame.id, b"data: [DONE]\n\n")
    draining.stream.end(frame.id)
    assert (await client.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    await ended(drain)


async def test_a_large_request_is_told_to_come_again_before_it_is_whole(draining):
    client = await draining.client()
    client.send(get("/healthz"))
    await client.reply()
    drain = await draining.drain()
    size = 4_000_000
    client.send(chat(extra=f"Content-Type: application/json\r\nContent-Length: {size}\r\n", body=b"x" * (size // 2)))
    status, headers, _ = await client.reply()
    assert (status, headers[b"connection"]) == (503, b"close")
    await client.close()
    await ended(drain)


async def test_unused_connections_close_when_they_have_been_so_for_a_while():
    async with Bench(drain_seconds=LONG, drain_idle_seconds=0.1).serving() as bench:
        unused, new = await bench.client(), await bench.client()
        unused.send(get("/healthz"))
        await unused.reply()
        await ended(await bench.drain())
        assert await unused.rest() == await new.rest() == b""


async def test_when_time_is_up_callers_are_told_and_providers_stopped():
    async with Bench(drain_seconds=0.1).serving() as bench:
        streaming, frame = await begun(bench)
        waiting, arriving = await bench.client(), await bench.client()
        waiting.send(chat())
        open_frame = await bench.stream.next()
        arriving.send(HEAD_ONLY)
        await eventually(lambda: sum(door.busy for door in bench.gateway.doors) == 3)
        drain = await bench.drain()
        tail = await streaming.rest()
        event, done = [line for line in tail.split(b"\n") if line.startswith(b"data: ")]
        assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "service_unavailable"
        assert done == b"data: [DONE]"
        assert tail.endswith(b"\r\n0\r\n\r\n")
        await refused(waiting)
        await refused(arriving)
        await ended(drain)
        reason = wire.CANCEL_REASON_DRAINING
        assert sorted(bench.stream.cancels) == [(frame.id, reason), (open_frame.id, reason)]
        # What the router says of them afterwards is settled as ever.
        for one in (frame, open_frame):
            bench.stream.end(one.id)
        assert len(bench.admission.settled) == 2


async def test_a_refused_caller_who_goes_on_sending_keeps_nobody_from_being_told_when_time_is_up():
    async with Bench(drain_seconds=0.1, drain_idle_seconds=LONG).serving() as bench:
        lingering = [await bench.client() for _ in range(3)]
        for client in lingering:
            client.send(chat(extra="Content-Length: 100000\r\n", body=b"x").replace(b"Authorization", b"X-Nothing"))
            assert (await client.reply())[0] == 401
        waiting = await bench.client()
        waiting.send(chat())
        frame = await bench.stream.next()
        assert sum(door.busy for door in bench.gateway.doors) == 1
        drain = await bench.drain()
        await refused(waiting)
        await ended(drain)
        assert bench.stream.cancels == [(frame.id, wire.CANCEL_REASON_DRAINING)]
        bench.stream.end(frame.id)


async def test_a_request_that_cannot_be_cut_off_keeps_no_other_from_it():
    async with Bench(drain_seconds=0.1).serving() as bench:
        clients = [await bench.client() for _ in range(3)]
        for client in clients:
            client.send(chat())
        frames = [await bench.stream.next() for _ in clients]
        planted, cancel = [RuntimeError("planted")], bench.stream.outbox.cancel

        def fails_once(*arguments):
            if planted:
                raise planted.pop()
            cancel(*arguments)

        bench.stream.outbox.cancel = fails_once
        await ended(await bench.drain())
        assert sum([b"service_unavailable" in await client.rest() for client in clients]) == 3
        assert len(bench.stream.cancels) == 2
        for frame in frames:
            bench.stream.end(frame.id)


async def test_a_request_that_waits_for_admission_gives_back_its_hold_when_time_is_up():
    async with Bench(drain_seconds=0.1).serving() as bench:
        bench.admission.gate = []
        client = await bench.client()
        client.send(chat())
        await eventually(lambda: bench.admission.gate)
        drain = await bench.drain()
        await refused(client)
        await ended(drain)
        (request,) = bench.admission.gate
        request.admitted(bench.admission.result)
        assert bench.admission.forgotten == bench.admission.held


async def test_without_a_time_to_drain_nothing_is_waited_for():
    async with Bench(drain_seconds=0, drain_idle_seconds=LONG).serving() as bench:
        client, _ = await begun(bench)
        unused = await bench.client()
        await eventually(lambda: len(bench.gateway.doors) == 2)
        await ended(await bench.drain())
        assert b'"error"' in await client.rest()
        assert await unused.rest() == b""


async def test_while_a_balancer_is_given_notice_everything_is_served(draining):
    draining.gateway.closing = True
    old = await draining.client()
    old.send(chat())
    draining.stream.reply((await draining.stream.next()).id, b"{}")
    status, headers, _ = await old.reply()
    assert (status, headers[b"connection"]) == (200, b"close")
    new = await draining.client()
    new.send(get("/v1/models"))
    status, headers, _ = await new.reply()
    assert (status, headers[b"connection"]) == (200, b"close")
    await ended(await draining.drain())
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", draining.port)
