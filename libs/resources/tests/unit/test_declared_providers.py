"""Providers that an operator declares: known to channels, carried by versions, and said once where they are wrong."""

import pytest

from tollgate_resources import CatalogueModel, Provider, build_catalogue, compile_version, load, parse_version

pytestmark = pytest.mark.unit
CATALOGUE = build_catalogue(
    [Provider(name="openai", base_url="https://api.example/v1")],
    [CatalogueModel(name="gpt", provider="openai"), CatalogueModel(name="mini", provider="openai")],
    [],
)
DECLARED = """\
providers:
  - name: acme
    base_url: https://a.example/v1
    operations: [chat, embeddings]
    max_tokens_name: max_completion_tokens
    quirks:
      - {source: "https://docs.example/a", request: {drop: [seed], rename: {a: b}}, paths: {embeddings: /vectors}}
      - {source: "https://docs.example/b", request: {drop: [user], rename: {c: d}}}
channels:
  - {name: c, provider: acme, credentials: [{env: KEY}], models: [m]}
"""


def test_a_declared_provider_is_there_for_channels_and_travels_with_them(tmp_path):
    file = tmp_path / "tollgate.yaml"
    file.write_text(DECLARED)
    loaded = load([file], CATALOGUE)
    assert loaded.problems == ()
    version = parse_version(compile_version(loaded.declared(), CATALOGUE))
    (channel,) = version.channels
    assert (channel.base_url, channel.max_tokens_name) == ("https://a.example/v1", "max_completion_tokens")
    assert channel.quirks is not None
    assert (channel.quirks.request.drop, channel.quirks.request.rename) == (("seed", "user"), {"a": "b", "c": "d"})
    assert channel.quirks.paths == {"embeddings": "/vectors"}
    assert [provider.name for provider in version.providers] == ["acme"]


def test_a_declared_provider_takes_the_place_of_the_one_that_ships(tmp_path):
    file = tmp_path / "tollgate.yaml"
    file.write_text(DECLARED.replace("acme", "openai").replace("models: [m]", 'models: "*"'))
    version = parse_version(compile_version(load([file], CATALOGUE).declared(), CATALOGUE))
    assert version.channels[0].base_url == "https://a.example/v1"
    assert {model.name for model in version.channels[0].models} == {"gpt", "mini"}


def test_a_broken_provider_is_said_once_and_not_again_by_its_channels(tmp_path):
    file = tmp_path / "tollgate.yaml"
    file.write_text(DECLARED.replace("max_tokens_name: max_completion_tokens", "max_tokens_name: most"))
    (problem,) = load([file], CATALOGUE).problems
    assert (problem.line, problem.field, problem.found) == (5, "providers[0].max_tokens_name", "'most'")
