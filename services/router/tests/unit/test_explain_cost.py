"""What an explanation and a refusal cost when things go wrong: counted in calls, with few targets and with many."""

import sys
from collections import Counter

import pytest
from services.router.tests.fakes.exchange import CHUNK, Router
from services.router.tests.fakes.versions import channel, first, problem, route, snapshot, walk

from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_router.domain.explain import Verdict, explain
from tollgate_router.domain.health.states import Mode

pytestmark = pytest.mark.unit

DOWN = problem(503)


def calls_of(function):
    """Returns how often each function was called, by its name, while this one ran."""
    counted = Counter()
    sys.setprofile(lambda frame, event, _: counted.update([frame.f_code.co_name]) if event == "call" else None)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counted


def many(count, **more):
    return snapshot([channel(f"c{number}", **more) for number in range(count)])


def free(found):
    return walk(found)


def held_back(found):
    for ready in found.ready.values():
        (seat,) = ready.health.seats.values()
        seat.failed(seat.begin(0.0, first=True), 0.0, problem(401))
    return walk(found)


def without_secrets(found):
    del found
    channels = [channel(f"c{number}") for number in range(400)]
    return walk(snapshot(channels, missing=[f"KEY_c{number}_0" for number in range(1, 400)]))


@pytest.mark.parametrize("state", [free, held_back], ids=["free", "held back"])
def test_an_explanation_of_four_hundred_targets_costs_what_one_of_a_hundred_does(state):
    counts = {}
    for count in (40, 100, 400):
        found = many(count)
        way = state(found)
        target = first(way)
        explain(found, way, target, 1.0)
        counts[count] = calls_of(lambda found=found, way=way, target=target: explain(found, way, target, 1.0)).total()
    assert counts[400] <= counts[100] + 10
    # By row: what is made once for each request is little.
    assert counts[100] <= counts[40] * 100 / 40


def test_targets_that_are_left_out_cost_no_more_either():
    way = without_secrets(None)
    found = way.snapshot
    target = first(way)
    explanation = explain(found, way, target, 0.0)
    assert (len(explanation.targets), explanation.omitted) == (100, 300)
    assert [one.channel for one in explanation.targets if one.verdict is Verdict.TAKEN] == ["c0"]
    counted = calls_of(lambda: explain(found, way, target, 0.0)).total()
    assert counted <= 20 * 100


def test_what_was_tried_is_written_out_wherever_it_stands():
    channels = [channel(f"c{number}") for number in range(400)]
    found = snapshot(channels, [route("able", [f"c{number}" for number in range(399)], ["c399"])])
    way = walk(found, seed=5)
    target, tried = first(way), []
    for _ in range(3):
        tried.append(target.channel)
        target = way.after(DOWN, target, 0.0)
    for name in [f"c{number}" for number in range(399)]:
        found.ready[name].health.set_mode(Mode.DRAINING, "moves")
    tried.append(target.channel)
    target = way.after(DOWN, target, 0.0)
    assert target.channel == "c399"
    explanation = explain(found, way, target, 0.0)
    assert {one.channel for one in explanation.targets if one.verdict is Verdict.FAILED} == set(tried)
    assert [(one.channel, one.level) for one in explanation.targets if one.verdict is Verdict.TAKEN] == [("c399", 2)]
    assert (len(explanation.targets), explanation.omitted) == (100, 300)
    # In the order of the way.
    assert [one.level for one in explanation.targets] == [1] * 99 + [2]


def explanations(counted):
    return counted["explain"], counted["_row"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_is_explained_once_however_often_it_is_tried(tmp_path, stream):
    router = Router(tmp_path, many(400), retry_floor=100)

    def run():
        router.open(stream=stream)
        for _ in range(4):
            router.upstream.calls[-1].reply(503)
        if stream:
            router.upstream.calls[-1].chunk()
            router.upstream.calls[-1].sink.upstream_data(CHUNK)
            router.upstream.calls[-1].sink.upstream_data(b"data: [DONE]\n\n")
            router.upstream.calls[-1].sink.upstream_end()
        else:
            router.upstream.calls[-1].reply()

    assert explanations(calls_of(run)) == (1, 100)
    told = router.events[-1].routing
    verdicts = Counter(one.verdict for one in told.targets)
    assert verdicts == {routing.VERDICT_FAILED: 4, routing.VERDICT_TAKEN: 1, routing.VERDICT_POSSIBLE: 95}
    assert told.omitted == 300


def test_a_request_that_is_answered_at_once_is_not_explained(tmp_path):
    router = Router(tmp_path, many(3))

    def run():
        router.open()
        router.upstream.calls[-1].reply()

    assert explanations(calls_of(run)) == (0, 0)


def test_a_stream_is_explained_as_things_were_when_its_answer_began(tmp_path):
    found = snapshot([channel("a"), channel("b"), channel("c")], [route("able", ["a"], ["b"], ["c"])])
    router = Router(tmp_path, found)
    found.ready["b"].health.set_mode(Mode.DRAINING, "moves")
    router.open(stream=True)
    router.upstream.calls[-1].reply(503)
    router.upstream.calls[-1].chunk()
    # What becomes of b afterwards is not why c was taken.
    found.ready["b"].health.set_mode(Mode.ENABLED, "")
    router.upstream.calls[-1].sink.upstream_data(b"data: [DONE]\n\n")
    router.upstream.calls[-1].sink.upstream_end()
    said = {one.channel: (one.verdict, one.reason) for one in router.events[-1].routing.targets}
    assert said == {
        "a": (routing.VERDICT_FAILED, "upstream_unavailable"),
        "b": (routing.VERDICT_OUT, "draining"),
        "c": (routing.VERDICT_TAKEN, ""),
    }


def refused(directory, count):
    found = many(count)
    held_back(found)
    router = Router(directory, found)
    router.clock.advance(1)
    router.open()
    return calls_of(router.open), router


def test_a_refusal_costs_the_same_with_a_hundred_targets_and_four_hundred(tmp_path):
    counts = {}
    for count in (40, 100, 400):
        counts[count], router = refused(tmp_path / str(count), count)
        assert router.events[-1].routing.refusal == "No channel for 'able' is usable now."
        assert counts[count]["explain"] == 1
    assert counts[400].total() <= counts[100].total() + 10


def test_a_refusal_tells_the_shortest_wait_of_all_targets():
    found = many(400)
    for number, ready in enumerate(found.ready.values()):
        (seat,) = ready.health.seats.values()
        wait_ms = 3000 if number == 399 else 7000
        seat.failed(seat.begin(0.0, first=True), 0.0, problem(429, wait_ms=wait_ms))
    way = walk(found)
    assert first(way) is None
    assert (way.refusal.retry_after_ms, way.refusal.kind) == (3000, problem(429).kind)
