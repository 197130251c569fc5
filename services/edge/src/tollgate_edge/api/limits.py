"""The console API's limits: of keys, projects and organizations, each by its id. Operators only."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import choice_field, object_field, whole_field
from tollgate_edge.api.rendering import invalid
from tollgate_edge.domain.limits import LIMIT_NAMES, Limits
from tollgate_edge.errors import public_error
from tollgate_edge.ports import LimitedOwner
from tollgate_holds import BUDGET_WINDOWS, MAX_BUDGET_PICO, MAX_LIMIT
from tollgate_rating import PICO, InvalidPrice, format_decimal, parse_decimal

_BUDGET: Final = "budget"
_PAYMENTS: Final = ("prepaid", "postpaid")
_NOBODY: Final = "There is no key, project or organization of this id."


def limits_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/limits."""
    router = APIRouter(prefix="/api/v1/limits")

    @router.get("", summary="Whoever has a limit or pays later")
    async def list_limits(request: Request) -> Response:
        await context.operator(request)
        return json_response({"items": [_owner(one) for one in await context.limits.list_limited()], "next": None})

    @router.get("/{owner_id}", summary="Limits of a key, a project or an organization")
    async def show_limits(request: Request, owner_id: str) -> Response:
        await context.operator(request)
        return _answer(await context.limits.limits_of(owner_id))

    @router.patch("/{owner_id}", summary="Sets limits, effective everywhere within a second; null removes one")
    async def set_limits(request: Request, owner_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        payment = choice_field(body, "payment", "", _PAYMENTS)
        if payment and not owner_id.startswith("org_"):
            raise invalid("'payment' is set on organizations.", "payment")
        limits = read_limits({name: value for name, value in body.items() if name != "payment"})
        prepaid = payment == "prepaid" if payment else None
        return _answer(await context.limits.set_limits(owner_id, limits, context.clock.now_us(), prepaid=prepaid))

    return router


def read_limits(body: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of `Limits` that are named. Raises PublicError."""
    for name in body:
        if name not in {*LIMIT_NAMES, _BUDGET}:
            raise invalid(
                f"'{name[:100]}' is not a limit. There are: {', '.join((*LIMIT_NAMES, _BUDGET))}.", name[:100]
            )
    found: dict[str, Any] = {name: whole_field(body, name, 0, 0, MAX_LIMIT) for name in body if name != _BUDGET}
    return found | _read_budget(object_field(body, _BUDGET)) if _BUDGET in body else found


def _read_budget(budget: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a budget; none of it is no budget. A JSON number is refused: money is never a float."""
    if unknown := [name for name in budget if name not in {"amount", "window"}]:
        raise invalid(f"'budget' has an amount and a window, not '{unknown[0][:100]}'.", _BUDGET)
    window = choice_field(budget, "window", "month", tuple(BUDGET_WINDOWS))
    try:
        amount = parse_decimal(budget.get("amount", "0"))
    except InvalidPrice:
        amount = -1
    if not 0 <= amount <= MAX_BUDGET_PICO:
        most = MAX_BUDGET_PICO // PICO
        raise invalid(
            f'\'budget.amount\' must be a decimal string such as "25", up to {most}; "0" removes it.', _BUDGET
        )
    return {"budget_pico": amount, "budget_window": window}


def render_limits(limits: Limits) -> dict[str, Any]:
    """Returns limits as they are shown, null for none."""
    found: dict[str, Any] = {name: getattr(limits, name) or None for name in LIMIT_NAMES}
    budget = {"amount": format_decimal(limits.budget_pico), "window": limits.budget_window}
    return found | {_BUDGET: budget if limits.budget_pico else None}


def _answer(owner: LimitedOwner | None) -> Response:
    if owner is None:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, _NOBODY)
    return json_response(_owner(owner))


def _owner(owner: LimitedOwner) -> dict[str, Any]:
    found = {
        "kind": owner.kind,
        "id": owner.id,
        "name": owner.name,
        "organization_id": owner.organization_id,
        "limits": render_limits(owner.limits),
    }
    return found if owner.prepaid is None else found | {"payment": _PAYMENTS[0 if owner.prepaid else 1]}
