"""The Responses API of the current openai package, unmodified, against the whole product, with models of each wire.

The models of GPT are asked in it, as OpenAI is; those of DeepSeek by chat.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
GPT, CLAUDE, GEMINI, CHATTING = "gpt-5-mini", "claude-haiku-4-5", "gemini-3.5-flash", "deepseek-flash"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [{"type": "function", "name": "weather", "parameters": CITY, "strict": False}]
models = pytest.mark.parametrize("model", [GPT, CLAUDE, GEMINI, CHATTING])


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as one:
        yield one


def asked_of(product: Product, request_id: str | None) -> list[dict[str, Any]]:
    """Returns what the provider saw of a request."""
    return [entry for entry in product.simulator_ledger() if entry["x_request_id"] == request_id]


@models
def test_a_response_and_its_row(client: openai.OpenAI, product: Product, model: str) -> None:
    reply = client.responses.create(model=model, input="Say hello", instructions="Be brief.")
    assert (reply.status, reply.model, reply.object) == ("completed", model, "response")
    assert reply.output_text
    assert reply.usage is not None
    row = product.wait_row(reply._request_id or "")
    assert (row["input_tokens"], row["output_tokens"]) == (reply.usage.input_tokens, reply.usage.output_tokens)
    assert not row["estimated"]
    (asked,) = asked_of(product, reply._request_id)
    wires = {GPT: "responses", CLAUDE: "messages", GEMINI: "contents", CHATTING: "chat"}
    assert asked["operation"] == wires[model]


@pytest.mark.proves("responses", "chat", "search")
def test_what_the_provider_alone_can_do(client: openai.OpenAI, product: Product) -> None:
    """Thoughts that it sealed itself, a tool that takes text, and a search of the web, which is on the bill."""
    tools: list[Any] = [{"type": "web_search"}, {"type": "custom", "name": "patch", "description": "Takes a patch."}]
    more: dict[str, Any] = {
        "tools": tools,
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    asked: list[Any] = [{"role": "user", "content": "Use web_search, then patch [[sim:cached=3]]"}]
    raw = client.responses.with_raw_response.create(model=GPT, input=asked, **more)
    first = raw.parse()
    assert [item.type for item in first.output] == ["reasoning", "web_search_call", "custom_tool_call"]
    assert "x-tollgate-dropped" not in raw.headers
    assert (first.store, first.usage is not None) == (False, True)
    row = product.wait_row(raw.headers["x-request-id"])
    assert (row["reasoning_tokens"], row["cache_read_tokens"], row["units"]) == (8, 3, {"request": 1, "search": 1})
    (entry,) = asked_of(product, raw.headers["x-request-id"])
    assert entry["units"]["search"] == 1
    # Prices of the catalogue: 0.25, 0.025 and 2 for a million tokens, 0.01 for a search.
    units = entry["units"]
    tokens = units["input"] * 250_000 + 3 * 25_000 + (units["output"] + units["reasoning"]) * 2_000_000
    assert int(row["charge_pico"]) == tokens + 10_000_000_000
    turns = [*asked, *[item.model_dump(exclude_none=True) for item in first.output]]
    turns.append({"type": "custom_tool_call_output", "call_id": turns[-1]["call_id"], "output": "done"})
    with client.responses.stream(model=GPT, input=turns, **more) as stream:
        kinds = [event.type for event in stream]
        after = stream.get_final_response()
    assert "response.reasoning_summary_text.delta" in kinds
    assert after.output_text.startswith("[simulated]")


def test_a_conversation_without_sealed_thoughts_goes_on(client: openai.OpenAI) -> None:
    """The provider keeps no thoughts, so those that are not sealed are left out on the way back to it."""
    asked: list[Any] = [{"role": "user", "content": "Say hello"}]
    first = client.responses.create(model=GPT, input=asked, reasoning={"effort": "low"})
    assert [item.type for item in first.output] == ["reasoning", "message"]
    turns = [*asked, *[item.model_dump(exclude_none=True) for item in first.output], *asked]
    again = client.responses.with_raw_response.create(model=GPT, input=turns)
    assert again.parse().output_text
    assert again.headers["x-tollgate-dropped"] == "input.reasoning"
    # So are the thoughts of others, with which a conversation may have begun.
    thought = client.responses.create(model=CLAUDE, input=asked, reasoning={"effort": "low"})
    turns = [*asked, *[item.model_dump(exclude_none=True) for item in thought.output], *asked]
    assert client.responses.create(model=GPT, input=turns).output_text


BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"max_tokens": 9}, "max_tokens"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].function"),
    ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
    ({"max_output_tokens": 5}, "max_output_tokens"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=[param for _, param in BAD])
def test_the_provider_says_what_is_wrong_with_a_body(product: Product, body: dict[str, Any], param: str) -> None:
    """In its own words and with the place: nothing is sent twice, nothing is charged."""
    headers = {"authorization": f"Bearer {product.api_key}"}
    content = {"model": GPT, "input": "x", **body}
    reply = httpx.post(f"{product.base_url}/responses", json=content, headers=headers, trust_env=False, timeout=60)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error"), error
    assert len(asked_of(product, reply.headers["x-request-id"])) == 1


@models
def test_the_stream_helper_and_tools_over_turns(client: openai.OpenAI, model: str) -> None:
    asked: list[Any] = [{"role": "user", "content": "Use weather"}]
    with client.responses.stream(model=model, input=asked, tools=TOOLS) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    (call,) = [item for item in final.output if item.type == "function_call"]
    assert (call.name, call.arguments) == ("weather", '{"city":"simulated"}')
    turns = [*asked, *[item.model_dump(exclude_none=True) for item in final.output]]
    turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    after = client.responses.create(model=model, input=turns, tools=TOOLS)
    assert after.output_text
    with client.responses.stream(model=model, input="Say hello") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert said == stream.get_final_response().output_text


@pytest.mark.proves("responses", "messages", "thinking")
def test_thoughts_of_claude_go_there_and_back(client: openai.OpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": "Use weather"}]
    more: dict[str, Any] = {"tools": TOOLS, "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
    first = client.responses.create(model=CLAUDE, input=asked, store=False, **more)
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    turns = [*asked, *[item.model_dump(exclude_none=True) for item in first.output]]
    turns.append({"type": "function_call_output", "call_id": turns[-1]["call_id"], "output": "sunny"})
    # The provider refuses a signature that is not its own, so it came back unchanged.
    after = client.responses.create(model=CLAUDE, input=turns, store=False, **more)
    assert [item.type for item in after.output] == ["reasoning", "message"]


def test_what_needs_a_memory_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=GPT, input="x", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=GPT, input="x", store=True)
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.retrieve("resp_1")
    assert missing.value.code == "response_not_stored"
    with pytest.raises(openai.BadRequestError) as empty:
        client.responses.create(model=GPT, input=[])
    assert empty.value.param == "input"


# A failure in one read with the first words is not begun for the caller, so it waits until they are there. Of chat, a
# reason to finish is an end.
FAILS = "mid-error=8,hold=8"
BREAKS = [(GPT, FAILS), (GPT, "finish=failed,chunks=3,hold=6"), (GPT, "cut=6"), (GPT, "no-done"), (CHATTING, FAILS)]


@pytest.mark.parametrize(("model", "fault"), BREAKS)
def test_a_stream_that_breaks_fails(client: openai.OpenAI, product: Product, model: str, fault: str) -> None:
    raw = client.responses.with_raw_response.create(model=model, input=f"[[sim:{fault}]] x", stream=True)
    product.release()
    with pytest.raises(openai.APIError):
        list(raw.parse())
    row = product.wait_row(raw.headers["x-request-id"])
    assert (row["outcome"], row["estimated"]) == ("upstream_cut", True)
    assert int(row["charge_pico"]) > 0


def test_a_provider_that_fails_before_its_first_words(client: openai.OpenAI, product: Product) -> None:
    """Nothing was sent yet, so that it is an error with a status and not a stream."""
    with pytest.raises(openai.APIStatusError) as failed:
        client.responses.create(model=GPT, input="[[sim:mid-error=2]] x", stream=True)
    assert failed.value.status_code >= 500
    row = product.wait_row(failed.value.response.headers["x-request-id"])
    assert int(row["charge_pico"]) == 0


def test_a_caller_who_leaves_pays_for_what_came(product: Product) -> None:
    body = {"model": GPT, "input": "[[sim:chunks=40,hold=20]] x", "stream": True}
    headers = {"authorization": f"Bearer {product.api_key}"}
    address = f"{product.base_url}/responses"
    with httpx.stream("POST", address, json=body, headers=headers, trust_env=False, timeout=60) as reply:
        lines = reply.iter_lines()
        next(line for line in lines if "output_text.delta" in line)
    row = product.wait_row(reply.headers["x-request-id"])
    assert row["outcome"] == "cancelled"
    assert 0 < row["output_tokens"] < 40


def test_a_response_body_on_the_path_of_chat(client: openai.OpenAI) -> None:
    """What Cursor sends for models whose names it knows; it waits for chunks."""
    tools = [{"type": "function", "name": "weather", "parameters": CITY}]
    body = {"model": GPT, "input": [{"role": "user", "content": "Use weather"}], "tools": tools, "stream": True}
    kind = openai.types.chat.ChatCompletionChunk
    stream = client.post("/chat/completions", body=body, cast_to=kind, stream=True, stream_cls=openai.Stream[kind])
    chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[0].object == "chat.completion.chunk"
