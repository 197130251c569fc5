"""Billing rates every final again and says where it gets another number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.billing.tests.fakes.events import BOOK, NOW_US, usage_event
from services.billing.tests.fakes.prices import FakePrices

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import MAX_AMOUNT_PICO, decode
from tollgate_billing.domain.fields import TOKEN_FIELDS, columns_of
from tollgate_billing.domain.verify import verify, verify_all
from tollgate_rating import GroupRule, PriceBook, PriceTier, RatingError
from tollgate_rating.units import INPUT_UNITS, OUTPUT_UNITS

pytestmark = pytest.mark.unit

ROUTER, BILLING, SETTLED = events.EVENT_SOURCE_ROUTER, events.EVENT_SOURCE_BILLING, events.EVENT_STATUS_SETTLED


def found(**changes):
    event = decode(usage_event(**changes).SerializeToString(), 0, NOW_US)
    mismatch = verify(event, FakePrices(BOOK))
    assert verify_all([event], columns_of([event.fields]), FakePrices(BOOK)) == ([mismatch] if mismatch else [])
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


@pytest.mark.parametrize("source", [ROUTER, events.EVENT_SOURCE_WITNESS, BILLING])
@pytest.mark.parametrize("status", [events.EVENT_STATUS_CONFIRMED, SETTLED])
@pytest.mark.parametrize("digest", ["", BOOK.digest])
def test_a_charge_for_nothing_is_billings_estimate_or_a_mismatch(source, status, digest):
    """A hold says what it was settled with, and neither units nor price; nobody else charges what nobody can rate."""
    nothing = {"usage": wire.Usage(), "source": source, "status": status, "price_digest": digest}
    reason = "charge" if digest else "no_price_named"
    estimate = (source, status, digest) == (BILLING, SETTLED, "")
    assert found(**nothing, charge_pico=5) == (None if estimate else (reason, 5, 0))
    assert found(**nothing, charge_pico=0) is None


def test_an_estimate_of_units_names_their_price():
    assert found(source=BILLING, status=SETTLED, price_digest="")[0] == "no_price_named"


PRICES = st.dictionaries(
    st.sampled_from([*INPUT_UNITS, *OUTPUT_UNITS[:-1], "request"]),
    st.decimals(0, 10**6, places=12).map(lambda price: f"{price.normalize():f}"),
    min_size=1,
)
QUANTITIES = st.fixed_dictionaries({}, optional=dict.fromkeys([*TOKEN_FIELDS, "requests"], st.integers(0, 2**30)))


@given(
    prices=PRICES,
    multiply=st.sampled_from(["1", "0.333333333333", "1.1"]),
    tier=st.sampled_from(
        [{}, {"context_over": 1000}, {"service": "flex"}, {"service": "flex", "hours": "00:00-12:00"}]
    ),
    service=st.sampled_from(["", "flex"]),
    used=st.lists(QUANTITIES, min_size=1, max_size=4),
    off=st.sampled_from([0, 0, 0, 1, -1]),
    own=st.sampled_from(["", "USD", "CNY"]),
)
def test_all_at_once_finds_what_one_by_one_finds(prices, multiply, tier, service, used, off, own):
    book = PriceBook(
        name="public",
        effective_us=0,
        currency="USD",
        models={"m": prices},
        groups={"vip": GroupRule(multiply)},
        tiers={"m": [PriceTier(multiply="2", **tier)]} if tier else None,
    )
    judged = []
    for number, quantities in enumerate(used):
        usage = wire.Usage(**quantities, service_tier=service)
        event = usage_event(f"r{number}", usage=usage, price_digest=book.digest, charge_pico=0, cost_pico=0)
        event.tenant.price_group, event.tenant.currency = "vip", own
        units = decode(event.SerializeToString(), 0, NOW_US).units
        try:
            charge = book.price("m", "vip").rate(units, event.started_at_us, service)
        except RatingError:
            charge = 5
        event.charge_pico = min(max(0, charge + off), MAX_AMOUNT_PICO)
        judged.append(decode(event.SerializeToString(), number, NOW_US))
    each = [found for event in judged if (found := verify(event, FakePrices(book)))]
    assert verify_all(judged, columns_of([event.fields for event in judged]), FakePrices(book)) == each
