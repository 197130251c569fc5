"""The console API's redemption codes: made, listed and withdrawn by operators, redeemed by whoever has one."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.billing.v1 import ledger_pb2 as ledger
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.figures import organization_asked
from tollgate_edge.api.ledger import DEFAULT_PRIORITY, MAX_PRIORITY
from tollgate_edge.api.reading import PageLimit, ShortText, choice_field, text_field, whole_field
from tollgate_edge.api.rendering import parse_time, render_money, render_time
from tollgate_edge.api.tenants import amount_field, organization_of
from tollgate_edge.domain.names import CURRENCIES

_MAX_CODES: Final = 1_000
_MAX_DAYS: Final = 3_650


def codes_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/codes."""
    router = APIRouter(prefix="/api/v1/codes")

    @router.post("", status_code=201, summary="Makes redemption codes; they are shown once")
    async def create_codes(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        made = await context.ledger.create_codes(
            ledger.CreateCodesRequest(
                count=whole_field(body, "count", 1, 1, _MAX_CODES),
                currency=choice_field(body, "currency", CURRENCIES[0], CURRENCIES),
                amount_pico=amount_field(body),
                label=text_field(body, "label", longest=200),
                expires_us=parse_time(text_field(body, "expires_at"), "expires_at"),
                valid_days=whole_field(body, "valid_days", 0, 0, _MAX_DAYS),
                priority=whole_field(body, "priority", DEFAULT_PRIORITY, 0, MAX_PRIORITY),
            )
        )
        return json_response({"items": [_code(one) | {"code": one.code} for one in made.codes], "next": None}, 201)

    @router.get("", summary="Redemption codes, newest first, without the codes themselves")
    async def list_codes(request: Request, limit: PageLimit = 100, cursor: ShortText = "") -> Response:
        await context.operator(request)
        found = await context.ledger.codes(ledger.ListCodesRequest(limit=limit, cursor=cursor))
        return json_response({"items": [_code(one) for one in found.codes], "next": found.next_cursor or None})

    @router.post("/redeem", summary="Credits a code's worth to an organization, once")
    async def redeem(request: Request) -> Response:
        principal = await context.anyone(request)
        body = await context.bodies.read_object(request)
        code = text_field(body, "code", required=True, longest=100)
        named = text_field(body, "organization_id", longest=200)
        organization = await organization_of(context, await organization_asked(context, principal, named))
        found = await context.ledger.redeem(
            ledger.RedeemCodeRequest(organization_id=organization.id, currency=organization.currency, code=code)
        )
        return json_response(
            {
                "organization_id": organization.id,
                "currency": organization.currency,
                **render_money("amount", found.amount_pico),
                **render_money("balance", found.balance_pico),
                "expires_at": render_time(found.expires_us),
                "repeated": found.repeated,
            }
        )

    @router.post("/{code_id}/revoke", summary="Withdraws a code that nobody has redeemed")
    async def revoke_code(request: Request, code_id: str) -> Response:
        await context.operator(request)
        found = await context.ledger.revoke_code(ledger.RevokeCodeRequest(id=code_id))
        return json_response(_code(found.code))

    return router


def _code(one: ledger.Code) -> dict[str, Any]:
    state = "revoked" if one.revoked_us else "redeemed" if one.redeemed_us else "open"
    return {
        "id": one.id,
        "label": one.label,
        "state": state,
        "currency": one.currency,
        **render_money("amount", one.amount_pico),
        "valid_days": one.valid_days or None,
        "created_at": render_time(one.created_us),
        "expires_at": render_time(one.expires_us),
        "redeemed_at": render_time(one.redeemed_us),
        "redeemed_by": one.redeemed_by or None,
        "revoked_at": render_time(one.revoked_us),
    }
