"""Connect, first byte, idle and total time run apart; a call that is paused or cancelled holds nobody up."""

import threading
import time

import pytest
from services.router.tests.fakes.upstream import PATH, Listener, eventually, target
from tests.integration.faulty import read_request
from tests.servers.process import wait_until

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.client import Timeouts
from tollgate_router.upstream.sink import ClientLimits

pytestmark = pytest.mark.integration

TIMES = Timeouts(connect=10, first_byte=20, idle=30, total=1000)
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK, LAST = b"2\r\nok\r\n", b"0\r\n\r\n"


class Steps:
    """A server that reads a request and then sends one piece for each `go()`."""

    def __init__(self, serve, *pieces):
        self.pieces = pieces
        self.gate = threading.Semaphore(0)
        self.requests = self.sent = 0
        self.server = serve(self._script)

    def _script(self, connection):
        read_request(connection)
        self.requests += 1
        for piece in self.pieces:
            self.gate.acquire()
            connection.sendall(piece)
            self.sent += 1
        connection.recv(1)

    def go(self, times=1):
        self.gate.release(times)


@pytest.fixture
def steps_of(serve):
    """Makes servers of steps; at the end they run through."""
    made = []

    def make(*pieces):
        made.append(Steps(serve, *pieces))
        return made[-1]

    yield make
    for steps in made:
        steps.go(len(steps.pieces) + 1)


def ask(client, server, sink, times=TIMES, body=b"{}"):
    return client.send(target(f"http://127.0.0.1:{server.port}"), PATH, body, (), sink, times)


def hold_until_due():
    """Keeps the loop busy until the client's timer is due."""
    due = time.monotonic() + 2 * ClientLimits().sweep_seconds
    while time.monotonic() < due:
        pass


def at(client, clock, seconds):
    clock.advance(seconds)
    client.sweep()


async def test_a_client_that_stood_still_finds_nobody_too_slow_before_it_has_read_what_came(make_client, steps_of):
    """As after a stopped process: timer and reply are due at once, and a channel is not blamed for our own time."""
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    steps = steps_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    ask(client, steps.server, sink)
    await eventually(lambda: steps.requests)
    # From here to the next await the loop does nothing, for longer than the first byte may take.
    steps.go()
    wait_until(lambda: steps.sent, "the reply to be sent")
    clock.advance(25)
    hold_until_due()
    await sink.over()
    assert (sink.failure, sink.body) == (None, b"ok")


async def test_the_first_byte_is_the_end_of_the_head(make_client, steps_of):
    """Neither hints nor half a head buy time."""
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    steps = steps_of(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200")
    call = ask(client, steps.server, sink)
    await eventually(lambda: steps.requests)
    for _ in range(2):
        at(client, clock, 9)
        call.seen = False
        steps.go()
        await eventually(lambda: call.seen)
    assert not sink.is_over
    at(client, clock, 2)
    assert sink.kind is FailureKind.FIRST_BYTE_TIMEOUT
    assert sink.failure.sent


async def test_every_read_begins_the_idle_time_anew(make_client, steps_of):
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    steps = steps_of(HEAD + CHUNK, CHUNK, CHUNK)
    ask(client, steps.server, sink)
    await eventually(lambda: steps.requests)
    for number in range(3):
        steps.go()
        await sink.until(lambda number=number: len(sink.pieces) == number + 1)
        at(client, clock, 0.1)
        at(client, clock, 29)
        assert not sink.is_over
    at(client, clock, 2)
    assert sink.kind is FailureKind.IDLE_TIMEOUT
    assert sink.body == b"okokok"


async def test_the_total_time_runs_whatever_comes(make_client, steps_of):
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    steps = steps_of(HEAD + CHUNK, CHUNK)
    ask(client, steps.server, sink, Timeouts(connect=10, first_byte=20, idle=30, total=50))
    await eventually(lambda: steps.requests)
    for number in range(2):
        steps.go()
        await sink.until(lambda number=number: len(sink.pieces) == number + 1)
        at(client, clock, 24)
    assert not sink.is_over
    at(client, clock, 3)
    assert sink.kind is FailureKind.TOTAL_TIMEOUT


async def test_idle_time_stands_still_while_the_sink_is_paused(make_client, steps_of):
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    steps = steps_of(HEAD + CHUNK, CHUNK)
    call = ask(client, steps.server, sink)
    await eventually(lambda: steps.requests)
    steps.go()
    await sink.until(lambda: sink.pieces)
    call.pause()
    for _ in range(10):
        at(client, clock, 29)
    assert not sink.is_over
    call.resume()
    at(client, clock, 29)
    assert not sink.is_over
    at(client, clock, 2)
    assert sink.kind is FailureKind.IDLE_TIMEOUT


async def test_a_call_paused_before_its_reply_is_not_late_for_it(make_client, steps_of):
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    steps = steps_of(HEAD + CHUNK + LAST)
    call = ask(client, steps.server, sink)
    await eventually(lambda: steps.requests)
    call.pause()
    at(client, clock, 19)
    at(client, clock, 19)
    assert not sink.is_over
    call.resume()
    at(client, clock, 19)
    assert not sink.is_over
    at(client, clock, 2)
    assert sink.kind is FailureKind.FIRST_BYTE_TIMEOUT


async def test_pausing_does_not_stop_the_time_to_connect(make_client, steps_of):
    clock = ManualClock()
    client, first, second = make_client(clock, max_connections_per_origin=1), Listener(), Listener()
    steps = steps_of()
    ask(client, steps.server, first)
    await eventually(lambda: steps.requests)
    ask(client, steps.server, second).pause()
    at(client, clock, 11)
    assert second.kind is FailureKind.CONNECT_TIMEOUT


async def test_a_paused_call_reads_no_more_than_what_is_under_way(client, serve):
    size = 60_000_000
    sent = []

    def script(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 50_000):
            connection.sendall(b"x" * 50_000)
            sent.append(1)

    server = serve(script)
    received = 0
    calls = []

    def hold(data):
        nonlocal received
        received += len(data)
        calls[0].pause()

    sink = Listener(on_data=hold)
    calls.append(ask(client, server, sink))
    await sink.until(lambda: sink.pieces)
    before = received
    assert before <= 1_000_000
    # The server fills what the kernels hold, and stands still.
    await eventually(lambda: len(sent) >= 1)
    assert received == before
    sink.on_data = None
    calls[0].resume()
    await sink.over()
    assert (sink.failure, len(sink.body)) == (None, size)
    assert client.idle_connections == 1


async def test_the_time_to_the_first_byte_begins_when_the_request_has_left(make_client, serve):
    clock = ManualClock()
    client, sink = make_client(clock), Listener()
    gate = threading.Semaphore(0)
    read = []

    def script(connection):
        # A slow reader: as long as it takes something, the other side has not finished sending.
        rest = 30_000_000
        while rest > 0:
            gate.acquire()
            taken = 0
            while taken < 5_000_000 and rest > 0:
                part = len(connection.recv(65536))
                if not part:
                    return
                taken += part
                rest -= part
            read.append(taken)
        connection.recv(1)

    server = serve(script)
    call = ask(client, server, sink, body=b"x" * 30_000_000)
    await eventually(lambda: call.connection is not None)
    for number in range(4):
        gate.release()
        await eventually(lambda number=number: len(read) == number + 1)
        at(client, clock, 19)
        assert not sink.is_over
    # It takes nothing more: the request never leaves.
    at(client, clock, 19)
    at(client, clock, 19)
    assert sink.kind is FailureKind.FIRST_BYTE_TIMEOUT
    gate.release()
    gate.release()
    gate.release()


STAGES = ["waiting for a connection", "connecting", "waiting for the head", "reading", "within the head", "within data"]


@pytest.mark.parametrize("stage", STAGES)
async def test_a_call_cancelled_at_any_stage_is_heard_of_no_more(make_client, steps_of, stage):
    client = make_client(max_connections_per_origin=1)
    steps = steps_of(HEAD + CHUNK, CHUNK)
    first, sink = Listener(), Listener()
    if stage == "waiting for a connection":
        other = ask(client, steps.server, first)
        await eventually(lambda: steps.requests)
    call = ask(client, steps.server, sink)
    if stage == "within the head":
        sink.on_head = call.cancel
    elif stage == "within data":
        sink.on_data = lambda _: call.cancel()
    if stage not in {"waiting for a connection", "connecting"}:
        await eventually(lambda: steps.requests)
    if stage in {"reading", "within the head", "within data"}:
        steps.go()
        await sink.until(lambda: sink.events)
    if stage == "reading":
        await sink.until(lambda: sink.pieces)
    call.cancel()
    call.cancel()
    call.pause()
    call.resume()
    heard = list(sink.events)
    assert client.active_calls == (1 if stage == "waiting for a connection" else 0)
    if stage == "waiting for a connection":
        other.cancel()
    await eventually(lambda: client.open_connections == client.idle_connections)
    assert (
        sink.events
        == heard
        == {"within the head": ["head"], "within data": ["head", "data"]}.get(
            stage, ["head", "data"] if stage == "reading" else []
        )
    )
