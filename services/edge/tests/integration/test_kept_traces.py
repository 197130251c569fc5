"""Which requests have edge's span and are counted as ended: callers on sockets, spans over OTLP to a receiver."""

import os

import pytest
from services.edge.tests.fakes.door import error_of, streaming, without_its_router
from services.edge.tests.fakes.inference import KEY, MODEL, Bench, FakePool, chat, eventually
from tests.servers.otlp import OtlpReceiver

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.principal import Principal
from tollgate_edge.ports import Refused
from tollgate_edge.telemetry import FAMILIES
from tollgate_holds import HoldResult
from tollgate_kit.metrics import Measured
from tollgate_kit.tracing import new_tracing

pytestmark = pytest.mark.integration

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
DURATION = "gen_ai_server_request_duration_seconds"
# Of one caller in a second.
MOST = 25


@pytest.fixture(scope="module")
def receiver():
    started = OtlpReceiver()
    started.start()
    yield started
    started.stop()


@pytest.fixture
def make_bench(receiver, monkeypatch):
    for name, value in receiver.environment().items():
        monkeypatch.setenv(name, value)
    made = []

    def make(**settings):
        made.append(new_tracing("edge", slot=0, environment=os.environ))
        return Bench(tracing=made[-1], **settings)

    yield make
    for tracing in made:
        tracing.shutdown()


@pytest.fixture
async def bench(make_bench):
    async with make_bench().serving() as made:
        yield made


def spans(bench, receiver):
    """Returns the spans of a bench by the id of their request, once all that were made have been sent."""
    tracing = bench.gateway.records._tracing
    tracing._provider.force_flush()
    prefix = bench.gateway._id_prefix
    found = {span.attributes["tollgate.request_id"]: span for span in receiver.spans()}
    return {request_id: span for request_id, span in found.items() if request_id.startswith(prefix)}


def ended(bench):
    """Returns how many requests ended by outcome, from the counter and from the histogram of durations."""
    families = {metric.name: metric.samples for metric in Measured(FAMILIES, bench.counters.samples).collect()}
    counted = {one.labels["outcome"]: one.value for one in families["tollgate_edge_requests"]}
    timed = {one.labels["error_type"] or "ok": one.value for one in families[DURATION] if one.name.endswith("_count")}
    assert timed == counted
    return counted


async def ask(bench, request=None):
    """Sends a request that edge answers by itself; returns the status, the request's id and the body."""
    client = await bench.client()
    client.send(chat() if request is None else request)
    status, headers, body = await client.reply()
    return status, headers[b"x-request-id"].decode(), body


def said(span):
    return {
        name: span.attributes.get(name)
        for name in ("http.response.status_code", "error.type", "tollgate.outcome", "gen_ai.request.model")
    }


def saying(status, error, outcome, model=MODEL):
    return {
        "http.response.status_code": status,
        "error.type": error,
        "tollgate.outcome": outcome,
        "gen_ai.request.model": model,
    }


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_stream_whose_router_is_lost(bench, receiver, leaves):
    client, _ = await streaming(bench)
    await client.until(b"choices")
    if leaves:
        await client.close()
        await eventually(lambda: bench.stream.cancels)
    bench.stream.lose()
    await eventually(lambda: not bench.gateway.open)
    (span,) = spans(bench, receiver).values()
    assert said(span) == saying(200, None if leaves else "upstream_cut", "router_lost")
    assert ended(bench) == {"router_lost": 1}


async def test_a_request_that_a_second_router_answered(bench, receiver):
    client, spare = await without_its_router(bench, chat())
    spare.reply((await spare.next()).id, b"{}")
    assert (await client.reply())[0] == 200
    (span,) = spans(bench, receiver).values()
    assert said(span) == saying(200, None, "ok")
    assert ended(bench) == {"ok": 1}


async def test_a_request_that_lost_its_router_and_found_no_other(bench, receiver):
    client = await bench.client()
    client.send(chat())
    await bench.stream.next()
    bench.stream.lose()
    # It asks for the hold of its second try first.
    await eventually(lambda: bench.gateway.parked == 1)
    bench.later(bench.settings.router_wait_seconds + 1)
    assert (await client.reply())[0] == 503
    (span,) = spans(bench, receiver).values()
    assert said(span) == saying(503, "service_unavailable", "router_lost")
    assert ended(bench) == {"router_lost": 1}


async def test_a_request_that_no_router_came_for(bench, receiver):
    bench.gateway.pool = FakePool()
    client = await bench.client()
    client.send(chat())
    await eventually(lambda: bench.gateway.parked)
    bench.later(bench.settings.router_wait_seconds + 1)
    status, headers, _ = await client.reply()
    assert status == 503
    (span,) = spans(bench, receiver).values()
    assert span.attributes["tollgate.request_id"] == headers[b"x-request-id"].decode()
    assert said(span) == saying(503, "service_unavailable", "refused")
    assert ended(bench) == {"refused": 1}
    # The row of the request log names the trace.
    (row,) = await bench.refused_rows()
    assert row.trace_id == span.trace_id


async def test_a_request_that_a_router_could_not_write_down(bench, receiver):
    client = await bench.client()
    client.send(chat())
    bench.stream.end((await bench.stream.next()).id, error=errors.ERROR_KIND_UNAVAILABLE, unrecorded=True)
    assert (await client.reply())[0] == 503
    (span,) = spans(bench, receiver).values()
    assert said(span) == saying(503, "service_unavailable", "refused")
    assert ended(bench) == {"refused": 1}


async def test_a_request_that_redis_did_not_answer(bench, receiver):
    bench.admission.result = None
    status, request_id, _ = await ask(bench)
    assert status == 503
    assert said(spans(bench, receiver)[request_id]) == saying(503, "service_unavailable", "refused")
    assert ended(bench) == {"refused": 1}


async def test_a_failure_of_ours_before_anybody_is_known(bench, receiver):
    bench.keys.refused = Refused("The database is away.", errors.ERROR_KIND_UNAVAILABLE)
    status, request_id, _ = await ask(bench, chat(key="sk-new"))
    assert status == 503
    assert said(spans(bench, receiver)[request_id]) == saying(503, "service_unavailable", "refused", None)
    assert ended(bench) == {"refused": 1}


async def test_only_what_is_slow_by_the_clock_of_edge_is_kept_of_what_went_well(make_bench, receiver):
    for seconds, kept in ((1e-9, 1), (30, 0)):
        async with make_bench(trace_slow_seconds=seconds).serving() as bench:
            client = await bench.client()
            client.send(chat())
            bench.stream.reply((await bench.stream.next()).id, b"{}")
            assert (await client.reply())[0] == 200
            assert len(spans(bench, receiver)) == kept
            assert ended(bench) == {"ok": 1}


async def test_a_refusal_of_a_known_key_is_part_of_its_callers_trace(bench, receiver):
    bench.admission.result = HoldResult.INSUFFICIENT
    given = f"traceparent: 00-{TRACE}-{CALLER}-01\r\n"
    for request, status, error, model in (
        (chat(), 429, "insufficient_quota", MODEL),
        (chat(model="no-such-model"), 404, "model_not_found", "no-such-model"),
        (chat(body=b"[]"), 400, "invalid_request", None),
    ):
        found, request_id, _ = await ask(bench, request.replace(b"\r\n", b"\r\n" + given.encode(), 1))
        assert found == status
        span = spans(bench, receiver)[request_id]
        assert said(span) == saying(status, error, "refused", model)
        assert (span.trace_id, span.parent_id) == (TRACE, CALLER)
        assert 0 < span.started_ns <= span.ended_ns
    assert ended(bench) == {"refused": 3}
    assert sum(bench.counters.queue.counts) == 0


@pytest.mark.parametrize("known", [False, True])
async def test_a_refusal_of_a_key_that_is_not_valid_is_no_span(bench, receiver, known):
    if known:
        bench.keys.refused = Refused("The API key was revoked.", principal=Principal("key_9", "org_9", "prj_9"))
    status, _, body = await ask(bench, chat(key="sk-not-a-key"))
    assert (status, error_of(body)["code"]) == (401, "invalid_api_key")
    assert spans(bench, receiver) == {}
    assert ended(bench) == {}


async def test_a_storm_of_refusals_is_no_storm_of_spans_and_hides_no_failure(bench, receiver):
    bench.admission.result = HoldResult.INSUFFICIENT
    began = int(bench.gateway.loop.time())
    client = await bench.client()
    for _ in range(10 * MOST):
        client.send(chat())
        assert (await client.reply())[0] == 429
    seconds = int(bench.gateway.loop.time()) - began + 1
    bench.admission.result = None
    _, failed, _ = await ask(bench)
    found = spans(bench, receiver)
    assert failed in found
    assert MOST <= len(found) - 1 <= min(MOST * seconds, 10 * MOST)
    assert len(found) - 1 + bench.counters.spans_left_out == 10 * MOST
    assert ended(bench) == {"refused": 10 * MOST + 1}
    assert KEY not in str(found)
