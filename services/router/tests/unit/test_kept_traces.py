"""Which traces a router keeps, by itself and at edge's word, and what of them goes along with an event."""

import pytest
from services.router.tests.unit.test_recorder import (
    STARTED,
    TRACE,
    World,
    expected,
    opened,
    recorded_event,
    result,
    snapshot,
    target,
)

from tollgate.events.v1 import usage_pb2 as events

pytestmark = pytest.mark.unit


USUAL = {"failed": False, "attempts": 1, "fell_back": False, "total_us": 999_999}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, False),
        ({"failed": True}, True),
        ({"attempts": 2}, True),
        ({"fell_back": True}, True),
        ({"total_us": 1_000_000}, True),
    ],
    ids=["usual", "failed", "second attempt", "another model at its first attempt", "slow"],
)
def test_which_traces_are_kept_at_a_share_of_none(tmp_path, changes, kept):
    assert World(tmp_path).recorder.keep_trace(opened(), **(USUAL | changes)) is kept


def test_the_trace_of_a_model_that_a_budget_named_is_kept(tmp_path):
    of = opened()
    of.requested_model = "dear"
    assert World(tmp_path).recorder.keep_trace(of, **USUAL)


def test_two_tries_of_a_request_agree_whether_it_is_of_the_share(tmp_path):
    recorders = [World(tmp_path / name, ratio=0.25).recorder for name in ("one", "other")]
    kept = []
    for number in range(400):
        of = opened()
        of.traceparent = f"00-{number * 0x9E3779B97F4A7C15 % 2**128:032x}-{'b' * 16}-01"
        first, second = (recorder.keep_trace(of, **USUAL) for recorder in recorders)
        assert first == second
        kept.append(first)
    assert 80 <= sum(kept) <= 120


def test_what_has_no_trace_is_of_no_share(tmp_path):
    of = opened()
    of.traceparent = ""
    assert not World(tmp_path, ratio=1).recorder.keep_trace(of, **USUAL)
    of.traceparent = TRACE
    assert World(tmp_path / "other", ratio=1).recorder.keep_trace(of, **USUAL)


async def test_a_trace_that_is_kept_goes_along_with_its_event(tmp_path):
    world, of, where = World(tmp_path, tracing=True), opened(), target()
    event, _, recorded = recorded_event(world, of, snapshot(), result(where, trace_kept=True))
    (span,) = world.spans.found
    assert event == expected(of, where, trace_kept=True, traceparent=span.span)
    assert span.span[3:35] == "a" * 32
    assert (span.parent_span_id, span.start_us, span.end_us) == ("b" * 16, STARTED + 1, STARTED + 900)
    assert span.attributes["tollgate.channel"] == "main"
    assert span.attributes["gen_ai.usage.input_tokens"] == 10
    world.publisher.on_published = world.recorder.published
    world.recorder.confirm(recorded)
    await world.published()
    assert world.log.records[0].headers == (("traceparent", span.span.encode()),)
    assert [one.parent_span_id for one in world.spans.found[1:]] == [span.span[36:52]]


async def test_a_trace_that_edge_alone_keeps_has_the_same_span_and_goes_along_with_its_event(tmp_path):
    where, spans, events_of = target(), [], []
    for name, kept in (("router", True), ("edge", False)):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, tracing=True)
        _, _, recorded = recorded_event(world, opened(), snapshot(), result(where, trace_kept=kept))
        assert len(world.spans.found) == kept
        recorded = world.recorder.keep(recorded)
        spans += world.spans.found
        world.recorder.confirm(recorded)
        events_of += await world.published()
        assert world.log.records[0].headers == (("traceparent", world.spans.found[0].span.encode()),)
    # One that router keeps has its span already; the one that edge alone keeps is made of what is left of the attempt.
    assert spans[0] == spans[1]
    assert events_of[0] == events_of[1]
    assert events_of[1] == expected(
        opened(), where, trace_kept=True, traceparent=spans[1].span, status=events.EVENT_STATUS_CONFIRMED
    )


async def test_what_edge_keeps_says_so_where_the_router_makes_no_spans(tmp_path):
    world, where = World(tmp_path), target()
    _, _, recorded = recorded_event(world, opened(), snapshot(), result(where))
    world.recorder.confirm(world.recorder.keep(recorded))
    assert await world.published() == [expected(opened(), where, trace_kept=True, status=events.EVENT_STATUS_CONFIRMED)]
