"""One HTTP/1.1 connection to an upstream: what is read goes to the sink of the call it serves."""

import asyncio
import math
import re
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

import httptools

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.call import OVER, READING, WAITING, UpstreamCall
from tollgate_router.upstream.decoding import BrokenEncoding, Decoder
from tollgate_router.upstream.reply import ReplyReader
from tollgate_router.upstream.sink import ClientLimits
from tollgate_router.upstream.tcp_info import acknowledged_bytes

if TYPE_CHECKING:
    from tollgate_router.upstream.pool import Pool

_PROMISED: Final = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,6})")
# Of that, the way there and back and the sweep take their part.
_PROMISE_MARGIN_SECONDS: Final = 1.0
_BROKEN: Final = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Connection(ReplyReader, asyncio.Protocol):
    __slots__ = (
        "_acknowledged",
        "_ended",
        "_is_tls",
        "_pool",
        "_socket",
        "_transport",
        "_untouched",
        "_written",
        "call",
        "kept_seconds",
        "owes_body",
        "retires_at",
        "unused_since",
    )

    def __init__(self, pool: "Pool", limits: ClientLimits, link: socket.socket | None = None) -> None:
        super().__init__(limits)
        self._pool = pool
        self.call: UpstreamCall | None = None
        # Only asked, never used or closed: the transport owns it.
        self._socket = link
        self._transport: asyncio.Transport | None = None
        self._is_tls = False
        self._ended = False
        self._untouched = False
        # What the peer's kernel had acknowledged before the request under way; None where ours does not tell.
        self._acknowledged: int | None = None
        # Bytes written since: TCP counts what it acknowledges, so that before a request nobody has to ask (0.7 µs).
        self._written = 0
        # The request under way is not whole yet.
        self.owes_body = False
        self.unused_since = 0.0
        self.kept_seconds = limits.idle_age_seconds
        self.retires_at = math.inf

    # What the pool and the call ask for.

    def start(self, call: UpstreamCall, now: float) -> None:
        """Writes the request of `call` and serves it. The connection must be unused."""
        transport = self._transport
        assert transport is not None
        self.call = call
        call.connection = self
        call.stage = WAITING
        call.seen = False
        call.since = now
        if self._is_tls:
            # Records are longer than what is in them, so here it must be asked; only where that can be of use.
            self._acknowledged, self._written = acknowledged_bytes(self._socket) if self.served else None, 0
        elif self._acknowledged is not None:
            self._acknowledged += self._written
        request = call.request
        if len(request) == 1:
            self._written = len(request[0])
            transport.write(request[0])
        else:
            self._written = call.unsent = sum(map(len, request))
            transport.writelines(request)
            self.owes_body = not call.is_finished
            call.began()
        if call.paused:
            transport.pause_reading()

    def write_more(self, pieces: tuple[bytes, ...]) -> int:
        """Writes more of the request; returns how many bytes that were."""
        if self._transport is None or self._transport.is_closing():
            return 0
        self._transport.writelines(pieces)
        return sum(map(len, pieces))

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Closes at once, whatever was going on; nobody is told."""
        self.call = None
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
        call = self.call
        if call is None:
            # Nobody asked: whatever it is, the next reply on this connection could not be trusted.
            self.abandon()
            return
        call.seen = True
        try:
            self._parser.feed_data(data)
        except _BROKEN as error:
            self._refusal = str(error) or "the upstream switched protocols"
        barren = self._barren_bytes + len(data)
        if barren > self._limits.header_bytes:
            self._check_size()
        self._barren_bytes = 0 if self._body else barren
        if call.stage == READING:
            self._hand_on(call)
        elif self._refusal:
            # Nothing was handed on yet, so the call may still be made elsewhere.
            call.fail(FailureKind.PROTOCOL, self._refusal)
        elif self._status:
            call.stage = READING
            call.request = ()
            headers = self._headers if self._decoder is None else self._true_headers()
            call.sink.upstream_head(self._status, headers)
            if self.call is call:
                self._hand_on(call)
        elif self._continues:
            call.proceed()

    def _hand_on(self, call: UpstreamCall) -> None:
        body = self._body
        if body:
            data = body[0] if len(body) == 1 else b"".join(body)
            body.clear()
            if self._decoder is not None:
                data = self._unpacked(call, self._decoder, data)
            # The parser may say that nothing came.
            if data:
                call.sink.upstream_data(data)
            if self.call is not call:
                return
        if self._refusal:
            call.fail(FailureKind.PROTOCOL, self._refusal)
        elif self._complete:
            self._finish(call)

    @staticmethod
    def _unpacked(call: UpstreamCall, decoder: Decoder, data: bytes) -> bytes:
        try:
            return decoder.feed(data)
        except BrokenEncoding as error:
            call.fail(FailureKind.PROTOCOL, str(error))
            return b""

    def _finish(self, call: UpstreamCall) -> None:
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except BrokenEncoding as error:
                call.fail(FailureKind.CUT, str(error))
                return
        transport = self._transport
        # What is not yet written of a request that was answered early would come before the next one.
        reusable = self._keep_alive and not self.owes_body
        reusable = reusable and transport is not None and transport.get_write_buffer_size() == 0
        if call.paused and transport is not None:
            transport.resume_reading()
        call.stage = OVER
        call.connection = self.call = None
        self.served += 1
        if reusable:
            if self._promise:
                self._keep_promise()
            self._clear()
            self._pool.release(self)
        elif transport is not None:
            transport.abort()
        call.sink.upstream_end()

    def _keep_promise(self) -> None:
        """A server that says how long it keeps connections is left before it closes this one."""
        promised = _PROMISED.search(self._promise)
        if promised is not None:
            kept = float(promised[1]) - _PROMISE_MARGIN_SECONDS
            self.kept_seconds = max(0.0, min(self._limits.idle_age_seconds, kept))

    def pause_writing(self) -> None:
        if self.call is not None:
            self.call.room(free=False)

    def resume_writing(self) -> None:
        if self.call is not None:
            self.call.room(free=True)

    def eof_received(self) -> None:
        """The peer has nothing more to send. In TLS this means that it said so, which a bare end of stream does not."""
        self._ended = True
        if self.call is not None:
            # Asked here, because in TLS the descriptor is closed when `connection_lost` comes.
            self._untouched = self._is_untouched(self.call)

    def connection_lost(self, exc: Exception | None) -> None:
        call, transport = self.call, self._transport
        self.call = self._transport = None
        self._let_go()
        if call is None or transport is None:
            self._pool.lost(self)
            return
        call.connection = None
        if self._ends_by_closing and self._ended and exc is None and not self._refusal:
            self._pool.lost(self)
            self._finish(call)
            return
        if isinstance(exc, BrokenPipeError) and not self._ended:
            # A write failed before the orderly end was read: after a bare reset the error is another.
            self._untouched = self._is_untouched(call)
        self._pool.lost(self)
        if self._untouched:
            self._pool.retry(call)
        else:
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
