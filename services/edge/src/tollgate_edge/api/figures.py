"""The console API's figures: usage, single requests and balance, asked of billing."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import PageLimit, ShortText
from tollgate_edge.api.rendering import (
    invalid,
    parse_time,
    plain,
    render_explanation,
    render_money,
    render_time,
)
from tollgate_edge.api.tenants import NO_ORGANIZATION
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error

GROUPS: Final = (
    "organization", "project", "key", "model", "channel", "provider", "operation", "outcome", "day", "hour",
)  # fmt: skip


def figures_router(context: HttpContext) -> APIRouter:
    """Returns usage, requests, balance and billing's state under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_usage(router, context)
    _add_requests(router, context)
    _add_balance(router, context)
    return router


def _add_usage(router: APIRouter, context: HttpContext) -> None:
    @router.get("/usage", summary="Sums over usage rows")
    async def usage(
        request: Request,
        group_by: Annotated[str, Query(max_length=200)] = "model",
        limit: PageLimit = 100,
        organization_id: ShortText = "",
        project_id: ShortText = "",
        api_key_id: ShortText = "",
        model: ShortText = "",
        since: Annotated[str, Query(alias="from", max_length=40)] = "",
        until: Annotated[str, Query(alias="to", max_length=40)] = "",
    ) -> Response:
        principal = await context.anyone(request)
        groups = [name.strip() for name in group_by.split(",") if name.strip()]
        if unknown := [name for name in groups if name not in GROUPS]:
            raise invalid(f"'group_by' takes {', '.join(GROUPS)}, not '{unknown[0]}'.", "group_by")
        found = await context.billing.usage(
            billing.QueryUsageRequest(
                filter=_filter(principal, organization_id, project_id, api_key_id, model, since, until),
                group_by=groups,
                limit=limit,
            )
        )
        rows = [dict(zip(groups, row.group, strict=False)) | _sums(row) for row in found.rows]
        return json_response({"requests": found.total.requests, "total": _sums(found.total), "rows": rows})


def _add_requests(router: APIRouter, context: HttpContext) -> None:
    @router.get("/requests", summary="Single requests, newest first")
    async def requests(
        request: Request,
        request_id: ShortText = "",
        limit: PageLimit = 100,
        cursor: Annotated[str, Query(max_length=1000)] = "",
        organization_id: ShortText = "",
        project_id: ShortText = "",
        api_key_id: ShortText = "",
        model: ShortText = "",
        since: Annotated[str, Query(alias="from", max_length=40)] = "",
        until: Annotated[str, Query(alias="to", max_length=40)] = "",
    ) -> Response:
        principal = await context.anyone(request)
        found = await context.billing.requests(
            billing.ListRequestsRequest(
                filter=_filter(principal, organization_id, project_id, api_key_id, model, since, until),
                request_id=request_id,
                limit=limit,
                cursor=cursor,
            )
        )
        items = [_request(row, principal) for row in found.rows]
        return json_response({"items": items, "next": found.next_cursor or None})


def _add_balance(router: APIRouter, context: HttpContext) -> None:
    @router.get("/balance", summary="Money of an organization: in the ledger, free to spend, held")
    async def balance(request: Request, organization_id: ShortText = "") -> Response:
        organization = await organization_asked(context, await context.anyone(request), organization_id)
        found = await context.billing.balance(billing.GetBalanceRequest(organization_id=organization))
        wallet = found.wallet_pico if found.HasField("wallet_pico") else None
        return json_response(
            {
                "organization_id": organization,
                "currency": found.currency,
                **render_money("ledger", found.ledger_pico),
                **render_money("wallet", wallet),
                **render_money("held", found.held_pico),
                **render_money("settled_unbooked", found.settled_unbooked_pico),
            }
        )

    @router.get("/billing/status", summary="How far billing is behind")
    async def status(request: Request) -> Response:
        await context.operator(request)
        return json_response(plain(await context.billing.status()))


async def organization_asked(context: HttpContext, principal: Principal, asked: str) -> str:
    """Returns the organization to speak of: a key's own, or for operators the one asked for or else the oldest."""
    if not principal.is_operator:
        if asked not in {"", principal.organization_id}:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This key belongs to another organization.")
        return principal.organization_id
    if asked:
        return asked
    found = await context.tenants.find_project("", "")
    if found is None:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, NO_ORGANIZATION, "organization_id")
    return found.organization_id


def _filter(
    principal: Principal, organization_id: str, project_id: str, api_key_id: str, model: str, since: str, until: str
) -> billing.UsageFilter:
    if not principal.is_operator:
        if organization_id not in {"", principal.organization_id}:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This key belongs to another organization.")
        organization_id = principal.organization_id
    return billing.UsageFilter(
        organization_id=organization_id,
        project_id=project_id,
        api_key_id=api_key_id,
        model=model,
        from_us=parse_time(since, "from"),
        to_us=parse_time(until, "to"),
    )


def _sums(row: billing.UsageRow) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "errors": row.errors,
        "unpriced": row.unpriced,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cache_read_tokens": row.cache_read_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "images": row.images,
        **render_money("charge", row.charge_pico),
        **render_money("cost", row.cost_pico),
    }


def _request(row: billing.RequestRow, principal: Principal) -> dict[str, Any]:
    found = plain(row)
    found["started_at"] = render_time(row.started_at_us)
    found.update(render_money("charge", row.charge_pico))
    found.update(render_money("cost", row.cost_pico))
    found["routing"] = render_explanation(row.routing) if row.HasField("routing") else None
    if not principal.is_operator:
        # How we buy is none of the caller's business.
        for name in ("channel", "provider", "upstream_model", "cost", "cost_pico", "routing"):
            found.pop(name, None)
    return found
