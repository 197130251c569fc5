"""`python -m benchmarks.tricks`: what each trick of the hot path saves beside the plain way of doing the same.

Each is named where it is played, with the figure. The two ways run in turns, and the median of the rounds counts; what
is too small to tell from the plain way is printed all the same, since then the trick has to go.
"""

import argparse
import asyncio
import gc
import importlib
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from statistics import median
from typing import Any, NamedTuple

import httptools
import msgspec
import uvloop
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.machine import machine
from benchmarks.results import Results, add_option
from benchmarks.routing import Secrets, document
from benchmarks.workloads import SMALL, request_of
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.principal import Principal, tenant_message
from tollgate_kit.clock import SystemClock
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.chat_stream import ChatStream
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.openai_chat import plain_body, read_body
from tollgate_router.domain.snapshot import compile_snapshot
from tollgate_router.upstream.client import Timeouts
from tollgate_router.upstream.tcp_info import acknowledged_bytes

ROUNDS = 15
ROUND_SECONDS = 0.02
CONNECTIONS = 32
BODY = request_of(SMALL, "gpt-5-mini", {}).partition(b"\r\n\r\n")[2]
REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5-mini","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Paris lies on the Seine."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":30,"completion_tokens":8,"total_tokens":38}}'
)
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
TENANT = {
    "organization_id": "org_1", "project_id": "prj_1", "api_key_id": "key_1", "price_group": "default",
    "route_group": "default", "currency": "USD",
}  # fmt: skip
OPEN: dict[str, Any] = {
    "id": 1, "request_id": "req_0123456789abcdef00000001", "started_at_us": 1_790_000_000_000_000, "dialect": 1,
    "operation": 1, "model": "gpt-5-mini", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "timeout_ms": 900_000,
    "body": BODY, "body_length": len(BODY),
}  # fmt: skip


class Trick(NamedTuple):
    """`plain` does by hand what `trick` does; `where` is the file that plays it."""

    where: str
    what: str
    plain: Callable[[], object]
    trick: Callable[[], object]


def tricks() -> Iterator[Trick]:
    """Yields all of them."""
    yield from _edge()
    yield from _exchange()
    yield from _router()
    yield from _kit()
    yield from _upstream()
    # Last, since it freezes what the others made.
    yield from _processes()


def _edge() -> Iterator[Trick]:
    head = request_of(SMALL, "gpt-5-mini", {"authorization": "Bearer sk-tg-x"})
    yield Trick(
        "edge inference/door.py",
        f"{CONNECTIONS} requests answered by the protocol, not by an ASGI application",
        _Fed(HttpToolsProtocol, head),
        _Fed(_Direct, head),
    )
    count = iter(range(10**12))
    prefix = f"req_{os.urandom(8).hex()}"
    yield Trick(
        "edge inference/gateway.py",
        "ids of a prefix and a count, not of random bytes each",
        lambda: f"req_{os.urandom(12).hex()}",
        lambda: f"{prefix}{next(count):08x}",
    )
    source = random.Random()
    yield Trick(
        "edge inference/gateway.py",
        "trace and span ids of one random number, not of the system twice",
        lambda: (os.urandom(16).hex(), os.urandom(8).hex()),
        lambda: f"{source.getrandbits(192):048x}",
    )
    principal = Principal(**TENANT)
    known = {"key_1": (principal, tenant_message(principal))}
    yield Trick(
        "edge inference/gateway.py",
        "the tenant's message kept with the key",
        lambda: tenant_message(principal),
        lambda: known["key_1"][0] is principal and known["key_1"][1],
    )


def _exchange() -> Iterator[Trick]:
    tenant = wire.Tenant(**TENANT)

    def alone() -> bytes:
        batch = wire.EdgeBatch()
        for _ in range(4):
            frame = wire.Open(**OPEN, tenant=tenant)
            batch.open.append(frame)
        return batch.SerializeToString()

    def inside() -> bytes:
        batch = wire.EdgeBatch()
        for _ in range(4):
            batch.open.add(**OPEN, tenant=tenant)
        return batch.SerializeToString()

    yield Trick("both outboxes", "four frames made inside their batch, not appended to it", alone, inside)
    pieces = [(1, CHUNK)] * 16

    def each() -> bytes:
        batch = wire.RouterBatch()
        for frame_id, data in pieces:
            batch.data.add(id=frame_id, data=data)
        return batch.SerializeToString()

    def joined() -> bytes:
        batch, waiting = wire.RouterBatch(), dict[int, list[bytes]]()
        for frame_id, data in pieces:
            waiting.setdefault(frame_id, []).append(data)
        for frame_id, parts in waiting.items():
            batch.data.add(id=frame_id, data=b"".join(parts))
        return batch.SerializeToString()

    yield Trick("router exchange/outbox.py", "16 chunks of one request joined into a frame", each, joined)


def _router() -> Iterator[Trick]:
    yield Trick(
        "router domain/openai_chat.py",
        "a body of which only the members are decoded, not all of it",
        lambda: msgspec.json.encode(msgspec.json.decode(BODY)),
        lambda: plain_body(read_body(BODY)),
    )
    made = compile_snapshot(document(10, 10, 5), "sha256:0", Secrets(), Health())
    made.make_some(lambda: False)
    candidates = made.route("default", "m0")
    assert candidates is not None
    members = read_body(BODY)
    yield Trick(
        "router domain/walk.py",
        "targets that do not differ are not asked what they can do",
        lambda: candidates.plan(Ask("default", "m0", members)),
        lambda: candidates.simple and 1 in candidates.dialects and len(BODY) <= candidates.roomy_bytes,
    )
    kept = {18_000: Timeouts()}
    yield Trick(
        "router exchange/service.py",
        "limits of a call that many share, not made for each",
        lambda: Timeouts(connect=10.0, first_byte=300.0, idle=120.0, total=900.0),
        lambda: kept.get(18_000),
    )
    opened = wire.Open(**OPEN, tenant=wire.Tenant(**TENANT))
    own = dict(_EVENT_OWN, tenant=opened.tenant, model="gpt-5-mini")
    kept_parts = {(False, 1, 1): events.UsageRecorded(**_EVENT_CONSTANT).SerializeToString()}
    yield Trick(
        "router exchange/recorder.py",
        "the part of an event that many share, encoded once",
        lambda: events.UsageRecorded(**_EVENT_CONSTANT, **own).SerializeToString(),
        lambda: kept_parts[False, 1, 1] + events.UsageRecorded(**own).SerializeToString(),
    )
    pattern = re.compile(rb'"usage"\s*:|"error"\s*:')
    read = CHUNK * 16
    yield Trick(
        "router domain/chat_stream.py",
        "16 chunks in which nothing is decoded, not each of them",
        lambda: [msgspec.json.decode(line[6:]) for line in read.split(b"\n\n") if line],
        lambda: ChatStream(usage_wanted=True).feed(read),
    )
    yield Trick(
        "router domain/chat_stream.py",
        "16 chunks searched for two words, not by a regular expression",
        lambda: pattern.search(read),
        lambda: (read.find(b'"usage"'), read.find(b'"error"')),
    )
    yield Trick(
        "router domain/chat_stream.py",
        "a chunk searched by find, not by `in`, which makes an error first",
        lambda: b"[DONE]" in CHUNK,
        lambda: CHUNK.find(b"[DONE]"),
    )


def _kit() -> Iterator[Trick]:
    payload = events.UsageRecorded(**_EVENT_CONSTANT, **_EVENT_OWN).SerializeToString()
    descriptor = os.open("/dev/null", os.O_WRONLY)

    def each() -> None:
        for _ in range(8):
            os.write(descriptor, payload)

    yield Trick(
        "kit spool.py",
        "eight records written at once, not each (into /dev/null: the file system comes on top)",
        each,
        lambda: os.write(descriptor, b"".join([payload] * 8)),
    )


_EVENT_CONSTANT: dict[str, Any] = {
    "source": 1, "dialect": 1, "operation": 1, "stream": False,
    "config_digest": "sha256:" + "0" * 64, "attempt": 1, "final": True, "outcome": 1, "upstream_status": 200,
    "upstream_model": "gpt-5-mini", "provider": "openai", "channel": "bench", "price_digest": "sha256:" + "1" * 64,
    "currency": "USD",
}  # fmt: skip
_EVENT_OWN: dict[str, Any] = {
    "event_id": b"0123456789abcdef", "request_id": OPEN["request_id"],
    "started_at_us": OPEN["started_at_us"], "ended_at_us": OPEN["started_at_us"] + 900, "charge_pico": 23_500_000,
    "cost_pico": 23_500_000, "traceparent": OPEN["traceparent"],
    "usage": wire.Usage(input_tokens=30, output_tokens=8),
    "timings": wire.Timings(upstream_started_us=90, first_byte_us=500, total_us=900),
}  # fmt: skip


class _Stage(Enum):
    OVER = 0
    READING = 1


_READING = 1


def _upstream() -> Iterator[Trick]:
    made = compile_snapshot(document(1, 1, 1), "sha256:0", Secrets(), Health())
    found = made.route("default", "m0")
    assert found is not None
    target = found.base.levels[0].targets[0]
    by_origin, by_target = {target.origin: 1}, {target: 1}
    yield Trick(
        "router upstream/client.py",
        "a pool found by its target's identity, not by its origin",
        lambda: by_origin.get(target.origin),
        lambda: by_target.get(target),
    )
    line = target.header_block

    def head() -> bytes:
        authority = target.origin.authority.encode()
        path = target.full_path(b"/chat/completions")
        return b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: " % (path, authority, line)

    yield Trick(
        "router domain/target.py",
        "the beginning of a request kept by path, not written for each",
        head,
        lambda: target.request_head(b"POST", b"/chat/completions"),
    )
    stage, number = _Stage.READING, 1
    yield Trick(
        "router upstream/call.py",
        "stages of a call as numbers, not as members of an enumeration",
        lambda: stage is _Stage.READING,
        lambda: number == _READING,
    )
    body = b"".join(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK) for _ in range(65)) + b"0\r\n\r\n"
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + body
    yield Trick(
        "router upstream/reply.py",
        "65 chunks of a read taken by list.append, not by a method",
        lambda: _parse(_Methods(), reply),
        lambda: _parse(_Appends(), reply),
    )
    clock, call = SystemClock(), _Seen()

    def note() -> None:
        call.seen = True

    def ask() -> None:
        call.at = clock.monotonic()

    yield Trick("router upstream/call.py", "a read noted by a flag, its time by the sweep", ask, note)
    call.at = 1.0
    yield Trick(
        "router upstream/pool.py",
        "the time of the last call and sweep, not asked of the clock for each reply",
        lambda: clock.monotonic(),  # noqa: PLW0108 - as deep a call as the other.
        lambda: call.at,
    )
    left, right = _pair()
    right.close()
    counted = [0, 500]

    def arithmetic() -> int:
        counted[0] += counted[1]
        return counted[0]

    yield Trick(
        "router upstream/connection.py",
        "acknowledged bytes added up, not asked of the kernel before each request",
        lambda: acknowledged_bytes(left),
        arithmetic,
    )


def _processes() -> Iterator[Trick]:
    for program in ("tollgate_edge.app", "tollgate_router.app"):
        importlib.import_module(program)

    def walked() -> None:
        gc.unfreeze()
        gc.collect()

    def frozen() -> None:
        gc.freeze()
        gc.collect()

    yield Trick(
        "edge app.py, router app.py",
        "a full collection with the modules of both frozen, not walked again",
        walked,
        frozen,
    )


class _Seen:
    __slots__ = ("at", "seen")


class _Methods:
    def __init__(self) -> None:
        self.body: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        self.body.append(data)


class _Appends:
    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.on_body = self.body.append


def _parse(sink: Any, reply: bytes) -> None:
    httptools.HttpResponseParser(sink).feed_data(reply)


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        return left, server.accept()[0]


class _Nowhere(asyncio.Transport):
    """Takes what is written."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"socket": None, "peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: bytes) -> None:
        """Forgets it."""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def set_protocol(self, protocol: object) -> None:
        """Stays with its own."""


async def _application(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": REPLY})


class _Direct(HttpToolsProtocol):
    """Answers as the door does: with one write, from within the parser's callbacks."""

    def on_message_begin(self) -> None:
        self.url, self.headers, self.parts = b"", [], []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        dict(self.headers).get(b"authorization")

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(REPLY)
        self.transport.write(head + REPLY)


class _Fed:
    """Connections that are fed a request each, and the turn of the loop in which they are answered."""

    def __init__(self, kind: type[HttpToolsProtocol], request: bytes) -> None:
        config = Config(_application, lifespan="off", log_config=None, access_log=False)
        config.load()
        self._loop = uvloop.new_event_loop()
        self._request = request
        self._protocols = [kind(config, ServerState(), {}, self._loop) for _ in range(CONNECTIONS)]
        for protocol in self._protocols:
            protocol.connection_made(_Nowhere())

    def __call__(self) -> None:
        for protocol in self._protocols:
            protocol.data_received(self._request)
        while any(protocol.tasks for protocol in self._protocols):
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()


def measured(one: Trick) -> tuple[float, float, float]:
    """Returns nanoseconds of processor of the plain way and of the trick, and of an empty call: medians."""
    empty = _calls(_nothing)
    counts = {way: _calls(way) for way in (one.plain, one.trick)}
    found: dict[Callable[[], object], list[float]] = {_nothing: [], one.plain: [], one.trick: []}
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for way, count in ((_nothing, empty), *counts.items()):
                found[way].append(_nanoseconds(way, count))
    finally:
        gc.enable()
    nothing = median(found[_nothing])
    return median(found[one.plain]) - nothing, median(found[one.trick]) - nothing, nothing


def _nothing() -> None:
    """What calling costs by itself."""


def _calls(way: Callable[[], object]) -> int:
    """Returns how often a way is called in a round."""
    count = 1
    while (taken := _nanoseconds(way, count) * count / 1e9) < ROUND_SECONDS / 4:
        count *= 2
    return max(1, round(count * ROUND_SECONDS / taken))


def _nanoseconds(way: Callable[[], object], count: int) -> float:
    began = time.process_time_ns()
    for _ in range(count):
        way()
    return (time.process_time_ns() - began) / count


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each trick."""
    parser = argparse.ArgumentParser(prog="benchmarks.tricks", description=__doc__)
    add_option(parser)
    options = parser.parse_args(arguments)
    results = Results("benchmarks.tricks")
    print(machine())
    print("\nns of processor: the plain way, the trick, what it saves")
    for one in tricks():
        plain, trick, _ = measured(one)
        results.add("tricks", where=one.where, what=one.what, plain_ns=plain, trick_ns=trick)
        print(f"  {plain:9.0f} {trick:9.0f} {plain - trick:9.0f}  {one.where}: {one.what}", flush=True)
    results.write(options.json)


if __name__ == "__main__":
    main()
