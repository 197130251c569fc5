"""Targets whose wire has no place for what is asked: others are asked, and the caller hears of it where nobody can be.

The order in which they are passed over is in `test_walk`.
"""

import json

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.upstream import eventually
from services.router.tests.fakes.versions import channel, route, snapshot
from services.router.tests.unit.test_remembering import Remembering

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import router_pb2
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_router.api.admin import RouterAdmin
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.health.registry import Health

pytestmark = pytest.mark.unit

UNSAYABLE = b'{"messages":[{"role":"user","content":"Hi"}],"logprobs":true}'


def between(tmp_path, *levels):
    """Returns a router of o and p, which are OpenAI's, and of c, which is Anthropic's."""
    channels = [channel("o"), channel("p"), channel("c", provider="anthropic")]
    return Router(tmp_path, snapshot(channels, [route("able", *levels)]))


def test_a_target_that_cannot_be_told_what_is_asked_is_no_attempt(tmp_path):
    router = between(tmp_path, ["c"], ["o"], ["p"])
    router.open(body=UNSAYABLE)
    router.upstream.calls[0].fail(FailureKind.REFUSED, sent=False)
    router.upstream.calls[1].reply()
    assert [call.target.channel for call in router.upstream.calls] == ["o", "p"]
    assert [(one.channel, one.attempt) for one in router.events] == [("o", 1), ("p", 2)]
    assert router.end().attempts == 2
    assert router.deps.counters.attempts.keys() == {"o", "p"}
    (row,) = [one for one in router.events[-1].routing.targets if one.channel == "c"]
    assert (row.verdict, row.reason, row.detail) == (routing.VERDICT_OUT, "wire", "logprobs")


@pytest.mark.parametrize("stream", [False, True])
def test_a_way_is_explained_where_somebody_was_passed_over(tmp_path, stream):
    router = between(tmp_path, ["c"], ["o"])
    router.open(body=UNSAYABLE, stream=stream)
    (call,) = router.upstream.calls
    call.chunk() if stream else call.reply()
    call.sink.upstream_end()
    (event,) = router.events
    assert {(one.channel, one.verdict) for one in event.routing.targets} == {
        ("c", routing.VERDICT_OUT), ("o", routing.VERDICT_TAKEN),
    }  # fmt: skip


def test_whoever_cannot_be_told_takes_no_attempt_from_those_who_can(tmp_path):
    channels = [channel("o"), channel("c", provider="anthropic", keys=5), channel("p")]
    found = snapshot(channels, [route("able", ["o"], ["c"], ["p"])])
    router = Router(tmp_path, found, max_attempts=2)
    router.open(body=UNSAYABLE)
    router.upstream.calls[0].reply(503)
    router.upstream.calls[1].reply()
    assert router.end().outcome == wire.OUTCOME_OK


def test_the_failure_before_is_told_where_nobody_else_can_be_asked(tmp_path):
    router = between(tmp_path, ["o"], ["c"])
    router.open(body=UNSAYABLE)
    router.upstream.calls[0].reply(503)
    end = router.end()
    assert (end.outcome, end.error.kind, end.attempts, end.channel) == (
        wire.OUTCOME_UPSTREAM_ERROR, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, 1, "o",
    )  # fmt: skip
    (event,) = router.events
    assert {(one.channel, one.verdict) for one in event.routing.targets} == {
        ("o", routing.VERDICT_FAILED), ("c", routing.VERDICT_OUT),
    }  # fmt: skip
    assert router.deps.snapshot.ready["o"].health.extra_attempts == {}


def test_what_nobody_can_be_told_is_refused_with_its_field(tmp_path):
    router = between(tmp_path, ["c"])
    router.open(body=UNSAYABLE)
    end = router.end()
    assert (end.outcome, end.error.kind, end.error.param) == (
        wire.OUTCOME_REFUSED, errors.ERROR_KIND_INVALID_REQUEST, "logprobs",
    )  # fmt: skip
    assert (router.upstream.calls, end.attempts, end.channel) == ([], 0, "")


@pytest.mark.parametrize("background", [False, True])
async def test_a_response_goes_where_it_can_be_asked_for(tmp_path, background):
    one = Remembering(tmp_path)
    channels = [channel("c", provider="anthropic"), channel("o")]
    one.router.deps.snapshot = snapshot(channels, [route("able", ["c"], ["o"])])
    archive = {"type": "input_file", "filename": "a.zip", "file_data": "data:application/zip;base64,AAAA"}
    one.ask(input=[{"role": "user", "content": [archive]}], background=background)
    await eventually(lambda: one.router.upstream.calls)
    (call,) = one.router.upstream.calls
    assert (call.target.channel, json.loads(call.body)["messages"][0]["content"][0]["type"]) == ("o", "file")


async def explained(router, **asked):
    """Returns reason and verdict by channel, as an operator sees them who asks where a request would go."""
    admin = RouterAdmin(router.deps, dict, Health(), None)
    request = router_pb2.ExplainRouteRequest(route_group="default", model="able", **asked)
    found = (await admin.ExplainRoute(request, None)).explanation
    return {one.channel: (one.verdict, one.reason, one.detail) for one in found.targets}


async def test_an_operator_is_told_of_it(tmp_path):
    router = between(tmp_path, ["c"], ["o"])
    out, taken = (routing.VERDICT_OUT, "wire", "logprobs"), (routing.VERDICT_TAKEN, "", "")
    assert await explained(router, body=UNSAYABLE) == {"c": out, "o": taken}
    # Without a body nobody knows what will be asked.
    assert await explained(router) == {"c": taken, "o": (routing.VERDICT_POSSIBLE, "", "")}
    # A form is described by an object and not written.
    form = await explained(router, body=UNSAYABLE, operation=wire.OPERATION_TRANSCRIPTION)
    assert form["o"] == taken
