"""Who gets which connection, when opening one is slow, fails, or ends after its time."""

import asyncio

import pytest
from services.router.tests.fakes.upstream import Listener, Wire, eventually

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.target import split_base_url
from tollgate_router.upstream.call import UpstreamCall
from tollgate_router.upstream.connector import CannotConnect
from tollgate_router.upstream.pool import Counters, Pool
from tollgate_router.upstream.sink import ClientLimits, Timeouts

pytestmark = pytest.mark.unit

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n%b\r\nok"


class ClosingWire(Wire):
    """Tells its connection, as a loop does, when it is closed."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def abort(self):
        super().abort()
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


class Attempts:
    """Stands where connections are opened: each attempt ends when the test says how."""

    def __init__(self):
        self.pending = []

    async def connect(self, origin, make, seconds):
        ending = asyncio.get_running_loop().create_future()
        self.pending.append(ending)
        error = await ending
        if error is not None:
            raise error
        connection = make(None)
        connection.connection_made(ClosingWire(connection))
        return connection

    async def begun(self, number):
        await eventually(lambda: len(self.pending) >= number)

    async def end(self, number, kind=None):
        self.pending[number].set_result(None if kind is None else CannotConnect(kind, "said the test"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class World:
    def __init__(self, **limits):
        self.clock = ManualClock()
        self.attempts = Attempts()
        self.counters = Counters()
        origin, _ = split_base_url("http://a.example", private_network=False)
        self.pool = Pool(origin, self.attempts, ClientLimits(**limits), self.clock, self.counters)

    def ask(self, connect=5.0):
        sink = Listener()
        now = self.clock.monotonic()
        sink.call = UpstreamCall("main", self.pool, (b"request",), sink, Timeouts(connect=connect), now)
        self.pool.start(sink.call, now)
        return sink

    def answer(self, sink, extra=b""):
        connection = sink.call.connection
        connection.data_received(OK % extra)
        assert sink.events[-1] == "end"
        return connection

    def lose(self, connection, *, untouched=False):
        """The connection closes under its request."""
        connection._ended = True
        connection._untouched = untouched
        connection.connection_lost(None)


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.pool.close()


async def test_the_oldest_call_gets_the_first_connection(world):
    first, second = world.ask(), world.ask()
    await world.attempts.begun(2)
    await world.attempts.end(1)
    assert (first.call.connection is not None, second.call.connection) == (True, None)
    await world.attempts.end(0)
    assert second.call.connection is not None


async def test_a_connection_that_is_free_earlier_is_used_and_the_new_one_kept(world):
    first = world.ask()
    await world.attempts.begun(1)
    await world.attempts.end(0)
    second = world.ask()
    await world.attempts.begun(2)
    world.answer(first)
    assert second.call.connection is not None
    await world.attempts.end(1)
    assert world.pool.idle_connections == 1


async def test_a_refusal_ends_one_call_and_the_others_try_on(world):
    first, second = world.ask(), world.ask()
    await world.attempts.begun(2)
    await world.attempts.end(0, FailureKind.REFUSED)
    assert (first.kind, second.kind) == (FailureKind.REFUSED, None)
    await world.attempts.end(1)
    assert second.call.connection is not None
    assert len(world.attempts.pending) == 2


async def test_an_attempt_that_is_late_does_not_end_a_call_that_came_later(world):
    """The attempt began for a call that is gone; its time is not the time of the call that waits now."""
    first = world.ask()
    await world.attempts.begun(1)
    first.call.cancel()
    world.clock.advance(4)
    second = world.ask()
    assert len(world.attempts.pending) == 1
    world.clock.advance(1)
    await world.attempts.end(0, FailureKind.CONNECT_TIMEOUT)
    assert not second.is_over
    await world.attempts.begun(2)
    await world.attempts.end(1)
    assert second.call.connection is not None


async def test_an_attempt_that_is_late_ends_the_calls_that_are_late_themselves(world):
    first, second = world.ask(connect=5), world.ask(connect=50)
    await world.attempts.begun(2)
    world.clock.advance(5)
    await world.attempts.end(0, FailureKind.CONNECT_TIMEOUT)
    assert (first.kind, second.kind) == (FailureKind.CONNECT_TIMEOUT, None)


async def test_a_call_whose_connection_was_stale_gets_one_that_nobody_used(world):
    first = world.ask()
    await world.attempts.begun(1)
    await world.attempts.end(0)
    connection = world.answer(first)
    second = world.ask()
    assert second.call.connection is connection
    world.lose(connection, untouched=True)
    assert not second.is_over
    await world.attempts.begun(2)
    await world.attempts.end(1)
    assert second.call.connection not in {None, connection}
    assert world.counters.retried == 1


async def test_unused_connections_make_room_for_a_call_that_needs_a_new_one():
    world = World(connections_per_origin=2)
    sinks = [world.ask(), world.ask()]
    await world.attempts.begun(2)
    await world.attempts.end(0)
    await world.attempts.end(1)
    for sink in sinks:
        world.answer(sink)
    assert world.pool.idle_connections == 2
    # As after a stale connection whose place was taken at once.
    waiting = Listener()
    waiting.call = UpstreamCall("main", world.pool, (b"request",), waiting, Timeouts(), 0.0)
    world.pool.retry(waiting.call)
    assert world.pool.idle_connections == 1
    await world.attempts.begun(3)
    await world.attempts.end(2)
    assert waiting.call.connection is not None
    assert world.pool.open_connections == 2
    await world.pool.close()


async def test_a_saturated_pool_lets_old_connections_go():
    world = World(connections_per_origin=1, connection_age_seconds=100)
    first, second = world.ask(), world.ask()
    await world.attempts.begun(1)
    await world.attempts.end(0)
    world.clock.advance(101)
    world.pool.expire(world.clock.monotonic())
    old = first.call.connection
    world.answer(first)
    assert old._transport.closing
    await world.attempts.begun(2)
    await world.attempts.end(1)
    assert second.call.connection not in {None, old}
    await world.pool.close()


async def test_warming_opens_what_is_missing_and_bothers_no_call(world):
    world.pool.warm(2)
    await world.attempts.begun(2)
    world.pool.warm(2)
    assert len(world.attempts.pending) == 2
    await world.attempts.end(0)
    await world.attempts.end(1, FailureKind.REFUSED)
    assert (world.pool.idle_connections, world.pool.open_connections) == (1, 1)
    sink = world.ask()
    assert sink.call.connection is not None
    # It fills up again, whether they are used or not.
    world.pool.warm(2)
    await world.attempts.begun(3)
    await world.attempts.end(2)
    assert world.pool.open_connections == 2


async def test_a_call_may_get_the_connection_that_was_opened_in_advance(world):
    world.pool.warm(1)
    await world.attempts.begun(1)
    sink = world.ask()
    await world.attempts.end(0)
    assert sink.call.connection is not None
    assert len(world.attempts.pending) == 1


PROMISES = {
    b"": 45,
    b"Keep-Alive: timeout=5\r\n": 4,
    b"Keep-Alive: timeout=5, max=100\r\n": 4,
    b"Keep-Alive: max=100, timeout = 5\r\n": 4,
    b"Keep-Alive: timeout=500\r\n": 45,
    b"Keep-Alive: timeout=0\r\n": 0,
    b"Keep-Alive: xtimeout=5\r\n": 45,
    b"Keep-Alive: timeout=-5\r\n": 45,
    b"Keep-Alive: timeout=99999999\r\n": 45,
    b"Keep-Alive: nonsense\r\n": 45,
}


@pytest.mark.parametrize("promise", PROMISES)
async def test_a_connection_is_left_before_the_server_leaves_it(world, promise):
    sink = world.ask()
    await world.attempts.begun(1)
    await world.attempts.end(0)
    connection = world.answer(sink, promise)
    start = world.clock.monotonic()
    world.pool.expire(start + PROMISES[promise])
    assert not connection._transport.closing
    world.pool.expire(start + PROMISES[promise] + 0.1)
    assert connection._transport.closing


async def test_closing_ends_the_attempts_too(world):
    sink = world.ask()
    await world.attempts.begun(1)
    sink.call.fail(FailureKind.CUT)
    await world.pool.close()
    assert world.pool.is_empty
    assert world.attempts.pending[0].cancelled()
