"""The console API's top-ups, and the door for what a payment provider says about them."""

from typing import Any

from fastapi import APIRouter, Request, Response

from tollgate.billing.v1 import payments_pb2 as payments
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.figures import organization_asked
from tollgate_edge.api.reading import PageLimit, ShortText, text_field
from tollgate_edge.api.rendering import render_money, render_time
from tollgate_edge.api.tenants import amount_field, idempotency_key, organization_of

_LONGEST_HEADER = 1_000


def payments_router(context: HttpContext) -> APIRouter:
    """Returns top-ups and the webhook under /api/v1."""
    router = APIRouter(prefix="/api/v1")

    @router.post("/topups", status_code=201, summary="Begins a top-up; the payer goes on at its checkout_url")
    async def create_top_up(request: Request) -> Response:
        principal = await context.anyone(request)
        body = await context.bodies.read_object(request)
        named = text_field(body, "organization_id", longest=200)
        organization = await organization_of(context, await organization_asked(context, principal, named))
        key = idempotency_key(request) or context.new_request_id()
        made = await context.payments.create_top_up(
            payments.CreateTopUpRequest(
                organization_id=organization.id,
                currency=organization.currency,
                amount_pico=amount_field(body),
                idempotency_key=f"topup:{organization.id}:{key}",
            )
        )
        return json_response(_top_up(made.top_up), 201)

    @router.get("/topups", summary="Top-ups of an organization, newest first")
    async def list_top_ups(
        request: Request, organization_id: ShortText = "", limit: PageLimit = 100, cursor: ShortText = ""
    ) -> Response:
        organization = await organization_asked(context, await context.anyone(request), organization_id)
        asked = payments.ListTopUpsRequest(organization_id=organization, limit=limit, cursor=cursor)
        found = await context.payments.top_ups(asked)
        return json_response({"items": [_top_up(one) for one in found.top_ups], "next": found.next_cursor or None})

    @router.post("/payments/webhook", summary="Where the payment provider sends its signed messages")
    async def webhook(request: Request) -> Response:
        # The signature is what lets a message in; it covers the bytes as they came.
        headers = {name: request.headers.get(f"webhook-{name}", "")[:_LONGEST_HEADER] for name in _SIGNED}
        done = await context.payments.record_payment(
            payments.RecordPaymentRequest(
                webhook_id=headers["id"],
                timestamp=headers["timestamp"],
                signature=headers["signature"],
                body=await context.bodies.read_bytes(request),
            )
        )
        return json_response({"result": done.result or "nothing"})

    return router


_SIGNED = ("id", "timestamp", "signature")


def _top_up(one: payments.TopUp) -> dict[str, Any]:
    return {
        "id": one.id,
        "organization_id": one.organization_id,
        "state": one.state,
        "currency": one.currency,
        **render_money("amount", one.amount_pico),
        "checkout_url": one.checkout_url,
        "created_at": render_time(one.created_us),
        "changed_at": render_time(one.changed_us),
    }
