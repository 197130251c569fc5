"""Prices by example: stand-ins, rounding, limits and refusals."""

import pytest

from tollgate_rating import (
    INT64_MAX,
    MAX_CHARGE_PICO,
    PICO,
    AmountOutOfRange,
    GroupRule,
    InvalidPrice,
    InvalidQuantity,
    PriceBook,
    PriceTier,
    Unpriced,
    format_decimal,
    parse_decimal,
)

pytestmark = pytest.mark.unit


def book(prices, *, groups=None, **changes):
    values = {"name": "public", "effective_us": 0, "currency": "USD", "models": {"m": prices}, "groups": groups}
    return PriceBook(**{**values, **changes})


def price_of(prices, *, groups=None, group="default"):
    price = book(prices, groups=groups).price("m", group)
    assert price is not None
    return price


def test_tokens_are_priced_per_million():
    price = price_of({"input": "1.25", "output": "10", "cache_read": "0.125"})
    assert price.rate({"input": 1_000_000}) == 1_250_000_000_000
    assert price.rate({"input": 1, "output": 1, "cache_read": 1}) == 1_250_000 + 10_000_000 + 125_000
    assert price.rate({}) == 0


def test_a_price_knows_which_units_its_book_names():
    price = price_of({"output": "7", "image": "0"})
    assert (price.names("image"), price.names("output")) == (True, True)
    assert (price.names("image_output"), price.names("request"), price.names("image:1x1")) == (False, False, False)


@pytest.mark.parametrize(
    ("unit", "stands_in"),
    [
        ("reasoning", "output"),
        ("audio_output", "output"),
        ("image_output", "output"),
        ("cache_read", "input"),
        ("cache_write_5m", "input"),
        ("cache_write_1h", "input"),
        ("audio_input", "input"),
        ("image_input", "input"),
    ],
)
def test_a_token_without_a_price_pays_that_of_its_kind(unit, stands_in):
    both = {"input": "3", "output": "7"}
    assert price_of(both).rate({unit: 1_000_000}) == int(both[stands_in]) * PICO
    assert price_of({**both, unit: "1"}).rate({unit: 1_000_000}) == PICO
    del both[stands_in]
    with pytest.raises(Unpriced) as caught:
        price_of(both).rate({unit: 1})
    assert (caught.value.model, caught.value.unit) == ("m", unit)


def test_images_are_priced_by_the_nearest_name():
    price = price_of({"image": "0.04", "image:1024x1024": "0.05", "image:1024x1024:high": "0.17"})
    assert price.rate({"image:1024x1024:high": 2}) == 340_000_000_000
    assert price.rate({"image:1024x1024:low": 1}) == 50_000_000_000
    assert price.rate({"image:512x512:low": 1}) == 40_000_000_000
    assert price.rate({"image": 1}) == 40_000_000_000
    assert price.unit_price("image:512x512:low") == "0.04"
    with pytest.raises(Unpriced):
        price_of({"input": "1", "output": "1"}).rate({"image:1024x1024": 1})
    with pytest.raises(Unpriced):
        price_of({"image:1024x1024": "1"}).rate({"image": 1})


def test_a_unit_used_zero_times_needs_no_price():
    assert price_of({"input": "1"}).rate({"input": 5, "output": 0, "nonsense": 0}) == 5_000_000


def test_a_fee_per_request_is_only_charged_where_it_is_named():
    assert price_of({"input": "1"}).rate({"request": 3}) == 0
    assert price_of({"input": "1", "request": "0.01"}).rate({"request": 3}) == 30_000_000_000


def test_an_unknown_unit_is_unpriced():
    with pytest.raises(Unpriced):
        price_of({"input": "1", "output": "1"}).rate({"video_second": 1})


@pytest.mark.parametrize(
    ("text", "tokens", "amount"),
    [
        ("0.0000005", 1, 0),  # A half goes to the even neighbour,
        ("0.0000015", 1, 2),  # also upwards.
        ("0.0000025", 1, 2),
        ("0.000000500001", 1, 1),
        ("0.0000005", 3, 2),  # 1.5 as a whole; three lines of 0 would be 0.
    ],
)
def test_rounding_is_half_even_and_happens_once(text, tokens, amount):
    assert price_of({"input": text}).rate({"input": tokens}) == amount
    halves = price_of({"input": text, "output": text}).rate({"input": tokens, "output": tokens})
    assert halves == round(2 * tokens * parse_decimal(text) / 10**6)


def test_groups_multiply_or_override():
    groups = {"partner": GroupRule("0.9"), "vip": GroupRule("0.5", {"m": {"input": "1"}}), "free": GroupRule("0")}
    prices = {"input": "2", "output": "4"}
    assert price_of(prices, groups=groups, group="partner").rate({"input": 10, "output": 10}) == 54_000_000
    assert price_of(prices, groups=groups, group="vip").rate({"input": 10}) == 10_000_000
    with pytest.raises(Unpriced):
        price_of(prices, groups=groups, group="vip").rate({"output": 1})
    assert price_of(prices, groups=groups, group="free").rate({"input": 10}) == 0
    assert price_of(prices, groups=groups, group="nobody").rate({"input": 10}) == 20_000_000
    assert price_of(prices, groups=groups, group="partner").lines({"input": 1})[0].price == "1.8"


def test_the_worst_case_takes_the_dearest_unit_of_each_side():
    price = price_of({"input": "3", "cache_write_1h": "6", "output": "15", "request": "0.5"})
    assert price.worst_case(1_000_000, 1_000_000) == 21_500_000_000_000
    embedding = price_of({"input": "0.02"})
    assert embedding.worst_case(1000, 0) == 20_000_000
    assert embedding.worst_case(1000, 4096) == 20_000_000
    assert price_of({"image": "1"}).worst_case(1000, 1000) == 0


def test_amounts_beyond_what_one_request_may_cost_are_refused():
    price = price_of({"input": "1", "request": "9223.372036854775"})
    assert price.rate({"request": 1}) == MAX_CHARGE_PICO
    for call in (price.rate, price.lines):
        with pytest.raises(AmountOutOfRange, match=r"9223\.372037854775 is more than one request may cost"):
            call({"request": 1, "input": 1})
    assert price.worst_case(10**20, 0) == INT64_MAX


@pytest.mark.parametrize("quantity", [-1, 1.0, 0.5])
def test_quantities_are_integers_from_zero(quantity):
    price = price_of({"input": "1", "output": "1"})
    with pytest.raises(InvalidQuantity):
        price.rate({"input": quantity, "output": 1})
    with pytest.raises(InvalidQuantity):
        price.lines({"input": quantity, "output": 1})


def test_what_is_no_token_adds_its_most_to_the_worst_case():
    price = price_of({"input": "1", "character": "15", "request": "0.001"})
    seen = price.worst_case(0, 0, [("character", 10), ("audio_second", 60)])
    assert seen == price.rate({"character": 10, "request": 1})
    tiered = book({"search": "1"}, tiers={"m": [PriceTier(multiply="2", service="fast")]}).price("m", "default")
    assert tiered is not None
    assert tiered.worst_case(0, 0, [("search", 3)]) == 6 * PICO


def test_the_worst_case_takes_the_dearest_kind_of_a_unit():
    price = price_of({"search": "0.005", "search:high": "0.012", "search:medium": "0.008"})
    assert price.worst_case(0, 0, [("search", 2)]) == price.rate({"search:high": 2})
    by_kind = price_of({"search:low": "0.001", "tool_call": "0.002"})
    assert by_kind.worst_case(0, 0, [("search", 1)]) == by_kind.rate({"search:low": 1})
    # What stands in for a kind without a price of its own.
    assert by_kind.worst_case(0, 0, [("tool_call:x_search", 3)]) == by_kind.rate({"tool_call:x_search": 3}) > 0


def test_a_price_knows_the_units_that_it_can_rate():
    price = price_of({"input": "1", "image": "2"})
    assert price.knows(("input", "audio_input", "image:1024x1024:high", "request"))
    assert not price.knows(("input", "output"))
    assert not price.knows(("character",))


def test_a_negative_worst_case_is_refused():
    with pytest.raises(InvalidQuantity):
        price_of({"input": "1"}).worst_case(-1, 0)


@pytest.mark.parametrize(
    "text",
    [
        1.25,
        1,
        True,
        None,
        b"1",
        "",
        " 1",
        "1 ",
        "1\n",
        "-1",
        "+1",
        "1e3",
        "1E-3",
        "01",
        ".5",
        "1.",
        "1.0000000000001",
        "nan",
        "inf",
        "1,5",
        "1_000",
        "٣",
        "1000000000000",
    ],
)
def test_prices_are_decimal_strings(text):
    with pytest.raises(InvalidPrice):
        parse_decimal(text)
    with pytest.raises(InvalidPrice, match="model 'm', unit 'input'"):
        book({"input": text})
    if text is not None:
        with pytest.raises(InvalidPrice, match="group 'g', multiply"):
            book({"input": "1"}, groups={"g": GroupRule(text)})


@pytest.mark.parametrize(
    "unit", ["tokens", "Input", "image:", "image:a:b:c", "image:A", "", 7, "image:1024x1024:high "]
)
def test_unknown_units_are_refused_by_name(unit):
    with pytest.raises(InvalidPrice, match="unknown unit"):
        book({unit: "1"})


@pytest.mark.parametrize("changes", [{"currency": "usd"}, {"currency": "DOLLAR"}, {"name": ""}, {"models": {"m": {}}}])
def test_books_that_cannot_be_used_are_refused(changes):
    with pytest.raises(InvalidPrice):
        book({"input": "1"}, **changes)


def test_the_digest_is_the_content_address():
    one = book({"input": "1.50", "output": "2"})
    assert one.digest == book({"output": "2.000", "input": "1.5"}).digest
    assert one.digest.startswith("sha256:")
    assert len(one.digest) == 71
    others = [
        book({"input": "1.51", "output": "2"}),
        book({"input": "1.5", "output": "2"}, effective_us=1),
        book({"input": "1.5", "output": "2"}, currency="CNY"),
        book({"input": "1.5", "output": "2"}, name="other"),
        book({"input": "1.5", "output": "2"}, groups={"g": GroupRule("0.5")}),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


def test_the_digest_never_changes_between_releases():
    pinned = "sha256:b9a7b1890bc28d51cc11020b8aec64853c2396562ae853398b9fd1feed0afa74"
    assert book({"input": "1.50"}, groups={"g": GroupRule("0.9", {"m": {"input": "1"}})}).digest == pinned


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1, "0.000000000001"), (PICO, "1"), (-PICO // 4, "-0.25")])
def test_amounts_are_written_as_shortest_decimals(value, text):
    assert format_decimal(value) == text
