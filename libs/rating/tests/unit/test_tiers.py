"""Tiers and the units beside tokens, against a slow reference that shares no code, and what is refused."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollgate_rating import (
    MAX_CHARGE_PICO,
    AmountOutOfRange,
    GroupRule,
    InvalidPrice,
    PriceBook,
    PriceTier,
    Unpriced,
    parse_decimal,
    per,
)

pytestmark = pytest.mark.unit

DAY = datetime(2026, 11, 3, tzinfo=UTC)
INPUT = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT = ("output", "reasoning", "audio_output", "image_output", "video_output")
OTHERS = ("character", "search", "tool_call", "tool_call:web", "audio_second", "request")
FAMILIES = ("video", "video:720p", "video:720p:audio", "image", "image:512x512", "image:512x512:high")
# Books with tiers are much to draw where other work has the processors.
slow = settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
fast = settings(slow, max_examples=100)
UNITS = (*INPUT, *OUTPUT, *OTHERS, *FAMILIES)

prices = st.dictionaries(
    st.sampled_from(UNITS), st.decimals(0, 500, places=4, allow_nan=False).map(lambda d: f"{d:f}"), min_size=1
)
multiples = st.sampled_from(["1", "0", "0.5", "0.333333333333", "1.7"])
moments = st.integers(0, 24 * 60 * 2 - 1).map(lambda minutes: DAY + timedelta(minutes=minutes, seconds=59))
clock = st.integers(0, 24 * 60 - 1).map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}")
tiers = st.lists(
    st.fixed_dictionaries(
        {"prices": prices, "multiply": multiples},
        optional={
            "context_over": st.integers(0, 2000),
            "service": st.sampled_from(["flex", "priority"]),
            "hours": st.tuples(clock, clock).filter(lambda pair: pair[0] != pair[1]).map("-".join),
        },
    ).filter(lambda one: len(one) > 2),
    max_size=3,
)
usages = st.dictionaries(st.sampled_from(UNITS), st.integers(0, 3000), max_size=6)


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def holds(tier: dict, usage: dict, moment: datetime, service: str) -> bool:
    if "service" in tier and tier["service"] != service:
        return False
    if "context_over" in tier and sum(usage.get(unit, 0) for unit in INPUT) <= tier["context_over"]:
        return False
    if "hours" in tier:
        start, end = tier["hours"].split("-")
        now = moment.strftime("%H:%M")
        return start <= now < end if start < end else now >= start or now < end
    return True


def reference(base: dict, group: str, found: list, usage: dict, moment: datetime, service: str) -> int | None:
    """By Decimal with 200 digits: what is paid in pico-units, or None where a unit has no price."""
    with localcontext() as context:
        context.prec = 200
        table = {unit: Decimal(price) for unit, price in base.items()}
        for tier in found:
            if holds(tier, usage, moment, service):
                table = {unit: price * Decimal(tier["multiply"]) for unit, price in table.items()}
                table |= {unit: Decimal(price) for unit, price in tier["prices"].items()}
                break
        total = Decimal(0)
        for unit, count in usage.items():
            if not count:
                continue
            names = [unit]
            if unit in INPUT:
                names.append("input")
            if unit in OUTPUT:
                names.append("output")
            parts = unit.split(":")
            names += [":".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]
            price = next((table[name] for name in names if name in table), None)
            if price is None:
                if unit != "request":
                    return None
                price = Decimal(0)
            million = unit in INPUT or unit in OUTPUT or unit == "character"
            total += price * count / (10**6 if million else 1)
        total *= Decimal(group) * 10**12
        return int(total.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def made(base: dict, group: str = "1", found: list | None = None) -> PriceBook:
    return PriceBook(
        name="public",
        effective_us=0,
        currency="USD",
        models={"m": base},
        groups={"g": GroupRule(group)},
        tiers={"m": [PriceTier(**one) for one in found]} if found else None,
    )


@given(base=prices, group=multiples, found=tiers, usage=usages, moment=moments, service=st.sampled_from(["", "flex"]))
@slow
def test_a_plain_sum_is_the_rate_where_it_is_whole(base, group, found, usage, moment, service):
    try:
        price = made(base, group, found).price("m", "g")
    except InvalidPrice:
        return
    plain = price.plain(list(usage), service)
    if plain is None:
        assert any("hours" in tier or "context_over" in tier for tier in found)
        return
    denominator, costs = plain
    unpriced = any(cost is None and count for cost, count in zip(costs, usage.values(), strict=True))
    if reference(base, group, found, usage, moment, service) is None:
        assert unpriced
        return
    assert not unpriced
    exact = sum((cost or 0) * count for cost, count in zip(costs, usage.values(), strict=True))
    try:
        rate = price.rate(usage, us(moment), service)
    except AmountOutOfRange:
        assert exact > MAX_CHARGE_PICO * denominator
        return
    assert exact == rate * denominator if not exact % denominator else abs(exact - rate * denominator) < denominator


@given(base=prices, group=multiples, found=tiers, usage=usages, moment=moments, service=st.sampled_from(["", "flex"]))
@slow
def test_a_tiered_rate_is_what_the_slow_reference_says(base, group, found, usage, moment, service):
    try:
        book = made(base, group, found)
    except InvalidPrice as error:
        assert "takes all" in str(error)  # noqa: PT017 - a tier that another one hides is the only thing refused here.
        return
    price = book.price("m", "g")
    expected = reference(base, group, found, usage, moment, service)
    if expected is None:
        with pytest.raises(Unpriced):
            price.rate(usage, us(moment), service)
        return
    if expected > MAX_CHARGE_PICO:
        with pytest.raises(AmountOutOfRange):
            price.rate(usage, us(moment), service)
        return
    assert price.rate(usage, us(moment), service) == expected
    lines = price.lines(usage, us(moment), service)
    assert sum(line.amount_pico for line in lines) == expected
    again = PriceBook.from_canonical(book.canonical())
    assert again.digest == book.digest
    assert again.price("m", "g").rate(usage, us(moment), service) == expected


@given(base=prices, found=tiers, usage=usages, moment=moments, service=st.sampled_from(["", "flex", "priority"]))
@fast
def test_the_worst_case_holds_in_every_tier(base, found, usage, moment, service):
    tokens = {unit: count for unit, count in usage.items() if unit in INPUT + OUTPUT}
    try:
        price = made(base, "1", found).price("m", "")
        into = sum(count for unit, count in tokens.items() if unit in INPUT)
        out = sum(tokens.values()) - into
        assert price.rate({**tokens, "request": 1}, us(moment), service) <= price.worst_case(into, out)
    except (InvalidPrice, Unpriced, AmountOutOfRange):
        return


def test_a_tier_begins_and_ends_to_the_token_and_the_minute():
    found = [
        {"context_over": 1000, "prices": {"input": "4"}},
        {"hours": "23:30-00:30", "multiply": "0.5"},
    ]
    price = made({"input": "2"}, "1", found).price("m", "")
    noon = us(DAY + timedelta(hours=12))
    assert price.rate({"input": 1000}, noon) == 1000 * 2 * 10**6
    assert price.rate({"input": 1000, "cache_read": 1}, noon) == 1001 * 4 * 10**6
    for minutes, share in ((23 * 60 + 29, 2), (23 * 60 + 30, 1), (24 * 60 + 29, 1), (24 * 60 + 30, 2)):
        assert price.rate({"input": 10}, us(DAY + timedelta(minutes=minutes))) == 10 * share * 10**6


def test_a_groups_own_prices_have_no_tiers_and_its_factor_has():
    book = PriceBook(
        name="public",
        effective_us=0,
        currency="USD",
        models={"m": {"input": "2"}},
        groups={"own": GroupRule("1", {"m": {"input": "3"}}), "half": GroupRule("0.5")},
        tiers={"m": [PriceTier({"input": "10"}, service="flex")]},
    )
    rates = {group: book.price("m", group).rate({"input": 1}, 0, "flex") for group in ("", "own", "half")}
    assert rates == {"": 10 * 10**6, "own": 3 * 10**6, "half": 5 * 10**6}


def test_books_without_tiers_keep_their_address():
    plain = made({"input": "2"})
    assert b"tiers" not in plain.canonical()
    assert made({"input": "2"}, "1", []).digest == plain.digest
    tiered = [{"service": "flex", "multiply": "0.50"}]
    same = [{"service": "flex", "multiply": "0.5", "context_over": None}]
    assert made({"input": "2"}, "1", tiered).digest == made({"input": "2"}, "1", same).digest != plain.digest


@pytest.mark.parametrize(
    ("tier", "said"),
    [
        ({"multiply": "2"}, "condition"),
        ({"service": "flex"}, "prices or multiply"),
        ({"service": "Flex!", "multiply": "2"}, "word"),
        ({"hours": "9:00-10:00", "multiply": "2"}, "times of the day"),
        ({"hours": "24:00-01:00", "multiply": "2"}, "times of the day"),
        ({"hours": "10:00-10:00", "multiply": "2"}, "different times"),
        ({"context_over": -1, "multiply": "2"}, "whole number"),
        ({"context_over": 1.5, "multiply": "2"}, "whole number"),
        ({"service": "flex", "multiply": 0.5}, "decimal string"),
        ({"service": "flex", "prices": {"input": 1.5}}, "decimal string"),
        ({"service": "flex", "prices": {"word": "1"}}, "unknown unit"),
    ],
)
def test_a_tier_that_cannot_be_used_is_named(tier, said):
    with pytest.raises(InvalidPrice, match=said) as refused:
        made({"input": "2"}, "1", [{"service": "other", "multiply": "3"}, tier])
    assert "book public, model 'm', tier 2" in str(refused.value)


def test_a_tier_that_an_earlier_one_hides_is_refused():
    wide, narrow = {"context_over": 10, "multiply": "2"}, {"context_over": 20, "multiply": "3"}
    made({"input": "2"}, "1", [narrow, wide])
    with pytest.raises(InvalidPrice, match="tier 1 takes all"):
        made({"input": "2"}, "1", [wide, narrow])
    with pytest.raises(InvalidPrice, match="no price"):
        PriceBook(
            name="b", effective_us=0, currency="USD", models={"m": {"input": "1"}}, tiers={"n": [PriceTier(**wide)]}
        )


def test_what_prices_are_for():
    assert [per(unit) for unit in ("character", "video_output", "video:720p", "search", "tool_call:web")] == [
        10**6, 10**6, 1, 1, 1,
    ]  # fmt: skip


@given(base=prices, factor=multiples, found=tiers, usage=usages, moment=moments, service=st.sampled_from(["", "flex"]))
@fast
def test_times_is_the_factor_of_a_group(base, factor, found, usage, moment, service):
    """Rounded once: not the rounded price times the factor."""
    try:
        book = made(base, factor, found)
        expected = book.price("m", "g").rate(usage, us(moment), service)
    except (InvalidPrice, Unpriced, AmountOutOfRange):
        return
    scaled = book.price("m", "").times(parse_decimal(factor))
    assert scaled.rate(usage, us(moment), service) == expected
    assert sum(line.amount_pico for line in scaled.lines(usage, us(moment), service)) == expected
