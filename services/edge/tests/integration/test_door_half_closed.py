"""Callers that send nothing more: whether they closed or shut only their end, they are gone, and nobody pays on."""

import pytest
from services.edge.tests.fakes.door import CHUNK, SSE, asked, half_answered, streaming
from services.edge.tests.fakes.inference import chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds import HoldResult

pytestmark = pytest.mark.integration


async def shuts(client):
    client.writer.write_eof()


async def closes(client):
    await client.close()


leaves = pytest.mark.parametrize("leave", [shuts, closes])


async def gone(bench, frame_id):
    """Asserts that the request is cancelled and charged as its router says, without any look at who is there."""
    await eventually(lambda: not bench.gateway.doors)
    assert bench.stream.cancels == [(frame_id, wire.CANCEL_REASON_CLIENT_GONE)]
    assert bench.counters.client_gone == 1
    bench.stream.end(frame_id, charge_pico=3)
    assert [charge for _, charge in bench.admission.settled] == [3]
    assert bench.gateway.body_bytes == 0


@leaves
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_before_a_reply_begins(bench, version, leave):
    client, frame = await asked(bench, chat(version=version))
    await leave(client)
    await gone(bench, frame.id)


@leaves
async def test_on_a_stream_that_is_silent(bench, leave):
    client, frame_id = await streaming(bench)
    await client.until(CHUNK)
    await leave(client)
    await gone(bench, frame_id)


@leaves
async def test_on_a_stream_of_http_1_0(bench, leave):
    client, frame = await asked(bench, chat(version="1.0", stream=True))
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    await client.until(CHUNK)
    await leave(client)
    await gone(bench, frame.id)


@leaves
async def test_in_half_of_a_reply(bench, leave):
    client, frame_id = await half_answered(bench)
    await client.until(b'{"half":')
    await leave(client)
    await gone(bench, frame_id)


@leaves
async def test_with_requests_behind_the_one_that_is_asked(bench, leave):
    client, frame = await asked(bench, chat() + get("/one") + chat())
    # Reading stops behind a request that waits, and goes on with the reply before it.
    await leave(client)
    bench.stream.reply(frame.id, b"1")
    await eventually(lambda: not bench.gateway.doors)
    assert bench.stream.opened.empty() or bench.stream.cancels
    assert bench.gateway.body_bytes == 0


@leaves
async def test_before_a_hold_is_placed_it_is_given_back(bench, leave):
    bench.admission.gate = []
    client = await bench.client()
    client.send(chat())
    await eventually(lambda: bench.admission.gate)
    await leave(client)
    await eventually(lambda: not bench.gateway.doors)
    (request,) = bench.admission.gate
    request.admitted(HoldResult.DONE)
    assert bench.admission.forgotten == [request.request_id]
    assert bench.stream.opened.empty()


@leaves
async def test_while_a_request_waits_for_a_router(bench, leave):
    bench.pool.streams.clear()
    client = await bench.client()
    client.send(chat())
    await eventually(lambda: bench.gateway.parked == 1)
    await leave(client)
    await eventually(lambda: not bench.gateway.doors)
    assert bench.gateway.parked == 0
    assert len(bench.admission.forgotten) == 1


@leaves
async def test_while_the_app_answers(bench, leave):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(get("/slow"))
    await eventually(lambda: bench.app_calls)
    await leave(client)
    await eventually(lambda: not bench.gateway.doors)
    bench.app_gate.set()


@leaves
@pytest.mark.parametrize(
    "part", [b"", b"POST /v1/chat/comp", chat()[:-5], b"POST /u HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_before_a_request_is_whole(bench, part, leave):
    client = await bench.client()
    client.send(part)
    await eventually(lambda: bench.gateway.doors)
    await leave(client)
    await eventually(lambda: not bench.gateway.doors)
    assert (bench.app_calls, bench.gateway.body_bytes) == ([], 0)
