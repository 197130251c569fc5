"""OpenTelemetry set-up, and spans made from timings when a request has ended rather than while it runs.

The standard OTEL_* variables say where to, and who we are. Nothing is exported unless `OTEL_EXPORTER_OTLP_ENDPOINT`
(or its traces form) or `OTEL_TRACES_EXPORTER` is set. Which traces are kept is the router's decision, so the SDK's
sampler keeps all that is recorded.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

log = logging.getLogger(__name__)

Attributes = Mapping[str, str | int | bool | float]
_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_GRPC: Final = "grpc"
_HTTP: Final = "http/protobuf"


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


def is_sampled(trace_id: str, ratio: float) -> bool:
    """Says whether a trace (32 hex digits) is of the share `ratio` that is kept: the same wherever it is asked."""
    return int(trace_id[16:], 16) < round(ratio * 2**64)


def new_span_id(source: Random) -> str:
    """Returns 16 random hex digits."""
    return f"{source.getrandbits(64):016x}"


def record_publish(
    tracing: Tracing, source: Random, name: str, traceparent: str, start_us: int, end_us: int, topic: str
) -> None:
    """Records the span of an event's way to the log, below the span of `traceparent`; without one there is none."""
    parent = parse_traceparent(traceparent)
    if parent is None or not tracing.enabled:
        return
    tracing.record(
        SpanRecord(
            name=name,
            span=format_traceparent(parent[0], new_span_id(source), sampled=True),
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

    def __init__(self, service: str, slot: int, exporters: Sequence[SpanExporter]) -> None:
        self._ids = _PresetIds()
        ours = Resource.create({"service.name": f"tollgate-{service}", "service.instance.id": f"{service}-{slot}"})
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES: what an operator says wins.
        resource = ours.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, sampler=ALWAYS_ON)
        for exporter in exporters:
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
            far = SpanContext(
                self._ids.trace_id, int(record.parent_span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
            )
            parent = trace.set_span_in_context(NonRecordingSpan(far))
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
    """Returns the tracing that the standard OTEL_* variables ask for.

    `environment` is the process's own: the exporters read their addresses, headers and certificates from there.
    """
    asked = environment.get(_OTLP + "ENDPOINT") or environment.get(_OTLP + "TRACES_ENDPOINT")
    named = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if asked else "none")
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return NoTracing()
    exporters = [
        exporter
        for name in dict.fromkeys(named.lower().split(","))
        if (exporter := _exporter(name.strip(), environment)) is not None
    ]
    return OtelTracing(service, slot, exporters) if exporters else NoTracing()


def _exporter(name: str, environment: Mapping[str, str]) -> SpanExporter | None:
    if name == "console":
        return ConsoleSpanExporter(out=sys.stdout)
    if name == "otlp":
        return _otlp_exporter(environment)
    if name not in {"", "none"}:
        log.warning("OTEL_TRACES_EXPORTER is otlp, console or none, or several with commas; ignored: %s", name[:100])
    return None


def _otlp_exporter(environment: Mapping[str, str]) -> SpanExporter:
    protocol = (environment.get(_OTLP + "TRACES_PROTOCOL") or environment.get(_OTLP + "PROTOCOL") or _GRPC).strip()
    if protocol not in {_GRPC, _HTTP}:
        instead = _HTTP if protocol.startswith("http") else _GRPC
        log.warning("OTLP is sent as %s or %s; instead of %s it is %s", _GRPC, _HTTP, protocol[:100], instead)
        protocol = instead
    if protocol == _HTTP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter()
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    return GrpcExporter()
