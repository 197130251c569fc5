"""The catalogue, prices and providers that ship with the product: shapes, references and plausible numbers."""

import copy
import datetime as dt
import json
from collections import Counter
from decimal import Decimal
from importlib import resources

import jsonschema
import pytest
import yaml

from tollgate_rating import ModelPrice, PriceBook, PriceTable, Unpriced
from tollgate_resources import load_catalogue

pytestmark = pytest.mark.unit

DATA = resources.files("tollgate_resources") / "data"
VENDORS = tuple(sorted(item.name.removesuffix(".yaml") for item in (DATA / "providers").iterdir()))
FILES = ("models", "prices", *(f"providers/{name}" for name in VENDORS))
NOW_US = 1_795_000_000_000_000


def read(name: str):
    return yaml.safe_load((DATA / f"{name}.yaml").read_bytes())


def read_providers():
    return [provider for name in VENDORS for provider in read(f"providers/{name}")["providers"]]


def schema(name: str):
    return json.loads((DATA / "schemas" / f"{name.partition('/')[0]}.schema.json").read_bytes())


@pytest.fixture(scope="module")
def models():
    return read("models")["models"]


@pytest.fixture(scope="module")
def prices():
    (book,) = read("prices")["price_books"]
    return book


@pytest.fixture(scope="module")
def table(prices):
    start = dt.datetime.fromisoformat(prices["effective"])
    book = PriceBook(
        name=prices["name"],
        effective_us=round(start.timestamp() * 1e6),
        currency=prices["currency"],
        models=prices["models"],
    )
    return PriceTable([book])


def price(table: PriceTable, model: str) -> ModelPrice:
    found = table.find(model, "default", NOW_US)
    assert found is not None
    return found


@pytest.mark.parametrize("name", FILES)
def test_each_file_keeps_its_schema(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))
    jsonschema.validate(read(name), schema(name))


BROKEN = [
    ("models", lambda data: data["models"][0].pop("checked")),
    ("models", lambda data: data["models"][0].update(kind="video")),
    ("models", lambda data: data["models"][0].update(context_tokens="128k")),
    ("models", lambda data: data["models"][0].update(colour="blue")),
    ("prices", lambda data: data["price_books"][0]["models"]["gpt-5.1"].update(input=1.25)),
    ("prices", lambda data: data["price_books"][0]["models"]["gpt-5.1"].update(input="1e3")),
    ("prices", lambda data: data["price_books"][0]["models"]["gpt-5.1"].update(tokens="1")),
    ("prices", lambda data: data.pop("sources")),
    ("prices", lambda data: data["sources"][0].pop("evidence")),
    ("prices", lambda data: data["sources"][0].pop("source")),
    ("prices", lambda data: data["sources"][0].update(evidence="memory")),
    ("providers/openai", lambda data: data["providers"][0].update(base_url="http://example.com/v1")),
    ("providers/openai", lambda data: data["providers"][0].update(base_url="https://example.com/v1/")),
    ("providers/openai", lambda data: data["providers"][0].update(environment=["openai"])),
    ("providers/openai", lambda data: data["providers"][0].pop("source")),
    ("providers/openai", lambda data: data["providers"][0].pop("evidence")),
]


@pytest.mark.parametrize(("name", "spoil"), BROKEN)
def test_each_schema_refuses_what_is_broken(name, spoil):
    data = copy.deepcopy(read(name))
    spoil(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema(name))


def test_names_are_used_once(models):
    names = Counter(name for model in models for name in (model["name"], *model.get("aliases", ())))
    assert [name for name, count in names.items() if count > 1] == []
    upstream = Counter((model["provider"], model["upstream"]) for model in models)
    assert [name for name, count in upstream.items() if count > 1] == []


def test_every_model_has_a_provider_that_serves_its_kind(models):
    providers = {provider["name"]: provider for provider in read_providers()}
    operation = {
        "chat": "chat",
        "embedding": "embeddings",
        "image": "images",
        "moderation": "moderations",
        "rerank": "rerank",
        "speech": "speech",
        "transcription": "transcriptions",
    }
    missing = [
        model["name"] for model in models if operation[model["kind"]] not in providers[model["provider"]]["operations"]
    ]
    assert missing == []
    with_models = {model["provider"] for model in models if not model["provider"].startswith("simulator")}
    assert {name for name, provider in providers.items() if "environment" in provider} >= with_models


def test_every_model_is_priced_and_every_price_has_a_model_and_one_source(models, prices):
    names = {model["name"] for model in models}
    assert set(prices["models"]) == names
    sources = Counter(name for entry in read("prices")["sources"] for name in entry["models"])
    assert set(sources) == names
    assert set(sources.values()) == {1}


def test_dates_exist(models):
    for model in models:
        dt.date.fromisoformat(model["checked"])
        # What was off on the day of the look-up would only fail.
        assert model["checked"] < dt.date.fromisoformat(model.get("retires", "9999-01-01")).isoformat(), model["name"]


def test_replies_are_only_said_to_conform_where_that_is_known():
    providers = read_providers()
    assert {provider["name"] for provider in providers if provider["conforming"]} == {
        "openai",
        "anthropic",
        "simulator",
        "simulator-anthropic",
        "simulator-gemini",
        "gemini",
    }


def test_the_catalogue_has_about_three_hundred_names_and_aliases_cost_the_same(prices):
    catalogue = load_catalogue()
    assert 280 <= len(catalogue.models) <= 400
    (book,) = catalogue.price_books
    assert set(book.models) == set(catalogue.models)
    alias, model = catalogue.models["gpt-4o-2024-08-06"], catalogue.models["gpt-4o"]
    assert (alias.upstream, alias.context_tokens) == ("gpt-4o-2024-08-06", model.context_tokens)
    assert book.models["gpt-4o-2024-08-06"] == prices["models"]["gpt-4o"]


def test_limits_are_plausible(models):
    for model in models:
        if model["kind"] == "chat":
            assert 4_000 <= model["context_tokens"] <= 2_100_000, model["name"]
            assert model.get("max_output_tokens", 1) <= model["context_tokens"], model["name"]
        if model["kind"] == "embedding":
            assert "max_output_tokens" not in model


def test_every_chat_model_can_be_rated_whatever_the_usage(models, table):
    usage = dict.fromkeys(("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"), 10**6)
    for model in models:
        if model["kind"] == "chat":
            found = price(table, model["name"])
            amount = found.rate({**usage, "request": 1})
            assert 0 <= amount <= found.worst_case(4 * 10**6, 2 * 10**6)


def test_every_embedding_model_is_priced_by_its_input(models, table):
    for model in models:
        if model["kind"] == "embedding":
            assert price(table, model["name"]).rate({"input": 1000, "request": 1}) > 0
            with pytest.raises(Unpriced):
                price(table, model["name"]).rate({"output": 1})


def test_every_image_model_is_priced_by_image_or_by_image_token(models, table):
    for model in models:
        if model["kind"] == "image":
            found = price(table, model["name"])
            try:
                amount = found.rate({"image:1024x1024:high": 1})
            except Unpriced:
                amount = found.rate({"image_output": 4000})
            assert amount > 0, model["name"]
            assert found.rate({"input": 1000}) > 0, model["name"]


def test_every_sound_model_is_priced_as_its_replies_are_metered(models, table):
    for model in models:
        if model["kind"] in {"speech", "transcription"}:
            found = price(table, model["name"])
            tokens = "audio_output" if model["kind"] == "speech" else "audio_input"
            other = "character" if model["kind"] == "speech" else "audio_second"
            # One or the other: what both had a price for would be read by the first.
            assert found.knows(("input", tokens)) != found.knows((other,)), model["name"]


def test_prices_are_plausible(models, prices):
    for model in models:
        if model["kind"] in {"speech", "transcription", "moderation", "rerank"}:
            continue
        units = {unit: Decimal(text) for unit, text in prices["models"][model["name"]].items()}
        name, into = model["name"], units["input"]
        assert into <= 30, name
        if model["kind"] == "chat":
            assert into <= units["output"] <= 120, name
            assert units["output"] <= 12 * into, name
        if into:
            assert units.get("cache_read", Decimal(0)) <= into / 2, name
            assert into <= units.get("cache_write_5m", into) <= into * Decimal("1.34"), name
            assert units.get("cache_write_1h", into * 2) == into * 2, name
        else:
            assert name.endswith("flash"), f"{name} is free of charge?"


def test_models_of_the_documentation_exist(models):
    names = {model["name"] for model in models}
    assert names >= {
        "claude-sonnet-4-5",
        "gpt-4o-mini",
        "gpt-5-mini",
        "gpt-5.1",
        "gpt-image-2",
        "text-embedding-3-small",
    }
