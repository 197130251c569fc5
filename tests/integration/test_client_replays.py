"""Each client's real requests (paths, headers, bodies), and its replies read as that client reads them."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cli.tests.fakes.client_rules import CALLS
from tests.integration import client_parsers as clients

from tollgate_cli.clients import Values, load_clients, set_up

pytestmark = pytest.mark.integration

MODELS = ("gpt-5-mini", "claude-haiku-4-5", "gemini-3.5-flash")
HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = [{"role": "user", "content": "Use weather"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
FLAT_TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
USAGE = {"stream_options": {"include_usage": True}}
STAINLESS = {
    "accept": "application/json",
    "x-stainless-lang": "python",
    "x-stainless-package-version": "3.54.0",
    "x-stainless-runtime": "CPython",
    "x-stainless-retry-count": "0",
    "x-stainless-read-timeout": "600",
    "user-agent": "OpenAI/Python 3.54.0",
}
CHERRY = {"http-referer": "https://cherry-ai.com", "x-title": "Cherry Studio", "x-api-key": "{key}"}
ROO = {
    "http-referer": "https://github.com/RooVetGit/Roo-Cline",
    "x-title": "Roo Code",
    "user-agent": "RooCode/3.25",
}
BROWSER = {"origin": "https://app.nextchat.dev", "accept": "application/json"}
WEBUI = {"x-openwebui-user-name": "Ann", "x-openwebui-user-id": "u", "x-openwebui-chat-id": "c"}
CLAUDE = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
    "x-claude-code-session-id": "s",
    "x-app": "cli",
    "user-agent": "claude-cli/2.1.0 (external, cli)",
}
CODEX = {"accept": "text/event-stream", "originator": "codex_cli_rs", "session-id": "s", "version": "0.90.0"}
GEMINI = {"x-goog-api-client": "google-genai-sdk/3.4.0 gl-python/3.11", "x-goog-api-key": "{key}", "authorization": ""}


@dataclass(frozen=True)
class Chat:
    """One streamed request. `path` is the end of an address that the client calls by its own rule for base URLs."""

    client: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/chat/completions"
    read: Any = clients.read_chat
    usage: bool = False
    call: bool = False


def messages_body(**more):
    return {"max_tokens": 512, "messages": HELLO, "system": [{"type": "text", "text": "Be brief."}], **more}


def cached(text):
    return [{"role": "user", "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}]


RESPONSES = {
    "instructions": "Be brief.",
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Use weather"}]}],
    "tools": [FLAT_TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
    "text": {"verbosity": "medium"},
}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}], "generationConfig": {"temperature": 1}}
STREAMS = [
    Chat("openai-sdk", {"messages": HELLO, **USAGE}, STAINLESS, usage=True),
    Chat("openai-sdk", {"messages": WEATHER, "tools": [TOOL]}, STAINLESS, call=True),
    Chat("langchain", {"messages": HELLO, "n": 1}, STAINLESS),
    Chat("llama-index", {"messages": HELLO, "temperature": 0.1}, STAINLESS),
    Chat("ai-sdk", {"messages": WEATHER, "tools": [TOOL], "tool_choice": "auto", **USAGE}, usage=True, call=True),
    Chat("cherry-studio", {"messages": HELLO, **USAGE}, CHERRY, usage=True),
    Chat("lobechat", {"messages": HELLO, "user": "u", **USAGE}, {"accept": "*/*", "x-client": "LobeHub"}, usage=True),
    Chat("chatbox", {"messages": HELLO, "temperature": 0.7}),
    Chat(
        "nextchat",
        {
            "messages": WEATHER,
            "tools": [TOOL],
            "temperature": 0.5,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_p": 1,
        },
        BROWSER,
        call=True,
    ),
    Chat("open-webui", {"messages": HELLO, "max_tokens": 64, **USAGE}, WEBUI, usage=True),
    Chat("cursor", {**RESPONSES, "messages": None, "user": "u", "truncation": "auto", **USAGE}, usage=True, call=True),
    Chat("cline", {"messages": WEATHER, "tools": [TOOL], **USAGE}, usage=True, call=True),
    Chat(
        "roo-code",
        {"messages": cached("Use weather"), "tools": [TOOL], "parallel_tool_calls": True, **USAGE},
        ROO,
        usage=True,
        call=True,
    ),
    # By litellm, as test_aider.py records it.
    Chat("aider", {"messages": HELLO, "temperature": 0, **USAGE}, usage=True),
    Chat("continue", {"messages": HELLO, **USAGE}, {"api-key": "{key}"}, usage=True),
    Chat("dify-openai", {"messages": HELLO, **USAGE}, usage=True),
    Chat("dify-compatible", {"messages": WEATHER, "tools": [TOOL], **USAGE}, usage=True, call=True),
    Chat("ai-as-workspace", {"messages": HELLO, **USAGE}, BROWSER, usage=True),
    *(Chat(name, {"messages": HELLO, **USAGE}, usage=True) for name in ("aionui", "deepchat", "ama", "opencat")),
    Chat("fluentread", {"messages": HELLO}, BROWSER),
    Chat("ai-sdk", {**RESPONSES, "store": None}, path="/responses", read=clients.read_responses, usage=True, call=True),
    Chat("codex", RESPONSES, CODEX, "/responses", clients.read_responses, usage=True, call=True),
    Chat(
        "claude-code",
        messages_body(metadata={"user_id": "u"}),
        CLAUDE,
        "/v1/messages?beta=true",
        clients.read_messages,
        usage=True,
    ),
    Chat(
        "anthropic-sdk",
        messages_body(messages=WEATHER, tools=[{"name": "weather", "input_schema": SCHEMA}]),
        {"anthropic-version": "2023-06-01", "x-api-key": "{key}", "authorization": ""},
        "/v1/messages",
        clients.read_messages,
        usage=True,
        call=True,
    ),
    Chat(
        "deepchat", messages_body(), {"anthropic-version": "2023-06-01"}, "/messages", clients.read_messages, usage=True
    ),
    Chat(
        "google-genai",
        CONTENTS,
        GEMINI,
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        clients.read_contents,
        usage=True,
    ),
    Chat(
        "gemini-cli",
        CONTENTS,
        GEMINI,
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        clients.read_contents,
        usage=True,
    ),
]


@pytest.fixture(scope="module")
def http():
    with httpx.Client(timeout=120, trust_env=False, follow_redirects=False) as client:
        yield client


def address_of(product, client, path):
    """Returns the address that a client makes of the base URL that we tell its user."""
    base = set_up(load_clients()[client], Values(product.url, product.api_key)).base_url
    return next(address for address in CALLS[client](base) if address.endswith(path))


def headers_of(product, given):
    headers = {"authorization": f"Bearer {product.api_key}", **given}
    return {name: value.format(key=product.api_key) for name, value in headers.items() if value}


def name_of(case):
    return f"{case.client}{case.path.partition('?')[0]}{'-call' if case.call else ''}"


@pytest.mark.parametrize("case", [pytest.param(case, id=name_of(case)) for case in STREAMS])
def test_a_streamed_answer_of_every_vendor_is_read_as_the_client_reads_it(product, http, subtests, case):
    for model in MODELS:
        with subtests.test(model):
            address = address_of(product, case.client, case.path).replace("/models/m:", f"/models/{model}:")
            body = (
                {**case.body} if case.read is clients.read_contents else {"model": model, "stream": True, **case.body}
            )
            reply = http.post(address, json=body, headers=headers_of(product, case.headers))
            assert reply.status_code == 200, reply.text
            # NextChat wants both of these, and a 200 that is exactly one.
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert reply.headers["cache-control"] == "no-cache"
            assert "content-encoding" not in reply.headers
            if "origin" in case.headers:
                assert reply.headers["access-control-allow-origin"] == "*"
            said = case.read(reply.content)
            assert (said.usage is not None) == case.usage
            if case.call:
                assert [call[1] for call in said.calls] == ["weather"]
                assert isinstance(json.loads(said.calls[0][2])["city"], str)
            else:
                assert said.text.startswith("[simulated]")
                assert said.calls == []


@pytest.mark.parametrize("client", ["cherry-studio", "lobechat", "chatbox", "open-webui", "roo-code", "continue"])
def test_lists_of_models(product, http, client):
    headers = headers_of(product, CHERRY if client == "cherry-studio" else {})
    reply = http.get(address_of(product, client, "/models"), headers=headers)
    assert set(MODELS) <= set(clients.read_models(reply.content))


def test_claude_code_and_google_genai_and_codex_list_models_their_way(product, http):
    headers = headers_of(product, CLAUDE)
    assert http.head(f"{product.url}/api/hello", headers=headers).status_code in {200, 404}
    reply = http.get(address_of(product, "claude-code", "/v1/models?limit=1000"), headers=headers)
    listed = [one for one in reply.json()["data"] if "claude" in one["id"] or "anthropic" in one["id"]]
    assert all(one["display_name"] for one in listed)
    assert "claude-haiku-4-5" in {one["id"] for one in listed}
    reply = http.get(f"{product.url}/v1beta/models?pageSize=1000", headers=headers_of(product, GEMINI))
    assert "models/gemini-3.5-flash" in {one["name"] for one in reply.json()["models"]}
    reply = http.get(address_of(product, "codex", "/models?client_version=1.0"), headers=headers_of(product, CODEX))
    assert reply.status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_claude_code_counts_tokens(product, http, model):
    address = address_of(product, "claude-code", "/count_tokens")
    reply = http.post(address, json={"model": model, "messages": HELLO}, headers=headers_of(product, CLAUDE))
    assert reply.json()["input_tokens"] > 0


@pytest.mark.parametrize("model", MODELS)
def test_dify_takes_the_credentials(product, http, model):
    body = {"model": model, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 5}
    address = address_of(product, "dify-compatible", "/chat/completions")
    found = http.post(address, json=body, headers=headers_of(product, {})).json()
    assert found["object"] == "chat.completion"
    assert "content" in found["choices"][0]["message"]
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + found["usage"]["completion_tokens"]


def test_nextchat_opencat_and_cc_switch_show_the_balance(product, http):
    headers = headers_of(product, BROWSER)
    usage = http.get(next(one for one in CALLS["nextchat"](product.url) if "/usage" in one), headers=headers).json()
    subscription = http.get(address_of(product, "nextchat", "/subscription"), headers=headers).json()
    left = subscription["hard_limit_usd"] - usage["total_usage"] / 100
    found = http.get(address_of(product, "cc-switch", "/user/balance"), headers=headers_of(product, {})).json()
    assert found["is_active"] is True
    assert left == pytest.approx(found["balance"], abs=0.05)
    wallet = int(product.balance(_organization(product))["wallet_pico"]) / 1e12
    assert found["balance"] == pytest.approx(wallet, abs=0.05)
    named = headers_of(product, {"new-api-user": "1"})
    data = http.get(address_of(product, "cc-switch", "/api/user/self"), headers=named).json()["data"]
    assert data["quota"] / 500_000 == pytest.approx(wallet, abs=0.05)


def _organization(product):
    reply = httpx.get(
        f"{product.url}/api/v1/whoami", headers={"authorization": f"Bearer {product.api_key}"}, trust_env=False
    )
    return reply.json()["organization_id"]


def test_lobehub_s_new_api_provider_reads_prices(product, http):
    address = next(one for one in CALLS["fluentread"](product.url) if one.endswith("/api/pricing"))
    found = http.get(address, headers=headers_of(product, {"x-client": "LobeHub"})).json()
    assert found["success"] is True
    priced = {one["model_name"]: one for one in found["data"]}
    assert set(MODELS) <= priced.keys()
    # 0.25 and 2 USD for a million tokens, in and out.
    assert (priced["gpt-5-mini"]["model_ratio"] * 2, priced["gpt-5-mini"]["completion_ratio"]) == (0.25, 8)


@pytest.mark.parametrize(
    ("client", "path"),
    [("cherry-studio", "/chat/completions"), ("lobechat", "/chat/completions"), ("codex", "/responses"),
     ("nextchat", "/chat/completions"), ("openai-sdk", "/embeddings"), ("continue", "/models")],
)  # fmt: skip
def test_a_wrong_key_is_an_error_that_every_client_can_show(product, http, client, path):
    address = address_of(product, client, path)
    wrong = {"authorization": "Bearer sk-tg-wrong", "origin": "https://app.example"}
    method = "GET" if path == "/models" else "POST"
    reply = http.request(method, address, json={} if method == "POST" else None, headers=wrong)
    error = clients.read_error(reply.status_code, reply.content)
    assert (reply.status_code, error["code"]) == (401, "invalid_api_key")
    # Browsers prompt for a password where this header is, and pages read errors only where they may.
    assert "www-authenticate" not in reply.headers
    assert reply.headers["access-control-allow-origin"] == "*"
    page, _, anchor = error["doc_url"].partition("#")
    assert f'id="{anchor}"' in http.get(page).text


def test_no_money_is_told_once_in_each_dialect(product, http):
    dear = {"model": "gpt-5-mini", "messages": HELLO, "max_tokens": 60_000_000}
    reply = http.post(address_of(product, "lobechat", "/chat/completions"), json=dear, headers=headers_of(product, {}))
    assert (reply.status_code, reply.headers["x-should-retry"]) == (429, "false")
    assert clients.read_error(429, reply.content)["code"] == "insufficient_quota"
    reply = http.post(f"{product.url}/v1/messages", json=dear, headers=headers_of(product, CLAUDE))
    assert (reply.status_code, reply.headers["x-should-retry"]) == (429, "false")
    assert (reply.json()["type"], reply.json()["error"]["type"]) == ("error", "billing_error")
    body = CONTENTS | {"generationConfig": {"maxOutputTokens": 60_000_000}}
    reply = http.post(
        f"{product.url}/v1beta/models/gpt-5-mini:generateContent", json=body, headers=headers_of(product, GEMINI)
    )
    assert (reply.status_code, reply.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


def test_browsers_get_their_preflight_answered_with_every_header_of_the_sdks(product, http):
    wanted = (
        "authorization, content-type, accept, x-api-key, api-key, anthropic-version, anthropic-beta, "
        "anthropic-dangerous-direct-browser-access, x-goog-api-key, x-goog-api-client, openai-organization, "
        "openai-project, http-referer, x-title, x-client, x-stainless-lang, x-stainless-runtime, idempotency-key"
    )
    for path in ("/v1/chat/completions", "/messages", "/v1beta/models/m:generateContent", "/dashboard/billing/usage"):
        asked = {
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": wanted,
        }
        reply = http.options(f"{product.url}{path}", headers=asked)
        assert reply.status_code == 204
        assert reply.headers["access-control-allow-headers"] == wanted
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["access-control-max-age"] == "86400"


def test_every_client_of_the_reference_is_replayed():
    replayed = {case.client for case in STREAMS} | {"cc-switch"}
    assert replayed == set(load_clients())
