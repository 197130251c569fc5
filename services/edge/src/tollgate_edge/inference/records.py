"""What is written down of a request when it has ended, from the one object that carried it: metrics and its span."""

import asyncio
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.telemetry import SPAN_REQUEST, InferenceCounters, operation_name, outcome_name
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import SpanRecord, Tracing

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange


class RequestRecords:
    """One per process."""

    def __init__(
        self, counters: InferenceCounters, tracing: Tracing, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._counters = counters
        self._tracing = tracing
        self._clock = clock
        self._loop = loop

    def ended(self, exchange: "InferenceExchange", end: wire.End) -> None:
        """A request that reached a router is over: its End has come, the caller has the reply or is gone."""
        started, asked = exchange.started, exchange.asked
        streamed = asked is not None and asked.stream and exchange.first_write
        self._counters.count_end(
            exchange.operation,
            end.outcome,
            exchange.opened_at - started,
            exchange.first_write - started if streamed else -1.0,
            self._loop.time() - started,
        )
        if end.trace_kept and self._tracing.enabled:
            self._record_span(exchange, end)

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
