"""Active probes: when they are sent, with which credential, and what their answers do to a channel."""

import asyncio
import json
import random

import pytest
from services.router.tests.fakes.probes import FakeProbePort
from services.router.tests.fakes.versions import channel, problem, snapshot

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.health.states import Mode, Obstacle
from tollgate_router.domain.upstream_errors import problem_of_failure
from tollgate_router.use_cases.probe_channels import ProbeChannels

pytestmark = pytest.mark.unit

POLICY = HealthPolicy(consecutive_failures=3, open_first=1000, open_last=1000, bench_first=1000, bench_last=1000)
LIST, TOKEN = {"interval_seconds": 10}, {"interval_seconds": 10, "model": "able"}


class World:
    def __init__(self, *channels, answers=(200,)):
        self.health = Health(POLICY)
        self.port = FakeProbePort(*answers)
        self.clock = ManualClock()
        self.probes = ProbeChannels(self.port, self.clock, random.Random(1))
        self.publish(*channels)

    def publish(self, *channels):
        self.snapshot = snapshot(channels, health=self.health)
        self.probes.follow(self.snapshot)

    async def after(self, seconds):
        self.clock.advance(seconds)
        await self.probes.round()

    def seat(self, name="a", key=0):
        seats = self.snapshot.ready[name].health.seats.values()
        return next(seat for seat in seats if seat.key.number == key and seat.model.name == "able")

    def obstacle(self, **which):
        found = self.seat(**which).hindrance(self.clock.monotonic())
        return None if found is None else found.obstacle

    def fail(self, what, times=1, **which):
        seat = self.seat(**which)
        for _ in range(times):
            seat.failed(seat.begin(self.clock.monotonic(), first=True), self.clock.monotonic(), what)


async def test_probes_are_sent_at_their_interval():
    world = World(channel("a", probe=LIST), channel("b", probe={"interval_seconds": 20}), channel("c"))
    assert 0 <= world.probes.next_due() < 20
    for _ in range(10):
        await world.after(10)
    asked = [name for name, *_ in world.port.asked]
    assert (asked.count("a"), asked.count("b"), asked.count("c")) == (10, 5, 0)
    assert {one[2:] for one in world.port.asked} == {(b"GET", b"/models", b"")}
    assert (world.probes.sent, world.probes.failed) == (15, 0)


async def test_one_token_is_asked_for_where_a_model_is_named():
    world = World(channel("a", {"name": "able", "upstream": "able-1"}, probe=TOKEN))
    await world.after(10)
    ((_, _, method, path, body),) = world.port.asked
    assert (method, path) == (b"POST", b"/chat/completions")
    assert (json.loads(body)["model"], json.loads(body)["max_tokens"]) == ("able-1", 1)


async def test_credentials_are_asked_in_turn_and_benched_ones_every_time():
    world = World(channel("a", keys=3, probe=LIST), answers=(200, 200, 200, 401))
    for _ in range(3):
        await world.after(10)
    assert [key for _, key, *_ in world.port.asked] == [0, 1, 2]
    world.fail(problem(401), key=1)
    await world.after(10)
    assert [key for _, key, *_ in world.port.asked[3:]] == [0, 1]
    # Whoever was refused now is benched by the probe alone.
    assert [world.obstacle(key=key) for key in range(3)] == [Obstacle.BENCHED, Obstacle.BENCHED, None]


async def test_three_probes_without_an_answer_hold_a_channel_back_and_one_puts_it_back():
    world = World(channel("a", probe=LIST), answers=(0, 503, 0, 0, 200))
    held = []
    for _ in range(5):
        await world.after(10)
        held.append(world.obstacle())
    assert held == [None, None, Obstacle.PROBE_FAILS, Obstacle.PROBE_FAILS, None]
    assert world.probes.failed == 4


ANSWERS = {
    "a list shows that the credential is accepted": (LIST, 401, 200, None),
    "a list shows no balance": (LIST, 402, 200, Obstacle.BENCHED),
    "a token shows a balance": (TOKEN, 402, 200, None),
    "a list shows nothing of a clock": (LIST, "403 RequestTimeTooSkewed", 200, Obstacle.BENCHED),
    "a token shows a clock that is right": (TOKEN, "403 RequestTimeTooSkewed", 200, None),
    "no list is an answer": (LIST, 401, 404, None),
    "a refused token is none": (TOKEN, 401, 401, Obstacle.BENCHED),
    "a limit is an answer": (LIST, 401, 429, None),
    "a failure tells nothing of the credential": (LIST, 401, 503, Obstacle.BENCHED),
}


@pytest.mark.parametrize(("probe", "before", "answer", "held"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_bench_ends_with_the_answer_that_shows_it(probe, before, answer, held):
    world = World(channel("a", probe=probe), answers=(answer,))
    status, _, code = str(before).partition(" ")
    world.fail(problem(int(status), code))
    assert world.obstacle() is Obstacle.BENCHED
    await world.after(10)
    assert world.obstacle() is held


@pytest.mark.parametrize(("probe", "before"), [(LIST, 401), (TOKEN, 402), (TOKEN, 503)])
async def test_a_probe_that_never_left_tells_nothing(probe, before):
    world = World(channel("a", probe=probe), answers=(-1,))
    world.fail(problem(before), times=1 if before < 500 else 3)
    held = world.obstacle()
    await world.after(10)
    assert world.obstacle() is held
    # Nor does it end a row of probes without an answer.
    world = World(channel("a", probe=probe), answers=(0, 0, -1, 0))
    for _ in range(4):
        await world.after(10)
    assert world.obstacle() is Obstacle.PROBE_FAILS


async def test_a_credential_without_a_token_waits_for_one_whatever_a_probe_is_answered():
    world = World(channel("a", probe=TOKEN), answers=(200,))
    world.fail(problem_of_failure(UpstreamFailure(FailureKind.NO_PROOF, sent=False)))
    await world.after(10)
    assert world.obstacle() is Obstacle.BENCHED


@pytest.mark.parametrize(("probe", "held"), [(LIST, Obstacle.BREAKER_OPEN), (TOKEN, None)])
async def test_a_token_closes_the_breaker_of_its_model(probe, held):
    world = World(channel("a", probe=probe))
    world.fail(problem(503), times=3)
    await world.after(10)
    assert world.obstacle() is held


async def test_a_provider_that_lists_its_models_while_its_chat_stands_still_gets_no_more_requests():
    world = World(channel("a", probe=LIST))
    seat = world.seat()
    under_way = [seat.begin(world.clock.monotonic(), first=True) for _ in range(3)]
    for _ in range(30):
        await world.after(10)
    assert len(world.port.asked) >= 29
    silence = problem_of_failure(UpstreamFailure(FailureKind.FIRST_BYTE_TIMEOUT, sent=True))
    for ticket in under_way:
        seat.failed(ticket, world.clock.monotonic(), silence)
    assert world.obstacle() is Obstacle.BREAKER_OPEN


async def test_what_is_disabled_is_not_probed_and_what_drains_is():
    world = World(channel("a", probe=LIST), channel("b", probe=LIST))
    world.health.set_mode("a", Mode.DISABLED, "")
    world.health.set_mode("b", Mode.DRAINING, "")
    await world.after(10)
    assert [name for name, *_ in world.port.asked] == ["b"]


async def test_a_publish_keeps_the_time_of_those_that_stay():
    world = World(channel("a", probe=LIST), channel("b", probe=LIST))
    await world.after(10)
    due = world.probes.next_due()
    world.publish(channel("a", probe=LIST, weight=2))
    assert world.probes.next_due() == due
    world.publish(channel("a"))
    assert world.probes.next_due() is None
    await world.after(100)
    assert len(world.port.asked) == 2


async def test_it_runs_until_told_to_stop():
    world = World(channel("a", probe=LIST))
    stopping = asyncio.Event()
    world.clock.advance(10)
    running = asyncio.create_task(world.probes.run(stopping))
    await asyncio.wait_for(world.port.first.wait(), 30)
    stopping.set()
    await running
    assert len(world.port.asked) == 1
