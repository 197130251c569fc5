"""What calls and operators do to a channel's health, by a clock that stands where the test says."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.router.tests.fakes.versions import channel, first, path, problem, route, snapshot, walk

from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.health.states import Mode, Obstacle
from tollgate_router.domain.upstream_errors import Bench

pytestmark = pytest.mark.unit

POLICY = HealthPolicy(consecutive_failures=3, open_first=5, bench_first=10, bench_last=40, probe_patience=30)
DOWN, REFUSED, INVALID = problem(503), problem(401), problem(400)


class World:
    """A configuration, its health, and everything that operators were told."""

    def __init__(self, *channels, routes=(), policy=POLICY, **more):
        self.told = []
        self.health = Health(policy, self.told.append, **more)
        self.declared = channels or [channel("a", "able", "small")], routes
        self.publish(*self.declared)

    def publish(self, channels, routes=()):
        self.snapshot = snapshot(channels, routes, health=self.health)

    def seats(self, model="able", name="a"):
        return [seat for seat in self.snapshot.ready[name].health.seats.values() if seat.model.name == model]

    def seat(self, model="able", name="a"):
        return self.seats(model, name)[0]

    def fail(self, now, what=DOWN, times=3, **which):
        for _ in range(times):
            seat = self.seat(**which)
            seat.failed(seat.begin(now, first=True), now, what)

    def states(self):
        return [(change.subject, change.state) for change in self.told]


def obstacle(seat, now):
    found = seat.hindrance(now)
    return None if found is None else found.obstacle


def test_a_breaker_is_of_a_model_and_not_of_its_channel():
    world = World()
    world.fail(0)
    assert obstacle(world.seat(), 4.9) is Obstacle.BREAKER_OPEN
    assert world.seat().hindrance(1).detail == "upstream_unavailable"
    assert obstacle(world.seat("small"), 0) is None
    assert [(one.channel, one.subject, one.state, one.seconds) for one in world.told] == [("a", "able", "open", 5)]


def test_a_breaker_is_of_all_keys():
    world = World(channel("a", keys=2))
    world.fail(0)
    assert [obstacle(seat, 0) for seat in world.seats()] == [Obstacle.BREAKER_OPEN] * 2


def test_one_request_at_a_time_probes():
    world = World(channel("a", keys=2))
    world.fail(0)
    seat, other = world.seats()
    assert obstacle(seat, 5) is None
    ticket = seat.begin(5, first=True)
    assert [obstacle(one, 5) for one in (seat, other)] == [Obstacle.PROBING] * 2
    seat.succeeded(ticket, 6, 0.1)
    assert [obstacle(one, 6) for one in (seat, other)] == [None] * 2
    assert world.states() == [("able", "open"), ("able", "half-open"), ("able", "closed")]


def test_a_probe_that_fails_keeps_requests_away_for_longer():
    world = World()
    world.fail(0)
    world.fail(5, times=1)
    assert obstacle(world.seat(), 14.9) is Obstacle.BREAKER_OPEN
    assert obstacle(world.seat(), 15) is None


def test_a_probe_that_takes_too_long_lets_another_one_try():
    world = World()
    world.fail(0)
    slow = world.seat().begin(5, first=True)
    assert obstacle(world.seat(), 34.9) is Obstacle.PROBING
    assert obstacle(world.seat(), 35) is None
    second = world.seat().begin(35, first=True)
    # What the first one comes to says nothing about the second.
    world.seat().failed(slow, 36, DOWN)
    assert obstacle(world.seat(), 36) is Obstacle.PROBING
    world.seat().succeeded(second, 37, 0.1)
    assert obstacle(world.seat(), 37) is None


def test_a_stream_proves_itself_with_its_first_bytes():
    world = World()
    world.fail(0)
    ticket = world.seat().begin(5, first=True)
    ticket = world.seat().answered(ticket)
    assert obstacle(world.seat(), 5) is None
    # And still counts when it breaks off later.
    world.seat().failed(ticket, 9, DOWN)
    world.fail(9, times=2)
    assert obstacle(world.seat(), 9) is Obstacle.BREAKER_OPEN


def test_a_caller_who_leaves_is_no_evidence():
    world = World()
    world.fail(0, times=2)
    for _ in range(10):
        seat = world.seat()
        seat.abandoned(seat.begin(0, first=True), 0)
    world.fail(0, times=1)
    assert obstacle(world.seat(), 0) is Obstacle.BREAKER_OPEN
    seat.abandoned(seat.begin(5, first=True), 6)
    assert obstacle(seat, 6) is None
    assert seat.breaker.state.value == "open"


def test_calls_from_before_say_nothing_about_after():
    world = World()
    seat = world.seat()
    old = [seat.begin(0, first=True) for _ in range(6)]
    world.fail(0)
    seat.succeeded(old[0], 1, 0.1)
    assert obstacle(seat, 1) is Obstacle.BREAKER_OPEN
    probe = seat.begin(5, first=True)
    for ticket in old[1:5]:
        seat.failed(ticket, 6, DOWN)
    seat.succeeded(probe, 7, 0.1)
    assert obstacle(seat, 7) is None
    seat.failed(old[5], 8, REFUSED)
    assert obstacle(seat, 8) is None
    assert seat.key.open == 0


BENCHES = {
    "unauthorized": (problem(401), Bench.CREDENTIALS),
    "payment required": (problem(402), Bench.BALANCE),
    "forbidden": (problem(403), Bench.CREDENTIALS),
    "insufficient balance": (problem(400, "insufficient_balance"), Bench.BALANCE),
    "quota as a rate limit": (problem(429, "insufficient_quota"), Bench.BALANCE),
}


@pytest.mark.parametrize(("what", "bench"), BENCHES.values(), ids=BENCHES.keys())
def test_a_refused_credential_is_benched_with_its_reason(what, bench):
    world = World()
    world.fail(0, what, times=1)
    found = world.seat().hindrance(9.9)
    assert (found.obstacle, found.detail, found.until) == (Obstacle.BENCHED, bench.value, 10)
    # The account, whatever the model.
    assert obstacle(world.seat("small"), 9.9) is Obstacle.BENCHED
    assert [(one.subject, one.state, one.reason, one.seconds) for one in world.told] == [
        ("key 0", "benched", bench.value, 10)
    ]


def test_of_several_keys_only_the_refused_one_is_benched():
    world = World(channel("a", keys=2))
    seat, other = world.seats()
    seat.failed(seat.begin(0, first=True), 0, REFUSED)
    assert (obstacle(seat, 0), obstacle(other, 0)) == (Obstacle.BENCHED, None)
    assert {first(walk(world.snapshot, seed=seed)).seat for seed in range(20)} == {other}


def test_a_benched_key_is_probed_by_a_request_and_put_back():
    world = World()
    world.fail(0, REFUSED, times=1)
    seat = world.seat()
    ticket = seat.begin(10, first=True)
    assert (obstacle(seat, 10), obstacle(world.seat("small"), 10)) == (Obstacle.PROBING, Obstacle.PROBING)
    # Whatever is wrong with the request: the credential was accepted.
    seat.failed(ticket, 11, INVALID)
    assert (obstacle(seat, 11), obstacle(world.seat("small"), 11)) == (None, None)
    assert world.states()[-1] == ("key 0", "restored")


def test_a_key_that_is_refused_again_rests_twice_as_long():
    world = World()
    now = 0.0
    for seconds in (10, 20, 40, 40):
        world.fail(now, REFUSED, times=1)
        assert world.seat().until == now + seconds
        now += seconds
    # A failure of the provider tells nothing about the key: the same time again.
    world.fail(now, DOWN, times=1)
    assert (obstacle(world.seat(), now), world.seat().until) == (Obstacle.BENCHED, now + 40)


def test_benches_can_be_switched_off():
    world = World(policy=HealthPolicy(bench_first=0, consecutive_failures=3))
    world.fail(0, REFUSED, times=2)
    assert obstacle(world.seat(), 0) is None
    world.fail(0, REFUSED, times=1)
    assert obstacle(world.seat(), 0) is Obstacle.BREAKER_OPEN


def test_retry_after_is_waited_for():
    world = World(channel("a", "able", "small", keys=2))
    seat, other = world.seats()
    seat.failed(seat.begin(0, first=True), 0, problem(429, wait_ms=7000))
    assert (obstacle(seat, 6.9), obstacle(seat, 7)) == (Obstacle.RESTING, None)
    # Of this key and this model, not of others; a shorter wait does not end a longer one.
    assert (obstacle(other, 0), obstacle(world.seat("small"), 0)) == (None, None)
    late = seat.begin(0, first=True)
    seat.failed(late, 1, problem(429, wait_ms=2000))
    assert seat.until == 7
    seat.succeeded(seat.begin(7, first=True), 8, 0.1)
    assert seat.until == 0


def test_limits_that_name_no_time_open_the_breaker():
    world = World()
    world.fail(0, problem(429), times=3)
    assert obstacle(world.seat(), 0) is Obstacle.BREAKER_OPEN
    world = World()
    world.fail(0, problem(429, wait_ms=1), times=30)
    assert obstacle(world.seat(), 1) is None


def test_a_provider_that_is_down_until_some_time_is_down():
    world = World()
    world.fail(0, problem(503, wait_ms=2000), times=3)
    assert obstacle(world.seat(), 2) is Obstacle.BREAKER_OPEN


def test_answers_that_blame_the_caller_are_answers():
    world = World()
    world.fail(0, DOWN, times=2)
    world.fail(0, INVALID, times=5)
    world.fail(0, DOWN, times=2)
    assert obstacle(world.seat(), 0) is None


MODES = {Mode.DRAINING: Obstacle.DRAINING, Mode.DISABLED: Obstacle.DISABLED}


@pytest.mark.parametrize(("mode", "held"), MODES.items())
def test_an_operator_holds_a_channel_back(mode, held):
    world = World(channel("a"), channel("b"))
    seat = world.seat()
    under_way = seat.begin(0, first=True)
    world.health.set_mode("a", mode, "maintenance")
    found = world.seat().hindrance(1e9)
    assert (found.obstacle, found.detail, found.until) == (held, "maintenance", inf)
    assert path(world.snapshot) == ["b"]
    # It stays so across versions, also when the channel was away meanwhile.
    world.publish([channel("b")])
    world.publish(*world.declared)
    assert obstacle(world.seat(), 0) is held
    world.health.set_mode("a", Mode.ENABLED, "")
    assert obstacle(world.seat(), 0) is None
    # It may be said before the channel can be used.
    world.health.set_mode("later", mode, "")
    world.publish([channel("later")])
    assert obstacle(world.seat(name="later"), 0) is held
    seat.succeeded(under_way, 1, 0.1)
    assert seat.key.open == 0


def test_enabling_forgets_what_held_it_back():
    world = World()
    world.fail(0)
    world.fail(0, REFUSED, times=1, model="small")
    world.health.set_mode("a", Mode.ENABLED, "")
    assert [obstacle(world.seat(model), 0) for model in ("able", "small")] == [None, None]


def test_modes_are_there_from_the_start():
    world = World(modes={"a": (Mode.DISABLED, "stolen")})
    assert world.seat().hindrance(0).detail == "stolen"


def test_what_was_learned_is_kept_across_versions():
    world = World()
    world.fail(0)
    seat = world.seat()
    world.publish([channel("a", "able", weight=7), channel("b")])
    assert world.seat() is seat
    assert obstacle(seat, 1) is Obstacle.BREAKER_OPEN
    # A model that is gone is forgotten.
    world.publish([channel("a", "small")])
    world.publish(*world.declared)
    assert obstacle(world.seat(), 1) is None
    world.fail(1, REFUSED, times=1)
    world.publish([channel("b")])
    assert [one.name for one in world.health.channels()] == ["b"]


def test_a_new_secret_and_a_new_address_begin_anew():
    world = World()
    world.fail(0, REFUSED, times=1)
    renewed = channel("a", "able") | {"credentials": [{"env": "OTHER"}]}
    world.publish([renewed])
    assert obstacle(world.seat(), 1) is None
    world.fail(1)
    assert obstacle(world.seat(), 1) is Obstacle.BREAKER_OPEN
    world.publish([renewed | {"base_url": "https://elsewhere.example"}])
    assert obstacle(world.seat(), 1) is None


def test_an_active_probe_that_fails_often_enough_holds_a_channel_back():
    world = World(policy=HealthPolicy(probe_failures=2))
    health = world.snapshot.ready["a"].health
    health.probed("no answer")
    assert obstacle(world.seat(), 0) is None
    health.probed("no answer")
    found = world.seat().hindrance(0)
    assert (found.obstacle, found.detail) == (Obstacle.PROBE_FAILS, "no answer")
    health.probed("no answer")
    health.probed("")
    assert obstacle(world.seat(), 0) is None
    assert world.states() == [("channel", "probe fails"), ("channel", "probe answered")]


# Things that happen beside a call under way and change neither the breaker of its model nor its credential.
BESIDE = {
    "an active probe is answered": lambda world: world.snapshot.ready["a"].health.probed(""),
    "active probes fail": lambda world: [world.snapshot.ready["a"].health.probed("no answer") for _ in range(3)],
    "a rest of the same model and key ends": lambda world: rest(world, "able"),
    "a rest of another model ends": lambda world: rest(world, "small"),
    "the breaker of another model opens": lambda world: world.fail(1, model="small"),
    "an operator drains the channel": lambda world: world.health.set_mode("a", Mode.DRAINING, ""),
}


def rest(world, model):
    """The provider asks for a pause of a second, and is asked again after it."""
    world.fail(1, problem(429, wait_ms=1000), times=1, model=model)
    seat = world.seat(model)
    seat.abandoned(seat.begin(2, first=True), 2)


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE.keys())
def test_a_call_counts_whatever_happened_beside_it(beside):
    world = World(policy=HealthPolicy(consecutive_failures=3, probe_failures=3))
    seat = world.seat()
    under_way = [seat.begin(0, first=True) for _ in range(3)]
    beside(world)
    for ticket in under_way:
        seat.failed(ticket, 300, DOWN)
    assert world.states()[-1] == ("able", "open")


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE.keys())
def test_a_long_success_ends_a_row_of_failures_whatever_happened_beside_it(beside):
    world = World()
    world.fail(0, times=2)
    long = world.seat().begin(0, first=True)
    beside(world)
    world.seat().succeeded(long, 300, 0.1)
    world.fail(300, times=2)
    assert ("able", "open") not in world.states()


def test_a_request_that_probes_counts_though_an_active_probe_came_meanwhile():
    world = World()
    world.fail(0)
    ticket = world.seat().begin(5, first=True)
    world.snapshot.ready["a"].health.probed("")
    world.seat().succeeded(ticket, 6, 0.1)
    assert obstacle(world.seat(), 6) is None
    world.fail(6, REFUSED, times=1)
    ticket = world.seat().begin(16, first=True)
    world.snapshot.ready["a"].health.probed("")
    world.seat().failed(ticket, 17, REFUSED)
    assert world.seat().until == 17 + 20


def test_what_an_operator_forgave_is_not_counted_again():
    world = World()
    seat = world.seat()
    under_way = [seat.begin(0, first=True) for _ in range(3)]
    world.health.set_mode("a", Mode.ENABLED, "")
    for ticket in under_way:
        seat.failed(ticket, 1, DOWN)
    assert obstacle(seat, 1) is None


EVENTS = st.lists(st.tuples(st.sampled_from("bsfrlxia"), st.integers(0, 30)), max_size=80)
FAULTS = {"f": DOWN, "r": REFUSED, "l": problem(429, wait_ms=3000), "i": INVALID}


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.integers(1, 3))
def test_every_call_that_begins_is_counted_once_and_nothing_is_away_for_ever(events, keys):
    world = World(channel("a", "able", "small", keys=keys), routes=[route("able", ["a"])])
    seats = [*world.seats(), *world.seats("small")]
    now, begun = 0.0, []
    for number, (event, value) in enumerate(events):
        seat = seats[value % len(seats)]
        if event == "a":
            now += value
        elif event == "b" or not begun:
            if seat.hindrance(now) is None:
                begun.append((seat, seat.begin(now, first=True)))
        else:
            seat, ticket = begun.pop(value % len(begun))
            if event == "s":
                seat.succeeded(ticket, now, 0.1)
            elif event in FAULTS:
                seat.failed(ticket, now, FAULTS[event])
            else:
                seat.abandoned(ticket, now)
        assert sum(key.open for key in world.snapshot.ready["a"].health.keys.values()) == len(begun)
        assert sum(seat.open for seat in world.snapshot.ready["a"].health.seats.values()) == len(begun)
        for one in seats:
            assert one.until < inf
            assert (one.hindrance(now) is None) == (one.until <= now), number
    # Every time ends: after the longest one a request may go everywhere, and a good answer makes all well again.
    now += 1000
    for one in seats:
        assert one.hindrance(now) is None
    for one in seats:
        one.succeeded(one.begin(now, first=True), now, 0.1)
    assert all(one.until == 0 for one in seats)


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.integers(1, 3))
def test_active_probes_that_are_answered_change_nothing_of_what_calls_tell(events, keys):
    worlds = [World(channel("a", "able", "small", keys=keys)) for _ in range(2)]
    now, begun = 0.0, []
    for event, value in events:
        if event == "a":
            now += value
        elif event == "b" or not begun:
            seats = [[*world.seats(), *world.seats("small")][value % (2 * keys)] for world in worlds]
            if seats[0].hindrance(now) is None:
                begun.append([(seat, seat.begin(now, first=True)) for seat in seats])
        else:
            for seat, ticket in begun.pop(value % len(begun)):
                if event == "s":
                    seat.succeeded(ticket, now, 0.1)
                elif event in FAULTS:
                    seat.failed(ticket, now, FAULTS[event])
                else:
                    seat.abandoned(ticket, now)
        # Only the second one is probed.
        worlds[1].snapshot.ready["a"].health.probed("")
        assert worlds[0].told == worlds[1].told
        untils = [[seat.until for seat in (*world.seats(), *world.seats("small"))] for world in worlds]
        assert untils[0] == untils[1]


def test_a_channel_that_is_gone_is_free_without_the_collector():
    import gc
    import weakref

    class Told:
        def __call__(self, change):
            pass

    told = Told()
    health = Health(POLICY, told)
    snapshot([channel("a", "able", "small", keys=2)], health=health)
    trace = weakref.ref(told)
    del told
    gc.disable()
    try:
        snapshot([channel("b")], health=health)
        (left,) = health.channels()
        left.notify = health._notify = None
        assert trace() is None
    finally:
        gc.enable()


def test_what_is_held_back_is_counted_by_channel_and_reason():
    world = World(channel("a", "able", "small", keys=3), channel("b"), channel("c"), channel("d"))
    world.fail(0)
    for seat in world.seats()[:2]:
        seat.failed(seat.begin(5, first=True), 5, REFUSED)
    world.health.set_mode("b", Mode.DRAINING, "")
    for _ in range(3):
        world.snapshot.ready["c"].health.probed("no answer")
    held = world.health.held(6)
    assert held == {("a", "benched"): 2, ("b", "draining"): 1, ("c", "probe_fails"): 1}
    world = World()
    world.fail(0)
    assert world.health.held(1) == {("a", "breaker_open"): 1}
    assert world.health.held(6) == {}
