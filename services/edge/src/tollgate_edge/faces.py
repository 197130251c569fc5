"""What replies look like in each dialect of callers beside what the provider said: errors, silence, headers."""

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.errors import PublicError, openai_error, render_openai

# Clients of Claude know by these words that a prompt, or prompt and answer together, were too long.
_TOO_LONG: Final = "prompt is too long"
_TOGETHER_TOO_LONG: Final = "exceed context limit"
_BROKEN_OFF: Final = b"data: [DONE]\n\n"


class Face:
    """OpenAI's. `dialect` is a tollgate.exchange.v1.Dialect, `keep_alive` what is said into a silent stream."""

    dialect: int = wire.DIALECT_OPENAI_CHAT
    keep_alive: bytes = b": keep-alive\n\n"
    as_array: bool = False
    # As on tollgate.exchange.v1.Open.
    api_version: int = 0
    # Of the head of a stream.
    stream_lines: bytes = (
        b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
    )
    passed_headers: tuple[bytes, ...] = ()
    routes: Mapping[int, str] = MappingProxyType(
        {
            wire.OPERATION_CHAT: "/v1/chat/completions",
            wire.OPERATION_EMBEDDINGS: "/v1/embeddings",
            wire.OPERATION_COMPLETION: "/v1/completions",
            wire.OPERATION_MODERATION: "/v1/moderations",
            wire.OPERATION_RERANK: "/v1/rerank",
            wire.OPERATION_SPEECH: "/v1/audio/speech",
            wire.OPERATION_TRANSCRIPTION: "/v1/audio/transcriptions",
            wire.OPERATION_TRANSLATION: "/v1/audio/translations",
        }
    )

    def spoken(self, error: PublicError) -> PublicError:
        """Returns an error with the status that it has in this dialect."""
        return error

    def error(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        """Returns the body of an error. `docs` is the address of the page of errors; empty: its path on this host."""
        return render_openai(error, request_id, docs)

    def error_event(self, error: PublicError, request_id: str, docs: str = "", *, begun: bool = True) -> bytes:  # noqa: ARG002 - see GeminiArrayFace.
        """Returns the end of a stream that broke off; `begun`: something of it was sent."""
        return b"data: %b\n\n%b" % (self.error(error, request_id, docs), _BROKEN_OFF)

    def id_lines(self, request_id: bytes) -> bytes:
        """Returns the header lines that name the request."""
        return b"x-request-id: %b\r\n" % request_id


class ResponsesFace(Face):
    dialect = wire.DIALECT_OPENAI_RESPONSES
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1/responses"})

    def error_event(self, error: PublicError, request_id: str, docs: str = "", *, begun: bool = True) -> bytes:  # noqa: ARG002 - see GeminiArrayFace.
        """Returns what its clients want at the end of a stream that broke off: the error, and that it failed."""
        said = openai_error(error, "", docs)
        failed = {
            # As the router names it, whose events went before.
            "id": f"resp_{request_id.removeprefix('req_')}",
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


class RerankFace(Face):
    """Of those who rerank. Cohere's clients read `message`, Jina's `detail`, and those of OpenAI `error`."""

    def error(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        """Returns the body of an error."""
        found = json.loads(render_openai(error, request_id, docs))
        message = found["error"]["message"]
        return json.dumps(
            {"id": request_id, "message": message, "detail": message, **found}, ensure_ascii=False
        ).encode(errors="replace")


class SecondRerankFace(RerankFace):
    """Of the second version of Cohere's API."""

    api_version = 2


class AnthropicFace(Face):
    dialect = wire.DIALECT_ANTHROPIC
    keep_alive = b'event: ping\ndata: {"type": "ping"}\n\n'
    passed_headers = (b"anthropic-version", b"anthropic-beta")
    routes = MappingProxyType({wire.OPERATION_CHAT: "/v1/messages"})

    def spoken(self, error: PublicError) -> PublicError:
        return error.with_status(error.entry.anthropic_status) if error.entry.anthropic_status else error

    def error(self, error: PublicError, request_id: str, docs: str = "") -> bytes:
        message = error.message
        if error.entry.kind == errors.ERROR_KIND_CONTEXT_LENGTH and not _says_too_long(message):
            message = f"{_TOO_LONG}: {message}"
        inner = {
            "type": error.entry.anthropic,
            "message": message,
            "code": error.code,
            "param": error.param,
            "doc_url": error.link(docs),
        }
        found = {name: value for name, value in inner.items() if value}
        body = {"type": "error", "error": found, "request_id": request_id}
        return json.dumps(body, ensure_ascii=False).encode(errors="replace")

    def error_event(self, error: PublicError, request_id: str, docs: str = "", *, begun: bool = True) -> bytes:  # noqa: ARG002 - see GeminiArrayFace.
        return b"event: error\ndata: %b\n\n" % self.error(error, request_id, docs)

    def id_lines(self, request_id: bytes) -> bytes:
        return b"x-request-id: %b\r\nrequest-id: %b\r\n" % (request_id, request_id)


def _says_too_long(message: str) -> bool:
    plain = message.lower()
    return _TOO_LONG in plain or _TOGETHER_TOO_LONG in plain


class GeminiFace(Face):
    dialect = wire.DIALECT_GEMINI
    # Anything but a blank line breaks clients of this dialect.
    keep_alive = b"\n"
    routes = MappingProxyType(
        {
            wire.OPERATION_CHAT: "/v1beta/models/{model}:generateContent",
            wire.OPERATION_EMBEDDINGS: "/v1beta/models/{model}:embedContent",
        }
    )

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

    def error_event(self, error: PublicError, request_id: str, docs: str = "", *, begun: bool = True) -> bytes:  # noqa: ARG002 - see GeminiArrayFace.
        return b"data: %b\n\n" % self.error(error, request_id, docs)


class GeminiArrayFace(GeminiFace):
    """Of streams that are one JSON array: white space is silence, and an error is its last item."""

    as_array = True
    stream_lines = (
        b"content-type: application/json; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
    )

    def error_event(self, error: PublicError, request_id: str, docs: str = "", *, begun: bool = True) -> bytes:
        return b"%b%b]" % (b",\r\n" if begun else b"[", self.error(error, request_id, docs))


OPENAI: Final = Face()
RESPONSES: Final = ResponsesFace()
ANTHROPIC: Final = AnthropicFace()
RERANK: Final = RerankFace()
SECOND_RERANK: Final = SecondRerankFace()
GEMINI: Final = GeminiFace()
GEMINI_ARRAY: Final = GeminiArrayFace()
_MODEL_PATH: Final = re.compile(
    # Names have colons, too: `qwen3:8b`.
    rb"(?:/v1beta|/v1)?/models/([^?]+):(generateContent|streamGenerateContent|embedContent|batchEmbedContents)"
)
_EVENTS_ASKED: Final = re.compile(rb"(?:^|&)alt=sse(?:&|$)")


class GeminiCall(NamedTuple):
    """`named` are the model and whether it is a stream: what a path of Gemini's says."""

    operation: int
    face: Face
    named: tuple[str, bool]


def gemini_call(path: bytes, query: bytes) -> GeminiCall | None:
    """Returns what a path of Gemini's inference asks for; None for other paths."""
    found = _MODEL_PATH.fullmatch(path)
    if found is None:
        return None
    model, stream = unquote(found[1].decode("latin-1")), found[2].startswith(b"stream")
    operation = wire.OPERATION_CHAT if found[2].endswith(b"enerateContent") else wire.OPERATION_EMBEDDINGS
    face = GEMINI_ARRAY if stream and _EVENTS_ASKED.search(query) is None else GEMINI
    return GeminiCall(operation, face, (model, stream))


def face_of(path: str) -> Face:
    """Returns the dialect that a path is spoken in."""
    if path.startswith("/v1beta/") or (path.removeprefix("/v1").startswith("/models/") and ":" in path):
        return GEMINI
    if path == "/v2/rerank":
        return SECOND_RERANK
    if path in {"/v1/rerank", "/rerank"}:
        return RERANK
    return ANTHROPIC if path.removeprefix("/v1").startswith("/messages") else OPENAI
