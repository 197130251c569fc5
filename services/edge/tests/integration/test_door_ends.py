"""The door when a side goes away or falls silent: what is cancelled, tried again, witnessed and given back."""

import asyncio
import json
import tracemalloc

import pytest
from services.edge.tests.fakes.door import (
    CHUNK,
    SSE,
    answered,
    asked,
    error_of,
    half_answered,
    stalled,
    streaming,
    without_its_router,
)
from services.edge.tests.fakes.inference import MODEL, UPSTREAM_CUT, FakeStream, chat, eventually

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds import HoldResult

pytestmark = pytest.mark.integration


# A client that goes away, or reads slowly.


async def test_a_client_that_goes_away_cancels_its_request_which_is_still_settled(bench):
    client, frame_id = await streaming(bench)
    await client.until(CHUNK)
    await client.close()
    await eventually(lambda: bench.stream.cancels == [(frame_id, wire.CANCEL_REASON_CLIENT_GONE)])
    assert not bench.admission.settled
    bench.stream.end(frame_id, charge_pico=3)
    assert [charge for _, charge in bench.admission.settled] == [3]
    assert bench.stream.acks == [frame_id]
    assert bench.counters.client_gone == 1


async def test_a_client_that_goes_away_before_its_hold_is_placed_gets_it_back(bench):
    bench.admission.gate = []
    client = await bench.client()
    client.send(chat())
    await eventually(lambda: bench.admission.gate)
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    (request,) = bench.admission.gate
    request.admitted(HoldResult.DONE)
    assert bench.admission.forgotten == [request.request_id]
    assert bench.stream.opened.empty()


async def test_of_the_requests_of_a_client_that_goes_away_one_that_fails_keeps_no_other_from_its_end(bench):
    def cancel(*_):
        raise RuntimeError("planted")

    client, frame = await asked(bench, chat() + chat())
    (door,) = bench.gateway.doors
    await eventually(lambda: len(door.pipeline) == 1)
    bench.stream.outbox.cancel = cancel
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    assert bench.counters.client_gone == 2
    assert door not in bench.server._server.server_state.connections
    bench.stream.end(frame.id)
    assert len(bench.admission.settled) == 1


async def test_a_client_that_goes_away_within_its_body_costs_nothing(bench):
    client = await bench.client()
    client.send(chat()[:-5])
    await eventually(lambda: bench.gateway.body_bytes > 0)
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    assert not bench.admission.held


async def test_a_client_that_reads_slowly_holds_the_router_back_until_it_reads_on(bench):
    client, frame_id, door = await stalled(bench)
    sent = bench.stream.sent_bytes
    granted = sum(size for _, size in bench.stream.credits)
    assert granted < sent
    # A silent stream gets no comment either: nothing would read it.
    before = door.transport.get_write_buffer_size()
    bench.later(60)
    assert door.transport.get_write_buffer_size() == before
    while sum(size for _, size in bench.stream.credits) < sent:
        async with asyncio.timeout(60):
            await client.reader.read(65_536)
    bench.stream.end(frame_id)
    assert (await client.rest_of_stream()).endswith(b"0\r\n\r\n")


# A router that vanishes.


async def test_a_request_whose_router_vanishes_before_a_byte_is_tried_once_more(bench):
    client, spare = await without_its_router(bench, chat())
    frame = await spare.next()
    assert getattr(frame, "try") == 2
    spare.reply(frame.id, b"again")
    assert (await client.reply())[2] == b"again"
    assert [(tries, delivered) for _, tries, delivered in bench.witness.records] == [(1, 0)]


async def test_a_request_whose_second_router_vanishes_too_fails(bench):
    client, spare = await without_its_router(bench, chat())
    await spare.next()
    spare.lose()
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (502, "upstream_cut")
    assert [tries for _, tries, _ in bench.witness.records] == [1, 2]


async def test_a_second_try_holds_as_much_for_itself_and_settles_that(bench):
    client, spare = await without_its_router(bench, chat())
    frame = await spare.next()
    second = f"{frame.request_id}.2"
    assert bench.admission.held == [frame.request_id, second]
    assert bench.admission.amounts == [frame.hold_pico] * 2
    spare.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    assert (bench.admission.settled, bench.admission.forgotten) == ([(second, 7)], [])


@pytest.mark.parametrize(
    ("result", "told"),
    [(HoldResult.INSUFFICIENT, (429, "insufficient_quota")), (None, (503, "service_unavailable"))],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_second_try_that_may_not_hold_ends_with_an_error(bench, result, told, stream):
    bench.admission.results = [HoldResult.DONE, result]
    client, spare = await without_its_router(bench, chat(stream=stream))
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == told
    assert spare.opened.empty()
    assert bench.admission.settled == []
    assert not bench.gateway.open


async def test_a_second_try_that_may_not_hold_ends_a_stream_that_was_kept_alive(bench):
    bench.pool.streams.append(FakeStream())
    client, _ = await asked(bench, chat(stream=True))
    bench.later(20)
    await client.until(b": keep-alive")
    bench.admission.results = [HoldResult.INSUFFICIENT]
    bench.stream.lose()
    assert b'"insufficient_quota"' in await client.rest_of_stream()


async def test_a_client_that_leaves_before_the_second_hold_is_placed_gets_it_back(bench):
    bench.pool.streams.append(bench.spare)
    client, frame = await asked(bench, chat())
    bench.admission.gate = []
    bench.stream.lose()
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    (request,) = bench.admission.gate
    request.admitted(HoldResult.DONE)
    assert bench.admission.forgotten == [f"{frame.request_id}.2"]
    assert bench.spare.opened.empty()


# A router that writes no event.


async def test_a_request_without_an_event_and_an_answer_gets_its_hold_back(bench):
    client, frame = await asked(bench, chat())
    bench.stream.end(frame.id, error=errors.ERROR_KIND_UNAVAILABLE, unrecorded=True)
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (503, "service_unavailable")
    assert bench.admission.forgotten == [frame.request_id]
    assert (bench.admission.settled, bench.witness.records) == ([], [])
    (row,) = await bench.refused_rows()
    assert (row.request_id, row.status) == (frame.request_id, 503)


async def test_what_was_delivered_without_an_event_is_witnessed(bench):
    client, frame_id = await streaming(bench)
    bench.stream.end(frame_id, error=errors.ERROR_KIND_INTERNAL, unrecorded=True)
    await client.rest_of_stream()
    assert [(tries, delivered) for _, tries, delivered in bench.witness.records] == [(1, len(CHUNK))]
    assert (bench.admission.settled, bench.admission.forgotten) == ([], [])
    assert await bench.refused_rows() == []


async def test_a_second_try_without_an_event_gets_its_own_hold_back(bench):
    client, spare = await without_its_router(bench, chat())
    frame = await spare.next()
    spare.end(frame.id, error=errors.ERROR_KIND_UNAVAILABLE, unrecorded=True)
    assert (await client.reply())[0] == 503
    assert [tries for _, tries, _ in bench.witness.records] == [1]
    assert (bench.admission.settled, bench.admission.forgotten) == ([], [f"{frame.request_id}.2"])


def speech():
    body = json.dumps({"model": "speaks", "input": "x", "voice": "v"}).encode()
    return chat(path="/v1/audio/speech", body=body)


def form(path):
    """Returns a request for the text of a file."""
    parts = (b'name="model"\r\n\r\nhears', b'name="file"; filename="a.wav"\r\n\r\nsound')
    body = b"".join(b"--b\r\ncontent-disposition: form-data; %b\r\n" % part for part in parts) + b"--b--\r\n"
    kind = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n"
    return chat(path=path, body=body, extra=kind)


def response(**fields):
    return chat(path="/v1/responses", body=json.dumps({"model": MODEL, "input": "hi", **fields}).encode())


@pytest.mark.parametrize(
    "request_bytes",
    [
        speech(),
        form("/v1/audio/transcriptions"),
        form("/v1/audio/translations"),
        response(),
        response(store=None),
        response(store=True),
        response(store=True, stream=True),
    ],
)
async def test_what_may_be_paid_for_or_stored_twice_is_not_asked_of_a_second_router(bench, request_bytes):
    client, spare = await without_its_router(bench, request_bytes)
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (502, "provider_outcome_unknown")
    assert "twice" in error_of(body)["message"]
    assert spare.opened.empty()
    assert [(tries, delivered) for _, tries, delivered in bench.witness.records] == [(1, 0)]


def embeddings():
    return chat(path="/v1/embeddings", body=b'{"model":"vectors","input":"x"}')


def rerank():
    return chat(path="/v1/rerank", body=b'{"model":"ranks","query":"x","documents":["y"]}')


@pytest.mark.parametrize("request_bytes", [embeddings(), rerank(), response(store=False)])
async def test_what_harms_nobody_is_asked_of_a_second_router(bench, request_bytes):
    client, spare = await without_its_router(bench, request_bytes)
    frame = await spare.next()
    spare.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


async def test_a_stream_whose_router_vanishes_after_a_byte_ends_with_an_error_and_is_witnessed(bench):
    bench.pool.streams.append(FakeStream())
    client, _ = await streaming(bench)
    bench.stream.lose()
    _, _, body = await client.reply()
    parts = body.split(b"\n\n")
    assert parts[0] + b"\n\n" == CHUNK
    assert error_of(parts[1].removeprefix(b"data: "))["code"] == "upstream_cut"
    assert parts[2:] == [b"data: [DONE]", b""]
    assert [delivered for _, _, delivered in bench.witness.records] == [len(CHUNK)]


async def test_a_body_whose_caller_left_is_not_kept_for_a_router_that_says_nothing(bench):
    size = 8 * 2**20
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x" * size}]}).encode()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        client, frame = await asked(bench, chat(body=body))
        assert tracemalloc.get_traced_memory()[0] - before > size
        await client.close()
        await eventually(lambda: bench.stream.cancels)
        # Still there: what waits for its End, and the parts of the body that went to the router.
        assert tracemalloc.get_traced_memory()[0] - before < size / 4
    finally:
        tracemalloc.stop()
    sent = len(bench.stream.bodies)
    bench.stream.pending[frame.id].credit(size)
    assert len(bench.stream.bodies) == sent
    bench.stream.end(frame.id)
    assert [line["request_bytes"] for line in bench.access_lines()] == [frame.body_length]
    assert frame.body_length > size


async def test_half_a_json_reply_whose_router_vanishes_ends_with_the_connection(bench):
    client, _ = await half_answered(bench)
    bench.stream.lose()
    found = await client.rest()
    assert b'{"half":' in found
    assert not found.endswith(b"0\r\n\r\n")


async def test_a_request_waits_for_a_router_to_come_back_but_not_for_ever(bench):
    bench.pool.streams.clear()
    client, late = await bench.client(), await bench.client()
    client.send(chat())
    await eventually(lambda: len(bench.gateway.open) == 1)
    bench.pool.streams.append(bench.stream)
    bench.gateway._router_ready()
    assert (await answered(bench, client))[0] == 200
    bench.pool.streams.clear()
    late.send(chat())
    await eventually(lambda: len(bench.gateway.open) == 1)
    bench.later(60)
    status, headers, body = await late.reply()
    assert (status, error_of(body)["code"]) == (503, "service_unavailable")
    assert bench.admission.forgotten == [headers[b"x-request-id"].decode()]


async def test_a_second_try_waits_for_a_router_as_long_as_a_first_however_old_its_request_is(bench):
    client, _ = await asked(bench, chat())
    (exchange,) = bench.gateway.open
    exchange.started -= 60
    bench.stream.lose()
    await eventually(lambda: bench.gateway.parked == 1)
    bench.later(2)
    bench.pool.streams.append(bench.spare)
    bench.gateway._router_ready()
    frame = await bench.spare.next()
    assert getattr(frame, "try") == 2
    bench.spare.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


async def test_a_second_try_waits_for_a_router_no_longer_than_a_first(bench):
    client, _ = await asked(bench, chat())
    bench.stream.lose()
    await eventually(lambda: bench.gateway.parked == 1)
    bench.later(bench.settings.router_wait_seconds + 1)
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (503, "service_unavailable")
    assert bench.gateway.parked == 0


async def test_a_client_that_leaves_while_no_router_is_there_gets_its_hold_back(bench):
    bench.pool.streams.clear()
    client = await bench.client()
    client.send(chat())
    await eventually(lambda: len(bench.gateway.open) == 1)
    await client.close()
    await eventually(lambda: len(bench.admission.forgotten) == 1)


# An error from the router, and silence.


async def test_an_error_before_a_byte_has_its_own_status_and_one_after_ends_the_stream(bench):
    client, frame = await asked(bench, chat(stream=True))
    bench.stream.end(frame.id, error=UPSTREAM_CUT)
    status, headers, body = await client.reply()
    assert (status, headers[b"content-type"]) == (502, b"application/json")
    assert error_of(body)["code"] == "upstream_cut"
    client.send(chat(stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    bench.stream.end(frame.id, error=UPSTREAM_CUT)
    status, _, body = await client.reply()
    assert status == 200
    assert error_of(body.split(b"\n\n")[1].removeprefix(b"data: "))["code"] == "upstream_cut"


async def test_a_silent_stream_gets_its_headers_and_comments_and_keeps_its_hold(bench):
    client, frame = await asked(bench, chat(stream=True))
    bench.later(5)
    assert not bench.admission.renewed
    bench.later(20)
    head = await client.until(b": keep-alive\n\n\r\n")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    bench.later(200)
    assert await client.until(b"\r\n: keep-alive\n\n\r\n") == b"e\r\n: keep-alive\n\n\r\n"
    assert len(bench.admission.renewed) == 1
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    bench.stream.end(frame.id)
    assert await client.until(b"0\r\n\r\n") == b"%x\r\n%s\r\n0\r\n\r\n" % (len(CHUNK), CHUNK)


async def test_data_that_comes_after_a_keep_alive_is_the_first_that_is_timed(bench):
    client, frame = await asked(bench, chat(stream=True))
    bench.later(20)
    await client.until(b": keep-alive\n\n\r\n")
    (exchange,) = bench.gateway.open
    assert exchange.first_write == 0.0
    for _ in range(2):
        bench.stream.data(frame.id, CHUNK)
        assert 0.0 < exchange.first_write <= exchange.last_write
    assert exchange.bytes_out == 2 * len(CHUNK)
    bench.stream.end(frame.id)
    await client.until(b"0\r\n\r\n")


async def test_a_frame_of_no_bytes_does_not_end_a_stream(bench):
    client, frame_id = await streaming(bench)
    bench.stream.data(frame_id, b"")
    bench.stream.data(frame_id, CHUNK)
    bench.stream.end(frame_id)
    assert (await client.until(b"0\r\n\r\n")).endswith(
        b"\r\n" + b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK) * 2 + b"0\r\n\r\n"
    )


async def test_an_error_after_a_keep_alive_ends_the_stream_as_an_event(bench):
    client, frame = await asked(bench, chat(stream=True))
    bench.later(20)
    bench.stream.end(frame.id, error=UPSTREAM_CUT)
    status, _, body = await client.reply()
    assert status == 200
    parts = body.split(b"\n\n")
    assert parts[0] == b": keep-alive"
    assert error_of(parts[1].removeprefix(b"data: "))["code"] == "upstream_cut"


async def test_a_reply_that_is_no_stream_gets_no_comment(bench):
    client, frame = await asked(bench, chat())
    bench.later(200)
    assert len(bench.admission.renewed) == 1
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[2] == b"{}"
