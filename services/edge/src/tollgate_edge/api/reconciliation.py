"""The console API's comparisons: of the books with each other, and of providers' costs with ours. Operators only."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import ShortText
from tollgate_edge.api.rendering import invalid, parse_time, render_money, render_time

_DAY_US: Final = 24 * 3600 * 1_000_000
_MOST_DAYS: Final = 90
_MOST_BYTES: Final = 2 * 1024 * 1024
PROVIDERS: Final = ("openai", "anthropic")
_OF_HOLDS: Final = frozenset({"expired_hold", "unbooked_hold", "leaked_hold"})
_OF_MONEY: Final = frozenset(
    {
        *("charge", "cost", "loss", "account", "wallet", "wallet_beyond", "mismatch"),
        *("rollup_minute", "rollup_hour", "rollup_day"),
    }
)


def reconciliation_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/reconciliation."""
    router = APIRouter(prefix="/api/v1")

    @router.get("/reconciliation", summary="Whether usage rows, sums, ledger, wallets and holds agree; changes nothing")
    async def reconciliation(
        request: Request,
        since: Annotated[str, Query(alias="from", max_length=40)] = "",
        until: Annotated[str, Query(alias="to", max_length=40)] = "",
    ) -> Response:
        await context.operator(request)
        to_us = parse_time(until, "to") or context.clock.now_us()
        from_us = parse_time(since, "from") or to_us - _DAY_US
        if not 0 < from_us < to_us:
            raise invalid("'from' must be before 'to', and both after 1970.", "from")
        if to_us - from_us > _MOST_DAYS * _DAY_US:
            raise invalid(f"At most {_MOST_DAYS} days are compared at once.", "from")
        found = await context.billing.compare_books(billing.CompareBooksRequest(from_us=from_us, to_us=to_us))
        spools = await _spools(context)
        differences = [render_difference(one) for one in found.differences]
        differences += [_stuck(one) for one in spools if one["problem"]]
        return json_response(
            {
                "agree": not differences and not found.cut,
                "from": render_time(found.from_us),
                "to": render_time(found.to_us),
                "batches": found.batches,
                "rows": found.rows,
                "organizations": found.organizations,
                "holds": found.holds,
                "differences": differences,
                "cut": found.cut,
                "lag_events": found.lag_events,
                "lag_ms": found.lag_ms,
                "spools": spools,
            }
        )

    @router.post("/reconciliation/statements", summary="Compares a provider's export of costs, the body, with ours")
    async def statements(request: Request, provider: ShortText = "") -> Response:
        await context.operator(request)
        if provider not in PROVIDERS:
            raise invalid(f"'provider' takes {', '.join(PROVIDERS)}.", "provider")
        content = await context.bodies.read_file(request, _MOST_BYTES)
        asked = billing.CompareProviderCostsRequest(provider=provider, content=content)
        found = await context.billing.compare_provider_costs(asked)
        return json_response({"provider": provider, "items": [_cost(one) for one in found.costs]})

    return router


def _cost(one: billing.ProviderCost) -> dict[str, Any]:
    return {
        "day": one.day,
        "model": one.model or None,
        "currency": one.currency,
        **render_money("theirs", one.theirs_pico),
        **render_money("ours", one.ours_pico),
        **render_money("difference", one.theirs_pico - one.ours_pico),
    }


async def _spools(context: HttpContext) -> list[dict[str, Any]]:
    """Returns what waits on the disks of this process and of the routers."""
    records, problem = context.spool()
    own = {"service": "edge", "address": None, "reachable": True, "records": records, "problem": problem or None}
    routers = [
        {
            "service": "router",
            "address": address,
            "reachable": state is not None,
            "records": state.spool_records if state is not None else None,
            "problem": (state.spool_problem or None) if state is not None else None,
        }
        for address, state in await context.routers.describe()
    ]
    return [own, *routers]


def render_difference(one: billing.BookDifference) -> dict[str, Any]:
    """Returns what does not agree, as the API says it."""
    money = one.kind in _OF_MONEY
    return {
        "kind": one.kind,
        "detail": one.detail,
        "organization_id": one.organization_id or None,
        "project_id": one.project_id or None,
        "model": one.model or None,
        "batch": one.batch or None,
        "rollup": one.rollup or None,
        "bucket": render_time(one.bucket_us),
        "request_ids": list(one.request_ids),
        "next_step": one.next_step or None,
        **render_money("found", one.found_pico if money or one.kind in _OF_HOLDS else None),
        **render_money("expected", one.expected_pico if money else None),
    }


def _stuck(spool: dict[str, Any]) -> dict[str, Any]:
    process = " ".join(filter(None, (spool["service"], spool["address"])))
    detail = f"{spool['records']} events wait in the spool of {process}: {spool['problem']}"
    return render_difference(billing.BookDifference(kind="spool", detail=detail))
