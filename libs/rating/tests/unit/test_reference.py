"""Rating against a slow reference in exact fractions, and the laws that hold whatever the numbers are."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollgate_rating import MAX_CHARGE_PICO, AmountOutOfRange, GroupRule, ModelPrice, PriceBook, Unpriced, parse_decimal

pytestmark = pytest.mark.unit

TOKENS = (
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
)
IMAGES = ("image", "image:1024x1024", "image:1024x1024:high", "image:512x512:low")
STAND_IN = {
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "input",
    "audio_input": "input",
    "image_input": "input",
}

decimals = st.builds(
    lambda whole, fraction, places: f"{whole}.{str(fraction)[:places]}" if places else str(whole),
    st.integers(0, 2_000),
    st.integers(10**11, 10**12 - 1),
    st.integers(0, 12),
)
books = st.dictionaries(st.sampled_from((*TOKENS, "request", *IMAGES)), decimals, min_size=1)
usages = st.dictionaries(st.sampled_from((*TOKENS, "request", *IMAGES)), st.integers(0, 3_000_000), max_size=6)
token_usages = st.dictionaries(st.sampled_from(TOKENS), st.integers(0, 3_000_000), max_size=6)
multiples = st.sampled_from(["1", "0", "0.9", "1.1", "0.333333333333", "2.5"])


def model_price(prices: dict[str, str], multiply: str = "1") -> ModelPrice:
    book = PriceBook(
        name="public",
        effective_us=0,
        currency="USD",
        models={"m": prices},
        groups={"g": GroupRule(multiply)},
    )
    price = book.price("m", "g")
    assert price is not None
    return price


def reference_price(prices: dict[str, str], unit: str) -> Fraction | None:
    names = [unit, STAND_IN.get(unit, unit)]
    if unit.startswith("image:"):
        parts = unit.split(":")
        names = [":".join(parts[:n]) for n in range(len(parts), 0, -1)]
    for name in names:
        if name in prices:
            return Fraction(Decimal(prices[name])) / (
                1 if name == "request" or (name.startswith("image") and name not in TOKENS) else 10**6
            )
    return Fraction(0) if unit == "request" else None


def reference(prices: dict[str, str], multiply: str, usage: dict[str, int]) -> int | None:
    """What the usage costs by fractions, rounded by `decimal`; None when a used unit has no price."""
    total = Fraction(0)
    for unit, quantity in usage.items():
        if quantity:
            price = reference_price(prices, unit)
            if price is None:
                return None
            total += price * quantity
    total *= Fraction(Decimal(multiply)) * 10**12
    with localcontext() as context:
        context.prec = 200
        # Denominators are powers of ten, so that this division is exact.
        exact = Decimal(total.numerator) / Decimal(total.denominator)
        return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@given(prices=books, multiply=multiples, usage=usages)
@settings(max_examples=400)
def test_rate_is_what_the_slow_reference_says(prices, multiply, usage):
    expected = reference(prices, multiply, usage)
    price = model_price(prices, multiply)
    if expected is None:
        with pytest.raises(Unpriced):
            price.rate(usage)
    elif expected > MAX_CHARGE_PICO:
        with pytest.raises(AmountOutOfRange):
            price.rate(usage)
    else:
        assert price.rate(usage) == expected


@given(prices=books, multiply=multiples, usage=usages)
def test_lines_add_up_to_the_rate(prices, multiply, usage):
    price = model_price(prices, multiply)
    try:
        total = price.rate(usage)
    except (Unpriced, AmountOutOfRange) as error:
        with pytest.raises(type(error)):
            price.lines(usage)
        return
    lines = price.lines(usage)
    assert sum(line.amount_pico for line in lines) == total
    told = {unit: count for unit, count in usage.items() if count and (unit != "request" or unit in prices)}
    assert {line.unit: line.quantity for line in lines} == told
    for line in lines:
        exact = Fraction(line.price) * line.quantity * 10**12 / line.per
        assert abs(exact - line.amount_pico) <= 1


@given(prices=books, multiply=multiples, one=usages, more=usages)
def test_more_usage_never_costs_less(prices, multiply, one, more):
    price = model_price(prices, multiply)
    both = {unit: one.get(unit, 0) + more.get(unit, 0) for unit in one.keys() | more.keys()}
    try:
        assert price.rate(one) <= price.rate(both)
    except (Unpriced, AmountOutOfRange):
        return


@given(prices=books, multiply=multiples, one=usages, two=usages)
def test_the_rate_of_a_sum_is_the_sum_of_the_rates_but_for_rounding(prices, multiply, one, two):
    price = model_price(prices, multiply)
    both = {unit: one.get(unit, 0) + two.get(unit, 0) for unit in one.keys() | two.keys()}
    try:
        whole, parts = price.rate(both), price.rate(one) + price.rate(two)
    except (Unpriced, AmountOutOfRange):
        return
    # Each of the three roundings is off by at most a half.
    assert abs(whole - parts) <= 1


@given(usage=token_usages, prices=st.dictionaries(st.sampled_from(TOKENS), st.integers(0, 90_000), min_size=1))
def test_whole_pico_units_per_token_add_exactly(usage, prices):
    texts = {unit: f"{value // 1000}.{value % 1000:03}" for unit, value in prices.items()}
    price = model_price(texts)
    try:
        whole = price.rate(usage)
    except Unpriced:
        return
    assert whole == sum(price.rate({unit: quantity}) for unit, quantity in usage.items())


@given(prices=books, multiply=multiples, usage=token_usages, requests=st.integers(0, 1))
def test_the_worst_case_is_never_exceeded(prices, multiply, usage, requests):
    price = model_price(prices, multiply)
    into = sum(count for unit, count in usage.items() if STAND_IN.get(unit, unit) == "input")
    out = sum(count for unit, count in usage.items() if STAND_IN.get(unit, unit) == "output")
    try:
        assert price.rate({**usage, "request": requests}) <= price.worst_case(into, out)
    except (Unpriced, AmountOutOfRange):
        return


@given(text=decimals)
def test_decimals_are_read_exactly(text):
    assert parse_decimal(text) == Decimal(text).scaleb(12)
