"""Billing rates every final again and says where it gets another number."""

import pytest
from services.billing.tests.fakes.events import BOOK, NOW_US, usage_event
from services.billing.tests.fakes.prices import FakePrices

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.verify import verify

pytestmark = pytest.mark.unit


def found(**changes):
    mismatch = verify(decode(usage_event(**changes).SerializeToString(), 0, NOW_US), FakePrices(BOOK))
    return mismatch and (mismatch.reason, mismatch.found_pico, mismatch.expected_pico)


def test_the_right_charge_is_no_mismatch():
    assert found() is None
    assert found(final=False) is None
    pictures = wire.Usage(images=[wire.ImageCount(size="1024x1024", quality="high", count=2)])
    assert found(model="picture", usage=pictures, charge_pico=8 * 10**10) is None
    assert (
        found(model="never heard of", usage=wire.Usage(input_tokens=3), charge_pico=0, cost_pico=0, unpriced=True)
        is None
    )
    nothing = {"usage": wire.Usage(), "charge_pico": 0, "cost_pico": 0}
    assert found(**nothing) is None
    assert found(**nothing, price_digest="") is None


def test_one_pico_unit_is_a_mismatch():
    right = usage_event().charge_pico
    assert found(charge_pico=right + 1) == ("charge", right + 1, right)
    assert found(charge_pico=0) == ("charge", 0, right)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price_digest": "sha256:other"}, "unknown_price_book"),
        ({"price_digest": ""}, "no_price_named"),
        ({"model": "never heard of"}, "model_not_in_book"),
        ({"currency": "CNY"}, "currency"),
        ({"model": "picture"}, "cannot_be_rated"),
        ({"unpriced": True, "charge_pico": 0}, "priced_after_all"),
    ],
)
def test_what_cannot_be_verified_is_a_mismatch_too(changes, reason):
    assert found(**changes)[0] == reason
