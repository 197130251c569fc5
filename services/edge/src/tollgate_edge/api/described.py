"""What the published description says of the bodies that handlers read by themselves.

Schemas are JSON Schema 2020-12, as OpenAPI 3.1 has it. They name what edge acts on: all else that a body may hold
passes to a provider, whose business it is. Operations are named as `POST /path`.
"""

from typing import Any, Final

from tollgate_edge.api.key_import import MOST_KEYS
from tollgate_edge.api.ledger import MAX_PRIORITY
from tollgate_edge.domain.access import ENDPOINTS
from tollgate_edge.domain.limits import LIMIT_NAMES, MAX_CHOICES, MAX_OUTPUT_TOKENS
from tollgate_edge.domain.names import CURRENCIES, MOST_TAGS, TAG
from tollgate_holds import BUDGET_WINDOWS, MAX_LIMIT

Schema = dict[str, Any]


def _text(longest: int = 1_000) -> Schema:
    """Of a text that may be left out."""
    return {"type": ["string", "null"], "maxLength": longest}


def _needed(longest: int = 1_000, *examples: str) -> Schema:
    """Of a text that must be there."""
    found: Schema = {"type": "string", "minLength": 1, "maxLength": longest}
    return found | {"examples": list(examples)} if examples else found


def _whole(lowest: int, highest: int) -> Schema:
    """Of a whole number that may be left out."""
    return {"type": ["integer", "null"], "minimum": lowest, "maximum": highest}


def _one_of(*words: str) -> Schema:
    """Of one of a few words, which may be left out."""
    return {"enum": [*words, None]}


def _list(items: Schema, most: int) -> Schema:
    """Of a list that may be left out."""
    return {"type": ["array", "null"], "items": items, "maxItems": most}


def _object(*required: str, **named: Schema) -> Schema:
    """Of an object that has at least these fields."""
    return {"type": "object", "properties": named, "required": list(required)}


def _closed(*required: str, **named: Schema) -> Schema:
    """Of an object of these fields and no other."""
    return {**_object(*required, **named), "additionalProperties": False}


_ID: Final = _text(200)
_AMOUNT: Final[Schema] = {
    "type": "string",
    "pattern": r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,12})?$",
    "description": 'A decimal string such as "12.5": money is never a float.',
}
_TIME: Final[Schema] = {"type": ["string", "null"], "description": "UTC, such as 2027-01-31T00:00:00Z."}
_SPAN: Final[dict[str, Schema]] = {"from": _TIME, "to": _TIME}
_LIMITS: Final[dict[str, Schema]] = {
    **{name: _whole(0, MAX_LIMIT) for name in LIMIT_NAMES},
    "budget": {
        "type": ["object", "null"],
        "properties": {"amount": _AMOUNT, "window": _one_of(*BUDGET_WINDOWS)},
        "additionalProperties": False,
    },
}
_KEY: Final[dict[str, Schema]] = {
    "models": _list(_needed(200), 100),
    "endpoints": _list({"enum": list(ENDPOINTS)}, 100),
    "cidrs": _list(_needed(200), 100),
    "expires_at": _TIME,
    "limits": {"type": ["object", "null"], "properties": _LIMITS, "additionalProperties": False},
}
_TAG: Final[Schema] = {"type": "string", "pattern": f"^{TAG.pattern}$"}
_GIVEN: Final[dict[str, Schema]] = {"amount": _AMOUNT, "reason": _text(200)}
_STREAM: Final[Schema] = {"type": ["boolean", "null"]}
_BACKGROUND: Final[Schema] = {
    "type": ["boolean", "null"],
    "description": "Whether to answer at once, and make the response meanwhile; where responses are stored.",
}
_TOKENS: Final = _whole(0, MAX_OUTPUT_TOKENS)
_TEXTS: Final[Schema] = {"type": ["string", "array"], "examples": ["Say hello."]}
# The provider says what it may be.
_PASSED: Final[Schema] = {"examples": ["Say hello."]}
_MESSAGES: Final[Schema] = {
    "type": "array",
    "items": {"type": "object"},
    "examples": [[{"role": "user", "content": "Say hello."}]],
}
_CONTENTS: Final[Schema] = {
    "type": "array",
    "items": {"type": "object"},
    "examples": [[{"role": "user", "parts": [{"text": "Say hello."}]}]],
}
_FILE: Final[Schema] = {"type": "string", "format": "binary"}
_CHAT_MODEL: Final = _needed(200, "gpt-5-mini")
_IMAGE: Final[dict[str, Schema]] = {
    "model": _needed(200, "gpt-image-1-mini"),
    "prompt": _needed(32_000),
    "n": _whole(1, 10),
    "size": _text(20),
    "quality": _text(20),
    "user": _text(200),
}

# What is asked of models: what their handlers are is not FastAPI's.
INFERENCE: Final[dict[str, tuple[str, Schema]]] = {
    "/v1/chat/completions": (
        "Answers a conversation, as OpenAI does",
        _object(
            *("model", "messages"),
            model=_CHAT_MODEL,
            messages=_MESSAGES,
            stream=_STREAM,
            n=_whole(1, MAX_CHOICES),
            max_tokens=_TOKENS,
            max_completion_tokens=_TOKENS,
        ),
    ),
    "/v1/responses": (
        "Answers an input, as OpenAI's Responses do",
        _object(
            *("model", "input"),
            model=_CHAT_MODEL,
            input=_TEXTS,
            stream=_STREAM,
            background=_BACKGROUND,
            max_output_tokens=_TOKENS,
        ),
    ),
    "/v1/messages": (
        "Answers a conversation, as Anthropic does",
        _object(
            *("model", "messages", "max_tokens"),
            model=_needed(200, "claude-haiku-4-5"),
            messages=_MESSAGES,
            stream=_STREAM,
            max_tokens={"type": "integer", "minimum": 1, "maximum": MAX_OUTPUT_TOKENS, "examples": [64]},
        ),
    ),
    "/v1beta/models/{model}:generateContent": (
        "Answers a conversation, as Gemini does",
        _object("contents", contents=_CONTENTS),
    ),
    "/v1beta/models/{model}:streamGenerateContent": (
        "Streams an answer, as Gemini does: a JSON array, or events with alt=sse",
        _object("contents", contents=_CONTENTS),
    ),
    "/v1beta/models/{model}:embedContent": (
        "Makes the vector of a content, as Gemini does",
        _object("content", content={"type": "object", "examples": [{"parts": [{"text": "hello"}]}]}),
    ),
    "/v1beta/models/{model}:batchEmbedContents": (
        "Makes the vectors of contents, as Gemini does",
        _object("requests", requests={"type": "array", "items": {"type": "object"}}),
    ),
    "/v1/completions": (
        "Goes on with a text",
        _object(
            "model",
            model=_CHAT_MODEL,
            prompt={"type": ["string", "array", "null"], "examples": ["Say hello."]},
            stream=_STREAM,
            n=_whole(1, MAX_CHOICES),
            max_tokens=_TOKENS,
        ),
    ),
    "/v1/embeddings": (
        "Makes vectors of texts",
        _object("model", "input", model=_needed(200, "text-embedding-3-small"), input=_PASSED),
    ),
    "/v1/moderations": ("Classifies what must not be said", _object("input", model=_text(200), input=_PASSED)),
    "/v1/rerank": (
        "Sorts documents by a question, as Cohere and Jina do",
        _object(
            *("model", "query", "documents"),
            model=_needed(200, "rerank-v3.5"),
            query=_PASSED,
            documents={"type": "array", "minItems": 1, "examples": [["a", "b"]]},
        ),
    ),
    "/v1/audio/speech": (
        "Says a text",
        _object(
            *("model", "input"),
            model=_needed(200, "tts-1"),
            input={"type": "string", "minLength": 1, "examples": ["Hello."]},
            voice={"examples": ["alloy"]},
            stream_format=_one_of("audio", "sse"),
        ),
    ),
}
SOUNDS: Final = {
    "/v1/audio/transcriptions": "Writes down what is said",
    "/v1/audio/translations": "Writes down in English what is said",
}
_ORGANIZATION: Final = "/api/v1/organizations/{organization_id}"
BODIES: Final[dict[str, Schema]] = {
    "POST /v1/messages/count_tokens": _object("model", "messages", model=_CHAT_MODEL, messages=_MESSAGES),
    "POST /v1beta/models/{model}:countTokens": _object(contents=_CONTENTS),
    "POST /v1/images/generations": _object("model", "prompt", **_IMAGE, response_format=_one_of("b64_json", "url")),
    "POST /v1/media/jobs": _object("model", "prompt", **_IMAGE, kind=_one_of("text_to_image")),
    "POST /api/v1/keys": _object(
        organization_id=_ID, project_id=_ID, name=_text(), tags=_list(_TAG, MOST_TAGS), member=_text(100), **_KEY
    ),
    "POST /api/v1/keys/import": _object(
        "keys",
        organization_id=_ID,
        project_id=_ID,
        check={},
        keys={
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_KEYS,
            "items": {"type": "object", "examples": [{"sha256": "0" * 64, "name": "old key"}]},
        },
    ),
    "POST /api/v1/organizations": _object("name", name=_needed(), currency=_one_of(*CURRENCIES)),
    f"POST {_ORGANIZATION}/credit": _object("amount", **_GIVEN),
    f"POST {_ORGANIZATION}/grants": _object("amount", **_GIVEN, expires_at=_TIME, priority=_whole(0, MAX_PRIORITY)),
    f"POST {_ORGANIZATION}/corrections": _object(
        *("amount", "reason"),
        amount={"type": "string", "description": 'A decimal string of either sign, such as "-1.5".'},
        reason=_needed(200),
    ),
    f"POST {_ORGANIZATION}/refunds": _object("amount", **_GIVEN),
    f"POST {_ORGANIZATION}/transfers": _object("to", "amount", **_GIVEN, to=_needed(200)),
    f"PUT {_ORGANIZATION}/credit-line": _object("amount", amount=_AMOUNT),
    "POST /api/v1/projects": _object(
        "name", organization_id=_ID, name=_needed(), price_group=_text(), route_group=_text()
    ),
    "POST /api/v1/wallets/rebuild": _object(organization_id=_ID),
    "POST /api/v1/codes": _object(
        "amount",
        amount=_AMOUNT,
        count=_whole(1, 1_000),
        currency=_one_of(*CURRENCIES),
        label=_text(200),
        expires_at=_TIME,
        valid_days=_whole(0, 3_650),
        priority=_whole(0, MAX_PRIORITY),
    ),
    "POST /api/v1/codes/redeem": _object("code", code=_needed(100), organization_id=_ID),
    "POST /api/v1/requests/{request_id}/link": _object(expires_in_seconds=_whole(60, 30 * 24 * 3600)),
    "POST /api/v1/usage/rollups/refill": _object(
        rollup=_one_of("minute", "hour", "day"), dry_run={"type": "boolean"}, **_SPAN
    ),
    "POST /api/v1/usage/rebuild": _object(dry_run={"type": "boolean"}, **_SPAN),
    "POST /api/v1/usage/take-back": _object(organization_id=_ID, apply={"type": "boolean"}, **_SPAN),
    "POST /api/v1/usage/sql": _object("sql", sql=_needed(20_000, "SELECT 1"), limit=_whole(1, 10_000)),
    "POST /api/v1/prices/what-if": _object(
        *("book", "from", "to"),
        organization_id=_ID,
        **{"book": {"type": "object"}, "from": _needed(), "to": _needed()},
    ),
    "POST /api/v1/prices/rerate": _object(
        *("from", "to"),
        organization_id=_ID,
        model=_text(256),
        price_digest=_text(100),
        apply={"type": "boolean"},
        **{"from": _needed(), "to": _needed()},
    ),
    "POST /api/v1/topups": _object("amount", amount=_AMOUNT, organization_id=_ID),
    "POST /api/v1/dead-letters/replay": _object(ids=_list(_needed(64), 100), all={"type": "boolean"}),
    "PATCH /api/v1/limits/{owner_id}": _closed(payment=_one_of("prepaid", "postpaid"), **_LIMITS),
    "POST /api/v1/budgets": _closed(
        *("name", "amount"),
        organization_id=_ID,
        name=_needed(100),
        scope=_one_of("organization", "project", "member", "key", "model", "tag"),
        scope_id=_text(256),
        period=_one_of("day", "week", "month", "total", "rolling"),
        days=_whole(0, 366),
        time_zone=_text(64),
        amount=_AMOUNT,
        thresholds=_list(
            _closed(
                percent=_whole(1, 1_000),
                action=_one_of("notify", "downgrade", "block"),
                model=_text(256),
            ),
            10,
        ),
    ),
    "POST /api/v1/destinations": _closed(
        *("name", "kind", "target"),
        organization_id=_ID,
        name=_needed(100),
        kind={"enum": ["mail", "webhook", "feishu", "dingtalk", "wecom", "slack"]},
        target=_needed(2_000),
        secret=_text(500),
        language=_one_of("en", "zh"),
        time_zone=_text(64),
        digest_minutes=_whole(0, 7 * 24 * 60),
        about={"type": ["array", "null"], "items": {"enum": ["budget", "anomaly", "books"]}},
        quiet={
            "type": ["object", "null"],
            "properties": {"begin": _needed(5, "22:00"), "end": _needed(5, "07:00")},
            "additionalProperties": False,
        },
    ),
    "POST /api/v1/routes/explain": _object(
        "model",
        model=_CHAT_MODEL,
        key_id=_ID,
        route_group=_text(63),
        operation=_text(),
        dialect=_text(),
        request={"type": ["object", "null"]},
        headers={"type": ["object", "null"], "maxProperties": 20, "additionalProperties": {"type": "string"}},
    ),
    "POST /api/v1/channels/{name}/mode": _object(
        "mode", mode={"enum": ["enabled", "draining", "disabled"]}, reason=_text()
    ),
}
# Bodies that may be left out.
OPTIONAL: Final = frozenset(
    {
        "POST /api/v1/keys",
        "POST /api/v1/usage/rebuild",
        "POST /api/v1/usage/take-back",
        "POST /api/v1/wallets/rebuild",
        "POST /api/v1/requests/{request_id}/link",
    }
)
SOUND: Final = _object("model", "file", model=_needed(200, "whisper-1"), file=_FILE)
_PICTURES: Final = _object("model", "image", **_IMAGE | {"prompt": _text(32_000)}, image=_FILE, mask=_FILE)
FORMS: Final[dict[str, Schema]] = {
    "POST /v1/images/edits": _PICTURES,
    "POST /v1/images/variations": _PICTURES,
}
# Bodies that are taken as they are, and their type.
FILES: Final = {
    "POST /api/v1/payments/webhook": "application/json",
    "POST /api/v1/reconciliation/statements": "text/csv",
}
# Answered without a key: some are signed in another way, some say nothing of anybody.
OPEN: Final = frozenset(
    {
        "GET /api/status",
        "GET /v1/connection",
        "GET /v1/connection/stream",
        "GET /v1/media/assets/{asset_id}",
        "GET /api/v1/evidence/{request_id}",
        "POST /api/v1/payments/webhook",
    }
)
