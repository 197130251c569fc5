"""A gRPC server: streams that are handed on message by message, and beside them ordinary unary calls."""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote, unquote

import grpc

from tollgate_streams.frames import MAX_STREAMS, PREFACE, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, Broken, Headers
from tollgate_streams.http2 import Connection
from tollgate_streams.stream import Listener, Stream

log = logging.getLogger(__name__)

_OK: Final = "0"
_UNKNOWN: Final = "2"
_DEADLINE_EXCEEDED: Final = "4"
_UNIMPLEMENTED: Final = "12"
_REPLY: Final = [(":status", "200"), ("content-type", "application/grpc")]
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_POLL_SECONDS: Final = 0.02


class ServerCall:
    """The server's end of a call that stays open."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def writable(self) -> bool:
        """False while the client, or the network, does not take more."""
        return self._stream.writable

    def send(self, message: bytes) -> None:
        """Sends a message; after the end of the call it does nothing."""
        self._stream.send(message)

    def finish(self, status: str = _OK, message: str = "") -> None:
        """Ends the call with a status of gRPC."""
        self._stream.headers(_trailers(status, message), last=True)


class _Aborted(Exception):  # noqa: N818 - how a method says what comes of a call.
    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Context:
    """What a unary method may ask of its call, by grpcio's names."""

    def __init__(self) -> None:
        self.trailing: Sequence[tuple[str, str | bytes]] = ()

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Says what goes with the status."""
        self.trailing = metadata

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """Ends the call with a status."""
        raise _Aborted(str(code.value[0]), details)


class _Unary:
    """Listens to one unary call."""

    def __init__(self, method: Any, seconds: float | None) -> None:
        self.stream: Stream | None = None
        self._method = method
        self._seconds = seconds
        self._message: bytes | None = None
        self._task: asyncio.Task[bytes] | None = None
        self._context = _Context()

    def on_headers(self, headers: Headers, *, last: bool) -> None:
        """Trailers of a client say nothing."""

    def on_message(self, message: bytes) -> None:
        self._message = message

    def on_end(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._answer)

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - nobody is left to be told.
        if self._task is not None:
            self._task.cancel()

    def on_writable(self) -> None:
        """The reply is sent at once."""

    async def _run(self) -> bytes:
        method = self._method
        async with asyncio.timeout(self._seconds):
            reply = await method.unary_unary(method.request_deserializer(self._message or b""), self._context)
        return bytes(method.response_serializer(reply))

    def _answer(self, task: asyncio.Task[bytes]) -> None:
        assert self.stream is not None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self.stream.headers(list(_REPLY))
            self.stream.send(task.result())
            self.stream.headers(_trailers(_OK, "", self._context.trailing), last=True)
        elif isinstance(error, _Aborted):
            self._refuse(error.status, str(error))
        elif isinstance(error, TimeoutError):
            self._refuse(_DEADLINE_EXCEEDED, "Deadline exceeded.")
        else:
            log.error("a call failed", exc_info=error)
            self._refuse(_UNKNOWN, "Internal error.")

    def _refuse(self, status: str, message: str) -> None:
        assert self.stream is not None
        self.stream.headers([*_REPLY, *_trailers(status, message, self._context.trailing)], last=True)


class _ServerConnection(Connection):
    def __init__(self, server: "StreamServer") -> None:
        super().__init__()
        self._server = server
        self._greeting: bytes | None = b""
        self._last_id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._greeting is not None:
            data = self._greeting + data
            if len(data) < len(PREFACE):
                self._greeting = data
                return
            if not data.startswith(PREFACE):
                self.close("the client does not speak HTTP/2", PROTOCOL_ERROR)
                return
            self._greeting, data = None, data[len(PREFACE) :]
        super().data_received(data)

    def gone(self, reason: str) -> None:  # noqa: ARG002 - the streams were told.
        self._server.connections.discard(self)

    def opened(self, stream_id: int, headers: Headers, *, last: bool) -> None:
        if stream_id % 2 == 0 or stream_id <= self._last_id:
            raise Broken(PROTOCOL_ERROR, "a stream of this number cannot begin")
        self._last_id = stream_id
        if len(self.streams) >= MAX_STREAMS or self._server.stopping:
            self.frame(RST_STREAM, 0, stream_id, REFUSED_STREAM.to_bytes(4, "big"))
            return
        self._server.begin(self, stream_id, dict(headers), last=last)


class StreamServer:
    """Listens at `address`, `host:port` or `unix:PATH`. Methods are added before `start`, as to a server of grpcio."""

    def __init__(self, address: str) -> None:
        self.connections: set[_ServerConnection] = set()
        self.stopping = False
        self.port = 0
        self._address = address
        self._streams: dict[str, Callable[[ServerCall], Listener]] = {}
        self._unary: dict[str, Any] = {}
        self._server: asyncio.Server | None = None

    def add_stream(self, path: str, accept: Callable[[ServerCall], Listener]) -> None:
        """Has `accept` make the listener of every call of `path`."""
        self._streams[path] = accept

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Generated code calls it, and the next one, which says it all."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Any]) -> None:
        """Takes the unary methods of a service from generated code."""
        self._unary |= {f"/{service}/{name}": method for name, method in methods.items()}

    async def start(self) -> None:
        """Begins to listen; a stale socket file is removed. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self._address.startswith("unix:"):
            path = unquote(self._address.removeprefix("unix:"))
            Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - once, before anything is served.
            self._server = await loop.create_unix_server(lambda: _ServerConnection(self), path)
        else:
            host, _, port = self._address.rpartition(":")
            self._server = await loop.create_server(lambda: _ServerConnection(self), host.strip("[]"), int(port))
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more calls, waits for those that are open, and ends what takes longer."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.go_away()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_seconds
        while any(one.streams for one in self.connections) and loop.time() < end:  # noqa: ASYNC110 - once in a process.
            await asyncio.sleep(_POLL_SECONDS)
        for connection in tuple(self.connections):
            connection.close("the server stops")

    def begin(self, connection: Connection, stream_id: int, headers: Mapping[str, str], *, last: bool) -> None:
        """A connection has a new call."""
        path = headers.get(":path", "")
        if headers.get(":method") != "POST" or not headers.get("content-type", "").startswith("application/grpc"):
            _refuse(connection, stream_id, [(":status", "415")], last=last)
        elif (accept := self._streams.get(path)) is not None:
            stream = connection.add(stream_id, _Nobody())
            stream.headers(list(_REPLY))
            stream.listener = accept(ServerCall(stream))
            if last:
                stream.over()
        elif (method := self._unary.get(path)) is not None and method.unary_unary is not None:
            call = _Unary(method, _seconds(headers.get("grpc-timeout", "")))
            call.stream = connection.add(stream_id, call)
            if last:
                call.stream.over()
        else:
            _refuse(connection, stream_id, [*_REPLY, *_trailers(_UNIMPLEMENTED, "There is no such method.")], last=last)


class _Nobody:
    """Listens to a stream before its session does, and to one that is refused: nothing is of interest."""

    def on_headers(self, headers: Headers, *, last: bool) -> None:
        """Takes no notice."""

    def on_message(self, message: bytes) -> None:
        """Takes no notice."""

    def on_end(self) -> None:
        """Takes no notice."""

    def on_lost(self, reason: str) -> None:
        """Takes no notice."""

    def on_writable(self) -> None:
        """Takes no notice."""


def _refuse(connection: Connection, stream_id: int, reply: Headers, *, last: bool) -> None:
    """Answers a call with nothing but this."""
    stream = connection.add(stream_id, _Nobody())
    stream.headers(reply, last=True)
    if last:
        stream.over()


def _trailers(status: str, message: str, more: Sequence[tuple[str, str | bytes]] = ()) -> Headers:
    """Returns gRPC's trailers; binary values travel as base64, and words as percent-encoded UTF-8."""
    found = [("grpc-status", status)]
    if message:
        found.append(("grpc-message", quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")))
    for name, value in more:
        found.append((name, base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value))
    return found


def _seconds(timeout: str) -> float | None:
    """Returns what `grpc-timeout` allows; None where it says nothing that can be read."""
    number, unit = timeout[:-1], timeout[-1:]
    if unit not in _UNITS or not number.isdecimal() or len(number) > 8:
        return None
    return int(number) * _UNITS[unit]
