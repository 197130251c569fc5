"""A gRPC call that stays open, on a connection of its own."""

import asyncio
from typing import Final
from urllib.parse import unquote

from tollgate_streams.frames import CANCEL, PREFACE, RST_STREAM, Headers
from tollgate_streams.http2 import Connection
from tollgate_streams.stream import Listener, Stream

_STREAM: Final = 1


class NotOpened(Exception):  # noqa: N818 - a state of the other end.
    """The other end did not take the call; says why."""


class Call(Connection):
    """The client's end of one call. What comes goes to the listener; `opened_by` is done once the server took it."""

    def __init__(self, path: str, listener: Listener) -> None:
        super().__init__()
        self._path = path
        self._listener = listener
        self._taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stream: Stream | None = None
        self.status = ""

    # For who calls.

    @property
    def writable(self) -> bool:
        """False while the server, or the network, does not take more."""
        return self._stream is not None and self._stream.writable

    def send(self, message: bytes) -> None:
        """Sends a message; after the end of the call it does nothing."""
        if self._stream is not None:
            self._stream.send(message)

    def done_writing(self) -> None:
        """Says that no message follows."""
        if self._stream is not None:
            self._stream.end()

    def cancel(self) -> None:
        """Ends the call and its connection; the listener is told."""
        if self._stream is not None and not self.closed:
            self.frame(RST_STREAM, 0, _STREAM, CANCEL.to_bytes(4, "big"))
        self.close("the call was cancelled")

    async def taken(self) -> None:
        """Waits until the server has taken the call. Raises NotOpened."""
        await self._taken

    # From the connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(PREFACE)  # type: ignore[attr-defined]  # It writes.
        super().connection_made(transport)
        self._stream = self.add(_STREAM, self)
        self._stream.headers(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", self._path),
                (":authority", "tollgate"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", "tollgate"),
            ]
        )

    def gone(self, reason: str) -> None:
        if not self._taken.done():
            self._taken.set_exception(NotOpened(reason))
            # Whoever waited may have gone meanwhile.
            self._taken.exception()

    # From the stream.

    def on_headers(self, headers: Headers, *, last: bool) -> None:
        found = dict(headers)
        if "grpc-status" in found:
            self.status = found["grpc-status"]
        if self._taken.done():
            return
        if found.get(":status") == "200" and not last:
            self._taken.set_result(None)
        else:
            self._taken.set_exception(NotOpened(f"status {found.get(':status')}, {found.get('grpc-message', '')}"))
            self._taken.exception()

    def on_message(self, message: bytes) -> None:
        self._listener.on_message(message)

    def on_end(self) -> None:
        self._listener.on_end()
        self.close("the call has ended")

    def on_lost(self, reason: str) -> None:
        self._listener.on_lost(reason)
        self.close(reason)

    def on_writable(self) -> None:
        self._listener.on_writable()


async def call(address: str, path: str, listener: Listener) -> Call:
    """Connects to `address`, `host:port` or `unix:PATH`, and calls `path`; the server may still refuse.

    Raises OSError.
    """
    loop = asyncio.get_running_loop()

    def made() -> Call:
        return Call(path, listener)

    if address.startswith("unix:"):
        _, protocol = await loop.create_unix_connection(made, unquote(address.removeprefix("unix:")))
    else:
        host, _, port = address.removeprefix("dns:///").rpartition(":")
        _, protocol = await loop.create_connection(made, host.strip("[]"), int(port))
    return protocol
