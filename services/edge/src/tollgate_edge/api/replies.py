"""What the published description says of replies: members that clients may count on, and what an error looks like."""

from collections.abc import Mapping
from typing import Any, Final

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.faces import RerankFace, face_of

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_MAYBE: Final[Schema] = {"type": ["string", "null"]}
_PICO: Final[Schema] = {"type": "integer"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_LINES: Final = "application/x-ndjson"
_ANY: Final = "*/*"


def _having(**named: Schema) -> Schema:
    """Of an object that has these members, and maybe more."""
    return {"type": "object", "required": list(named), "properties": named}


def _exactly(word: str) -> Schema:
    return {"const": word}


def _list(items: Schema | None = None) -> Schema:
    return {"type": "array", "items": items or {"type": "object"}}


_OPENAI_ERROR: Final = _having(message=_TEXT, type=_TEXT, param=_MAYBE, code=_MAYBE, doc_url=_TEXT)
SCHEMAS: Final[dict[str, Schema]] = {
    "Error": _having(error=_OPENAI_ERROR),
    "RerankError": _having(error=_OPENAI_ERROR, id=_TEXT, message=_TEXT, detail=_TEXT),
    "AnthropicError": _having(
        type=_exactly("error"), error=_having(type=_TEXT, message=_TEXT, code=_TEXT, doc_url=_TEXT), request_id=_TEXT
    ),
    "GeminiError": _having(
        error=_having(
            code={"type": "integer", "minimum": 400, "maximum": 599}, message=_TEXT, status=_TEXT, details=_list()
        )
    ),
    "Page": _having(items=_list(), next=_MAYBE),
    "Items": _having(items=_list()),
    "Images": _having(created=_COUNT, data=_list()),
    "Vectors": _having(object=_exactly("list"), data=_list(), model=_TEXT, usage={"type": "object"}),
    "Job": _having(id=_TEXT, object=_exactly("media.job"), state=_TEXT, created_at=_TEXT),
    "Key": _having(id=_TEXT, name=_TEXT, organization_id=_TEXT, project_id=_TEXT, revoked_at=_MAYBE),
    "Organization": _having(id=_TEXT, name=_TEXT, currency=_TEXT, created_at=_TEXT),
    "Project": _having(id=_TEXT, organization_id=_TEXT, name=_TEXT, price_group=_TEXT, route_group=_TEXT),
    "Budget": _having(id=_TEXT, organization_id=_TEXT, name=_TEXT, scope=_TEXT, scope_id=_MAYBE),
    "Money": _having(organization_id=_TEXT, currency=_TEXT, balance=_TEXT, balance_pico=_PICO),
    "Checked": _having(ok={"type": "boolean"}, checks=_list()),
    "Answer": _having(id=_TEXT, object=_exactly("chat.completion"), created=_COUNT, model=_TEXT, choices=_list()),
    "Response": _having(id=_TEXT, object=_exactly("response"), status=_TEXT, output=_list()),
    "Message": _having(
        id=_TEXT,
        type=_exactly("message"),
        role=_exactly("assistant"),
        content=_list(),
        usage=_having(input_tokens=_COUNT, output_tokens=_COUNT),
    ),
    "Contents": _having(candidates=_list()),
    "Continued": _having(id=_TEXT, object=_exactly("text_completion"), choices=_list()),
    "Usage": _having(requests=_COUNT, total={"type": "object"}, totals=_list(), rows=_list()),
    "Balance": _having(
        organization_id=_TEXT,
        currency=_TEXT,
        ledger=_TEXT,
        ledger_pico=_PICO,
        # Null until there is one.
        wallet=_MAYBE,
        wallet_pico={"type": ["integer", "null"]},
        held=_TEXT,
        held_pico=_PICO,
        settled_unbooked=_TEXT,
        settled_unbooked_pico=_PICO,
    ),
}
# By operation; what is not here is an object, or a page where a cursor is taken.
REPLIES: Final[Mapping[str, str]] = {
    "GET /v1/connection": "Checked",
    "POST /v1/images/generations": "Images",
    "POST /v1/images/edits": "Images",
    "POST /v1/images/variations": "Images",
    "POST /v1/media/jobs": "Job",
    "GET /v1/media/jobs/{job_id}": "Job",
    "POST /v1/chat/completions": "Answer",
    "POST /v1/responses": "Response",
    "GET /v1/responses/{response}": "Response",
    "POST /v1/responses/{response}/cancel": "Response",
    "POST /v1/messages": "Message",
    "POST /v1beta/models/{model}:generateContent": "Contents",
    "POST /v1/completions": "Continued",
    "POST /v1/embeddings": "Vectors",
    "POST /api/v1/keys": "Key",
    "DELETE /api/v1/keys/{key_id}": "Key",
    "POST /api/v1/keys/{key_id}/revoke": "Key",
    "POST /api/v1/organizations": "Organization",
    "POST /api/v1/projects": "Project",
    "GET /api/v1/usage": "Usage",
    "GET /api/v1/balance": "Balance",
    "GET /api/v1/ledger": "Money",
    "GET /api/v1/forecast": "Money",
    "GET /api/v1/usage/views": "Items",
    "GET /api/v1/limits": "Page",
    "GET /api/v1/destinations": "Page",
    "GET /api/v1/exchange-rates": "Page",
    "GET /api/v1/budgets/{budget_id}": "Budget",
    "POST /api/v1/budgets": "Budget",
}
# Types of replies that are not JSON, or not only.
TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "GET /v1/connection/stream": (_EVENTS,),
    "GET /v1/media/assets/{asset_id}": (_ANY,),
    "POST /api/v1/usage/rollups/refill": (_LINES,),
    "POST /api/v1/usage/rebuild": (_LINES,),
    "GET /api/v1/usage/export": ("application/vnd.apache.parquet",),
    "GET /api/v1/statements/{organization_id}/{month}": (_JSON, "text/csv", "text/html"),
    "POST /v1/chat/completions": (_JSON, _EVENTS),
    "POST /v1/responses": (_JSON, _EVENTS),
    "POST /v1/messages": (_JSON, _EVENTS),
    "POST /v1/completions": (_JSON, _EVENTS),
    "POST /v1/audio/speech": (_ANY,),
    "POST /v1/audio/transcriptions": (_JSON, _EVENTS, "text/plain"),
    "POST /v1/audio/translations": (_JSON, "text/plain"),
}


def error_schema(path: str) -> Schema:
    """Returns where the schema of a path's errors is: each is in the dialect of the path."""
    face = face_of(path)
    names: dict[int, str] = {wire.DIALECT_ANTHROPIC: "AnthropicError", wire.DIALECT_GEMINI: "GeminiError"}
    return _there("RerankError" if isinstance(face, RerankFace) else names.get(face.dialect, "Error"))


def reply_content(operation: str, *, is_page: bool) -> dict[str, Any]:
    """Returns the types of an operation's reply, and their schemas."""
    named = REPLIES.get(operation, "Page" if is_page else "")
    schema = _there(named) if named else {"type": "object"}
    if operation == "POST /v1beta/models/{model}:streamGenerateContent":
        return {_JSON: {"schema": _list()}, _EVENTS: {}}
    return {kind: {"schema": schema} if kind == _JSON else {} for kind in TYPES.get(operation, (_JSON,))}


def _there(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
