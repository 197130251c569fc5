"""The console API's way in for keys of another gateway: all of a list, or none. Operators only."""

import re
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.console import key_terms, project_of
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import text_field
from tollgate_edge.api.rendering import invalid
from tollgate_edge.domain.names import clean_name
from tollgate_edge.errors import Conflict, PublicError, public_error
from tollgate_edge.use_cases.import_keys import ForeignKey

MOST_KEYS: Final = 10_000
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_LAST_FOUR: Final = re.compile(r"[!-~]{0,4}")
_FIELDS: Final = ("sha256", "name", "last_four", "models", "endpoints", "cidrs", "expires_at", "limits")


def key_import_router(context: HttpContext) -> APIRouter:
    """Returns the route that takes keys over."""
    router = APIRouter(prefix="/api/v1")

    @router.post("/keys/import", status_code=201, summary="Takes over keys of another gateway, by their SHA-256")
    async def import_keys(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        listed = _listed(body)
        project = await project_of(context, body)
        keys, refused = _read(context, listed)
        if body.get("check") is True:
            return json_response({"valid": len(keys), "refused": refused}, 200)
        if refused:
            first = refused[0]
            raise invalid(
                f"{len(refused)} of {len(listed)} keys are refused, and none was imported. The first: "
                f"{first['message']} 'check': true lists all.",
                f"keys[{first['index']}].{first['param']}",
            )
        try:
            done = await context.import_keys(project, keys)
        except Conflict as error:
            raise public_error(errors.ERROR_KIND_CONFLICT, f"Nothing was imported: {error}. Try again.") from None
        items = [{"id": one.id, "imported": one.is_new} for one in done]
        return json_response({"imported": sum(one.is_new for one in done), "items": items}, 201)

    return router


def _listed(body: dict[str, Any]) -> list[Any]:
    listed = body.get("keys")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_KEYS:
        raise invalid(f"'keys' must be a list of 1 to {MOST_KEYS} keys.", "keys")
    return listed


def _read(context: HttpContext, listed: list[Any]) -> tuple[list[ForeignKey], list[dict[str, Any]]]:
    """Returns the keys that are as they should be, and what is wrong with the others."""
    keys: list[ForeignKey] = []
    refused: list[dict[str, Any]] = []
    seen: dict[bytes, int] = {}
    for index, one in enumerate(listed):
        try:
            key = _key(context, one)
            if key.digest in seen:
                raise invalid(f"It is the same key as keys[{seen[key.digest]}].", "sha256")
        except PublicError as error:
            refused.append({"index": index, "param": error.param, "message": error.message})
        else:
            seen[key.digest] = index
            keys.append(key)
    return keys, refused


def _key(context: HttpContext, one: Any) -> ForeignKey:
    if not isinstance(one, dict):
        raise invalid("A key must be an object.", "")
    for name in one:
        if name not in _FIELDS:
            raise invalid(f"{name[:100]!r} is not a field of a key. There are: {', '.join(_FIELDS)}.", name[:100])
    digest, last_four = text_field(one, "sha256", required=True), text_field(one, "last_four")
    if not _SHA256.fullmatch(digest):
        raise invalid("'sha256' must be the SHA-256 of the whole key: 64 hex digits.", "sha256")
    if not _LAST_FOUR.fullmatch(last_four):
        raise invalid("'last_four' must be the last 4 characters of the key, or fewer.", "last_four")
    try:
        name = clean_name(text_field(one, "name") or "imported key")
    except ValueError as error:
        raise invalid(f"'name': {error}.", "name") from None
    return ForeignKey(bytes.fromhex(digest), name, last_four, **key_terms(context, one))
