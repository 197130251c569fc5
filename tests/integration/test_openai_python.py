"""The current openai package for Python, unmodified, against the whole product."""

import base64
import math
import struct
from collections.abc import Iterator

import openai
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration
CHAT = "gpt-5-mini"
HELLO = [{"role": "user", "content": "Say hello"}]
# More than the 100 USD that the demo organization has, whatever else the tests spent.
UNAFFORDABLE_TOKENS = 60_000_000


@pytest.fixture
def sent() -> list[str]:
    """Every HTTP request of `client`, retries included."""
    return []


@pytest.fixture
def client(product: Product, sent: list[str]) -> Iterator[openai.OpenAI]:
    def record(request) -> None:
        sent.append(f"{request.method} {request.url.path}")

    http = openai.DefaultHttpxClient(trust_env=False, event_hooks={"request": [record]})
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, timeout=60) as one:
        yield one


def test_chat(client: openai.OpenAI, product: Product) -> None:
    reply = client.chat.completions.create(model=CHAT, messages=HELLO)
    assert reply.object == "chat.completion"
    assert reply.model == CHAT
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    row = product.wait_row(reply._request_id or "")
    assert reply.usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert row["model"] == CHAT
    assert row["charge_pico"] == reply.usage.prompt_tokens * 250_000 + reply.usage.completion_tokens * 2_000_000


def test_stream_says_what_chat_says_and_usage_only_when_asked(client: openai.OpenAI, product: Product) -> None:
    whole = client.chat.completions.create(model=CHAT, messages=HELLO)
    quiet = client.chat.completions.with_raw_response.create(model=CHAT, messages=HELLO, stream=True)
    chunks = list(quiet.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert [chunk.usage for chunk in chunks if chunk.usage] == []
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    row = product.wait_row(quiet.headers["x-request-id"])
    assert whole.usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    told = list(
        client.chat.completions.create(model=CHAT, messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    assert told[-1].choices == []
    assert told[-1].usage is not None
    assert told[-1].usage.total_tokens == whole.usage.total_tokens
    assert all(chunk.usage is None for chunk in told[:-1])


def test_stream_helper_tools_and_parsed_replies(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    with client.chat.completions.stream(
        model=CHAT, messages=[{"role": "user", "content": "Use weather"}], tools=[tool]
    ) as stream:
        for _ in stream:
            pass
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls
    assert [call.function.name for call in calls] == ["weather"]
    schema = {"type": "object", "properties": {"a": {"const": 7}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = client.chat.completions.create(model=CHAT, messages=HELLO, response_format=form)
    assert '"a"' in (reply.choices[0].message.content or "")


async def test_async_client_streams(product: Product) -> None:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http) as client:
        stream = await client.chat.completions.create(model=CHAT, messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def test_base_url_without_v1(product: Product) -> None:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.url, api_key=product.api_key, http_client=http) as client:
        assert client.chat.completions.create(model=CHAT, messages=HELLO).choices[0].message.content
        assert client.models.retrieve(CHAT).id == CHAT


def test_embeddings_are_the_same_in_both_encodings(client: openai.OpenAI, product: Product) -> None:
    texts = ["one", "another text"]
    plain = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    packed = client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="base64")
    usual = client.embeddings.create(model="text-embedding-3-small", input=texts)
    assert [item.index for item in plain.data] == [0, 1]
    for one, other, third in zip(plain.data, packed.data, usual.data, strict=True):
        assert len(one.embedding) == 1536
        assert isinstance(other.embedding, str)
        unpacked = struct.unpack("<1536f", base64.b64decode(other.embedding))
        assert all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(one.embedding, unpacked, strict=True))
        assert third.embedding == pytest.approx(one.embedding, abs=1e-6)
    assert plain.data[0].embedding != plain.data[1].embedding
    row = product.wait_row(plain._request_id or "")
    assert (row["input_tokens"], row["output_tokens"]) == (plain.usage.prompt_tokens, 0)


def test_models(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {CHAT, "text-embedding-3-small", "gpt-image-2"} <= set(models)
    assert all(model.object == "model" and model.created >= 0 and model.owned_by for model in models.values())
    assert client.models.retrieve(CHAT) == models[CHAT]


def test_images(client: openai.OpenAI, product: Product) -> None:
    made = client.images.generate(model="gpt-image-2", prompt="a red kite", size="1024x1024", n=2)
    assert made.data is not None
    pictures = [base64.b64decode(item.b64_json or "") for item in made.data]
    assert len({*pictures}) == 2
    for picture in pictures:
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", picture[16:24]) == (1024, 1024)
    row = product.wait_row(made._request_id or "")
    assert row["charge_pico"] > 0
    # What the caller is told is what the row has, in OpenAI's words.
    assert made.usage is not None
    assert made.usage.input_tokens == row["input_tokens"] > 0
    assert made.usage.output_tokens > 0
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens


def test_image_addresses_work_without_a_key(client: openai.OpenAI) -> None:
    made = client.images.generate(model="gpt-image-2", prompt="a blue kite", response_format="url")
    assert made.data is not None
    with openai.DefaultHttpxClient(trust_env=False) as browser:
        picture = browser.get(made.data[0].url or "")
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG\r\n\x1a\n")


def test_wrong_key(client: openai.OpenAI, sent: list[str]) -> None:
    with pytest.raises(openai.AuthenticationError) as wrong:
        client.with_options(api_key="sk-tg-wrong").chat.completions.create(model=CHAT, messages=HELLO)
    assert wrong.value.code == "invalid_api_key"
    assert wrong.value.request_id
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-tg-wrong").models.list()
    assert len(sent) == 2


def test_revoked_key(client: openai.OpenAI, product: Product) -> None:
    made = product.create_key("revoked soon")
    mine = client.with_options(api_key=made["key"])
    assert mine.chat.completions.create(model=CHAT, messages=HELLO).choices
    assert product.api.post(f"/api/v1/keys/{made['id']}/revoke").status_code == 200

    def refused() -> bool:
        try:
            mine.chat.completions.create(model=CHAT, messages=HELLO)
        except openai.AuthenticationError:
            return True
        return False

    product.wait(refused, "the revoked key to be refused")


def test_unknown_model(client: openai.OpenAI, product: Product, sent: list[str]) -> None:
    accepted = product.simulator_summary()["requests"]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert missing.value.code == "model_not_found"
    assert "no-such-model" in missing.value.message
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=HELLO, stream=True)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
    with pytest.raises(openai.NotFoundError):
        client.images.generate(model="no-such-model", prompt="x")
    assert len(sent) == 4
    assert product.simulator_summary()["requests"] == accepted


def test_bad_request(client: openai.OpenAI, sent: list[str]) -> None:
    with pytest.raises(openai.BadRequestError) as ours:
        client.chat.completions.create(model=CHAT, messages=HELLO, n=0)
    assert ours.value.param == "n"
    with pytest.raises(openai.BadRequestError) as theirs:
        client.chat.completions.create(model=CHAT, messages=[])
    assert theirs.value.param == "messages"
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="text-embedding-3-small", input=[])
    with pytest.raises(openai.BadRequestError) as image:
        client.images.generate(model="gpt-image-2", prompt="", size="1024x1024")
    assert image.value.param == "prompt"
    assert len(sent) == 4


def test_no_money(client: openai.OpenAI, product: Product, sent: list[str]) -> None:
    accepted = product.simulator_summary()["requests"]
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as poor:
            client.chat.completions.create(
                model=CHAT, messages=HELLO, max_completion_tokens=UNAFFORDABLE_TOKENS, stream=stream
            )
        assert (poor.value.code, poor.value.type) == ("insufficient_quota", "insufficient_quota")
        assert poor.value.response.headers["x-should-retry"] == "false"
    assert len(sent) == 2
    assert product.simulator_summary()["requests"] == accepted
    assert client.chat.completions.create(model=CHAT, messages=HELLO).choices


@pytest.mark.parametrize(
    ("fault", "kind"), [("status=429,code=rate_limit_exceeded", openai.RateLimitError), ("cut=3", openai.APIError)]
)
def test_upstream_errors_are_typed(client: openai.OpenAI, fault: str, kind: type[openai.APIError]) -> None:
    messages = [{"role": "user", "content": f"[[sim:{fault}]] hello"}]
    once = client.with_options(max_retries=0)
    with pytest.raises(kind):
        list(once.chat.completions.create(model=CHAT, messages=messages, stream=True))
