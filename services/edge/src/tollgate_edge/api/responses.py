"""What clients of the Responses API ask beside creating one: the responses that the router stored for their project."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from tollgate.router.v1 import responses_pb2 as wire
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.rendering import invalid

_LONGEST_ID: Final = 200
_MOST_ITEMS: Final = 100


def responses_router(context: HttpContext) -> APIRouter:
    """Returns `responses/{id}` and what is below it, with and without /v1."""
    router = APIRouter()

    @router.get("/v1/responses/{response}", summary="A stored response")
    @router.get("/responses/{response}", include_in_schema=False)
    async def get_response(request: Request, response: str) -> Response:
        project = await _project(context, request)
        if request.query_params.get("stream", "").lower() in {"1", "true"}:
            raise invalid(
                "Stored responses are not streamed: leave `stream` out, and ask again until `status` is neither queued "
                "nor in_progress.",
                "stream",
            )
        return _json(await context.routers.response(project, _id(response)))

    @router.delete("/v1/responses/{response}", summary="Forgets a stored response; one that still runs is cancelled")
    @router.delete("/responses/{response}", include_in_schema=False)
    async def delete_response(request: Request, response: str) -> Response:
        await context.routers.forget_response(await _project(context, request), _id(response))
        return json_response({"id": response, "object": "response", "deleted": True})

    @router.get("/v1/responses/{response}/input_items", summary="The input of a stored response")
    @router.get("/responses/{response}/input_items", include_in_schema=False)
    async def list_input_items(
        request: Request,
        response: str,
        limit: str = "20",
        order: str = "desc",
        after: Annotated[str, Query(max_length=_LONGEST_ID)] = "",
    ) -> Response:
        project = await _project(context, request)
        # Checked here, for the status and the shape that OpenAI's clients know.
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_ITEMS:
            raise invalid(f"'limit' must be between 1 and {_MOST_ITEMS}.", "limit")
        if order not in {"asc", "desc"}:
            raise invalid("'order' must be asc or desc.", "order")
        asked = wire.ListInputItemsRequest(
            project_id=project,
            response_id=_id(response),
            after=after,
            limit=int(limit),
            newest_first=order == "desc",
        )
        return _json(await context.routers.input_items(asked))

    @router.post("/v1/responses/{response}/cancel", summary="Cancels a response that runs in the background")
    @router.post("/responses/{response}/cancel", include_in_schema=False)
    async def cancel_response(request: Request, response: str) -> Response:
        return _json(await context.routers.cancel_response(await _project(context, request), _id(response)))

    return router


async def _project(context: HttpContext, request: Request) -> str:
    principal = await context.caller(request)
    return principal.project_id


def _id(found: str) -> str:
    if len(found) > _LONGEST_ID:
        raise invalid("No response has so long an id.", "response_id")
    return found


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
