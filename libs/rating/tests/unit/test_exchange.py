"""Prices in another currency: against a slow reference in decimals, and what a rate must be."""

import re
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollgate_rating import (
    MAX_CHARGE_PICO,
    AmountOutOfRange,
    ExchangeRate,
    GroupRule,
    InvalidPrice,
    ModelPrice,
    NoRate,
    PriceBook,
    PriceTable,
    PriceTier,
    format_decimal,
    parse_decimal,
)

pytestmark = pytest.mark.unit

UNITS = ("input", "output", "cache_read", "image")
decimals = st.integers(0, 10**16).map(format_decimal)
rates = st.integers(1, 10**15).map(format_decimal)
prices = st.fixed_dictionaries(dict.fromkeys(UNITS, decimals))
usages = st.fixed_dictionaries(dict.fromkeys(UNITS, st.integers(0, 2_000_000)))


def rate(text: str = "7.1", base: str = "USD", quote: str = "CNY", effective_us: int = 0) -> ExchangeRate:
    return ExchangeRate(base=base, quote=quote, rate=text, effective_us=effective_us)


def book(models: dict[str, dict[str, str]], **changes: object) -> PriceBook:
    return PriceBook(**{"name": "public", "effective_us": 0, "currency": "USD", "models": models, **changes})


def priced(unit_prices: dict[str, str], multiply: str, tier: str) -> ModelPrice:
    found = book(
        {"m": unit_prices},
        groups={"g": GroupRule(multiply)},
        tiers={"m": [PriceTier(multiply=tier, service="flex")]} if tier != "1" else {},
    ).price("m", "g")
    assert found is not None
    return found


def reference(unit_prices: dict[str, str], factors: tuple[str, ...], usage: dict[str, int]) -> int:
    """What usage costs: decimals all the way, and one rounding at the end."""
    with localcontext() as context:
        context.prec = 400
        total = Decimal(0)
        for unit, count in usage.items():
            total += Decimal(unit_prices[unit]) * count / (1 if unit == "image" else 1_000_000)
        for factor in factors:
            total *= Decimal(factor)
        return int(total.scaleb(12).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@settings(max_examples=400)
@given(prices, usages, rates, st.sampled_from(["1", "0.9", "0.333333333333"]), st.sampled_from(["1", "0.5", "2.25"]))
def test_a_converted_charge_is_what_the_slow_reference_says(unit_prices, usage, text, multiply, tier):
    price = priced(unit_prices, multiply, tier)
    converted = price.converted(rate(text))
    expected = reference(unit_prices, (multiply, tier, text), usage)
    listed = reference(unit_prices, (multiply, tier), usage)
    if max(expected, listed) > MAX_CHARGE_PICO:
        for rated in (converted.rate, converted.lines):
            with pytest.raises(AmountOutOfRange):
                rated(usage, 0, "flex")
        return
    assert converted.rate(usage, 0, "flex") == expected
    assert converted.unconverted.rate(usage, 0, "flex") == listed
    lines = converted.lines(usage, 0, "flex")
    assert sum(line.amount_pico for line in lines) == expected
    for line in lines:
        exact = Fraction(unit_prices[line.unit]) * Fraction(multiply) * Fraction(tier) * Fraction(text)
        assert Fraction(line.price) == exact
    tokens = {unit: count for unit, count in usage.items() if unit != "image"}
    held = converted.worst_case(usage["input"] + usage["cache_read"], usage["output"])
    assert held >= reference(unit_prices, (multiply, tier, text), tokens)


@given(st.integers(-2, 2), st.integers(1, 3 * 10**12))
def test_an_amount_is_one_only_where_it_was_one_before_its_conversion(off, times):
    """Both are said of a request, so both have to fit; whatever the rate, to the last pico-unit."""
    price = priced({"input": "0.000001"}, "1", "1")
    converted = price.converted(rate(format_decimal(times)))
    usage = {"input": MAX_CHARGE_PICO + off}
    listed, exact = usage["input"], Fraction(usage["input"] * times, 10**12)
    if max(listed, round(exact)) > MAX_CHARGE_PICO:
        with pytest.raises(AmountOutOfRange):
            converted.rate(usage)
    else:
        assert (converted.rate(usage), converted.unconverted.rate(usage)) == (round(exact), listed)


def test_one_rounding_is_not_two():
    price = priced({"input": "0.0000005"}, "1", "1")
    # Half a pico-unit is rounded to none before a conversion, and is 3.5 of the other currency after it.
    assert price.rate({"input": 1}) == 0
    assert price.converted(rate("7")).rate({"input": 1}) == 4


def test_a_cost_factor_and_a_rate_go_together():
    price = priced({"input": "3"}, "1", "1").converted(rate("7.1"))
    cheaper = price.times(parse_decimal("0.5"))
    assert (cheaper.currency, cheaper.rate_digest) == ("CNY", price.rate_digest)
    assert cheaper.rate({"input": 1000}) == 10_650_000_000
    assert cheaper.unconverted.rate({"input": 1000}) == 1_500_000_000
    assert cheaper.unconverted.currency == "USD"


def test_the_rate_in_force_when_the_request_began_decides():
    early, late = rate("7", effective_us=100), rate("8", effective_us=300)
    table = PriceTable(
        [book({"m": {"request": "1"}}), book({"m": {"request": "2"}}, effective_us=200)], rates=[late, early]
    )
    found = {at: table.find("m", "", at, "CNY") for at in (100, 199, 200, 299, 300)}
    assert [one.rate({"request": 1}) // 10**12 for one in found.values()] == [7, 7, 14, 14, 16]
    assert [one.rate_digest for one in found.values()] == [early.digest] * 4 + [late.digest]
    assert found[200] is table.find("m", "", 250, "CNY")
    with pytest.raises(NoRate, match="from USD to CNY"):
        table.find("m", "", 99, "CNY")


@pytest.mark.parametrize("currency", ["", "USD"])
def test_the_books_own_currency_needs_no_rate(currency):
    price = PriceTable([book({"m": {"request": "1"}})]).find("m", "", 5, currency)
    assert (price.currency, price.rate_digest, price.exchange) == ("USD", "", None)
    assert price.unconverted is price


def test_no_rate_is_neither_one_nor_the_way_back():
    table = PriceTable([book({"m": {"request": "1"}})], rates=[rate("0.14", base="CNY", quote="USD")])
    with pytest.raises(NoRate):
        table.find("m", "", 5, "CNY")
    assert table.find("unknown", "", 5, "CNY") is None
    yuan = PriceTable([book({"m": {"request": "50"}}, currency="CNY")], rates=[rate("0.14", base="CNY", quote="USD")])
    assert yuan.find("m", "", 5, "USD").rate({"request": 1}) == 7 * 10**12
    assert yuan.find("m", "", 5, "CNY").rate({"request": 1}) == 50 * 10**12


def test_a_rate_is_addressed_by_its_content():
    one = rate("7.10")
    assert one.digest == rate("7.1").digest == ExchangeRate.from_canonical(one.canonical()).digest
    others = [rate("7.2"), rate(effective_us=1), rate(base="EUR"), rate(quote="JPY")]
    assert len({one.digest, *(other.digest for other in others)}) == 5
    assert re.fullmatch("sha256:[0-9a-f]{64}", one.digest)


@pytest.mark.parametrize("changes", [{"text": "0"}, {"text": "-7"}, {"text": 7.1}, {"base": "usd"}, {"quote": "USD"}])
def test_what_is_no_rate_is_refused(changes):
    with pytest.raises(InvalidPrice):
        rate(**changes)


def test_two_rates_of_a_pair_at_one_time_are_refused():
    with pytest.raises(InvalidPrice, match="from USD to CNY"):
        PriceTable([], rates=[rate("7"), rate("8")])
    PriceTable([], rates=[rate("7"), rate("7.0"), rate("8", quote="JPY")])


def test_a_price_is_not_converted_by_a_rate_from_another_currency():
    with pytest.raises(InvalidPrice, match="from CNY"):
        priced({"input": "1"}, "1", "1").converted(rate(base="CNY", quote="USD"))
