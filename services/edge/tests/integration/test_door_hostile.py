"""Requests that are made to be read in two ways, or to cost more than they should: one answer, and the connection ends.

Behind each smuggling shape stands a second request, which no router may ever see.
"""

import json

import pytest
from services.edge.tests.fakes.inference import chat, eventually

pytestmark = pytest.mark.integration

BODY = b'{"model":"a-model","messages":[]}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
JSON = b"Content-Type: application/json\r\n"
PATHS = {"inference": b"/v1/chat/completions", "app": b"/upload"}


def code_of(body):
    return json.loads(body)["error"]["code"]


def key_line():
    """The line that `chat` authenticates with."""
    return next(line for line in chat().split(b"\r\n") if line.lower().startswith(b"authorization:")) + b"\r\n"


def request(lines, body, path=PATHS["inference"], line=b"POST %b HTTP/1.1\r\n"):
    return line % path + b"Host: t\r\n" + key_line() + JSON + lines + b"\r\n" + body


TE = b"Transfer-Encoding: chunked\r\n"
SHAPES = {
    "length, then chunks": (LENGTH + TE, CHUNKED),
    "chunks, then length": (TE + LENGTH, CHUNKED),
    "two lengths": (LENGTH + b"Content-Length: 0\r\n", BODY),
    "the same length twice in one": (b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY)), BODY),
    "a length with a sign": (b"Content-Length: +%d\r\n" % len(BODY), BODY),
    "a length in hexadecimal": (b"Content-Length: 0x21\r\n", BODY),
    "a length with a blank within": (b"Content-Length: 3 3\r\n", BODY),
    "a length that is empty": (b"Content-Length:\r\n", BODY),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\n", CHUNKED),
    "chunked is not the last coding": (b"Transfer-Encoding: chunked, identity\r\n", CHUNKED),
    "codings on two lines": (b"Transfer-Encoding: identity\r\n" + TE, CHUNKED),
    "a coding before chunked": (b"Transfer-Encoding: gzip, chunked\r\n", CHUNKED),
    "chunked twice": (TE + TE, CHUNKED),
    "a vertical tab before the coding": (b"Transfer-Encoding: \x0bchunked\r\n", CHUNKED),
    "a blank before the colon": (b"Transfer-Encoding : chunked\r\n", CHUNKED),
    "a blank before the colon of the length": (b"Content-Length : 0\r\n", BODY),
    "a line that goes on": (b"X-A: b\r\n c: d\r\n" + LENGTH, BODY),
    "a line that begins with a blank": (b" Transfer-Encoding: chunked\r\n" + LENGTH, BODY),
    "a carriage return within a line": (b"X-A: b\rTransfer-Encoding: chunked\r\n" + LENGTH, BODY),
    "a line that ends without carriage return": (b"X-A: b\n" + LENGTH, BODY),
    "a zero in a value": (b"X-A: b\0c\r\n" + LENGTH, BODY),
    "a chunk size with a sign": (TE, b"+" + CHUNKED),
    "a chunk size in 0x": (TE, b"0x" + CHUNKED),
    "a chunk size with a blank before it": (TE, b" " + CHUNKED),
    "a chunk size too large for any number": (TE, b"f" * 17 + b"\r\n" + BODY),
    "a chunk line that ends without carriage return": (TE, CHUNKED.replace(b"\r\n", b"\n", 1)),
    "a chunk longer than it says": (TE, b"3\r\n" + BODY + b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize(("lines", "body"), SHAPES.values(), ids=SHAPES.keys())
async def test_a_request_with_two_readings_is_refused_and_what_follows_is_never_served(bench, lines, body, path):
    client = await bench.client()
    client.send(request(lines, body, path) + chat())
    status, headers, reply = await client.reply()
    assert (status, headers[b"connection"], code_of(reply)) == (400, b"close", "invalid_request")
    assert await client.rest() == b""
    assert bench.stream.opened.empty()
    assert bench.app_calls == []


async def test_ten_thousand_header_lines_are_refused_before_all_were_read(bench):
    client = await bench.client()
    head = request(b"".join(b"X-%d: a\r\n" % number for number in range(10_000)), b"")
    # The end of the head never comes: who waits for it says nothing.
    client.send(head.removesuffix(b"\r\n"))
    (door,) = bench.gateway.doors
    status, _, reply = await client.reply()
    assert (status, code_of(reply)) == (431, "headers_too_large")
    assert await client.rest() == b""
    assert len(door.headers) == bench.settings.max_header_count + 1


@pytest.mark.parametrize(("size", "refused"), [(60 * 1024, False), (64 * 1024, True)])
async def test_a_head_of_64_kb_is_too_large_and_one_below_is_not(bench, size, refused):
    client = await bench.client()
    client.send(request(b"X-Long: " + b"x" * size + b"\r\n" + LENGTH, BODY))
    if refused:
        status, _, reply = await client.reply()
        assert (status, code_of(reply)) == (431, "headers_too_large")
        assert await client.rest() == b""
    else:
        frame = await bench.stream.next()
        bench.stream.reply(frame.id, b"{}")
        assert (await client.reply())[0] == 200


async def test_a_body_of_a_gigabyte_is_refused_when_it_is_announced(bench):
    client = await bench.client()
    client.send(request(b"Content-Length: %d\r\n" % 2**30, b"{"))
    status, headers, reply = await client.reply()
    assert (status, headers[b"connection"], code_of(reply)) == (413, b"close", "payload_too_large")
    assert bench.gateway.body_bytes == 0
    assert bench.stream.opened.empty()


@pytest.mark.parametrize("what", ["head", "body"])
async def test_a_request_that_drips_has_no_more_time_than_one_that_stalls(bench, what):
    """Slowloris: what comes now and then, of a head or of a body, earns no time worth speaking of."""
    client = await bench.client()
    if what == "head":
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\n")
    else:
        client.send(request(LENGTH, b""))
    await eventually(lambda: any(getattr(door, "url", b"") for door in bench.gateway.doors))
    (door,) = bench.gateway.doors
    deadline = door.read_deadline
    for number in range(3):
        seen = len(door.headers), bench.gateway.body_bytes
        client.send(b"X-%d: a\r\nX" % number if what == "head" else BODY[number : number + 1])
        await eventually(lambda seen=seen: (len(door.headers), bench.gateway.body_bytes) != seen)
    # Three bytes of a body are worth three thousandths of a second.
    assert deadline <= door.read_deadline <= deadline + 0.0031
    bench.later(100)
    status, headers, reply = await client.reply()
    assert (status, headers[b"connection"], code_of(reply)) == (408, b"close", "request_timeout")
    assert await client.rest() == b""
    assert bench.stream.opened.empty()
