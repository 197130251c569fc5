"""The current google-genai package for Python, unmodified, against the whole product: with Gemini, and with others."""

from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types
from tests.integration.product import Product

pytestmark = pytest.mark.integration
GEMINI, GPT, CLAUDE = "gemini-3.5-flash", "gpt-5-mini", "claude-haiku-4-5"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
models = pytest.mark.parametrize("model", [GEMINI, GPT, CLAUDE])


@pytest.fixture
def client(product: Product) -> genai.Client:
    return genai.Client(api_key=product.api_key, http_options=types.HttpOptions(base_url=product.url))


def config(**more: Any) -> types.GenerateContentConfig:
    """Returns a configuration in which the package calls no functions itself."""
    off = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(automatic_function_calling=off, **more)


@models
def test_an_answer_and_its_row(client: genai.Client, product: Product, model: str) -> None:
    reply = client.models.generate_content(
        model=model, contents="Say hello", config=config(system_instruction="Be brief.", max_output_tokens=200)
    )
    assert reply.text
    assert reply.candidates
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    assert reply.usage_metadata is not None
    assert reply.sdk_http_response is not None
    headers = reply.sdk_http_response.headers or {}
    row = product.wait_row(headers["x-request-id"])
    assert row["model"] == model
    assert (row["input_tokens"], row["output_tokens"]) == (
        reply.usage_metadata.prompt_token_count,
        reply.usage_metadata.candidates_token_count,
    )


@models
def test_a_stream_says_what_the_answer_says(client: genai.Client, model: str) -> None:
    whole = client.models.generate_content(model=model, contents="Say hello", config=config(max_output_tokens=200))
    chunks = list(
        client.models.generate_content_stream(model=model, contents="Say hello", config=config(max_output_tokens=200))
    )
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    last = chunks[-1]
    assert last.candidates
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert last.usage_metadata is not None
    assert whole.usage_metadata is not None
    assert last.usage_metadata.total_token_count == whole.usage_metadata.total_token_count


@models
def test_functions_over_turns(client: genai.Client, model: str) -> None:
    function = types.FunctionDeclaration(name="weather", description="How it is", parameters_json_schema=CITY)
    given = config(tools=[types.Tool(function_declarations=[function])])
    asked = types.Content(role="user", parts=[types.Part(text="Use weather")])
    reply = client.models.generate_content(model=model, contents=asked, config=given)
    (call,) = reply.function_calls or ()
    assert (call.name, call.args) == ("weather", {"city": "simulated"})
    assert reply.candidates
    said = reply.candidates[0].content
    assert said is not None
    answer = types.Part.from_function_response(name="weather", response={"result": "sunny"})
    turns = [asked, said, types.Content(role="user", parts=[answer])]
    after = client.models.generate_content(model=model, contents=turns, config=given)  # type: ignore[arg-type]
    assert after.text


@models
def test_errors(client: genai.Client, model: str) -> None:
    with pytest.raises(errors.ClientError) as missing:
        client.models.generate_content(model="no-such-model", contents="x")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ServerError):
        client.models.generate_content(model=model, contents="[[sim:status=500]] x")
    with pytest.raises(errors.ServerError):
        list(client.models.generate_content_stream(model=model, contents="[[sim:mid-error=3]] x"))


def test_what_others_cannot_do_is_refused(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="candidateCount"):
        client.models.generate_content(model=GPT, contents="x", config=config(candidate_count=2))
    search = types.Tool(google_search=types.GoogleSearch())
    with pytest.raises(errors.ClientError, match="googleSearch"):
        client.models.generate_content(model=GPT, contents="x", config=config(tools=[search]))


def test_models_and_counting(client: genai.Client) -> None:
    names = {model.name for model in client.models.list(config={"page_size": 50})}
    assert {f"models/{name}" for name in (GEMINI, GPT, CLAUDE)} <= names
    assert client.models.get(model=GEMINI).name == f"models/{GEMINI}"
    assert client.models.count_tokens(model=GEMINI, contents="Hello there").total_tokens


def test_a_conversation_with_calls_of_gemini_goes_on_with_claude(product: Product) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
    turns: list[Any] = []
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as chat:
        for _ in range(2):
            turns.append({"role": "user", "content": "Use weather"})
            said = chat.chat.completions.create(model=GEMINI, messages=turns, tools=tools).choices[0].message
            (call,) = said.tool_calls or ()
            turns += [said.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "x"}]
            turns.append({"role": "assistant", "content": "It is x."})
        turns.append({"role": "user", "content": "And?"})
        # It refuses two calls of one id.
        assert chat.chat.completions.create(model=CLAUDE, messages=turns, tools=tools).choices[0].message.content


@pytest.mark.proves("chat", "contents", "thinking")
def test_the_other_packages_reach_gemini(product: Product) -> None:
    asked: list[Any] = [{"role": "user", "content": "Use weather"}]
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as chat:
        tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
        said = chat.chat.completions.create(model=GEMINI, messages=asked, tools=tools).choices[0].message
        (call,) = said.tool_calls or ()
        turns = [*asked, said.model_dump(exclude_none=True)]
        turns.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
        assert chat.chat.completions.create(model=GEMINI, messages=turns, tools=tools).choices[0].message.content
        thought = chat.chat.completions.create(model=GEMINI, messages=asked, reasoning_effort="low")
        assert thought.choices[0].message.reasoning_content  # type: ignore[attr-defined]
    plain = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=product.url, api_key=product.api_key, http_client=plain, max_retries=0) as one:
        claude_tools: list[Any] = [{"name": "weather", "input_schema": CITY}]
        with one.messages.stream(model=GEMINI, max_tokens=300, messages=asked, tools=claude_tools) as stream:
            final = stream.get_final_message()
        assert final.stop_reason == "tool_use"
        (used,) = [block for block in final.content if block.type == "tool_use"]
        assert used.input == {"city": "simulated"}
