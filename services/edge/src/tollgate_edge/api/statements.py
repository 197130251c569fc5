"""The console API's statements: what an organization paid in a month, line by line."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from tollgate.billing.v1 import reports_pb2 as reports
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.figures import organization_asked
from tollgate_edge.api.rendering import invalid, render_money, render_time
from tollgate_edge.api.tenants import organization_of
from tollgate_edge.domain.statement import as_csv, as_html, month_bounds

_FORMATS: Final = ("json", "csv", "html")
_PAGE: Final = 1_000


def statements_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/statements."""
    router = APIRouter(prefix="/api/v1/statements")

    @router.get("/{organization_id}/{month}", summary="An organization's month, as JSON, CSV or HTML")
    async def statement(
        request: Request,
        organization_id: str,
        month: str,
        form: Annotated[str, Query(alias="format", max_length=10)] = "json",
    ) -> Response:
        principal = await context.anyone(request)
        organization = await organization_of(context, await organization_asked(context, principal, organization_id))
        bounds = month_bounds(month)
        if bounds is None:
            raise invalid("The month must be such as 2026-11.", "month")
        if form not in _FORMATS:
            raise invalid(f"'format' must be one of: {', '.join(_FORMATS)}.", "format")
        found = await context.reports.statement(
            reports.GetStatementRequest(organization_id=organization.id, from_us=bounds[0], to_us=bounds[1])
        )
        names = await _project_names(context, organization.id)
        content = _content(found, names) | {
            "organization_id": organization.id,
            "organization": organization.name,
            "currency": found.currency or organization.currency,
            "month": month,
            "open": context.clock.now_us() < bounds[1],
        }
        if form == "json":
            return json_response(content)
        file = {"content-disposition": f'attachment; filename="statement-{organization.id}-{month}.csv"'}
        if form == "csv":
            return Response(as_csv(content), media_type="text/csv; charset=utf-8", headers=file)
        # Nothing in it is to be run or fetched.
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(as_html(content), media_type="text/html; charset=utf-8", headers=policy)

    return router


async def _project_names(context: HttpContext, organization_id: str) -> dict[str, str]:
    names: dict[str, str] = {}
    cursor = ""
    while True:
        found = await context.tenants.list_projects(organization_id, _PAGE, cursor, "")
        names.update((one.id, one.name) for one in found)
        if len(found) < _PAGE:
            return names
        cursor = found[-1].id


def _content(found: reports.GetStatementResponse, names: dict[str, str]) -> dict[str, Any]:
    lines = [
        {
            "project_id": line.project_id,
            "project": names.get(line.project_id, line.project_id),
            "model": line.model,
            "price_digest": line.price_digest,
            "rate_digest": line.rate_digest,
            "exchange_rate": line.exchange_rate or None,
            "requests": line.requests - line.taken_back_requests,
            **render_money("charged", line.charged_pico),
            **render_money("taken_back", line.taken_back_pico),
            **render_money("amount", line.taken_back_pico - line.charged_pico),
        }
        for line in found.lines
    ]
    movements = [
        {
            "at": render_time(one.at_us),
            "kind": one.kind,
            "reason": one.reason,
            **render_money("amount", one.amount_pico),
        }
        for one in found.movements
    ]
    return {
        "currency": found.currency,
        **render_money("opening", found.opening_pico),
        **render_money("usage", sum(line["amount_pico"] for line in lines)),
        **render_money("moved", sum(one.amount_pico for one in found.movements)),
        **render_money("closing", found.closing_pico),
        "lines": lines,
        "movements": movements,
        "shortened": found.shortened,
    }
