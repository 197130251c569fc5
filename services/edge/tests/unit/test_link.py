"""A stream to a router: what it writes and when, and whatever ends it, what was open is told."""

import asyncio

import pytest
from tests.fuzz.counted_loop import run

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.link import Outbox, RouterPeer, RouterPool, RouterStream
from tollgate_edge.telemetry import InferenceCounters

pytestmark = pytest.mark.unit

HOUR = 3600.0


class Call:
    """A call that keeps what is sent."""

    def __init__(self):
        self.writable = True
        self.written = []
        self.done = self.cancelled = False

    def send(self, message):
        self.written.append(wire.EdgeBatch.FromString(message))

    def done_writing(self):
        self.done = True

    def cancel(self):
        self.cancelled = True


class Open:
    """A request that is open on the stream."""

    def __init__(self):
        self.told = 0

    def lost(self):
        self.told += 1


@pytest.fixture
async def stream():
    found = RouterStream(0.0)
    found.call = Call()
    return found


async def turn():
    """Lets everything run that waits for nothing."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_comes_in_one_turn_of_the_loop_leaves_in_one_batch(stream):
    stream.outbox.ack(7)
    for _ in range(3):
        stream.outbox.open(0, id=stream.open(Open()))
    assert stream.call.written == []
    await turn()
    (batch,) = stream.call.written
    assert ([opened.id for opened in batch.open], list(batch.ack)) == ([1, 2, 3], [7])


async def test_acknowledgements_wait_for_company():
    stream = RouterStream(0.0)
    stream.call = Call()
    stream._pace._long = HOUR
    stream._pace.left()
    stream.outbox.ack(1)
    await turn()
    assert stream.call.written == []
    stream.outbox.cancel(2, wire.CANCEL_REASON_CLIENT_GONE)
    await turn()
    (batch,) = stream.call.written
    assert list(batch.ack) == [1]


async def test_a_router_that_takes_no_more_is_waited_for(stream):
    stream.call.writable = False
    stream.outbox.open(0, id=1)
    await turn()
    stream.outbox.open(0, id=2)
    await turn()
    assert stream.call.written == []
    stream.call.writable = True
    stream.on_writable()
    await turn()
    (batch,) = stream.call.written
    assert [opened.id for opened in batch.open] == [1, 2]


@pytest.mark.parametrize("how", ["ended", "lost", "cancelled", "garbled"])
async def test_however_a_stream_ends_what_was_open_is_told_once(stream, how):
    request = Open()
    frame_id = stream.open(request)
    stream.outbox.open(0, id=frame_id)
    if how == "ended":
        stream.on_end()
    elif how == "lost":
        stream.on_lost("the connection broke")
    else:
        stream.cancel() if how == "cancelled" else stream.on_message(b"\xff")
        assert stream.call.cancelled
    stream.on_lost("once more")
    stream.outbox.cancel(frame_id, wire.CANCEL_REASON_CLIENT_GONE)
    await turn()
    assert stream.closed
    assert stream.changed.is_set()
    assert request.told == 1
    assert not stream.pending
    assert stream.call.written == []


class Failing(Open):
    """One that can do nothing with what it gets."""

    def deliver(self, head, data, end):
        raise RuntimeError("planted")

    lost = credit = deliver

    def broke(self):
        self.told += 1


class Working(Open):
    """One that keeps what it gets."""

    def __init__(self):
        super().__init__()
        self.data = b""

    def deliver(self, head, data, end):
        self.data += data


async def test_what_one_request_cannot_take_ends_that_one_alone(stream):
    failing, working = Failing(), Working()
    batch = wire.RouterBatch()
    for request in (failing, working):
        batch.data.add(id=stream.open(request), data=b"x")
    stream.on_message(batch.SerializeToString())
    assert (failing.told, working.data, stream.closed) == (1, b"x", False)
    stream.on_lost("the connection broke")
    assert (failing.told, working.told) == (2, 1)
    assert stream.changed.is_set()


async def test_a_batch_that_cannot_be_sent_stops_no_later_one(stream, monkeypatch):
    whole = stream.call.send

    def fails(_message):
        raise RuntimeError("planted")

    failed = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: failed.set())
    monkeypatch.setattr(stream.call, "send", fails)
    stream.outbox.open(0, id=1)
    await failed.wait()
    monkeypatch.setattr(stream.call, "send", whole)
    stream.outbox.open(0, id=2)
    await turn()
    (batch,) = stream.call.written
    assert [opened.id for opened in batch.open] == [2]


async def test_a_stream_finishes_when_nothing_is_open(stream):
    stream.outbox.ack(1)
    await stream.finish()
    assert [list(batch.ack) for batch in stream.call.written] == [[1]]
    assert stream.call.done


async def test_a_stream_that_has_ended_finishes_without_a_word(stream):
    stream.outbox.ack(1)
    stream.on_lost("the connection broke")
    await stream.finish()
    assert not stream.call.written
    assert not stream.call.done


async def test_the_router_with_the_fewest_open_requests_is_asked_whosever_they_are():
    pool = RouterPool(["unix:a", "unix:b"], pause_seconds=0, on_ready=lambda: None, counters=InferenceCounters())
    for peer in pool.peers:
        peer.stream = RouterStream(0.0)
        peer.streams.add(peer.stream)
    first, second = (peer.stream for peer in pool.peers)
    first.open(Open())
    assert pool.pick() is second
    # Another edge has three open there, beside one of ours.
    second.open(Open())
    second.on_message(wire.RouterBatch(open_requests=4).SerializeToString())
    assert pool.pick() is first
    # What it said a while ago counts no more.
    second._said_at -= HOUR
    first.open(Open())
    assert pool.pick() is second
    # A renewed stream left two requests on the one before it.
    old = RouterStream(0.0)
    pool.peers[1].streams.add(old)
    for _ in range(2):
        old.open(Open())
    assert pool.pick() is first


def pool_of(addresses, on_ready=lambda: None):
    """Returns a pool, each of whose routers has a stream that writes to a `Call`."""
    pool = RouterPool(addresses, pause_seconds=0, on_ready=on_ready, counters=InferenceCounters())
    for peer in pool.peers:
        peer.stream = RouterStream(0.0, on_room=on_ready)
        peer.stream.call = Call()
        peer.streams.add(peer.stream)
    return pool


@pytest.mark.parametrize(("requests", "body"), [(400, 64 * 1024), (40_000, 300)])
async def test_callers_that_leave_a_router_that_reads_nothing_fill_its_queue_to_a_limit(requests, body):
    came = []
    pool = pool_of(["unix:a"], lambda: came.append(pool.pick()))
    silent = pool.peers[0].stream
    silent.call.writable = False
    sent = 0
    for _ in range(requests):
        if (stream := pool.pick()) is None:
            break
        # Its caller left: nothing counts its body any more, but it waits in the queue all the same.
        stream.outbox.open(body, id=stream.open(Open()), body=b"x" * body)
        del stream.pending[stream._next_id]
        sent += 1
    assert 0 < sent < requests
    assert silent.outbox.bytes <= 17 * 2**20
    assert silent.outbox.frames <= 16_385
    assert came == []
    # It reads on: whoever waits is let in.
    silent.call.writable = True
    silent.on_writable()
    await turn()
    assert came == [silent]
    assert sum(len(batch.open) for batch in silent.call.written) == sent


async def test_another_router_is_asked_while_the_queue_to_one_is_full():
    pool = pool_of(["unix:a", "unix:b"])
    silent, other = (peer.stream for peer in pool.peers)
    silent.call.writable = False
    silent.outbox.body(1, b"x" * (16 * 2**20 + 1))
    other.open(Open())
    assert pool.pick() is other
    assert pool.pick(other) is None


def test_a_router_that_closes_at_once_is_asked_again_ever_more_seldom_up_to_once_a_second(tmp_path):
    came = []

    async def main():
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        began = loop.time()

        def close(_, writer):
            came.append(round(loop.time() - began, 3))
            writer.transport.abort()
            if len(came) == 8:
                stopping.set()

        server = await asyncio.start_unix_server(close, tmp_path / "r")
        peer = RouterPeer(f"unix:{tmp_path}/r", 0.0, lambda: None, InferenceCounters())
        await peer.run(stopping)
        server.close()
        await server.wait_closed()
        assert (peer.opened, peer.stream) == (0, None)

    run(main)
    assert came == [0, 0.05, 0.15, 0.35, 0.75, 1.55, 2.55, 3.55]


def test_half_an_open_never_leaves():
    outbox = Outbox(lambda _: None)
    with pytest.raises(Exception, match="Error parsing"):
        outbox.open(0, b"\xff", id=7)
    outbox.open(0, wire.Open(model="m").SerializeToString(), id=8)
    (batch,) = outbox.take()
    assert [(frame.id, frame.model) for frame in wire.EdgeBatch.FromString(batch).open] == [(8, "m")]
