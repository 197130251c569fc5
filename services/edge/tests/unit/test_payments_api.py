"""Top-ups over edge's HTTP, and the door for a provider's messages: their bytes go on as they came."""

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import payments_pb2 as payments
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import public_error

pytestmark = pytest.mark.unit


async def test_a_key_pays_in_for_its_own_organization(world):
    top_up = payments.TopUp(id="pay_1", state="open", amount_pico=10**12, checkout_url="https://pay.example/pay_1")
    world.ledger.replies["create_top_up"] = payments.CreateTopUpResponse(top_up=top_up)
    headers = world.bearer | {"idempotency-key": "order-1"}
    reply = await world.client.post("/api/v1/topups", json={"amount": "1"}, headers=headers)
    assert (reply.status_code, reply.json()["checkout_url"]) == (201, "https://pay.example/pay_1")
    ((_, asked),) = world.ledger.asked
    assert (asked.organization_id, asked.idempotency_key, asked.amount_pico) == ("org_1", "topup:org_1:order-1", 10**12)
    other = {"amount": "1", "organization_id": "org_2"}
    check_error(await world.client.post("/api/v1/topups", json=other, headers=world.bearer), 403, "forbidden")
    check_error(await world.client.get("/api/v1/topups?organization_id=org_2", headers=world.bearer), 403, "forbidden")
    wrong = await world.client.post("/api/v1/topups", json={"amount": 1}, headers=world.bearer)
    check_error(wrong, 400, "invalid_request", "amount")


async def test_a_message_goes_on_byte_for_byte(world):
    world.ledger.replies["record_payment"] = payments.RecordPaymentResponse(result="paid")
    body = b'{ "type" : "payment.succeeded",\n"data":{}}'
    headers = {"webhook-id": "m1", "webhook-timestamp": "17", "webhook-signature": "v1,abc"}
    reply = await world.client.post("/api/v1/payments/webhook", content=body, headers=headers)
    assert (reply.status_code, reply.json()) == (200, {"result": "paid"})
    ((_, asked),) = world.ledger.asked
    assert (asked.webhook_id, asked.timestamp, asked.signature, asked.body) == ("m1", "17", "v1,abc", body)


async def test_what_billing_refuses_is_told_with_its_status(world):
    forged = public_error(errors.ERROR_KIND_UNAUTHENTICATED, "Not right.", code="invalid_signature")
    world.ledger.replies["record_payment"] = forged
    check_error(await world.client.post("/api/v1/payments/webhook", content=b"{}"), 401, "invalid_signature")
    large = await world.client.post("/api/v1/payments/webhook", content=b"x" * 10_001)
    check_error(large, 413, "payload_too_large")
