"""What callers of Anthropic's and Gemini's dialects ask beside inference: how long a prompt is."""

import re
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.models import find_model
from tollgate_edge.api.reading import text_field
from tollgate_edge.domain.access import CHAT
from tollgate_edge.errors import public_error

_BYTES_PER_TOKEN: Final = 4
# What a picture or a page costs about, whatever its bytes are.
_TOKENS_PER_FILE: Final = 1600
_SAYING: Final = ("system", "systemInstruction", "system_instruction", "tools", "messages", "contents")
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "system": (str, list),
    "systemInstruction": (str, list, dict),
    "system_instruction": (str, list, dict),
    "tools": (list,),
}
# Google's server takes one for a list of one.
_GEMINI_KINDS: Final = _KINDS | {"tools": (list, dict)}
_WORDS: Final[dict[type, str]] = {str: "text", list: "a list", dict: "an object"}
_EMBEDDED: Final = re.compile(rb'"data":"[A-Za-z0-9+/=]{256,}"')


def messages_router(context: HttpContext) -> APIRouter:
    """Returns `messages/count_tokens`, with and without /v1, and Gemini's `countTokens`."""
    router = APIRouter()

    @router.post("/v1/messages/count_tokens", summary="About how many tokens a prompt has")
    @router.post("/messages/count_tokens", include_in_schema=False)
    async def count_tokens(request: Request) -> Response:
        principal = await context.caller(request, CHAT)
        body = await context.bodies.read_object(request)
        for name in ("model", "messages"):
            if not body.get(name):
                raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"{name}: this field is required", name)
        model = text_field(body, "model", longest=200)
        _check_objects(body, "messages", roles=True)
        _check_kinds(body, _KINDS)
        find_model(context, principal, model)
        return json_response({"input_tokens": estimate(body)})

    @router.post("/v1beta/models/{model:path}:countTokens", summary="About how many tokens a prompt has")
    @router.post("/v1/models/{model:path}:countTokens", include_in_schema=False)
    @router.post("/models/{model:path}:countTokens", include_in_schema=False)
    async def count_contents(request: Request, model: str) -> Response:
        principal = await context.caller(request, CHAT)
        body = await context.bodies.read_object(request)
        asked = body.get("generateContentRequest", body)
        if not isinstance(asked, dict) or not asked.get("contents"):
            raise public_error(
                errors.ERROR_KIND_INVALID_REQUEST, f"contents: required to count for {model}", "contents"
            )
        _check_objects(asked, "contents", roles=False)
        _check_kinds(asked, _GEMINI_KINDS)
        find_model(context, principal, model)
        return json_response({"totalTokens": estimate(asked)})

    return router


def _check_objects(body: dict[str, Any], name: str, *, roles: bool) -> None:
    """Raises PublicError where a field is no list of objects, or one has a role that is no text, or none of `roles`."""
    found = body[name]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"{name}: must be a list of objects", name)
    for at, one in enumerate(found):
        if not isinstance(one.get("role", None if roles else ""), str):
            raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"{name}.{at}.role: must be text", name)


def _check_kinds(body: dict[str, Any], kinds: dict[str, tuple[type, ...]]) -> None:
    for name, expected in kinds.items():
        if body.get(name) is not None and not isinstance(body[name], expected):
            words = " or ".join(_WORDS[kind] for kind in expected)
            raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"{name}: must be {words}", name)


def estimate(body: dict[str, Any]) -> int:
    """Returns about how many tokens the system's words, the tools and the messages of a body have."""
    said = msgspec.json.encode({name: body[name] for name in _SAYING if body.get(name)})
    text, files = _EMBEDDED.subn(b"", said)
    return max(1, len(text) // _BYTES_PER_TOKEN) + files * _TOKENS_PER_FILE
