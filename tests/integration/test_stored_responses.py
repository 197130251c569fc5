"""Stored responses with the current openai package, unmodified: turns, pages, deletion, others, a new router."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
MODELS = ["gpt-5-mini", "claude-haiku-4-5", "gemini-3.5-flash"]


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    settings = {"TOLLGATE_ROUTER_RESPONSES_RETENTION_DAYS": "1"}
    running = Product(tmp_path_factory.mktemp("keeping"), ["--workers", "2"], settings)
    try:
        yield running.start()
    finally:
        running.stop()


def client_of(product: Product, key: str = "") -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=product.base_url, api_key=key or product.api_key, http_client=http, max_retries=0)


@pytest.fixture
def client(keeping: Product) -> Iterator[openai.OpenAI]:
    with client_of(keeping) as one:
        yield one


@pytest.mark.parametrize("model", MODELS)
def test_turns_by_id(client: openai.OpenAI, keeping: Product, model: str) -> None:
    first = client.responses.create(model=model, input="Say hello", metadata={"ticket": "7"})
    assert (first.store, first.metadata) == (True, {"ticket": "7"})
    with client.responses.stream(model=model, input="Say more", previous_response_id=first.id) as stream:
        list(stream)
        second = stream.get_final_response()
    assert second.previous_response_id == first.id
    again = client.responses.retrieve(second.id)
    assert (again.output_text, again.id, again.usage) == (second.output_text, second.id, second.usage)
    # The turns before are part of the prompt, and are paid for as such.
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    (item,) = client.responses.input_items.list(second.id).data
    assert item.to_dict()["content"] == [{"type": "input_text", "text": "Say more"}]
    # Ids of requests and of responses differ in their prefix.
    row = keeping.wait_row(second.id.replace("resp_", "req_"))
    assert row["input_tokens"] == second.usage.input_tokens


def test_thoughts_of_several_makers_in_one_conversation(client: openai.OpenAI) -> None:
    """Each maker gets its own thoughts back, and none of the others', which it would refuse."""
    previous: str | None = None
    for model in (MODELS[1], MODELS[0], MODELS[0], MODELS[1]):
        one = client.responses.create(
            model=model, input="Go on", reasoning={"effort": "low"}, previous_response_id=previous
        )
        assert [item.type for item in one.output] == ["reasoning", "message"]
        previous = one.id


def test_deleted_and_of_others(client: openai.OpenAI, keeping: Product) -> None:
    one = client.responses.create(model=MODELS[0], input="Say hello")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(one.id)
    made = keeping.cli("projects", "create", "other", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(keeping.cli("keys", "create", "x", "--project", "other", "--json").stdout)["key"]
    with client_of(keeping, key) as stranger:
        for ask in (
            lambda: stranger.responses.retrieve(one.id),
            lambda: stranger.responses.delete(one.id),
            lambda: stranger.responses.input_items.list(one.id),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        with pytest.raises(openai.BadRequestError) as refused:
            stranger.responses.create(model=MODELS[0], input="x", previous_response_id=one.id)
        assert refused.value.param == "previous_response_id"
    client.responses.delete(one.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(one.id)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "order=up", "limit=101"])
def test_pages_that_cannot_be(client: openai.OpenAI, query: str) -> None:
    name, _, value = query.partition("=")
    with pytest.raises(openai.BadRequestError) as refused:
        client.get(f"/responses/resp_1/input_items?{name}={value}", cast_to=object)
    assert refused.value.param == name


def test_routers_that_are_replaced_and_files_that_say_nothing(client: openai.OpenAI, keeping: Product) -> None:
    one = client.responses.create(model=MODELS[0], input="the raven flies at midnight")
    old = set(keeping.pids("router"))
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    keeping.wait(lambda: len(found := keeping.pids("router")) == 2 and not old & set(found), "two other routers")
    keeping.wait(lambda: httpx.get(f"{keeping.url}/readyz", trust_env=False).status_code == 200, "edge to reach them")
    again = client.responses.create(model=MODELS[0], input="More", previous_response_id=one.id)
    assert again.output_text
    folder: Path = keeping.home / "router"
    assert (folder / "responses.key").stat().st_mode & 0o077 == 0
    for file in folder.glob("responses.sqlite*"):
        assert b"raven" not in file.read_bytes()
