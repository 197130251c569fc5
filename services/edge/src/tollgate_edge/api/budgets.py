"""The console API's budgets, forecasts and anomalies."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.figures import organization_asked
from tollgate_edge.api.reading import PageLimit, ShortText, choice_field, text_field, whole_field
from tollgate_edge.api.rendering import invalid, render_money, render_time
from tollgate_edge.api.tenants import amount_field, organization_of
from tollgate_edge.domain.limits import KEY, PROJECT
from tollgate_edge.errors import public_error

_SCOPES: Final = ("organization", "project", "member", "key", "model", "tag")
_PERIODS: Final = ("day", "week", "month", "total", "rolling")
_ACTIONS: Final = ("notify", "downgrade", "block")
_FIELDS: Final = frozenset(
    {
        *("organization_id", "name", "scope", "scope_id", "period", "days", "time_zone", "amount", "thresholds"),
    }
)
_MOST_THRESHOLDS: Final = 10


def budgets_router(context: HttpContext) -> APIRouter:
    """Returns budgets, forecasts and anomalies under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_changes(router, context)

    @router.get("/budgets", summary="Budgets as they were last evaluated, newest first")
    async def list_budgets(
        request: Request, organization_id: ShortText = "", limit: PageLimit = 100, cursor: ShortText = ""
    ) -> Response:
        principal = await context.anyone(request)
        if not principal.is_operator:
            organization_id = await organization_asked(context, principal, organization_id)
        asked = wire.ListBudgetsRequest(organization_id=organization_id, limit=limit, cursor=cursor)
        found = await context.controls.budgets(asked)
        items = [_budget(one.budget) | {"state": _state(one.state)} for one in found.budgets]
        return json_response({"items": items, "next": found.next_cursor or None})

    @router.get("/budgets/{budget_id}", summary="A budget as it stands now, and when it and the money are used up")
    async def show_budget(request: Request, budget_id: str) -> Response:
        principal = await context.anyone(request)
        asked = wire.GetBudgetRequest(id=budget_id, organization_id=principal.organization_id)
        found = await context.controls.budget(asked)
        return json_response(
            _budget(found.budget)
            | {
                "state": _state(found.state),
                "forecast": _forecast(found.forecast),
                "wallet": {**_forecast(found.wallet), **render_money("balance", found.balance_pico)},
            }
        )

    @router.get("/forecast", summary="When an organization's money is gone at the pace of the last 24 hours")
    async def show_forecast(request: Request, organization_id: ShortText = "") -> Response:
        organization = await organization_asked(context, await context.anyone(request), organization_id)
        found = await context.controls.forecast(wire.GetForecastRequest(organization_id=organization))
        return json_response(
            {
                "organization_id": organization,
                "currency": found.currency or None,
                **render_money("balance", found.balance_pico),
                **_forecast(found.forecast),
            }
        )

    @router.get("/anomalies", summary="What looked wrong in the use of keys, projects and models, newest first")
    async def list_anomalies(
        request: Request, organization_id: ShortText = "", limit: PageLimit = 100, cursor: ShortText = ""
    ) -> Response:
        principal = await context.anyone(request)
        if not principal.is_operator:
            organization_id = await organization_asked(context, principal, organization_id)
        asked = wire.ListAnomaliesRequest(organization_id=organization_id, limit=limit, cursor=cursor)
        found = await context.controls.anomalies(asked)
        items = [await _anomaly(context, one) for one in found.anomalies]
        return json_response({"items": items, "next": found.next_cursor or None})

    return router


def _add_changes(router: APIRouter, context: HttpContext) -> None:
    @router.post("/budgets", status_code=201, summary="Makes a budget; what it refuses is refused within seconds")
    async def create_budget(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        if unknown := [name for name in body if name not in _FIELDS]:
            raise invalid(f"'{unknown[0][:100]}' is no field of a budget.", unknown[0][:100])
        organization = await organization_of(context, text_field(body, "organization_id", longest=200))
        scope, scope_id = choice_field(body, "scope", _SCOPES[0], _SCOPES), text_field(body, "scope_id", longest=256)
        await _check_scope(context, organization.id, scope, scope_id)
        made = await context.controls.create_budget(
            wire.CreateBudgetRequest(
                budget=wire.Budget(
                    organization_id=organization.id,
                    name=text_field(body, "name", required=True, longest=100),
                    scope=scope,
                    scope_id=scope_id,
                    period=choice_field(body, "period", "month", _PERIODS),
                    days=whole_field(body, "days", 0, 0, 366),
                    time_zone=text_field(body, "time_zone", longest=64) or "UTC",
                    amount_pico=amount_field(body),
                    currency=organization.currency,
                    thresholds=_thresholds(body),
                )
            )
        )
        return json_response(_budget(made.budget), 201)

    @router.delete("/budgets/{budget_id}", summary="Deletes a budget; what it refused is served within seconds")
    async def delete_budget(request: Request, budget_id: str) -> Response:
        await context.operator(request)
        await context.controls.delete_budget(wire.DeleteBudgetRequest(id=budget_id))
        return json_response({"id": budget_id, "deleted": True})


async def _check_scope(context: HttpContext, organization_id: str, scope: str, scope_id: str) -> None:
    """Raises PublicError for a key or project that the organization does not have; models may come later."""
    if scope not in {KEY, PROJECT}:
        return
    found = await context.limits.limits_of(scope_id)
    if found is None or found.kind != scope or found.organization_id != organization_id:
        raise public_error(
            errors.ERROR_KIND_NOT_FOUND, f"The organization has no {scope} of the id in 'scope_id'.", "scope_id"
        )


def _thresholds(body: dict[str, Any]) -> list[wire.Threshold]:
    value = body.get("thresholds")
    if value is None:
        return []
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_THRESHOLDS:
        raise invalid(
            f"'thresholds' is a list of 1 to {_MOST_THRESHOLDS}; leave it out for the usual ones.", "thresholds"
        )
    found = []
    for one in value:
        if not isinstance(one, dict) or set(one) - {"percent", "action", "model"}:
            raise invalid(
                'A threshold is an object such as {"percent": 100, "action": "block"}; '
                "a downgrade has a 'model' too.",
                "thresholds",
            )
        found.append(
            wire.Threshold(
                percent=whole_field(one, "percent", 0, 1, 1_000),
                action=choice_field(one, "action", "notify", _ACTIONS),
                model=text_field(one, "model", longest=256),
            )
        )
    return found


def _budget(one: wire.Budget) -> dict[str, Any]:
    return {
        "id": one.id,
        "organization_id": one.organization_id,
        "name": one.name,
        "scope": one.scope,
        "scope_id": one.scope_id or None,
        "period": one.period,
        "days": one.days or None,
        "time_zone": one.time_zone,
        **render_money("amount", one.amount_pico),
        "currency": one.currency,
        "thresholds": [
            {"percent": each.percent, "action": each.action} | ({"model": each.model} if each.model else {})
            for each in one.thresholds
        ],
        "created_at": render_time(one.created_us),
    }


def _state(one: wire.BudgetState) -> dict[str, Any] | None:
    """Returns what a budget has taken; None before it was evaluated."""
    if not one.evaluated_us:
        return None
    return {
        "window": one.window or None,
        "begins_at": render_time(one.begin_us),
        "ends_at": render_time(one.end_us),
        **render_money("spent", one.spent_pico),
        "reached_percent": one.reached_percent,
        "action": one.action or None,
        "model": one.model or None,
        "opens_at": render_time(one.opens_us),
        "evaluated_at": render_time(one.evaluated_us),
    }


def _forecast(one: wire.Forecast) -> dict[str, Any]:
    return {
        **render_money("per_day", one.per_day_pico),
        "measured_hours": one.hours,
        "runs_out_at": render_time(one.runs_out_us),
    }


async def _anomaly(context: HttpContext, one: wire.Anomaly) -> dict[str, Any]:
    """Returns an anomaly with the name of its key and whose it is, where there is one still."""
    key = await context.keys.key(one.api_key_id) if one.api_key_id else None
    return {
        "id": one.id,
        "kind": one.kind,
        "organization_id": one.organization_id,
        "project_id": one.project_id,
        "api_key_id": one.api_key_id,
        "key_name": key.name if key is not None else None,
        "member": (key.member or None) if key is not None else None,
        "subject": one.subject or None,
        "explanation": one.explanation,
        "next_step": one.next_step,
        "hour": render_time(one.hour_us),
        "found_at": render_time(one.found_us),
    }
