"""What callers of Anthropic's and Gemini's dialects ask beside inference: how long a prompt is."""

import re
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import text_field
from tollgate_edge.domain.access import CHAT
from tollgate_edge.errors import public_error

_BYTES_PER_TOKEN: Final = 4
# What a picture or a page costs about, whatever its bytes are.
_TOKENS_PER_FILE: Final = 1600
_SAYING: Final = ("system", "systemInstruction", "tools", "messages", "contents")
_EMBEDDED: Final = re.compile(rb'"data":"[A-Za-z0-9+/=]{256,}"')


def messages_router(context: HttpContext) -> APIRouter:
    """Returns `messages/count_tokens`, with and without /v1, and Gemini's `countTokens`."""
    router = APIRouter()

    @router.post("/v1/messages/count_tokens", summary="About how many tokens a prompt has")
    @router.post("/messages/count_tokens", include_in_schema=False)
    async def count_tokens(request: Request) -> Response:
        await context.caller(request, CHAT)
        body = await context.bodies.read_object(request)
        for name in ("model", "messages"):
            if not body.get(name):
                raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"{name}: this field is required", name)
        text_field(body, "model", longest=200)
        _check_objects(body, "messages")
        return json_response({"input_tokens": estimate(body)})

    @router.post("/v1beta/models/{model}:countTokens", summary="About how many tokens a prompt has")
    @router.post("/v1/models/{model}:countTokens", include_in_schema=False)
    @router.post("/models/{model}:countTokens", include_in_schema=False)
    async def count_contents(request: Request, model: str) -> Response:
        await context.caller(request, CHAT)
        body = await context.bodies.read_object(request)
        asked = body.get("generateContentRequest", body)
        if not isinstance(asked, dict) or not asked.get("contents"):
            raise public_error(
                errors.ERROR_KIND_INVALID_REQUEST, f"contents: required to count for {model}", "contents"
            )
        _check_objects(asked, "contents")
        return json_response({"totalTokens": estimate(asked)})

    return router


def _check_objects(body: dict[str, Any], name: str) -> None:
    """Raises PublicError where a field is no list of objects."""
    if not isinstance(body[name], list) or not all(isinstance(one, dict) for one in body[name]):
        raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"{name}: must be a list of objects", name)


def estimate(body: dict[str, Any]) -> int:
    """Returns about how many tokens the system's words, the tools and the messages of a body have."""
    said = msgspec.json.encode({name: body[name] for name in _SAYING if body.get(name)})
    text, files = _EMBEDDED.subn(b"", said)
    return max(1, len(text) // _BYTES_PER_TOKEN) + files * _TOKENS_PER_FILE
