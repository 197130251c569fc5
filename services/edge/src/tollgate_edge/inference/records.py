"""What is written down of a request when it is over, from the one object that carried it: metrics, span, line."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.errors import PublicError
from tollgate_edge.inference.access_log import AccessLine, AccessLog
from tollgate_edge.telemetry import SPAN_REQUEST, InferenceCounters, operation_name, outcome_name
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import SpanRecord, Tracing

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange

_GONE_STATUS: Final = 499


class RequestRecords:
    """One per process. Each request is told to exactly one of its methods, once, when nothing more comes of it."""

    def __init__(
        self,
        counters: InferenceCounters,
        tracing: Tracing,
        access_log: AccessLog,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._counters = counters
        self._tracing = tracing
        self._log = access_log
        self._clock = clock
        self._loop = loop

    def ended(self, exchange: "InferenceExchange", end: wire.End) -> None:
        """The router's End has come, and the caller has the reply or is gone."""
        started, asked, now, outcome = exchange.started, exchange.asked, self._loop.time(), end.outcome
        streamed = asked is not None and asked.stream and exchange.first_write
        self._counters.count_end(
            exchange.operation,
            outcome,
            exchange.opened_at - started,
            exchange.first_write - started if streamed else -1.0,
            now - started,
        )
        kept = end.trace_kept
        if kept and self._tracing.enabled:
            self._record_span(exchange, end)
        if self._log.wants(failed=outcome != wire.OUTCOME_OK or exchange.client_gone, kept=kept):
            self._write(exchange, outcome, now, end.charge_pico, end.channel, end.attempts)

    def ended_here(self, exchange: "InferenceExchange") -> None:
        """No router will say more of it: edge refused it, its caller left before, or its router vanished."""
        if exchange.tries:
            self._write(exchange, wire.OUTCOME_ROUTER_LOST, self._loop.time(), None)
        else:
            outcome = wire.OUTCOME_CANCELLED if exchange.client_gone else wire.OUTCOME_REFUSED
            self._write(exchange, outcome, self._loop.time(), 0)

    def refused(self, request_id: str, error: PublicError) -> None:
        """What never became a request was answered with an error."""
        line = AccessLine(
            ts=self._now(),
            request_id=request_id,
            status=error.status,
            outcome=outcome_name(wire.OUTCOME_REFUSED),
            error=error.code,
        )
        self._log.add(line, self._loop.time())

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
            status=exchange.status or _GONE_STATUS,
            outcome=outcome_name(outcome),
            error=exchange.error_code,
            request_bytes=len(exchange.body),
            response_bytes=exchange.bytes_out,
            queue_ms=_milliseconds(exchange.opened_at, started),
            first_byte_ms=_milliseconds(exchange.first_write, started),
            total_ms=_milliseconds(now, started or now) or 0.0,
            charge_pico=charge_pico,
        )
        self._log.add(line, now)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC).isoformat(timespec="milliseconds")

    def _record_span(self, exchange: "InferenceExchange", end: wire.End) -> None:
        asked, outcome = exchange.asked, outcome_name(end.outcome)
        assert asked is not None
        self._tracing.record(
            SpanRecord(
                name=SPAN_REQUEST,
                span=f"00-{exchange.trace_id}-{exchange.span_id}-01",
                parent_span_id=exchange.trace_parent,
                start_us=exchange.started_us,
                end_us=self._clock.now_us(),
                kind=SpanKind.SERVER,
                attributes={
                    "http.request.method": "POST",
                    "gen_ai.operation.name": operation_name(exchange.operation),
                    "gen_ai.request.model": asked.model,
                    "tollgate.request_id": exchange.request_id,
                    "tollgate.attempts": end.attempts,
                    "tollgate.outcome": outcome,
                },
                error=outcome if end.outcome != wire.OUTCOME_OK else "",
            )
        )


def _milliseconds(at: float, since: float) -> float | None:
    """Returns the time between two moments of the loop's clock; None when the first never came."""
    return round((at - since) * 1000, 3) if at else None
