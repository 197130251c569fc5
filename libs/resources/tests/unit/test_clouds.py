"""Channels at clouds: what each asks for, where it is asked, and what is refused when it is declared."""

import pytest

from tollgate_resources import Channel, Cloud, azure_place, compile_version, load, load_catalogue, parse_version
from tollgate_resources.clouds import address_of, speaks_responses
from tollgate_resources.declared import Declared

pytestmark = pytest.mark.unit
CATALOGUE = load_catalogue()
KEY = "credentials: [{env: KEY}]"
ENTRA = "{tenant: {env: T}, client: {file: /c}}"


def problems(tmp_path, text):
    path = tmp_path / "tollgate.yaml"
    path.write_text(f"channels:\n  - {{name: a, models: [m], {KEY}, {text}}}\n")
    return [str(problem) for problem in load([path], CATALOGUE).problems]


def channel(provider, **cloud):
    return Channel.model_validate({"name": "a", "provider": provider, "models": ["m"], "cloud": cloud})


@pytest.mark.parametrize(
    ("provider", "cloud", "address"),
    [
        ("bedrock", {"region": "eu-central-1"}, "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("vertex", {"region": "europe-west4", "project": "p"}, "https://europe-west4-aiplatform.googleapis.com"),
        ("vertex", {"region": "global", "project": "p"}, "https://aiplatform.googleapis.com"),
        ("vertex", {"region": "eu", "project": "p"}, "https://aiplatform.eu.rep.googleapis.com"),
        ("bedrock", {}, None),
        ("azure", {}, None),
    ],
)
def test_the_address_follows_from_the_region(provider, cloud, address):
    assert address_of(channel(provider, **cloud), CATALOGUE.providers[provider]) == address


def test_an_address_of_its_own_goes_before():
    own = channel("bedrock", region="us-east-1").model_copy(update={"base_url": "https://vpce.example"})
    assert address_of(own, CATALOGUE.providers["bedrock"]) == "https://vpce.example"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("provider: azure", "an address"),
        ("provider: bedrock", "cloud.region: found nothing"),
        ("provider: vertex, cloud: {region: global}", "cloud.project: found nothing"),
        ("provider: bedrock, cloud: {region: us-east-1, project: p}", "cloud.project"),
        ("provider: openai, cloud: {region: us-east-1}", "no `cloud` at all"),
        ("provider: azure, base_url: 'https://h', cloud: {api_version: '2024-02-01'}", "2024-10-21 or later"),
        ("provider: azure, base_url: 'https://h', cloud: {api_version: newest}", "cloud.api_version"),
        ("provider: bedrock, cloud: {region: 'us-east-1/..'}", "cloud.region"),
        (f"provider: vertex, cloud: {{region: global, project: p, entra: {ENTRA}}}", "cloud.entra"),
        ("provider: azure, base_url: 'https://h', cloud: {entra: {tenant: {env: T}}}", "cloud.entra.client"),
        ("provider: azure, base_url: 'https://h', cloud: {entra: {tenant: t, client: c}}", "cloud.entra.tenant"),
        (
            f"provider: azure, base_url: 'https://h', cloud: {{entra: {ENTRA[:-1]}, authority: 'http://h'}}}}",
            "cloud.entra.authority: found http://h; allowed: an https:// address",
        ),
        ("provider: vertex, cloud: {region: global, project: 'a/b'}", "cloud.project"),
        ("provider: bedrock, cloud: {region: us-east-1}, probe: {interval_seconds: 5}", "probe"),
        ("provider: anthropic, responses: true", "responses: found true; allowed: false"),
        (
            "provider: azure, base_url: 'https://h', cloud: {api_version: '2024-10-21'}, responses: true",
            "no `cloud.api_version`, or preview",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, line):
    found = problems(tmp_path, text)
    assert any(line in problem for problem in found), found


def test_there_is_no_list_of_deployments_to_stand_for_a_star(tmp_path):
    path = tmp_path / "star.yaml"
    path.write_text(f"channels: [{{name: a, provider: azure, base_url: 'https://h', {KEY}, models: '*'}}]")
    (found,) = load([path], CATALOGUE).problems
    assert "knows none of provider azure" in str(found)


def test_a_whole_declaration_has_no_problems(tmp_path):
    assert problems(tmp_path, "provider: bedrock, cloud: {region: us-east-1}, probe: {model: m}") == []
    assert problems(tmp_path, "provider: vertex, cloud: {region: global, project: p-1}") == []
    assert problems(tmp_path, "provider: azure, base_url: 'https://h', cloud: {api_version: 2024-10-21}") == []
    assert problems(tmp_path, f"provider: azure, base_url: 'https://h', cloud: {{entra: {ENTRA}}}") == []


@pytest.mark.parametrize(
    ("version", "deployment", "place"),
    [
        (None, "d", ("/openai/v1", "")),
        ("preview", "d", ("/openai/v1", "?api-version=preview")),
        ("2024-10-21", "my gpt/5", ("/openai/deployments/my%20gpt%2F5", "?api-version=2024-10-21")),
        ("2025-04-01-preview", "", ("/openai", "?api-version=2025-04-01-preview")),
    ],
)
def test_where_azure_is_asked(version, deployment, place):
    assert azure_place(Cloud(api_version=version), deployment) == place


def test_a_version_says_all_that_a_router_needs():
    declared = Declared(channels=(channel("bedrock", region="us-east-1"),))
    found = parse_version(compile_version(declared, CATALOGUE)).channels[0]
    assert (found.wire, found.platform, found.cloud.region) == ("bedrock", "bedrock", "us-east-1")
    assert found.base_url == "https://bedrock-runtime.us-east-1.amazonaws.com"


OWN = {"base_url": "https://relay.example/v1"}


@pytest.mark.parametrize(
    ("provider", "said", "spoken"),
    [
        ("openai", {}, True),
        ("openai", {"responses": False}, False),
        # Another server than the vendor's may know chat alone.
        ("openai", OWN, False),
        ("openai", OWN | {"responses": True}, True),
        ("deepseek", {}, False),
        ("openai-compatible", OWN, False),
        ("openai-compatible", OWN | {"responses": True}, True),
        ("simulator", OWN, True),
        ("azure", OWN, True),
        ("azure", OWN | {"cloud": {"api_version": "preview"}}, True),
        ("azure", OWN | {"cloud": {"api_version": "2024-10-21"}}, False),
    ],
)
def test_who_is_asked_in_the_responses_api(provider, said, spoken):
    one = Channel.model_validate({"name": "a", "provider": provider, "models": ["m"], **said})
    assert speaks_responses(one, CATALOGUE.providers[provider]) is spoken
    (version,) = parse_version(compile_version(Declared(channels=(one,)), CATALOGUE)).channels
    assert version.responses is spoken
