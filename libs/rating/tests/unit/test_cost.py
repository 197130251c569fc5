"""What an account pays: its own prices, a factor, or the list's."""

import pytest

from tollgate_rating import PICO, ChannelCost, ExchangeRate, PriceBook, Unpriced, first_rated

pytestmark = pytest.mark.unit


def price(models=None, **units):
    return PriceBook(name="public", effective_us=0, currency="USD", models={"m": units}).price("m", "")


LISTED = price(input="2", output="8")


def test_an_account_pays_its_own_price_a_factor_or_the_list():
    own = price(input="1")
    assert ChannelCost({"m": own}, PICO // 2).price("m", LISTED).rate({"input": 10**6}) == PICO
    assert ChannelCost({"m": own}, PICO).price("m", None) is own
    assert ChannelCost({}, PICO // 2).price("m", LISTED).rate({"output": 10**6}) == 4 * PICO
    assert ChannelCost({"n": own}, PICO).price("m", LISTED) is LISTED
    assert ChannelCost({}, PICO).price("m", None) is None


def test_list_prices_that_are_made_anew_are_not_kept_for_ever():
    cost = ChannelCost({}, PICO // 2)
    for _ in range(3_000):
        assert cost.price("m", price(input="2")).rate({"input": 10**6}) == PICO
    assert len(cost._found) <= 1_000


def test_the_first_price_that_knows_all_units_counts():
    own, units = price(input="1"), {"input": 10**6, "output": 10**6}
    assert first_rated((own, LISTED), {"input": 10**6}, 0, "") == (PICO, own)
    assert first_rated((own, None, LISTED), units, 0, "") == (10 * PICO, LISTED)
    with pytest.raises(Unpriced, match="output"):
        first_rated((own, None), units, 0, "")
    with pytest.raises(Unpriced):
        first_rated((None,), units, 0, "")


def test_a_cost_that_is_beyond_an_amount_before_its_conversion_is_passed_over():
    """Where it is said, it would take the charge beside it away."""
    back = ExchangeRate(base="USD", quote="CNY", rate="0.01", effective_us=0)
    dear = price(request="9300").converted(back)
    listed = price(request="3").converted(back)
    assert first_rated((dear, listed), {"request": 1}, 0, "") == (3 * PICO // 100, listed)
