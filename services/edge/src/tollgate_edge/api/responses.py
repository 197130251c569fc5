"""What clients of the Responses API ask beside creating one: nothing is stored, and that is what is said."""

from typing import Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext
from tollgate_edge.errors import public_error

_WORDS: Final = "This gateway stores no responses. Send the whole conversation as `input`, without `store`."


def responses_router(context: HttpContext) -> APIRouter:
    """Returns `responses/{id}` and what is below it, with and without /v1."""
    router = APIRouter()

    @router.get("/v1/responses/{response}", include_in_schema=False)
    @router.delete("/v1/responses/{response}", include_in_schema=False)
    @router.post("/v1/responses/{response}/cancel", include_in_schema=False)
    @router.get("/v1/responses/{response}/input_items", include_in_schema=False)
    @router.get("/responses/{response}", include_in_schema=False)
    @router.delete("/responses/{response}", include_in_schema=False)
    @router.post("/responses/{response}/cancel", include_in_schema=False)
    @router.get("/responses/{response}/input_items", include_in_schema=False)
    async def stored(request: Request, response: str) -> Response:  # noqa: ARG001 - the path names it.
        await context.caller(request)
        raise public_error(errors.ERROR_KIND_NOT_FOUND, _WORDS, "response_id", "response_not_stored")

    return router
