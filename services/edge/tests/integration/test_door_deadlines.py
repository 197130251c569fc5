"""The door when time runs out: requests whose router says nothing, and callers that take nothing of their replies."""

import socket
from dataclasses import replace

import pytest
from services.edge.tests.fakes.door import (
    CHUNK,
    PIECE,
    SSE,
    asked,
    clean,
    error_of,
    half_answered,
    stalled,
    streaming,
    take_little,
)
from services.edge.tests.fakes.inference import Bench, FakeStream, chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_holds import LimitSet, Scope

pytestmark = pytest.mark.integration

LIMIT_SECONDS = 30.0
# Past the limit and what a router that is there needs to say so by itself.
LATE_SECONDS = LIMIT_SECONDS + 2
MOST_BYTES = 400_000


@pytest.fixture
async def brief():
    """The door with little time for a request."""
    async with Bench(request_timeout_seconds=LIMIT_SECONDS, silence_seconds=900).serving() as made:
        yield made
        await clean(made)


# A router that says nothing.


async def test_a_request_whose_router_says_nothing_ends_with_504_and_is_settled_when_it_does(brief):
    client, frame = await asked(brief, chat())
    # The router has the same limit, and its answer is the better one.
    brief.no_later(LIMIT_SECONDS)
    assert brief.gateway.open
    brief.later(LATE_SECONDS)
    status, _, body = await client.reply()
    error = error_of(body)
    assert (status, error["code"], error["type"]) == (504, "timeout", "server_error")
    assert brief.stream.cancels == [(frame.id, wire.CANCEL_REASON_DEADLINE)]
    assert not brief.gateway.open
    assert brief.counters.refused["timeout"] == 1
    # What it cost is known when the router speaks again; until then the hold stays.
    assert not brief.admission.settled
    assert not brief.admission.forgotten
    brief.stream.end(frame.id, charge_pico=3)
    assert [charge for _, charge in brief.admission.settled] == [3]
    assert brief.stream.acks == [frame.id]
    # The connection serves the next request.
    client.send(chat())
    frame = await brief.stream.next()
    brief.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


async def test_a_request_that_ran_out_of_time_is_witnessed_when_its_router_is_lost(brief):
    brief.pool.streams.append(FakeStream())
    client, _ = await streaming(brief)
    brief.later(LATE_SECONDS)
    _, _, body = await client.reply()
    events = body.removeprefix(CHUNK).split(b"\n\n")
    assert error_of(events[0].removeprefix(b"data: "))["code"] == "timeout"
    assert events[1:] == [b"data: [DONE]", b""]
    brief.stream.lose()
    # It is over for the caller: nobody is asked again.
    assert brief.pool.streams[1].opened.empty()
    assert [delivered for _, _, delivered in brief.witness.records] == [len(CHUNK)]


async def test_half_a_json_reply_that_ran_out_of_time_ends_with_the_connection(brief):
    client, frame_id = await half_answered(brief)
    await client.until(b'{"half":')
    brief.later(LATE_SECONDS)
    assert await client.rest() == b"\r\n"
    assert brief.stream.cancels == [(frame_id, wire.CANCEL_REASON_DEADLINE)]


@pytest.mark.parametrize("tried", [False, True])
async def test_a_request_that_runs_out_of_time_while_no_router_is_there_gives_back_what_it_holds(brief, tried):
    limits = LimitSet("org_1", (Scope("key", "key_1", slots=1),))
    brief.keys.principal = replace(brief.keys.principal, limits=limits)
    client = await brief.client()
    if not tried:
        brief.pool.streams.clear()
    client.send(chat())
    if tried:
        await brief.stream.next()
        brief.stream.lose()
    await eventually(lambda: brief.gateway.parked == 1)
    (exchange,) = brief.gateway.open
    exchange.run_out()
    assert (await client.reply())[0] == 504
    assert brief.gateway.parked == 0
    # What was asked of a router may cost something, and that is for billing; a try that never began costs nothing.
    assert brief.admission.forgotten == [f"{exchange.request_id}.2" if tried else exchange.request_id]
    assert brief.admission.ended == []


# A request that comes behind another.


async def begins_another(client, door):
    """Sends the beginning of a head, of which the door knows then."""
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nX")
    await eventually(lambda: door._receiving)


async def drips(bench, client, door):
    """Asserts that no byte of a head that comes now and then makes its time longer, and that the time ends."""
    deadline = door.read_deadline
    assert deadline <= bench.gateway.loop.time() + bench.settings.header_timeout_seconds
    for number in range(3):
        client.send(b"-%d: a\r\nX" % number)
        await eventually(lambda number=number: len(door.headers) > number + 1)
    assert door.read_deadline == deadline
    bench.gateway.sweep(deadline - 0.1)
    assert not door.transport.is_closing()
    bench.gateway.sweep(deadline + 0.1)
    status, headers, body = await client.reply()
    assert (status, headers[b"connection"], error_of(body)["code"]) == (408, b"close", "request_timeout")
    assert await client.rest() == b""


@pytest.mark.parametrize("minutes", [0, 5])
async def test_a_head_behind_a_reply_has_its_time_when_the_reply_is_done(bench, minutes):
    client, frame_id = await streaming(bench)
    (door,) = bench.gateway.doors
    await begins_another(client, door)
    # While the reply runs nothing could be answered.
    for minute in range(minutes):
        bench.later(minute * 60)
    assert not door.transport.is_closing()
    bench.stream.end(frame_id)
    await client.rest_of_stream()
    door.read_deadline = min(door.read_deadline, bench.gateway.loop.time() + bench.settings.header_timeout_seconds)
    await drips(bench, client, door)


@pytest.mark.parametrize("minutes", [0, 5])
async def test_a_head_behind_a_reply_of_the_app_has_its_time_when_that_is_done(bench, minutes):
    bench.app_gate.clear()
    client = await bench.client()
    client.send(get("/slow"))
    await eventually(lambda: bench.app_calls)
    (door,) = bench.gateway.doors
    await begins_another(client, door)
    for minute in range(minutes):
        bench.later(minute * 60)
    bench.app_gate.set()
    assert (await client.reply())[0] == 200
    door.read_deadline = min(door.read_deadline, bench.gateway.loop.time() + bench.settings.header_timeout_seconds)
    await drips(bench, client, door)


async def test_a_head_after_a_reply_of_the_app_has_no_more_time_than_any(bench):
    client = await bench.client()
    client.send(get("/one"))
    assert (await client.reply())[0] == 200
    (door,) = bench.gateway.doors
    await begins_another(client, door)
    await drips(bench, client, door)


async def test_a_body_behind_a_reply_goes_on_when_the_reply_is_done(bench):
    client, frame_id = await streaming(bench)
    whole = chat()
    client.send(whole[:-5])
    await eventually(lambda: bench.gateway.body_bytes > len(whole.partition(b"\r\n\r\n")[2]))
    for minute in range(5):
        bench.later(minute * 60)
    bench.stream.end(frame_id)
    await client.rest_of_stream()
    (door,) = bench.gateway.doors
    bench.gateway.sweep(door.read_deadline - 0.1)
    client.send(whole[-5:])
    frame = await bench.stream.next()
    bench.stream.reply(frame.id, b"{}")
    assert (await client.until(b"{}")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("kind", ["inference", "app"])
async def test_blank_lines_between_requests_keep_no_connection(bench, kind):
    client = await bench.client()
    client.send(chat() if kind == "inference" else get("/one"))
    if kind == "inference":
        frame = await bench.stream.next()
        bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    (door,) = bench.gateway.doors
    timer = door.timeout_keep_alive_task
    assert (timer is None) == (kind == "inference")
    client.send(b"\r\n")
    # Answered on the same connection: by then the lines have been read.
    other = await bench.client()
    other.send(get("/two"))
    assert (await other.reply())[0] == 200
    assert door.timeout_keep_alive_task is timer
    assert timer is None or not timer.cancelled()
    if kind == "inference":
        bench.later(61)
        assert await client.rest() == b""
    else:
        await client.close()


async def test_a_connection_whose_request_was_answered_before_it_was_whole_idles_like_any(bench):
    client = await bench.client()
    client.send(b"PUT /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 20\r\n\r\n")
    assert (await client.reply())[0] == 405
    client.send(b"x" * 20)
    (door,) = bench.gateway.doors
    await eventually(lambda: not door._receiving)
    bench.no_later(59)
    assert not door.transport.is_closing()
    bench.later(61)
    assert await client.rest() == b""


# A caller that takes nothing.


def measured(bench):
    """Returns (bytes that wait, connections closed for their time, for their memory)."""
    found = bench.gateway.slow_readers
    return found.waiting_bytes, found.closed["timeout"], found.closed["memory"]


async def test_a_caller_that_takes_nothing_for_too_long_is_closed(bench):
    _, frame_id, door = await stalled(bench)
    waiting = door.transport.get_write_buffer_size()
    bench.later(0)
    assert measured(bench) == (waiting, 0, 0)
    bench.no_later(59)
    assert not bench.stream.cancels
    # What comes from the router meanwhile is none of the caller's doing.
    bench.stream.data(frame_id, PIECE)
    bench.no_later(59.5)
    bench.later(119)
    await eventually(lambda: bench.stream.cancels == [(frame_id, wire.CANCEL_REASON_CLIENT_GONE)])
    assert measured(bench) == (0, 1, 0)
    assert door not in bench.gateway.doors


async def test_a_caller_that_takes_a_little_now_and_then_is_kept(bench):
    client, frame_id, door = await stalled(bench)
    for minute in range(3):
        before = door.transport.get_write_buffer_size()
        bench.no_later(minute * 59)
        while door.transport.get_write_buffer_size() >= before:
            assert await client.reader.read(65_536)
    # More waits for one that does not quite keep up, and it is kept too.
    before = door.transport.get_write_buffer_size()
    bench.stream.data(frame_id, PIECE)
    while door.transport.get_write_buffer_size() >= before + len(PIECE):
        assert await client.reader.read(4096)
    assert door.transport.get_write_buffer_size() > before
    bench.no_later(3 * 59)
    bench.no_later(4 * 59)
    assert door in bench.gateway.doors
    assert not bench.stream.cancels


async def test_a_reply_that_is_over_for_the_router_keeps_no_connection_open(bench):
    _, frame_id, door = await stalled(bench)
    bench.stream.end(frame_id)
    assert not bench.gateway.open
    bench.later(0)
    bench.later(61)
    await eventually(lambda: door not in bench.gateway.doors)


async def test_a_reply_of_the_app_that_nobody_takes_is_closed(bench):
    client = await bench.client(receive_buffer=4096)
    (door,) = bench.gateway.doors
    take_little(door)
    bench.app_padding = 10_000_000
    client.send(get("/api/v1/usage"))
    await eventually(door.transport.get_write_buffer_size)
    bench.later(0)
    bench.later(61)
    await eventually(lambda: door not in bench.gateway.doors)


async def test_above_the_limit_of_memory_callers_that_take_nothing_are_closed():
    async with Bench(max_reply_memory_bytes=MOST_BYTES).serving() as bench:
        doors, waiting = [], 0
        while not measured(bench)[2]:
            assert waiting <= MOST_BYTES
            doors.append((await stalled(bench))[2])
            waiting = sum(door.transport.get_write_buffer_size() for door in doors if not door.transport.is_closing())
            # A look in between: each took something last some seconds ago, and the first one before all others.
            bench.later(len(doors) - 30)
        # The one that took nothing for longest, and no more than it takes to have room again. That is the first,
        # unless the kernel of a busy machine took some more of its bytes late.
        assert measured(bench)[1:] == (0, 1)
        (longest,) = [door for door in doors if door.transport.is_closing()]
        assert longest.taken_at == min(door.taken_at for door in doors) < max(door.taken_at for door in doors)
        await eventually(lambda: longest not in bench.gateway.doors)
        assert bench.gateway.doors == set(doors) - {longest}
        assert [reason for _, reason in bench.stream.cancels] == [wire.CANCEL_REASON_CLIENT_GONE]
        bench.later(0)
        assert measured(bench)[0] <= waiting <= MOST_BYTES
        assert measured(bench)[1:] == (0, 1)
        await clean(bench)


async def test_between_two_looks_no_more_waits_than_the_limit_and_one_write():
    async with Bench(max_reply_memory_bytes=MOST_BYTES).serving() as bench:
        waited = 0
        for number in range(30):
            before = set(bench.gateway.doors)
            client = await bench.client(receive_buffer=4096)
            client.send(chat(stream=True))
            frame = await bench.stream.next()
            bench.stream.head(frame.id, SSE)
            (door,) = set(bench.gateway.doors) - before
            door.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            # A window each, as a router sends it: nobody looks in the meantime.
            for _ in range(4):
                bench.stream.data(frame.id, PIECE)
                open_doors = [door for door in bench.gateway.doors if not door.transport.is_closing()]
                waiting = sum(door.transport.get_write_buffer_size() for door in open_doors)
                assert waiting <= MOST_BYTES + len(PIECE) + 1024, number
                waited = max(waited, waiting)
        # The limit was come near to, and was kept by closing callers, not by chance.
        assert waited > MOST_BYTES // 2
        assert bench.gateway.slow_readers.closed["memory"] > 10
        assert bench.gateway.slow_readers.closed["timeout"] == 0
        await clean(bench)


async def test_callers_who_read_are_not_closed_however_much_they_are_sent():
    async with Bench(max_reply_memory_bytes=MOST_BYTES).serving() as bench:
        client = await bench.client()
        client.send(chat(stream=True))
        frame = await bench.stream.next()
        bench.stream.head(frame.id, SSE)
        for _ in range(40):
            bench.stream.data(frame.id, PIECE)
            await client.until(PIECE)
        bench.stream.end(frame.id)
        await client.rest_of_stream()
        assert sum(bench.gateway.slow_readers.closed.values()) == 0
        await clean(bench)
