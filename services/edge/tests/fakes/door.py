"""What tests of the door share."""

import json
import socket

from services.edge.tests.fakes.inference import FakeStream, chat, eventually

SSE = b"text/event-stream; charset=utf-8"
CHUNK = b'data: {"choices":[]}\n\n'
PIECE = b"x" * 65_536


async def clean(bench):
    """Nothing of a test may stay behind: no open request, no body in memory, no connection."""
    await bench.close_clients()
    await eventually(lambda: not bench.gateway.doors)
    assert not bench.gateway.open
    assert bench.gateway.body_bytes == 0


def error_of(body):
    """Returns the error of a reply, which has exactly OpenAI's fields."""
    found = json.loads(body)
    assert set(found) == {"error"}
    assert set(found["error"]) == {"message", "type", "param", "code", "doc_url"}
    assert found["error"]["message"]
    return found["error"]


async def answered(bench, client, text=b"{}"):
    """Sends nothing; answers the next request at the router and returns the reply."""
    frame = await bench.stream.next()
    bench.stream.reply(frame.id, text)
    return await client.reply()


async def asked(bench, request):
    """Sends a request; returns its client, and the frame that the router was asked with."""
    client = await bench.client()
    client.send(request)
    return client, await bench.stream.next()


async def streaming(bench):
    """Returns the client and the frame's id of a stream that has begun: its caller has one CHUNK."""
    client, frame = await asked(bench, chat(stream=True))
    bench.stream.head(frame.id, SSE)
    bench.stream.data(frame.id, CHUNK)
    return client, frame.id


async def half_answered(bench):
    """Returns the client and the frame's id of a reply that is no stream, half of which has come."""
    client, frame = await asked(bench, chat())
    bench.stream.head(frame.id)
    bench.stream.data(frame.id, b'{"half":')
    return client, frame.id


async def without_its_router(bench, request):
    """Sends a request and loses the router that was asked; returns the client, and a second router's stream."""
    bench.pool.streams.append(spare := FakeStream())
    client, _ = await asked(bench, request)
    bench.stream.lose()
    return client, spare


async def stalled(bench):
    """A stream whose caller reads nothing: returns the client, the frame's id, and the door, which has paused."""
    before = set(bench.gateway.doors)
    client = await bench.client(receive_buffer=4096)
    client.send(chat(stream=True))
    frame = await bench.stream.next()
    bench.stream.head(frame.id, SSE)
    (door,) = set(bench.gateway.doors) - before
    take_little(door)
    while not door.write_paused:
        bench.stream.data(frame.id, PIECE)
    return client, frame.id, door


def take_little(door):
    """Makes the kernel's buffer of what is written small, so that writing is soon paused."""
    door.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
