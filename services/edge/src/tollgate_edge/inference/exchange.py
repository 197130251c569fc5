"""One inference request, from the last byte of its body to its last byte out.

Steps, each a callback: `begin` (whose key) → `_authenticated` (may it, decode, price) → `admit` (hold) → `admitted` →
`open_on` (a router's stream) → `deliver` (write what comes back) → `_ended` (acknowledge, settle, write down). Towards
the caller it ends once, in `_close`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.faces import Face
from tollgate_edge.inference.again import hold_again, may_repeat
from tollgate_edge.inference.asking import gathered, read_asked
from tollgate_edge.inference.client import Client
from tollgate_edge.inference.fields import Asked
from tollgate_edge.inference.limits import Ticket
from tollgate_edge.inference.marks import NO_MARKS
from tollgate_edge.inference.too_dear import asks_for_less
from tollgate_edge.inference.words import STATUS_LINES
from tollgate_edge.ports import Refused
from tollgate_holds import HoldResult

if TYPE_CHECKING:
    from tollgate_edge.inference.gateway import InferenceGateway
    from tollgate_edge.inference.link import RouterStream

_FIRST_BODY_BYTES: Final = 64 * 1024
_CREDIT_STEP_BYTES: Final = 64 * 1024
_WINDOW_BYTES: Final = 256 * 1024
_MAX_TRIES: Final = 2
_NO_HEADERS: Final[list[wire.Header]] = []
# What a request holds that nobody else will end: nothing, something for a try that has not begun, or of one that has.
_NOTHING, _UNBEGUN, _BEGUN = range(3)


class InferenceExchange:
    __slots__ = (
        "_chunked", "_client", "_delivered", "_drained", "_gateway", "_holding", "_link_id", "_sent_body", "_started",
        "_stream", "admission_deadline", "amount_pico", "asked", "awaits_end", "barred", "body", "body_length",
        "body_parts", "body_size", "bytes_out", "client_gone", "closed", "content_length", "content_type", "cors",
        "detached", "error", "face", "first_write", "forwarded", "headers_sent", "hold_id", "hold_pico", "hold_renewed",
        "host", "http10", "keep", "last_write", "marks", "named", "opened_at", "operation", "passed", "presented",
        "principal", "request_id", "requested_model", "span_id", "started", "started_us", "status", "ticket", "told",
        "too_dear", "trace_id", "trace_parent", "traceparent", "tries", "trimmed",
    )  # fmt: skip

    def __init__(
        self,
        gateway: "InferenceGateway",
        client: Client,
        operation: int,
        face: Face,
        named: tuple[str, bool] | None = None,
    ) -> None:
        self._gateway, self._client = gateway, client
        self.operation, self.face = operation, face
        # Model and streaming, where the path says both.
        self.named = named
        self.request_id = self.hold_id = gateway.new_request_id()
        self.marks = NO_MARKS
        self.body_parts: list[bytes | bytearray] = []
        self.body_size = self.body_length = 0
        # Given back where nothing can ask for it again; its length is known to the end.
        self.body: bytes | bytearray = b""
        self.presented: bytes | None = None
        self.passed: list[wire.Header] = _NO_HEADERS
        # What the caller named, where a cheaper model is asked instead.
        self.requested_model = ""
        self.content_type: bytes | None = None
        self.content_length = -1
        self.traceparent: bytes | None = None
        # X-Forwarded-For, where proxies of ours write it.
        self.forwarded = b""
        # What the caller calls this host, for errors: the connection may read the next request by then.
        self.host = b""
        self.keep = True
        self.cors = self.http10 = self.client_gone = self.closed = self.headers_sent = False
        self.principal: Principal | None = None
        # Whose key it was that was refused, where that is known.
        self.barred: Principal | None = None
        self.asked: Asked | None = None
        self.started, self.started_us = 0.0, 0
        # On the loop's clock, 0 before it came to it: the first try's Open, the first and the last byte of the reply.
        self.opened_at = self.first_write = self.last_write = 0.0
        self.hold_renewed = self.admission_deadline = 0.0
        # What is held of its wallet, and what of its budgets.
        self.hold_pico = self.amount_pico = 0
        # Of the reply: what the caller was told, and how many bytes of body.
        self.status = 0
        self.error: PublicError | None = None
        self.bytes_out = self.tries = 0
        self.ticket: Ticket | None = None
        self.trace_id = self.span_id = self.trace_parent = ""
        # Lines of the reply's head that say what was changed about the request.
        self.told = b""
        self._stream: RouterStream | None = None
        self._link_id = self._sent_body = self._delivered = self._drained = 0
        self._holding = _NOTHING
        # `detached`: the caller has its reply, and this goes on without it until its End.
        self._started = self._chunked = self.awaits_end = self.detached = False
        # Models that were too dear, and whether what the wallet has left was asked for: see `asks_for_less`.
        self.too_dear: tuple[str, ...] = ()
        self.trimmed = False

    @property
    def stalled(self) -> bool:
        """The caller reads more slowly than the provider writes."""
        return not self.closed and self._client.write_paused

    # The request.

    def begin(self) -> None:
        """The body is whole: answer, or go on to authentication, which may have to wait for the store."""
        gateway = self._gateway
        self.body = body = gathered(self)
        self.body_length = len(body)
        self.body_parts = []
        self.started = gateway.loop.time()
        self.started_us = gateway.clock.now_us()
        if self.presented is None:
            self.refuse(public_error(errors.ERROR_KIND_UNAUTHENTICATED, gateway.words.no_key))
            return
        found = gateway.authenticator.cached(self.presented)
        if found is None:
            gateway.authenticate_slowly(self, self.presented, self._authenticated)
        else:
            self._authenticated(found)

    def _authenticated(self, found: object) -> None:
        if self.closed:
            return
        if not isinstance(found, Principal):
            assert isinstance(found, Refused)
            self.barred = found.principal
            self.refuse(self._gateway.refusal(found))
            return
        self.principal, gateway = found, self._gateway
        refused = gateway.check_access(self, found, self._client.peer) or self._read() or self._check_model(found)
        amount = refused or self._keep_to_budgets(found) or gateway.worst_case(self)
        if not isinstance(amount, int):
            self.refuse(amount)
            return
        self.trace()
        self.admission_deadline = self.started + gateway.settings.admission_timeout_seconds
        self.admit(found, amount)

    def _read(self) -> PublicError | None:
        """Decodes the fields that edge acts on, once."""
        asked = read_asked(self, self._gateway.words, self._gateway.settings.max_json_depth)
        if isinstance(asked, PublicError):
            return asked
        self.asked = asked
        return None

    def _check_model(self, principal: Principal) -> PublicError | None:
        assert self.asked is not None
        return self._gateway.check_model(principal, self.asked.model, self.operation)

    def _keep_to_budgets(self, principal: Principal) -> PublicError | None:
        gateway = self._gateway
        assert self.asked is not None
        return gateway.keep_to_budgets(self, principal, self.asked) if gateway.controls.any else None

    def admit(self, principal: Principal, amount_pico: int) -> None:
        """Asks for what this request needs before it may go on; who has no limit and no wallet needs nothing."""
        gateway = self._gateway
        self.amount_pico, self.hold_pico = amount_pico, amount_pico if principal.prepaid else 0
        if principal.limits is not None:
            gateway.hold_limited(self, principal, principal.limits, amount_pico)
        elif principal.prepaid:
            gateway.admission.hold(principal.organization_id, self, amount_pico)
        else:
            self.admitted(HoldResult.DONE)

    def trace(self) -> None:
        """Draws the ids of its span, below the caller's where the caller has one."""
        self.trace_id, self.trace_parent, self.span_id = self._gateway.new_trace(self.traceparent)

    def admitted(self, result: HoldResult | None) -> None:
        """Called with what became of the hold."""
        gateway = self._gateway
        if result is HoldResult.DONE:
            self.hold_renewed, self._holding = self.started, _UNBEGUN
            if self.closed:
                self._give_back()
            else:
                gateway.open.add(self)
                self._open()
        elif not self.closed and not asks_for_less(gateway, self, result):
            self.refuse(gateway.words.admission(result, self.ticket, gateway.clock.now_us()))

    def _open(self) -> None:
        stream = self._gateway.pool.pick(self._stream if self.tries else None)
        if stream is None:
            self._gateway.park(self)
            return
        self.open_on(stream)

    def open_on(self, stream: "RouterStream") -> None:
        """Opens the next try of this request on a router's stream; an error leaves it as one that has not begun."""
        gateway, body, tries = self._gateway, self.body, self.tries + 1
        if gateway.marks is not None and tries == 1:
            self.marks = gateway.marks.of(body, self._client.peer, self.forwarded)
        first = bytes(body if len(body) <= _FIRST_BODY_BYTES else body[:_FIRST_BODY_BYTES])
        own: dict[str, Any] = {
            "request_id": self.request_id,
            "try": tries,
            "started_at_us": self.started_us,
            "traceparent": f"00-{self.trace_id}-{self.span_id}-01",
            "timeout_ms": gateway.timeout_ms_left(self.started),
            "body": first,
            "body_length": len(body),
            "hold_pico": self.hold_pico,
            "client_network": self.marks[0],
            "prompt_hash": self.marks[1],
        }
        if self.passed:
            own["headers"] = self.passed
        if self.requested_model:
            own["requested_model"] = self.requested_model
        common = gateway.common_of(self)
        link_id = stream.open(self)
        try:
            stream.outbox.open(len(first), common, id=link_id, **own)
        except BaseException:
            # The router never saw it.
            del stream.pending[link_id]
            raise
        self._stream, self._link_id, self.tries, self._sent_body = stream, link_id, tries, len(first)
        self.awaits_end, self._holding = True, _BEGUN
        self.opened_at = self.opened_at or gateway.loop.time()
        if self._sent_body < len(body):
            self._send_body(_WINDOW_BYTES - self._sent_body)

    def _send_body(self, window: int) -> None:
        assert self._stream is not None
        while window > 0 and self._sent_body < len(self.body):
            part = bytes(memoryview(self.body)[self._sent_body : self._sent_body + _FIRST_BODY_BYTES])
            self._stream.outbox.body(self._link_id, part)
            self._sent_body += len(part)
            window -= len(part)

    def credit(self, size: int) -> None:
        """The router took `size` bytes of the body."""
        self._send_body(size)

    # The reply.

    def deliver(self, head: wire.Head | None, data: bytes, end: wire.End | None) -> None:
        """Writes what a batch carries for this request, in one write."""
        size = len(data)
        self._delivered += size
        if size and self.headers_sent and head is None and end is None and not self.closed:
            # Nearly all of a stream, without the steps of a reply that begins or ends: 0.3 of 1.7 µs a chunk.
            self._started = True
            self.bytes_out += size
            self._client.write(b"%x\r\n%b\r\n" % (size, data) if self._chunked else data)
            self.last_write = self._gateway.loop.time()
            self.first_write = self.first_write or self.last_write
            if self._delivered - self._drained >= _CREDIT_STEP_BYTES and not self._client.write_paused:
                self.drained()
            return
        try:
            if not self.closed:
                if head is not None and head.detached:
                    self.detached = True
                    self._write_reply(head, head.detached, last=True)
                elif end is not None and end.HasField("error"):
                    self._write_error_end(head, data, end)
                else:
                    self._write_reply(head, data, last=end is not None)
        except Exception:
            if end is not None:
                # No other End will come. What is written down of it says what the caller was told.
                self._break_off()
            raise
        finally:
            if end is not None:
                self._ended(end)
        if end is None and size and not self._client.write_paused:
            self.drained()

    def _write_reply(self, head: wire.Head | None, data: bytes, *, last: bool) -> None:
        out: list[bytes] = []
        if not self.headers_sent:
            # A short reply that is whole comes without a Head, as JSON; early headers are only sent for streams, by
            # `keep_alive`.
            status, content_type, named = 200, b"", list[bytes]()
            if head is not None:
                status = head.status
                for header in head.headers:
                    if header.name == b"content-type":
                        content_type = header.value
                    else:
                        named.append(b"%b: %b\r\n" % (header.name, header.value))
            out.append(self._head(status, content_type, len(data) if last else None, named))
        if data:
            self._started = True
            self.bytes_out += len(data)
            out += (b"%x\r\n" % len(data), data, b"\r\n") if self._chunked else (data,)
        if last and self._chunked:
            out.append(b"0\r\n\r\n")
        if out:
            self._client.write(b"".join(out))
            self.last_write = self._gateway.loop.time()
            self.first_write = self.first_write or self.last_write
        if last:
            self._close(keep=self.keep)

    def _head(self, status: int, content_type: bytes, length: int | None, named: Sequence[bytes] = ()) -> bytes:
        line = STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        if self.asked is not None and self.asked.stream and status == 200:
            kind = self.face.stream_lines
        else:
            kind = b"content-type: %s\r\n" % (content_type or b"application/json")
        parts = [line, kind, self.face.id_lines(self.request_id.encode()), self.told, *named]
        if self.ticket is not None:
            parts.append(self.ticket.header_lines())
        if self.cors:
            parts.append(b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n")
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif self.http10:
            self.keep = False
        else:
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n" if self.keep else b"connection: close\r\n\r\n")
        self.headers_sent, self.status = True, status
        return b"".join(parts)

    def _write_error_end(self, head: wire.Head | None, data: bytes, end: wire.End) -> None:
        error = public_error(
            end.error.kind, end.error.message, end.error.param, end.error.code, end.error.retry_after_ms
        )
        if not self.headers_sent and head is None and not data:
            self.refuse(error)
        elif self.asked is not None and self.asked.stream:
            self.error = error
            self._write_reply(head, data + self._error_event(error, begun=self._started or bool(data)), last=True)
        else:
            # Half a JSON document cannot be mended: the missing end of the body tells the client.
            self._write_reply(head, data, last=False)
            self._close(keep=False)

    def refuse(self, error: PublicError) -> None:
        """Answers with an error in the caller's dialect; a stream that has begun ends with an error event."""
        if self.closed:
            return
        self.error = error = self.face.spoken(error)
        if self.headers_sent:
            self._write_reply(None, self._error_event(error, begun=self._started), last=True)
            return
        body = self.face.error(error, self.request_id, self._gateway.error_docs(self.host))
        self.bytes_out = len(body)
        named = [b"%s: %s\r\n" % (name.encode(), value.encode()) for name, value in error.headers.items()]
        self._client.write(self._head(error.status, b"", len(body), named) + body)
        self._gateway.counters.count_refused(error.code)
        self._close(keep=self.keep)

    def _error_event(self, error: PublicError, *, begun: bool) -> bytes:
        docs = self._gateway.error_docs(self.host)
        return self.face.error_event(error, self.request_id, docs, begun=begun)

    def keep_alive(self, now: float) -> None:
        """Called once a second: a silent stream gets its headers and a comment, a long one keeps its hold."""
        settings = self._gateway.settings
        self._gateway.renew(self, now)
        if self.closed or self.asked is None or not self.asked.stream or self.tries == 0:
            return
        if now - max(self.last_write, self.started) < settings.silence_seconds or self._client.write_paused:
            return
        out = b"" if self.headers_sent else self._head(200, b"", None)
        words = self.face.keep_alive
        self._client.write(out + (b"%x\r\n%s\r\n" % (len(words), words) if self._chunked else words))
        self.last_write = now

    def drained(self) -> None:
        """What was written has left for the client: the router may send as much again."""
        size = self._delivered - self._drained
        if size >= _CREDIT_STEP_BYTES and self._stream is not None and not self._stream.closed:
            self._drained = self._delivered
            self._stream.outbox.credit(self._link_id, size)

    # The end.

    def abandon(self) -> None:
        """The client is gone: stop the upstream call; its End is still awaited, acknowledged and settled."""
        if self.closed:
            return
        self.client_gone = True
        self._gateway.counters.client_gone += 1
        self._close(keep=False)
        self._let_go(wire.CANCEL_REASON_CLIENT_GONE)

    def _let_go(self, reason: wire.CancelReason) -> None:
        if self.awaits_end and self._stream is not None and not self._stream.closed:
            self._stream.outbox.cancel(self._link_id, reason)
        elif self._gateway.unpark(self):
            self._give_back()

    def cut_off(self) -> None:
        """The time of a process that stops is up: the caller is told so, and nothing more is asked of the provider."""
        self.keep = False
        self._stop(self._gateway.words.draining, wire.CANCEL_REASON_DRAINING)

    def run_out(self) -> None:
        """The time of the request is up, and its router, which has the same limit, did not say so."""
        self._stop(self._gateway.words.out_of_time, wire.CANCEL_REASON_DEADLINE)

    def broke(self) -> None:
        """A step of it failed inside edge: the caller is told so, and nothing more is asked of the provider."""
        self._gateway.unpark(self)
        goes_on = self.detached or not self.closed
        try:
            self._break_off()
        finally:
            if not self.awaits_end:
                self._give_back()
            elif goes_on:
                self._let_go(wire.CANCEL_REASON_UNSPECIFIED)

    def _break_off(self) -> None:
        try:
            if not self.closed:
                self._fail(public_error(errors.ERROR_KIND_INTERNAL))
        finally:
            # Whatever failed, nobody waits for more.
            self._close(keep=False)

    def _give_back(self) -> None:
        """Gives back what is held and no End will: of a try that began, what it costs is for billing to book."""
        if self._holding == _UNBEGUN:
            self._gateway.forget(self)
        elif self._holding == _BEGUN:
            self._gateway.end_without_cost(self)
        self._holding = _NOTHING

    def _stop(self, error: PublicError, reason: wire.CancelReason) -> None:
        if not self.closed:
            self._fail(error)
            self._let_go(reason)
        elif self.detached:
            self._let_go(reason)

    def lost(self) -> None:
        """The router's stream broke before End: the witness records it, and an untouched request is tried again."""
        self.awaits_end = False
        self._gateway.record_witness(self, self._delivered)
        words, untouched = self._gateway.words, not self.closed and not self._started
        again = untouched and may_repeat(self.operation, self.face.dialect, self.body)
        if again and self.tries < _MAX_TRIES:
            self._delivered = self._drained = 0
            hold_again(self._gateway, self)
            return
        self._give_back()
        if self.closed:
            self._gateway.records.ended_here(self)
        else:
            self._fail(words.outcome_unknown if untouched and not again else words.broke_off)

    def _fail(self, error: PublicError) -> None:
        if self.headers_sent and not (self.asked is not None and self.asked.stream):
            self._close(keep=False)
        else:
            self.refuse(error)

    def give_up(self) -> None:
        """No router came back in time for a request that was parked."""
        self._give_back()
        self.refuse(public_error(errors.ERROR_KIND_UNAVAILABLE, self._gateway.words.no_router, retry_after_ms=1000))

    def _ended(self, end: wire.End) -> None:
        gateway, stream, principal = self._gateway, self._stream, self.principal
        assert stream is not None
        assert principal is not None
        self.awaits_end = False
        stream.outbox.ack(self._link_id)
        if end.unrecorded:
            gateway.end_unrecorded(self, self._delivered)
        else:
            gateway.settle(self, principal, end)
        self._holding = _NOTHING
        if gateway.records.ended(self, end):
            stream.outbox.keep(self._link_id)

    def _close(self, *, keep: bool) -> None:
        if self.closed:
            return
        self.closed = True
        if not self.detached:
            self._gateway.closed(self)
        if not self.awaits_end:
            self._gateway.records.ended_here(self)
        if not self.client_gone:
            self._client.finish(keep=keep)
