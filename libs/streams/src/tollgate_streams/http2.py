"""HTTP/2 (RFC 9113) as far as gRPC needs it: frames, windows, pings, and messages of streams.

One class for both ends; client.py and server.py say how streams begin and end. A message is handed on while its bytes
are read and a write goes to the transport at once: no thread, task or future a message.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from hpack import Decoder, Encoder, HPACKError

Headers = list[tuple[str, str]]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

_HEAD: Final = struct.Struct(">BHBBL")
_SETTING: Final = struct.Struct(">HL")
_PREFIX: Final = struct.Struct(">BL")
_UINT32: Final = struct.Struct(">L")
_HEAD_BYTES: Final = 9
_PREFIX_BYTES: Final = 5
_SET_HEADER_TABLE: Final = 1
_SET_ENABLE_PUSH: Final = 2
_SET_MAX_STREAMS: Final = 3
_SET_INITIAL_WINDOW: Final = 4
_SET_MAX_FRAME: Final = 5
_SET_MAX_HEADER_LIST: Final = 6
_DEFAULT_WINDOW: Final = 65_535
_DEFAULT_FRAME: Final = 16_384
_LARGEST_WINDOW: Final = 2**31 - 1
_LARGEST_FRAME: Final = 2**24 - 1
# What we take: whole batches in one frame, and enough under way that nobody waits for leave to go on.
_FRAME_BYTES: Final = 512 * 1024
_WINDOW_BYTES: Final = 8 * 1024 * 1024
_HEADER_TABLE_BYTES: Final = 4096
_MAX_HEADER_BYTES: Final = 64 * 1024
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
MAX_STREAMS: Final = 100
# A connection on which nothing came for the first time is asked, and given up after the second.
_PING_SECONDS: Final = 20.0
_PING_ANSWER_SECONDS: Final = 10.0
# Between two looks at whether the other end is there; what carries messages, or leave for them, does not count.
_MAX_CONTROL_FRAMES: Final = 100_000


class Broken(Exception):  # noqa: N818 - what the other end did.
    """The connection cannot go on; `code` is what HTTP/2 calls it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Listener(Protocol):
    """What a stream tells. None of these may raise."""

    def on_headers(self, headers: Headers, *, last: bool) -> None:
        """Headers or trailers have come."""
        ...

    def on_message(self, message: bytes) -> None:
        """A whole message has come."""
        ...

    def on_end(self) -> None:
        """The other end says no more."""
        ...

    def on_lost(self, reason: str) -> None:
        """The stream was reset, or its connection is gone; called once, and last."""
        ...

    def on_writable(self) -> None:
        """What was held back has left."""
        ...


class Stream:
    """One stream of a connection. Writing to one that has ended does nothing."""

    __slots__ = (
        "_connection", "_have", "_need", "_parts", "_queue", "consumed", "ended_here", "ended_there", "id", "listener",
        "window",
    )  # fmt: skip

    def __init__(self, connection: "Connection", stream_id: int, listener: Listener, window: int) -> None:
        self._connection = connection
        self.id = stream_id
        self.listener = listener
        self.window = window
        self.consumed = 0
        self.ended_here = self.ended_there = False
        self._parts: list[bytes] = []
        self._have, self._need = 0, _PREFIX_BYTES
        # What the windows do not let through yet: bytes of messages, or headers, which are coded when they leave.
        self._queue: deque[tuple[bytes | memoryview | Headers, int]] = deque()

    @property
    def writable(self) -> bool:
        """False while the other end, or the network, does not take more."""
        return not self._queue and not self._connection.write_paused

    def send(self, message: bytes) -> None:
        """Sends a message; what the other end does not take yet waits in memory."""
        if not self.ended_here:
            self._put(_PREFIX.pack(0, len(message)) + message, 0)

    def headers(self, headers: Headers, *, last: bool = False) -> None:
        """Sends headers or trailers, behind all messages."""
        if self.ended_here:
            return
        self.ended_here = last
        self._queue.append((headers, END_HEADERS | (END_STREAM if last else 0)))
        self._drain()
        self._forget_if_over()

    def end(self) -> None:
        """Says that nothing more comes from here."""
        if not self.ended_here:
            self.ended_here = True
            self._put(b"", END_STREAM)
            self._forget_if_over()

    def reset(self, code: int = CANCEL) -> None:
        """Ends both directions at once; the listener hears no more."""
        if self._connection.streams.pop(self.id, None) is not None:
            self.ended_here = self.ended_there = True
            self._queue.clear()
            self._connection.frame(RST_STREAM, 0, self.id, _UINT32.pack(code))

    # From the connection.

    def take(self, payload: bytes) -> None:
        """Takes bytes of messages. Raises Broken where they are none."""
        self._parts.append(payload)
        self._have += len(payload)
        if self._have < self._need:
            return
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        at, size = 0, self._have
        need = _PREFIX_BYTES
        while size - at >= _PREFIX_BYTES:
            compressed, length = _PREFIX.unpack_from(data, at)
            if compressed or length > MAX_MESSAGE_BYTES:
                raise Broken(ENHANCE_YOUR_CALM, "a message is compressed or too long")
            need = _PREFIX_BYTES + length
            if size - at < need:
                break
            self.listener.on_message(data[at + _PREFIX_BYTES : at + need])
            at, need = at + need, _PREFIX_BYTES
        self._parts = [data[at:]] if at < size else []
        self._have, self._need = size - at, need

    def over(self) -> None:
        """The other end says no more."""
        self.ended_there = True
        self.listener.on_end()
        self._forget_if_over()

    def pump(self) -> None:
        """The windows let more through: sends of what waits, and tells when nothing does any more."""
        if self._queue:
            self._drain()
            self._forget_if_over()
            if self.writable:
                self.listener.on_writable()

    def _drain(self) -> None:
        queue, connection = self._queue, self._connection
        while queue:
            data, flags = queue[0]
            if isinstance(data, list):
                queue.popleft()
                connection.frame(HEADERS, flags, self.id, connection.encoder.encode(data))
                continue
            room = min(self.window, connection.window, connection.frame_bytes)
            if room <= 0 and len(data):
                return
            part = data[:room]
            rest = len(data) > len(part)
            self.window -= len(part)
            connection.window -= len(part)
            connection.frame(DATA, 0 if rest else flags, self.id, bytes(part))
            if rest:
                queue[0] = memoryview(data)[len(part) :], flags
            else:
                queue.popleft()

    def _put(self, data: bytes, flags: int) -> None:
        connection, size = self._connection, len(data)
        if not self._queue and size <= self.window and size <= connection.window and size <= connection.frame_bytes:
            self.window -= size
            connection.window -= size
            connection.frame(DATA, flags, self.id, data)
        else:
            self._queue.append((data, flags))
            self._drain()

    def _forget_if_over(self) -> None:
        if self.ended_here and self.ended_there and not self._queue:
            self._connection.streams.pop(self.id, None)


class Connection(asyncio.Protocol):
    """One end of an HTTP/2 connection. `opened` is told of headers on a stream that is not known."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.encoder = Encoder()
        self.window = _DEFAULT_WINDOW
        self.frame_bytes = _DEFAULT_FRAME
        self.write_paused = False
        self.closed = False
        self.transport: asyncio.Transport | None = None
        self._stream_window = _DEFAULT_WINDOW
        self._decoder = Decoder(max_header_list_size=_MAX_HEADER_BYTES)
        self._rest = b""
        self._consumed = 0
        self._heard = False
        self._asked = False
        self._controls = 0
        self._timer: asyncio.TimerHandle | None = None
        # Stream, flags and pieces of a header block whose end has not come.
        self._block: tuple[int, int, list[bytes]] | None = None
        self._others: dict[int, Callable[[int, int, bytes], None]] = {
            HEADERS: self._take_headers,
            CONTINUATION: self._take_continuation,
            SETTINGS: self._take_settings,
            PING: self._take_ping,
            RST_STREAM: self._take_reset,
            GOAWAY: self._take_go_away,
            PUSH_PROMISE: self._take_push,
        }

    # What the ends say of themselves.

    def opened(self, stream_id: int, headers: Headers, *, last: bool) -> None:  # noqa: ARG002 - for the server's end.
        """The other end begins a stream; a client's does not. Raises Broken."""
        raise Broken(PROTOCOL_ERROR, f"stream {stream_id} is not known")

    def gone(self, reason: str) -> None:
        """The connection has ended, after its streams have."""

    # asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        settings = {_SET_ENABLE_PUSH: 0, _SET_MAX_STREAMS: MAX_STREAMS, _SET_INITIAL_WINDOW: _WINDOW_BYTES}
        settings |= {_SET_MAX_FRAME: _FRAME_BYTES, _SET_MAX_HEADER_LIST: _MAX_HEADER_BYTES}
        self.frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in settings.items()))
        self.frame(WINDOW_UPDATE, 0, 0, _UINT32.pack(_WINDOW_BYTES - _DEFAULT_WINDOW))
        self._timer = asyncio.get_running_loop().call_later(_PING_SECONDS, self._keep_alive)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        try:
            while size - at >= _HEAD_BYTES and not self.closed:
                high, low, kind, flags, stream_id = _HEAD.unpack_from(data, at)
                length = high << 16 | low
                if length > _FRAME_BYTES:
                    self.close("a frame is too long", FRAME_SIZE_ERROR)
                    return
                end = at + _HEAD_BYTES + length
                if end > size:
                    break
                self._take(kind, flags, stream_id & _LARGEST_WINDOW, data[at + _HEAD_BYTES : end])
                at = end
            self._rest = data[at:] if at else data
        except Broken as broken:
            self.close(str(broken), broken.code)

    def eof_received(self) -> None:
        self.close("the other end closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost("the connection broke" if exc is not None else "the connection was closed")

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        for stream in tuple(self.streams.values()):
            if stream.writable:
                stream.listener.on_writable()

    # What is sent.

    def frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Writes one frame."""
        if self.transport is not None and not self.transport.is_closing():
            length = len(payload)
            self.transport.write(_HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id) + payload)

    def go_away(self, code: int = NO_ERROR) -> None:
        """Asks for no new streams; those that are open go on."""
        self.frame(GOAWAY, 0, 0, _UINT32.pack(max(self.streams, default=0)) + _UINT32.pack(code))

    def close(self, reason: str, code: int = NO_ERROR) -> None:
        """Ends the connection; its streams are told."""
        if self.closed:
            return
        if code != NO_ERROR:
            self.go_away(code)
        if self.transport is not None:
            self.transport.close()
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._rest = b""
        if self._timer is not None:
            self._timer.cancel()
        streams, self.streams = tuple(self.streams.values()), {}
        for stream in streams:
            stream.ended_here = stream.ended_there = True
            stream.listener.on_lost(reason)
        self.gone(reason)

    def _keep_alive(self) -> None:
        """Asks whether the other end is there when nothing came for a while."""
        if self._asked and not self._heard:
            if self.transport is not None:
                self.transport.abort()
            self._lost("the other end does not answer")
            return
        self._asked = not self._heard
        self._heard = False
        self._controls = 0
        if self._asked:
            self.frame(PING, 0, 0, b"tollgate")
        self._timer = asyncio.get_running_loop().call_later(
            _PING_ANSWER_SECONDS if self._asked else _PING_SECONDS, self._keep_alive
        )

    # What comes.

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or stream_id != self._block[0]):
            raise Broken(PROTOCOL_ERROR, "a header block was not ended")
        if kind == DATA:
            self._take_data(flags, stream_id, payload)
        elif kind == WINDOW_UPDATE:
            self._take_window(stream_id, payload)
        else:
            self._controls += 1
            if self._controls > _MAX_CONTROL_FRAMES:
                raise Broken(ENHANCE_YOUR_CALM, "too many frames that carry nothing")
            # Kinds that are not known are to be ignored.
            if (take := self._others.get(kind)) is not None:
                take(flags, stream_id, payload)

    def _take_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed >= _WINDOW_BYTES // 2:
            self.frame(WINDOW_UPDATE, 0, 0, _UINT32.pack(self._consumed))
            self._consumed = 0
        stream = self.streams.get(stream_id)
        if stream is None or stream.ended_there:
            if stream_id == 0:
                raise Broken(PROTOCOL_ERROR, "data of no stream")
            # Of one that was reset here: what was under way is dropped.
            return
        stream.consumed += len(payload)
        if flags & PADDED:
            payload = _unpadded(payload)
        if payload:
            stream.take(payload)
        if flags & END_STREAM:
            stream.over()
        elif stream.consumed >= _WINDOW_BYTES // 2:
            self.frame(WINDOW_UPDATE, 0, stream_id, _UINT32.pack(stream.consumed))
            stream.consumed = 0

    def _take_window(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(FRAME_SIZE_ERROR, "a window update has four bytes")
        more = _UINT32.unpack(payload)[0] & _LARGEST_WINDOW
        if not stream_id:
            self.window += more
            if self.window > _LARGEST_WINDOW or not more:
                raise Broken(FLOW_CONTROL_ERROR, "a window is too large")
            for stream in tuple(self.streams.values()):
                stream.pump()
        elif (one := self.streams.get(stream_id)) is not None:
            one.window += more
            if one.window > _LARGEST_WINDOW or not more:
                raise Broken(FLOW_CONTROL_ERROR, "a window is too large")
            one.pump()

    def _take_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) % _SETTING.size or (flags & ACK and payload):
            raise Broken(FRAME_SIZE_ERROR, "these are no settings")
        if flags & ACK:
            return
        for name, value in _SETTING.iter_unpack(payload):
            self._set(name, value)
        self.frame(SETTINGS, ACK, 0, b"")
        for stream in tuple(self.streams.values()):
            stream.pump()

    def _set(self, name: int, value: int) -> None:
        if name == _SET_INITIAL_WINDOW:
            if value > _LARGEST_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR, "a window is too large")
            for stream in self.streams.values():
                stream.window += value - self._stream_window
            self._stream_window = value
        elif name == _SET_MAX_FRAME:
            if not _DEFAULT_FRAME <= value <= _LARGEST_FRAME:
                raise Broken(PROTOCOL_ERROR, "this is no size of frames")
            self.frame_bytes = value
        elif name == _SET_HEADER_TABLE:
            self.encoder.header_table_size = min(value, _HEADER_TABLE_BYTES)

    def _take_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 8 or stream_id:
            raise Broken(FRAME_SIZE_ERROR, "a ping has eight bytes")
        if not flags & ACK:
            self.frame(PING, ACK, 0, payload)

    def _take_reset(self, _: int, stream_id: int, payload: bytes) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.ended_here = stream.ended_there = True
            code = _UINT32.unpack(payload)[0] if len(payload) == 4 else 0
            stream.listener.on_lost(f"the stream was reset with code {code}")

    def _take_go_away(self, *_: object) -> None:
        """What is open goes on; each end of ours has one call, or says in its own frames that it takes no more."""

    def _take_push(self, *_: object) -> None:
        raise Broken(PROTOCOL_ERROR, "nothing may be pushed")

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise Broken(PROTOCOL_ERROR, "headers of no stream")
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & PRIORITY:
            payload = payload[5:]
        if flags & END_HEADERS:
            self._headers(stream_id, flags, payload)
        else:
            self._block = stream_id, flags, [payload]

    def _take_continuation(self, flags: int, _: int, payload: bytes) -> None:
        if self._block is None:
            raise Broken(PROTOCOL_ERROR, "nothing is to be continued")
        stream_id, first_flags, parts = self._block
        parts.append(payload)
        if sum(map(len, parts)) > _MAX_HEADER_BYTES:
            raise Broken(ENHANCE_YOUR_CALM, "headers are too long")
        if flags & END_HEADERS:
            self._block = None
            self._headers(stream_id, first_flags, b"".join(parts))

    def _headers(self, stream_id: int, flags: int, block: bytes) -> None:
        try:
            headers = text_of(self._decoder.decode(block, raw=True))
        except (HPACKError, UnicodeDecodeError) as error:
            raise Broken(COMPRESSION_ERROR, "headers cannot be read") from error
        last = bool(flags & END_STREAM)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.opened(stream_id, headers, last=last)
        elif not stream.ended_there:
            stream.listener.on_headers(headers, last=last)
            if last:
                stream.over()

    def add(self, stream_id: int, listener: Listener) -> Stream:
        """Returns a new stream that is known from now on."""
        stream = self.streams[stream_id] = Stream(self, stream_id, listener, self._stream_window)
        return stream


def text_of(headers: Iterable[Any]) -> Headers:
    """Returns headers as text. Raises UnicodeDecodeError."""
    return [(bytes(name).decode("ascii"), bytes(value).decode("latin-1")) for name, value in headers]


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise Broken(PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
