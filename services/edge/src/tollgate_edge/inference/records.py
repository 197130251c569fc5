"""What is written down of a request when it is over: metrics, span, line, and a row of the request log if refused."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import refused_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.inference.access_log import AccessLine, AccessLog
from tollgate_edge.inference.refused_log import RefusedLog, told
from tollgate_edge.inference.room import Room
from tollgate_edge.telemetry import SPAN_REQUEST, InferenceCounters, operation_name, outcome_name
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import SpanRecord, Tracing, parse_traceparent

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange

_GONE: Final = public_error(errors.ERROR_KIND_CANCELLED)
# Spans in a second of requests that no router had: so many of our own failures, and so many refused to their callers.
_MOST_SPANS: Final = 100
_OUR_FAULT: Final = 500


class RequestRecords:
    """One per process. Each request is told to exactly one of its methods, once, when nothing more comes of it."""

    def __init__(
        self,
        counters: InferenceCounters,
        tracing: Tracing,
        access_log: AccessLog,
        refused_log: RefusedLog,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        slow_seconds: float,
    ) -> None:
        self._counters = counters
        self._tracing = tracing
        self._log = access_log
        self._refused = refused_log
        self._clock = clock
        self._loop = loop
        self._slow = slow_seconds
        self._failures, self._refusals = Room(_MOST_SPANS), Room(_MOST_SPANS)

    def ended(self, exchange: "InferenceExchange", end: wire.End) -> bool:
        """The router's End has come, and the caller has the reply or is gone.

        Returns whether its trace is kept though the router does not say so: the router is to be told.
        """
        started, asked, now, outcome = exchange.started, exchange.asked, self._loop.time(), end.outcome
        streamed = asked is not None and asked.stream and exchange.first_write
        self._counters.count_end(
            exchange.operation,
            outcome,
            exchange.opened_at - started,
            exchange.first_write - started if streamed else -1.0,
            now - started,
        )
        # A router knows neither of the one that was lost before it, nor how long a request waited for it, or for Redis.
        kept = end.trace_kept or exchange.tries > 1 or now - started > self._slow or end.unrecorded
        if kept and self._tracing.enabled:
            self._record_span(exchange, outcome, end.attempts, limited=end.unrecorded)
        if self._log.wants(failed=outcome != wire.OUTCOME_OK or exchange.client_gone, kept=kept):
            self._write(exchange, outcome, now, end.charge_pico, end.channel, end.attempts)
        if end.unrecorded and not exchange.first_write:
            # It has no row of usage.
            self._keep_refused(exchange, now)
        return kept and self._tracing.enabled and not end.trace_kept

    def ended_here(self, exchange: "InferenceExchange") -> None:
        """No router will say more of it: edge refused it, its caller left before, or its router vanished."""
        now, had_router = self._loop.time(), exchange.tries > 0
        outcome = wire.OUTCOME_CANCELLED if exchange.client_gone else wire.OUTCOME_REFUSED
        if had_router:
            outcome = wire.OUTCOME_ROUTER_LOST
        # A stranger's refusal is neither a request of anybody nor a span: whoever likes could make any number.
        if exchange.principal is not None or _status_of(exchange) >= _OUR_FAULT:
            started, opened = exchange.started or now, exchange.opened_at
            queue = opened - started if opened else -1.0
            self._counters.count_end(exchange.operation, outcome, queue, -1.0, now - started)
            if self._tracing.enabled:
                self._record_span(exchange, outcome, 0, limited=not had_router)
        self._write(exchange, outcome, now, None if had_router else 0)
        if not had_router:
            self._keep_refused(exchange, now)

    def refused(self, request_id: str, error: PublicError) -> None:
        """What never became a request was answered with an error."""
        line = AccessLine(
            ts=self._now(),
            request_id=request_id,
            status=error.status,
            outcome=outcome_name(wire.OUTCOME_REFUSED),
            error=error.code,
        )
        now = self._loop.time()
        self._log.add(line, now)
        if self._refused.room("", now):
            row = events.RequestRefused(request_id=request_id, refused_at_us=self._clock.now_us(), **told(error))
            self._refused.add(row)

    def refused_by_api(self, request_id: str, caller: Principal | None, route: str, error: PublicError) -> None:
        """An error answered a request that is none for a model; `route` as the API describes it, or empty."""
        if not self._refused.room(_name_of(caller), self._loop.time()):
            return
        row = events.RequestRefused(
            request_id=request_id,
            refused_at_us=self._clock.now_us(),
            route=route,
            **told(error),
            **_tenant(caller),
        )
        if not route:
            # The words name the path, of which nobody knows what it holds.
            row.message = ""
        self._refused.add(row)

    def room_for_span(self, caller: Principal | None, status: int) -> bool:
        """Tells whether a request that no router had, or none wrote down, has a span; one that has not is counted."""
        room = self._failures if status >= _OUR_FAULT else self._refusals
        if room.take(_name_of(caller), self._loop.time()):
            return True
        self._counters.spans_left_out += 1
        return False

    def _keep_refused(self, exchange: "InferenceExchange", now: float) -> None:
        caller = exchange.principal or exchange.barred
        if not self._refused.room(_name_of(caller), now):
            return
        asked, trace_id = exchange.asked, exchange.trace_id
        if not trace_id and exchange.traceparent is not None:
            given = parse_traceparent(exchange.traceparent.decode("latin-1"))
            trace_id = given[0] if given is not None else ""
        started = exchange.started
        self._refused.add(
            events.RequestRefused(
                request_id=exchange.request_id,
                refused_at_us=self._clock.now_us(),
                trace_id=trace_id,
                route=exchange.face.routes.get(exchange.operation, ""),
                operation=operation_name(exchange.operation),
                model=asked.model if asked is not None else "",
                stream=asked is not None and asked.stream,
                request_bytes=exchange.body_length,
                total_us=round((now - started) * 1e6) if started else 0,
                **told(exchange.error or _GONE),
                **_tenant(caller),
            )
        )

    def _write(
        self,
        exchange: "InferenceExchange",
        outcome: int,
        now: float,
        charge_pico: int | None,
        channel: str = "",
        attempts: int = 0,
    ) -> None:
        principal, asked, started = exchange.principal, exchange.asked, exchange.started
        line = AccessLine(
            ts=self._now(),
            request_id=exchange.request_id,
            trace_id=exchange.trace_id,
            organization_id=principal.organization_id if principal is not None else "",
            project_id=principal.project_id if principal is not None else "",
            api_key_id=principal.api_key_id if principal is not None else "",
            operation=operation_name(exchange.operation),
            model=asked.model if asked is not None else "",
            stream=asked is not None and asked.stream,
            channel=channel,
            tries=exchange.tries,
            attempts=attempts,
            status=_status_of(exchange),
            outcome=outcome_name(outcome),
            error=exchange.error.code if exchange.error is not None else "",
            request_bytes=exchange.body_length,
            response_bytes=exchange.bytes_out,
            queue_ms=_milliseconds(exchange.opened_at, started),
            first_byte_ms=_milliseconds(exchange.first_write, started),
            total_ms=_milliseconds(now, started or now) or 0.0,
            charge_pico=charge_pico,
        )
        self._log.add(line, now)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC).isoformat(timespec="milliseconds")

    def _record_span(self, exchange: "InferenceExchange", outcome: int, attempts: int, *, limited: bool) -> None:
        """Records the span of a request; one that was refused before it had a trace begins one here."""
        if limited and not self.room_for_span(exchange.principal, _status_of(exchange)):
            return
        if not exchange.trace_id:
            exchange.trace()
        named, asked, now_us = outcome_name(outcome), exchange.asked, self._clock.now_us()
        attributes: dict[str, str | int] = {
            "http.request.method": "POST",
            "http.response.status_code": _status_of(exchange),
            "gen_ai.operation.name": operation_name(exchange.operation),
            "tollgate.request_id": exchange.request_id,
            "tollgate.attempts": attempts,
            "tollgate.outcome": named,
        }
        if asked is not None:
            attributes["gen_ai.request.model"] = asked.model
        if exchange.error is not None:
            attributes["error.type"] = exchange.error.code
        self._tracing.record(
            SpanRecord(
                name=SPAN_REQUEST,
                span=f"00-{exchange.trace_id}-{exchange.span_id}-01",
                parent_span_id=exchange.trace_parent,
                start_us=exchange.started_us or now_us,
                end_us=now_us,
                kind=SpanKind.SERVER,
                attributes=attributes,
                error=named if outcome != wire.OUTCOME_OK else "",
            )
        )


def _status_of(exchange: "InferenceExchange") -> int:
    return exchange.status or _GONE.status


def _name_of(caller: Principal | None) -> str:
    return "" if caller is None else caller.api_key_id


def _tenant(caller: Principal | None) -> dict[str, Any]:
    """Returns the fields of a row that say whose key it was; never the key."""
    if caller is None:
        return {}
    return {
        "organization_id": caller.organization_id,
        "project_id": caller.project_id,
        "api_key_id": caller.api_key_id,
        "tags": caller.tags,
        "member": caller.member,
    }


def _milliseconds(at: float, since: float) -> float | None:
    """Returns the time between two moments of the loop's clock; None when the first never came."""
    return round((at - since) * 1000, 3) if at else None
