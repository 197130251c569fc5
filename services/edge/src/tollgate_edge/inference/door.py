"""HTTP at the front: uvicorn's protocol, with inference requests answered here and all else handed to it.

Steps of an inference request, callbacks of the parser: `on_headers_complete` (is it one? an exchange) → `on_body` →
`on_message_complete` (its turn: `InferenceExchange.begin`) → `write` → `finish`. As an ASGI call it would cost 20 to
35 µs more: scope, task and queue (`benchmarks.tricks`, as all figures of this kind in comments of this path).

uvicorn is pinned, and `services/edge/tests/integration/test_door.py` fails when an upgrade changes what is relied on:
the names of the parser callbacks, `pipeline`, `flow`, `cycle`, `timeout_keep_alive` and its task,
`on_response_complete` and `_start_asgi_task`.
"""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.faces import gemini_call
from tollgate_edge.inference.asking import add_part
from tollgate_edge.inference.caller import CONTINUE, Caller
from tollgate_edge.inference.exchange import InferenceExchange
from tollgate_edge.inference.guarding import guarded
from tollgate_edge.inference.known_head import KnownHead, known_head
from tollgate_edge.inference.operations import ROUTES
from tollgate_edge.inference.request_head import SHORT_BYTES, has_long_body, read_head
from tollgate_edge.ports import Refused

if TYPE_CHECKING:
    from tollgate_edge.inference.gateway import InferenceGateway

log = logging.getLogger(__name__)

# Asked of a process that drains, too: they say that it does.
_HEALTH_PATHS: Final = frozenset({b"/healthz", b"/readyz"})
_MAX_PIPELINED: Final = 16
_LEAST_BODY_BYTES_PER_SECOND: Final = 1000
# Heads that are kept in the hope that the next one is the same, before a connection is given up as one that varies.
_HEADS_KEPT: Final = 4


class _HeadTooLarge(Exception):  # noqa: N818 - what was read, and no fault of ours.
    """Stops the parser; the caller was answered."""


class Door(Caller):
    """One client connection. `gateway` and its limits are set on a subclass by `door_class`."""

    max_header_bytes: int
    max_header_count: int
    trusted_hops: int

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.access_log = False
        self._reading: InferenceExchange | None = None
        self._head_size = 0
        self._ending = False
        self._receiving = False
        # Of this one the body is being read, and whose key it is not known yet.
        self._nameless: InferenceExchange | None = None
        # When a connection without a request is closed; 0 while it has one.
        self._idle_until = 0.0
        self._known: KnownHead | None = None
        self._heads_to_keep = _HEADS_KEPT

    # The transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio hands in what has both ends.
        super().connection_made(transport)
        self.peer = "" if self.client is None else str(self.client[0])
        self.taken_at = self.loop.time()
        self.gateway.doors.add(self)
        self.read_deadline = self.loop.time() + self.gateway.settings.header_timeout_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        self.gateway.doors.discard(self)
        for exchange in self._exchanges():
            guarded(exchange, exchange.abandon)
        self._leave_out()
        self._serving = None
        self.pipeline.clear()
        super().connection_lost(exc)
        # uvicorn leaves the timer of a connection that broke with an error.
        self._unset_keepalive_if_required()

    def eof_received(self) -> None:
        """Closes: who sends nothing more is taken for gone, since a caller that left says no more than that."""

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        begins = not self._receiving and not self.pipeline and self._idle()
        if begins and self._known is not None and self._is_known(self._known, data):
            return
        try:
            self.parser.feed_data(data)
            if begins and self._heads_to_keep and self._serving is not None:
                self._keep_head(data, self._serving)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _HeadTooLarge):
                log.exception("a request could not be handled")
                self.broke()
        except httptools.HttpParserUpgrade:
            self._end(public_error(errors.ERROR_KIND_INVALID_REQUEST, self.gateway.words.no_upgrade))
        except httptools.HttpParserError:
            self._end(public_error(errors.ERROR_KIND_INVALID_REQUEST, self.gateway.words.bad_http))

    def broke(self) -> None:
        """What was read could not be handled, and is of no exchange yet: 500, and the connection closes."""
        self._end(public_error(errors.ERROR_KIND_INTERNAL))

    def _is_known(self, known: KnownHead, data: bytes) -> bool:
        """Begins the request that `data` is, where its head is that of the one before: the parser is not asked.

        Of 60 us that edge's own code takes of a small request with four headers this saves 7, and more with the
        fifteen that clients send (docs/reference/benchmarks.md).
        """
        gateway = self.gateway
        if gateway.closing or gateway.draining or known.names is not gateway.passed_headers:
            return False
        body = known.body_of(data)
        if body is None:
            return False
        settings, size = gateway.settings, len(body)
        if size > settings.max_body_bytes or gateway.body_bytes + size > settings.max_body_memory_bytes:
            return False
        self._heads_to_keep = _HEADS_KEPT
        self._ends_idleness()
        gateway.body_bytes += size
        self._serving = exchange = known.exchange(gateway, self, body)
        guarded(exchange, exchange.begin)
        return True

    def _keep_head(self, data: bytes, exchange: InferenceExchange) -> None:
        """The parser has read `data`, with which `exchange` began."""
        self._heads_to_keep -= 1
        usual = exchange.keep and not exchange.http10 and not self.expect_100_continue
        self._known = known_head(data, exchange, self.gateway.passed_headers) if usual else None

    def resume_writing(self) -> None:
        super().resume_writing()
        self.taken_at = self.loop.time()
        if self._serving is not None:
            self._serving.drained()

    # The end of the process.

    @property
    def busy(self) -> bool:
        """A request is being read or answered."""
        return self._receiving or bool(self.pipeline) or not self._idle()

    def shutdown(self) -> None:
        """Says in a reply that has not begun that its connection closes."""
        for exchange in (self._serving, self._reading):
            if exchange is not None and not exchange.headers_sent:
                exchange.keep = False
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def cut_off(self) -> None:
        """Ends what is open, with words where the protocol has room for them, and closes."""
        guarded(self, self._say_last_words)
        self.transport.close()

    def _say_last_words(self) -> None:
        if self._serving is not None:
            self._serving.cut_off()
        if self._receiving:
            self._end(self.gateway.words.draining)

    def _turn_away(self) -> None:
        """Answers a new request of a draining process; one behind a reply under way is dropped, as HTTP allows."""
        if self._idle():
            self._ending, self._receiving, self._lingers = True, False, True
            self._answer(self.gateway.words.draining)
            self._leave()
        else:
            self._end_behind_reply()

    def _end_behind_reply(self) -> None:
        """The request that is being read is dropped, and the connection ends with the last reply that is due before."""
        self._ending = self._lingers = True
        self._leave_out()
        last: Any = self.pipeline[0][0] if self.pipeline else self._serving or self.cycle
        if isinstance(last, InferenceExchange):
            last.keep = False
        else:
            last.keep_alive = False

    def _leave_out(self) -> None:
        """Gives back what has come of a request that is not served."""
        if self._reading is not None:
            self.gateway.closed(self._reading)
            self._reading.body_parts = []
        self._reading = self._nameless = None
        self._receiving = False
        self.read_deadline = 0.0

    # The parser.

    def on_message_begin(self) -> None:
        # uvicorn's own begins a scope here, which only requests that are handed to it need (see `_hand_over`): 0.2 µs.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_size = 0
        self._reading = None
        self._receiving = not self._ending
        self._ends_idleness()
        self.read_deadline = self.loop.time() + self.gateway.settings.header_timeout_seconds

    def _ends_idleness(self) -> None:
        # By a request only: bytes that begin none, as blank lines do, keep no connection.
        self._idle_until = 0.0
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head_size += len(url)
        if self._head_size > self.max_header_bytes:
            self._head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"transfer-encoding" and value.lower() != b"chunked" and not self._ending:
            # The parser takes any list that ends in chunked; a proxy before us may read its end elsewhere.
            self._end(public_error(errors.ERROR_KIND_INVALID_REQUEST, self.gateway.words.bad_http))
        headers = self.headers
        headers.append((name, value))
        self._head_size = size = self._head_size + len(name) + len(value) + 4
        if size > self.max_header_bytes or len(headers) > self.max_header_count:
            self._head_too_large()

    def on_headers_complete(self) -> None:
        self.read_deadline = self.loop.time() + self.gateway.settings.body_timeout_seconds
        if self._ending:
            return
        path, _, query = self.url.partition(b"?")
        if self.gateway.draining and path not in _HEALTH_PATHS:
            self._turn_away()
            return
        route = ROUTES.get(path)
        named = None
        if route is None and b":" in path and (called := gemini_call(path, query)) is not None:
            route, named = called[:2], called.named
        if route is None or self.parser.get_method() in {b"OPTIONS", b"HEAD"}:
            self._hand_over()
            return
        exchange = InferenceExchange(self.gateway, self, *route, named)
        self._reading = exchange
        read_head(exchange, self.headers, query, self.gateway)
        exchange.keep = self.parser.should_keep_alive()
        exchange.http10 = self.parser.get_http_version() == "1.0"
        refusal = self._refusal(exchange)
        if refusal is not None:
            self._refuse_early(exchange, refusal)
        elif self._nameless is not exchange:
            self._ask_for_body()

    def _hand_over(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        try:
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            # The parser of requests lets through what the one of addresses does not: `CONNECT` with none.
            self._end(public_error(errors.ERROR_KIND_INVALID_REQUEST, self.gateway.words.bad_http))
            return
        if self.gateway.closing:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        exchange = self._reading
        if exchange is None:
            if not self._ending:
                super().on_body(body)
            return
        if exchange.closed:
            return
        add_part(exchange, body)
        # A byte now and then does not keep a connection: time is earned by what has come, and no more of it than this
        # can be saved up.
        most = self.loop.time() + self.gateway.settings.body_timeout_seconds
        self.read_deadline = min(self.read_deadline + len(body) / _LEAST_BODY_BYTES_PER_SECOND, most)
        self.gateway.body_bytes += len(body)
        if exchange is self._nameless and exchange.body_size > SHORT_BYTES:
            # For as long as the store takes; it always says something, and `_key_is` goes on.
            self.flow.pause_reading()
        if exchange.body_size > self.gateway.settings.max_body_bytes:
            self._refuse_early(exchange, self.gateway.words.too_large)
        elif self.gateway.body_bytes > self.gateway.settings.max_body_memory_bytes:
            self._refuse_early(exchange, self.gateway.words.no_memory)

    def on_message_complete(self) -> None:
        self._receiving = False
        exchange, self._reading = self._reading, None
        if self._lingers:
            # There is no rest to wait for.
            self._lingers = False
            if self._idle():
                self.transport.close()
                return
        self.read_deadline = 0.0
        if self._nameless is not None:
            # It is whole, and begins with its key.
            self._nameless = None
            self._read_on()
        if exchange is None or exchange.closed:
            if exchange is None and not self._ending:
                super().on_message_complete()
            if self._idle():
                # It was answered before it was whole.
                self._idles()
        elif self._ending:
            self.gateway.closed(exchange)
        elif self._idle():
            self._serving = exchange
            guarded(exchange, exchange.begin)
        elif len(self.pipeline) < _MAX_PIPELINED:
            self.pipeline.appendleft((cast("Any", exchange), cast("Any", None)))
        else:
            self.gateway.closed(exchange)
            self._end(public_error(errors.ERROR_KIND_INVALID_REQUEST, self.gateway.words.bad_http))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, InferenceExchange):
            self._serving = cycle
            guarded(cycle, cycle.begin)
        elif self._serving is not None:
            # A request of the other kind waits for the reply before it.
            self.pipeline.appendleft((cycle, app))
        else:
            super()._start_asgi_task(cycle, app)

    # The reply, for exchanges.

    def finish(self, *, keep: bool) -> None:
        """Ends the reply that is under way."""
        self._serving = None
        if not keep or (self._ending and not self.pipeline):
            self._leave()
        elif self.pipeline:
            self.on_response_complete()
        elif self._receiving:
            self._gives_time()
        else:
            self._idles()

    def _idles(self) -> None:
        # uvicorn would arm a timer for every reply, and take it back with the next request; the sweep looks anyway.
        # With heads that are known, edge's own code takes 42 µs of a small request in place of 65.
        self._idle_until = self.loop.time() + self.timeout_keep_alive

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._receiving:
            self._unset_keepalive_if_required()
            self._gives_time()

    def _gives_time(self) -> None:
        """The reply is done behind which a request is being read, which had no limit until now."""
        self.read_deadline = max(self.read_deadline, self.loop.time() + self.gateway.settings.header_timeout_seconds)

    # Time limits, asked once a second.

    def check_deadline(self, now: float) -> None:
        """Ends a connection whose request does not arrive in time, and one that had none for too long."""
        if 0.0 < self._idle_until <= now:
            self.transport.close()
        if not self.read_deadline or now < self.read_deadline or self.transport.is_closing():
            return
        if not self._idle() and not self._is_read_by_app():
            # An error would be taken for a part of the reply that is due before it.
            self.read_deadline = now + self.gateway.settings.header_timeout_seconds
            return
        if self._lingers or not getattr(self, "url", b""):
            self.transport.close()
        else:
            self._end(self.gateway.words.too_slow)

    # Refusals before a request is whole.

    def _refusal(self, exchange: InferenceExchange) -> PublicError | None:
        if self.parser.get_method() != b"POST":
            return self.gateway.words.method_not_allowed
        if exchange.content_length > self.gateway.settings.max_body_bytes:
            return self.gateway.words.too_large
        if self.gateway.closing:
            exchange.keep = False
        return self._check_key(exchange) if has_long_body(exchange) else None

    def _check_key(self, exchange: InferenceExchange) -> PublicError | None:
        """Looks at the key before a long body is taken: who has none that is good holds no memory of ours for long.

        What is not remembered is asked of the store meanwhile. `begin` asks again, for what a key may do can change
        while a body comes.
        """
        presented, gateway = exchange.presented, self.gateway
        if presented is None:
            return public_error(errors.ERROR_KIND_UNAUTHENTICATED, gateway.words.no_key)
        found = gateway.authenticator.cached(presented)
        if found is None:
            self._nameless = exchange
            gateway.authenticate_slowly(self, presented, partial(self._key_is, exchange))
            return None
        return self._refusal_of_key(exchange, found)

    def _refusal_of_key(self, exchange: InferenceExchange, found: object) -> PublicError | None:
        if not isinstance(found, Refused):
            return None
        exchange.barred = found.principal
        return self.gateway.refusal(found)

    def _key_is(self, exchange: InferenceExchange, found: object) -> None:
        """The store has said whose key it is. A body that is whole by now is no concern of this."""
        if self._nameless is not exchange:
            return
        self._nameless = None
        refusal = self._refusal_of_key(exchange, found)
        if refusal is not None:
            self._refuse_early(exchange, refusal)
        else:
            self.read_deadline = self.loop.time() + self.gateway.settings.body_timeout_seconds
            self._read_on()
            self._ask_for_body()

    def _read_on(self) -> None:
        # Behind a request of the app that waits, uvicorn may have stopped; it goes on with that one.
        if not self.pipeline:
            self.flow.resume_reading()

    def _ask_for_body(self) -> None:
        if self.expect_100_continue and self._idle():
            self.transport.write(CONTINUE)

    def _refuse_early(self, exchange: InferenceExchange, error: PublicError) -> None:
        """Answers before the body is whole. A short body is read and dropped, so that the connection can be kept."""
        if not self._idle():
            self._end_behind_reply()
            return
        self.gateway.body_bytes -= exchange.body_size
        exchange.body_parts, exchange.body_size = [], 0
        self._nameless = None
        if has_long_body(exchange) or self.expect_100_continue:
            exchange.keep = self._receiving = False
            self._ending = self._lingers = True
        self._serving = exchange
        exchange.refuse(error)

    def _head_too_large(self) -> None:
        if not self._ending:
            self._end(self.gateway.words.headers_too_large)
        # The parser would go on with all that was read of it.
        raise _HeadTooLarge

    def _end(self, error: PublicError) -> None:
        """Answers outside of any exchange and closes; in the middle of a reply, or when all is said, only closes."""
        self._ending, self._receiving, self._nameless = True, False, None
        said = self._lingers or self.transport.is_closing()
        if not said and (self._idle() or self._is_read_by_app()):
            self._answer(error)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words are not ours.
        self._end(public_error(errors.ERROR_KIND_INVALID_REQUEST, self.gateway.words.bad_http))

    def _exchanges(self) -> list[InferenceExchange]:
        waiting = cast("list[tuple[object, object]]", list(self.pipeline))
        queued = [item for item, _ in waiting if isinstance(item, InferenceExchange)]
        return [*([self._serving] if self._serving is not None else []), *queued]


def door_class(gateway: "InferenceGateway") -> type[Door]:
    """Returns the protocol class to give to uvicorn as `http=`."""
    names = ("max_header_bytes", "max_header_count", "trusted_hops")
    limits = {name: getattr(gateway.settings, name) for name in names}
    return type("BoundDoor", (Door,), {"gateway": gateway, "slow_readers": gateway.slow_readers, **limits})
