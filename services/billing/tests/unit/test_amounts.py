"""Pico-units and decimals are the same numbers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate_billing.domain.intent import Intent, encode_intents, parse_intents
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


def test_intents_come_back_from_their_text():
    intents = [Intent(5, 9, 4), Intent(11, 12, 1)]
    assert parse_intents(encode_intents(intents)) == intents
    assert parse_intents(encode_intents(intents[:1])) == intents[:1]
    assert parse_intents(encode_intents([])) == []


def test_a_single_intent_is_written_as_earlier_releases_read_it():
    assert encode_intents([Intent(5, 9, 4)]) == "i1;5;9;4"


@pytest.mark.parametrize("text", ["i2;1", "i2;5;9;4", "i1;5;9;4;", "i1;5;9;4,", "i1;a;9;4"])
def test_metadata_of_something_else_is_refused(text):
    with pytest.raises(ValueError):
        parse_intents(text)
