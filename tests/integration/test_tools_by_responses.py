"""GPT models that think in a chat only without tools, asked by the packages of other vendors, over several turns."""

from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types
from tests.integration.product import Product

pytestmark = pytest.mark.integration
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
models = pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.6-sol", "gpt-6.1-sol"])


def wires(product: Product, *request_ids: str) -> list[str]:
    """Returns what the provider was asked by, in the order in which it was."""
    found = {entry["x_request_id"]: entry["operation"] for entry in product.simulator_ledger()}
    return [found[one] for one in request_ids]


def test_the_vendor_refuses_them_in_chat(product: Product) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    asked: list[Any] = [{"role": "user", "content": "weather"}]
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="/v1/responses") as refused:
            client.chat.completions.create(model="gpt-5.6-sol", messages=asked, tools=[tool])
        assert refused.value.param == "reasoning_effort"


@models
@pytest.mark.parametrize("stream", [False, True])
def test_claudes_package(product: Product, *, model: str, stream: bool) -> None:
    tools: list[Any] = [{"name": "weather", "description": "How it is", "input_schema": CITY}]
    turns: list[Any] = [{"role": "user", "content": "How is the weather?"}]
    more: dict[str, Any] = {"model": model, "max_tokens": 2000, "tools": tools}
    more["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    ids: list[str] = []
    http = anthropic.DefaultHttpxClient(
        trust_env=False, event_hooks={"response": [lambda reply: ids.append(reply.headers["x-request-id"])]}
    )
    with anthropic.Anthropic(base_url=product.url, api_key=product.api_key, http_client=http, max_retries=0) as client:

        def say() -> Any:
            if not stream:
                return client.messages.create(messages=turns, **more)
            with client.messages.stream(messages=turns, **more) as events:
                return events.get_final_message()

        first = say()
        assert [block.type for block in first.content] == ["thinking", "tool_use"]
        assert (first.stop_reason, bool(first.content[0].thinking)) == ("tool_use", True)
        row = product.wait_row(ids[0])
        assert (row["input_tokens"], row["reasoning_tokens"]) == (first.usage.input_tokens, 8)
        turns += [{"role": "assistant", "content": [block.model_dump() for block in first.content]}]
        result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "rain"}
        turns += [{"role": "user", "content": [result]}]
        # The provider looks at the proof of what it thought.
        second = say()
        assert second.content[-1].text.startswith("[simulated]")
        turns[1]["content"][0]["signature"] = turns[1]["content"][0]["signature"][:-12] + "AAAAAAAAAAA="
        with pytest.raises(anthropic.BadRequestError, match="encrypted content"):
            say()
    assert wires(product, *ids) == ["responses"] * 3


@models
def test_geminis_package(product: Product, model: str) -> None:
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=CITY)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    ids: list[str] = []
    hooks = {"response": [lambda reply: ids.append(reply.headers["x-request-id"])]}
    turns: list[Any] = [types.Content(role="user", parts=[types.Part(text="How is the weather?")])]
    with httpx.Client(trust_env=False, event_hooks=hooks, timeout=60) as http:
        options = types.HttpOptions(base_url=product.url, httpx_client=http)
        client = genai.Client(api_key=product.api_key, http_options=options)
        first = client.models.generate_content(model=model, contents=turns, config=config)
        (candidate,) = first.candidates or ()
        assert candidate.content is not None
        (call,) = first.function_calls or ()
        turns.append(candidate.content)
        turns.append(types.Content(role="user", parts=[types.Part(function_response=types.FunctionResponse(
            id=call.id, name="weather", response={"result": "rain"},
        ))]))  # fmt: skip
        second = client.models.generate_content(model=model, contents=turns, config=config)
        assert (second.text or "").startswith("[simulated]")
    assert wires(product, *ids) == ["responses"] * 2
    entries = [entry for entry in product.simulator_ledger() if entry["x_request_id"] == ids[1]]
    assert entries[0]["units"]["reasoning"] == 8
