"""One request over several attempts: where it goes, what each event says, and what the health of targets is told."""

import pytest
from msgspec import structs
from pydantic import ValidationError
from services.router.tests.fakes.exchange import CHUNK, Router
from services.router.tests.fakes.versions import channel, route, snapshot

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_kit.spool import Spool
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.upstream_errors import Bench
from tollgate_router.exchange.measured import health_samples
from tollgate_router.exchange.session import Session

pytestmark = pytest.mark.unit
NO_TOKENS = b'{"choices":[{"index":0}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}'


@pytest.fixture
def router(tmp_path):
    channels = [channel("a"), channel("b"), channel("s", "small")]
    found = snapshot(channels, [route("able", ["a"], ["b"], fallbacks={"rate_limit": ["small"], "error": ["small"]})])
    return Router(tmp_path, found)


def told(router, name, model="able"):
    """Returns what the breaker of a channel has counted: failures in a row."""
    return router.deps.snapshot.ready[name].health.models[model].breaker._consecutive


def test_an_answer_at_once(router):
    router.open()
    (call,) = router.upstream.calls
    assert (call.target.channel, call.body) == ("a", b'{"messages":[],"model":"able"}')
    assert router.open_calls() == 1
    router.clock.advance(0.25)
    call.reply()
    (event,) = router.events
    assert (event.final, event.channel, event.requested_model, event.HasField("routing")) == (True, "a", "", False)
    assert call.target.seat.latency == pytest.approx(0.25)
    assert router.open_calls() == 0


@pytest.mark.parametrize(
    ("stream", "end", "requests"),
    [
        (False, lambda call: call.reply(), 1),
        (False, lambda call: call.reply(body=NO_TOKENS), 1),
        (True, lambda call: (call.chunk(), call.fail()), 1),
        (False, lambda call: call.reply(400), 0),
        (False, lambda call: call.fail(), 0),
    ],
)
def test_what_the_caller_was_answered_with_is_one_request(tmp_path, stream, end, requests):
    router = Router(tmp_path, snapshot([channel("a")]))
    router.open(stream=stream)
    end(router.upstream.calls[0])
    assert [event.usage.requests for event in router.events if event.final] == [requests]
    assert router.end().usage == router.events[-1].usage


def test_only_the_attempt_that_answers_is_a_request(router):
    router.open()
    router.upstream.calls[0].reply(500)
    router.upstream.calls[1].reply()
    assert [(event.final, event.usage.requests) for event in router.events] == [(False, 0), (True, 1)]


def test_another_model_at_the_first_attempt_keeps_its_trace(tmp_path):
    router = Router(
        tmp_path,
        snapshot([channel("a"), channel("s", "small")], [route("able", ["a"], fallbacks={"error": ["small"]})]),
    )
    router.open()
    router.upstream.calls[0].reply(401)
    router.upstream.calls[1].reply()
    router.open()
    router.upstream.calls[2].reply()
    last = router.events[-1]
    assert (last.attempt, last.fallback_reason, last.trace_kept) == (1, "error", True)


def spread(router, count, fails):
    """Sends so many requests over ten seconds, of which channel a fails those that `fails` picks; returns the rest.

    That is how many extra attempts were made, and how many callers were told of a failure.
    """
    ended = len(router.events)
    for number in range(count):
        router.open()
        (call,) = [call for call in router.upstream.calls if not call.cancelled]
        router.upstream.calls.clear()
        call.reply(503 if call.target.channel == "a" and fails(number) else 200)
        for extra in router.upstream.calls:
            extra.reply()
        router.upstream.calls.clear()
        router.clock.advance(10 / count)
    events = router.events[ended:]
    failed = [one for one in events if one.final and one.outcome != wire.OUTCOME_OK]
    return len(events) - count, len(failed)


@pytest.mark.parametrize(("count", "most"), [(9, 3), (30, 10), (48, 11), (60, 12), (99, 19), (300, 60)])
def test_failures_cause_a_fifth_of_extra_attempts_at_most(tmp_path, count, most):
    router = Router(tmp_path, snapshot([channel("a"), channel("b")], [route("able", ["a"], ["b"])]))
    # Every third fails: too few for the breaker, more than the budget, which grows as requests come.
    for _ in range(2):
        extra, told_of = spread(router, count, lambda number: number % 3 == 2)
        assert extra + told_of == count // 3
        assert most - 1 <= extra <= most
        router.clock.advance(10)


def test_callers_of_a_quiet_channel_see_nothing_of_its_outage(tmp_path):
    router = Router(tmp_path, snapshot([channel("a"), channel("b")], [route("able", ["a"], ["b"])]))
    # Ten failures in a row are moved on; then the breaker is open, and only its probe is sent there.
    assert spread(router, 40, lambda _: True) == (11, 0)


def samples(health, name):
    """Returns what a metric of the health of channels says, by its labels."""
    return {labels: value for found, labels, value in health_samples(health, 0.0) if found == name}


OF_THE_MODEL = {"context_length": "context_length_exceeded", "content_policy": "content_filter"}


@pytest.mark.parametrize(("reason", "code"), OF_THE_MODEL.items())
def test_what_another_model_takes_reaches_it_whatever_else_fails(tmp_path, reason, code):
    health = Health(HealthPolicy(retry_floor=2, consecutive_failures=10_000, ratio_failures=10_000))
    fallbacks = {reason: ["small"], "error": ["small"]}
    found = snapshot([channel("a"), channel("s", "small")], [route("able", ["a"], fallbacks=fallbacks)], health=health)
    router = Router(tmp_path, found)

    def ask(status, body=b"{}"):
        router.open()
        router.upstream.calls[-1].reply(status, body)
        for extra in router.upstream.calls[1:]:
            extra.reply()
        router.upstream.calls.clear()
        return router.events[-1]

    ended = [ask(503).outcome for _ in range(20)]
    assert ended.count(wire.OUTCOME_OK) == 4
    refused = b'{"error":{"message":"no","code":"%b"}}' % code.encode()
    ended = [ask(400, refused) for _ in range(40)]
    assert {(one.outcome, one.model, one.fallback_reason) for one in ended} == {(wire.OUTCOME_OK, "small", reason)}
    # Each is counted with its reason, and takes nothing from what failures may cause.
    counted = samples(health, "tollgate_router_extra_attempts_total")
    assert counted == {("a", "error"): 4, ("a", reason): 40}
    assert ask(503).outcome == wire.OUTCOME_OK


def test_a_fallback_that_the_budget_does_not_allow_is_told_nowhere(tmp_path):
    health = Health(HealthPolicy(retry_floor=1))
    channels = [channel("a"), channel("b"), channel("s", "small")]
    found = snapshot(channels, [route("able", ["a"], ["b"], fallbacks={"error": ["small"]})], health=health)
    router = Router(tmp_path, found)
    found.ready["b"].health.budget.take(0.0)
    router.open()
    router.upstream.calls[0].reply(503)
    router.upstream.calls[1].reply(503)
    (event,) = [one for one in router.events if one.final]
    assert (event.channel, event.model, event.fallback_reason) == ("b", "able", "")
    assert (event.routing.fallback_model, event.routing.fallback_reason) == ("", "")
    assert {(one.channel, one.verdict) for one in event.routing.targets if one.model == "able"} == {
        ("a", routing.VERDICT_FAILED),
        ("b", routing.VERDICT_FAILED),
    }


def test_a_failure_goes_on_and_every_event_says_whose_it_was(router):
    router.open()
    router.upstream.calls[0].reply(503)
    router.upstream.calls[1].fail(FailureKind.REFUSED)
    assert [call.target.channel for call in router.upstream.calls] == ["a", "b", "s"]
    assert router.upstream.calls[2].body == b'{"messages":[],"model":"small"}'
    router.upstream.calls[2].reply()
    assert [(one.channel, one.model, one.requested_model, one.final, one.attempt) for one in router.events] == [
        ("a", "able", "", False, 1),
        ("b", "able", "", False, 2),
        ("s", "small", "able", True, 3),
    ]
    assert [one.fallback_reason for one in router.events] == ["", "", "error"]
    final = router.events[-1].routing
    assert (final.fallback_model, final.fallback_reason) == ("small", "error")
    assert {(one.channel, one.verdict) for one in final.targets} == {
        ("a", routing.VERDICT_FAILED),
        ("b", routing.VERDICT_FAILED),
        ("s", routing.VERDICT_TAKEN),
    }
    assert not router.events[0].HasField("routing")
    assert (told(router, "a"), told(router, "b"), told(router, "s", "small")) == (1, 1, 0)
    assert router.deps.counters.fallbacks == {"error": 1}
    assert router.open_calls() == 0


def test_a_wait_in_an_explanation_is_that_of_when_the_answer_began(router):
    router.open()
    router.upstream.calls[0].reply(429, retry_after="7")
    router.upstream.calls[1].reply()
    router.open()
    router.upstream.calls[2].fail(FailureKind.REFUSED)
    router.clock.advance(3)
    router.upstream.calls[3].reply()
    assert [one.wait_ms for one in router.events[-1].routing.targets if one.channel == "a"] == [4000]


def test_the_last_failure_is_told_with_its_wait(router):
    router.open("small")
    router.upstream.calls[0].reply(429, retry_after="7")
    end = router.end()
    assert (end.error.kind, end.error.retry_after_ms) == (errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, 7000)
    router.open("small")
    assert len(router.upstream.calls) == 1
    end = router.end()
    assert (end.outcome, end.error.kind, end.error.retry_after_ms) == (
        wire.OUTCOME_REFUSED, errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, 7000,
    )  # fmt: skip
    assert router.events[-1].routing.refusal == "No channel for 'small' is usable now."
    router.clock.advance(7)
    router.open("small")
    router.upstream.calls[1].reply()
    assert router.end().outcome == wire.OUTCOME_OK


GOOGLES_QUOTA = (
    b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You exceeded your current quota, please check your '
    b'plan and billing details.","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"26s"}]}}'
)


@pytest.mark.parametrize("way", ["status", "whole", "stream"])
def test_a_quota_of_google_is_a_wait_and_no_empty_account_however_it_comes(tmp_path, way):
    router = Router(tmp_path, snapshot([channel("g", provider="gemini", keys=1)], [route("able", ["g"])]))
    router.open(body=b'{"messages":[{"role":"user","content":"x"}]}', stream=way == "stream")
    call = router.upstream.calls[0]
    body = b"data: %b\r\n\r\n" % GOOGLES_QUOTA if way == "stream" else GOOGLES_QUOTA
    call.reply(429 if way == "status" else 200, body)
    end = router.end()
    assert (end.error.kind, end.error.retry_after_ms) == (errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, 26_000)
    # The account itself is fine.
    assert call.target.seat.key.bench is Bench.NONE


def test_a_stream_moves_on_until_its_first_bytes_and_not_after(router):
    router.open(stream=True)
    router.upstream.calls[0].sink.upstream_head(200, [])
    router.upstream.calls[0].fail()
    router.upstream.calls[1].chunk()
    router.upstream.calls[1].fail()
    assert len(router.upstream.calls) == 2
    assert [(one.channel, one.outcome) for one in router.events] == [
        ("a", wire.OUTCOME_UPSTREAM_ERROR),
        ("b", wire.OUTCOME_UPSTREAM_CUT),
    ]
    assert (told(router, "a"), told(router, "b")) == (1, 1)


def test_a_stream_closes_the_breaker_with_its_first_bytes(router):
    for _ in range(10):
        router.open("small")
        router.upstream.calls[-1].reply(500)
        router.outbox.take()
    router.clock.advance(5)
    router.open("small", stream=True)
    seat = router.upstream.calls[-1].target.seat
    assert seat.breaker.state.value == "half-open"
    router.upstream.calls[-1].chunk()
    assert seat.breaker.state.value == "closed"
    router.upstream.calls[-1].fail()
    assert told(router, "s", "small") == 1


def test_what_happens_to_the_connection_after_the_end_of_a_stream_changes_nothing(router):
    router.open("small", stream=True)
    (call,) = router.upstream.calls
    call.chunk()
    call.sink.upstream_data(b"data: [DONE]\n\n")
    call.fail()
    (event,) = router.events
    assert (event.outcome, event.error_kind) == (wire.OUTCOME_OK, "")
    assert told(router, "s", "small") == 0
    assert not router.end().HasField("error")


ENDINGS = {
    "answered": (lambda request, call: call.reply(), 0),
    "refused by the provider": (lambda request, call: call.reply(400), 0),
    "failed": (lambda request, call: call.reply(500), 1),
    "unreadable": (lambda request, call: call.reply(200, b"<html>"), 1),
    "cut": (lambda request, call: call.fail(), 1),
    "our own pool is full": (lambda request, call: call.fail(FailureKind.BUSY), 0),
    "cancelled": (lambda request, call: request.cancel(), 0),
    "broken inside": (lambda request, call: request.broke(), 0),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("ending", "failures"), ENDINGS.values(), ids=ENDINGS.keys())
def test_every_ending_is_told_once(router, ending, failures, stream):
    request = router.open("small", stream=stream)
    (call,) = router.upstream.calls
    if stream and ending is ENDINGS["answered"][0]:
        call.sink.upstream_head(200, [])
        call.sink.upstream_data(CHUNK + b"data: [DONE]\n\n")
        call.sink.upstream_end()
    elif stream and ending is ENDINGS["unreadable"][0]:
        call.sink.upstream_head(200, [])
        call.sink.upstream_end()
    else:
        ending(request, call)
    assert len(router.recorded) == 1
    assert router.open_calls() == 0
    assert told(router, "s", "small") == failures
    # Nothing that comes later counts again.
    request.cancel()
    request.broke()
    assert (len(router.recorded), router.open_calls()) == (1, 0)


def test_the_last_bytes_may_be_cancelled_and_prove_the_provider(router):
    for _ in range(9):
        router.open("small")
        router.upstream.calls[-1].reply(500)
        router.outbox.take()
    request = router.open("small", stream=True)
    router.upstream.calls[-1].chunk()
    request.cancel()
    assert told(router, "s", "small") == 0


def test_attempts_are_bounded(tmp_path):
    router = Router(tmp_path, snapshot([channel("a", keys=9)]), max_attempts=4)
    router.open()
    for _ in range(4):
        router.upstream.calls[-1].reply(500)
    assert len(router.upstream.calls) == 4
    assert len({call.target.seat for call in router.upstream.calls}) == 4
    assert router.end().attempts == 4


def test_attempts_share_the_time_of_the_request(router):
    router.open(timeout_ms=10_000)
    router.clock.advance(6)
    router.upstream.calls[0].reply(500)
    assert [call.timeouts.total for call in router.upstream.calls] == [10, 4]
    router.clock.advance(5)
    router.upstream.calls[1].reply(500)
    assert len(router.upstream.calls) == 2
    assert router.end().error.kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE


def test_a_body_that_is_no_object_is_refused_before_anybody_is_asked(router):
    router.open(body=b"[1]")
    assert router.upstream.calls == []
    assert router.end().error.kind == errors.ERROR_KIND_INVALID_REQUEST


def test_headers_of_the_request_bind_it(tmp_path):
    names = [f"c{number}" for number in range(20)]
    found = snapshot([channel(name) for name in names], [route("able", names, affinity="header:X-Session")])
    router = Router(tmp_path, found)
    for _ in range(10):
        router.open(headers=[wire.Header(name=b"x-session", value=b"one")])
    assert len({call.target.channel for call in router.upstream.calls}) == 1


class Finished:
    """A call that may end."""

    def finish(self, *_):
        """Takes the status."""


def opening(request_id="req"):
    """Returns the message of a batch that opens a request."""
    frame = wire.Open(
        id=1,
        request_id=request_id,
        body=b"{}",
        body_length=2,
        tenant=wire.Tenant(route_group="default"),
        dialect=wire.DIALECT_OPENAI_CHAT,
        operation=wire.OPERATION_CHAT,
        model="able",
    )
    return wire.EdgeBatch(open=[frame]).SerializeToString()


async def test_behind_what_is_no_batch_no_request_is_begun(router):
    session = Session(router.deps, Finished())
    session.on_message(b"\xff")
    session.on_message(opening())
    assert router.upstream.calls == []


@pytest.mark.parametrize("fails", [False, True])
async def test_an_error_of_ours_at_the_end_of_a_reply_ends_the_request(router, fails):
    session = Session(router.deps, None)
    session.on_message(opening())

    def broken(*_):
        raise ZeroDivisionError

    request = session.requests[1]
    request._sending = structs.replace(request._sending, read=broken)
    if fails:
        # Where it would go next is what breaks.
        request._walk = None
    (call,) = router.upstream.calls
    call.fail() if fails else call.reply()
    (message,) = session.outbox.take()
    (end,) = wire.RouterBatch.FromString(message).end
    assert end.error.kind == errors.ERROR_KIND_INTERNAL
    assert (session.requests, router.deps.open_requests, router.open_calls()) == ({}, 0, 0)


async def test_a_request_that_cannot_be_recorded_ends_all_the_same_and_alone(router):
    session = Session(router.deps, None)
    session.on_message(opening("x" * 2**21))
    (call,) = router.upstream.calls
    call.reply()
    (message,) = session.outbox.take()
    (end,) = wire.RouterBatch.FromString(message).end
    assert (end.outcome, end.error.kind, end.unrecorded) == (wire.OUTCOME_REFUSED, errors.ERROR_KIND_INTERNAL, True)
    assert (session.requests, router.deps.open_requests, router.open_calls()) == ({}, 0, 0)
    session.on_message(opening())
    router.upstream.calls[-1].reply()
    assert (router.deps.open_requests, router.spool.records) == (0, 1)


def test_a_spool_that_could_never_have_room_is_no_setting(tmp_path):
    with pytest.raises(ValidationError, match="spool_max_bytes"):
        Router(tmp_path, snapshot([channel("o")], []), spool_max_bytes=65_536)


async def test_a_full_spool_gets_no_event_of_what_is_refused(router, tmp_path):
    spool = router.deps.recorder.spool = Spool.open(tmp_path / "small", max_bytes=65_536)
    session = Session(router.deps, None)
    session.on_message(opening())
    (message,) = session.outbox.take()
    (end,) = wire.RouterBatch.FromString(message).end
    assert (end.error.kind, end.error.retry_after_ms, end.unrecorded) == (errors.ERROR_KIND_UNAVAILABLE, 1000, True)
    assert (spool.records, session.requests, router.deps.open_requests, router.upstream.calls) == (0, {}, 0, [])
