"""What replies look like in each dialect of callers beside what the provider said: errors, silence, headers."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.errors import PublicError, render_openai

_BROKEN_OFF: Final = b"data: [DONE]\n\n"
# What Anthropic calls a failure of this status; what is not here is an api_error.
_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_GEMINI_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Face:
    """OpenAI's. `dialect` is a tollgate.exchange.v1.Dialect, `keep_alive` what is said into a silent stream."""

    dialect: int = wire.DIALECT_OPENAI_CHAT
    keep_alive: bytes = b": keep-alive\n\n"
    passed_headers: tuple[bytes, ...] = ()
    routes: Mapping[int, str] = MappingProxyType(
        {wire.OPERATION_CHAT: "/v1/chat/completions", wire.OPERATION_EMBEDDINGS: "/v1/embeddings"}
    )

    def error(self, error: PublicError, request_id: str) -> bytes:
        """Returns the body of an error."""
        return render_openai(error, request_id)

    def error_event(self, error: PublicError, request_id: str) -> bytes:
        """Returns the end of a stream that broke off."""
        return b"data: %b\n\n%b" % (self.error(error, request_id), _BROKEN_OFF)

    def id_lines(self, request_id: bytes) -> bytes:
        """Returns the header lines that name the request."""
        return b"x-request-id: %b\r\n" % request_id


class ResponsesFace(Face):
    dialect = wire.DIALECT_OPENAI_RESPONSES
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1/responses"})

    def error_event(self, error: PublicError, request_id: str) -> bytes:
        """Returns what its clients want at the end of a stream that broke off: the error, and that it failed."""
        said = {"type": error.type, "code": error.code or None, "message": error.message, "param": error.param or None}
        failed = {
            "id": f"resp_{request_id}",
            "object": "response",
            "status": "failed",
            "error": {"code": error.code or "server_error", "message": error.message},
            "output": [],
        }
        events: tuple[dict[str, object], ...] = (
            {"type": "error", "sequence_number": 0, "error": said},
            {"type": "response.failed", "sequence_number": 1, "response": failed},
        )
        return b"".join(
            b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), json.dumps(event).encode()) for event in events
        )


class AnthropicFace(Face):
    dialect = wire.DIALECT_ANTHROPIC
    keep_alive = b'event: ping\ndata: {"type": "ping"}\n\n'
    passed_headers = (b"anthropic-version", b"anthropic-beta")
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1/messages"})

    def error(self, error: PublicError, request_id: str) -> bytes:
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
        if error.code == "insufficient_quota":
            kind = "billing_error"
        inner = {"type": kind, "message": error.message, "code": error.code or None, "param": error.param or None}
        found = {name: value for name, value in inner.items() if value is not None}
        body = {"type": "error", "error": found, "request_id": request_id}
        return json.dumps(body, ensure_ascii=False).encode(errors="replace")

    def error_event(self, error: PublicError, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % self.error(error, request_id)

    def id_lines(self, request_id: bytes) -> bytes:
        return b"x-request-id: %b\r\nrequest-id: %b\r\n" % (request_id, request_id)


class GeminiFace(Face):
    dialect = wire.DIALECT_GEMINI
    # Anything but a blank line breaks clients of this dialect.
    keep_alive = b"\n"
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1beta/models/{model}:generateContent"})

    def error(self, error: PublicError, request_id: str) -> bytes:
        details: list[dict[str, object]] = [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code.upper(), "domain": "tollgate"},
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id},
        ]
        if wait := error.headers.get("retry-after"):
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"})
        status = _GEMINI_STATUSES.get(error.status, "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT")
        body = {"error": {"code": error.status, "message": error.message, "status": status, "details": details}}
        return json.dumps(body, ensure_ascii=False).encode(errors="replace")

    def error_event(self, error: PublicError, request_id: str) -> bytes:
        return b"data: %b\n\n" % self.error(error, request_id)


OPENAI: Final = Face()
RESPONSES: Final = ResponsesFace()
ANTHROPIC: Final = AnthropicFace()
GEMINI: Final = GeminiFace()
_MODEL_PATH: Final = re.compile(rb"(?:/v1beta|/v1)?/models/([^:?]+):(generateContent|streamGenerateContent)")


def gemini_call(path: bytes) -> tuple[str, bool] | None:
    """Returns the model that a path of Gemini's inference names, and whether it asks for a stream; else None."""
    found = _MODEL_PATH.fullmatch(path)
    if found is None:
        return None
    return unquote(found[1].decode("latin-1")), found[2].startswith(b"stream")


def face_of(path: str) -> Face:
    """Returns the dialect that a path is spoken in."""
    if path.startswith("/v1beta/") or (path.removeprefix("/v1").startswith("/models/") and ":" in path):
        return GEMINI
    return ANTHROPIC if path.removeprefix("/v1").startswith("/messages") else OPENAI
