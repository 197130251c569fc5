"""Who may serve what: groups, weights, credentials, abilities, context, region and dialect."""

from dataclasses import replace

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import ask, channel, first, path, problem, route, snapshot, walk

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.abilities import AUDIO, FILES, IMAGES, SCHEMA, TOOLS, VIDEO, needs_of, tokens_of
from tollgate_router.domain.candidates import Candidates
from tollgate_router.domain.choice import Level
from tollgate_router.domain.explain import Verdict, explain
from tollgate_router.domain.openai_chat import read_body

pytestmark = pytest.mark.unit

DOWN = problem(503)


def names(found, model="able", group="default"):
    candidates = found.route(group, model)
    return None if candidates is None else [target.channel for target in candidates.targets()]


def test_a_model_without_a_route_is_served_by_all_that_offer_it():
    found = snapshot([channel("a"), channel("b", "small"), channel("c", {"name": "able", "upstream": "x"})])
    assert names(found) == ["a", "c"]
    assert [target.upstream_model for target in found.route("default", "able").targets()] == ["able", "x"]
    assert names(found, "unknown") is None


def test_groups_see_their_own_channels():
    found = snapshot(
        [channel("a"), channel("b", groups=["research"]), channel("c", groups=["default", "research"])],
        [route("able", ["a", "b"], ["c"])],
    )
    assert names(found) == ["a", "c"]
    assert names(found, group="research") == ["b", "c"]
    assert names(found, group="other") is None


def test_what_cannot_be_sent_to_is_left_out_and_says_why():
    channels = [channel("a"), channel("b", keys=2), channel("c", enabled=False), channel("d", provider="free", keys=0)]
    found = snapshot(channels, [route("able", ["a", "b", "c", "d"])], missing=["KEY_a_0", "KEY_b_0"])
    assert names(found) == ["b", "d"]
    assert {state.name: (bool(state.problem), state.key_count) for state in found.channels} == {
        "a": (True, 0),
        "b": (False, 1),
        "c": (True, 0),
        "d": (False, 1),
    }
    assert next(state.problem for state in found.channels if state.name == "c") == "it is disabled in the configuration"


def test_a_model_whose_channels_are_out_of_order_is_there_all_the_same():
    found = snapshot([channel("a"), channel("b", "small", groups=["research"])], missing=["KEY_a_0", "KEY_b_0"])
    assert found.route("default", "able") is None
    kind, words = found.unserved("default", "able")
    assert (kind, "can be used now" in words) == (errors.ERROR_KIND_UNAVAILABLE, True)
    for model in ("small", "nobody-offers-it"):
        kind, words = found.unserved("default", model)
        assert (kind, "No channel serves" in words) == (errors.ERROR_KIND_MODEL_NOT_FOUND, True)


def test_a_routes_targets_may_name_what_the_channel_does_not_offer():
    found = snapshot([channel("a", "small")], [route("able", [{"channel": "a", "upstream": "vendor/able"}])])
    assert [target.upstream_model for target in found.route("default", "able").targets()] == ["vendor/able"]


def test_a_route_may_be_bound_to_regions():
    channels = [channel("a", region="eu"), channel("b", region="us"), channel("c")]
    assert names(snapshot(channels, [route("able", ["a", "b"], ["c"], regions=["eu"])])) == ["a"]


def test_channels_whose_provider_does_not_serve_an_operation_are_left_out():
    chat = frozenset({wire.OPERATION_CHAT})
    serves = {"a": chat, "b": chat | {wire.OPERATION_RERANK}, "c": None}
    found = snapshot([channel(name) for name in serves], [route("able", ["a", "b"], ["c"])])
    candidates = found.route("default", "able")
    levels = [
        Level(
            [replace(target, operations=serves[target.channel]) for target in one.targets],
            number=one.number,
            strategy=one.strategy,
        )
        for one in candidates.base.levels
    ]
    some = Candidates(levels)
    assert some.serving(wire.OPERATION_CHAT) is some
    ranking = some.serving(wire.OPERATION_RERANK)
    assert [target.channel for target in ranking.targets()] == ["b", "c"]
    # Made once.
    assert some.serving(wire.OPERATION_RERANK) is ranking
    assert Candidates(levels[:1]).serving(wire.OPERATION_SPEECH).targets() == []


class Counted(frozenset):
    """What a provider serves; counts how often it is asked."""

    asked = 0

    def __contains__(self, operation):
        type(self).asked += 1
        return super().__contains__(operation)


@pytest.mark.parametrize("known", [{wire.OPERATION_CHAT, wire.OPERATION_RERANK}, {wire.OPERATION_CHAT}])
def test_who_serves_an_operation_is_looked_for_once(known):
    one = snapshot([channel("a")]).route("default", "able").targets()[0]
    many = Candidates([Level([replace(one, operations=Counted(known)) for _ in range(300)])])
    served = many.serving(wire.OPERATION_RERANK)
    Counted.asked = 0
    for _ in range(10):
        assert many.serving(wire.OPERATION_RERANK) is served
    assert Counted.asked <= 10


def test_a_chat_that_no_provider_serves_is_refused(tmp_path):
    router = Router(tmp_path, snapshot([channel("ranks", provider="jina", models=["able"])]))
    router.open()
    end = router.end()
    assert (end.outcome, end.attempts, router.upstream.calls) == (wire.OUTCOME_REFUSED, 0, [])
    assert (end.error.kind, "serves this: chat" in end.error.message) == (errors.ERROR_KIND_INVALID_REQUEST, True)
    # What it does serve is asked of it.
    router.open(operation=wire.OPERATION_RERANK, body=b'{"query":"a","documents":["b"]}')
    assert len(router.upstream.calls) == 1


def test_a_chat_goes_to_no_provider_that_serves_none():
    channels = [channel("ranks", provider="jina", models=["able"]), channel("chats")]
    for name in ("ranks", "chats"):
        alone = snapshot([one for one in channels if one["name"] == name])
        served = alone.serving("default", "able", wire.OPERATION_CHAT).targets()
        assert [target.channel for target in served] == ["chats"] * (name == "chats")
    found = snapshot(channels, [route("able", ["ranks"], ["chats"])])
    assert path(found) == ["chats"]
    way = walk(found)
    out = [row for row in explain(found, way, first(way), 0.0).targets if row.channel == "ranks"]
    assert [(row.verdict, row.reason) for row in out] == [(Verdict.OUT, "operation")]
    # Nor by a fallback.
    fallbacks = {"error": ["odd"]}
    channels[0]["models"] = ["odd"]
    found = snapshot(channels, [route("able", ["chats"], fallbacks=fallbacks), route("odd", ["ranks"])])
    assert path(found, DOWN) == ["chats"]


def test_a_completion_goes_to_who_completes_and_else_to_who_chats():
    some = snapshot([channel("a"), channel("b"), channel("c")]).route("default", "able").targets()

    def level(*operations):
        pairs = zip(some, operations, strict=True)
        return Level([replace(target, operations=frozenset(found)) for target, found in pairs])

    chat, completion = wire.OPERATION_CHAT, wire.OPERATION_COMPLETION
    both = Candidates([level([chat], [chat, completion], [])])
    assert [target.channel for target in both.serving(completion).targets()] == ["b"]
    chats = Candidates([level([chat], [wire.OPERATION_RERANK], [])])
    assert [target.channel for target in chats.serving(completion).targets()] == ["a"]
    assert chats.serving(completion) is chats.serving(completion)


TEXT = b'{"messages":[{"role":"user","content":"hi"}]%b}'
PART = b'{"messages":[{"role":"user","content":[{"type": "%b","x":{}}]}]}'
NEEDS = {
    "text": (TEXT % b"", 0),
    "tools": (TEXT % b',"tools":[{"type":"function"}]', TOOLS),
    "no tools": (TEXT % b',"tools":[],"functions":null', 0),
    "functions": (TEXT % b',"functions":[{"name":"f"}]', TOOLS),
    "a schema": (TEXT % b',"response_format":{"type":"json_schema","json_schema":{}}', SCHEMA),
    "any JSON": (TEXT % b',"response_format":{"type":"json_object"}', 0),
    "an image": (PART % b"image_url", IMAGES),
    "sound": (PART % b"input_audio", AUDIO),
    "a file": (PART % b"file", FILES),
    "a film": (PART % b"video_url", VIDEO),
    "words that look like an image": (
        b'{"messages":[{"role":"user","content":"{\\"type\\":\\"image_url\\"}"}]}',
        0,
    ),
    "an image in an earlier turn": (
        b'{"messages":[{"content":[{"type":"image_url"}]},{"content":"and now?"}],"tools":[1]}',
        IMAGES | TOOLS,
    ),
}


@pytest.mark.parametrize(("body", "needs"), NEEDS.values(), ids=NEEDS.keys())
def test_what_a_request_asks_for(body, needs):
    assert needs_of(read_body(body), wire.DIALECT_OPENAI_CHAT) == needs


def test_a_prompt_is_estimated_without_embedded_files():
    words = b'{"messages":[{"content":"%b"}]}' % (b"four " * 1000)
    assert tokens_of(read_body(words), len(words)) == len(words) // 4
    picture = b'{"messages":[{"content":"data:image/png;base64,%b"}]}' % (b"QUJD" * 10_000)
    assert tokens_of(read_body(picture), len(picture)) < 20
    assert tokens_of({}, 400) == 100


ABLE = [channel("plain", {"name": "able", "abilities": []}), channel("able"), channel("odd", "unknown")]
ABLE[2]["models"] = [{"name": "able", "abilities": ["image_input"]}]


@pytest.mark.parametrize(
    ("body", "served"),
    [
        (NEEDS["text"][0], {"plain", "able", "odd"}),
        (NEEDS["tools"][0], {"able"}),
        (NEEDS["an image"][0], {"able", "odd"}),
        (NEEDS["an image in an earlier turn"][0], {"able"}),
        # Nobody is known to be able: the catalogue may be behind, and the provider has the last word.
        (NEEDS["sound"][0], {"plain", "able", "odd"}),
    ],
)
def test_only_who_can_is_asked(body, served):
    found = snapshot(ABLE)
    assert {first(walk(found, ask(body=body), seed)).channel for seed in range(60)} == served
    assert {*path(found, DOWN, DOWN, DOWN, asked=ask(body=body))} == served


def test_embeddings_are_not_searched_for_abilities():
    body = b'{"input":"x","tools":[1]}'
    found, asked = snapshot(ABLE), ask(body=body, operation=wire.OPERATION_EMBEDDINGS)
    assert {first(walk(found, asked, seed)).channel for seed in range(60)} == {"plain", "able", "odd"}


def test_what_nothing_is_known_of_can_do_everything():
    found = snapshot([channel("a", "unheard-of"), channel("b", "unheard-of")])
    assert found.route("default", "unheard-of").simple
    assert path(found, asked=ask("unheard-of", NEEDS["sound"][0]))


def test_the_catalogue_knows_a_model_by_the_providers_name_too():
    from tollgate_resources import CatalogueModel, Declared, Provider, build_catalogue, compile_version, parse_version

    catalogue = build_catalogue(
        [Provider(name="openai", base_url="https://api.example/v1")],
        [
            CatalogueModel(
                name="big", provider="openai", upstream="big-1", context_tokens=500, abilities=("tools", "reasoning")
            )
        ],
        [],
    )
    declared = Declared.model_validate({"channels": [channel("a", {"name": "mine", "upstream": "big-1"}, "big")]})
    models = {model.name: model for model in parse_version(compile_version(declared, catalogue)).channels[0].models}
    assert (models["mine"].abilities, models["mine"].context_tokens) == (("tools",), 500)
    assert (models["big"].abilities, models["big"].upstream) == (None, "big-1")


def test_a_long_prompt_goes_where_it_fits():
    channels = [channel("short", {"name": "able", "context_tokens": 100}), channel("long")]
    found = snapshot(channels, [route("able", ["short"], ["long"])])
    prompt = ask(body=b'{"messages":[{"content":"%b"}]}' % (b"many words " * 60))
    assert path(found, DOWN, asked=prompt) == ["long"]
    assert path(found, asked=ask()) == ["short"]


REGIONS = [channel("eu", region="eu"), channel("us", region="us"), channel("somewhere")]


@pytest.mark.parametrize(
    ("value", "served"), [(b"eu", {"eu"}), (b" US ", {"us"}), (b"moon", set()), (b"-", set()), (b"\xff", set())]
)
def test_a_caller_may_ask_for_a_region(value, served):
    found = snapshot(REGIONS)
    asked = ask(headers={b"x-tollgate-region": value})
    assert {*path(found, DOWN, DOWN, asked=asked)} == served
    if not served:
        way = walk(found, asked)
        assert first(way) is None
        assert way.refusal.kind == errors.ERROR_KIND_INVALID_REQUEST


def test_regions_that_callers_invent_do_not_pile_up():
    found = snapshot(REGIONS)
    candidates = found.route("default", "able")
    for number in range(100):
        first(walk(found, ask(headers={b"x-tollgate-region": b"r%d" % number})))
    assert len(candidates._plans) == 1


def test_a_dialect_that_nobody_speaks_is_refused():
    way = walk(snapshot([channel("a")]), ask(dialect=max(wire.Dialect.values()) + 1))
    assert first(way) is None
    assert way.refusal.kind == errors.ERROR_KIND_INVALID_REQUEST


def test_what_most_models_are_is_simple():
    assert snapshot([channel("a"), channel("b")]).route("default", "able").simple
    for more in ({"affinity": "user"}, {"canary": {"percent": 1, "targets": [{"channel": "b"}]}}):
        found = snapshot([channel("a"), channel("b")], [route("able", ["a", "b"], **more)])
        assert not found.route("default", "able").simple


def test_routes_share_what_is_the_same_for_all_of_them():
    same = {"channel": "a", "upstream": "x"}
    routes = [route("one", [same]), route("other", [same]), route("third", [{**same, "weight": 2}])]
    found = snapshot([channel("a", keys=2), channel("b")], routes)
    one, other, third = (found.route("default", model) for model in ("one", "other", "third"))
    assert one.targets() == other.targets(), "targets are compared by identity"
    assert len(set(one.targets())) == 2
    assert one.dialects is other.dialects
    assert not set(one.targets()) & set(third.targets())
    assert {target.weight for target in third.targets()} == {2}
    # Those of another weight are worded alike, and what says so is there once.
    kept = [target.wording for target in (*one.targets(), *third.targets())]
    assert all(wording is kept[0] for wording in kept)
    alike = [target.wording for target in snapshot([channel("a"), channel("b")]).route("default", "able").targets()]
    assert alike[0] is alike[1]
    # What is kept of a place is kept once for all channels that lead there.
    assert found.ready["a"].origin is found.ready["b"].origin
