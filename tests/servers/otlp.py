"""An OTLP receiver over gRPC and HTTP that keeps what it is sent."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    started_ns: int
    ended_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    resource: dict[str, Any] = field(default_factory=dict)
    protocol: str = "grpc"


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens on a free port for each protocol; `spans` grows as they come in."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._spans: list[Span] = []
        self.metric_exports = 0
        self.log_exports = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._server)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(_Logs(self), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _http_handler(self))
        self._http_thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def environment(self) -> dict[str, str]:
        """Returns the standard variables that point an exporter here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    def start(self) -> None:
        """Begins to take spans."""
        self._server.start()
        self._http_thread.start()

    def stop(self) -> None:
        """Stops and waits for the end."""
        self._server.stop(None).wait()
        self._http.shutdown()
        self._http_thread.join()
        self._http.server_close()

    def spans(self, trace_id: str = "") -> list[Span]:
        """Returns the spans that came in so far, of one trace or of all."""
        with self._arrived:
            return [span for span in self._spans if trace_id in ("", span.trace_id)]

    def wait_for(self, enough: Callable[[Sequence[Span]], bool], seconds: float = 30.0) -> list[Span]:
        """Waits until `enough` of all spans is true, or the time is over, and returns what there is."""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while not enough(self._spans) and (left := deadline - time.monotonic()) > 0:
                self._arrived.wait(left)
            return list(self._spans)

    def Export(  # noqa: N802
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keeps the spans of one export."""
        self.keep(request, "grpc")
        return trace_service_pb2.ExportTraceServiceResponse()

    def keep(self, request: trace_service_pb2.ExportTraceServiceRequest, protocol: str) -> None:
        """Keeps the spans of one export that came this way."""
        found = []
        for sent in request.resource_spans:
            resource = _attributes(sent.resource.attributes)
            for scope in sent.scope_spans:
                found += [_span(resource, span, protocol) for span in scope.spans]
        with self._arrived:
            self._spans += found
            self._arrived.notify_all()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._receiver.metric_exports += 1
        return metrics_service_pb2.ExportMetricsServiceResponse()


class _Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._receiver.log_exports += 1
        return logs_service_pb2.ExportLogsServiceResponse()


def _http_handler(receiver: OtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            known = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            if known:
                receiver.keep(trace_service_pb2.ExportTraceServiceRequest.FromString(body), "http/protobuf")
            self.send_response(200 if known else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing."""

    return Handler


def _span(resource: dict[str, Any], span: Any, protocol: str) -> Span:
    return Span(
        service=resource.get("service.name", ""),
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple(link.trace_id.hex() for link in span.links),
        resource=resource,
        protocol=protocol,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
