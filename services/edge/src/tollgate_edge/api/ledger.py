"""The console API's ledger: what moves money without a request, and what stands in the books."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.billing.v1 import ledger_pb2 as ledger
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.figures import currency_of, organization_asked
from tollgate_edge.api.reading import PageLimit, ShortText, text_field, whole_field
from tollgate_edge.api.rendering import invalid, parse_time, plain, render_money, render_time
from tollgate_edge.api.tenants import amount_field, idempotency_key, organization_of
from tollgate_edge.ports import Organization
from tollgate_rating import INT64_MAX, InvalidPrice, parse_decimal

MAX_PRIORITY: Final = 1_000
DEFAULT_PRIORITY: Final = 100
# What providers cost us is none of the caller's business.
_OURS: Final = frozenset({"provider_cost", "payable", "loss"})
_PATH: Final = "/organizations/{organization_id}"


def ledger_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1 that move money and show the ledger."""
    router = APIRouter(prefix="/api/v1")
    _add_giving(router, context)
    _add_taking(router, context)
    _add_credit_line(router, context)
    _add_books(router, context)
    return router


def _add_giving(router: APIRouter, context: HttpContext) -> None:
    @router.post(f"{_PATH}/grants", status_code=201, summary="Adds credit that is spent first and may expire")
    async def grant(request: Request, organization_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, organization_id)
        amount = amount_field(body)
        made = await context.ledger.grant_bonus(
            ledger.GrantBonusRequest(
                organization_id=organization.id,
                currency=organization.currency,
                amount_pico=amount,
                idempotency_key=_key(context, request, "grant", organization.id),
                reason=text_field(body, "reason", longest=200) or "grant",
                expires_us=parse_time(text_field(body, "expires_at"), "expires_at"),
                priority=whole_field(body, "priority", DEFAULT_PRIORITY, 0, MAX_PRIORITY),
            )
        )
        return _moved(organization, amount, made.moved)

    @router.post(f"{_PATH}/corrections", status_code=201, summary="Puts a mistake right, by an amount of either sign")
    async def correct(request: Request, organization_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, organization_id)
        amount = _signed_amount(body)
        made = await context.ledger.correct(
            ledger.CorrectRequest(
                organization_id=organization.id,
                currency=organization.currency,
                amount_pico=amount,
                idempotency_key=_key(context, request, "correction", organization.id),
                reason=text_field(body, "reason", required=True, longest=200),
            )
        )
        return _moved(organization, amount, made.moved)


def _add_taking(router: APIRouter, context: HttpContext) -> None:
    @router.post(f"{_PATH}/refunds", status_code=201, summary="Gives paid money back that nothing holds")
    async def refund(request: Request, organization_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, organization_id)
        amount = amount_field(body)
        made = await context.ledger.refund(
            ledger.RefundRequest(
                organization_id=organization.id,
                currency=organization.currency,
                amount_pico=amount,
                idempotency_key=_key(context, request, "refund", organization.id),
                reason=text_field(body, "reason", longest=200) or "refund",
            )
        )
        return _moved(organization, amount, made.moved)

    @router.post(f"{_PATH}/transfers", status_code=201, summary="Moves paid money to another organization")
    async def transfer(request: Request, organization_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, organization_id)
        to = await organization_of(context, text_field(body, "to", required=True, longest=200))
        amount = amount_field(body)
        made = await context.ledger.transfer(
            ledger.TransferMoneyRequest(
                organization_id=organization.id,
                currency=organization.currency,
                to_organization_id=to.id,
                to_currency=to.currency,
                amount_pico=amount,
                idempotency_key=_key(context, request, "transfer", organization.id),
                reason=text_field(body, "reason", longest=200) or "transfer",
            )
        )
        return _moved(organization, amount, made.moved)


def _add_credit_line(router: APIRouter, context: HttpContext) -> None:
    @router.put(f"{_PATH}/credit-line", summary="Sets how far below zero an organization's money may go")
    async def credit_line(request: Request, organization_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, organization_id)
        try:
            amount = parse_decimal(body.get("amount"))
        except InvalidPrice:
            amount = -1
        if not 0 <= amount <= INT64_MAX:
            raise invalid('\'amount\' must be a decimal string such as "500"; "0" takes the line away.', "amount")
        made = await context.ledger.set_credit_line(
            ledger.SetCreditLineRequest(
                organization_id=organization.id, currency=organization.currency, amount_pico=amount
            )
        )
        return _moved(organization, amount, made.moved, 200)


def _add_books(router: APIRouter, context: HttpContext) -> None:
    @router.get("/ledger", summary="An organization's accounts, credit line and what is left of its grants")
    async def accounts(request: Request, organization_id: ShortText = "") -> Response:
        principal = await context.anyone(request)
        organization = await organization_asked(context, principal, organization_id)
        found = await context.ledger.accounts(ledger.GetAccountsRequest(organization_id=organization))
        return json_response(
            {
                "organization_id": organization,
                "currency": found.currency or await currency_of(context, organization),
                **render_money("balance", int(found.exact_pico or found.balance_pico)),
                **render_money("credit_line", found.credit_line_pico),
                "accounts": [
                    {
                        "account": one.account,
                        "currency": one.currency,
                        **render_money("balance", int(one.exact_pico or one.balance_pico)),
                    }
                    for one in found.accounts
                    if principal.is_operator or one.account not in _OURS
                ],
                "grants": [_bonus(one) for one in found.bonuses],
            }
        )

    @router.get("/ledger/transfers", summary="An organization's transfers, newest first")
    async def transfers(
        request: Request, organization_id: ShortText = "", limit: PageLimit = 100, cursor: ShortText = ""
    ) -> Response:
        principal = await context.anyone(request)
        organization = await organization_asked(context, principal, organization_id)
        asked = ledger.ListTransfersRequest(organization_id=organization, limit=limit, cursor=cursor)
        found = await context.ledger.transfers(asked)
        rows = [row for row in found.rows if principal.is_operator or not _OURS.intersection((row.debit, row.credit))]
        return json_response({"items": [_transfer(row) for row in rows], "next": found.next_cursor or None})

    @router.post("/wallets/rebuild", summary="Makes wallets again from the ledger while requests go on")
    async def rebuild(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request, optional=True)
        named = text_field(body, "organization_id", longest=200)
        organization = (await organization_of(context, named)).id if named else ""
        found = await context.ledger.rebuild_wallets(ledger.RebuildWalletsRequest(organization_id=organization))
        items = [
            {
                "organization_id": one.organization_id,
                "currency": one.currency or None,
                **render_money("before", one.before_pico if one.HasField("before_pico") else None),
                **render_money("wallet", one.wallet_pico),
                "changed": one.changed,
            }
            for one in found.wallets
        ]
        return json_response({"items": items, "next": None})


def _key(context: HttpContext, request: Request, kind: str, organization_id: str) -> str:
    """Returns the idempotency key within what it is for; a fresh one where the caller has none."""
    given = idempotency_key(request)
    return f"{kind}:{organization_id}:{given}" if given else f"{kind}:{context.new_request_id()}"


def _signed_amount(body: dict[str, Any]) -> int:
    text = body.get("amount")
    negative = isinstance(text, str) and text.startswith("-")
    try:
        size = parse_decimal(text[1:] if negative and isinstance(text, str) else text)
    except InvalidPrice:
        size = 0
    if not 0 < size <= INT64_MAX:
        raise invalid('\'amount\' must be a decimal string such as "1.5" or "-1.5", and not 0.', "amount")
    return -size if negative else size


def _moved(organization: Organization, amount: int, made: ledger.Moved, status: int = 201) -> Response:
    return json_response(
        {
            "organization_id": organization.id,
            "currency": organization.currency,
            **render_money("amount", amount),
            **render_money("balance", int(made.exact_pico or made.balance_pico)),
            "repeated": made.repeated,
        },
        status,
    )


def _bonus(one: ledger.Bonus) -> dict[str, Any]:
    return {
        "reason": one.reason,
        **render_money("amount", one.amount_pico),
        **render_money("remaining", one.remaining_pico),
        "priority": one.priority,
        "expires_at": render_time(one.expires_us),
        "created_at": render_time(one.created_us),
    }


def _transfer(row: ledger.TransferRow) -> dict[str, Any]:
    found = plain(row)
    found["created_at"] = render_time(found.pop("created_us"))
    return found | render_money("amount", row.amount_pico)
