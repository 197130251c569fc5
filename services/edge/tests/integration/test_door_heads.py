"""Requests one after the other on a connection, whose heads are the same or nearly so; and connections without one."""

import asyncio
import json
from dataclasses import replace

import pytest
from services.edge.tests.fakes.door import answered, clean, error_of
from services.edge.tests.fakes.inference import MODEL, chat, eventually, get

from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.integration


def body(text):
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}]}).encode()


async def test_each_request_of_the_same_head_is_one_of_its_own(bench):
    client = await bench.client()
    seen = set()
    for size in (1, 3000, 0, 17):
        sent = body("x" * size)
        client.send(chat(body=sent))
        frame = await bench.stream.next()
        assert (frame.body, frame.body_length, frame.model) == (sent, len(sent), MODEL)
        bench.stream.reply(frame.id, b"%d" % size)
        status, headers, text = await client.reply()
        assert (status, text) == (200, b"%d" % size)
        seen.add(headers[b"x-request-id"])
    assert len(seen) == 4
    await clean(bench)


async def test_the_parser_is_asked_once_where_heads_are_the_same(bench):
    client = await bench.client()
    door = None
    for size in (1, 20, 300):
        client.send(chat(body=body("x" * size)))
        assert (await answered(bench, client))[0] == 200
        (door,) = bench.gateway.doors
        # What the parser read last: only the first of them.
        assert dict(door.headers)[b"content-length"] == b"%d" % len(body("x"))
    client.send(chat(body=body("y"), extra="X-Other: 1\r\n"))
    assert (await answered(bench, client))[0] == 200
    assert dict(door.headers)[b"x-other"] == b"1"


async def test_requests_of_all_kinds_in_turn_are_told_apart(bench):
    client = await bench.client()
    for _ in range(2):
        for _ in range(2):
            client.send(chat(body=body("same")))
            assert (await answered(bench, client))[0] == 200
        client.send(chat(body=body("same"), key="wrong"))
        status, _, text = await client.reply()
        assert (status, error_of(text)["code"]) == (401, "invalid_api_key")
        client.send(get("/app"))
        assert json.loads((await client.reply())[2])["app"] == "/app"
        client.send(chat(body=body("same")) + chat(body=body("pipelined")))
        for expected in ("same", "pipelined"):
            frame = await bench.stream.next()
            assert frame.body == body(expected)
            bench.stream.reply(frame.id, b"{}")
            assert (await client.reply())[0] == 200
    await clean(bench)


@pytest.mark.parametrize("cut", [10, 80, -30, -1])
async def test_a_request_of_a_known_head_may_come_in_pieces(bench, cut):
    client = await bench.client()
    client.send(chat(body=body("first")))
    assert (await answered(bench, client))[0] == 200
    whole = chat(body=body("second, which is longer"))
    client.send(whole[:cut])
    (door,) = bench.gateway.doors
    await eventually(lambda: door.busy)
    client.send(whole[cut:])
    frame = await bench.stream.next()
    assert frame.body == body("second, which is longer")
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


async def test_a_known_head_is_read_anew_when_other_headers_are_passed_on(bench):
    client = await bench.client()
    request = chat(body=body("same"), extra="X-Region: eu\r\n")
    client.send(request)
    frame = await bench.stream.next()
    assert not frame.headers
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    bench.version = replace(bench.version, headers=(b"x-region",))
    for _ in range(2):
        client.send(request)
        frame = await bench.stream.next()
        assert list(frame.headers) == [wire.Header(name=b"x-region", value=b"eu")]
        bench.stream.reply(frame.id, b"{}")
        assert (await client.reply())[0] == 200


async def test_a_process_that_stops_says_so_to_requests_of_a_known_head_too(bench):
    client = await bench.client()
    client.send(chat(body=body("same")))
    assert (await answered(bench, client))[0] == 200
    bench.gateway.closing = True
    client.send(chat(body=body("same")))
    _, headers, _ = await answered(bench, client)
    assert headers[b"connection"] == b"close"


async def test_a_connection_is_closed_when_it_had_no_request_for_its_time(bench):
    quiet, at_work, never_asked = await bench.client(), await bench.client(), await bench.client()
    for client in (quiet, at_work):
        client.send(chat(body=body("same")))
        assert (await answered(bench, client))[0] == 200
    at_work.send(chat(body=body("same")))
    frame = await bench.stream.next()
    bench.no_later(59)
    await asyncio.sleep(0)
    assert len(bench.gateway.doors) == 2, "the one that never asked is closed after the time for a head"
    bench.later(61)
    assert await quiet.rest() == b""
    assert await never_asked.rest() == b""
    bench.stream.reply(frame.id, b"{}")
    assert (await at_work.reply())[0] == 200
