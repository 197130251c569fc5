"""Compatible vendors through the whole product, by data alone: DeepSeek as `make up` has it, and all in one product.

The last is the tutorial of docs/guides/add-a-vendor.md: what it declares is taken from the page, with the address of a
simulated server that has exactly the ways that the page describes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from tests.integration.product import Product
from tests.integration.simulators import Simulator, simulated

from tollgate_resources import load_catalogue
from tollgate_simulator_provider.vendors import vendors

pytestmark = pytest.mark.integration
GUIDE = Path(__file__).parents[2] / "docs/guides/add-a-vendor.md"
CALLERS_FAULT = {"content_policy", "context_length", "invalid_parameter"}
HELLO: list[Any] = [{"role": "user", "content": "Say hello"}]
VENDORS = sorted(name for name in vendors() if "chat" in load_catalogue().providers[name].operations)


def client_of(product: Product) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0)


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    with client_of(product) as one:
        yield one


@pytest.mark.proves("chat", "deepseek", "thinking")
def test_deepseek_is_there_without_a_key_and_thinks_where_clients_look(client: openai.OpenAI, product: Product) -> None:
    model = "deepseek-reasoner"
    whole = client.chat.completions.create(model=model, messages=HELLO)
    thought = getattr(whole.choices[0].message, "reasoning_content", "")
    assert len(thought.split()) == 16
    assert whole.usage is not None
    with client.chat.completions.stream(model=model, messages=HELLO, stream_options={"include_usage": True}) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.usage is not None
    assert final.usage.total_tokens == whole.usage.total_tokens
    assert sum(event.type == "chunk" and event.chunk.usage is not None for event in events) == 1
    row = product.wait_row(whole._request_id or "")
    assert (row["model"], row["channel"]) == (model, "simulator-deepseek")
    # Thoughts are counted apart on usage rows.
    assert row["output_tokens"] == whole.usage.completion_tokens - 16


@pytest.mark.parametrize("thoughts", ["kept", "lost"])
def test_deepseek_goes_on_with_tools_whether_its_thoughts_come_back_or_not(
    client: openai.OpenAI, thoughts: str
) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    asked: dict[str, Any] = {"model": "deepseek-reasoner", "tools": [{"type": "function", "function": function}]}
    turns: list[Any] = [{"role": "user", "content": "Use weather"}]
    said = client.chat.completions.create(messages=turns, **asked).choices[0].message
    (call,) = said.tool_calls or ()
    message = said.model_dump(exclude_none=True)
    assert message["reasoning_content"]
    if thoughts == "lost":
        del message["reasoning_content"]
    turns += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    # It refuses a turn without them while it thinks.
    found = client.chat.completions.create(messages=turns, **asked).choices[0].message
    assert found.content
    assert bool(getattr(found, "reasoning_content", None)) is (thoughts == "kept")


def test_what_deepseek_does_not_take_is_left_out_by_name_or_refused_by_name(client: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "deepseek-chat", "messages": HELLO}
    reply = client.chat.completions.with_raw_response.create(**given, seed=1, user="ann", max_completion_tokens=9)
    assert reply.headers["x-tollgate-dropped"] == "seed, user"
    assert reply.parse().choices[0].finish_reason == "length"
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}}}
    for more, param in (({"n": 2}, "n"), ({"response_format": schema}, "response_format")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(**given, **more)
        assert refused.value.param == param


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    yield from simulated(tmp_path_factory.mktemp("vendors"), "vendors")


@pytest.fixture(scope="module")
def all_vendors(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("declared")
    root = f"http://127.0.0.1:{simulator.port}"
    (folder / "key").write_text("sk-vendor\n")
    # The page's own file, as it stands there but for the address and the place of the key, and the vendors beside it.
    declared = yaml.safe_load(guide_file())
    declared["providers"][0]["base_url"] = f"{root}/minimax/v1"
    keys = [{"file": str(folder / "key")}]
    declared["channels"][0] |= {"credentials": keys, "private_network": True}
    for name in VENDORS:
        channel = {"name": name, "provider": name, "base_url": f"{root}/{name}/v1", "private_network": True}
        models = [{"name": f"{name}-model", "upstream": "up"}]
        declared["channels"].append({**channel, "credentials": keys, "models": models})
        declared["price_books"][0]["models"][f"{name}-model"] = {"input": "1", "output": "2"}
    (folder / "tollgate.yaml").write_text(yaml.safe_dump(declared))
    one = Product(tmp_path_factory.mktemp("vendors-home"), ["--config", str(folder)]).start()
    yield one
    assert one.stop() == 0


def guide_file() -> str:
    """Returns the last complete file of the tutorial."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return max((block for block in blocks if "channels:" in block), key=len)


def test_every_vendor_answers_streams_refuses_and_is_booked(all_vendors: Product) -> None:
    rows: dict[str, openai.types.CompletionUsage] = {}
    with client_of(all_vendors) as client:
        for name in VENDORS:
            model = f"{name}-model"
            whole = client.chat.completions.create(model=model, messages=HELLO)
            assert whole.usage is not None
            rows[whole._request_id or ""] = whole.usage
            with client.chat.completions.stream(model=model, messages=HELLO) as stream:
                assert stream.get_final_completion().choices[0].message.content == whole.choices[0].message.content
            # Those that are the caller's fault: what is our account's would have its credential rest.
            for kind in sorted(CALLERS_FAULT.intersection(vendors()[name].refused)):
                asked: list[Any] = [{"role": "user", "content": f"[[sim:refuse={kind}]]"}]
                with pytest.raises(openai.BadRequestError):
                    client.chat.completions.create(model=model, messages=asked)
    for request_id, usage in rows.items():
        row = all_vendors.wait_row(request_id)
        assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)


def test_a_caller_who_leaves_ends_the_call_at_the_vendor(all_vendors: Product, simulator: Simulator) -> None:
    simulator.clear()
    body = {
        "model": "deepseek-model",
        "messages": [{"role": "user", "content": "[[sim:chunks=2000,gap_ms=20]]"}],
        "stream": True,
    }
    headers = {"authorization": f"Bearer {all_vendors.api_key}"}
    with httpx.Client(trust_env=False, timeout=30) as http, http.stream(
        "POST", f"{all_vendors.base_url}/chat/completions", json=body, headers=headers
    ) as reply:  # fmt: skip
        request_id = reply.headers["x-request-id"]
        assert next(reply.iter_lines()).startswith("data: ")
    seen: list[str] = []

    def gone() -> bool:
        seen.extend(simulator.seen())
        return "client_gone" in seen or "interrupted" in seen

    all_vendors.wait(gone, "the vendor to hear that the caller is gone")
    assert all_vendors.wait_row(request_id)["status"]


def test_the_tutorial_makes_a_vendor_of_a_file(all_vendors: Product) -> None:
    with client_of(all_vendors) as client:
        reply = client.chat.completions.with_raw_response.create(
            model="acme-large", messages=HELLO, max_tokens=50, seed=1
        )
        assert reply.headers["x-tollgate-dropped"] == "seed"
        said = reply.parse().choices[0].message
        assert "You said: Say hello" in (said.content or "")
        with client.chat.completions.stream(
            model="acme-large", messages=[{"role": "user", "content": "Think [[sim:reasoning=4]]"}]
        ) as stream:
            events = [event.chunk.choices[0].delta for event in stream if event.type == "chunk" and event.chunk.choices]
        thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in events)
        assert len(thought.split()) == 4
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="acme-large", messages=HELLO, n=2)
        assert refused.value.param == "n"
        asked: list[Any] = [{"role": "user", "content": "[[sim:refuse=content_policy]]"}]
        with pytest.raises(openai.BadRequestError) as policy:
            client.chat.completions.create(model="acme-large", messages=asked)
        assert policy.value.code == "content_policy_violation"
