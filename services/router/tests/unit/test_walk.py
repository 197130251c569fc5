"""Where a request goes, and where after each failure: tables that can be held against the rules, and properties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.router.tests.fakes.versions import ask, channel, first, path, problem, route, snapshot, walk

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.upstream_errors import problem_of_failure

pytestmark = pytest.mark.unit

DOWN, LIMITED, REFUSED = problem(503), problem(429), problem(401)
TOO_LONG, CONTENT = problem(400, "context_length_exceeded"), problem(400, "content_filter")
INVALID = problem(400)
A_B_C = [channel("a"), channel("b"), channel("c")]
FALLBACKS = {
    "error": ["small", "plain"],
    "rate_limit": ["plain"],
    "context_length": ["plain"],
    "content_policy": ["small"],
}
WITH_FALLBACKS = (
    [channel("a"), channel("s", "small"), channel("p", "plain")],
    [route("able", ["a"], fallbacks=FALLBACKS)],
)

PATHS = {
    "answered at once": ((A_B_C, [route("able", ["a"], ["b"])]), [], ["a"]),
    "levels in order": ((A_B_C, [route("able", ["a"], ["b"], ["c"])]), [DOWN, DOWN, DOWN], ["a", "b", "c"]),
    "an unreachable one is left": (
        (A_B_C, [route("able", ["a"], ["b"])]),
        [problem_of_failure(UpstreamFailure(FailureKind.REFUSED, sent=False))],
        ["a", "b"],
    ),
    "a rate limit moves on": ((A_B_C, [route("able", ["a"], ["b"])]), [LIMITED], ["a", "b"]),
    "refused credentials move on": ((A_B_C, [route("able", ["a"], ["b"])]), [REFUSED], ["a", "b"]),
    "the caller's fault ends it": ((A_B_C, [route("able", ["a"], ["b"])]), [INVALID], ["a"]),
    "too long for one is too long for its like": ((A_B_C, [route("able", ["a"], ["b"])]), [TOO_LONG], ["a"]),
    "each key of a channel": (([channel("a", keys=3)], []), [DOWN] * 3, ["a"] * 3),
    "fallback models for an error, in order": (WITH_FALLBACKS, [DOWN, DOWN, DOWN], ["a", "s", "p"]),
    "a fallback model for a rate limit": (WITH_FALLBACKS, [LIMITED], ["a", "p"]),
    "a fallback model for the context": (WITH_FALLBACKS, [TOO_LONG], ["a", "p"]),
    "a fallback model for the content": (WITH_FALLBACKS, [CONTENT], ["a", "s"]),
    "each failure picks by its own reason": (WITH_FALLBACKS, [CONTENT, LIMITED, DOWN], ["a", "s", "p"]),
    "none for what would fail again": (WITH_FALLBACKS, [INVALID], ["a"]),
    "levels before fallback models": (
        ([*WITH_FALLBACKS[0], channel("b")], [route("able", ["a"], ["b"], fallbacks=FALLBACKS)]),
        [DOWN, DOWN, DOWN, DOWN],
        ["a", "b", "s", "p"],
    ),
    "no seat twice, under another name either": (
        (
            [channel("a", "able", {"name": "alias", "upstream": "able"}), channel("p", "plain")],
            [route("able", ["a"], fallbacks={"error": ["alias", "plain"]})],
        ),
        [DOWN, DOWN],
        ["a", "p"],
    ),
}


@pytest.mark.parametrize(("declared", "problems", "visited"), PATHS.values(), ids=PATHS.keys())
def test_a_path(declared, problems, visited):
    assert path(snapshot(*declared), *problems) == visited


# Chat with `logprobs`, which OpenAI's wire has and Anthropic's has not. o and p are of the one, c and d of the other.
UNSAYABLE = b'{"messages":[{"role":"user","content":"Hi"}],"logprobs":true}'
O_P, C_D = [channel("o"), channel("p")], [channel(name, provider="anthropic") for name in "cd"]
TO_SMALL = {"fallbacks": {"error": ["small"]}}

PASSED_OVER = {
    "one of its level": ((O_P + C_D, [route("able", ["c", "o", "d"])]), [], ["o"]),
    "a level of its own": ((O_P + C_D, [route("able", ["c", "d"], ["o"])]), [], ["o"]),
    "the next one after a failure": ((O_P + C_D, [route("able", ["o"], ["c", "d"], ["p"])]), [DOWN], ["o", "p"]),
    "nobody is left after a failure, which is told": ((O_P + C_D, [route("able", ["o"], ["c", "d"])]), [DOWN], ["o"]),
    "then the fallback models of the failure": (
        ([*O_P, *C_D, channel("s", "small")], [route("able", ["o"], ["c"], **TO_SMALL)]),
        [DOWN],
        ["o", "s"],
    ),
    "a fallback model, too": (
        (
            [*O_P, channel("s", "small", provider="anthropic"), channel("q", "plain")],
            [route("able", ["o"], fallbacks={"error": ["small", "plain"]})],
        ),
        [DOWN],
        ["o", "q"],
    ),
    "everybody: that is told": ((C_D, [route("able", ["c"], ["d"], **TO_SMALL)]), [], []),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("declared", "problems", "visited"), PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_who_cannot_be_told_what_is_asked_is_passed_over(declared, problems, visited, seed):
    found = snapshot(*declared)
    assert path(found, *problems, asked=ask(body=UNSAYABLE), seed=seed, written=True) == visited
    # Nothing is held against who was passed over, and no room of a budget is spent.
    seats = [seat for ready in found.ready.values() for seat in ready.health.seats.values()]
    assert {seat.until for seat in seats} == {0.0}
    extra = sum(ready.health.extra_attempts.total() for ready in found.ready.values())
    assert extra == max(0, len(visited) - 1)


def test_nobody_who_could_be_told_is_there_now():
    found = snapshot([*O_P, *C_D], [route("able", ["c", "o"])])
    path(found, problem(429, wait_ms=7000), asked=ask(body=UNSAYABLE), written=True)
    way = walk(found, ask(body=UNSAYABLE), written=True)
    assert first(way) is None
    # In seven seconds this request can be served: it is not the caller's fault.
    assert (way.refusal.kind, way.refusal.retry_after_ms) == (errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, 7000)
    # Where those who are held back could not be told either, it is.
    found = snapshot(C_D, [route("able", ["c", "d"])])
    (seat,) = found.ready["d"].health.seats.values()
    seat.failed(seat.begin(0.0, first=True), 0.0, problem(429, wait_ms=7000))
    way = walk(found, ask(body=UNSAYABLE), written=True)
    assert first(way) is None
    assert (way.refusal.kind, way.refusal.param) == (errors.ERROR_KIND_INVALID_REQUEST, "logprobs")


def test_of_many_alike_one_is_asked_whether_it_can_be_told():
    found = snapshot([channel(f"c{number}", provider="anthropic") for number in range(400)])
    way = walk(found, ask(body=UNSAYABLE), written=True)
    says, told = way._say, []
    way._say = lambda target: told.append(target) or says(target)
    assert first(way) is None
    assert len(told) == 1


def test_a_level_is_exhausted_before_the_next():
    for seed in range(50):
        found = snapshot([channel(name) for name in "abcde"], [route("able", ["a", "b", "c"], ["d", "e"])])
        visited = path(found, DOWN, DOWN, DOWN, DOWN, DOWN, seed=seed)
        assert {*visited[:3]} == {*"abc"}
        assert {*visited[3:]} == {*"de"}


def test_the_model_in_force_and_the_reason_are_known():
    way = walk(snapshot(*WITH_FALLBACKS))
    target = first(way)
    assert (way.model, way.asked_model, way.why) == ("able", "able", "")
    target = way.after(LIMITED, target, 0.0)
    assert (way.model, way.asked_model, way.why, target.upstream_model) == ("plain", "able", "rate_limit", "plain")
    assert [(step.target.channel, step.model, step.kind) for step in way.steps] == [("a", "able", LIMITED.kind)]


def test_a_fallback_model_is_of_the_callers_group():
    channels = [channel("a"), channel("s", "small", groups=["research"]), channel("p", "plain")]
    found = snapshot(channels, [route("able", ["a"], fallbacks=FALLBACKS)])
    assert path(found, DOWN, DOWN) == ["a", "p"]


def test_a_budget_bounds_extra_attempts():
    health = Health(HealthPolicy(retry_ratio=0.2, retry_floor=2, consecutive_failures=10_000, ratio_failures=10_000))
    found = snapshot([channel("a"), channel("b")], [route("able", ["a"], ["b"])], health=health)
    visited = [path(found, DOWN, seed=seed) for seed in range(100)]
    assert sum(len(one) - 1 for one in visited) == 20
    assert visited[0] == ["a", "b"]
    # What is not the channel's fault costs nothing of its budget.
    way = walk(snapshot(*WITH_FALLBACKS, health=health))
    assert way.after(TOO_LONG, first(way), 0.0) is not None


def test_a_quiet_channel_causes_no_more_extra_attempts_than_it_was_asked():
    for count in range(1, 10):
        found = snapshot([channel("a"), channel("b")], [route("able", ["a"], ["b"])])
        assert [path(found, DOWN) for _ in range(count)] == [["a", "b"]] * count
        assert found.ready["a"].health.extra_attempts.total() == count
    # A lone request comes to who is well, behind several credentials and behind a standby.
    found = snapshot([channel("a", keys=2), channel("b"), channel("c")], [route("able", ["a"], ["b"], ["c"])])
    assert path(found, DOWN, DOWN, DOWN) == ["a", "a", "b", "c"]
    assert {name: ready.health.extra_attempts.total() for name, ready in found.ready.items()} == {
        "a": 2, "b": 1, "c": 0,
    }  # fmt: skip


def test_a_request_goes_where_it_is_not_held_back():
    found = snapshot([channel("a"), channel("b")], [route("able", ["a"], ["b"])])
    for _ in range(10):
        path(found, DOWN)
    # The breaker of a is open: b is first, which is no extra attempt.
    assert path(found) == ["b"]


HELD = {
    "rate limited": (problem(429, wait_ms=7000), errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, 7000),
    "refused": (REFUSED, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, 10_000),
}


@pytest.mark.parametrize(("what", "kind", "wait_ms"), HELD.values(), ids=HELD.keys())
def test_nothing_usable_is_said_with_its_time(what, kind, wait_ms):
    found = snapshot([channel("a")])
    path(found, what)
    way = walk(found)
    assert first(way) is None
    assert (way.refusal.kind, way.refusal.retry_after_ms) == (kind, wait_ms)
    assert first(walk(found), wait_ms / 1000) is not None


def test_what_is_held_back_falls_back_at_once():
    found = snapshot(*WITH_FALLBACKS)
    path(found, problem(429, wait_ms=5000))
    way = walk(found)
    assert first(way).channel == "p"
    assert (way.model, way.why, way.refusal) == ("plain", "rate_limit", None)


def test_a_prompt_that_is_too_long_goes_to_the_long_model():
    found = snapshot(
        [channel("a", "small"), channel("b")], [route("small", ["a"], fallbacks={"context_length": ["able"]})]
    )
    long = ask("small", b'{"messages":[{"content":"%b"}]}' % (b"many words " * 800))
    assert path(found, asked=long) == ["b"]
    assert path(found, asked=ask("small")) == ["a"]
    # Without another model the provider has the last word: the estimate may be wrong.
    assert path(snapshot([channel("a", "small")]), asked=long) == ["a"]


# Properties.

NAMES = "abcdefgh"
KINDS = [DOWN, LIMITED, REFUSED, TOO_LONG, CONTENT, problem(429, wait_ms=2000), problem(404)]


@st.composite
def configurations(draw):
    """Channels a to h with keys, and a route over them with levels, weights and fallback models."""
    channels = [channel(name, "able", "small", keys=draw(st.integers(1, 3))) for name in NAMES]
    names = draw(st.permutations(NAMES))
    cuts = sorted(draw(st.lists(st.integers(1, len(names) - 1), max_size=3, unique=True)))
    levels = [names[start:end] for start, end in zip([0, *cuts], [*cuts, len(names)], strict=True)]
    weighted = [[(name, draw(st.integers(0, 5))) for name in level] for level in levels]
    weighted = [[(level[0][0], 1), *level[1:]] for level in weighted]
    strategy = draw(st.sampled_from(["weighted", "least_busy", "lowest_latency", "cheapest"]))
    fallbacks = draw(st.sampled_from([{}, {"error": ["small"]}, {"error": ["small"], "rate_limit": ["small"]}]))
    affinity = draw(st.sampled_from([None, "user"]))
    return channels, weighted, route("able", *weighted, strategy=strategy, fallbacks=fallbacks, affinity=affinity)


@settings(max_examples=150, deadline=None)
@given(configurations(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=20), st.integers(0, 2**32))
def test_whatever_fails_nothing_is_tried_twice_and_levels_are_in_order(configuration, problems, seed):
    channels, levels, declared = configuration
    found = snapshot(channels, [declared], health=Health(HealthPolicy(retry_floor=1000)))
    level_of = {name: number for number, level in enumerate(levels) for name, _ in level}
    way = walk(found, ask(body=b'{"user":"u%d","messages":[]}' % seed), seed)
    target, seen, last, before = first(way), set(), 0, 1.0
    weights = {name: weight for level in levels for name, weight in level}
    for now, one in enumerate(problems):
        if target is None:
            break
        assert target.seat not in seen
        seen.add(target.seat)
        if way.model == "able":
            assert weights[target.channel] > 0
            number = level_of[target.channel]
            assert number >= last
            if number > last:
                # Everything of the levels before is tried, or held back.
                for earlier in (name for name, place in level_of.items() if place < number and weights[name]):
                    seats = [seat for seat in found.ready[earlier].health.seats.values() if seat.model.name == "able"]
                    assert all(seat in seen or seat.until > before for seat in seats)
            last = number
        ticket = target.seat.begin(float(now), first=now == 0)
        target.seat.failed(ticket, float(now), one)
        before = float(now)
        target = way.after(one, target, float(now))
    assert len(way.steps) <= len(problems)


@settings(max_examples=100, deadline=None)
@given(
    configurations(), st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10)), max_size=40), st.integers(0, 9)
)
def test_a_held_back_target_is_never_chosen(configuration, history, seed):
    channels, _, declared = configuration
    found = snapshot(channels, [declared])
    now = 0.0
    for number, (one, pause) in enumerate(history):
        way = walk(found, ask(body=b'{"user":"%d","messages":[]}' % number), seed + number)
        target = first(way, now)
        if target is None:
            assert way.refusal is not None
            assert way.refusal.kind in {
                errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
                errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
            }
        else:
            assert target.seat.hindrance(now) is None
            ticket = target.seat.begin(now, first=True)
            target.seat.failed(ticket, now, one)
        now += pause
    # Every call that began has ended.
    assert all(key.open == 0 for ready in found.ready.values() for key in ready.health.keys.values())


def test_a_problem_of_our_own_is_nobodys_fault():
    busy = problem_of_failure(UpstreamFailure(FailureKind.BUSY, sent=False))
    found = snapshot([channel("a")])
    for _ in range(50):
        assert path(found, busy) == ["a"]
