"""The console API's figures: usage and balance, asked of billing."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import PageLimit, ShortText
from tollgate_edge.api.rendering import plain, render_money
from tollgate_edge.api.tenants import NO_ORGANIZATION
from tollgate_edge.api.usage_query import Asked, usage_filter
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error

_OF_OPERATORS: Final = frozenset({"channel", "provider"})


def figures_router(context: HttpContext) -> APIRouter:
    """Returns usage, balance and billing's state under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_usage(router, context)
    _add_balance(router, context)
    return router


def _add_usage(router: APIRouter, context: HttpContext) -> None:
    @router.get("/usage", summary="Sums over usage rows")
    async def usage(
        request: Request,
        asked: Asked,
        group_by: Annotated[str, Query(max_length=200)] = "model",
        limit: PageLimit = 100,
    ) -> Response:
        principal = await context.anyone(request)
        groups = [name.strip() for name in group_by.split(",") if name.strip()]
        if not principal.is_operator and not _OF_OPERATORS.isdisjoint(groups):
            said = "How providers are bought from is for operators: leave channel and provider out."
            raise public_error(errors.ERROR_KIND_FORBIDDEN, said, "group_by")
        found = await context.billing.usage(
            billing.QueryUsageRequest(
                filter=usage_filter(principal, asked),
                group_by=groups,
                limit=limit,
            )
        )
        rows = [dict(zip(groups, row.group, strict=False)) | _sums(row) for row in found.rows]
        return json_response(
            {
                "requests": found.total.requests,
                # Amounts in two currencies have no sum.
                "total": _sums(found.total, amounts=len(found.totals) < 2),
                "totals": [_sums(row) for row in found.totals],
                "rows": rows,
            }
        )


def _add_balance(router: APIRouter, context: HttpContext) -> None:
    @router.get("/balance", summary="Money of an organization: in the ledger, free to spend, held")
    async def balance(request: Request, organization_id: ShortText = "") -> Response:
        organization = await organization_asked(context, await context.anyone(request), organization_id)
        found = await context.billing.balance(billing.GetBalanceRequest(organization_id=organization))
        wallet = found.wallet_pico if found.HasField("wallet_pico") else None
        return json_response(
            {
                "organization_id": organization,
                "currency": found.currency or await currency_of(context, organization),
                **render_money("ledger", int(found.exact_ledger_pico or found.ledger_pico)),
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
    """Returns the organization to speak of: a key's own, or for operators the one asked for or else the oldest.

    Raises PublicError for one that is not there.
    """
    if not principal.is_operator:
        if asked not in {"", principal.organization_id}:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This key belongs to another organization.")
        return principal.organization_id
    if asked:
        if await context.tenants.find_organization(asked) is None:
            raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such organization.", "organization_id")
        return asked
    found = await context.tenants.find_project("", "")
    if found is None:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, NO_ORGANIZATION, "organization_id")
    return found.organization_id


async def currency_of(context: HttpContext, organization_id: str) -> str:
    """Returns what an organization pays in, of which the ledger knows nothing yet; empty for an unknown one."""
    found = await context.tenants.find_organization(organization_id)
    return found.currency if found is not None else ""


def _sums(row: billing.UsageRow, *, amounts: bool = True) -> dict[str, Any]:
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
        "currency": row.currency or None,
        **render_money("charge", row.charge_pico if amounts else None),
        **render_money("cost", row.cost_pico if amounts else None),
    }
