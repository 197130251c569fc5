"""Everything on the public port that is not inference. Errors of any kind leave in the shape of the path's dialect."""

import logging
import re
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.budgets import budgets_router
from tollgate_edge.api.client_pages import client_pages_router
from tollgate_edge.api.codes import codes_router
from tollgate_edge.api.connection import connection_router
from tollgate_edge.api.console import console_router
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.dead_letters import dead_letters_router
from tollgate_edge.api.description import complete
from tollgate_edge.api.error_page import error_page_router
from tollgate_edge.api.figures import figures_router
from tollgate_edge.api.frame import Frame, request_id_of
from tollgate_edge.api.key_import import key_import_router
from tollgate_edge.api.ledger import ledger_router
from tollgate_edge.api.limits import limits_router
from tollgate_edge.api.media import media_router
from tollgate_edge.api.mending import mending_router
from tollgate_edge.api.messages import messages_router
from tollgate_edge.api.models import face_of_request, models_router
from tollgate_edge.api.notify import notify_router
from tollgate_edge.api.payments import payments_router
from tollgate_edge.api.prices import prices_router
from tollgate_edge.api.questions import questions_router
from tollgate_edge.api.reconciliation import reconciliation_router
from tollgate_edge.api.requests import requests_router
from tollgate_edge.api.responses import responses_router
from tollgate_edge.api.routing import routing_router
from tollgate_edge.api.statements import statements_router
from tollgate_edge.api.tenants import tenants_router
from tollgate_edge.api.welcome import welcome_router
from tollgate_edge.errors import ERRORS_PATH, PublicError, StoreUnavailable, public_error
from tollgate_edge.faces import gemini_call

log = logging.getLogger(__name__)

# Answered before FastAPI sees them; only other methods than POST come this far.
INFERENCE_PATHS: Final = tuple(
    f"{prefix}{path}"
    for prefix in ("/v1", "")
    for path in ("/chat/completions", "/responses", "/embeddings", "/messages")
)
_TWO_VERSIONS: Final = re.compile(r"/v1(?:beta)?/v1(?:beta)?/")
_ENDPOINT_AND_MORE: Final = re.compile(r"/(chat/completions|responses|messages|embeddings)/")
_PARAMETER: Final = re.compile(r"\{[^}]*\}")
_METHODS: Final = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
_ROUTERS: Final = (
    welcome_router,
    error_page_router,
    client_pages_router,
    connection_router,
    models_router,
    messages_router,
    responses_router,
    media_router,
    console_router,
    key_import_router,
    tenants_router,
    figures_router,
    ledger_router,
    codes_router,
    requests_router,
    questions_router,
    statements_router,
    prices_router,
    payments_router,
    reconciliation_router,
    dead_letters_router,
    mending_router,
    limits_router,
    budgets_router,
    notify_router,
    routing_router,
)


class EdgeApi(FastAPI):
    """A FastAPI whose every reply, errors that nobody expected included, passes the frame."""

    def __init__(self, context: HttpContext, **named: Any) -> None:
        super().__init__(**named)
        self._context = context
        # FastAPI keeps those of an included router within it.
        self.all_routes: list[BaseRoute] = []

    def openapi(self) -> dict[str, Any]:
        """Returns the description of the API, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        return Frame(super().build_middleware_stack(), self._context.new_request_id)

    def answer(self, request: Request, error: PublicError) -> Response:
        """Returns the reply of an error, which goes to the request log too."""
        request_id = request_id_of(request.scope)
        caller = getattr(request.state, "caller", None)
        route = getattr(request.scope.get("route"), "path", "")
        self._context.refused(request_id, caller, route, error)
        face = face_of_request(request)
        error = face.spoken(error)
        docs = f"{self._context.base_url(request)}{ERRORS_PATH}"
        return Response(face.error(error, request_id, docs), error.status, dict(error.headers), "application/json")


def create_http_app(context: HttpContext) -> FastAPI:
    """Returns the app; it opens nothing and starts nothing."""
    app = EdgeApi(
        context,
        title="Tollgate",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_health(app, context)
    for path in INFERENCE_PATHS:
        app.add_api_route(path, _post_only, methods=_METHODS, include_in_schema=False)
    routers = [make(context) for make in _ROUTERS]
    for router in routers:
        app.include_router(router)
    app.all_routes = [route for routes in (app.routes, *(one.routes for one in routers)) for route in routes]
    app.add_exception_handler(PublicError, _public)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StoreUnavailable, _store_away)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _add_health(app: FastAPI, context: HttpContext) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return json_response({"state": context.state()})

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        missing = context.missing()
        return json_response(
            {"ready": not missing, "missing": missing, "notes": context.notes()}, 503 if missing else 200
        )


async def _post_only() -> Response:
    raise public_error(
        errors.ERROR_KIND_INVALID_REQUEST, "This path takes POST only.", code="method_not_allowed"
    ).with_headers(allow="POST")


def _respond(request: Request, error: PublicError) -> Response:
    app = request.app
    assert isinstance(app, EdgeApi)
    return app.answer(request, error)


async def _public(request: Request, error: Exception) -> Response:
    assert isinstance(error, PublicError)
    return _respond(request, error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods_at(request)))
        found = public_error(
            errors.ERROR_KIND_INVALID_REQUEST,
            f"{request.method} is not allowed here, only {allowed}.",
            code="method_not_allowed",
        ).with_headers(allow=allowed)
    elif error.status_code == 404:
        hint = _hint(path)
        found = public_error(errors.ERROR_KIND_NOT_FOUND, f"There is nothing at {request.method} {path[:200]}.{hint}")
    else:
        found = public_error(errors.ERROR_KIND_INVALID_REQUEST).with_status(error.status_code)
    return _respond(request, found)


def _hint(path: str) -> str:
    """Returns what a path that is not there says of the base URL in a client; empty for nothing."""
    if "//" in path:
        return " The base URL ends in a slash, and the client adds another: remove it."
    if _TWO_VERSIONS.match(path):
        return " The base URL ends in a version, and the client adds one: remove it from the base URL."
    if _ENDPOINT_AND_MORE.search(path):
        return " The base URL holds the whole path, and the client adds its own: end the base URL before it."
    return ""


def _methods_at(request: Request) -> set[str]:
    """Returns the methods of the path; the error knows those of the first route only.

    Where it is a path of its own and the id of something else as well, as in keys/import, the former is meant.
    """
    if gemini_call(request.url.path.encode(), b"") is not None:
        return {"POST"}
    found = [
        route
        for route in request.app.all_routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    nearest = max(len(_PARAMETER.sub("", route.path)) for route in found)
    return {
        method for route in found if len(_PARAMETER.sub("", route.path)) == nearest for method in route.methods or ()
    }


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else ""
    found = public_error(errors.ERROR_KIND_INVALID_REQUEST, f"'{name}': {first['msg']}.", name).with_status(422)
    return _respond(request, found)


async def _store_away(request: Request, _error: Exception) -> Response:
    return _respond(request, public_error(errors.ERROR_KIND_UNAVAILABLE, retry_after_ms=1000))


async def _unexpected(request: Request, _error: Exception) -> Response:
    # The server logs the error itself; the caller learns nothing of it.
    return _respond(request, public_error(errors.ERROR_KIND_INTERNAL))
