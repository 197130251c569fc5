"""The standard OTEL_* variables, against a receiver that listens over gRPC and HTTP."""

import logging
import os

import pytest
from opentelemetry.trace import SpanKind

from tollgate_kit.tracing import NoTracing, SpanRecord, new_tracing

pytestmark = pytest.mark.integration

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORD = SpanRecord("made", f"00-{TRACE}-{SPAN}-01", "", 1, 2, SpanKind.INTERNAL, {})
GRPC, HTTP = "OTEL_EXPORTER_OTLP_ENDPOINT=grpc://", "OTEL_EXPORTER_OTLP_ENDPOINT=http://"
OURS = {"service.name": "tollgate-edge", "service.instance.id": "edge-3"}
PROTOCOL, TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL=", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="


@pytest.fixture
def recorded(otlp, monkeypatch):
    """Records one span as the variables ask, and returns what came in; `grpc://` and `http://` are the receiver."""

    def record(*variables):
        for variable in variables:
            name, _, value = variable.partition("=")
            value = {"grpc://": otlp.endpoint, "http://": otlp.http_endpoint}.get(value, value)
            monkeypatch.setenv(name, value)
        tracing = new_tracing("edge", slot=3, environment=os.environ)
        tracing.record(RECORD)
        # Sends what is queued before it returns.
        tracing.shutdown()
        return tracing, otlp.spans()

    return record


@pytest.mark.parametrize(
    ("variables", "protocol", "resource"),
    [
        ((GRPC,), "grpc", OURS),
        ((GRPC, "OTEL_TRACES_EXPORTER=otlp"), "grpc", OURS),
        ((HTTP, PROTOCOL + "http/protobuf"), "http/protobuf", OURS),
        ((HTTP, TRACES_PROTOCOL + "http/protobuf"), "http/protobuf", OURS),
        ((HTTP, PROTOCOL + "grpc", TRACES_PROTOCOL + "http/protobuf"), "http/protobuf", OURS),
        ((GRPC, PROTOCOL + "http/protobuf", TRACES_PROTOCOL + "grpc"), "grpc", OURS),
        ((GRPC, "OTEL_SERVICE_NAME=gate"), "grpc", OURS | {"service.name": "gate"}),
        (
            (GRPC, "OTEL_RESOURCE_ATTRIBUTES=service.name=attr,deployment.environment.name=prod"),
            "grpc",
            OURS | {"service.name": "attr", "deployment.environment.name": "prod"},
        ),
        (
            (GRPC, "OTEL_SERVICE_NAME=gate", "OTEL_RESOURCE_ATTRIBUTES=service.name=attr,service.instance.id=i"),
            "grpc",
            {"service.name": "gate", "service.instance.id": "i"},
        ),
    ],
)
def test_spans_go_where_the_variables_say_and_are_whose_they_say(recorded, variables, protocol, resource):
    _, (span,) = recorded(*variables)
    assert (span.name, span.trace_id, span.span_id) == ("made", TRACE, SPAN)
    assert span.protocol == protocol
    assert span.resource.items() >= resource.items()


@pytest.mark.parametrize(
    "variables",
    [
        (),
        ("OTEL_SERVICE_NAME=gate",),
        (GRPC, "OTEL_TRACES_EXPORTER=none"),
        (GRPC, "OTEL_SDK_DISABLED=true"),
        (GRPC, "OTEL_SDK_DISABLED=True", "OTEL_TRACES_EXPORTER=otlp"),
    ],
)
def test_nothing_is_made_where_nothing_is_asked(recorded, variables):
    tracing, spans = recorded(*variables)
    assert isinstance(tracing, NoTracing)
    assert spans == []


def test_the_console_gets_spans_too(recorded, capsys):
    _, spans = recorded(GRPC, "OTEL_TRACES_EXPORTER=console,otlp")
    assert len(spans) == 1
    assert f'"trace_id": "0x{TRACE}"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "word", "count"),
    [
        ((GRPC, "OTEL_TRACES_EXPORTER=zipkin"), "zipkin", 0),
        ((GRPC, "OTEL_TRACES_EXPORTER=zipkin,otlp"), "zipkin", 1),
        ((HTTP, PROTOCOL + "http/json"), "http/json", 1),
        ((GRPC, PROTOCOL + "pigeon"), "pigeon", 1),
    ],
)
def test_what_is_not_known_is_said_and_passed_over(recorded, caplog, variables, word, count):
    with caplog.at_level(logging.WARNING, "tollgate_kit.tracing"):
        _, spans = recorded(*variables)
    assert len(spans) == count
    assert word in caplog.text
