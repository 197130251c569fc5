"""The door when time runs out: callers that take nothing of their replies."""

import socket

import pytest
from services.edge.tests.fakes.door import SSE, clean
from services.edge.tests.fakes.inference import Bench, chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.integration

PIECE = b"x" * 65_536
MOST_BYTES = 400_000


# A caller that takes nothing.


async def stalled(bench):
    """A stream whose caller reads nothing: returns the client, the frame's id, and the door, which has paused."""
    before = set(bench.gateway.doors)
    client = await bench.client(receive_buffer=4096)
    client.send(chat(stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    (door,) = set(bench.gateway.doors) - before
    door.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while not door.write_paused:
        bench.stream.data(frame.id, PIECE)
    return client, frame.id, door


def measured(bench):
    """Returns (bytes that wait, connections closed for their time, for their memory)."""
    found = bench.gateway.slow_readers
    return found.waiting_bytes, found.closed["timeout"], found.closed["memory"]


async def test_a_caller_that_takes_nothing_for_too_long_is_closed(bench):
    _, frame_id, door = await stalled(bench)
    waiting = door.transport.get_write_buffer_size()
    bench.later(0)
    assert measured(bench) == (waiting, 0, 0)
    bench.later(59)
    assert not bench.stream.cancels
    # What comes from the router meanwhile is none of the caller's doing.
    bench.stream.data(frame_id, PIECE)
    bench.later(59.5)
    bench.later(119)
    await eventually(lambda: bench.stream.cancels == [(frame_id, wire.CANCEL_REASON_CLIENT_GONE)])
    assert measured(bench) == (0, 1, 0)
    assert door not in bench.gateway.doors


async def test_a_caller_that_takes_a_little_now_and_then_is_kept(bench):
    client, frame_id, door = await stalled(bench)
    for minute in range(3):
        before = door.transport.get_write_buffer_size()
        bench.later(minute * 59)
        while door.transport.get_write_buffer_size() >= before:
            assert await client.reader.read(65_536)
    # More waits for one that does not quite keep up, and it is kept too.
    before = door.transport.get_write_buffer_size()
    bench.stream.data(frame_id, PIECE)
    while door.transport.get_write_buffer_size() >= before + len(PIECE):
        assert await client.reader.read(4096)
    assert door.transport.get_write_buffer_size() > before
    bench.later(3 * 59)
    bench.later(4 * 59)
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
    door.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bench.app_padding = 10_000_000
    client.send(get("/api/v1/usage"))
    await eventually(door.transport.get_write_buffer_size)
    bench.later(0)
    bench.later(61)
    await eventually(lambda: door not in bench.gateway.doors)


async def test_above_the_limit_of_memory_callers_that_take_nothing_are_closed():
    async with Bench(max_reply_memory_bytes=MOST_BYTES).serving() as bench:
        doors, waiting = [], 0
        while waiting <= MOST_BYTES:
            assert measured(bench)[1:] == (0, 0)
            doors.append((await stalled(bench))[2])
            waiting = sum(door.transport.get_write_buffer_size() for door in doors)
            bench.later(0)
        await eventually(lambda: len(bench.gateway.doors) == len(doors) - 1)
        assert [reason for _, reason in bench.stream.cancels] == [wire.CANCEL_REASON_CLIENT_GONE]
        assert measured(bench)[0] <= MOST_BYTES
        assert measured(bench)[1:] == (0, 1)
        await clean(bench)
