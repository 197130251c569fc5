"""Edge's HTTP door: raw bytes from clients, one connection, on a real socket in a loop of its own.

What is behind the door answers by itself: a router's stream, and an app that says what it was asked.
"""

import asyncio
import base64
import json
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import h11
import uvicorn
from services.edge.tests.fakes.inference import KEY, MODEL, Bench, FakeStream
from uvicorn.server import ServerState

from tests.fuzz.cases import EVERYWHERE, Case, draw_cuts, mostly, pieces, spoil
from tests.fuzz.counted_loop import quiet, run
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.door import ROUTES, door_class

_LIMITS: Final = {
    "max_body_bytes": 2000,
    "max_body_memory_bytes": 5000,
    "max_header_bytes": 1500,
    "max_header_count": 20,
    "max_json_depth": 16,
}
_SHORT: Final = 700
_LATER_SECONDS: Final = 1000.0
_STATUSES: Final = {100, 200, 400, 401, 404, 405, 408, 413, 415, 431, 503}
_PATHS: Final = ["/v1/chat/completions", "/chat/completions", "/v1/embeddings", "/upload", "/healthz"]
_ODD_PATHS: Final = [
    "/v1/chat/completions?key=" + KEY, "/v1/chat/completions?" + "a=1&" * 60 + "key=" + KEY, "/v1/chat/completions/",
    "*", "/v1/chat/completions?key=%ff%00", "/v1/chat/completions?;&=&&key", "http://t/v1/chat/completions",
    "/%2e%2e/", "//", "/v1/chat/completions#x", "/" + "p" * 1600, "/\u00e9", "/?\ud800", "",
]  # fmt: skip
_METHODS: Final = ["POST"]
_ODD_METHODS: Final = [
    "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "CONNECT", "post", "PRI", "P OST", "TRACE", "PATCH", "SOURCE",
    "M-SEARCH",
]  # fmt: skip
_HEADERS: Final = [
    "Host: t", "Content-Type: application/json", f"Authorization: Bearer {KEY}", "Accept: */*", "Origin: http://a",
]  # fmt: skip
_ODD_HEADERS: Final = [
    "Authorization: Bearer wrong", "Authorization: Basic x", f"x-api-key: {KEY}", "authorization: bearer",
    "Expect: 100-continue", "Connection: close", "Connection: keep-alive", "Connection: upgrade",
    "Upgrade: websocket", "Upgrade: h2c", "Host: a\r\nHost: b", "Content-Type: text/plain",
    "Content-Type: application/json; charset=utf-16", "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    "traceparent: \u00ff", "Content-Length: 5", "Content-Length: 0", "Content-Length: 99999999999999999999",
    "Content-Length: -1", "Content-Length: +5", "Content-Length: 5, 5", "Content-Length: 5_0", "Content-Length:",
    "Content-Length: 0x5", "Content-Length : 5", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity", "Transfer-Encoding: \x0bchunked",
    " folded: x", "no colon", ": no name", "x: a\x00b", "x: " + "y" * 1600, "Trailer: x", "TE: trailers",
    "Content-Encoding: gzip", "Accept-Encoding: gzip",
]  # fmt: skip
_SPICES: Final = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b":", b" ", b"\x00", b"\xff", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"ffffffffffffffffff\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02", b"{", b'"', b"\t", b"?", b"#",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One reply as the client sees it: what it says apart from its id."""

    status: int
    body: bytes


class HttpDoorTarget:
    """Requests on one connection, spoilt and cut anywhere, with the limits of the door set low."""

    cost = 20

    def draw(self, source: Random) -> Case:
        whole = b"".join(_request(source) for _ in range(source.choice([1, 1, 1, 2, 2, 3, 25])))
        data = spoil(source, whole, _SPICES)
        cuts = draw_cuts(source, len(data), most=5)
        return {"data": data, "cuts": cuts if cuts != [EVERYWHERE] or len(data) <= _SHORT else []}

    def check(self, case: Case) -> None:
        data = case["data"]
        parts = pieces(data, case["cuts"])
        at_once, in_parts = _Visit([data]), _Visit(parts)
        run(at_once.make)
        run(in_parts.make)
        for visit in (at_once, in_parts):
            _check_answers(visit)
        _check_same(at_once, in_parts)
        _check_framing(data, in_parts)

    def close(self) -> None:
        pass


def _request(source: Random) -> bytes:
    path = mostly(source, _PATHS, _ODD_PATHS, 0.1)
    headers = [mostly(source, _HEADERS, _ODD_HEADERS, 0.1) for _ in range(source.randint(0, 2))]
    headers += [one for one in _HEADERS[:3] if source.random() < 0.9]
    body = _body(source, embeddings="embeddings" in path)
    if source.random() < 0.7:
        headers.append(f"Content-Length: {len(body)}")
    elif source.random() < 0.7:
        headers.append("Transfer-Encoding: chunked")
        cut = source.randint(0, len(body))
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part) + b"0\r\n"
        body += (b"x-trailer: 1\r\n" if source.random() < 0.1 else b"") + b"\r\n"
    source.shuffle(headers)
    version = mostly(
        source, ["HTTP/1.1"], ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", "", "HTCPCP/1.0"], 0.08
    )
    lines = [f"{mostly(source, _METHODS, _ODD_METHODS)} {path} {version}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + body


def _body(source: Random, *, embeddings: bool) -> bytes:
    if source.random() < 0.1:
        return source.choice([b"", b"{", b"[]", b"null", b"x" * 1900, b"x" * 2100, b"\xff", b"[" * 100, b'{"model":7}'])
    asked: dict[str, Any] = {"model": "vectors" if embeddings else MODEL, "number": source.randint(0, 9)}
    asked |= {"input": "x"} if embeddings else {"messages": [], "stream": source.random() < 0.3}
    return json.dumps(asked).encode()


class _Router(FakeStream):
    """Answers every request a turn later: with what it was sent, whole or as a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    def take(self, frame: wire.Open) -> None:
        self.seen.append(frame.body)
        asyncio.get_running_loop().call_soon(self._answer, frame)

    def _answer(self, frame: wire.Open) -> None:
        if not frame.stream:
            self.reply(frame.id, json.dumps({"sent": base64.b64encode(frame.body).decode()}).encode())
            return
        self.head(frame.id, b"text/event-stream")
        asyncio.get_running_loop().call_soon(self.data, frame.id, b"data: %b\n\n" % base64.b64encode(frame.body))
        asyncio.get_running_loop().call_soon(self.end, frame.id)


class _Visit:
    """One connection: sends the pieces, each when all is quiet after the one before, and reads until nothing comes."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts
        self.received = b""
        self.closed_early = False
        self.router: _Router
        self.app_calls: list[str] = []

    async def make(self) -> None:
        bench = Bench(**_LIMITS)
        self.router = _Router()
        bench.stream = self.router
        bench.pool.streams[:] = [self.router]
        config = uvicorn.Config(bench._app, interface="asgi3", log_config=None, access_log=False, server_header=False)
        config.load()
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        loop = asyncio.get_running_loop()
        make = door_class(bench.gateway)
        state = ServerState()
        await loop.connect_accepted_socket(lambda: make(config=config, server_state=state, app_state={}), theirs)
        client = _Client()
        transport, _ = await loop.create_connection(lambda: client, sock=ours)

        def pulse() -> tuple[object, ...]:
            return len(client.received), client.closed, len(self.router.seen), len(bench.app_calls)

        for part in self._parts:
            if not client.closed:
                transport.write(part)
            await quiet(pulse)
        self.closed_early = client.closed
        # A request that never becomes whole runs into its time limit.
        bench.later(_LATER_SECONDS)
        await quiet(pulse)
        transport.abort()
        await quiet(lambda: (len(bench.gateway.doors), len(state.tasks)))
        self.received, self.app_calls = client.received, bench.app_calls
        self._check_nothing_left(bench, state)

    def _check_nothing_left(self, bench: Bench, state: ServerState) -> None:
        assert not bench.gateway.doors, "a connection is left"
        assert not bench.gateway.open, "a request is left"
        assert not state.tasks, "a task is left"
        assert bench.gateway.body_bytes == 0, f"{bench.gateway.body_bytes} bytes of bodies are counted, none is there"
        held, settled = bench.admission.held, [request_id for request_id, _ in bench.admission.settled]
        ended = [*settled, *bench.admission.forgotten]
        assert sorted(held) == sorted(ended), f"held {held}, settled or given back {ended}"
        assert sorted(self.router.acks) == list(range(1, len(self.router.seen) + 1)), "an end was not acknowledged once"


class _Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.received, self.closed = b"", False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True


_HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[!-9;-~]+:[ \t]*[^\r\n\x00]*\r\n)*)\r\n")


def _answers(received: bytes) -> list[Answer]:
    """Returns the replies in what was received; bytes that are none are an error, but for a last one that was cut."""
    found = []
    while received:
        head = _HEAD.match(received)
        assert head is not None, f"no head of a reply: {received[:200]!r}"
        status, rest = int(head[1]), received[head.end() :]
        headers = [tuple(line.split(b":", 1)) for line in head[2].split(b"\r\n") if line]
        names = [name.lower() for name, _ in headers]
        assert len(set(names)) == len(names), f"a header twice: {names}"
        body, received = _body_of({name.lower(): value.strip() for name, value in headers}, status, rest)
        found.append(Answer(status, body))
    return found


def _body_of(headers: dict[bytes, bytes], status: int, rest: bytes) -> tuple[bytes, bytes]:
    if status < 200:
        return b"", rest
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size, line, rest = rest.partition(b"\r\n")
            assert line, "a chunk has no end"
            count = int(size, 16)
            assert rest[count : count + 2] == b"\r\n", "a chunk is not as long as it says"
            body, rest = body + rest[:count], rest[count + 2 :]
            if not count:
                return body, rest
    if b"content-length" in headers:
        length = int(headers[b"content-length"])
        if not rest or rest.startswith(b"HTTP/1.1 "):
            # A reply to HEAD has a length and no body.
            return b"", rest
        assert len(rest) >= length, "a reply is shorter than it says"
        return rest[:length], rest[length:]
    return rest, b""


def _check_answers(visit: _Visit) -> None:
    for answer in _answers(visit.received):
        assert answer.status in _STATUSES, f"status {answer.status}: {answer.body[:300]!r}"
        if answer.status >= 400:
            error = json.loads(answer.body)["error"]
            assert set(error) == {"message", "type", "param", "code", "doc_url"}, error
            assert error["message"], "no words"


def _check_same(at_once: _Visit, in_parts: _Visit) -> None:
    """The same requests have the same answers. What follows a broken one may end the reply before it, or come after."""
    one, other = _comparable(at_once), _comparable(in_parts)
    shared = min(len(one), len(other))
    assert one[:shared] == other[:shared], f"at once {one}, in parts {other}"
    if not at_once.closed_early and not in_parts.closed_early:
        assert one == other, f"at once {one}, in parts {other}"


def _comparable(visit: _Visit) -> list[Answer]:
    # Whether a 100 is sent depends on whether the body is there already.
    return [answer for answer in _answers(visit.received) if answer.status != 100]


def _check_framing(data: bytes, visit: _Visit) -> None:
    """The bodies that went to a router are bodies that h11 finds in the same bytes, in the same order."""
    theirs, strict = _requests_by_h11(data)
    found = iter(theirs)
    for body in visit.router.seen:
        assert any(body == other for other in found) or not strict, (
            f"h11 has no request with the body {body!r}: {theirs}"
        )


def _requests_by_h11(data: bytes) -> tuple[list[bytes], bool]:
    """Returns the bodies of the requests to inference paths, and whether h11 read all of `data` without an error."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    bodies: list[bytes] = []
    target, body = b"", b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                target, body = event.target, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                if target.partition(b"?")[0] in ROUTES:
                    bodies.append(body)
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    # It keeps no connection of HTTP/1.0, whatever its client asks for.
                    return bodies, not connection.trailing_data[0]
                connection.start_next_cycle()
            else:
                return bodies, True
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return bodies, False
