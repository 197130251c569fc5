"""A receiver of spans on this machine, for what tracing costs when every trace is kept and exported."""

import contextlib
from collections.abc import Iterator
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Receiver(grpc.GenericRpcHandler):
    """Takes exports as bytes and looks into them only when it is asked, so that it takes little of the machine."""

    def __init__(self) -> None:
        self._exports: list[bytes] = []
        self.port = 0

    def environment(self) -> dict[str, str]:
        """Returns the standard variables that point an exporter here, with a queue that holds a round of spans."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
        }

    def spans(self) -> int:
        """Returns how many spans came in."""
        found = map(ExportTraceServiceRequest.FromString, self._exports)
        return sum(len(scope.spans) for one in found for part in one.resource_spans for scope in part.scope_spans)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Returns what takes a call; called by gRPC."""
        return grpc.unary_unary_rpc_method_handler(self._export) if handler_call_details.method == EXPORT else None

    def _export(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        self._exports.append(request)
        return b""


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """Runs a receiver on a free port."""
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(receiver,))
    receiver.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()
