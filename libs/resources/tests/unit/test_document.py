"""A configuration version: the same bytes for the same meaning, complete, readable by other releases."""

import json

import jsonschema
import pytest
import yaml

from tollgate_resources import (
    Declared,
    InvalidDocument,
    UnknownName,
    compile_version,
    digest,
    environment_channels,
    json_schema,
    load_catalogue,
    merge,
    parse_version,
)

pytestmark = pytest.mark.unit

YAML = """
channels:
  - {name: b, provider: openai, credentials: [{env: OPENAI_API_KEY}], models: [gpt-5.1, {name: mine, upstream: theirs}]}
  - {name: a, provider: simulator, base_url: "http://127.0.0.1:1/v1/", models: "*", groups: [default, eu]}
routes:
  - {model: only-eu, levels: [{targets: [{channel: a, upstream: x}]}]}
price_books:
  - name: public
    effective: 2026-11-01T00:00:00Z
    currency: USD
    models: {gpt-5.1: {input: "9"}}
    groups: {partner: {multiply: "0.5"}}
"""
AT_US = 1_795_000_000_000_000


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue()


def declared(text=YAML):
    return Declared.model_validate(yaml.safe_load(text))


def test_the_same_meaning_has_the_same_bytes(catalogue):
    one = declared()
    other = Declared(channels=one.channels[::-1], routes=one.routes, price_books=one.price_books)
    document = compile_version(one, catalogue)
    assert compile_version(other, catalogue) == document
    assert digest(document).startswith("sha256:")
    assert len(digest(document)) == 71
    assert (
        document == json.dumps(json.loads(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )


def test_what_the_provider_knows_is_filled_in(catalogue):
    channels = {channel.name: channel for channel in parse_version(compile_version(declared(), catalogue)).channels}
    assert channels["b"].base_url == catalogue.providers["openai"].base_url
    assert channels["b"].conforming
    assert channels["a"].base_url == "http://127.0.0.1:1/v1"
    assert {model.name: model.upstream for model in channels["b"].models} == {"gpt-5.1": "gpt-5.1", "mine": "theirs"}


def test_the_simulator_offers_the_whole_catalogue(catalogue):
    channels = {channel.name: channel for channel in parse_version(compile_version(declared(), catalogue)).channels}
    assert {model.name for model in channels["a"].models} == set(catalogue.models)
    assert all(model.upstream == model.name for model in channels["a"].models)


REACHED = """
channels:
  - name: c
    provider: openai-compatible
    base_url: https://inner.example/v1
    credentials: [{env: KEY}]
    models: [m]
    tls: {ca_file: /ca.pem, certificate_file: /me.pem, key_file: /me.key, server_name: other.example}
    proxy: {url: "http://proxy.example:3128/", credential: {env: PROXY}, private_network: true, resolve: proxy}
"""


def test_how_a_channel_is_reached_travels_with_it_and_leaves_others_as_they_were(catalogue):
    channel = parse_version(compile_version(declared(REACHED), catalogue)).channels[0]
    assert channel.tls.model_dump() == {
        "ca_file": "/ca.pem",
        "certificate_file": "/me.pem",
        "key_file": "/me.key",
        "server_name": "other.example",
    }
    assert (channel.proxy.url, channel.proxy.credential.env) == ("http://proxy.example:3128", "PROXY")
    assert (channel.proxy.private_network, channel.proxy.resolve) == (True, "proxy")
    plain = json.loads(compile_version(declared(), catalogue))["channels"][0]
    assert plain.keys().isdisjoint({"tls", "proxy"})
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(REACHED))) == []


def test_secrets_are_only_referred_to(catalogue, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    document = compile_version(declared(), catalogue)
    assert b"sk-very-secret" not in document
    assert b'"credentials":[{"env":"OPENAI_API_KEY"}]' in document


def test_models_are_those_that_a_route_group_reaches(catalogue):
    version = parse_version(compile_version(declared(), catalogue))
    default = {model.name: model for model in version.models_of("default")}
    assert {"gpt-5.1", "mine", "only-eu"} <= set(default)
    assert default["mine"].kind == ""
    assert default["gpt-5.1"].kind == "chat"
    assert "mine" not in {model.name for model in version.models_of("eu")}
    assert version.models_of("other") == ()


def test_a_route_whose_channels_are_of_another_group_hides_its_model(catalogue):
    text = YAML.replace("groups: [default, eu]", "groups: [eu]") + "\n"
    text = text.replace("only-eu, levels", "gpt-5.1, levels")
    version = parse_version(compile_version(declared(text), catalogue))
    assert "gpt-5.1" not in {model.name for model in version.models_of("default")}
    assert "gpt-5.1" in {model.name for model in version.models_of("eu")}


def test_declared_prices_win_over_the_catalogue_and_groups_multiply(catalogue):
    table = parse_version(compile_version(declared(), catalogue)).price_table()
    assert table.find("gpt-5.1", "default", AT_US).rate({"input": 1_000_000}) == 9 * 10**12
    assert table.find("gpt-5.1", "partner", AT_US).rate({"input": 1_000_000}) == 45 * 10**11
    before = table.find("gpt-5.1", "default", 1_770_000_000_000_000)
    assert before.book == "catalogue"
    assert table.find("mine", "default", AT_US) is None


def test_a_later_release_may_have_added_fields(catalogue):
    document = json.loads(compile_version(declared(), catalogue))
    document["new_kind"] = [1]
    document["channels"][0]["new_field"] = {"x": 1}
    assert parse_version(json.dumps(document).encode()).channels[0].name == "a"


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"channels":[{}]}', b'{"channels":7}', b"\xff"])
def test_other_bytes_are_no_document(document):
    with pytest.raises(InvalidDocument):
        parse_version(document)


def test_an_unknown_provider_is_refused(catalogue):
    with pytest.raises(UnknownName, match="nobody"):
        compile_version(declared(YAML.replace("provider: openai", "provider: nobody")), catalogue)
    with pytest.raises(UnknownName, match="base_url"):
        compile_version(declared(YAML.replace('base_url: "http://127.0.0.1:1/v1/", ', "")), catalogue)


def test_keys_in_the_environment_become_channels(catalogue):
    found = environment_channels(
        {"OPENAI_API_KEY": "x", "GOOGLE_API_KEY": "y", "XAI_API_KEY": ""}, catalogue, "http://s/v1"
    )
    assert {channel.name: channel.credentials[0].env for channel in found.channels} == {
        "openai": "OPENAI_API_KEY",
        "gemini": "GOOGLE_API_KEY",
        "gemini-openai": "GOOGLE_API_KEY",
    }
    version = parse_version(compile_version(found, catalogue))
    assert {model.name for channel in version.channels for model in channel.models} == {
        model.name for model in catalogue.models.values() if model.provider in {"openai", "gemini", "gemini-openai"}
    }


def test_a_key_of_google_asks_gemini_on_its_own_wire_and_for_pictures_on_openais(catalogue):
    found = environment_channels({"GEMINI_API_KEY": "x"}, catalogue)
    channels = {channel.name: channel for channel in parse_version(compile_version(found, catalogue)).channels}
    assert {name: channel.wire for name, channel in channels.items()} == {"gemini": "gemini", "gemini-openai": "openai"}
    of_google = {model.name: model.kind for model in catalogue.models.values() if model.name.startswith("gemini-")}
    assert len(of_google) == 26
    assert {model.name for model in channels["gemini-openai"].models} == {
        name for name, kind in of_google.items() if kind == "image"
    }
    assert {model.name for model in channels["gemini"].models} == {
        name for name, kind in of_google.items() if kind != "image"
    }


def test_without_keys_the_simulator_serves_and_without_it_nobody(catalogue):
    found = environment_channels({}, catalogue, "http://127.0.0.1:5/v1")
    assert {channel.name: channel.private_network for channel in found.channels} == {
        "simulator": True,
        "simulator-anthropic": True,
        "simulator-deepseek": True,
        "simulator-gemini": True,
    }
    assert environment_channels({}, catalogue).channels == ()


def test_every_provider_with_a_key_in_the_environment_compiles(catalogue):
    environment = {name: "x" for provider in catalogue.providers.values() for name in provider.environment}
    found = environment_channels(environment, catalogue)
    assert len(found.channels) > 5
    assert compile_version(merge([found]), catalogue)


def test_the_published_schema_takes_what_the_loader_takes_and_refuses_what_it_refuses():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    plain = json.loads(json.dumps(yaml.safe_load(YAML), default=lambda moment: moment.isoformat()))
    assert list(validator.iter_errors(plain)) == []
    for change in ({"chanels": []}, {"channels": [{"name": "x"}]}, {"routes": [{"model": "m", "levels": []}]}):
        assert list(validator.iter_errors(plain | change))
