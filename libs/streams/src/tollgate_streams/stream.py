"""One stream of an HTTP/2 connection: messages in, messages out, within the windows."""

from collections import deque
from typing import TYPE_CHECKING, Protocol

from tollgate_streams.frames import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    MAX_MESSAGE_BYTES,
    PREFIX,
    PREFIX_BYTES,
    RST_STREAM,
    UINT32,
    Broken,
    Headers,
)

if TYPE_CHECKING:
    from tollgate_streams.http2 import Connection


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
        self._have, self._need = 0, PREFIX_BYTES
        # What the windows do not let through yet: bytes of messages, or headers, which are coded when they leave.
        self._queue: deque[tuple[bytes | memoryview | Headers, int]] = deque()

    @property
    def writable(self) -> bool:
        """False while the other end, or the network, does not take more."""
        return not self._queue and not self._connection.write_paused

    def send(self, message: bytes) -> None:
        """Sends a message; what the other end does not take yet waits in memory."""
        if not self.ended_here:
            self._put(PREFIX.pack(0, len(message)) + message, 0)

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
            self._connection.frame(RST_STREAM, 0, self.id, UINT32.pack(code))

    # From the connection.

    def take(self, payload: bytes) -> None:
        """Takes bytes of messages. Raises Broken where they are none."""
        self._parts.append(payload)
        self._have += len(payload)
        if self._have < self._need:
            return
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        at, size = 0, self._have
        need = PREFIX_BYTES
        while size - at >= PREFIX_BYTES:
            compressed, length = PREFIX.unpack_from(data, at)
            if compressed or length > MAX_MESSAGE_BYTES:
                raise Broken(ENHANCE_YOUR_CALM, "a message is compressed or too long")
            need = PREFIX_BYTES + length
            if size - at < need:
                break
            self.listener.on_message(data[at + PREFIX_BYTES : at + need])
            at, need = at + need, PREFIX_BYTES
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
