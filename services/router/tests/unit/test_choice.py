"""Choices within a level: shares by weight, the least busy, the fastest, the cheapest, and who is bound to what.

Counts are of seeded draws: the same every time. Bounds are five standard deviations of the binomial distribution.
"""

import random
import sys
from collections import Counter
from math import sqrt

import pytest
from services.router.tests.fakes.versions import ask, channel, first, path, problem, route, snapshot, walk

from tollgate_router.domain.choice import Level
from tollgate_router.domain.target import Origin, Target

pytestmark = pytest.mark.unit

DRAWS = 4000


def within(count, share, draws=DRAWS):
    return abs(count - share * draws) <= 5 * sqrt(draws * share * (1 - share))


def counts(found, asks=None, draws=DRAWS, now=0.0):
    return Counter(first(walk(found, asks(seed) if asks else None, seed), now).channel for seed in range(draws))


def assert_shares(found, shares, asks=None):
    seen = counts(found, asks)
    assert set(seen) == {name for name, share in shares.items() if share}
    for name, share in shares.items():
        assert within(seen[name], share), (name, seen[name], share)


def test_targets_share_by_weight():
    found = snapshot([channel(name) for name in "abcd"], [route("able", [("a", 5), ("b", 3), ("c", 2), ("d", 0)])])
    assert_shares(found, {"a": 0.5, "b": 0.3, "c": 0.2, "d": 0})


def test_channels_without_a_route_share_by_their_own_weight():
    assert_shares(snapshot([channel("a", weight=3), channel("b")]), {"a": 0.75, "b": 0.25})


def test_keys_share_the_weight_of_their_channel():
    found = snapshot([channel("a", keys=3), channel("b", keys=2)])
    assert_shares(found, {"a": 0.5, "b": 0.5})
    keys = Counter(first(walk(found, seed=seed)).seat for seed in range(DRAWS))
    assert len(keys) == 5
    assert all(within(count, 1 / 6 if seat.channel.name == "a" else 1 / 4) for seat, count in keys.items())


def test_who_is_held_back_leaves_its_share_to_the_others_by_weight():
    found = snapshot([channel(name) for name in "abcd"], [route("able", [("a", 6), ("b", 3), ("c", 1), ("d", 10)])])
    hold(found, "d")
    assert_shares(found, {"a": 0.6, "b": 0.3, "c": 0.1})


def hold(found, *names):
    """Opens the breakers of these channels."""
    for name in names:
        for seat in found.ready[name].health.seats.values():
            for _ in range(10):
                seat.failed(seat.begin(0.0, first=True), 0.0, problem(503))


MANY = [f"c{number}" for number in range(400)]


def test_of_many_targets_the_few_that_are_left_share_by_weight():
    found = snapshot([channel(name, weight=1 + (name in {"c7", "c9"})) for name in MANY])
    left = ["c3", "c7", "c9"]
    hold(found, *(name for name in MANY if name not in left))
    assert_shares(found, {"c3": 0.2, "c7": 0.4, "c9": 0.4})


@pytest.mark.parametrize("count", [3, 100])
def test_the_least_busy(count):
    names = MANY[:count]
    found = snapshot([channel(name) for name in names], [route("able", names, strategy="least_busy")])
    busy = Counter()
    for seed in range(count * 10):
        target = first(walk(found, seed=seed))
        target.seat.begin(0.0, first=True)
        busy[target.channel] += 1
    if count == 3:
        assert set(busy.values()) == {10}
    else:
        # Of many, a sample is compared: no target is far from the mean.
        assert max(busy.values()) <= 13


def test_busy_is_counted_by_weight_and_over_all_models():
    found = snapshot(
        [channel("a", "able", "small"), channel("b")], [route("able", [("a", 3), ("b", 1)], strategy="least_busy")]
    )
    small = found.route("default", "small").targets()[0]
    tickets = [small.seat.begin(0.0, first=True) for _ in range(4)]
    assert counts(found, draws=20) == {"b": 20}
    for ticket in tickets:
        small.seat.succeeded(ticket, 0.0, 0.1)
    busy = Counter()
    for seed in range(40):
        target = first(walk(found, seed=seed))
        target.seat.begin(0.0, first=True)
        busy[target.channel] += 1
    assert busy == {"a": 30, "b": 10}


def measured(found, latencies, now=0.0):
    for name, seconds in latencies.items():
        for seat in found.ready[name].health.seats.values():
            seat.succeeded(seat.begin(now, first=True), now, seconds)


def test_the_fastest_answers():
    found = snapshot([channel(name) for name in "abc"], [route("able", ["a", "b", "c"], strategy="lowest_latency")])
    measured(found, {"a": 0.5, "b": 0.1, "c": 0.11}, now=1.0)
    assert set(counts(found, now=1.0)) == {"b", "c"}
    hold(found, "b", "c")
    assert set(counts(found, now=1.0)) == {"a"}


def test_what_was_never_measured_is_asked_first_but_once_at_a_time():
    found = snapshot([channel(name) for name in "ab"], [route("able", ["a", "b"], strategy="lowest_latency")])
    measured(found, {"a": 0.01}, now=1.0)
    asked = first(walk(found), 1.0)
    assert asked.channel == "b"
    ticket = asked.seat.begin(1.0, first=True)
    assert set(counts(found, draws=50, now=1.0)) == {"a"}
    asked.seat.succeeded(ticket, 2.0, 0.5)
    assert set(counts(found, draws=50, now=2.0)) == {"a"}


def test_what_was_never_measured_is_asked_however_busy_its_key_is_with_other_models():
    found = snapshot(
        [channel("a", "able", "small"), channel("b")], [route("able", ["a", "b"], strategy="lowest_latency")]
    )
    measured(found, {"b": 0.01}, now=1.0)
    small = found.route("default", "small").targets()[0]
    assert small.channel == "a"
    small.seat.begin(1.0, first=True)
    asked = first(walk(found), 1.0)
    assert asked.channel == "a"
    ticket = asked.seat.begin(1.0, first=True)
    assert set(counts(found, draws=20, now=1.0)) == {"b"}
    # Whatever became of the call, the next one may show more.
    asked.seat.abandoned(ticket, 2.0)
    assert set(counts(found, draws=20, now=2.0)) == {"a"}
    asked.seat.failed(asked.seat.begin(2.0, first=True), 2.0, problem(400))
    assert set(counts(found, draws=20, now=2.0)) == {"a"}


def test_an_old_measurement_fades():
    found = snapshot([channel(name) for name in "ab"], [route("able", ["a", "b"], strategy="lowest_latency")])
    measured(found, {"a": 0.4, "b": 0.1}, now=1.0)
    # a is not asked any more; b is measured again and again. Half-lives of 30 s: after two, a looks as fast.
    measured(found, {"b": 0.1}, now=40.0)
    assert set(counts(found, draws=100, now=40.0)) == {"b"}
    measured(found, {"b": 0.1}, now=61.5)
    assert set(counts(found, draws=100, now=61.5)) == {"a", "b"}


def test_latency_is_an_average_that_decays():
    found = snapshot([channel("a")])
    seat = found.route("default", "able").targets()[0].seat
    for now, seconds, average in [(10.0, 1.0, 1.0), (40.0, 0.0, 0.5), (70.0, 1.0, 0.75), (70.0, 9.0, 0.75)]:
        seat.succeeded(seat.begin(now, first=True), now, seconds)
        assert seat.latency == pytest.approx(average)
    assert seat.latency_at(100.0) == pytest.approx(0.375)


def test_the_cheapest_answers():
    channels = [
        channel("list", "able"),
        channel("half", "able", cost_multiply="0.5"),
        channel("own", {"name": "able", "cost": {"input": "1.9", "output": "1.9"}}),
        channel("same", "able", cost_multiply="0.50"),
        channel("unknown", {"name": "able", "upstream": "odd"}, provider="free"),
    ]
    names = [one["name"] for one in channels]
    found = snapshot(channels, [route("able", names, strategy="cheapest")])
    assert set(counts(found, draws=50)) == {"half", "same"}
    visited = path(found, *[problem(503)] * 5)
    assert {*visited[:2]} == {"half", "same"}
    # A model without a price of its own costs what its public name is listed at.
    assert visited[2] == "own"
    assert {*visited[3:]} == {"list", "unknown"}


def test_a_dearer_model_under_the_same_name_costs_more():
    channels = [channel("a", {"name": "able", "upstream": "dear"}), channel("b", {"name": "able", "upstream": "small"})]
    found = snapshot(channels, [route("able", ["a", "b"], strategy="cheapest")])
    assert path(found, problem(503)) == ["b", "a"]


def session(number, field="user"):
    return ask(body=b'{"%b":"someone-%d","messages":[]}' % (field.encode(), number), project_id="p")


@pytest.mark.parametrize("count", [4, 100])
def test_a_session_stays_and_sessions_share_by_weight(count):
    names = MANY[:count]
    weights = [(name, 1 + (name == "c0")) for name in names]
    found = snapshot([channel(name) for name in names], [route("able", weights, affinity="user")])
    places = [first(walk(found, session(number), seed)).channel for seed in (1, 2) for number in range(DRAWS)]
    assert places[:DRAWS] == places[DRAWS:]
    seen = Counter(places[:DRAWS])
    assert within(seen["c0"], 2 / (count + 1))
    assert within(seen["c1"], 1 / (count + 1))
    # The same in another process, after another start, with other health.
    again = snapshot([channel(name) for name in names], [route("able", weights, affinity="user")])
    assert [first(walk(again, session(number))).channel for number in range(200)] == places[:200]


def test_a_session_leaves_only_while_its_target_is_away_and_only_its_own_do():
    names = MANY[:5]
    found = snapshot([channel(name) for name in names], [route("able", names, affinity="user")])
    before = [first(walk(found, session(number))).channel for number in range(500)]
    hold(found, "c2")
    during = [first(walk(found, session(number))).channel for number in range(500)]
    assert all((one == other) == (one != "c2") for one, other in zip(before, during, strict=True))
    assert len({other for one, other in zip(before, during, strict=True) if one == "c2"}) == 4
    found.ready["c2"].health.forgive()
    assert [first(walk(found, session(number))).channel for number in range(500)] == before


def test_a_target_that_is_added_takes_only_its_own_share():
    names = MANY[:5]
    found = snapshot([channel(name) for name in names], [route("able", names[:4], affinity="user")])
    more = snapshot([channel(name) for name in names], [route("able", names, affinity="user")])
    before = [first(walk(found, session(number))).channel for number in range(DRAWS)]
    after = [first(walk(more, session(number))).channel for number in range(DRAWS)]
    moved = [other for one, other in zip(before, after, strict=True) if one != other]
    assert set(moved) == {"c4"}
    assert within(len(moved), 0.2)


def test_a_request_without_a_value_is_bound_to_nothing():
    found = snapshot([channel(name) for name in "ab"], [route("able", ["a", "b"], affinity="user")])
    assert_shares(found, {"a": 0.5, "b": 0.5})
    for value in (b'""', b"null"):
        assert set(counts(found, lambda _, value=value: ask(body=b'{"user":%b}' % value), draws=50)) == {"a", "b"}


def test_another_projects_user_of_the_same_name_is_another():
    names = MANY[:20]
    found = snapshot([channel(name) for name in names], [route("able", names, affinity="user")])
    body = b'{"user":"1","messages":[]}'
    places = {first(walk(found, ask(body=body, project_id=f"p{number}"))).channel for number in range(40)}
    assert len(places) > 5


CONVERSATION = b'{"messages":[{"role":"system","content":"s"},{"role":"user","content":"%b"}%b]}'
TURN = b',{"role":"assistant","content":"a"},{"role":"user","content":"more"}'


@pytest.mark.parametrize(
    ("affinity", "one", "same", "other"),
    [
        ("user", {"body": b'{"user":"a"}'}, {"body": b'{"n":1,"user":"a"}'}, {"body": b'{"user":"%d"}'}),
        (
            "prompt_cache_key",
            {"body": b'{"prompt_cache_key":"a"}'},
            {"body": b'{"user":"x","prompt_cache_key":"a"}'},
            {"body": b'{"prompt_cache_key":"%d"}'},
        ),
        (
            "conversation",
            {"body": CONVERSATION % (b"hi", b"")},
            {"body": CONVERSATION % (b"hi", TURN)},
            {"body": CONVERSATION.replace(b"%b]", b"]").replace(b"%b", b"%d")},
        ),
        (
            "header:X-Session",
            {"headers": {b"x-session": b"a"}},
            {"headers": {b"x-session": b"a"}, "body": b'{"n":2}'},
            {"headers": {b"x-session": b"%d"}},
        ),
    ],
)
def test_what_binds_requests(affinity, one, same, other):
    names = MANY[:20]
    found = snapshot([channel(name) for name in names], [route("able", names, affinity=affinity)])

    def place(more, seed=1):
        return first(walk(found, ask(**more), seed)).channel

    assert {place(one, seed) for seed in range(10)} == {place(one)} == {place(same)}

    def numbered(value, number):
        if isinstance(value, dict):
            return {name: numbered(inner, number) for name, inner in value.items()}
        return value % number if b"%d" in value else value

    assert len({place(numbered(other, number)) for number in range(60)}) > 10


def test_a_canary_takes_its_share_of_callers_and_always_the_same():
    canary = {"percent": 10, "targets": [{"channel": "new"}]}
    found = snapshot([channel("old"), channel("new")], [route("able", ["old"], canary=canary)])

    def caller(number):
        return ask(api_key_id=f"key_{number}")

    assert_shares(found, {"old": 0.9, "new": 0.1}, caller)
    for number in range(30):
        assert len({first(walk(found, caller(number), seed)).channel for seed in range(5)}) == 1
    # Sessions go before keys where the route has an affinity.
    bound = snapshot([channel("old"), channel("new")], [route("able", ["old"], canary=canary, affinity="user")])
    assert_shares(bound, {"old": 0.9, "new": 0.1}, session)
    one_key = [first(walk(bound, session(number))).channel for number in range(200)]
    assert set(one_key) == {"old", "new"}


def test_a_canary_that_fails_leaves_the_request_to_the_levels():
    canary = {"percent": 100, "targets": [{"channel": "new"}]}
    found = snapshot([channel("old"), channel("new")], [route("able", ["old"], canary=canary)])
    assert path(found, problem(503)) == ["new", "old"]
    hold(found, "new")
    assert path(found) == ["old"]


def test_canaries_of_two_models_are_different_callers():
    canary = {"percent": 50, "targets": [{"channel": "new"}]}
    found = snapshot(
        [channel("old", "able", "small"), channel("new", "able", "small")],
        [route("able", ["old"], canary=canary), route("small", ["old"], canary=canary)],
    )
    both = Counter(
        tuple(first(walk(found, ask(model, api_key_id=f"key_{number}"))).channel for model in ("able", "small"))
        for number in range(DRAWS)
    )
    assert all(within(count, 0.25) for count in both.values())
    assert len(both) == 4


def test_an_empty_level_chooses_nothing():
    target = Target("a", 0, "p", Origin("https", "h", 443), "", "m", True, 0, b"")
    level = Level([target])
    assert level.targets == ()
    assert level.choose((), 0.0, random.Random(1)) is None
    assert level.choose((), 0.0, random.Random(1), session=7) is None


def calls_of_a_choice(found, model="able"):
    """Returns the most function calls that choosing for a request takes, of Python and of C."""
    most = 0
    for seed in range(100):
        way = walk(found, ask(model), seed)
        seen = []
        sys.setprofile(lambda _frame, event, _argument, seen=seen: seen.append(event))
        try:
            target = way.first(0.0, 1, 100)
        finally:
            sys.setprofile(None)
        assert target is not None
        most = max(most, sum(event in {"call", "c_call"} for event in seen))
    return most


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "lowest_latency", "cheapest"])
def test_a_choice_among_many_takes_no_more_steps(strategy):
    """The cost of a request does not grow with channels: what is done is counted, not how long it takes."""
    counted = {}
    for count in (40, 400):
        names = MANY[:count]
        found = snapshot([channel(name) for name in names], [route("able", names, strategy=strategy)])
        counted[count] = calls_of_a_choice(found)
    assert counted[400] == counted[40]
    assert counted[40] < 120
    routes = [route("able", names, strategy=strategy), *(route(f"m{number}", ["c0"]) for number in range(300))]
    for one in routes[1:]:
        one["levels"][0]["targets"][0]["upstream"] = "x"
    assert calls_of_a_choice(snapshot([channel(name) for name in names], routes)) == counted[40]
