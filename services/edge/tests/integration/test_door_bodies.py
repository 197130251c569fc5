"""Bodies on their way in: in whatever pieces they come, they take the memory that is counted for them."""

import json
import tracemalloc

import pytest
from services.edge.tests.fakes.inference import MODEL, chat, eventually

pytestmark = pytest.mark.integration

CHUNKS = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
BOUNDARY = b"--b\r\ncontent-disposition: form-data; %b\r\n"


def said(text):
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}]}).encode()


def chunked(body, size):
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.mark.parametrize("first", [0, 200_000])
async def test_chunks_of_two_bytes_take_no_more_memory_than_they_are_counted_as(bench, first):
    """Also behind one that is large."""
    body = said("y" * (first + 300_000))
    client = await bench.client()
    sent = chunked(body[:first], first or 1) + chunked(body[first:], 2)
    client.send(chat(extra=CHUNKS, body=b""))
    await eventually(lambda: any(door._reading for door in bench.gateway.doors))
    tracemalloc.start()
    try:
        for at in range(0, len(sent), 50_000):
            client.send(sent[at : at + 50_000])
            await client.writer.drain()
        await eventually(lambda: bench.gateway.body_bytes == len(body))
        held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/tollgate_edge/*")])
    finally:
        tracemalloc.stop()
    assert len(body) < sum(one.size for one in held.statistics("filename")) < 1.5 * len(body)
    client.send(b"0\r\n\r\n")
    frame = await bench.stream.next()
    assert frame.body_length == len(body)
    bench.stream.pending[frame.id].credit(len(body))
    assert frame.body + b"".join(data for _, data in bench.stream.bodies) == body
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


@pytest.mark.parametrize("size", [2, 700, 5000])
async def test_a_form_arrives_as_it_was_sent_whatever_it_is_cut_into(bench, size):
    parts = (b'name="model"\r\n\r\nhears', b'name="file"; filename="a.wav"\r\n\r\n' + b"\0\1\2" * 20_000)
    body = b"".join(BOUNDARY % part for part in parts) + b"--b--\r\n"
    kind = "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n"
    client = await bench.client()
    client.send(chat(path="/v1/audio/transcriptions", extra=kind, body=chunked(body, size) + b"0\r\n\r\n"))
    frame = await bench.stream.next()
    assert frame.body == body
    bench.stream.reply(frame.id, b'{"text":""}')
    assert (await client.reply())[0] == 200


async def test_a_few_large_parts_are_kept_as_they_came(bench):
    body = said("y" * 500_000)
    client = await bench.client()
    client.send(chat(extra=CHUNKS, body=chunked(body, 10_000)))
    await eventually(lambda: bench.gateway.body_bytes == len(body))
    (door,) = bench.gateway.doors
    assert len(door._reading.body_parts) >= len(body) // 10_000
    assert {type(part) for part in door._reading.body_parts} == {bytes}
