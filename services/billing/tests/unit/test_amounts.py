"""Pico-units and decimals are the same numbers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate_billing.domain.intent import Intent, parse_intent
from tollgate_billing.domain.rows import to_decimal, to_pico

pytestmark = pytest.mark.unit


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_amount_survives_its_way_to_rest_and_back(pico):
    assert to_pico(to_decimal(pico)) == pico
    assert to_decimal(pico) == Decimal(pico).scaleb(-12)


@pytest.mark.parametrize(("text", "pico"), [("0", 0), ("1", 10**12), ("1.5E+3", 15 * 10**14), ("-0.000000000001", -1)])
def test_decimals_of_any_form_are_read(text, pico):
    assert to_pico(Decimal(text)) == pico


@pytest.mark.parametrize("text", ["0.0000000000001", "NaN", "Infinity"])
def test_what_has_more_than_twelve_places_is_refused(text):
    with pytest.raises(ValueError):
        to_pico(Decimal(text))


def test_an_intent_comes_back_from_its_text():
    intent = Intent(5, 9, 4)
    assert parse_intent(intent.encode()) == intent
    assert parse_intent("") is None
    with pytest.raises(ValueError, match="unknown commit metadata"):
        parse_intent("i2;1")
