"""Connections that are kept: used again, limited, aged; a request on a stale one is sent again only if that is safe."""

import asyncio
import socket
import struct
import threading

import pytest
from services.router.tests.fakes.upstream import PATH, Listener, eventually, target
from tests.integration.faulty import read_request

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.client import ClientLimits, Timeouts

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def ask(client, server, sink=None, *, body=b"{}", times=None):
    sink = sink or Listener()
    sink.call = client.send(
        target(f"http://127.0.0.1:{server.port}/v1"), PATH, body, (), sink, times or Timeouts(connect=20)
    )
    return sink


def answer_all(connection):
    while read_request(connection):
        connection.sendall(OK)


async def test_calls_in_turn_share_a_connection(client, serve):
    server = serve(answer_all)
    for _ in range(5):
        sink = await ask(client, server).over()
        assert (sink.status, sink.body) == (200, b"ok")
    assert server.accepted == 1
    assert (client.counters.opened, client.counters.reused, client.counters.calls) == (1, 4, 5)
    assert client.idle_connections == 1


async def test_a_call_may_be_made_from_within_the_end_of_another(client, serve):
    server = serve(answer_all)
    first, second = Listener(), Listener()
    ask(client, server, first)
    first.upstream_end = lambda: ask(client, server, second)
    await second.over()
    assert second.body == b"ok"
    assert server.accepted == 1


async def test_no_more_connections_than_allowed_and_the_rest_waits_in_order(make_client, serve):
    gate = threading.Semaphore(0)
    seen = []

    def script(connection):
        while request := read_request(connection):
            seen.append(request.rpartition(b"\r\n")[2])
            gate.acquire()
            connection.sendall(OK)

    server = serve(script)
    client = make_client(max_connections_per_origin=2, limits=ClientLimits(waiting_per_origin=4))
    sinks = [ask(client, server, body=b"%d" % number) for number in range(2)]
    await eventually(lambda: len(seen) == 2)
    sinks += [ask(client, server, body=b"%d" % number) for number in range(2, 6)]
    refused = await ask(client, server, body=b"6").over()
    assert refused.kind is FailureKind.BUSY
    assert not refused.failure.sent
    assert client.open_connections == 2
    # A call that ends while it waits leaves the queue.
    sinks[3].call.cancel()
    for number in 2, 4, 5:
        gate.release()
        await eventually(lambda number=number: b"%d" % number in seen)
    gate.release()
    gate.release()
    for sink in sinks[:3] + sinks[4:]:
        await sink.over()
    assert sinks[3].events == []
    assert seen[2:] == [b"2", b"4", b"5"]
    assert server.accepted == 2


async def test_waiting_for_a_connection_takes_from_the_time_to_connect(make_client, serve):
    def script(connection):
        read_request(connection)
        connection.recv(1)

    server = serve(script)
    clock = ManualClock()
    client = make_client(clock, max_connections_per_origin=1)
    first = ask(client, server, times=Timeouts(connect=5, first_byte=100))
    await eventually(lambda: client.open_connections == 1)
    second = ask(client, server, times=Timeouts(connect=5))
    clock.advance(5)
    client.sweep()
    assert (second.kind, second.failure.sent) == (FailureKind.CONNECT_TIMEOUT, False)
    assert not first.is_over
    first.call.cancel()


async def test_unused_connections_age_and_only_so_many_are_kept(make_client, serve):
    gate = threading.Event()

    def script(connection):
        while read_request(connection):
            gate.wait()
            connection.sendall(OK)

    server = serve(script)
    clock = ManualClock()
    client = make_client(clock, limits=ClientLimits(idle_per_origin=2, idle_age_seconds=30))
    sinks = [ask(client, server) for _ in range(4)]
    await eventually(lambda: client.open_connections == 4)
    gate.set()
    for sink in sinks:
        await sink.over()
    assert client.idle_connections == 2
    await eventually(lambda: client.open_connections == 2)
    clock.advance(20)
    await ask(client, server).over()
    clock.advance(15)
    client.sweep()
    # One was used 15 s ago, the other 35 s ago.
    assert client.idle_connections == 1
    clock.advance(16)
    client.sweep()
    await eventually(lambda: client.open_connections == 0)
    assert server.accepted == 4


async def test_a_connection_that_closes_while_unused_is_forgotten(client, serve):
    closing = threading.Event()

    def script(connection):
        read_request(connection)
        connection.sendall(OK)
        closing.wait()

    server = serve(script)
    await ask(client, server).over()
    assert client.idle_connections == 1
    closing.set()
    await eventually(lambda: client.open_connections == 0)
    assert client.idle_connections == 0
    assert (await ask(client, server).over()).body == b"ok"
    assert client.counters.retried == 0


async def test_bytes_on_an_unused_connection_end_it(client, serve):
    go = threading.Event()

    def script(connection):
        read_request(connection)
        connection.sendall(OK)
        go.wait()
        connection.sendall(OK)
        connection.recv(1)

    server = serve(script)
    await ask(client, server).over()
    go.set()
    await eventually(lambda: client.open_connections == 0)


class Stale:
    """A server whose first connection answers once and is then given to `then`; the second one answers well.

    `then` runs after the client has read the first reply, and sets `closed` when it has done what it does. The second
    request is written after that and before the client's loop has seen anything of it: by a callback that blocks it.
    """

    def __init__(self, serve, then, again=None):
        self.read, self.closed = threading.Event(), threading.Event()
        self.then = then
        self.again = again or (lambda connection, _: (connection.sendall(OK), answer_all(connection)))
        self.requests = []
        self.server = serve(self._script)

    def _script(self, connection):
        first = self.server.accepted == 1
        self.requests.append(read_request(connection))
        if first:
            connection.sendall(OK)
            assert self.read.wait(30)
            self.then(connection, self)
        else:
            self.again(connection, self)

    async def second_call(self, client, body=b"second"):
        first, second = Listener(), Listener()

        def again():
            self.read.set()
            assert self.closed.wait(30)
            ask(client, self.server, second, body=body)
            self.after_write()

        first.upstream_end = again
        ask(client, self.server, first, body=b"first")
        return await second.over()

    def after_write(self):
        pass


@pytest.mark.parametrize("body", [b"second", b"s" * 1_000_000], ids=["small", "large"])
async def test_a_request_on_a_connection_that_closed_behind_its_reply_is_sent_again(client, serve, body):
    def then(connection, stale):
        connection.close()
        stale.closed.set()

    stale = Stale(serve, then)
    second = await stale.second_call(client, body)
    assert (second.status, second.body) == (200, b"ok")
    assert client.counters.retried == 1
    assert [request.rpartition(b"\r\n")[2] for request in stale.requests] == [b"first", body]


async def test_a_request_that_was_read_is_never_sent_again(client, serve):
    def then(connection, stale):
        stale.closed.set()
        stale.requests.append(read_request(connection))

    stale = Stale(serve, then)
    second = await stale.second_call(client)
    assert (second.kind, second.failure.sent) == (FailureKind.CUT, True)
    assert client.counters.retried == 0
    assert len(stale.requests) == 2


async def test_a_request_that_arrived_unread_is_never_sent_again(client, serve):
    """The server's kernel took it, so nobody can tell that the server did not."""
    written = threading.Event()

    def then(connection, stale):
        stale.closed.set()
        written.wait()
        connection.recv(1, socket.MSG_PEEK)
        connection.close()

    stale = Stale(serve, then)
    stale.after_write = written.set
    second = await stale.second_call(client)
    assert (second.kind, second.failure.sent) == (FailureKind.CUT, True)
    assert client.counters.retried == 0


async def test_a_request_on_a_connection_that_was_reset_is_never_sent_again(client, serve):
    def then(connection, stale):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        stale.closed.set()

    stale = Stale(serve, then)
    second = await stale.second_call(client)
    assert (second.kind, second.failure.sent) == (FailureKind.CUT, True)
    assert client.counters.retried == 0


async def test_a_request_is_never_sent_again_once_a_byte_of_reply_has_come(client, serve):
    def then(connection, stale):
        connection.sendall(b"HTTP/1.1 2")
        connection.close()
        stale.closed.set()

    stale = Stale(serve, then)
    second = await stale.second_call(client)
    assert second.kind in {FailureKind.CUT, FailureKind.PROTOCOL}
    assert client.counters.retried == 0


async def test_the_first_request_of_a_connection_is_never_sent_again(client, serve):
    server = serve(lambda connection: connection.recv(1, socket.MSG_PEEK))
    sink = await ask(client, server).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.CUT, True)
    assert (server.accepted, client.counters.retried) == (1, 0)


async def test_a_server_that_closes_what_it_accepts_is_asked_once(client, serve):
    for _ in range(20):
        server = serve(lambda connection: None)
        sink = await ask(client, server).over()
        assert (sink.kind, sink.failure.sent) in {(FailureKind.CUT, True), (FailureKind.REFUSED, False)}
        assert server.accepted == 1


async def test_a_request_is_sent_again_once(client, serve):
    """On a connection of its own, whose closing says nothing."""

    def then(connection, stale):
        connection.close()
        stale.closed.set()

    stale = Stale(serve, then, again=then)
    second = await stale.second_call(client)
    assert (second.kind, second.failure.sent) == (FailureKind.CUT, True)
    assert (stale.server.accepted, client.counters.retried) == (2, 1)


async def test_closing_the_client_ends_what_is_under_way(make_client, serve):
    server = serve(lambda connection: connection.recv(1_000_000) and connection.recv(1))
    client = make_client()
    sinks = [ask(client, server) for _ in range(3)]
    await eventually(lambda: client.open_connections == 3)
    late = ask(client, server)
    await client.close()
    assert [sink.kind for sink in [*sinks, late]] == [FailureKind.CUT] * 4
    after = await ask(client, server).over()
    assert after.kind is FailureKind.BUSY
    await asyncio.sleep(0)
    assert client.open_connections == 0
