"""What replies look like in each dialect of callers beside what the provider said: errors, silence, headers."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.errors import PublicError, openai_error, render_openai

_BROKEN_OFF: Final = b"data: [DONE]\n\n"


class Face:
    """OpenAI's. `dialect` is a tollgate.exchange.v1.Dialect, `keep_alive` what is said into a silent stream."""

    dialect: int = wire.DIALECT_OPENAI_CHAT
    keep_alive: bytes = b": keep-alive\n\n"
    passed_headers: tuple[bytes, ...] = ()
    routes: Mapping[int, str] = MappingProxyType(
        {wire.OPERATION_CHAT: "/v1/chat/completions", wire.OPERATION_EMBEDDINGS: "/v1/embeddings"}
    )

    def error(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        """Returns the body of an error. `docs` is the address of the page of errors; empty: its path on this host."""
        return render_openai(error, request_id, docs)

    def error_event(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        """Returns the end of a stream that broke off."""
        return b"data: %b\n\n%b" % (self.error(error, request_id, docs), _BROKEN_OFF)

    def id_lines(self, request_id: bytes) -> bytes:
        """Returns the header lines that name the request."""
        return b"x-request-id: %b\r\n" % request_id


class ResponsesFace(Face):
    dialect = wire.DIALECT_OPENAI_RESPONSES
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1/responses"})

    def error_event(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        """Returns what its clients want at the end of a stream that broke off: the error, and that it failed."""
        said = openai_error(error, "", docs)
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

    def error(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        inner = {
            "type": error.entry.anthropic,
            "message": error.message,
            "code": error.code,
            "param": error.param,
            "doc_url": error.link(docs),
        }
        found = {name: value for name, value in inner.items() if value}
        body = {"type": "error", "error": found, "request_id": request_id}
        return json.dumps(body, ensure_ascii=False).encode(errors="replace")

    def error_event(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        return b"event: error\ndata: %b\n\n" % self.error(error, request_id, docs)

    def id_lines(self, request_id: bytes) -> bytes:
        return b"x-request-id: %b\r\nrequest-id: %b\r\n" % (request_id, request_id)


class GeminiFace(Face):
    dialect = wire.DIALECT_GEMINI
    # Anything but a blank line breaks clients of this dialect.
    keep_alive = b"\n"
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1beta/models/{model}:generateContent"})

    def error(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        details: list[dict[str, object]] = [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code.upper(), "domain": "tollgate"},
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id},
            {
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [{"description": error.code, "url": error.link(docs)}],
            },
        ]
        if wait := error.headers.get("retry-after"):
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"})
        body = {
            "error": {
                "code": error.status,
                "message": error.message,
                "status": error.entry.gemini,
                "details": details,
            }
        }
        return json.dumps(body, ensure_ascii=False).encode(errors="replace")

    def error_event(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        return b"data: %b\n\n" % self.error(error, request_id, docs)


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
