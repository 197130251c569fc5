"""The current anthropic package for Python, unmodified, against the whole product: with Claude, and with others."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
CLAUDE, GPT, GEMINI = "claude-haiku-4-5", "gpt-5-mini", "gemini-3.5-flash"
HELLO: list[Any] = [{"role": "user", "content": "Say hello"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [{"name": "weather", "description": "How it is", "input_schema": WEATHER}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
models = pytest.mark.parametrize("model", [CLAUDE, GPT])


@pytest.fixture
def client(product: Product) -> Iterator[anthropic.Anthropic]:
    http = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=product.url, api_key=product.api_key, http_client=http, max_retries=0) as one:
        yield one


@pytest.fixture
def chat(product: Product) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as one:
        yield one


@models
def test_a_message_and_its_row(client: anthropic.Anthropic, product: Product, model: str) -> None:
    reply = client.messages.create(model=model, max_tokens=200, messages=HELLO, system="Be brief.")
    assert (reply.type, reply.role, reply.model, reply.stop_reason) == ("message", "assistant", model, "end_turn")
    assert reply.content[0].type == "text"
    assert reply.content[0].text
    row = product.wait_row(reply._request_id or "")
    assert row["model"] == model
    assert (row["input_tokens"], row["output_tokens"]) == (reply.usage.input_tokens, reply.usage.output_tokens)


@models
def test_a_stream_says_what_the_message_says(client: anthropic.Anthropic, product: Product, model: str) -> None:
    whole = client.messages.create(model=model, max_tokens=200, messages=HELLO)
    with client.messages.stream(model=model, max_tokens=200, messages=HELLO) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert said == whole.content[0].text
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == (
        whole.stop_reason,
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )
    row = product.wait_row(stream.response.headers["request-id"])
    assert (row["input_tokens"], row["output_tokens"]) == (final.usage.input_tokens, final.usage.output_tokens)


@models
def test_tools_over_turns(client: anthropic.Anthropic, model: str) -> None:
    asked: list[Any] = [{"role": "user", "content": "Use weather"}]
    with client.messages.stream(model=model, max_tokens=200, messages=asked, tools=TOOLS) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("weather", {"city": "simulated"})
    said = [block.model_dump(exclude_none=True) for block in final.content]
    answer = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}, {"type": "text", "text": "So?"}]
    turns: list[Any] = [*asked, {"role": "assistant", "content": said}, {"role": "user", "content": answer}]
    assert client.messages.create(model=model, max_tokens=200, messages=turns, tools=TOOLS).stop_reason == "end_turn"


@pytest.mark.proves("messages", "messages", "thinking")
def test_thoughts_of_claude_are_proven_over_turns(client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    asked: list[Any] = [{"role": "user", "content": "Use weather"}]
    with client.messages.stream(
        model=CLAUDE, max_tokens=2000, messages=asked, tools=TOOLS, thinking=thinking
    ) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    said = [block.model_dump(exclude_none=True) for block in final.content]
    answer = [{"type": "tool_result", "tool_use_id": said[1]["id"], "content": "sunny"}]
    turns: list[Any] = [*asked, {"role": "assistant", "content": said}, {"role": "user", "content": answer}]
    reply = client.messages.create(model=CLAUDE, max_tokens=2000, messages=turns, tools=TOOLS, thinking=thinking)
    assert reply.stop_reason == "end_turn"
    # The provider checks its own signature, and the gateway does not touch it.
    said[0]["signature"] = "forged"
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        client.messages.create(model=CLAUDE, max_tokens=2000, messages=turns, tools=TOOLS, thinking=thinking)


@pytest.mark.parametrize("model", [pytest.param(GEMINI, id="gemini"), pytest.param("deepseek-reasoner", id="deepseek")])
def test_thoughts_of_others_come_back_over_turns(client: anthropic.Anthropic, model: str) -> None:
    more: dict[str, Any] = {"model": model, "max_tokens": 2000, "tools": TOOLS}
    more["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    asked: list[Any] = [{"role": "user", "content": "Use weather"}]
    with client.messages.stream(messages=asked, **more) as stream:
        final = stream.get_final_message()
    said = [block.model_dump(exclude_none=True) for block in final.content]
    assert (said[0]["type"], said[-1]["type"]) == ("thinking", "tool_use")
    answer = [{"type": "tool_result", "tool_use_id": said[-1]["id"], "content": "sunny"}]
    turns: list[Any] = [*asked, {"role": "assistant", "content": said}, {"role": "user", "content": answer}]
    # Gemini refuses the call without its signature or with another one, DeepSeek without its thoughts.
    assert client.messages.create(messages=turns, **more).stop_reason == "end_turn"
    if model == GEMINI:
        said[-2]["signature"] = "google:forged"
        with pytest.raises(anthropic.BadRequestError, match="signature"):
            client.messages.create(messages=turns, **more)


@models
def test_pictures(client: anthropic.Anthropic, model: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    asked: list[Any] = [{"role": "user", "content": content}]
    assert client.messages.create(model=model, max_tokens=100, messages=asked).stop_reason == "end_turn"


@models
def test_errors_are_of_their_own_classes(client: anthropic.Anthropic, product: Product, model: str) -> None:
    def ask(**more: Any) -> Any:
        return client.messages.create(**({"model": model, "max_tokens": 9, "messages": HELLO} | more))

    with pytest.raises(anthropic.NotFoundError) as missing:
        ask(model="no-such-model")
    assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        ask(max_tokens=0)
    # Claude Code makes its conversation shorter at these words, whoever says that it must.
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        ask(messages=[{"role": "user", "content": "[[sim:refuse=context_length]]"}])
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        ask(messages=7)
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=product.url, api_key="sk-wrong", max_retries=0).messages.create(
            model=model, max_tokens=9, messages=HELLO
        )
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(max_tokens=100_000_000, stream=True)
    assert limited.value.body["error"]["type"] == "billing_error"  # type: ignore[index]
    assert limited.value.response.headers["x-should-retry"] == "false"


@models
def test_a_stream_that_breaks_ends_with_an_error_event(client: anthropic.Anthropic, model: str) -> None:
    asked: list[Any] = [{"role": "user", "content": "[[sim:mid-error=4]] hello"}]
    with (
        pytest.raises(anthropic.APIStatusError) as broken,
        client.messages.stream(model=model, max_tokens=100, messages=asked) as stream,
    ):
        stream.get_final_message()
    assert broken.value.body["type"] == "error"  # type: ignore[index]


def test_models_and_counting(client: anthropic.Anthropic) -> None:
    first = client.models.list(limit=2)
    assert len(first.data) == 2
    names = [model.id for model in client.models.list(limit=50)]
    assert {CLAUDE, GPT} <= set(names)
    assert len(names) == len(set(names)) > 50
    assert client.models.retrieve(CLAUDE).id == CLAUDE
    assert client.messages.count_tokens(model=CLAUDE, messages=HELLO).input_tokens > 0


@pytest.mark.proves("chat", "messages", "thinking")
def test_chat_reaches_claude(chat: openai.OpenAI, product: Product) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    asked: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Use weather"}]
    with chat.chat.completions.stream(
        model=CLAUDE, messages=asked, tools=tools, stream_options={"include_usage": True}
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    (choice,) = final.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or ()
    assert call.function.arguments == '{"city":"simulated"}'
    assert final.usage is not None
    turns = [*asked, choice.message.model_dump(exclude_none=True)]
    turns.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    raw = chat.chat.completions.with_raw_response.create(
        model=CLAUDE, messages=turns, tools=tools, reasoning_effort="high", seed=7
    )
    reply = raw.parse()
    assert reply.choices[0].finish_reason == "stop"
    # The turn with the call came back without a signed thought, as chat has none: Claude does not think in this one.
    assert raw.headers["x-tollgate-dropped"] == "seed, reasoning_effort"
    row = product.wait_row(raw.headers["x-request-id"])
    assert reply.usage is not None
    assert row["input_tokens"] == reply.usage.prompt_tokens
    thought = chat.chat.completions.create(model=CLAUDE, messages=HELLO, reasoning_effort="low")
    assert thought.choices[0].message.reasoning_content  # type: ignore[attr-defined]
    with pytest.raises(openai.BadRequestError) as refused:
        chat.chat.completions.create(model=CLAUDE, messages=HELLO, n=2)
    assert refused.value.param == "n"
