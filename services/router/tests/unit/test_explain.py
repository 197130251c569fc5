"""Explanations: a row for every target and why, and never another story than the choice itself tells."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import ask, channel, first, problem, route, snapshot, walk

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import router_pb2
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_router.api.admin import RouterAdmin
from tollgate_router.domain.explain import Verdict, explain
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.health.states import Mode

pytestmark = pytest.mark.unit

DOWN = problem(503)
IMAGE = b'{"messages":[{"content":[{"type":"image_url"}]}],"user":"u"}'


def rows(explanation):
    return {
        (one.model, one.level, one.channel, one.key): (one.verdict.value, one.reason) for one in explanation.targets
    }


def explained(found, asked=None, now=0.0, seed=1):
    way = walk(found, asked, seed)
    return explain(found, way, first(way, now), now)


def fail(found, name, what, times=1, model="able"):
    seats = [seat for seat in found.ready[name].health.seats.values() if seat.model.name == model]
    for _ in range(times):
        seats[0].failed(seats[0].begin(0.0, first=True), 0.0, what)


def test_every_reason_has_a_row():
    health = Health(HealthPolicy(bench_first=10, open_first=5))
    names = ["no-key", "other-group", "weightless", "elsewhere", "blind", "draining", "disabled", "benched", "broken"]
    channels = [
        channel("no-key", region="eu"),
        channel("other-group", groups=["research"], region="eu"),
        channel("weightless", region="eu"),
        channel("elsewhere", region="us"),
        channel("blind", {"name": "able", "abilities": ["tools"]}, region="eu"),
        *(channel(name, region="eu") for name in names[5:]),
        channel("resting", region="eu", keys=2),
        channel("next", region="eu"),
        channel("canary", region="eu"),
    ]
    declared = route(
        "able",
        [*[one for one in names if one != "weightless"], ("weightless", 0), "resting"],
        ["next"],
        strategy="least_busy",
        regions=["eu"],
        affinity="user",
        canary={"percent": 0.01, "targets": [{"channel": "canary"}]},
    )
    found = snapshot(channels, [declared], health=health, missing=["KEY_no_key_0"])
    health.set_mode("draining", Mode.DRAINING, "moving house")
    health.set_mode("disabled", Mode.DISABLED, "stolen")
    fail(found, "benched", problem(402))
    fail(found, "broken", DOWN, 10)
    fail(found, "resting", problem(429, wait_ms=4000))
    explanation = explained(found, ask(body=IMAGE, api_key_id="k"), now=1.0)
    assert rows(explanation) == {
        ("able", 0, "canary", 0): ("out", "canary"),
        ("able", 1, "no-key", 0): ("out", "channel"),
        ("able", 1, "other-group", 0): ("out", "route_group"),
        ("able", 1, "weightless", 0): ("out", "weight"),
        ("able", 1, "elsewhere", 0): ("out", "region"),
        ("able", 1, "blind", 0): ("out", "image_input"),
        ("able", 1, "draining", 0): ("out", "draining"),
        ("able", 1, "disabled", 0): ("out", "disabled"),
        ("able", 1, "benched", 0): ("out", "benched"),
        ("able", 1, "broken", 0): ("out", "breaker_open"),
        ("able", 1, "resting", 0): ("out", "resting"),
        ("able", 1, "resting", 1): ("taken", ""),
        ("able", 2, "next", 0): ("possible", ""),
    }
    said = {one.channel: (one.detail, one.wait_ms) for one in explanation.targets if one.detail and not one.key}
    assert said["no-key"][0] == "environment variable KEY_no_key_0 is empty or not there"
    assert said["draining"] == ("moving house", 0)
    assert said["benched"] == ("the provider's account has no balance", 9000)
    assert said["broken"] == ("upstream_unavailable", 4000)
    assert (explanation.strategy, explanation.affinity, explanation.bound, explanation.canary) == (
        "least_busy", "user", True, False,
    )  # fmt: skip
    assert explanation.needs == ("image_input",)
    assert explanation.config_digest == found.digest


def test_a_way_that_fell_back_is_told():
    found = snapshot(
        [channel("a", keys=2), channel("b"), channel("s", "small")],
        [route("able", ["a"], ["b"], fallbacks={"rate_limit": ["small"]})],
    )
    way = walk(found)
    target = first(way)
    for what in (DOWN, DOWN, problem(429)):
        target = way.after(what, target, 0.0)
    explanation = explain(found, way, target, 0.0)
    assert rows(explanation) == {
        ("able", 1, "a", 0): ("failed", "upstream_unavailable"),
        ("able", 1, "a", 1): ("failed", "upstream_unavailable"),
        ("able", 2, "b", 0): ("failed", "upstream_rate_limited"),
        ("small", 1, "s", 0): ("taken", ""),
    }
    assert (explanation.model, explanation.fallback_model, explanation.fallback_reason) == (
        "able", "small", "rate_limit",
    )  # fmt: skip


def test_who_cannot_be_told_what_is_asked_is_out_with_the_field():
    channels = [channel("a", provider="anthropic", keys=2), channel("b"), channel("c", provider="anthropic")]
    found = snapshot(channels, [route("able", ["a"], ["b"], ["c"])])
    body = b'{"messages":[{"role":"user","content":"Hi"}],"logprobs":true}'
    way = walk(found, ask(body=body), written=True)
    target = first(way)
    explanation = explain(found, way, target, 0.0)
    assert rows(explanation) == {
        ("able", 1, "a", 0): ("out", "wire"),
        ("able", 1, "a", 1): ("out", "wire"),
        ("able", 2, "b", 0): ("taken", ""),
        ("able", 3, "c", 0): ("out", "wire"),
    }
    assert {one.detail for one in explanation.targets if one.reason == "wire"} == {"logprobs"}


def test_nothing_usable_is_told():
    found = snapshot([channel("a")])
    fail(found, "a", problem(429, wait_ms=5000))
    explanation = explained(found, now=1.0)
    assert rows(explanation) == {("able", 1, "a", 0): ("out", "resting")}
    assert (explanation.refusal, explanation.retry_after_ms) == ("No channel for 'able' is usable now.", 4000)


def test_what_nobody_is_known_to_be_able_to_do_is_told():
    found = snapshot([channel("a", "plain"), channel("b", "plain")])
    explanation = explained(found, ask("plain", IMAGE))
    assert explanation.unmet == ()
    mixed = snapshot([channel("a", "able", {"name": "plain", "abilities": ["tools"]}), channel("b", "plain")])
    body = b'{"messages":[],"tools":[1],"response_format":{"type":"json_schema"}}'
    explanation = explained(mixed, ask("plain", body))
    assert (explanation.needs, explanation.unmet) == (("tools", "structured_output"), ())
    assert rows(explanation) == {("plain", 1, "a", 0): ("taken", ""), ("plain", 1, "b", 0): ("out", "tools")}


def test_many_targets_are_cut_short_and_the_taken_one_is_there():
    found = snapshot([channel(f"c{number}") for number in range(400)])
    for seed in range(5):
        explanation = explained(found, seed=seed)
        assert (len(explanation.targets), explanation.omitted) == (100, 300)
        assert [one.verdict for one in explanation.targets].count(Verdict.TAKEN) == 1


FAULTS = [DOWN, problem(401), problem(429), problem(429, wait_ms=3000)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(FAULTS), st.integers(1, 10)), max_size=6),
    st.sampled_from(["weighted", "least_busy", "lowest_latency", "cheapest"]),
    st.sampled_from([None, "user"]),
    st.sampled_from([b'{"messages":[],"user":"u"}', IMAGE]),
    st.integers(0, 1000),
)
def test_what_is_possible_is_where_a_request_would_go(history, strategy, affinity, body, seed):
    channels = [channel("a", keys=2), channel("b", {"name": "able", "abilities": []}), channel("c"), channel("d")]
    declared = route(
        "able", ["a", "b"], ["c", ("d", 0)], strategy=strategy, affinity=affinity,
        canary={"percent": 50, "targets": [{"channel": "d"}]},
    )  # fmt: skip
    policy = HealthPolicy(consecutive_failures=3, retry_floor=1000)
    found = snapshot(channels, [declared], health=Health(policy))
    for name, what, times in history:
        fail(found, name, what, times)
    asked = ask(body=body, api_key_id=f"k{seed}")
    explanation = explained(found, asked, seed=seed)
    way = walk(found, asked, seed)
    target = first(way)
    reached = []
    while target is not None:
        reached.append((target.channel, target.key_index))
        target = way.after(DOWN, target, 0.0)
    taken = [(one.channel, one.key) for one in explanation.targets if one.verdict is Verdict.TAKEN]
    possible = {(one.channel, one.key) for one in explanation.targets if one.verdict is Verdict.POSSIBLE}
    assert taken == reached[:1]
    assert possible == set(reached[1:])
    assert bool(explanation.refusal) == (not reached)
    assert len(explanation.targets) == 6


async def asked_of(router, snapshot, **question):
    """Returns verdict and reason by channel, and the explanation, as an operator gets it."""
    admin = RouterAdmin(router.deps, dict, Health(HealthPolicy()), lambda _: None)
    router.deps.snapshot = snapshot
    question = {"model": "able", "route_group": "default"} | question
    reply = await admin.ExplainRoute(router_pb2.ExplainRouteRequest(**question), SimpleNamespace())
    found = {
        one.channel: (routing.Verdict.Name(one.verdict).removeprefix("VERDICT_").lower(), one.reason)
        for one in reply.explanation.targets
    }
    return found, reply.explanation


BLIND = [channel("blind", {"name": "able", "abilities": ["tools"]}), channel("sees")]
PIXEL = "iVBORw0KGgo="
SEEN = {
    wire.DIALECT_OPENAI_CHAT: {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:;base64,{PIXEL}"}}]}
        ]
    },
    wire.DIALECT_OPENAI_RESPONSES: {
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": f"data:;base64,{PIXEL}"}]}]
    },
    wire.DIALECT_ANTHROPIC: {
        "max_tokens": 9,
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}],
            }
        ],
    },
    wire.DIALECT_GEMINI: {
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}]}]
    },
}


@pytest.mark.parametrize("dialect", SEEN, ids=wire.Dialect.Name)
async def test_a_request_of_each_dialect_is_explained_as_it_goes(tmp_path, dialect):
    found = snapshot(BLIND)
    router = Router(tmp_path, found)
    body = json.dumps(SEEN[dialect]).encode()
    said, explanation = await asked_of(router, found, dialect=dialect, body=body)
    router.open(dialect=dialect, body=body)
    assert said == {"blind": ("out", "image_input"), "sees": ("taken", "")}
    assert list(explanation.needs) == ["image_input"]
    assert router.upstream.calls[0].target.channel == "sees"


async def test_a_target_whose_provider_does_not_serve_the_operation_is_out(tmp_path):
    gemini = channel("gemini", provider="gemini")
    found = snapshot([gemini, channel("ranks")], [route("able", ["gemini"], ["ranks"])])
    router = Router(tmp_path, found)
    said, _ = await asked_of(router, found, operation=wire.OPERATION_RERANK)
    assert said == {"gemini": ("out", "operation"), "ranks": ("taken", "")}
    said, explanation = await asked_of(router, snapshot([gemini]), operation=wire.OPERATION_RERANK)
    assert said == {"gemini": ("out", "operation")}
    assert explanation.refusal == "No provider of 'able' serves this: rerank."
    # As a request is refused.
    router.open(operation=wire.OPERATION_RERANK, body=b'{"query":"q","documents":["d"]}')
    assert router.end().error.message == explanation.refusal


async def test_a_completion_that_becomes_a_chat_is_possible_at_who_chats(tmp_path):
    found = snapshot([channel("gemini", provider="gemini")])
    said, _ = await asked_of(Router(tmp_path, found), found, operation=wire.OPERATION_COMPLETION)
    assert said == {"gemini": ("taken", "")}


def test_a_fallback_model_is_asked_of_providers_that_serve_the_operation():
    found = snapshot(
        [channel("a"), channel("g", "small", provider="gemini"), channel("s", "small"), channel("d", "plain")],
        [route("able", ["a"], fallbacks={"error": ["small", "plain"]}), route("small", ["g"], ["s"])],
    )
    way = walk(found, ask(operation=wire.OPERATION_RERANK))
    target = way.after(DOWN, first(way), 0.0)
    assert target.channel == "s"
    assert rows(explain(found, way, target, 0.0)) == {
        ("able", 1, "a", 0): ("failed", "upstream_unavailable"),
        ("small", 1, "g", 0): ("out", "operation"),
        ("small", 2, "s", 0): ("taken", ""),
    }
