"""The console API's single requests: lists with filters, refused ones among them, and the evidence of one."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.evidence import View, owner_of, render_evidence, render_row
from tollgate_edge.api.links import Owner
from tollgate_edge.api.reading import PageLimit, ShortText, whole_field
from tollgate_edge.api.rendering import invalid, render_time
from tollgate_edge.api.usage_query import Asked, usage_filter
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error
from tollgate_edge.telemetry import outcome_name

STATUSES: Final = ("confirmed", "unconfirmed", "witness", "settled", "repeated", "refused")
KINDS: Final = ("usage", "refused")
OUTCOMES: Final = tuple(outcome_name(value) for value in wire.Outcome.values() if value)
_TRACE_DIGITS: Final = 32
_LONGEST_LINK_SECONDS: Final = 30 * 24 * 3600
_UNKNOWN: Final = (
    "There is no request of this id. It may not be booked yet (that takes a second), it may be older than what is "
    "kept, or it was one too many of a flood of refused ones."
)
_BAD_LINK: Final = "This link is not valid, or it has expired. Ask for a new one."


def requests_router(context: HttpContext) -> APIRouter:
    """Returns /api/v1/requests and what signed links to its items lead to."""
    router = APIRouter(prefix="/api/v1")
    _add_list(router, context)
    _add_evidence(router, context)
    return router


def _add_list(router: APIRouter, context: HttpContext) -> None:
    @router.get("/requests", summary="Single requests, newest first, refused ones too")
    async def requests(
        request: Request,
        asked: Asked,
        request_id: ShortText = "",
        limit: PageLimit = 100,
        cursor: Annotated[str, Query(max_length=1000)] = "",
        trace_id: ShortText = "",
        outcome: ShortText = "",
        status: ShortText = "",
        error: ShortText = "",
        http_status: Annotated[int, Query(ge=0, le=599)] = 0,
        kind: ShortText = "",
    ) -> Response:
        principal = await context.anyone(request)
        _check_word("outcome", outcome, OUTCOMES)
        _check_word("status", status, STATUSES)
        _check_word("kind", kind, KINDS)
        if trace_id and (len(trace_id) != _TRACE_DIGITS or set(trace_id) - set("0123456789abcdef")):
            raise invalid(f"'trace_id' has {_TRACE_DIGITS} digits of 0 to 9 and a to f.", "trace_id")
        found = await context.billing.requests(
            billing.ListRequestsRequest(
                filter=usage_filter(principal, asked),
                request_id=request_id,
                limit=limit,
                cursor=cursor,
                trace_id=trace_id,
                outcome=outcome,
                status=status,
                error=error,
                http_status=http_status,
                kind=kind,
            )
        )
        items = [render_row(row, _view(principal)) for row in found.rows]
        return json_response({"items": items, "next": found.next_cursor or None})


def _add_evidence(router: APIRouter, context: HttpContext) -> None:
    @router.get("/requests/{request_id}", summary="All that is known of one request, without what was said in it")
    async def evidence(request: Request, request_id: str) -> Response:
        principal = await context.anyone(request)
        found = await _find(context, request_id, principal.organization_id)
        return json_response(await render_evidence(context, found, _view(principal)))

    @router.post("/requests/{request_id}/link", status_code=201, summary="Makes a link to it that needs no key")
    async def link(request: Request, request_id: str) -> Response:
        principal = await context.anyone(request)
        body = await context.bodies.read_object(request, optional=True)
        seconds = whole_field(body, "expires_in_seconds", 24 * 3600, 60, _LONGEST_LINK_SECONDS)
        found = await _find(context, request_id, principal.organization_id)
        query = context.evidence_links.query(request_id, Owner(owner_of(found), ""), seconds)
        expires_us = context.clock.now_us() + seconds * 1_000_000
        url = f"{context.base_url(request)}/api/v1/evidence/{request_id}?{query}"
        return json_response({"url": url, "expires_at": render_time(expires_us)}, 201)

    @router.get("/evidence/{request_id}", summary="The evidence that a signed link leads to")
    async def shared(
        request_id: str,
        expires: Annotated[str, Query(alias="exp", max_length=20)] = "",
        signature: Annotated[str, Query(alias="sig", max_length=2000)] = "",
    ) -> Response:
        owner = context.evidence_links.owner(request_id, expires, signature)
        if owner is None:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, _BAD_LINK, code="bad_link")
        found = await _find(context, request_id, owner.organization_id)
        reply = json_response(await render_evidence(context, found, View.SUPPORT))
        reply.headers["cache-control"] = "no-store"
        reply.headers["referrer-policy"] = "no-referrer"
        return reply


def _check_word(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value and value not in allowed:
        raise invalid(f"'{name}' takes {', '.join(allowed)}, not '{value}'.", name)


async def _find(context: HttpContext, request_id: str, organization_id: str) -> billing.GetEvidenceResponse:
    if len(request_id) > 200:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, _UNKNOWN)
    found = await context.billing.evidence(
        billing.GetEvidenceRequest(request_id=request_id, organization_id=organization_id)
    )
    if not found.rows:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, _UNKNOWN)
    return found


def _view(principal: Principal) -> View:
    return View.OPERATOR if principal.is_operator else View.OWNER
