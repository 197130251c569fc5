"""OpenTelemetry set-up, and spans made from timings when a request has ended rather than while it runs.

Nothing is exported unless the standard `OTEL_EXPORTER_OTLP_ENDPOINT` (or its traces form) is set. Which traces are
kept is the router's decision, so the SDK's sampler keeps all that is recorded.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

Attributes = Mapping[str, str | int | bool | float]


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span that has ended. `span` is its own traceparent, `parent_span_id` 16 hex digits or empty for a root."""

    name: str
    span: str
    parent_span_id: str
    start_us: int
    end_us: int
    kind: SpanKind
    attributes: Attributes
    error: str = ""


class Tracing(Protocol):
    @property
    def enabled(self) -> bool:
        """False when spans go nowhere; callers skip all work then."""
        ...

    def record(self, record: SpanRecord) -> None:
        """Queues the span for export; a record whose `span` is not a traceparent is left out."""
        ...

    def shutdown(self) -> None:
        """Sends what is queued and stops."""
        ...


def parse_traceparent(value: str) -> tuple[str, str, bool] | None:
    """Returns (trace id, span id, sampled) of a W3C traceparent, or None when it is not one."""
    parts = value.split("-")
    if len(parts) < 4 or len(parts[0]) != 2 or parts[0] == "ff" or (parts[0] == "00" and len(parts) > 4):
        return None
    if len(parts[1]) != 32 or len(parts[2]) != 16 or len(parts[3]) != 2 or value != value.lower():
        return None
    try:
        flags = int(parts[3], 16)
        known = int(parts[1], 16) and int(parts[2], 16)
    except ValueError:
        return None
    return (parts[1], parts[2], bool(flags & 1)) if known else None


def format_traceparent(trace_id: str, span_id: str, *, sampled: bool) -> str:
    """Returns a traceparent from 32 and 16 hex digits."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def new_trace_id() -> str:
    """Returns 32 random hex digits."""
    return os.urandom(16).hex()


def new_span_id() -> str:
    """Returns 16 random hex digits."""
    return os.urandom(8).hex()


def record_publish(tracing: Tracing, name: str, traceparent: str, start_us: int, end_us: int, topic: str) -> None:
    """Records the span of an event's way to the log, below the span of `traceparent`; without one there is none."""
    parent = parse_traceparent(traceparent)
    if parent is None or not tracing.enabled:
        return
    tracing.record(
        SpanRecord(
            name=name,
            span=format_traceparent(parent[0], new_span_id(), sampled=True),
            parent_span_id=parent[1],
            start_us=start_us,
            end_us=end_us,
            kind=SpanKind.PRODUCER,
            attributes={"messaging.operation.name": "send", "messaging.destination.name": topic},
        )
    )


class _PresetIds(IdGenerator):
    """Gives a span the ids that were sent over the wire before the span existed."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        return self.trace_id or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        return self.span_id or self._random.generate_span_id()


class OtelTracing:
    """Records from one thread only."""

    def __init__(self, service: str, slot: int, exporter: SpanExporter) -> None:
        self._ids = _PresetIds()
        resource = Resource.create({"service.name": f"tollgate-{service}", "service.instance.id": f"{service}-{slot}"})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, sampler=ALWAYS_ON)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("tollgate")

    @property
    def enabled(self) -> bool:
        return True

    def record(self, record: SpanRecord) -> None:
        own = parse_traceparent(record.span)
        if own is None:
            return
        self._ids.trace_id, self._ids.span_id = int(own[0], 16), int(own[1], 16)
        parent = None
        if record.parent_span_id:
            parent = trace.set_span_in_context(
                NonRecordingSpan(
                    SpanContext(
                        self._ids.trace_id, int(record.parent_span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
                    )
                )
            )
        span = self._tracer.start_span(
            record.name,
            context=parent,
            kind=record.kind,
            attributes=dict(record.attributes),
            start_time=record.start_us * 1000,
        )
        if record.error:
            span.set_status(Status(StatusCode.ERROR, record.error))
        span.end(end_time=record.end_us * 1000)

    def shutdown(self) -> None:
        self._provider.shutdown()


class NoTracing:
    @property
    def enabled(self) -> bool:
        return False

    def record(self, record: SpanRecord) -> None:
        """Does nothing."""

    def shutdown(self) -> None:
        """Does nothing."""


def new_tracing(service: str, *, slot: int, environment: Mapping[str, str]) -> Tracing:
    """Returns the tracing that the standard OTEL_* variables in `environment` ask for."""
    asked = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not asked or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NoTracing()
    return OtelTracing(service, slot, _exporter(environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")))


def _exporter(protocol: str) -> SpanExporter:
    if protocol.startswith("http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    return GrpcExporter()
