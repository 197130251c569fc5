"""What is asked of a rollup at once: whole slices, and few rows together."""

import pytest

from tollgate_billing.domain.rollups import DAY_US, HOUR_US, ROLLUPS, slices_of

pytestmark = pytest.mark.unit

DAY = 100 * DAY_US
MINUTE, HOUR = ROLLUPS["minute"], ROLLUPS["hour"]


def hours(*numbers):
    return [DAY + number * HOUR_US for number in numbers]


def asked(rollup, numbers, **rows):
    """Returns (first, end) in hours; `rows` are those of each hour named hN."""
    found = slices_of(rollup, hours(*numbers), {DAY + int(name[1:]) * HOUR_US: count for name, count in rows.items()})
    return [((first - DAY) // HOUR_US, (end - DAY) // HOUR_US) for first, end in found]


def test_hours_that_follow_each_other_are_asked_together_while_their_rows_are_few():
    assert asked(MINUTE, range(50)) == [(0, 50)]
    assert asked(MINUTE, (2, 0, 1), h0=300_000, h1=200_000, h2=1) == [(0, 2), (2, 3)]
    assert asked(MINUTE, range(4), h0=900_000, h2=900_000) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert asked(MINUTE, ()) == []


def test_hours_between_are_asked_too_where_their_rows_are_known_to_be_few():
    assert asked(MINUTE, (0, 1, 3)) == [(0, 4)]
    assert asked(MINUTE, (0, 1, 3), h2=600_000) == [(0, 2), (3, 4)]
    assert asked(MINUTE, (0, 1, 47)) == [(0, 48)]
    # Of a day of which nothing is asked, nobody knows how many there are.
    assert asked(MINUTE, (0, 1, 48)) == [(0, 2), (48, 49)]


@pytest.mark.parametrize("count", [1, 400_000])
def test_no_day_of_a_rollup_by_hour_is_asked_in_two_parts(count):
    rows = {f"h{number}": count for number in range(72)}
    found = asked(HOUR, [0, 5, 20, *range(24, 72)], **rows)
    assert found == ([(0, 72)] if count == 1 else [(0, 21), (24, 48), (48, 72)])
