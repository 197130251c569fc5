"""Replies of an upstream over HTTP/1.1: what the router's client takes for whole, h11 reads the same."""

import asyncio
import gzip
import re
import zlib
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import h11

from tests.fuzz.cases import Case, draw_cuts, mostly, pieces, spoil
from tests.fuzz.counted_loop import run
from tollgate_kit.clock import SystemClock
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.target import Origin, Target
from tollgate_router.upstream.client import ClientLimits, Timeouts, UpstreamClient

_TCP_SECONDS: Final = 0.002
_TIMEOUTS: Final = Timeouts(connect=50, first_byte=60, idle=60, total=600)
_LIMITS: Final = ClientLimits(header_bytes=2000, header_count=20, informational_replies=3, decoded_bytes_per_read=3000)
_REQUEST_BODY: Final = b'{"model":"m"}'
_GOOD_BODY: Final = b'{"good":true}'
_GOOD: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_GOOD_BODY), _GOOD_BODY)
_BODIES: Final = [b"", b"{}", b'{"choices":[]}', b"data: {}\n\ndata: [DONE]\n\n", b"x" * 300]
_STATUS: Final = [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable", b"HTTP/1.0 200 OK"]
_ODD_STATUS: Final = [
    b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 999 x",
    b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/2 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 0200 OK",
    b"HTTP/1.1  200 OK", b"http/1.1 200 OK", b"ICY 200 OK", b"", b"HTTP/1.1 099 x", b"HTTP/1.1 1000 x",
]  # fmt: skip
_INTERIM: Final = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]
_HEADERS: Final = [
    b"content-type: application/json", b"x-a: b", b"Connection: keep-alive", b"connection: close", b"date: now",
]  # fmt: skip
_ODD_HEADERS: Final = [
    b"content-length: 3", b"Content-Length: 0", b"content-length: 3, 3", b"content-length: +3",
    b"content-length: 0x3", b"content-length:", b"content-length: 99999999999999999999999", b"content-length : 3",
    b"transfer-encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"transfer-encoding: identity",
    b"transfer-encoding: chunked, chunked", b"transfer-encoding: \tchunked", b"transfer-encoding: xchunked",
    b"content-encoding: gzip", b"content-encoding: br", b"content-encoding: gzip, gzip", b"upgrade: h2c",
    b"connection: upgrade", b" folded: 1", b"x", b": 1", b"x y: 1", b"x: a\x00b", b"x: a\rb", b"x: \xff",
    b"trailer: x", b"x: " + b"y" * 2000, b"proxy-connection: close",
]  # fmt: skip
_CHUNK_ENDS: Final = [b"\r\n", b";a=b\r\n", b"\n", b" \r\n", b";\r\n", b"\r\n\r\n"]
_BEFORE_STATUS: Final = re.compile(rb"(?:\A|(?<=\r\n\r\n))[\r\n]+(?=HTTP/)")
_REASON: Final = re.compile(rb"(?m)^(HTTP/1\.\d \d{3} )([^\r\n]*)")
_SPICES: Final = [
    b"\r\n", b"\n", b"\r", b"0\r\n\r\n", b":", b" ", b"\x00", b"\xff", b"content-length: 1\r\n",
    b"transfer-encoding: chunked\r\n", b"5\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"HTTP/1.1 200 OK\r\n", b"\t",
    b";", b"0",
]  # fmt: skip


@dataclass
class Seen:
    """What became of a call."""

    status: int = 0
    body: bytes = b""
    whole: bool = False
    failure: UpstreamFailure | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert not self.status, "two heads"
        assert all(name == name.lower() and name for name, _ in headers), "a name is not in lower case"
        self.status = status

    def upstream_data(self, data: bytes) -> None:
        assert self.status, "a body without a head"
        assert data, "an empty piece"
        assert not self.over.is_set(), "bytes after the end"
        self.body += data

    def upstream_end(self) -> None:
        assert self.status, "an end without a head"
        assert not self.over.is_set(), "two ends"
        self.whole = True
        self.over.set()

    def upstream_failed(self, failure: UpstreamFailure) -> None:
        assert not self.over.is_set(), "two ends"
        self.failure = failure
        self.over.set()


class UpstreamReplyTarget:
    """A reply in pieces on the first connection, after which the upstream closes or waits; all others are good."""

    cost = 40

    def draw(self, source: Random) -> Case:
        body = source.choice(_BODIES)
        headers = [mostly(source, _HEADERS, _ODD_HEADERS, 0.1) for _ in range(source.randint(0, 3))]
        if source.random() < 0.15:
            headers.append(b"content-encoding: " + mostly(source, [b"gzip", b"deflate"], [b"x-gzip", b"identity"], 0.2))
            body = gzip.compress(body, mtime=0) if b"gzip" in headers[-1] else zlib.compress(body)
        framing = source.random()
        if framing < 0.45:
            headers.append(b"content-length: %d" % len(body))
        elif framing < 0.9:
            headers.append(b"transfer-encoding: chunked")
            body = _chunked(source, body)
        source.shuffle(headers)
        interim = (
            b"".join(source.choice(_INTERIM) for _ in range(source.randint(1, 4))) if source.random() < 0.1 else b""
        )
        head = b"\r\n".join([mostly(source, _STATUS, _ODD_STATUS, 0.1), *headers, b"", b""])
        reply = spoil(source, interim + head + body, _SPICES)
        return {"reply": reply, "cuts": draw_cuts(source, len(reply)), "closes": source.random() < 0.7}

    def check(self, case: Case) -> None:
        run(lambda: _check(case), _TCP_SECONDS)

    def close(self) -> None:
        pass


def _chunked(source: Random, body: bytes) -> bytes:
    out = b""
    for part in pieces(body, [source.randint(0, len(body)) for _ in range(source.randint(0, 3))]):
        if part:
            size = (b"%x" if source.random() < 0.8 else b"%03X") % len(part)
            out += size + mostly(source, _CHUNK_ENDS[:1], _CHUNK_ENDS, 0.1) + part + b"\r\n"
    trailer = b"x-trailer: 1\r\n" if source.random() < 0.1 else b""
    return out + b"0\r\n" + trailer + b"\r\n"


async def _check(case: Case) -> None:
    upstream = _Upstream(pieces(case["reply"], case["cuts"]), closes=case["closes"])
    server = await asyncio.get_running_loop().create_server(upstream.connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    origin = Origin("http", "127.0.0.1", port, private_network=True)
    target = Target("c", 0, "p", origin, "", "m", True, 1, b"authorization: Bearer x\r\n")
    client = UpstreamClient(SystemClock(), limits=_LIMITS)
    try:
        first, second = Seen(), Seen()
        for sink in (first, second):
            call = client.send(target, b"/v1/chat/completions", _REQUEST_BODY, (), sink, _TIMEOUTS)
            if not upstream.closing:
                # An upstream that says no more and keeps the connection: the client's time limits would end the call.
                await upstream.said.wait()
                for _ in range(30):
                    await asyncio.sleep(0)
                if not sink.over.is_set():
                    call.cancel()
                    continue
            await sink.over.wait()
        _compare(first, case["reply"], closes=case["closes"])
        assert not second.whole or second.body == _GOOD_BODY, f"the next call was answered {second.body!r}"
    finally:
        await client.close()
        server.close()
        upstream.close()
        for _ in range(10):
            await asyncio.sleep(0)


class _Upstream:
    def __init__(self, bad: list[bytes], *, closes: bool) -> None:
        self._bad = bad
        self.closing = closes
        self._connections: list[Any] = []
        self.said = asyncio.Event()

    def connection(self) -> asyncio.Protocol:
        self._connections.append(_Connection(self, [] if self._connections else self._bad))
        return self._connections[-1]

    def close(self) -> None:
        for one in self._connections:
            one.transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: _Upstream, bad: list[bytes]) -> None:
        self._upstream, self._bad = upstream, bad
        self._heard = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._heard.endswith(_REQUEST_BODY):
            self._heard = b""
            bad, self._bad = self._bad, []
            if bad:
                self._say(bad)
            else:
                self.transport.write(_GOOD)
                self._upstream.said.set()

    def _say(self, rest: list[bytes]) -> None:
        if rest and not self.transport.is_closing():
            self.transport.write(rest[0])
            # A few turns, in which the client reads.
            asyncio.get_running_loop().call_later(0.001, self._say, rest[1:])
            return
        if self._upstream.closing:
            self.transport.close()
        self._upstream.said.set()


def _compare(ours: Seen, reply: bytes, *, closes: bool) -> None:
    # Line ends before a status line are passed over, as servers of old send them behind a body.
    reply = _BEFORE_STATUS.sub(b"", reply)
    status, body, whole = _read_by_h11(_REASON.sub(_any_reason, reply), closes=closes)
    ours.body = _REASON.sub(_any_reason, ours.body)
    if ours.whole:
        assert whole, f"ours is whole with {ours.status} {ours.body!r}, h11's is not"
        assert (ours.status, ours.body) == (status, body), (
            f"ours is {ours.status} {ours.body!r}, h11's {status} {body!r}"
        )
    elif whole and ours.failure is not None:
        assert ours.failure.kind is FailureKind.PROTOCOL, f"h11 read {status} {body!r}, ours failed: {ours.failure}"


def _any_reason(found: re.Match[bytes]) -> bytes:
    """Nobody reads the words behind a status, so it does not matter what bytes they have."""
    return found[1] + b"x" * len(found[2])


def _read_by_h11(reply: bytes, *, closes: bool) -> tuple[int, bytes, bool]:
    """Returns status, body with its encoding undone, and whether the reply is whole."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "a"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    status, body, encoding = 0, b"", b""
    connection.receive_data(reply)
    if closes:
        connection.receive_data(b"")
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
            if isinstance(event, h11.Response):
                status = event.status_code
                encoding = dict(event.headers).get(b"content-encoding", b"")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                unpacked = _decoded(body, encoding)
                return status, unpacked or b"", unpacked is not None
            elif isinstance(event, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError:
        pass
    return status, body, False


def _decoded(body: bytes, encoding: bytes) -> bytes | None:
    try:
        if encoding.strip().lower() in {b"gzip", b"x-gzip"} and body:
            return gzip.decompress(body)
        if encoding.strip().lower() == b"deflate" and body:
            return zlib.decompress(body)
    except (OSError, EOFError, zlib.error):
        return None
    return body
