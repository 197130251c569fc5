"""What a view's file says, what callers may ask of it, and how rows become JSON."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tollgate_billing.domain.table import row_json
from tollgate_billing.domain.usage_view import read_view, values_of
from tollgate_billing.errors import InvalidQuery

pytestmark = pytest.mark.unit

TEXT = """-- What was spent?
-- for operators
-- reads: usage_1h
-- parameter organization =: id of an organization
-- parameter since = month: the first moment
-- parameter until = now: the moment after the last
-- parameter top = 20: how many
-- parameter budget = 0: what may be spent
-- parameter channel: name of the channel
-- column model: the model
-- column cost (operators) [currency]: what it cost
SELECT {organization:String}, {since:DateTime('UTC')}, {until:DateTime('UTC')}, {top:UInt32},
    {budget:Decimal(38, 12)}, {channel:String}
"""
NOW_US = 1_764_000_000_000_000


def test_a_file_says_all_about_a_view():
    view = read_view("spend_v3", TEXT)
    assert (view.name, view.version, view.full_name, view.question) == ("spend", 3, "spend_v3", "What was spent?")
    assert (view.operators_only, view.reads) == (True, "usage_1h")
    assert [(one.name, one.default) for one in view.parameters][-2:] == [("budget", "0"), ("channel", None)]
    assert [(one.name, one.unit, one.operators_only) for one in view.columns] == [
        ("model", "", False),
        ("cost", "currency", True),
    ]
    assert view.sql.startswith("SELECT")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spend", TEXT),
        ("spend_v1", TEXT.replace("-- reads: usage_1h", "-- weather: fine")),
        ("spend_v1", TEXT.replace("-- parameter channel: name of the channel\n", "")),
    ],
)
def test_a_file_that_says_something_else_is_refused(name, text):
    with pytest.raises(ValueError, match="spend"):
        read_view(name, text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("2025-11-01 00:00:00", "2025-11-24 16:00:00")),
        ({"since": "last-month", "until": "month"}, ("2025-10-01 00:00:00", "2025-11-01 00:00:00")),
        ({"since": "24h"}, ("2025-11-23 16:00:00", "2025-11-24 16:00:00")),
        ({"since": "7d", "until": "today"}, ("2025-11-17 16:00:00", "2025-11-24 00:00:00")),
        ({"since": "2025-11-01T08:00:00+08:00"}, ("2025-11-01 00:00:00", "2025-11-24 16:00:00")),
        ({"since": "2025-11-02", "until": "2025-11-03T00:00:00Z"}, ("2025-11-02 00:00:00", "2025-11-03 00:00:00")),
    ],
)
def test_times_are_taken_in_many_forms(given, expected):
    values = values_of(read_view("spend_v1", TEXT), given | {"channel": "c"}, NOW_US)
    assert (values["since"], values["until"]) == expected
    assert (values["organization"], values["top"], values["budget"]) == ("", 20, "0")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "needs 'channel'"),
        ({"channel": "c" * 201}, "more than 200"),
        ({"channel": "c", "color": "red"}, "not 'color'"),
        ({"channel": "c", "since": "yesterday"}, "'since' is a time such as"),
        ({"channel": "c", "since": "0001-01-01"}, "'since' is a time such as"),
        ({"channel": "c", "since": "2025-11-02", "until": "2025-11-01"}, "after 'until'"),
        ({"channel": "c", "since": "9999d"}, None),
        ({"channel": "c", "top": "0"}, "from 1 to 10000"),
        ({"channel": "c", "top": "10001"}, "from 1 to 10000"),
        ({"channel": "c", "top": "1e3"}, "whole number"),
        ({"channel": "c", "top": "-1"}, "whole number"),
        ({"channel": "c", "top": "٣"}, "whole number"),
        ({"channel": "c", "budget": "lots"}, "an amount such as"),
        ({"channel": "c", "budget": "NaN"}, "an amount such as"),
        ({"channel": "c", "budget": "-1"}, "an amount such as"),
        ({"channel": "c", "budget": "1e30"}, "an amount such as"),
        ({"channel": "c", "budget": "0.0000000000001"}, "an amount such as"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(given, says):
    view = read_view("spend_v1", TEXT)
    if says is None:
        assert values_of(view, given, NOW_US)["since"] < values_of(view, given, NOW_US)["until"]
        return
    with pytest.raises(InvalidQuery, match=says):
        values_of(view, given, NOW_US)


def test_a_row_becomes_json_without_a_loss():
    row = [
        Decimal("1E-12"), 2**63, None, True, "é", 0.5, float("nan"), b"\x01", date(2025, 11, 1),
        datetime(2025, 11, 1, 8, tzinfo=UTC), {"a": Decimal("2.50")}, [1, Decimal(3)],
    ]  # fmt: skip
    assert json.loads(row_json(row)) == [
        "0.000000000001", 2**63, None, True, "é", 0.5, None, "01", "2025-11-01",
        "2025-11-01T08:00:00+00:00", {"a": "2.50"}, [1, "3"],
    ]  # fmt: skip
