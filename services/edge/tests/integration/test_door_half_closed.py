"""Callers that send nothing more: one that waits for its answer gets it whole, and one that is gone is noticed."""

import json

import pytest
from services.edge.tests.fakes.door import CHUNK, PIECE, SSE, asked, error_of, half_answered, streaming
from services.edge.tests.fakes.inference import chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds import HoldResult

pytestmark = pytest.mark.integration

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def half_closed(bench, client, count=1):
    """Shuts a client's end for writing, which its door knows of then."""
    client.writer.write_eof()
    await eventually(lambda: sum(door._sends_no_more for door in bench.gateway.doors) == count)


async def noticed(bench):
    """Asserts that the sweep finds that nobody is there."""

    def gone():
        bench.later(0)
        return not bench.gateway.doors

    await eventually(gone)


# Who waits for the answer.


async def test_a_reply_is_answered_whole_and_closes(bench):
    client, frame = await asked(bench, chat())
    await half_closed(bench, client)
    bench.stream.reply(frame.id, b'{"id":1}')
    status, headers, body = await client.reply()
    assert (status, body, headers[b"connection"]) == (200, b'{"id":1}', b"close")
    assert await client.rest() == b""
    assert (bench.stream.cancels, bench.counters.client_gone) == ([], 0)
    assert len(bench.admission.settled) == 1


async def test_a_stream_is_answered_whole_and_closes(bench):
    client, frame_id = await streaming(bench)
    await client.until(CHUNK)
    await half_closed(bench, client)
    for _ in range(100):
        bench.stream.data(frame_id, PIECE)
        await client.until(PIECE)
        bench.later(0)
    bench.stream.end(frame_id)
    assert await client.rest() == b"\r\n0\r\n\r\n"
    assert bench.stream.cancels == []


async def test_half_of_a_reply_is_answered_to_its_end(bench):
    client, frame_id = await half_answered(bench)
    await client.until(b'{"half":')
    await half_closed(bench, client)
    bench.later(0)
    bench.stream.data(frame_id, b"1}")
    bench.stream.end(frame_id)
    assert await client.rest() == b"\r\n2\r\n1}\r\n0\r\n\r\n"


async def test_a_reply_of_the_app_is_answered_whole_and_closes(bench):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(get("/slow"))
    await eventually(lambda: bench.app_calls)
    await half_closed(bench, client)
    bench.app_gate.set()
    status, headers, body = await client.reply()
    assert (status, json.loads(body)["app"], headers[b"connection"]) == (200, "/slow", b"close")
    assert await client.rest() == b""


async def test_all_requests_that_came_whole_are_answered_and_the_last_one_says_that_it_is(bench):
    client, frame = await asked(bench, chat() + get("/one") + chat() + chat()[:-5])
    await half_closed(bench, client)
    bench.stream.reply(frame.id, b"1")
    assert (await client.reply())[2] == b"1"
    assert json.loads((await client.reply())[2])["app"] == "/one"
    frame = await bench.stream.next()
    bench.stream.reply(frame.id, b"2")
    _, headers, body = await client.reply()
    assert (body, headers[b"connection"]) == (b"2", b"close")
    assert await client.rest() == b""
    assert bench.gateway.body_bytes == 0


async def test_a_request_of_the_app_that_is_not_whole_is_not_asked_of_it(bench):
    client, frame = await asked(bench, chat() + b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nhalf")
    bench.stream.reply(frame.id, b"1")
    # Reading stops behind a request that waits, so that the end is seen when it is its turn.
    client.writer.write_eof()
    assert (await client.reply())[2] == b"1"
    assert await client.rest() == b""
    assert bench.app_calls == []


@pytest.mark.parametrize(
    "part", [b"", b"POST /v1/chat/comp", chat()[:-5], b"POST /u HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_where_no_answer_is_due_the_connection_closes(bench, part):
    client = await bench.client()
    client.send(part)
    client.writer.write_eof()
    assert await client.rest() == b""
    await eventually(lambda: not bench.gateway.doors)
    assert bench.app_calls == []


async def test_an_answer_that_is_long_in_coming_is_preceded_by_a_word_once(bench):
    client, frame = await asked(bench, chat())
    await half_closed(bench, client)
    for _ in range(3):
        bench.later(0)
    assert await client.until(b"\r\n\r\n") == CONTINUE
    bench.stream.reply(frame.id, b"{}")
    assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_stream_of_http_1_0_that_has_begun_is_answered_whole(bench):
    client, frame = await asked(bench, chat(version="1.0", stream=True))
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    await client.until(CHUNK)
    await half_closed(bench, client)
    bench.later(0)
    bench.stream.data(frame.id, CHUNK)
    bench.stream.end(frame.id)
    assert await client.rest() == CHUNK
    assert bench.stream.cancels == []


async def test_a_router_that_is_lost_is_told_of(bench):
    client, _ = await streaming(bench)
    await client.until(CHUNK)
    await half_closed(bench, client)
    bench.stream.lose()
    assert error_of((await client.until(b"\n\n")).partition(b"data: ")[2])["code"] == "upstream_cut"


# Who is gone.


async def test_a_caller_that_closed_is_noticed_before_its_reply_begins_and_its_request_cancelled(bench):
    client, frame = await asked(bench, chat())
    await client.hang_up()
    await noticed(bench)
    assert bench.stream.cancels == [(frame.id, wire.CANCEL_REASON_CLIENT_GONE)]
    assert bench.counters.client_gone == 1
    bench.stream.end(frame.id, charge_pico=3)
    assert [charge for _, charge in bench.admission.settled] == [3]


async def test_the_end_of_an_http_1_0_caller_whose_reply_has_not_begun_cancels_its_request_at_once(bench):
    client, frame = await asked(bench, chat(version="1.0"))
    client.writer.write_eof()
    # It knows no word that would tell whether it still reads, and a proxy that speaks it upstream says no more.
    await eventually(lambda: not bench.gateway.doors)
    assert bench.stream.cancels == [(frame.id, wire.CANCEL_REASON_CLIENT_GONE)]
    assert await client.rest() == b""
    bench.stream.end(frame.id, charge_pico=3)
    assert [charge for _, charge in bench.admission.settled] == [3]


async def test_a_caller_that_closed_is_noticed_by_what_is_written_of_its_stream(bench):
    client, frame_id = await streaming(bench)
    await client.until(CHUNK)
    await client.hang_up()
    await eventually(lambda: any(door._sends_no_more for door in bench.gateway.doors))

    def cancelled():
        if not bench.stream.cancels:
            bench.stream.data(frame_id, CHUNK)
        return bench.stream.cancels

    # No sweep is needed where chunks go on coming.
    await eventually(cancelled)
    await eventually(lambda: not bench.gateway.doors)
    bench.stream.end(frame_id)
    assert len(bench.admission.settled) == 1


async def test_a_caller_that_closed_on_a_silent_stream_is_noticed_by_its_keep_alive(bench):
    client, frame_id = await streaming(bench)
    await client.until(CHUNK)
    await client.hang_up()
    await eventually(lambda: any(door._sends_no_more for door in bench.gateway.doors))
    bench.later(20)
    await noticed(bench)
    assert bench.stream.cancels == [(frame_id, wire.CANCEL_REASON_CLIENT_GONE)]


async def test_a_caller_of_the_app_that_closed_is_noticed(bench):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(get("/slow"))
    await eventually(lambda: bench.app_calls)
    await client.hang_up()
    await noticed(bench)
    bench.app_gate.set()


async def test_a_caller_that_closed_before_its_hold_was_placed_has_it_given_back(bench):
    bench.admission.gate = []
    client = await bench.client()
    client.send(chat())
    await eventually(lambda: bench.admission.gate)
    await client.hang_up()
    await noticed(bench)
    (request,) = bench.admission.gate
    request.admitted(HoldResult.DONE)
    assert bench.admission.forgotten == [request.request_id]
    assert bench.stream.opened.empty()
