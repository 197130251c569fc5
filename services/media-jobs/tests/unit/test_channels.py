"""Choosing a channel, and what a configuration version means to this service."""

import random
from collections import Counter

import pytest

from tollgate_media_jobs.adapters.configuration import VersionHolder, compile_version
from tollgate_media_jobs.domain.channels import Channel, Target, choose
from tollgate_resources import (
    Channel as Declaration,
)
from tollgate_resources import (
    Declared,
    Level,
    Route,
    digest,
    load_catalogue,
    parse_version,
)
from tollgate_resources import Target as DeclaredTarget
from tollgate_resources import (
    compile_version as compile_document,
)

pytestmark = pytest.mark.unit


def level(**weights):
    return [Target(Channel(name, "x", "http://x"), "m", weight) for name, weight in weights.items()]


def picks(levels, tried=(), busy=()):
    source = random.Random(3)
    chosen = (choose(levels, tried, busy, source) for _ in range(2000))
    return Counter(target.channel.name if target else None for target in chosen)


def test_weights_are_shares():
    found = picks([level(a=3, b=1)])
    assert 1400 < found["a"] < 1600
    assert found.keys() == {"a", "b"}


def test_a_level_is_left_only_when_all_of_it_refused_or_are_busy():
    levels = [level(a=1, b=1), level(c=1)]
    assert picks(levels, tried=("a",)).keys() == {"b"}
    assert picks(levels, tried=("a",), busy=("b",)).keys() == {"c"}
    assert picks(levels, tried=("a", "b", "c")).keys() == {None}
    assert picks([]).keys() == {None}


def test_weight_zero_is_for_when_there_is_no_other():
    assert picks([level(a=0, b=1)]).keys() == {"b"}
    assert picks([level(a=0, b=1)], tried=("b",)).keys() == {"a"}


def version(*channels, routes=()):
    document = compile_document(Declared(channels=channels, routes=routes), load_catalogue())
    return compile_version(parse_version(document), digest(document))


def declared(name, **changes):
    values = {"name": name, "provider": "openai", "models": ["gpt-image-2", "gpt-5.1"], "credentials": [{"env": "K"}]}
    return Declaration.model_validate(values | changes)


def test_channels_serve_their_groups_and_routes_come_first():
    one = declared("one")
    two = declared("two", groups=["special"], models=[{"name": "gpt-image-2", "upstream": "img"}], weight=7)
    route = Route(
        model="art", levels=(Level(targets=(DeclaredTarget(channel="one", upstream="gpt-image-2", weight=3),)),)
    )
    found = version(one, two, routes=(route,))
    (entry,) = found.levels("default", "gpt-image-2")[0]
    assert (entry.channel.name, entry.upstream_model) == ("one", "gpt-image-2")
    assert entry.channel.base_url == "https://api.openai.com/v1"
    (entry,) = found.levels("special", "gpt-image-2")[0]
    assert (entry.channel.name, entry.upstream_model, entry.weight) == ("two", "img", 7)
    (entry,) = found.levels("default", "art")[0]
    assert (entry.upstream_model, entry.weight) == ("gpt-image-2", 3)
    assert not found.levels("special", "art")
    assert not found.levels("default", "unknown")
    assert (found.kinds["gpt-image-2"], found.kinds["gpt-5.1"]) == ("image", "chat")


@pytest.mark.parametrize("how", [{"tls": {"ca_file": "/ca.pem"}}, {"proxy": {"url": "http://proxy.example:3128"}}])
def test_a_channel_that_is_reached_in_a_way_of_its_own_is_not_gone_around(how):
    found = version(declared("one", **how), declared("two"))
    assert [entry.channel.name for entry in found.levels("default", "gpt-image-2")[0]] == ["two"]


def test_a_client_secret_of_entra_is_not_sent_as_a_key():
    entra = {"tenant": {"env": "T"}, "client": {"env": "C"}}
    fields = {"provider": "azure", "base_url": "https://h", "models": ["gpt-image-2"]}
    found = version(declared("one", **fields, cloud={"entra": entra}), declared("two", **fields))
    assert [entry.channel.name for entry in found.levels("default", "gpt-image-2")[0]] == ["two"]


def test_a_document_that_is_none_leaves_the_version_in_force():
    holder = VersionHolder()
    assert holder.current() is None
    document = compile_document(Declared(channels=(declared("one"),)), load_catalogue())
    holder.apply(digest(document), document)
    with pytest.raises(ValueError, match=r"."):
        holder.apply("sha256:x", b"{")
    assert holder.current().digest == digest(document)


def test_a_channel_of_another_wire_draws_nothing():
    fields = {"cloud": {"region": "us-east-1"}, "credentials": [{"env": "KEY"}], "models": ["gpt-image-1"]}
    declared = Declaration.model_validate({"name": "one", "provider": "bedrock", **fields})
    assert version(declared).levels("default", "gpt-image-1") == ()


@pytest.mark.parametrize(
    ("cloud", "base_url", "query"),
    [
        ({}, "https://h/openai/v1", ""),
        ({"api_version": "2025-04-01-preview"}, "https://h/openai/deployments/draw", "?api-version=2025-04-01-preview"),
    ],
)
def test_pictures_of_azure_are_asked_of_their_deployment(cloud, base_url, query):
    models = [{"name": "gpt-image-1", "upstream": "draw"}]
    fields = {"base_url": "https://h", "cloud": cloud, "credentials": [{"env": "KEY"}]}
    declared = Declaration.model_validate({"name": "one", "provider": "azure", "models": models, **fields})
    ((target,),) = version(declared).levels("default", "gpt-image-1")
    assert (target.channel.base_url, target.channel.query) == (base_url, query)
    assert (target.channel.auth_header, target.channel.auth_prefix) == ("api-key", "")
