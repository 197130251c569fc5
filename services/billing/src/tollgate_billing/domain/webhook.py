"""Messages of a payment provider: their signature by Standard Webhooks, and what they say."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from tollgate_billing.errors import BadMessage, BadSignature
from tollgate_rating import INT64_MAX, InvalidPrice, parse_decimal

TOLERANCE_SECONDS: Final = 300
MIN_SECRET_BYTES: Final = 24
_VERSION: Final = "v1"
_TYPES: Final = {"payment.succeeded": "paid", "payment.failed": "failed", "payment.refunded": "refunded"}
_MAX_ID: Final = 200


@dataclass(frozen=True, slots=True)
class PaymentMessage:
    """`state` is what the payment became: paid, failed or refunded; empty: none of our business."""

    state: str
    payment_id: str
    amount_pico: int
    currency: str


def verify(secret: bytes, webhook_id: str, timestamp: str, signature: str, body: bytes, now_seconds: int) -> None:
    """Checks a message's signature and age. Raises BadSignature.

    The signature covers "id.timestamp.body"; several may stand in the header, divided by blanks, while secrets change.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise BadSignature("no secret is set")
    if not 0 < len(webhook_id) <= _MAX_ID or not timestamp.isascii() or not timestamp.isdecimal():
        raise BadSignature("webhook-id or webhook-timestamp is missing")
    if abs(now_seconds - int(timestamp[:15])) > TOLERANCE_SECONDS:
        raise BadSignature(f"webhook-timestamp is more than {TOLERANCE_SECONDS} s away from now")
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    expected = hmac.new(secret, signed, hashlib.sha256).digest()
    # Every one is compared, so that the time taken does not depend on which is right.
    if not sum(hmac.compare_digest(expected, found) for found in _signatures(signature)):
        raise BadSignature("webhook-signature is not right")


def _signatures(header: str) -> list[bytes]:
    found = []
    for part in header.split()[:10]:
        version, _, text = part.partition(",")
        if version == _VERSION:
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _is_name(value: str) -> bool:
    return 0 < len(value) <= _MAX_ID and value.isascii() and value.isprintable()


def read_message(body: bytes) -> PaymentMessage:
    """Returns what a message says. Raises BadMessage."""
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        raise BadMessage("the body is no JSON") from None
    kind = plain.get("type") if isinstance(plain, dict) else None
    if not isinstance(kind, str):
        raise BadMessage("the body is an object with a type")
    state = _TYPES.get(kind, "")
    if not state:
        return PaymentMessage("", "", 0, "")
    data = plain.get("data")
    if not isinstance(data, dict):
        raise BadMessage("data is an object")
    payment_id, currency = data.get("payment_id"), data.get("currency")
    if (
        not isinstance(payment_id, str)
        or not isinstance(currency, str)
        or not all(map(_is_name, (payment_id, currency)))
    ):
        raise BadMessage("data has payment_id and currency")
    try:
        amount = parse_decimal(data.get("amount"))
    except InvalidPrice as error:
        raise BadMessage(f"amount: {error}") from None
    if not 0 < amount <= INT64_MAX:
        raise BadMessage("amount is above 0")
    return PaymentMessage(state, payment_id, amount, currency)
