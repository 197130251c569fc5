"""A payment provider's messages as it signs them, by the text of Standard Webhooks; shares no code with the product."""

import base64
import hmac
import json
from typing import Any


def message(kind: str, payment_id: str, amount: str, currency: str = "USD") -> bytes:
    """Returns the body of a message about a payment."""
    data = {"payment_id": payment_id, "amount": amount, "currency": currency}
    return json.dumps({"type": kind, "data": data}).encode()


def signed(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> dict[str, Any]:
    """Returns the headers of a message."""
    text = f"{webhook_id}.{timestamp}.".encode() + body
    mac = base64.b64encode(hmac.digest(secret, text, "sha256")).decode()
    return {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{mac}"}
