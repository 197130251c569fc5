"""One request, one trace: from the HTTP request at edge over router and event log to the billing write."""

from collections.abc import Iterator, Sequence

import httpx
import pytest
from tests.integration.product import Product
from tests.servers.otlp import OtlpReceiver, Span

pytestmark = pytest.mark.integration

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    started = OtlpReceiver()
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def traced(receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("traced"), environment=receiver.environment())
    try:
        yield running.start()
    finally:
        running.stop()


def post(product: Product, path: str, body: dict[str, object], **headers: str) -> httpx.Response:
    reply = httpx.post(
        f"{product.base_url}/{path}",
        headers={"authorization": f"Bearer {product.api_key}", **headers},
        json=body,
        timeout=120,
        trust_env=False,
    )
    assert reply.status_code == 200, reply.text
    return reply


def chain(spans: Sequence[Span]) -> set[tuple[str, str, str]]:
    """Returns (service, name, name of the parent) of every span; a parent that nobody sent keeps its id."""
    names = {span.span_id: span.name for span in spans}
    return {(span.service, span.name, names.get(span.parent_id, span.parent_id)) for span in spans}


def the_row(product: Product, request_id: str) -> dict[str, object]:
    found = [row for row in product.requests(request_id=request_id) if row["request_id"] == request_id]
    assert len(found) == 1
    return found[0]


def trace_of(receiver: OtlpReceiver, product: Product, request_id: str, count: int) -> list[Span]:
    """Returns the spans of the trace that the usage row of a request names, once `count` of them have come."""

    def booked(spans: Sequence[Span]) -> bool:
        return any(s.name == "billing.record" and s.attributes["tollgate.request_id"] == request_id for s in spans)

    # Billing's span is made when the row is in the store.
    assert booked(receiver.wait_for(booked, seconds=90)), f"no span of the billing of {request_id}"
    trace_id = str(the_row(product, request_id)["trace_id"])
    # The processes export their parts of the trace at times of their own.
    receiver.wait_for(lambda spans: sum(span.trace_id == trace_id for span in spans) >= count, seconds=90)
    return receiver.spans(trace_id)


def expected(parent: str) -> set[tuple[str, str, str]]:
    """Returns what an inference request leaves: edge, the attempt, and below it publishing and billing."""
    return {
        ("tollgate-edge", "edge.request", parent),
        ("tollgate-router", "router.attempt", "edge.request"),
        ("tollgate-router", "usage.recorded.v1 send", "router.attempt"),
        ("tollgate-billing", "billing.record", "router.attempt"),
    }


@pytest.fixture(scope="module")
def slow(receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product whose routers keep no trace by themselves, and whose edge takes every request for a slow one."""
    settings = {"TOLLGATE_ROUTER_TRACE_SAMPLE_RATIO": "0", "TOLLGATE_EDGE_TRACE_SLOW_SECONDS": "0.000001"}
    running = Product(tmp_path_factory.mktemp("slow"), environment=receiver.environment() | settings)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.mark.parametrize("stream", [False, True])
def test_what_edge_alone_keeps_has_the_spans_of_the_others_too(
    slow: Product,
    receiver: OtlpReceiver,
    stream: bool,  # noqa: FBT001
) -> None:
    body = {"model": "gpt-4.1-mini", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    reply = post(slow, "chat/completions", body)
    found = trace_of(receiver, slow, reply.headers["x-request-id"], 4)
    assert chain(found) == expected("")


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_request_is_one_trace_and_its_row_names_it(
    traced: Product,
    receiver: OtlpReceiver,
    stream: bool,  # noqa: FBT001
) -> None:
    body = {"model": "gpt-5-mini", "stream": stream, "messages": [{"role": "user", "content": "Say hello"}]}
    request_id = post(traced, "chat/completions", body).headers["x-request-id"]
    spans = trace_of(receiver, traced, request_id, 4)
    assert chain(spans) == expected("")
    assert len(spans) == 4
    (edge,) = [span for span in spans if span.name == "edge.request"]
    assert edge.attributes["tollgate.request_id"] == request_id


def test_the_trace_of_the_caller_goes_on_through_the_gateway(traced: Product, receiver: OtlpReceiver) -> None:
    body = {"model": "text-embedding-3-small", "input": "hello"}
    given = f"00-{TRACE}-{CALLER}-01"
    request_id = post(traced, "embeddings", body, traceparent=given).headers["x-request-id"]
    spans = trace_of(receiver, traced, request_id, 4)
    assert {span.trace_id for span in spans} == {TRACE}
    assert chain(spans) == expected(CALLER)


def test_a_request_that_fails_at_the_provider_is_one_trace_too(traced: Product, receiver: OtlpReceiver) -> None:
    reply = httpx.post(
        f"{traced.base_url}/chat/completions",
        headers={"authorization": f"Bearer {traced.api_key}"},
        json={"model": "gpt-5-mini", "messages": [{"role": "user", "content": "[[sim:status=500]]"}]},
        timeout=120,
        trust_env=False,
    )
    assert reply.status_code == 502
    spans = trace_of(receiver, traced, reply.headers["x-request-id"], 4)
    assert chain(spans) == expected("")


def test_an_image_is_one_trace_from_edge_to_billing(traced: Product, receiver: OtlpReceiver) -> None:
    reply = post(traced, "images/generations", {"model": "gpt-image-2", "prompt": "a red square", "size": "1024x1024"})
    spans = trace_of(receiver, traced, reply.headers["x-request-id"], 5)
    assert chain(spans) == {
        ("tollgate-edge", "edge.media", ""),
        ("tollgate-media-jobs", "media.job", "edge.media"),
        ("tollgate-media-jobs", "media.attempt", "media.job"),
        ("tollgate-media-jobs", "usage.recorded.v1 send", "media.job"),
        ("tollgate-billing", "billing.record", "media.job"),
    }


def test_what_edge_refuses_is_a_span_of_its_own_that_the_request_log_names(
    traced: Product, receiver: OtlpReceiver
) -> None:
    key = traced.create_key("little", limits={"requests_per_minute": 1})["key"]
    chat = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]}
    picture = {"model": "gpt-image-2", "prompt": "a red square", "size": "1024x1024"}

    def ask(path: str, body: dict[str, object], presented: str = key) -> httpx.Response:
        headers = {"authorization": f"Bearer {presented}"}
        return httpx.post(f"{traced.base_url}/{path}", headers=headers, json=body, timeout=120, trust_env=False)

    assert ask("chat/completions", chat).status_code == 200
    unknown = ask("chat/completions", chat, "sk-tg-" + "0" * 40)
    calls = {"chat/completions": chat, "images/generations": picture, "media/jobs": picture}
    refused = {path: ask(path, body) for path, body in calls.items()}
    assert [unknown.status_code, *(reply.status_code for reply in refused.values())] == [401, 429, 429, 429]
    ids = {reply.headers["x-request-id"]: path for path, reply in refused.items()}

    def of(spans: Sequence[Span]) -> dict[str, Span]:
        return {found: span for span in spans if (found := span.attributes.get("tollgate.request_id", "")) in ids}

    spans = of(receiver.wait_for(lambda spans: of(spans).keys() == ids.keys(), seconds=90))
    names = {ids[request_id]: (span.service, span.name, span.parent_id) for request_id, span in spans.items()}
    assert names == {
        "chat/completions": ("tollgate-edge", "edge.request", ""),
        "images/generations": ("tollgate-edge", "edge.media", ""),
        "media/jobs": ("tollgate-edge", "edge.media", ""),
    }
    chat_id = refused["chat/completions"].headers["x-request-id"]

    def rows() -> list[dict[str, object]]:
        return list(traced.get("requests", kind="refused", request_id=chat_id)["items"])

    traced.wait(rows, "the row of the refused chat")
    (row,) = rows()
    assert row["trace_id"] == spans[chat_id].trace_id
    assert unknown.headers["x-request-id"] not in {
        one.attributes.get("tollgate.request_id") for one in receiver.spans()
    }
