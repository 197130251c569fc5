"""What real clients make of a base URL and of an import link, after their own sources; shares no code with ours.

`CALLS` maps a client's id to a function from what the user typed to the addresses that it calls.
"""

import base64
import json
import re
from urllib.parse import parse_qs, parse_qsl, unquote, urljoin, urlsplit


def literal(*paths):
    """The address as it is, and a path behind it."""
    return lambda base: [base.rstrip("/") + path for path in paths]


def cherry_studio(base):
    """Trim, strip one slash, add /v1 unless a segment is a version, or the address ends in `#`."""
    base = base.strip()
    if base.endswith("#"):
        bare = base[:-1]
    else:
        bare = base.removesuffix("/")
        if not re.search(r"/v\d+(?:alpha|beta)?(?=/|$)", urlsplit(bare).path):
            bare += "/v1"
    paths = ("chat/completions", "models", "images/generations", "images/edits")
    return [f"{bare}/{path}" for path in paths]


def chatbox(base):
    if "://" not in base:
        base = f"https://{base}"
    base = base.rstrip("/")
    if not base.endswith("/v1"):
        base += "/v1"
    return [f"{base}/chat/completions", f"{base}/models"]


def nextchat(base):
    base = base.removesuffix("/")
    return [
        f"{base}/v1/chat/completions",
        f"{base}/v1/images/generations",
        f"{base}/v1/audio/speech",
        f"{base}/dashboard/billing/usage?start_date=2026-11-01&end_date=2026-11-30",
        f"{base}/dashboard/billing/subscription",
    ]


def continue_(base):
    return [urljoin(base.rstrip("/") + "/", path) for path in ("chat/completions", "embeddings", "rerank", "models")]


def dify_openai(base):
    base = base.rstrip("/")
    return [f"{base if base.endswith('/v1') else base + '/v1'}/chat/completions"]


def new_api_origin(base):
    """Clients that know New API: a version is stripped, then each protocol adds its own."""
    host = re.sub(r"/v\d+[a-z]*/?$", "", base.rstrip("/"))
    return [f"{host}/v1/chat/completions", f"{host}/v1/models", f"{host}/messages", f"{host}/api/pricing"]


_CHAT = literal("/chat/completions")
_ANTHROPIC = literal("/v1/messages", "/v1/messages/count_tokens", "/v1/models")
_GEMINI = literal("/v1/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse")
CALLS = {
    "openai-sdk": literal(
        *("/chat/completions", "/responses", "/embeddings", "/models"),
        *("/images/generations", "/images/edits", "/audio/speech", "/audio/transcriptions"),
    ),
    "anthropic-sdk": _ANTHROPIC,
    "google-genai": _GEMINI,
    "ai-sdk": literal("/chat/completions", "/responses", "/messages"),
    "langchain": _CHAT,
    "llama-index": _CHAT,
    "cherry-studio": cherry_studio,
    "lobechat": literal("/chat/completions", "/models", "/images/generations"),
    "chatbox": chatbox,
    "nextchat": nextchat,
    "open-webui": literal(
        *("/models", "/chat/completions", "/responses", "/embeddings", "/messages"),
        *("/audio/speech", "/images/generations", "/images/edits"),
    ),
    "cursor": _CHAT,
    "claude-code": literal("/v1/messages?beta=true", "/v1/messages/count_tokens", "/v1/models?limit=1000"),
    "codex": literal("/responses", "/models?client_version=1.0"),
    "aider": _CHAT,
    "gemini-cli": _GEMINI,
    "cline": _CHAT,
    "roo-code": literal("/chat/completions", "/models"),
    "continue": continue_,
    "dify-openai": dify_openai,
    "dify-compatible": continue_,
    "aionui": new_api_origin,
    "deepchat": new_api_origin,
    "ai-as-workspace": _CHAT,
    "ama": literal("/v1/chat/completions"),
    "opencat": literal("/v1/chat/completions", "/dashboard/billing/usage", "/dashboard/billing/subscription"),
    "fluentread": new_api_origin,
    "cc-switch": literal("/user/balance", "/api/user/self"),
}


def read_base64(text):
    return json.loads(base64.b64decode(text, validate=True))


def cherry_import(link):
    """Returns what Cherry Studio's handler reads: it mends base64 of URLs, quotes and parentheses in its own way."""
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path) == ("cherrystudio", "providers", "/api-keys")
    query = parse_qs(parts.query, strict_parsing=True)
    assert query["v"] == ["1"]
    text = base64.b64decode(query["data"][0].replace("_", "+").replace("-", "/"), validate=True).decode()
    found = json.loads(text.replace("'", '"').replace("(", "").replace(")", ""))
    assert all(found[name] for name in ("id", "baseUrl", "apiKey"))
    return found


def chatbox_import(link):
    """Returns what Chatbox's deep link handler reads."""
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path) == ("chatbox", "provider", "/import")
    (config,) = parse_qs(parts.query, strict_parsing=True)["config"]
    found = read_base64(config.replace(" ", "+"))
    assert found["isCustom"] is True
    assert found["id"] not in {"openai", "claude", "gemini", "ollama", "deepseek", "chatbox-ai"}
    assert found["type"] in {"openai", "openai-responses", "anthropic"}
    return found


def nextchat_import(link):
    """Returns what NextChat's router reads behind the hash."""
    route, _, query = urlsplit(link).fragment.partition("?")
    assert route == "/"
    return json.loads(dict(parse_qsl(query, strict_parsing=True))["settings"])


def query_import(link):
    """Returns the parameters of a link, which has no empty ones."""
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", dict(parse_qsl(parts.query, strict_parsing=True))


def json_parameter(link, name):
    (pair,) = [pair for pair in urlsplit(link).query.split("&") if pair.startswith(f"{name}=")]
    return json.loads(unquote(pair.partition("=")[2]))
