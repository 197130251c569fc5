"""What a payment provider sends: read as a second parser reads it, and let in by the right signature only."""

from decimal import Decimal
from random import Random
from typing import Final

from tests.fuzz.cases import Case, mostly, spoil
from tests.fuzz.second_json import NotJson, Number, Pairs, draw_object, read
from tests.servers.payment import signed
from tollgate_billing.domain.webhook import read_message, verify
from tollgate_billing.errors import BadMessage, BadSignature

_SECRET: Final = b"a secret of more than enough bytes"
_NOW: Final = 1_764_000_000
_TYPES: Final = ['"payment.succeeded"', '"payment.failed"', '"payment.refunded"']
_AMOUNTS: Final = ['"5"', '"0.000000000001"', '"12.50"', '"9223372"']
_ODD: Final = ["null", "5", "5.0", '"-1"', '"0"', '"1e3"', '"9223373"', '"١"', '""', "[]", "{}", "true", '"\\ud800"']
_SPICES: Final = [b'"', b"{", b"}", b",", b":", b"null", b"1", b"-", b".", b"\xff", b"\\ud800", b"\\u0000", b" "]
_STATES: Final = {"payment.succeeded": "paid", "payment.failed": "failed", "payment.refunded": "refunded"}


class PaymentMessageTarget:
    """A signed message, whole or spoilt, and a signature that is spoilt or not."""

    cost = 1

    def draw(self, source: Random) -> Case:
        data = [
            ("payment_id", mostly(source, ['"pay_1"'], _ODD, 0.1)),
            ("amount", mostly(source, _AMOUNTS, _ODD, 0.2)),
            ("currency", mostly(source, ['"USD"', '"CNY"'], _ODD, 0.1)),
        ]
        data = [pair for pair in data if source.random() < 0.95]
        inner = draw_object(source, data) if source.random() < 0.95 else source.choice(_ODD)
        pairs = [("type", mostly(source, _TYPES, _ODD, 0.1)), ("data", inner)]
        body = draw_object(source, pairs).encode("utf-8", "surrogatepass")
        right = signed(_SECRET, "m", _NOW, body)["webhook-signature"].encode()
        return {
            "body": spoil(source, body, _SPICES, most=2),
            "signature": spoil(source, right, [b"v1,", b" ", b"=", b",", b"A"], most=2),
        }

    def check(self, case: Case) -> None:
        body: bytes = case["body"]
        right = signed(_SECRET, "m", _NOW, body)["webhook-signature"]
        given = case["signature"].decode("latin-1")
        verify(_SECRET, "m", str(_NOW), right, body, _NOW)
        try:
            verify(_SECRET, "m", str(_NOW), given, body, _NOW)
        except BadSignature:
            assert right not in given.split()[:10], "a right signature is refused"
        else:
            # Base64 has several spellings of one value, of which the strict reader takes some.
            assert any(part.rstrip("=")[:42] == right.rstrip("=")[:42] for part in given.split()), (
                "a wrong one is taken"
            )
        try:
            found = read_message(body)
        except BadMessage:
            return
        said = _said(body)
        if said is not None and found.state:
            kind, data = said.get("type"), said.get("data")
            assert isinstance(data, Pairs), "money out of nothing"
            amount, inner = data.last().get("amount"), data.last()
            assert found.state == _STATES[str(kind)], "another state"
            assert not isinstance(amount, Number), "a number passed for money"
            assert Decimal(str(amount)).scaleb(12) == found.amount_pico > 0, "another amount"
            assert (found.payment_id, found.currency) == (inner["payment_id"], inner["currency"]), "another payment"

    def close(self) -> None:
        pass


def _said(body: bytes) -> "dict[str, object] | None":
    """Returns the message as a second parser reads it; None when it is none for that one."""
    try:
        found = read(body)
    except (NotJson, RecursionError):
        return None
    return found.last() if isinstance(found, Pairs) else None
