"""The upstream client against servers that break the rules of the wire, over real sockets."""

import json
from types import SimpleNamespace

import h11
import pytest
from services.router.tests.fakes.upstream import PATH, Listener, eventually, target
from tests.integration.faulty import BODY, FAULTS, RESETS, STALLS, FaultyProvider, FullPort, read_request
from tests.servers.process import free_port

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.client import Timeouts

pytestmark = pytest.mark.integration

TIMES = Timeouts(connect=10, first_byte=20, idle=30, total=1000)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def faulty():
    provider = FaultyProvider()
    provider.start()
    yield provider
    provider.stop()


def ask(client, server, sink, *, body=b"{}", headers=(), times=TIMES):
    return client.send(target(f"http://127.0.0.1:{server.port}/v1"), PATH, body, headers, sink, times)


def prompt(word):
    return json.dumps({"messages": [{"role": "user", "content": word}]}).encode()


# Word → how the call ends, None for well, and the status and the events that the sink heard before.
ENDS = {
    "announces-more": (FailureKind.CUT, 200, BODY),
    "announces-less": (FailureKind.PROTOCOL, 0, b""),
    "two-lengths": (FailureKind.PROTOCOL, 0, b""),
    "both-framings": (FailureKind.PROTOCOL, 0, b""),
    "answers-html": (None, 200, None),
    "refuses-in-html": (None, 502, None),
    "says-too-much": (None, 400, None),
    "only-informational": (FailureKind.CUT, 0, b""),
    "no-status": (FailureKind.PROTOCOL, 0, b""),
    "broken-gzip": (FailureKind.PROTOCOL, 200, b""),
    "cuts-gzip": (FailureKind.CUT, 200, None),
    "unknown-encoding": (FailureKind.PROTOCOL, 0, b""),
    "huge-chunk": (FailureKind.PROTOCOL, 0, b""),
    "no-http": (FailureKind.PROTOCOL, 0, b""),
    "says-nothing": (FailureKind.CUT, 0, b""),
    "cuts-the-head": (FailureKind.CUT, 0, b""),
    "cuts-the-body": (FailureKind.CUT, 200, BODY[:20]),
    "cuts-the-stream": (FailureKind.CUT, 200, None),
    "breaks-the-stream": (FailureKind.PROTOCOL, 200, None),
    "empty": (None, 200, b""),
    "endless-head": (FailureKind.PROTOCOL, 0, b""),
    "stalls-at-once": (FailureKind.FIRST_BYTE_TIMEOUT, 0, b""),
    "stalls-in-the-head": (FailureKind.FIRST_BYTE_TIMEOUT, 0, b""),
    "stalls-in-the-body": (FailureKind.IDLE_TIMEOUT, 200, BODY[:20]),
    "stalls-in-the-stream": (FailureKind.IDLE_TIMEOUT, 200, None),
    "cuts-a-chunk": (FailureKind.CUT, 200, BODY[:20]),
    "breaks-a-chunk": (FailureKind.PROTOCOL, 0, b""),
    "cuts-before-the-first-chunk": (FailureKind.CUT, 200, b""),
    "breaks-before-the-first-chunk": (FailureKind.PROTOCOL, 0, b""),
    "cuts-within-a-chunk-of-the-stream": (FailureKind.CUT, 200, None),
    "cuts-the-trailer": (FailureKind.CUT, 200, BODY),
    "breaks-the-trailer": (FailureKind.PROTOCOL, 0, b""),
    "endless-trailer": (FailureKind.PROTOCOL, 200, None),
    "cuts-the-trailer-of-the-stream": (FailureKind.CUT, 200, None),
    "breaks-the-trailer-of-the-stream": (FailureKind.PROTOCOL, 0, b""),
    "endless-trailer-of-the-stream": (FailureKind.PROTOCOL, 200, None),
    "stalls-in-a-chunk": (FailureKind.IDLE_TIMEOUT, 200, BODY[:20]),
    "stalls-before-the-first-chunk": (FailureKind.IDLE_TIMEOUT, 200, b""),
    "stalls-in-the-trailer": (FailureKind.IDLE_TIMEOUT, 200, BODY),
    "stalls-in-the-trailer-of-the-stream": (FailureKind.IDLE_TIMEOUT, 200, None),
    "resets-at-once": (FailureKind.CUT, 0, b""),
    "resets-in-the-head": (FailureKind.CUT, 0, b""),
    "resets-in-the-body": (FailureKind.CUT, 200, None),
    "resets-in-a-chunk": (FailureKind.CUT, 200, None),
    "resets-the-stream": (FailureKind.CUT, 200, None),
}


def test_every_fault_has_an_end():
    assert ENDS.keys() == FAULTS.keys() | STALLS.keys() | RESETS.keys()


@pytest.mark.parametrize("word", ENDS)
async def test_a_fault_ends_the_call_as_it_should_and_leaves_nothing(make_client, faulty, word):
    kind, status, body = ENDS[word]
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    call = ask(client, faulty, sink, body=prompt(word))
    if word in STALLS:
        # The clock stands still until everything that comes has come.
        told = "data" if body != b"" else "head"
        await eventually(lambda: told in sink.events if status else call.seen if STALLS[word] else word in faulty.seen)
        for seconds in range(31):
            client.sweep()
            assert not sink.is_over or seconds >= (30 if status else 20)
            clock.advance(1)
    await sink.over()
    assert (sink.kind, sink.status) == (kind, status)
    assert body is None or sink.body == body
    assert kind is None or sink.failure.sent
    assert faulty.seen == [word]
    assert client.active_calls == client.idle_connections == 0


async def test_no_connection_within_its_time(make_client):
    full = FullPort()
    full.start()
    try:
        clock = ManualClock()
        client, sink = make_client(clock), Listener()
        ask(client, full, sink)
        clock.advance(9.9)
        client.sweep()
        assert not sink.is_over
        clock.advance(0.2)
        client.sweep()
        assert sink.kind is FailureKind.CONNECT_TIMEOUT
        assert not sink.failure.sent
    finally:
        full.stop()


async def test_a_port_where_nobody_listens_is_refused(client):
    sink = Listener()
    ask(client, SimpleNamespace(port=free_port()), sink)
    await sink.over()
    assert sink.kind is FailureKind.REFUSED
    assert not sink.failure.sent


async def test_requests_are_what_a_second_parser_reads(client, serve):
    requests = []

    def script(connection):
        while request := read_request(connection):
            requests.append(request)
            connection.sendall(OK)

    server = serve(script)
    bodies = [b"", b"{}", b"x" * 65536, b"y" * 65537, b"z" * 3_000_000]
    for body in bodies:
        headers = [(b"X-Request-Id", b"r1"), (b"Accept", b"text/event-stream")]
        sink = Listener()
        ask(client, server, sink, body=body, headers=headers)
        await sink.over()
        assert (sink.status, sink.body) == (200, b"ok")
    assert server.accepted == 1
    for request, body in zip(requests, bodies, strict=True):
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(request)
        head = parser.next_event()
        assert (head.method, head.target) == (b"POST", b"/v1/chat/completions")
        assert dict(head.headers) == {
            b"host": b"127.0.0.1:%d" % server.port,
            b"authorization": b"Bearer k",
            b"content-length": b"%d" % len(body),
            b"x-request-id": b"r1",
            b"accept": b"text/event-stream",
        }
        received = b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            received += event.data
        assert received == body
        assert parser.next_event() is h11.NEED_DATA


HOSTILE = [
    (b"x-a", b"1\r\nx-b: 2"),
    (b"x-a", b"1\nx-b: 2"),
    (b"x-a", b"1\0"),
    (b"x a", b"1"),
    (b"x-a:", b"1"),
    (b"x\r\nx-b", b"1"),
    (b"", b"1"),
    (b"Content-Length", b"0"),
    (b"Transfer-Encoding", b"chunked"),
    (b"Connection", b"close"),
    (b"Host", b"elsewhere"),
    (b"Authorization", b"Bearer other"),
    (b"Cookie", b"a=b"),
    (b"Proxy-Authorization", b"Basic x"),
    (b"Expect", b"100-continue"),
    (b"Upgrade", b"h2c"),
    (b"TE", b"trailers"),
]


async def test_headers_of_callers_cannot_change_the_request(client, serve):
    requests = []

    def script(connection):
        requests.append(read_request(connection))
        connection.sendall(OK)

    server = serve(script)
    sink = Listener()
    ask(client, server, sink, headers=[*HOSTILE, (b"X-Good", b" kept ")])
    await sink.over()
    lines = requests[0].split(b"\r\n")
    assert lines[1:-2] == [
        b"host: 127.0.0.1:%d" % server.port,
        b"authorization: Bearer k",
        b"content-length: 2",
        b"x-good: kept",
    ]


async def test_an_early_refusal_of_a_long_upload_is_heard(client, serve):
    """A server may answer before it has read everything, and close: its answer must not be lost to the failed write."""

    def script(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        # Reads on until the other side has seen the answer, as servers do that are afraid of a reset.
        while connection.recv(65536):
            pass

    server = serve(script)
    sink = Listener()
    ask(client, server, sink, body=b"x" * 50_000_000)
    await sink.over()
    assert (sink.status, sink.body, sink.kind) == (413, b"no", None)
    assert client.idle_connections == 0
