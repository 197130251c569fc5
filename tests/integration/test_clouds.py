"""Channels at Azure, Bedrock and Vertex through the whole product: declared, asked on their wires, and on the bill."""

import base64
import json

import anthropic
import httpx
import openai
import pytest
from tests.integration import sdk_packages
from tests.integration.product import Product
from tests.integration.sdk_scenario import CHECKS, STEPS, addresses, drive, proofs
from tests.integration.simulators import Simulator

pytestmark = pytest.mark.integration
# Public names by where they are served; the simulators check keys, signatures and bodies as the vendors do.
DATED, V1, EMBEDDED, DRAWN = "gpt-4.1", "gpt-5-mini", "text-embedding-3-small", "gpt-image-1.5"
CONVERSED, DENIED = "claude-sonnet-5", "claude-haiku-5-5"
GEMINI, CLAUDE, UNSIGNED, UNREACHED = "gemini-2.5-pro", "claude-opus-5", "gemini-2.5-flash", "gemini-2.5-flash-lite"
DEEPSEEK = "deepseek-chat"
ENTRA, DENIED_BY_ENTRA = "gpt-5.1", "gpt-4o-mini"
# A client of each dialect, and the models that the support matrix is about.
CLIENTS = {
    "openai-2": "chat",
    "openai-2-responses": "responses",
    "langchain-anthropic": "messages",
    "langchain-google": "contents",
}
MATRIX = {
    "azure": DATED, "bedrock": CONVERSED, "vertex-contents": GEMINI, "vertex-messages": CLAUDE, "deepseek": DEEPSEEK,
}  # fmt: skip
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 20).decode()
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    running = Simulator(tmp_path_factory.mktemp("clouds"), "clouds")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def vendors(tmp_path_factory):
    running = Simulator(tmp_path_factory.mktemp("vendors"), "vendors")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def product(clouds, vendors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("product")
    root = f"http://127.0.0.1:{clouds.port}"
    key = httpx.get(f"{root}/bedrock/_key", trust_env=False).text

    account = httpx.get(f"{root}/vertex/_account", trust_env=False).json()
    known = httpx.get(f"{root}/azure/_application", trust_env=False).json()
    entra = {"tenant": {"env": "ENTRA_TENANT"}, "client": {"env": "ENTRA_CLIENT"}, "authority": known["authority"]}

    def channel(name, provider, path, models, credential, **cloud):
        return {
            "name": name, "provider": provider, "base_url": root + path, "private_network": True, "models": models,
            "cloud": cloud, "credentials": [credential],
        }  # fmt: skip

    azure = [{"name": DATED, "upstream": "my-gpt"}, {"name": EMBEDDED, "upstream": "my-embedding"}]
    azure.append({"name": DRAWN, "upstream": "gpt-image-draw"})
    claude = [{"name": CONVERSED, "upstream": "us.anthropic.claude-sonnet-5-v1:0"}]
    haiku = [{"name": DENIED, "upstream": "us.anthropic.claude-haiku-5-5-v1:0"}]
    claude_there = {"name": CLAUDE, "upstream": "claude-opus-5@20260801"}
    (folder / "account.json").write_text(json.dumps(account, indent=2))
    (folder / "none.json").write_text(json.dumps(account | {"private_key": "s3cr3t"}))
    (folder / "unknown.json").write_text(json.dumps(account | {"client_email": "other@simulated.example"}))
    place = {"region": "europe-west4", "project": "simulated"}
    channels = [
        channel("vertex", "vertex", "/vertex", [GEMINI, claude_there], {"file": f"{folder}/account.json"}, **place),
        channel("vertex-none", "vertex", "/vertex", [UNREACHED], {"file": f"{folder}/none.json"}, **place),
        channel("vertex-unknown", "vertex", "/vertex", [UNSIGNED], {"file": f"{folder}/unknown.json"}, **place),
        channel("azure-dated", "azure", "/azure", azure, {"env": "AZURE_KEY"}, api_version="2024-10-21"),
        channel("azure-entra", "azure", "/azure", [ENTRA], {"env": "ENTRA_SECRET"}, entra=entra),
        channel("azure-entra-wrong", "azure", "/azure", [DENIED_BY_ENTRA], {"env": "ENTRA_WRONG"}, entra=entra),
        channel("azure-v1", "azure", "/azure", [{"name": V1, "upstream": "mini"}], {"env": "AZURE_KEY"}),
        channel("bedrock", "bedrock", "/bedrock", claude, {"env": "BEDROCK_KEY"}, region="us-east-1"),
        channel("bedrock-wrong", "bedrock", "/bedrock", haiku, {"env": "WRONG_KEY"}, region="us-east-1"),
    ]
    deepseek = {
        "name": "deepseek", "provider": "deepseek", "base_url": f"http://127.0.0.1:{vendors.port}/deepseek/v1",
        "private_network": True, "models": [DEEPSEEK], "credentials": [{"env": "AZURE_KEY"}],
    }  # fmt: skip
    channels.append(deepseek)
    config = folder / "tollgate.yaml"
    config.write_text(json.dumps({"channels": channels}))
    secrets = {"AZURE_KEY": "any", "BEDROCK_KEY": key, "WRONG_KEY": f"{key.partition(':')[0]}:not-the-secret"}
    secrets |= {"ENTRA_TENANT": known["tenant"], "ENTRA_CLIENT": known["client"], "ENTRA_SECRET": known["secret"]}
    secrets["ENTRA_WRONG"] = "abc8Q~not.the-secret+at=all"
    running = Product(folder, ["--config", str(config)], secrets)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def sdk(product):
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def claude_sdk(product):
    with anthropic.Anthropic(base_url=product.url, api_key=product.api_key, max_retries=0, timeout=60) as client:
        yield client


def row_of(product, reply, channel, upstream):
    row = product.wait_row(reply.headers["x-request-id"])
    assert (row["channel"], row["upstream_model"], row["outcome"]) == (channel, upstream, "ok")
    assert not row["estimated"]
    assert int(row["charge_pico"]) > 0
    return row


def asked(text="hello"):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("model", "channel", "upstream"),
    [
        (DATED, "azure-dated", "my-gpt"),
        (V1, "azure-v1", "mini"),
        (CONVERSED, "bedrock", "us.anthropic.claude-sonnet-5-v1:0"),
        (GEMINI, "vertex", "gemini-2.5-pro"),
        (CLAUDE, "vertex", "claude-opus-5@20260801"),
    ],
)
def test_chats_with_their_rows(product, sdk, model, channel, upstream):
    reply = sdk.chat.completions.with_raw_response.create(model=model, messages=asked())
    found = reply.parse()
    assert found.choices[0].message.content.startswith("[simulated] You said: hello")
    row = row_of(product, reply, channel, upstream)
    assert int(row["input_tokens"]) == found.usage.prompt_tokens
    options = {"include_usage": True}
    with sdk.chat.completions.with_streaming_response.create(
        model=model, messages=asked("stream"), stream=True, stream_options=options
    ) as streamed:
        chunks = list(streamed.parse())
    assert all(chunk.choices for chunk in chunks[:-1]), "a client takes the first choice of every chunk but the last"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]).startswith("[simulated] You said")
    row = row_of(product, streamed, channel, upstream)
    assert int(row["output_tokens"]) == chunks[-1].usage.completion_tokens


@pytest.mark.parametrize("model", [DATED, CONVERSED, GEMINI, CLAUDE])
def test_tools_and_pictures(sdk, model):
    picture = f"data:image/png;base64,{PICTURE}"
    parts = [{"type": "text", "text": "the weather here?"}, {"type": "image_url", "image_url": {"url": picture}}]
    tools = [{"type": "function", "function": {"name": "the.weather", "parameters": TOOL}}]
    messages = [{"role": "user", "content": parts}]
    choice = {"type": "function", "function": {"name": "the.weather"}}
    with sdk.chat.completions.stream(model=model, messages=messages, tools=tools, tool_choice=choice) as stream:
        said = stream.get_final_completion().choices[0].message
    (call,) = said.tool_calls
    assert call.function.name == "the.weather"
    assert json.loads(call.function.arguments) == {"city": "simulated"}
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump(include={"id", "type", "function"})]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    answer = sdk.chat.completions.create(model=model, messages=messages, tools=tools)
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(CONVERSED, marks=pytest.mark.proves("messages", "bedrock", "thinking")),
        pytest.param(CLAUDE, marks=pytest.mark.proves("messages", "vertex-messages", "thinking")),
    ],
)
def test_claudes_thoughts_come_back_signed(claude_sdk, model):
    thinking = {"type": "adaptive"}
    fields = {"model": model, "max_tokens": 2000, "thinking": thinking}
    with claude_sdk.messages.stream(messages=asked("think"), **fields) as stream:
        first = stream.get_final_message()
    assert [block.type for block in first.content] == ["thinking", "text"]
    turns = [*asked("think"), {"role": "assistant", "content": first.content}, *asked("and more")]
    # The simulator refuses a thought whose signature is not its own.
    second = claude_sdk.messages.create(messages=turns, **fields)
    assert second.content[-1].text.startswith("[simulated] You said: and more")


@pytest.mark.parametrize(("model", "channel", "upstream"), [(V1, "azure-v1", "mini"), (DATED, "azure-dated", "my-gpt")])
def test_responses_at_azure_with_their_rows(product, clouds, sdk, model, channel, upstream):
    """The v1 path has them; at a dated version they are asked for by chat."""
    raw = sdk.responses.with_raw_response.create(model=model, input="hello")
    assert raw.parse().output_text.startswith("[simulated] You said: hello")
    row_of(product, raw, channel, upstream)
    page = httpx.get(f"http://127.0.0.1:{clouds.port}/_ledger", trust_env=False).json()
    (entry,) = [one for one in page["items"] if one["x_request_id"] == raw.headers["x-request-id"]]
    assert entry["operation"] == ("responses" if model == V1 else "chat")
    with sdk.responses.stream(model=model, input="hello") as stream:
        list(stream)
        assert stream.get_final_response().output_text.startswith("[simulated]")


def test_embeddings_and_pictures_of_azure(product, sdk):
    reply = sdk.embeddings.with_raw_response.create(model=EMBEDDED, input="hello")
    assert len(reply.parse().data[0].embedding) == 1536
    row_of(product, reply, "azure-dated", "my-embedding")
    drawn = sdk.images.generate(model=DRAWN, prompt="a fox", size="1024x1024", quality="low")
    assert drawn.data[0].b64_json or drawn.data[0].url


def test_the_filter_of_azure_is_a_content_policy(sdk):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=DATED, messages=asked("[[azure:blocked]]"))
    assert (caught.value.code, caught.value.param) == ("content_filter", "prompt")


def test_what_converse_cannot_carry_is_named(sdk):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=CONVERSED, messages=asked(), n=2)
    assert caught.value.param == "n"
    reply = sdk.chat.completions.with_raw_response.create(model=CONVERSED, messages=asked(), seed=7)
    assert reply.headers["x-tollgate-dropped"] == "seed"


def test_a_broken_stream_of_bedrock_is_an_error_in_the_callers_dialect(product, sdk, claude_sdk):
    with pytest.raises(openai.APIError, match="rate limit"):
        list(sdk.chat.completions.create(model=CONVERSED, messages=asked("[[sim:mid-error=3]]"), stream=True))
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        claude_sdk.messages.stream(model=CONVERSED, max_tokens=99, messages=asked("[[sim:mid-error=3]]")) as stream,
    ):
        stream.until_done()
    assert "rate" in str(caught.value)
    with pytest.raises(openai.RateLimitError):
        sdk.chat.completions.create(model=CONVERSED, messages=asked("[[sim:status=429]]"))


def test_a_wrong_key_benches_the_channel_and_says_why(product, sdk):
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(model=DENIED, messages=asked())
    assert caught.value.status_code in {502, 503}
    assert "account" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "rejects the credential" in known(product)["bedrock-wrong"]
    assert "rejects" not in known(product)["bedrock"]


def known(product):
    """Returns what the router knows of each channel, as text."""
    return {one["channel"]: json.dumps(one) for one in product.get("router")["routers"][0]["channels"]}


def test_a_key_file_that_is_none_leaves_its_channel_out_and_says_why(product, sdk):
    assert "no private key in PEM" in known(product)["vertex-none"]
    assert "s3cr3t" not in known(product)["vertex-none"]
    with pytest.raises(openai.APIStatusError, match="No channel of the model"):
        sdk.chat.completions.create(model=UNREACHED, messages=asked())


def test_an_account_that_gets_no_token_is_benched_and_says_why(product, sdk):
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(model=UNSIGNED, messages=asked())
    assert caught.value.status_code in {502, 503}
    assert "token server gives no access token" in known(product)["vertex-unknown"]
    assert "account not found" in logs(product)


def test_azure_behind_entra_is_asked_with_a_token_by_its_own(product, clouds, sdk):
    for _ in range(3):
        reply = sdk.chat.completions.with_raw_response.create(model=ENTRA, messages=asked())
        row_of(product, reply, "azure-entra", ENTRA)
    embedded = sdk.chat.completions.create(model=ENTRA, messages=asked("stream"), stream=True)
    assert list(embedded)[-1].choices[0].finish_reason == "stop"
    # One token serves all of them.
    given = httpx.get(f"http://127.0.0.1:{clouds.port}/azure/_application", trust_env=False).json()["given"]
    assert given == "1"


def test_an_application_that_gets_no_token_is_benched_and_says_why(product, sdk):
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(model=DENIED_BY_ENTRA, messages=asked())
    assert caught.value.status_code in {502, 503}
    assert "token server gives no access token" in known(product)["azure-entra-wrong"]
    assert "AADSTS7000215: Invalid client secret provided. It was '***'" in logs(product)


def logs(product):
    """Returns what the router and the supervisor wrote."""
    own = (product.home / "logs" / "router-0.log").read_text(encoding="utf-8")
    return own + product.child.tail()


def test_no_secret_is_in_a_log(product):
    written = "".join(path.read_text(encoding="utf-8") for path in (product.home / "logs").glob("*.log"))
    names = ("BEDROCK_KEY", "WRONG_KEY", "ENTRA_SECRET", "ENTRA_WRONG")
    secrets = [product.environment[name].rpartition(":")[2] for name in names]
    assert not [secret for secret in ("s3cr3t", "PRIVATE KEY", "ya29.", *secrets) if secret in written]


@pytest.fixture(scope="module")
def seen(product):
    """What a client of each dialect saw of the models of the matrix."""
    program = ([sdk_packages.python(), "-W", "ignore", "clients.py"], str(sdk_packages.FOLDER))
    models = {dialect: list(MATRIX.values()) for dialect in CLIENTS.values()}
    asked = {"key": product.api_key, "addresses": addresses(product), "models": models, "clients": list(CLIENTS)}
    return drive([program], {"through": asked})["through"]


@pytest.mark.parametrize(
    ("client", "place", "step"),
    [
        pytest.param(client, place, step, marks=proofs(dialect, place, step), id=f"{client}-{place}-{step}")
        for client, dialect in CLIENTS.items()
        for place in MATRIX
        for step in STEPS
        # DeepSeek takes no pictures and no schemas.
        if place != "deepseek" or step not in {"vision", "structured"}
    ],
)
def test_a_client_of_each_dialect_sees_what_the_scenario_says(seen, client, place, step):
    steps = seen[client][MATRIX[place]]
    CHECKS[step](steps[step], steps)


def test_a_schema_that_deepseek_would_not_keep_is_refused_by_name(seen):
    for client in CLIENTS:
        assert "response_format" in seen[client][DEEPSEEK]["structured"]["words"]
