"""Events of organizations that pay in another currency than prices are in: verified, booked, and shown again."""

import json
from decimal import Decimal

import pytest
from services.billing.tests.fakes.events import BOOK, NOW_US, WITNESS, usage_event
from services.billing.tests.fakes.prices import FakePrices

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import judge, looked_up
from tollgate_billing.domain.postings import PAYABLE, PROVIDER_COST, REVENUE, WALLET, transfers_of
from tollgate_billing.domain.recent import RecentIds
from tollgate_billing.domain.rows import rows_of
from tollgate_billing.domain.verify import verify
from tollgate_billing.errors import Poison
from tollgate_rating import ExchangeRate

pytestmark = pytest.mark.unit

RATE = ExchangeRate(base="USD", quote="CNY", rate="7.1", effective_us=0)
LATER = ExchangeRate(base="USD", quote="CNY", rate="7.2", effective_us=1)
LISTED = 60_000_000
CHARGE = LISTED * 71 // 10


def yuan(request="req", rate=RATE, **changes):
    """An event of BOOK whose amounts were converted rightly."""
    tenant = wire.Tenant(organization_id="org", project_id="project", api_key_id="key", currency="CNY")
    factor = rate.rate // 10**11
    values = {
        "tenant": tenant,
        "currency": "CNY",
        "charge_pico": LISTED * factor // 10,
        "cost_pico": LISTED // 2 * factor // 10,
        "conversion": events.Conversion(
            rate_digest=rate.digest,
            list_currency="USD",
            list_charge_pico=LISTED,
            provider_currency="USD",
            provider_cost_pico=LISTED // 2,
        ),
        "hold_pico": 10**12,
    }
    return usage_event(request, **(values | changes))


def found(message, *rates):
    mismatch = verify(decode(message.SerializeToString(), 0, NOW_US), FakePrices(BOOK, rates=rates))
    return mismatch and (mismatch.reason, mismatch.found_pico, mismatch.expected_pico)


def booked(*messages):
    decoded = [decode(one.SerializeToString(), place, NOW_US) for place, one in enumerate(messages)]
    looked = looked_up(decoded, frozenset())
    return judge(decoded, RecentIds(()), looked, {})[0]


def test_what_was_converted_rightly_is_no_mismatch():
    assert found(yuan(), RATE) is None
    assert found(yuan(rate=LATER), RATE, LATER) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"charge_pico": CHARGE + 1}, ("charge", CHARGE + 1, CHARGE)),
        ({"charge_pico": LISTED}, ("charge", LISTED, CHARGE)),
        ({"currency": "USD"}, ("currency", CHARGE, 0)),
    ],
)
def test_one_pico_unit_and_another_currency_are(changes, expected):
    assert found(yuan(**changes), RATE) == expected


def test_the_amount_before_the_conversion_is_verified_too():
    message = yuan()
    message.conversion.list_charge_pico += 1
    assert found(message, RATE) == ("list_charge", LISTED + 1, LISTED)


def test_an_unknown_rate_is_told_from_an_unknown_book():
    assert found(yuan())[0] == "unknown_exchange_rate"
    assert found(yuan(price_digest="sha256:other"), RATE)[0] == "unknown_price_book"


def test_a_router_that_does_not_know_of_currencies_is_noticed():
    tenant = wire.Tenant(organization_id="org", project_id="project", api_key_id="key", currency="CNY")
    assert found(usage_event(tenant=tenant))[0] == "currency"


@pytest.mark.parametrize("changes", [{"list_charge_pico": -1}, {"provider_cost_pico": 2**62}, {"list_currency": ""}])
def test_a_conversion_that_cannot_be_is_poison(changes):
    message = yuan()
    for name, value in changes.items():
        setattr(message.conversion, name, value)
    with pytest.raises(Poison, match="conver"):
        decode(message.SerializeToString(), 0, NOW_US)


def test_rows_say_both_amounts_and_by_which_rate():
    (row, plain) = rows_of(booked(yuan(), usage_event("other")), Bounds("e", "t", 0, 0, 2), NOW_US)
    assert (row["charge"], row["currency"]) == (Decimal("0.000426"), "CNY")
    assert (row["list_charge"], row["list_currency"], row["rate_digest"]) == (Decimal("0.00006"), "USD", RATE.digest)
    assert (row["provider_cost"], row["provider_currency"]) == (Decimal("0.00003"), "USD")
    assert (row["cost"], row["hold"]) == (Decimal("0.000213"), Decimal(1))
    assert (plain["list_charge"], plain["list_currency"], plain["rate_digest"]) == (plain["charge"], "USD", "")
    assert (plain["provider_cost"], plain["provider_currency"]) == (plain["cost"], "USD")


def test_the_loser_of_two_finals_has_no_charge_in_either_currency():
    lost, won = rows_of(booked(yuan(status=WITNESS), yuan(tried=2)), Bounds("e", "t", 0, 0, 2), NOW_US)
    assert (lost["charge"], lost["list_charge"], lost["superseded"]) == (0, 0, True)
    assert won["list_charge"] == Decimal("0.00006")


def test_limits_are_kept_as_they_were_on_the_final_row_only():
    limits = [
        wire.Limit(kind="key", id="key", requests_per_minute=60),
        wire.Limit(kind="organization", id="org", budget_pico=5, budget_window="month"),
    ]
    tenant = wire.Tenant(organization_id="org", limits=limits)
    final, attempt = rows_of(
        booked(usage_event(tenant=tenant), usage_event("other", tenant=tenant, final=False)),
        Bounds("e", "t", 0, 0, 2),
        NOW_US,
    )
    assert [wire.Limit(**one) for one in json.loads(final["limits"])] == limits
    assert attempt["limits"] == ""


def test_transfers_of_two_rates_are_two():
    transfers = transfers_of(booked(yuan("a"), yuan("b"), yuan("c", rate=LATER)))
    charged = {
        one.line.rate_digest: (one.amount_pico, one.events) for one in transfers if one.line[5:7] == (WALLET, REVENUE)
    }
    assert charged == {RATE.digest: (2 * CHARGE, 2), LATER.digest: (LISTED * 72 // 10, 1)}
    costs = [one for one in transfers if one.line[5:7] == (PROVIDER_COST, PAYABLE)]
    assert sum(one.amount_pico for one in costs) == 2 * CHARGE // 2 + LISTED * 36 // 10
    assert {one.line.currency for one in transfers} == {"CNY"}


def test_what_witnesses_of_before_left_out_is_no_poison():
    message = yuan(cost_pico=0)
    message.conversion.provider_currency, message.conversion.provider_cost_pico = "", 0
    (row,) = rows_of(booked(message), Bounds("e", "t", 0, 0, 1), NOW_US)
    assert (row["charge"], row["provider_cost"], row["provider_currency"]) == (Decimal("0.000426"), 0, "USD")
    message.conversion.provider_cost_pico = 1
    with pytest.raises(Poison, match="conver"):
        decode(message.SerializeToString(), 0, NOW_US)
