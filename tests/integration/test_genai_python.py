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
        client.models.generate_content(model=CLAUDE, contents="x", config=config(candidate_count=2))
    search = types.Tool(google_search=types.GoogleSearch())
    with pytest.raises(errors.ClientError, match="googleSearch"):
        client.models.generate_content(model=GPT, contents="x", config=config(tools=[search]))


@pytest.mark.parametrize("model", ["gemini-2.5-flash", GPT])
def test_several_candidates(client: genai.Client, product: Product, model: str) -> None:
    given = config(candidate_count=3, max_output_tokens=200)
    whole = client.models.generate_content(model=model, contents="Say hello", config=given)
    texts = {
        one.index: one.content.parts[0].text for one in whole.candidates or () if one.content and one.content.parts
    }
    assert sorted(index or 0 for index in texts) == [0, 1, 2]
    streamed: dict[int, str] = {}
    ends: dict[int, types.FinishReason] = {}
    last = None
    for last in client.models.generate_content_stream(model=model, contents="Say hello", config=given):
        for one in last.candidates or ():
            number = one.index or 0
            parts = (one.content and one.content.parts) or ()
            streamed[number] = streamed.get(number, "") + "".join(part.text or "" for part in parts)
            if one.finish_reason:
                assert number not in ends
                ends[number] = one.finish_reason
    assert streamed == {index or 0: text for index, text in texts.items()}
    assert set(ends.values()) == {types.FinishReason.STOP}
    assert last is not None
    assert (last.usage_metadata, whole.usage_metadata) != (None, None)
    assert whole.sdk_http_response is not None
    row = product.wait_row((whole.sdk_http_response.headers or {})["x-request-id"])
    assert whole.usage_metadata is not None
    assert row["output_tokens"] == whole.usage_metadata.candidates_token_count
    assert row["estimated"] is False


@pytest.mark.parametrize("model", ["gemini-2.5-flash", GPT])
def test_how_likely_the_words_were(client: genai.Client, model: str) -> None:
    given = config(response_logprobs=True, logprobs=2, max_output_tokens=200)
    reply = client.models.generate_content(model=model, contents="Say hello", config=given)
    (candidate,) = reply.candidates or ()
    assert candidate.logprobs_result is not None
    chosen = candidate.logprobs_result.chosen_candidates or []
    assert "".join(one.token or "" for one in chosen) == reply.text
    assert {len(one.candidates or ()) for one in candidate.logprobs_result.top_candidates or ()} == {2}


def test_how_likely_the_words_of_gemini_were(product: Product) -> None:
    asked: dict[str, Any] = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Say hello"}]}
    asked |= {"logprobs": True, "top_logprobs": 2, "n": 2}
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as chat:
        whole = chat.chat.completions.create(**asked)
        with chat.chat.completions.stream(**asked) as stream:
            final = stream.get_final_completion()
        for choice, streamed in zip(whole.choices, final.choices, strict=True):
            assert choice.logprobs is not None
            assert streamed.logprobs is not None
            assert "".join(one.token for one in choice.logprobs.content or ()) == choice.message.content
            assert streamed.logprobs.content == choice.logprobs.content
        with pytest.raises(openai.BadRequestError) as caught:
            chat.chat.completions.create(**asked | {"model": GEMINI, "n": 1})
        assert caught.value.param == "logprobs"


def test_several_choices_of_gemini(product: Product) -> None:
    asked: dict[str, Any] = {
        "model": "gemini-2.5-flash",
        "messages": [{"role": "user", "content": "Say hello"}],
        "n": 3,
    }
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as chat:
        raw = chat.chat.completions.with_raw_response.create(**asked)
        whole = raw.parse()
        assert [choice.index for choice in whole.choices] == [0, 1, 2]
        assert len({choice.message.content for choice in whole.choices}) == 3
        row = product.wait_row(raw.headers["x-request-id"])
        assert (row["output_tokens"], row["estimated"]) == (whole.usage.completion_tokens, False)
        with chat.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            final = stream.get_final_completion()
        assert [one.message.content for one in final.choices] == [one.message.content for one in whole.choices]
        assert final.usage == whole.usage
        # Later models give one only.
        with pytest.raises(openai.BadRequestError) as caught:
            chat.chat.completions.create(**asked | {"model": GEMINI})
        assert caught.value.param == "n"


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
