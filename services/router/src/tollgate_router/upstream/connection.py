"""One HTTP/1.1 connection to an upstream: what is read is parsed, checked and handed to the sink of the call it serves.

The parser's callbacks only take notes; the sink is told after a read was parsed as a whole, so that the 65 chunks of
one read reach it as one piece, and so that a sink may cancel its call from within.
"""

import asyncio
import math
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Final, cast

import httptools

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.call import Stage, UpstreamCall
from tollgate_router.upstream.decoding import BrokenEncoding, Decoder, new_decoder
from tollgate_router.upstream.sink import ClientLimits

if TYPE_CHECKING:
    from tollgate_router.upstream.pool import Pool

_NO_BODY: Final = frozenset({204, 304})
_FRAMING: Final = frozenset({b"transfer-encoding", b"content-length", b"content-encoding"})
# The parser takes 0.9 and 2.0 as well.
_VERSIONS: Final = frozenset({"1.1", "1.0"})
_TCP_INFO_BYTES_ACKED: Final = 120


class Connection(asyncio.Protocol):
    __slots__ = (
        "_acknowledged",
        "_barren_bytes",
        "_body",
        "_call",
        "_complete",
        "_decoder",
        "_ended",
        "_extra_bytes",
        "_headers",
        "_informational",
        "_is_tls",
        "_keep_alive",
        "_limits",
        "_parser",
        "_pool",
        "_refusal",
        "_socket",
        "_status",
        "_transport",
        "_until_close",
        "_untouched",
        "_written",
        "on_body",
        "retires_at",
        "served",
        "unused_since",
    )

    def __init__(self, pool: "Pool", limits: ClientLimits, link: socket.socket | None = None) -> None:
        self._pool = pool
        # Only asked, never used or closed: the transport owns it.
        self._socket = link
        self._limits = limits
        self._call: UpstreamCall | None = None
        self._transport: asyncio.Transport | None = None
        self._is_tls = False
        self._ended = False
        self._untouched = False
        # What the peer's kernel had acknowledged before the request under way; None where ours does not tell.
        self._acknowledged: int | None = None
        # Bytes written since: TCP counts what it acknowledges, so that before a request nobody has to ask.
        self._written = 0
        self.served = 0
        self.unused_since = 0.0
        self.retires_at = math.inf
        self._body: list[bytes] = []
        # The parser calls list.append itself: no Python frame per chunk (65 of them cost 9 µs less per read).
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._extra_bytes = False
        self._keep_alive = False
        self._until_close = False
        self._refusal = ""
        self._informational = 0
        # Bytes since the last one of a body: head, trailers and framing, which must not grow without end.
        self._barren_bytes = 0
        self._decoder: Decoder | None = None

    # What the pool and the call ask for.

    def start(self, call: UpstreamCall, now: float) -> None:
        """Writes the request of `call` and serves it. The connection must be unused."""
        transport = self._transport
        assert transport is not None
        self._call = call
        call.connection = self
        call.written(now)
        request = call.request
        if self._is_tls:
            # Records are longer than what is in them, so here it must be asked; only where that can be of use.
            self._acknowledged, self._written = acknowledged_bytes(self._socket) if self.served else None, 0
        elif self._acknowledged is not None:
            self._acknowledged += self._written
        if len(request) == 1:
            self._written = len(request[0])
            transport.write(request[0])
        else:
            self._written = call.unsent = sum(map(len, request))
            transport.writelines(request)
        if call.paused:
            transport.pause_reading()

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Closes at once, whatever was going on; nobody is told."""
        self._call = None
        if self._transport is not None:
            self._transport.abort()

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def is_usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked by isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self._acknowledged = acknowledged_bytes(self._socket)

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:
            # Nobody asked: whatever it is, the next reply on this connection could not be trusted.
            self.abandon()
            return
        call.seen = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refusal = "the upstream switched protocols"
        except httptools.HttpParserError as error:
            self._refusal = str(error)
        if self._body:
            self._barren_bytes = 0
        else:
            self._barren_bytes += len(data)
            if self._barren_bytes > self._limits.header_bytes:
                self._refusal = "too many bytes without a body"
        if self._extra_bytes:
            self._refusal = "bytes after the reply"
        if self._refusal and call.stage is Stage.WAITING:
            # Nothing was handed on yet, so the call may still be made elsewhere.
            call.fail(FailureKind.PROTOCOL, self._refusal)
        elif self._status:
            self._hand_on(call)

    def _hand_on(self, call: UpstreamCall) -> None:
        if call.stage is Stage.WAITING:
            call.stage = Stage.READING
            call.request = ()
            call.sink.upstream_head(self._status, self._headers)
            if self._call is not call:
                return
        body = self._body
        if body:
            data = body[0] if len(body) == 1 else b"".join(body)
            body.clear()
            if self._decoder is not None:
                try:
                    data = self._decoder.feed(data)
                except BrokenEncoding as error:
                    call.fail(FailureKind.PROTOCOL, str(error))
                    return
            if data:
                call.sink.upstream_data(data)
                if self._call is not call:
                    return
        if self._refusal:
            call.fail(FailureKind.PROTOCOL, self._refusal)
        elif self._complete:
            self._finish(call)

    def _finish(self, call: UpstreamCall) -> None:
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except BrokenEncoding as error:
                call.fail(FailureKind.CUT, str(error))
                return
        transport = self._transport
        reusable = self._keep_alive and transport is not None and transport.get_write_buffer_size() == 0
        if call.paused and transport is not None:
            transport.resume_reading()
        call.over()
        self._call = None
        self.served += 1
        if reusable:
            self._reset()
            self._pool.release(self)
        elif transport is not None:
            transport.abort()
        call.sink.upstream_end()

    def eof_received(self) -> None:
        """The peer has nothing more to send. In TLS this means that it said so, which a bare end of stream does not."""
        self._ended = True
        if self._call is not None:
            # Asked here, because in TLS the descriptor is closed when `connection_lost` comes.
            self._untouched = self._is_untouched(self._call)

    def connection_lost(self, exc: Exception | None) -> None:
        call, transport = self._call, self._transport
        self._call = self._transport = None
        if call is None or transport is None:
            self._pool.lost(self)
            return
        call.connection = None
        if self._until_close and self._ended and exc is None and not self._refusal:
            self._pool.lost(self)
            self._call = call
            self._finish(call)
            return
        if isinstance(exc, BrokenPipeError) and not self._ended:
            # A write failed before the orderly end was read: after a bare reset the error is another.
            self._untouched = self._is_untouched(call)
        self._pool.lost(self)
        if self._untouched:
            self._pool.retry(call)
        else:
            call.connection = self
            kind = FailureKind.TLS if isinstance(exc, ssl.SSLError) else FailureKind.CUT
            call.fail(kind, "" if exc is None else str(exc))

    def _is_untouched(self, call: UpstreamCall) -> bool:
        """Returns whether the peer, which closed in order, cannot have acted on the request; it may then be sent again.

        So it is on a connection that had served before, when no byte of a reply has come and the peer's kernel has
        acknowledged no byte of the request: the end that it sent would have acknowledged whatever had come before it,
        and to what comes after it nobody can answer any more. A reset proves nothing, nor does a kernel that does not
        tell, nor an end without notice in TLS.
        """
        before = self._acknowledged
        if before is None or not self.served or call.retried or self._barren_bytes or self._status:
            return False
        now = acknowledged_bytes(self._socket)
        return now is not None and now <= before

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            self._extra_bytes = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are counted among the barren bytes and dropped: nobody may learn anything from them.
        if not self._status:
            # The parser takes the blanks before a value off, and leaves those behind it.
            self._headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if status < 100 or status == 101 or self._informational > self._limits.informational_replies:
                self._refusal = "a status below 100, or too many informational replies"
            self._headers.clear()
            return
        self._status = status
        self._check_head(status)

    def on_message_complete(self) -> None:
        # Informational replies are messages of their own to the parser.
        if self._status and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    def _check_head(self, status: int) -> None:
        headers = self._headers
        framed = False
        size = 0
        for name, value in headers:
            size += len(name) + len(value) + 4
            if name in _FRAMING:
                if name == b"content-length":
                    framed = True
                elif name == b"transfer-encoding":
                    # The parser refuses it beside a content-length; any other coding, or two of them, is refused here.
                    if framed or value.strip().lower() != b"chunked":
                        self._refusal = "a transfer encoding that is not just chunked"
                    framed = True
                else:
                    self._decode(value)
        if self._parser.get_http_version() not in _VERSIONS:
            self._refusal = "a version other than HTTP/1.0 and HTTP/1.1"
        if size > self._limits.header_bytes or len(headers) > self._limits.header_count:
            self._refusal = "the head of the reply is too large"
        self._until_close = not framed and status not in _NO_BODY
        if self._decoder is not None:
            self._headers = [header for header in headers if header[0] not in _FRAMING]

    def _decode(self, value: bytes) -> None:
        if self._decoder is not None:
            self._refusal = "two content encodings"
            return
        try:
            self._decoder = new_decoder(value.strip().lower(), self._limits.decoded_bytes_per_read)
        except BrokenEncoding as error:
            self._refusal = str(error)


def acknowledged_bytes(link: socket.socket | None) -> int | None:
    """Returns how many bytes the peer's kernel has acknowledged; None where ours does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    if link is None or option is None:
        return None
    try:
        info = link.getsockopt(socket.IPPROTO_TCP, option, 192)
    except OSError:
        return None
    if len(info) < _TCP_INFO_BYTES_ACKED + 8:
        return None
    acknowledged: int = struct.unpack_from("=Q", info, _TCP_INFO_BYTES_ACKED)[0]
    return acknowledged
