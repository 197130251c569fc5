"""The console API's view of routing, for operators: where a request would go and why, and an operator's word."""

import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import router_pb2 as router_wire
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import choice_field, text_field
from tollgate_edge.api.rendering import invalid, render_explanation
from tollgate_edge.domain.principal import DEFAULT_GROUP
from tollgate_edge.errors import public_error
from tollgate_edge.ports import EdgeVersion, KeyRecord

_OPERATIONS: Final = {
    "chat": wire.OPERATION_CHAT,
    "embeddings": wire.OPERATION_EMBEDDINGS,
    "completions": wire.OPERATION_COMPLETION,
    "moderations": wire.OPERATION_MODERATION,
    "rerank": wire.OPERATION_RERANK,
    "speech": wire.OPERATION_SPEECH,
    "transcriptions": wire.OPERATION_TRANSCRIPTION,
    "translations": wire.OPERATION_TRANSLATION,
}
# Asked for by a form, not by JSON.
_BY_FORM: Final = frozenset({"transcriptions", "translations"})
_DIALECTS: Final = {
    "openai-chat": wire.DIALECT_OPENAI_CHAT,
    "openai-responses": wire.DIALECT_OPENAI_RESPONSES,
    "anthropic": wire.DIALECT_ANTHROPIC,
    "gemini": wire.DIALECT_GEMINI,
}
_OPENAI: Final = "openai-chat"
# What callers can ask for in several dialects, the first one where nothing says which; all else only in OpenAI's.
_SPOKEN: Final[Mapping[str, tuple[str, ...]]] = {"chat": tuple(_DIALECTS), "embeddings": (_OPENAI, "gemini")}
# Members of a chat that one dialect has. Those of OpenAI's chat are Anthropic's, too.
_TELLING: Final = {"contents": "gemini", "input": "openai-responses"}
_MODES: Final = {
    "enabled": router_wire.CHANNEL_MODE_ENABLED,
    "draining": router_wire.CHANNEL_MODE_DRAINING,
    "disabled": router_wire.CHANNEL_MODE_DISABLED,
}
_MAX_HEADERS: Final = 20


def routing_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1 that concern routing."""
    router = APIRouter(prefix="/api/v1")
    _add_explain(router, context)
    _add_modes(router, context)
    return router


def _add_explain(router: APIRouter, context: HttpContext) -> None:
    @router.post("/routes/explain", summary="Where a request would go now, and why; nothing is sent")
    async def explain(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        model = text_field(body, "model", required=True, longest=200)
        key = await _key(context, text_field(body, "key_id", longest=200))
        group, project_id = await _group(context, body, key)
        operation, dialect = _asked(body)
        asked = router_wire.ExplainRouteRequest(
            model=model,
            route_group=group,
            project_id=project_id,
            api_key_id=key.id if key is not None else "",
            operation=_OPERATIONS[operation],
            dialect=_DIALECTS[dialect],
            body=_body(body, model),
            headers=_headers(body),
        )
        found = await context.routers.explain(asked)
        return json_response(
            {
                "model": model,
                "route_group": group,
                "operation": operation,
                "dialect": dialect,
                "refusal": _refusal(context.version.current(), group, model, key),
                "routers": [
                    {"address": address, "reachable": reply is not None, "explanation": _explanation(reply)}
                    for address, reply in found
                ],
            }
        )


def _add_modes(router: APIRouter, context: HttpContext) -> None:
    @router.post("/channels/{name}/mode", summary="Drains, disables or enables a channel, in every router")
    async def set_mode(request: Request, name: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        mode = choice_field(body, "mode", "", tuple(_MODES))
        if not mode:
            raise invalid(f"'mode' must be one of: {', '.join(_MODES)}.", "mode")
        found = await context.routers.set_channel_mode(
            router_wire.SetChannelModeRequest(channel=name, mode=_MODES[mode], reason=text_field(body, "reason"))
        )
        if not any(taken for _, taken in found):
            raise public_error(errors.ERROR_KIND_UNAVAILABLE, "No router answers. Try again.", retry_after_ms=1000)
        routers = [{"address": address, "reachable": taken} for address, taken in found]
        return json_response({"channel": name, "mode": mode, "routers": routers})


async def _key(context: HttpContext, key_id: str) -> KeyRecord | None:
    if not key_id:
        return None
    found = await context.keys.key(key_id)
    if found is None:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such key.", "key_id")
    return found


async def _group(context: HttpContext, body: dict[str, Any], key: KeyRecord | None) -> tuple[str, str]:
    """Returns the route group and the project: the key's, or the group that was named."""
    group = text_field(body, "route_group", longest=63)
    if key is None:
        return group or DEFAULT_GROUP, ""
    if group:
        raise invalid("'route_group' goes without 'key_id': a key has the group of its project.", "route_group")
    project = await context.tenants.find_project(key.organization_id, key.project_id)
    return (project.route_group if project is not None else DEFAULT_GROUP), key.project_id


def _asked(body: dict[str, Any]) -> tuple[str, str]:
    """Returns the operation and the dialect: what is said, else what the operation or its request tells."""
    operation = choice_field(body, "operation", "chat", tuple(_OPERATIONS))
    request = body.get("request")
    if request is not None and operation in _BY_FORM:
        raise invalid(f"'request' goes without {operation}: they are asked for by a form, not by JSON.", "request")
    spoken = _SPOKEN.get(operation, (_OPENAI,))
    usual = spoken[0]
    if operation == "chat" and isinstance(request, dict):
        usual = next((dialect for name, dialect in _TELLING.items() if name in request), usual)
    dialect = choice_field(body, "dialect", usual, tuple(_DIALECTS))
    if dialect not in spoken:
        raise invalid(f"'dialect' of {operation} must be one of: {', '.join(spoken)}.", "dialect")
    return operation, dialect


def _body(body: dict[str, Any], model: str) -> bytes:
    """Returns the request that is asked about, as a caller would send it."""
    found = body.get("request")
    if found is None:
        return b""
    if not isinstance(found, dict):
        raise invalid("'request' must be the body of a request, a JSON object.", "request")
    return json.dumps(found | {"model": model}, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _headers(body: dict[str, Any]) -> list[wire.Header]:
    found = body.get("headers")
    if found is None:
        return []
    if (
        not isinstance(found, dict)
        or len(found) > _MAX_HEADERS
        or not all(isinstance(value, str) for value in found.values())
    ):
        raise invalid(f"'headers' must map at most {_MAX_HEADERS} names to strings.", "headers")
    return [
        wire.Header(name=name.lower().encode(errors="replace"), value=value.encode(errors="replace"))
        for name, value in found.items()
    ]


def _refusal(version: EdgeVersion | None, group: str, model: str, key: KeyRecord | None) -> str | None:
    """Returns why edge itself would refuse, before any router is asked; None when it would not."""
    if version is None:
        return "No configuration is in force yet."
    if key is not None and key.revoked_at_us:
        return "The key is revoked."
    if version.model(group, model) is None:
        return f"No channel serves the model '{model}' for the route group '{group}'."
    if key is not None and key.models is not None and model not in key.models:
        return "The key may not use this model."
    return None


def _explanation(reply: router_wire.ExplainRouteResponse | None) -> dict[str, Any] | None:
    if reply is None or not reply.HasField("explanation"):
        return None
    found = render_explanation(reply.explanation)
    return found | {"taken": next((one for one in found["targets"] if one["verdict"] == "taken"), None)}
