"""The models a key may use, in the shape of the caller's dialect.

Anthropic's for callers that name its version, Gemini's under /v1beta and for keys where its clients put them, else
OpenAI's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.model_detail import detail, price_of
from tollgate_edge.api.rendering import invalid
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error
from tollgate_edge.faces import ANTHROPIC, GEMINI, OPENAI, Face, face_of
from tollgate_edge.ports import EdgeModel, EdgeVersion

_ANTHROPIC: Final = "anthropic-version"
_MOST_MODELS: Final = 1000
_MODELS: Final = re.compile(r"(?:/v1beta|/v1)?/models(?:/|\Z)")
# Some clients choose the protocol by this field.
_ENDPOINTS: Final = {
    "chat": ("openai", "openai-response", "anthropic", "gemini"),
    "embedding": ("embeddings",),
    "image": ("image-generation",),
    "completion": ("openai",),
    "moderation": ("moderations",),
    "rerank": ("jina-rerank",),
    "speech": ("audio-speech",),
    "transcription": ("audio-transcription",),
}


def models_router(context: HttpContext) -> APIRouter:
    """Returns `models` and `models/{id}`, with and without /v1."""
    router = APIRouter()

    @router.get("/v1/models", summary="Models that this key may use")
    @router.get("/models", include_in_schema=False)
    @router.get("/v1beta/models", include_in_schema=False)
    async def list_models(request: Request) -> Response:
        principal = await context.caller(request)
        models = [
            model for model in _version(context).models_of(principal.route_group) if may_use(principal, model.name)
        ]
        if _ANTHROPIC in request.headers:
            return json_response(_page(models, request))
        if _is_gemini(request):
            return json_response(_gemini_page(models, request))
        detailed = _detailed(context, request, principal)
        return json_response({"object": "list", "data": [{**_render(one), **detailed(one)} for one in models]})

    @router.get("/v1/models/{model:path}", summary="One model")
    @router.get("/models/{model:path}", include_in_schema=False)
    @router.get("/v1beta/models/{model:path}", include_in_schema=False)
    async def get_model(request: Request, model: str) -> Response:
        principal = await context.caller(request)
        found = find_model(context, principal, model)
        if _ANTHROPIC in request.headers:
            return json_response(_render_anthropic(found))
        if _is_gemini(request):
            return json_response(_render_gemini(found))
        return json_response({**_render(found), **_detailed(context, request, principal)(found)})

    return router


def find_model(context: HttpContext, principal: Principal, model: str) -> EdgeModel:
    """Returns a model that this key may use. Raises PublicError."""
    found = _version(context).model(principal.route_group, model)
    if found is None or not may_use(principal, model):
        raise public_error(
            errors.ERROR_KIND_MODEL_NOT_FOUND,
            f"The model '{model}' does not exist or this key may not use it. GET /v1/models lists what it may.",
            "model",
        )
    return found


def face_of_request(request: Request) -> Face:
    """Returns the dialect that an error is told in: of what is said of models, the one that they are listed in."""
    path = request.url.path
    if request.method == "GET" and _MODELS.match(path) is not None:
        if _ANTHROPIC in request.headers:
            return ANTHROPIC
        return GEMINI if _is_gemini(request) else OPENAI
    return face_of(path)


def _detailed(context: HttpContext, request: Request, principal: Principal) -> Callable[[EdgeModel], Mapping[str, Any]]:
    """Returns what adds detail to an entry: nothing, unless `detail=true` asks for it. Raises PublicError."""
    asked = request.query_params.get("detail", "false").lower()
    if asked not in {"true", "false"}:
        raise invalid("detail must be true or false.", "detail")
    if asked == "false":
        return lambda _: {}
    table, now_us = _version(context).price_table, context.clock.now_us()

    def add(model: EdgeModel) -> Mapping[str, Any]:
        return detail(model, price_of(table, model.name, principal.price_group, now_us, principal.currency))

    return add


def _page(models: Sequence[EdgeModel], request: Request) -> dict[str, Any]:
    """Returns a page of Anthropic's list by `limit`, `after_id` or `before_id`. Raises PublicError."""
    names = [model.name for model in models]
    given = request.query_params
    limit = given.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_MODELS:
        raise invalid(f"limit must be between 1 and {_MOST_MODELS}.", "limit")
    most = int(limit)
    after, before = given.get("after_id"), given.get("before_id")
    if before is not None:
        end = names.index(before) if before in names else 0
        start = max(0, end - most)
    else:
        start = names.index(after) + 1 if after in names else 0
        end = min(len(names), start + most)
    shown = models[start:end]
    return {
        "data": [_render_anthropic(model) for model in shown],
        "has_more": start > 0 if before is not None else end < len(names),
        "first_id": shown[0].name if shown else None,
        "last_id": shown[-1].name if shown else None,
    }


def _is_gemini(request: Request) -> bool:
    if request.url.path.startswith("/v1beta/"):
        return True
    given = request.headers
    return "authorization" not in given and ("x-goog-api-key" in given or "key" in request.query_params)


def _gemini_page(models: Sequence[EdgeModel], request: Request) -> dict[str, Any]:
    """Returns a page of Gemini's list by `pageSize` and `pageToken`, which is where the page begins."""
    given = request.query_params
    size, token = given.get("pageSize", "50"), given.get("pageToken", "0")
    if not size.isdecimal() or not token.isdecimal():
        raise invalid("pageSize and pageToken must be numbers.", "pageSize")
    start, most = int(token), min(max(1, int(size)), _MOST_MODELS)
    page: dict[str, Any] = {"models": [_render_gemini(model) for model in models[start : start + most]]}
    if start + most < len(models):
        page["nextPageToken"] = str(start + most)
    return page


def _render_gemini(model: EdgeModel) -> dict[str, Any]:
    verbs = ["generateContent", "streamGenerateContent", "countTokens"] if model.mode in {"chat", ""} else []
    verbs += ["embedContent", "batchEmbedContents"] if model.mode in {"embedding", ""} else []
    found: dict[str, Any] = {"name": f"models/{model.name}", "displayName": model.name, "version": "1"}
    found["supportedGenerationMethods"] = verbs
    if model.context:
        found["inputTokenLimit"] = model.context
    if model.max_output:
        found["outputTokenLimit"] = model.max_output
    return found


def _render_anthropic(model: EdgeModel) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model.name, "display_name": model.name, "created_at": created}


def _version(context: HttpContext) -> EdgeVersion:
    version = context.version.current()
    if version is None:
        raise public_error(
            errors.ERROR_KIND_UNAVAILABLE, "No configuration is in force yet. Try again.", retry_after_ms=1000
        )
    return version


def may_use(principal: Principal, model: str) -> bool:
    """Says whether a key's own list of models, if it has one, holds this one."""
    return principal.models is None or model in principal.models


def _render(model: EdgeModel) -> dict[str, Any]:
    # No nulls: some clients refuse the whole list for one.
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "supported_endpoint_types": endpoint_types(model),
    }


def endpoint_types(model: EdgeModel) -> list[str]:
    """Returns New API's names of the protocols that a model is called by."""
    return list(_ENDPOINTS.get(model.mode) or dict.fromkeys(chain(*_ENDPOINTS.values())))
