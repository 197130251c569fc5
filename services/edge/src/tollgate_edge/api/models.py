"""The models a key may use, in OpenAI's shape."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error
from tollgate_edge.ports import EdgeModel, EdgeVersion

# Some clients choose the protocol by this field.
_ENDPOINTS: Final = {"chat": "openai", "embedding": "embeddings", "image": "image-generation"}


def models_router(context: HttpContext) -> APIRouter:
    """Returns `models` and `models/{id}`, with and without /v1."""
    router = APIRouter()

    @router.get("/v1/models", summary="Models that this key may use")
    @router.get("/models", include_in_schema=False)
    async def list_models(request: Request) -> Response:
        principal = await context.caller(request)
        models = (model for model in _version(context).models_of(principal.route_group))
        items = [_render(model) for model in models if _may_use(principal, model.name)]
        return json_response({"object": "list", "data": items})

    @router.get("/v1/models/{model:path}", summary="One model")
    @router.get("/models/{model:path}", include_in_schema=False)
    async def get_model(request: Request, model: str) -> Response:
        principal = await context.caller(request)
        found = _version(context).model(principal.route_group, model)
        if found is None or not _may_use(principal, model):
            raise public_error(
                errors.ERROR_KIND_MODEL_NOT_FOUND,
                f"The model '{model}' does not exist or this key may not use it. GET /v1/models lists what it may.",
                "model",
            )
        return json_response(_render(found))

    return router


def _version(context: HttpContext) -> EdgeVersion:
    version = context.version.current()
    if version is None:
        raise public_error(
            errors.ERROR_KIND_UNAVAILABLE, "No configuration is in force yet. Try again.", retry_after_ms=1000
        )
    return version


def _may_use(principal: Principal, model: str) -> bool:
    return principal.models is None or model in principal.models


def _render(model: EdgeModel) -> dict[str, Any]:
    # No nulls: some clients refuse the whole list for one.
    endpoint = _ENDPOINTS.get(model.mode)
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "supported_endpoint_types": [endpoint] if endpoint else list(_ENDPOINTS.values()),
    }
