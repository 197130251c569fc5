"""The Responses API of the current openai package, unmodified, against the whole product, with models of each wire."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
GPT, CLAUDE, GEMINI = "gpt-5-mini", "claude-haiku-4-5", "gemini-3.5-flash"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [{"type": "function", "name": "weather", "parameters": CITY, "strict": False}]
models = pytest.mark.parametrize("model", [GPT, CLAUDE, GEMINI])


@pytest.fixture
def client(product: Product) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as one:
        yield one


@models
def test_a_response_and_its_row(client: openai.OpenAI, product: Product, model: str) -> None:
    reply = client.responses.create(model=model, input="Say hello", instructions="Be brief.")
    assert (reply.status, reply.model, reply.object) == ("completed", model, "response")
    assert reply.output_text
    assert reply.usage is not None
    row = product.wait_row(reply._request_id or "")
    assert (row["input_tokens"], row["output_tokens"]) == (reply.usage.input_tokens, reply.usage.output_tokens)


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


def test_a_stream_that_breaks_fails(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError), client.responses.stream(model=GPT, input="[[sim:mid-error=4]] x") as stream:
        list(stream)


def test_a_response_body_on_the_path_of_chat(client: openai.OpenAI) -> None:
    """What Cursor sends for models whose names it knows; it waits for chunks."""
    tools = [{"type": "function", "name": "weather", "parameters": CITY}]
    body = {"model": GPT, "input": [{"role": "user", "content": "Use weather"}], "tools": tools, "stream": True}
    kind = openai.types.chat.ChatCompletionChunk
    stream = client.post("/chat/completions", body=body, cast_to=kind, stream=True, stream_cls=openai.Stream[kind])
    chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[0].object == "chat.completion.chunk"
