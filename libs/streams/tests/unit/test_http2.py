"""One end of a connection, byte by byte: what is taken, what is sent, and what ends the connection."""

import asyncio
import select
import socket
import struct

import pytest
from hpack import Decoder, Encoder

from tollgate_streams import frames as http2
from tollgate_streams.client import call
from tollgate_streams.http2 import Connection

pytestmark = pytest.mark.unit


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written = bytearray()
        self.closing = False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    abort = close

    def frames(self):
        """Returns what was written since the last look, as (kind, flags, stream, payload)."""
        found, data = [], bytes(self.written)
        self.written.clear()
        while data:
            high, low, kind, flags, stream = struct.unpack(">BHBBL", data[:9])
            length = high << 16 | low
            found.append((kind, flags, stream, data[9 : 9 + length]))
            data = data[9 + length :]
        return found


class Listener:
    def __init__(self):
        self.told = []

    def on_headers(self, headers, *, last):
        self.told.append(("headers", headers, last))

    def on_message(self, message):
        self.told.append(("message", message))

    def on_end(self):
        self.told.append(("end",))

    def on_lost(self, reason):
        self.told.append(("lost", reason))

    def on_writable(self):
        self.told.append(("writable",))


@pytest.fixture
async def end():
    """Yields a connection with stream 1, its transport and its listener."""
    connection, transport, listener = Connection(), Transport(), Listener()
    connection.connection_made(transport)
    connection.stream = connection.add(1, listener)
    transport.frames()
    yield connection, transport, listener
    connection.close("over")


def frame(kind, flags=0, stream=1, payload=b""):
    return struct.pack(">BHBBL", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def message(data):
    return struct.pack(">BL", 0, len(data)) + data


def window(size, stream=0):
    return frame(http2.WINDOW_UPDATE, 0, stream, struct.pack(">L", size))


async def test_an_end_says_what_it_takes():
    connection, transport = Connection(), Transport()
    connection.connection_made(transport)
    (kind, _, _, settings), (_, _, stream, more) = transport.frames()
    assert kind == http2.SETTINGS
    said = dict(struct.iter_unpack(">HL", settings))
    assert said[2] == 0
    assert said[5] >= 256 * 1024 + 64 * 1024
    assert (stream, struct.unpack(">L", more)[0]) == (0, said[4] - 65_535)
    connection.close("over")


@pytest.mark.parametrize("size", range(1, 60, 3))
def test_messages_arrive_whole_however_the_bytes_are_split(end, size):
    connection, _, listener = end
    block = Encoder().encode([("grpc-status", "0")])
    stream = message(b"") + message(b"one") + message(b"x" * 300)
    data = frame(http2.DATA, 0, 1, stream[:4]) + frame(http2.DATA, http2.PADDED, 1, b"\x02" + stream[4:20] + b"\0\0")
    data += frame(200, 0, 1, b"an extension") + frame(http2.DATA, 0, 1, stream[20:])
    data += frame(http2.HEADERS, http2.END_STREAM, 1, block[:3]) + frame(http2.CONTINUATION, 4, 1, block[3:])
    for at in range(0, len(data), size):
        connection.data_received(data[at : at + size])
    assert listener.told == [
        ("message", b""),
        ("message", b"one"),
        ("message", b"x" * 300),
        ("headers", [("grpc-status", "0")], True),
        ("end",),
    ]


def test_what_the_windows_do_not_let_through_waits_and_leaves_in_order(end):
    connection, transport, listener = end
    stream = connection.stream
    stream.send(b"a" * 60_000)
    assert stream.writable
    stream.send(b"b" * 60_000)
    stream.headers([("grpc-status", "0")], last=True)
    assert not stream.writable
    sent = transport.frames()
    assert sum(len(payload) for kind, *_, payload in sent if kind == http2.DATA) == 65_535
    assert all(len(payload) <= 16_384 for *_, payload in sent)
    connection.data_received(window(1_000_000))
    assert not transport.frames()
    assert not stream.writable
    connection.data_received(window(1_000_000, 1))
    rest = transport.frames()
    data = b"".join(payload for kind, *_, payload in sent + rest if kind == http2.DATA)
    assert data == message(b"a" * 60_000) + message(b"b" * 60_000)
    kind, flags, _, block = rest[-1]
    assert (kind, flags) == (http2.HEADERS, http2.END_HEADERS | http2.END_STREAM)
    assert Decoder().decode(block) == [("grpc-status", "0")]
    assert listener.told == [("writable",)]


def test_larger_frames_and_windows_of_the_other_end_are_used(end):
    connection, transport, _ = end
    settings = struct.pack(">HLHL", 4, 1_000_000, 5, 500_000)
    connection.data_received(frame(http2.SETTINGS, 0, 0, settings) + window(1_000_000))
    assert transport.frames() == [(http2.SETTINGS, http2.ACK, 0, b"")]
    connection.stream.send(b"x" * 400_000)
    assert [len(payload) for *_, payload in transport.frames()] == [400_005]


def test_leave_to_go_on_is_given_before_the_window_is_used_up(end):
    connection, transport, listener = end
    part = frame(http2.DATA, 0, 1, message(b"x" * 499_995))
    for _ in range(9):
        connection.data_received(part)
    given = {stream: struct.unpack(">L", payload)[0] for kind, _, stream, payload in transport.frames() if kind == 8}
    assert given == {0: 4_500_000, 1: 4_500_000}
    assert len(listener.told) == 9


def test_a_transport_that_is_full_makes_streams_wait(end):
    connection, _, listener = end
    connection.pause_writing()
    assert not connection.stream.writable
    connection.resume_writing()
    assert connection.stream.writable
    assert listener.told == [("writable",)]


def test_a_ping_is_answered_and_a_settings_ack_is_not(end):
    connection, transport, _ = end
    connection.data_received(frame(http2.PING, 0, 0, b"12345678") + frame(http2.SETTINGS, http2.ACK, 0))
    assert transport.frames() == [(http2.PING, http2.ACK, 0, b"12345678")]


async def test_silence_is_asked_and_then_ends_the_connection(end):
    connection, transport, listener = end
    connection._keep_alive()
    assert [kind for kind, *_ in transport.frames()] == [http2.PING]
    connection.data_received(frame(http2.PING, http2.ACK, 0, b"tollgate"))
    connection._keep_alive()
    assert transport.frames() == []
    connection._keep_alive()
    assert not connection.closed
    connection._keep_alive()
    assert connection.closed
    assert listener.told == [("lost", "the other end does not answer")]


@pytest.fixture
def frozen(tmp_path):
    """Yields the address of a peer that is connected to and reads nothing, and a wait until its connection is gone."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "frozen.sock"))
        listening.listen()

        def gone():
            peer, _ = listening.accept()
            with peer:
                # Asked for nothing, it says only that the other end is gone.
                poller = select.poll()
                poller.register(peer, 0)
                return bool(poller.poll(30_000))

        yield f"unix:{tmp_path}/frozen.sock", gone


@pytest.mark.parametrize("unsent", [0, 4_000_000])
async def test_a_peer_that_reads_nothing_keeps_no_connection_open(frozen, unsent):
    address, gone = frozen
    one = await call(address, "/test.Echo/Stream", Listener())
    one.data_received(window(2 * unsent + 1, 0) + window(2 * unsent + 1, 1))
    one.send(bytes(unsent))
    assert one.write_paused == bool(unsent)
    one.cancel()
    assert await asyncio.to_thread(gone)


async def test_what_a_slow_peer_reads_within_a_second_arrives(tmp_path):
    arrived = asyncio.get_running_loop().create_future()

    async def slow(reader, writer):
        arrived.set_result(await reader.read(-1))
        writer.close()

    async with await asyncio.start_unix_server(slow, tmp_path / "slow.sock"):
        one = await call(f"unix:{tmp_path}/slow.sock", "/test.Echo/Stream", Listener())
        one.data_received(window(10**7, 0) + window(10**7, 1))
        one.send(b"x" * 4_000_000)
        one.close("over")
        assert (await arrived).count(b"x") >= 4_000_000


def test_a_connection_that_is_gone_has_no_timer(end):
    connection, *_ = end
    connection.close("over")
    assert not connection._timer.cancelled()
    connection.connection_lost(None)
    assert connection._timer.cancelled()


def test_a_reset_tells_its_stream_and_nobody_else(end):
    connection, _, listener = end
    other = Listener()
    connection.add(3, other)
    connection.data_received(frame(http2.RST_STREAM, 0, 1, struct.pack(">L", 8)) + frame(http2.DATA, 0, 1, b"late"))
    assert listener.told == [("lost", "the stream was reset with code 8")]
    assert other.told == []
    connection.stream.send(b"nothing")
    assert list(connection.streams) == [3]


def test_a_stream_that_ended_both_ways_is_forgotten(end):
    connection, _, listener = end
    connection.stream.end()
    assert list(connection.streams) == [1]
    connection.data_received(frame(http2.DATA, http2.END_STREAM, 1))
    assert listener.told == [("end",)]
    assert connection.streams == {}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(http2.DATA, 0, 0, b"x"), id="data of no stream"),
        pytest.param(frame(http2.DATA, 0, 1, b"\x01\0\0\0\x01x"), id="compressed"),
        pytest.param(frame(http2.DATA, 0, 1, b"\0\xff\xff\xff\xff"), id="message too long"),
        pytest.param(frame(http2.DATA, http2.PADDED, 1, b"\x05abc"), id="padding longer than the frame"),
        pytest.param(frame(http2.DATA, http2.PADDED, 1, b""), id="no padding length"),
        pytest.param(struct.pack(">BHBBL", 0xFF, 0xFFFF, 0, 0, 1), id="frame too long"),
        pytest.param(frame(http2.SETTINGS, 0, 0, b"12345"), id="half a setting"),
        pytest.param(frame(http2.SETTINGS, 0, 1), id="settings of a stream"),
        pytest.param(frame(http2.SETTINGS, http2.ACK, 0, b"123456"), id="an acknowledgement with settings"),
        pytest.param(frame(http2.SETTINGS, 0, 0, struct.pack(">HL", 4, 2**31)), id="first window too large"),
        pytest.param(frame(http2.SETTINGS, 0, 0, struct.pack(">HL", 5, 10)), id="frames too small"),
        pytest.param(frame(http2.PING, 0, 0, b"short"), id="short ping"),
        pytest.param(window(0), id="window update of nothing"),
        pytest.param(window(2**31 - 1), id="window too large"),
        pytest.param(window(2**31 - 1, 1), id="window of a stream too large"),
        pytest.param(frame(http2.WINDOW_UPDATE, 0, 0, b"123"), id="short window update"),
        pytest.param(frame(http2.HEADERS, 0, 1, b"\x88") + frame(http2.PING, 0, 0, b"12345678"), id="block not ended"),
        pytest.param(frame(http2.CONTINUATION, 4, 1, b"\x88"), id="nothing to continue"),
        pytest.param(frame(http2.HEADERS, 4, 0, b"\x88"), id="headers of no stream"),
        pytest.param(frame(http2.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"), id="headers that cannot be read"),
        pytest.param(frame(http2.HEADERS, 4, 3, b"\x88"), id="a stream that nobody began"),
        pytest.param(frame(http2.PUSH_PROMISE, 4, 1, b"\0\0\0\2\x88"), id="push"),
        pytest.param(
            frame(http2.HEADERS, 0, 1, b"\x88") + frame(http2.CONTINUATION, 0, 1, b"\0" * 70_000), id="endless headers"
        ),
    ],
)
def test_what_is_no_http2_ends_the_connection_with_a_code(end, data):
    connection, transport, listener = end
    connection.data_received(data)
    assert connection.closed
    assert transport.closing
    *_, (kind, _, _, payload) = transport.frames()
    assert kind == http2.GOAWAY
    assert struct.unpack(">LL", payload)[1] != http2.NO_ERROR
    assert [what for what, *_ in listener.told] == ["lost"]
    connection.data_received(frame(http2.DATA, 0, 1, message(b"late")))
    assert len(listener.told) == 1


def test_frames_that_carry_nothing_are_limited(end):
    connection, *_ = end
    flood = frame(http2.PING, http2.ACK, 0, b"12345678") * 1000
    for _ in range(101):
        connection.data_received(flood)
    assert connection.closed
