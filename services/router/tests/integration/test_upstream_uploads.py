"""Requests whose body comes in pieces: chunks or a length, room and none, and replies that come before the end."""

import threading

import h11
import pytest
from services.router.tests.fakes.upstream import PATH, Listener, eventually, target

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.client import ClientLimits, Timeouts

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TIMES = Timeouts(connect=20, first_byte=20, idle=20, total=1000)


class Reader:
    """A server that reads each request with a second parser, as fast as `gate` lets it, and answers it."""

    def __init__(self, serve, *, gated=False):
        self.requests = []
        self.received = 0
        self.gate = threading.Semaphore(0) if gated else None
        self.server = serve(self._script)

    def _script(self, connection):
        while True:
            parser = h11.Connection(h11.SERVER)
            head, body = None, []
            while True:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    if self.gate is not None:
                        self.gate.acquire()
                    data = connection.recv(100_000)
                    if not data:
                        return
                    parser.receive_data(data)
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body.append(bytes(event.data))
                    self.received += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
            self.requests.append((dict(head.headers), b"".join(body)))
            connection.sendall(OK)


def upload(client, server, sink, **options):
    return client.upload(target(f"http://127.0.0.1:{server.port}/v1"), PATH, [(b"x-a", b"1")], sink, TIMES, **options)


PIECES = [b"one", b"", b"t" * 70_000, b"three\r\n0\r\n\r\n"]


@pytest.mark.parametrize("before", [True, False], ids=["before a connection is there", "after"])
@pytest.mark.parametrize("length", [None, sum(map(len, PIECES))], ids=["chunks", "a length"])
async def test_a_body_in_pieces_arrives_whole(client, serve, length, before):
    reader, sink = Reader(serve), Listener()
    call = upload(client, reader.server, sink, length=length)
    if not before:
        await eventually(lambda: call.has_room)
    for piece in PIECES:
        call.feed(piece)
    call.finish()
    call.finish()
    await sink.over()
    assert (sink.status, sink.body) == (200, b"ok")
    headers, body = reader.requests[0]
    assert body == b"".join(PIECES)
    assert headers.get(b"transfer-encoding") == (b"chunked" if length is None else None)
    assert headers.get(b"content-length") == (None if length is None else b"%d" % length)
    assert headers[b"x-a"] == b"1"
    assert client.idle_connections == 1


async def test_an_empty_body_is_whole(client, serve):
    reader = Reader(serve)
    for length in None, 0:
        sink = Listener()
        upload(client, reader.server, sink, length=length).finish()
        await sink.over()
        assert sink.body == b"ok"
    assert [body for _, body in reader.requests] == [b"", b""]


async def test_an_upload_takes_no_connection_that_may_be_stale_and_leaves_one_that_serves_on(client, serve):
    reader = Reader(serve)
    for number in range(2):
        sink = Listener()
        upload(client, reader.server, sink).finish()
        await sink.over()
        assert reader.server.accepted == number + 1
    sink = Listener()
    client.send(target(f"http://127.0.0.1:{reader.server.port}/v1"), PATH, b"{}", (), sink, TIMES)
    await sink.over()
    assert reader.server.accepted == 2


async def test_a_slow_server_is_fed_as_it_reads(client, serve):
    reader, sink = Reader(serve, gated=True), Listener()
    fed = 0
    total = 9_000_000
    rooms = []

    def on_room():
        nonlocal fed
        rooms.append(fed)
        while call.has_room and fed < total:
            call.feed(b"x" * 100_000)
            fed += 100_000
        if fed == total:
            call.finish()

    call = upload(client, reader.server, sink, on_room=on_room)
    await eventually(lambda: fed and not call.has_room)
    stood = fed
    assert stood < total
    reader.gate.release(100_000)
    await sink.over()
    assert sink.body == b"ok"
    assert len(reader.requests[0][1]) == total
    assert len(rooms) > 2


@pytest.mark.parametrize("size", [1000, 60_000, 9_000_000])
async def test_what_was_fed_before_a_connection_was_there_leaves_no_room_until_it_is_taken(client, serve, size):
    reader, sink = Reader(serve, gated=True), Listener()
    rooms = []
    call = upload(client, reader.server, sink, on_room=lambda: rooms.append(reader.received))
    assert call.feed(b"x" * size) is False
    if size < 1_000_000:
        await eventually(lambda: call.has_room)
    else:
        await eventually(lambda: call.unsent)
        assert not call.has_room
        assert rooms == []
    reader.gate.release(100_000)
    await eventually(lambda: rooms)
    call.finish()
    await sink.over()
    assert len(reader.requests[0][1]) == size


async def test_a_reply_before_the_end_is_heard_and_ends_the_connection(client, serve):
    def script(connection):
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        while connection.recv(65536):
            pass

    server, sink = serve(script), Listener()
    call = upload(client, server, sink)
    call.feed(b"x" * 1000)
    await sink.over()
    assert (sink.status, sink.body) == (413, b"no")
    assert not call.has_room
    assert call.feed(b"more") is False
    call.finish()
    assert client.idle_connections == 0


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def read_head(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(1)
        if not part:
            return head
        head += part
    return head


class Asked:
    """A server that is asked whether it wants a body: answers with `first`, and reads on when that is to continue."""

    def __init__(self, serve, first):
        self.first = first
        self.heads = []
        self.bodies = []
        self.server = serve(self._script)

    def _script(self, connection):
        self.heads.append(read_head(connection))
        connection.sendall(self.first)
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            part = connection.recv(65536)
            if not part:
                break
            body += part
        self.bodies.append(body)
        if body:
            connection.sendall(OK)
            connection.recv(1)


async def test_a_body_that_is_asked_about_goes_when_it_is_wanted(client, serve):
    asked, sink = Asked(serve, b"HTTP/1.1 103 Early Hints\r\n\r\n" + CONTINUE + CONTINUE), Listener()
    call = upload(client, asked.server, sink, expects=True)
    call.feed(b"hello")
    await eventually(lambda: call.has_room)
    call.feed(b"world")
    call.finish()
    await sink.over()
    assert sink.body == b"ok"
    assert b"\r\nexpect: 100-continue\r\n" in asked.heads[0]
    assert asked.bodies == [b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"]
    assert client.idle_connections == 1


async def test_a_body_that_was_finished_before_goes_whole_when_it_is_wanted(client, serve):
    asked, sink = Asked(serve, CONTINUE), Listener()
    call = upload(client, asked.server, sink, expects=True)
    call.feed(b"hello")
    call.finish()
    await sink.over()
    assert sink.body == b"ok"
    assert asked.bodies == [b"5\r\nhello\r\n0\r\n\r\n"]
    assert client.idle_connections == 1


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"417 Expectation Failed", b"200 OK"])
async def test_a_body_that_is_not_wanted_never_leaves(client, serve, status):
    asked, sink = Asked(serve, b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\nno"), Listener()
    call = upload(client, asked.server, sink, expects=True)
    call.feed(b"x" * 100_000)
    call.finish()
    await sink.over()
    assert (sink.status, sink.body) == (int(status[:3]), b"no")
    # The server may still wait for the body: the connection serves nobody else.
    assert client.idle_connections == 0
    await eventually(lambda: asked.bodies)
    assert asked.bodies == [b""]


async def test_a_body_goes_unasked_when_the_server_says_nothing_for_a_second(make_client, serve):
    clock = ManualClock()
    asked, sink = Asked(serve, b""), Listener()
    client = make_client(clock)
    call = upload(client, asked.server, sink, expects=True)
    call.feed(b"hello")
    await eventually(lambda: asked.heads)
    # The head has left.
    client.sweep()
    clock.advance(0.9)
    client.sweep()
    assert not call.has_room
    clock.advance(0.2)
    client.sweep()
    assert call.has_room
    call.finish()
    await sink.over()
    assert (sink.body, asked.bodies) == (b"ok", [b"5\r\nhello\r\n0\r\n\r\n"])


async def test_a_length_that_does_not_come_true_is_the_callers_mistake(client, serve):
    reader, sink = Reader(serve), Listener()
    call = upload(client, reader.server, sink, length=5)
    call.feed(b"four")
    with pytest.raises(ValueError, match="less than"):
        call.finish()
    with pytest.raises(ValueError, match="more than"):
        call.feed(b"56")
    call.feed(b"5")
    call.finish()
    with pytest.raises(ValueError, match="finished"):
        call.feed(b"6")
    await sink.over()
    assert reader.requests[0][1] == b"four5"


async def test_a_cut_upload_is_never_sent_again(client, serve):
    server, sink = serve(lambda connection: connection.recv(10)), Listener()
    call = upload(client, server, sink)
    call.feed(b"x" * 1000)
    await sink.over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.CUT, True)
    assert (server.accepted, client.counters.retried) == (1, 0)
    call.feed(b"more")
    call.finish()


async def test_while_the_caller_thinks_only_the_total_time_runs(make_client, serve):
    clock = ManualClock()
    reader, sink = Reader(serve), Listener()
    client = make_client(clock)
    call = upload(client, reader.server, sink)
    call.feed(b"x")
    await eventually(lambda: reader.received == 1)
    for _ in range(5):
        clock.advance(19)
        client.sweep()
    clock.advance(19)
    client.sweep()
    assert not sink.is_over
    clock.advance(1000)
    client.sweep()
    assert sink.kind is FailureKind.TOTAL_TIMEOUT


async def test_a_server_that_takes_no_more_is_late(make_client, serve):
    clock = ManualClock()
    reader, sink = Reader(serve, gated=True), Listener()
    client = make_client(clock)
    call = upload(client, reader.server, sink)
    await eventually(lambda: call.has_room)
    while call.has_room:
        call.feed(b"x" * 1_000_000)
    for _ in range(3):
        clock.advance(19)
        client.sweep()
    assert sink.kind is FailureKind.FIRST_BYTE_TIMEOUT
    reader.gate.release(1000)


async def test_an_upload_can_be_cancelled_at_any_time(make_client, serve):
    reader = Reader(serve)
    client = make_client(limits=ClientLimits(connections_per_origin=1, waiting_per_origin=2))
    first, second, third = Listener(), Listener(), Listener()
    calls = [upload(client, reader.server, sink) for sink in (first, second, third)]
    await third.over()
    assert third.kind is FailureKind.BUSY
    calls[0].feed(b"x")
    calls[1].cancel()
    calls[0].cancel()
    calls[0].feed(b"y")
    calls[0].finish()
    await eventually(lambda: client.open_connections == 0)
    assert first.events == second.events == []
