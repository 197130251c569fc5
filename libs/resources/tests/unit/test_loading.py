"""Files of declared resources: every kind of mistake is named by file, line, field, what was found and what may be."""

import json
from pathlib import Path

import pytest

from tollgate_resources import (
    CatalogueModel,
    PriceBook,
    Provider,
    build_catalogue,
    compile_version,
    load,
    parse_version,
)

pytestmark = pytest.mark.unit

CATALOGUE = build_catalogue(
    [
        Provider(name="openai", base_url="https://api.example/v1", environment=("OPENAI_API_KEY",)),
        Provider(name="self-hosted", credentials_required=False),
        Provider(name="simulator", credentials_required=False),
    ],
    [CatalogueModel(name="gpt", provider="openai"), CatalogueModel(name="mini", provider="openai")],
    [
        PriceBook.model_validate(
            {
                "name": "catalogue",
                "effective": "2026-01-01T00:00:00Z",
                "currency": "USD",
                "models": {"gpt": {"input": "1", "output": "2"}},
            }
        )
    ],
)
GOOD = """\
channels:
  - name: main
    provider: openai
    credentials: [{env: OPENAI_API_KEY}]
    models: "*"
"""


def problems(tmp_path: Path, text: str, name: str = "tollgate.yaml") -> list[str]:
    file = tmp_path / name
    file.write_text(text)
    found = load([file], CATALOGUE).problems
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in found]


def test_a_file_with_one_channel_is_complete(tmp_path):
    (tmp_path / "tollgate.yaml").write_text(GOOD)
    loaded = load([tmp_path / "tollgate.yaml"], CATALOGUE)
    assert loaded.problems == ()
    assert list(loaded.declared_by_owner) == ["file:tollgate.yaml"]
    assert loaded.declared().channels[0].credentials[0].env == "OPENAI_API_KEY"


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n", "channels:\n", "channels: []\n"])
def test_an_empty_file_declares_nothing(tmp_path, text):
    assert problems(tmp_path, text) == []


CHANNEL = "channels:\n  - name: main\n    provider: openai\n    credentials: [{env: KEY}]\n    models: [gpt]\n    %s\n"
ROUTE = GOOD + "routes:\n  - model: gpt\n    %s\n"
RATE = "exchange_rates:\n  - base: USD\n    quote: CNY\n    rate: %s\n    effective: 2026-11-01T00:00:00Z\n"
BOOK = (
    "price_books:\n  - name: public\n    "
    "effective: 2026-11-01T00:00:00Z\n    currency: USD\n    models:\n      gpt: %s\n"
)

VENDOR = (
    "providers:\n  - name: acme\n    base_url: https://a.example/v1\n    operations: [chat]\n    quirks:\n"
    "      - source: https://docs.example/\n        %s\n"
)
LEVEL = "levels: [{targets: [{channel: main}]}]"
MISTAKES = [
    (
        (VENDOR % "request: {droop: [x]}"),
        "tollgate.yaml:7: providers[0].quirks[0].request.droop: found",
        "(perhaps drop)",
    ),
    ((VENDOR % "request: {drop: [model]}"), "tollgate.yaml:7: providers[0].quirks[0].request: found", "than model"),
    (
        (VENDOR % "request: {drop: seed}"),
        "tollgate.yaml:7: providers[0].quirks[0].request.drop: found 'seed'",
        "a list",
    ),
    ((VENDOR % "request: {stream_options: x}"), "request.stream_options: found 'x'", "true or false"),
    ((VENDOR % "paths: {embeddings: /x}"), "tollgate.yaml:2: providers[0]: found", "embeddings is none of them"),
    (
        (VENDOR % "paths: {chat: x}"),
        "tollgate.yaml:7: providers[0].quirks[0].paths.chat: found 'x'",
        "/chat/completions",
    ),
    (
        (VENDOR % "reply: {usage: [x.usage]}").replace("    quirks", "    conforming: true\n    quirks"),
        "tollgate.yaml:2: providers[0]: found a mapping",
        "`conforming: false`",
    ),
    ((VENDOR % "query: {v: 'a b'}"), "providers[0].quirks[0].query.v: found 'a b'", "letters, digits"),
    ((VENDOR % "reply: {usage: [a..b]}"), "reply.usage[0]: found 'a..b'", "choices[0].usage"),
    ((VENDOR % "reply: {finish_reasons: {eos: end}}"), "finish_reasons.eos: found 'end'", "'content_filter'"),
    ((VENDOR % "errors: [{means: broke, code: [a]}]"), "errors[0].means: found 'broke'", "'quota'"),
    ((VENDOR % "errors: [{means: quota}]"), "errors[0]: found a mapping", "one or more of status, code and words"),
    ((VENDOR % "errors: [{means: quota, status: [99]}]"), "errors[0].status[0]: found the number 99", "200"),
    (
        (VENDOR % "request: {rename: {seed: a}}\n      - request: {rename: {seed: b}}"),
        "tollgate.yaml:2: providers[0]: found a mapping",
        "one value of request.rename.seed",
    ),
    (
        "providers:\n  - name: acme\n    wire: gemini\n    quirks: [{query: {a: b}}]\n",
        "providers[0]: found",
        "wire: openai",
    ),
    (
        "providers:\n  - name: acme\n    wire: gemini\n    operations: [chat]\n    responses: true\n",
        "providers[0]: found",
        "`responses: true` with `wire: openai`",
    ),
    ("providers:\n  - name: acme\n  - name: acme\n", "tollgate.yaml:3: providers[1].name: found 'acme' again", "once"),
    ("providers:\n  - name: acme\n    simulates: openai\n", "tollgate.yaml:3: providers[0].simulates", "without it"),
    ("chanels: []\n", "tollgate.yaml:1: chanels: found 'chanels'", "(perhaps channels)"),
    ("- a\n", "tollgate.yaml:1: found a list", "a mapping"),
    ("channels: main\n", "tollgate.yaml:1: channels: found a string", "a list"),
    ("channels: [main]\n", "tollgate.yaml:1: channels[0]: found 'main'", "a mapping"),
    ("channels:\n  - {}\n", "tollgate.yaml:2: channels[0].name: found nothing", "it is required"),
    ("a: [1\n", "tollgate.yaml:2: found", "YAML"),
    ("a: 1\n---\nb: 2\n", "tollgate.yaml:3: found 2 documents", "one document"),
    (
        "channels: []\nchannels: []\n",
        "tollgate.yaml:2: channels: found the key again (first on line 1)",
        "each key once",
    ),
    ("1: 2\n", "tollgate.yaml:1: found the key '1'", "keys that are strings"),
    ((CHANNEL % "nmae: x"), "tollgate.yaml:6: channels[0].nmae: found 'nmae'", "(perhaps name)"),
    ((CHANNEL % "weight: -1"), "tollgate.yaml:6: channels[0].weight: found the number -1", "0"),
    ((CHANNEL % "weight: true"), "tollgate.yaml:6: channels[0].weight: found true", "a whole number"),
    ((CHANNEL % "private_network: 'yes'"), "channels[0].private_network: found 'yes'", "true or false"),
    ((CHANNEL % "tls: {ca: /x.pem}"), "channels[0].tls.ca: found 'ca'", "ca_file, certificate_file"),
    ((CHANNEL % "tls: {key_file: /x.pem}"), "channels[0].tls: found a mapping", "certificate_file beside key_file"),
    ((CHANNEL % "tls: {ca_file: ''}"), "channels[0].tls.ca_file: found ''", "at least 1 character"),
    ((CHANNEL % "tls: {server_name: 'a b'}"), "channels[0].tls.server_name: found 'a b'", "the name of a host"),
    ((CHANNEL % "tls: {verify: false}"), "channels[0].tls.verify: found 'verify'", "ca_file"),
    (
        (CHANNEL % "tls: {ca_file: /x.pem}\n    base_url: http://x/v1"),
        "tollgate.yaml:6: channels[0].tls: found tls",
        "an https:// address in `base_url`",
    ),
    ((CHANNEL % "proxy: {}"), "channels[0].proxy.url: found nothing", "it is required"),
    ((CHANNEL % "proxy: {url: 'https://p:1'}"), "channels[0].proxy.url: found 'https://p:1'", "http://HOST:PORT"),
    ((CHANNEL % "proxy: {url: 'http://p'}"), "channels[0].proxy.url: found 'http://p'", "http://HOST:PORT"),
    ((CHANNEL % "proxy: {url: 'http://p:0'}"), "channels[0].proxy.url: found 'http://p:0'", "http://HOST:PORT"),
    ((CHANNEL % "proxy: {url: 'http://p:1/x'}"), "channels[0].proxy.url: found 'http://p:1/x'", "http://HOST:PORT"),
    ((CHANNEL % "proxy: {url: 'http://u:s@p:1'}"), "found 'http://***@p:1'", "belong into `credential`"),
    ((CHANNEL % "proxy: {url: 'http://p:1', resolve: no}"), "channels[0].proxy.resolve: found", "'here' or 'proxy'"),
    ((CHANNEL % "proxy: {url: 'http://p:1', credential: 'u:s'}"), "proxy.credential: found a string", "a mapping"),
    ((CHANNEL % "base_url: ftp://x"), "tollgate.yaml:6: channels[0].base_url: found 'ftp://x'", "http:// or https://"),
    ((CHANNEL % "base_url: https://u:p@x/v1"), "channels[0].base_url: found 'https://***@x/v1'", "without user"),
    ((CHANNEL % "groups: []"), "tollgate.yaml:6: channels[0].groups: found a list", "at least one entry"),
    ((CHANNEL % "limits: {concurrency: 0}"), "channels[0].limits.concurrency: found the number 0", "greater than 0"),
    ((CHANNEL % "limits: {conc: 1}"), "channels[0].limits.conc: found 'conc'", "requests_per_minute"),
    ((CHANNEL % "tags: {a: 1}"), "tollgate.yaml:6: channels[0].tags.a: found the number 1", "a string"),
    (GOOD.replace("main", "Main Channel"), "channels[0].name: found 'Main Channel'", "lower-case letters"),
    (
        GOOD.replace("openai\n", "opnai\n"),
        "tollgate.yaml:3: channels[0].provider: found 'opnai'",
        "openai, self-hosted",
    ),
    (GOOD.replace('"*"', "[gpt, gpt]"), "tollgate.yaml:5: channels[0].models[1]: found 'gpt' again", "each model once"),
    (GOOD.replace('"*"', "[{nam: x}]"), "channels[0].models[0].nam: found 'nam'", "name, upstream (perhaps name)"),
    (GOOD.replace('"*"', "[]"), "tollgate.yaml:5: channels[0].models: found a list", "at least one entry"),
    (
        GOOD.replace("openai\n", "self-hosted\n"),
        "tollgate.yaml:2: channels[0].base_url: found nothing",
        "self-hosted has none of its own",
    ),
    (
        GOOD.replace("openai\n", "self-hosted\n    base_url: http://x/v1\n"),
        "tollgate.yaml:6: channels[0].models: found '*'",
        "the catalogue knows none",
    ),
    (
        GOOD.replace("    credentials: [{env: OPENAI_API_KEY}]\n", ""),
        "tollgate.yaml:2: channels[0].credentials: found nothing",
        "openai asks for one",
    ),
    (GOOD + GOOD.partition("\n")[2], "tollgate.yaml:6: channels[1].name: found 'main' again", "each once"),
    ((ROUTE % "levels: []"), "tollgate.yaml:8: routes[0].levels: found a list", "at least one entry"),
    (
        (ROUTE % "levels: [{targets: [{channel: nope}]}]"),
        "tollgate.yaml:8: routes[0].levels[0].targets[0].channel: found 'nope'",
        "a channel: main",
    ),
    (
        (ROUTE % "levels: [{targets: [{channel: main}]}]").replace("model: gpt", "model: other"),
        "routes[0].levels[0].targets[0]: found channel 'main', which does not offer 'other'",
        "or `upstream`",
    ),
    (
        (ROUTE % "levels: [{targets: [{channel: main, weight: 0}]}]"),
        "routes[0].levels[0]: found targets of weight 0 only",
        "a weight above 0",
    ),
    (
        (ROUTE % "levels: [{targets: [{channel: main}]}]\n    strategy: best"),
        "tollgate.yaml:9: routes[0].strategy: found 'best'",
        "'weighted', 'least_busy', 'lowest_latency' or 'cheapest'",
    ),
    (
        (ROUTE % "levels: [{targets: [{channel: main}]}]\n    fallbacks: {error: [gpt, none]}"),
        "tollgate.yaml:9: routes[0].fallbacks.error[0]: found 'gpt'",
        "another model",
    ),
    ((CHANNEL % "enabled: 1"), "tollgate.yaml:6: channels[0].enabled: found the number 1", "true or false"),
    ((CHANNEL % "region: E U"), "tollgate.yaml:6: channels[0].region: found 'E U'", "lower-case letters"),
    (
        (CHANNEL % "probe: {interval_seconds: 1}"),
        "tollgate.yaml:6: channels[0].probe.interval_seconds: found the number 1",
        "greater than or equal to 5",
    ),
    ((CHANNEL % "probe: {model: mini}"), "channels[0].probe.model: found 'mini'", "that the channel offers: gpt"),
    ((CHANNEL % "cost_multiply: 0.5"), "channels[0].cost_multiply: found the number 0.5", "a decimal string"),
    (
        (CHANNEL % "tags: {}").replace("[gpt]", "[{name: gpt, abilities: [flying]}]"),
        "tollgate.yaml:5: channels[0].models[0].abilities[0]: found 'flying'",
        "'image_input', 'tools'",
    ),
    ((ROUTE % f"{LEVEL}\n    affinity: 'two words'"), "routes[0].affinity: found 'two words'", "header:NAME"),
    ((ROUTE % f"{LEVEL}\n    affinity: header:Authorization"), "routes[0].affinity: found", "no secret"),
    (
        (ROUTE % f"{LEVEL}\n    regions: [eu]"),
        "tollgate.yaml:9: routes[0].regions[0]: found 'eu'",
        "a channel's region",
    ),
    (
        (ROUTE % f"{LEVEL}\n    canary: {{percent: 0, targets: [{{channel: main}}]}}"),
        "tollgate.yaml:9: routes[0].canary.percent: found the number 0",
        "a number greater than 0",
    ),
    (
        (ROUTE % f"{LEVEL}\n    canary: {{percent: 101, targets: [{{channel: main}}]}}"),
        "routes[0].canary.percent: found the number 101",
        "less than or equal to 100",
    ),
    (
        (ROUTE % f"{LEVEL}\n    canary: {{percent: 5, targets: [{{channel: nope}}]}}"),
        "tollgate.yaml:9: routes[0].canary.targets[0].channel: found 'nope'",
        "a channel: main",
    ),
    ((BOOK % "{input: 1.25}"), "price_books[0].models.gpt.input: found the number 1.25", "a decimal string in quotes"),
    ((BOOK % '{input: "-1"}'), "tollgate.yaml:6: price_books[0].models.gpt.input: found '-1'", "a decimal string"),
    ((BOOK % '{inptu: "1"}'), "price_books[0].models.gpt.inptu: found 'inptu'", "input, cache_read"),
    ((BOOK % "{}"), "tollgate.yaml:6: price_books[0].models.gpt: found a mapping", "at least"),
    ((BOOK % '{input: "1"}').replace("T00:00:00Z", ""), "price_books[0].effective: found the time", "with its zone"),
    (
        (BOOK % '{input: "1"}').replace("2026-11-01T00:00:00Z", "1700000000"),
        "price_books[0].effective: found the number 1700000000",
        "with its zone",
    ),
    ((RATE % "7.1"), "exchange_rates[0].rate: found the number 7.1", "a decimal string in quotes"),
    ((RATE % '"0"'), "tollgate.yaml:4: exchange_rates[0].rate: found '0'", "a rate above 0"),
    ((RATE % '"-7"'), "exchange_rates[0].rate: found '-7'", "a decimal string in quotes"),
    ((RATE % '"7"').replace("CNY", "EUR"), "exchange_rates[0].quote: found 'EUR'", "'USD' or 'CNY'"),
    ((RATE % '"7"').replace("CNY", "USD"), "tollgate.yaml:2: exchange_rates[0]: found a mapping", "two different"),
    ((RATE % '"7"').replace("T00:00:00Z", ""), "exchange_rates[0].effective: found the time", "with its zone"),
    ((RATE % '"7"').replace("rate:", "rates:"), "exchange_rates[0].rates: found 'rates'", "perhaps rate"),
    (
        (RATE % '"7"') + (RATE % '"8"').partition("\n")[2],
        "tollgate.yaml:9: exchange_rates[1].effective: found a rate from USD to CNY of this time again",
        "each once",
    ),
    ((BOOK % '{input: "1"}').replace("USD", "EUR"), "price_books[0].currency: found 'EUR'", "'USD' or 'CNY'"),
    ((BOOK % '{input: "1"}').replace("public", "catalogue"), "price_books[0].name: found 'catalogue'", "another name"),
    (
        (BOOK % '{input: "1"}') + (BOOK % '{input: "2"}').partition("\n")[2],
        "tollgate.yaml:8: price_books[1].effective: found book 'public' of this time again",
        "each once",
    ),
    (
        (BOOK % '{input: "1"}') + '    groups: {vip: {models: {other: {input: "1"}}}}\n',
        "tollgate.yaml:7: price_books[0].groups.vip.models.other: found 'other'",
        "a model of the book: gpt",
    ),
]


@pytest.mark.parametrize(("text", "found", "allowed"), MISTAKES, ids=[case[1][:60] for case in MISTAKES])
def test_a_mistake_is_named_with_its_place(tmp_path, text, found, allowed):
    said = problems(tmp_path, text)
    assert any(found in line and allowed in line.partition("allowed: ")[2] for line in said), said


def test_all_mistakes_of_all_files_are_reported_at_once(tmp_path):
    (tmp_path / "a.yaml").write_text((CHANNEL % "weight: x") + "more: 1\n")
    (tmp_path / "b.yml").write_text(BOOK % "{input: 3}")
    (tmp_path / ".hidden.yaml").write_text("::::")
    (tmp_path / "notes.txt").write_text("::::")
    found = load([tmp_path, tmp_path / "missing.yaml"], CATALOGUE).problems
    assert [(Path(problem.file).name, problem.line) for problem in found] == [
        ("a.yaml", 6),
        ("a.yaml", 7),
        ("b.yml", 6),
        ("missing.yaml", 0),
    ]
    assert str(found[-1]) == f"{tmp_path}/missing.yaml: found nothing; allowed: a file or a directory."


FULL = """\
channels:
  - name: main
    provider: openai
    credentials: [{env: KEY}]
    models: [{name: gpt, abilities: [tools], context_tokens: 8000, cost: {input: "1", output: "2"}}]
    enabled: false
    region: eu
    probe: {interval_seconds: 60, model: gpt}
    cost_multiply: "0.8"
routes:
  - model: gpt
    strategy: cheapest
    levels: [{targets: [{channel: main}]}]
    affinity: header:X-Session
    canary: {percent: 2.5, targets: [{channel: main, weight: 3}]}
    regions: [eu]
"""


def test_everything_that_routing_knows_can_be_declared_and_reaches_the_version(tmp_path):
    (tmp_path / "tollgate.yaml").write_text(FULL)
    loaded = load([tmp_path / "tollgate.yaml"], CATALOGUE)
    assert loaded.problems == ()
    document = parse_version(compile_version(loaded.declared(), CATALOGUE))
    (channel,), (route,) = document.channels, document.routes
    assert (channel.enabled, channel.region, channel.cost_multiply) == (False, "eu", "0.8")
    assert (channel.probe.interval_seconds, channel.probe.model) == (60, "gpt")
    assert (channel.models[0].abilities, channel.models[0].context_tokens) == (("tools",), 8000)
    assert channel.models[0].cost == {"input": "1", "output": "2"}
    assert (route.canary.percent, route.regions, route.affinity) == (2.5, ("eu",), "header:X-Session")
    assert document.headers() == ("x-session", "x-tollgate-region")


def test_a_version_of_an_earlier_release_is_read(tmp_path):
    (tmp_path / "tollgate.yaml").write_text(GOOD)
    document = json.loads(compile_version(load([tmp_path / "tollgate.yaml"], CATALOGUE).declared(), CATALOGUE))
    for name in ("enabled", "cost_multiply"):
        del document["channels"][0][name]
    (channel,) = parse_version(json.dumps(document).encode()).channels
    assert (channel.enabled, channel.region, channel.probe, channel.cost_multiply) == (True, None, None, "1")


def test_a_broken_channel_does_not_make_its_routes_look_broken(tmp_path):
    said = problems(tmp_path, (ROUTE % "levels: [{targets: [{channel: main}]}]").replace('models: "*"', "models: 7"))
    assert [line.partition(": ")[0] for line in said] == ["tollgate.yaml:5"]


def test_names_are_unique_over_all_files(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD)
    found = load([tmp_path], CATALOGUE).problems
    assert len(found) == 1
    assert f"(first in {tmp_path}/a.yaml:2)" in str(found[0])


def test_files_of_one_name_are_owned_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.yaml").write_text("channels: []\n")
    owners = load([tmp_path / "x" / "t.yaml", tmp_path / "y"], CATALOGUE).declared_by_owner
    assert set(owners) == {f"file:{tmp_path}/x/t.yaml", f"file:{tmp_path}/y/t.yaml"}


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path):
    secret = "sk-live-0123456789"
    for credential in (secret, f"{{env: {secret}}}", f"{{file: 7, secret: '{secret} x'}}", f"{{key: {secret}}}"):
        said = problems(tmp_path, GOOD.replace("{env: OPENAI_API_KEY}", credential))
        assert said
        assert secret not in "\n".join(said)


def test_a_credential_has_exactly_one_source(tmp_path):
    said = problems(tmp_path, GOOD.replace("{env: OPENAI_API_KEY}", "{env: A, file: b}"))
    assert "exactly one of env, file" in said[0]
    assert "exactly one of env, file" in problems(tmp_path, GOOD.replace("{env: OPENAI_API_KEY}", "{}"))[0]


def test_a_stored_secret_is_refused_with_what_to_name_instead(tmp_path):
    for credential in ("{secret: openai}", "{env: OPENAI_API_KEY, secret: openai}"):
        said = problems(tmp_path, GOOD.replace("{env: OPENAI_API_KEY}", credential))
        assert said
        assert "credentials[0]" in said[0]
        assert "name an environment variable (env) or a file (file)" in said[0]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 10)}]\n" for b, c in zip("abcdef", "bcdefg", strict=True)),
        "a: &a [*a]\n",
        "a: " + "[" * 60 + "]" * 60 + "\n",
        "a: " + "[" * 5000 + "]" * 5000 + "\n",
        "a: !!python/object/apply:os.system [x]\n",
        "\x00",
        "a: \x07\n",
    ],
    ids=["laughs", "loop", "deep", "very deep", "python tag", "nul", "control character"],
)
def test_hostile_files_are_refused_without_being_unfolded(tmp_path, text):
    assert problems(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "t.yaml").write_bytes(b"a: \xff\xfe\xff\n")
    assert load([tmp_path], CATALOGUE).problems


def test_a_file_that_is_too_large_is_refused(tmp_path):
    said = problems(tmp_path, "#" * (4 * 1024 * 1024 + 1))
    assert "at most 4194304 bytes" in said[0]


def test_json_is_a_way_to_write_the_file(tmp_path):
    content = {
        "channels": [
            {"name": "main", "provider": "openai", "credentials": [{"env": "K"}], "models": ["gpt", {"name": "x"}]}
        ]
    }
    assert problems(tmp_path, json.dumps(content, indent=1), "tollgate.json") == []


TIERED = """price_books:
  - name: public
    effective: 2026-11-01T00:00:00Z
    currency: USD
    models:
      m: {input: "2"}
    tiers:
      m:
        - {context_over: 200000, prices: {input: "4"}}
        - {service: flex, multiply: "0.5"}
        - {hours: "16:30-00:30", multiply: "0.5"}
"""


def test_tiers_reach_rating(tmp_path):
    (tmp_path / "a.yaml").write_text(TIERED)
    loaded = load([tmp_path], CATALOGUE)
    assert loaded.problems == ()
    price = loaded.declared().price_books[0].rated().price("m", "")
    assert [price.rate({"input": 1}, 0, service) for service in ("", "flex")] == [10**6, 10**6]
    assert price.rate({"input": 1}, 12 * 3600 * 10**6) == 2 * 10**6
    assert price.rate({"input": 200_001}, 12 * 3600 * 10**6) == 200_001 * 4 * 10**6


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('{context_over: 200000, prices: {input: "4"}}', '{prices: {input: "4"}}', 9, "condition"),
        ("context_over: 200000", "context_over: 2.5", 9, "whole number"),
        ("{service: flex,", "{service: Flex!,", 10, ""),
        ("16:30-00:30", "16:30", 11, ""),
        ("16:30-00:30", "25:30-00:30", 11, "times of the day"),
        ('multiply: "0.5"}\n        - {h', "multiply: 0.5}\n        - {h", 10, "decimal string"),
        ("    tiers:\n      m:", "    tiers:\n      n:", 8, "a model of the book"),
        ("{service: flex,", "{context_over: 300000,", 4, "tier 1 takes all"),
        ('{input: "4"}', '{word: "4"}', 9, "input, cache_read"),
        ("service: flex", "servise: flex", 10, "perhaps service"),
    ],
)
def test_a_tier_that_is_wrong_is_found_by_its_line(tmp_path, old, new, line, said):
    assert old in TIERED
    (tmp_path / "a.yaml").write_text(TIERED.replace(old, new))
    problems = load([tmp_path], CATALOGUE).problems
    assert problems
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]
    if line != 4:
        assert {problem.line for problem in problems} == {line}
