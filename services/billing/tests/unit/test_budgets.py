"""Windows by computation, thresholds, what holds, and when it opens; all on given times."""

from datetime import UTC, datetime

import pytest

from tollgate_billing.domain.budgets import (
    DAY_US,
    HOUR_US,
    Budget,
    Threshold,
    evaluate,
    holding,
    opens_at,
    window_at,
)
from tollgate_billing.domain.control_checks import USUAL_THRESHOLDS, check_budget
from tollgate_billing.domain.forecast import Forecast, Pace, forecast, of_budget
from tollgate_billing.errors import InvalidControl
from tollgate_billing.use_cases.watch_budgets import newly_reached

HALF, DOWN, BLOCK = Threshold(50, "notify"), Threshold(80, "downgrade", "small"), Threshold(100, "block")


def at(text):
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def said(us):
    return datetime.fromtimestamp(us // 1_000_000, UTC).isoformat()


def budget(period="month", zone="UTC", days=0, amount=100, thresholds=(HALF, DOWN, BLOCK), **more):
    return Budget("bud_1", "org", "b", "organization", "", period, days, zone, amount, "USD", thresholds, **more)


WINDOWS = [
    ("day", "UTC", "2026-03-08T12:00:00+00:00", "2026-03-08T00:00:00+00:00", "2026-03-09T00:00:00+00:00"),
    # 23 and 25 hours: the clocks of New York change at two.
    ("day", "America/New_York", "2026-03-08T12:00:00+00:00", "2026-03-08T05:00:00+00:00", "2026-03-09T04:00:00+00:00"),
    ("day", "America/New_York", "2026-11-01T12:00:00+00:00", "2026-11-01T04:00:00+00:00", "2026-11-02T05:00:00+00:00"),
    # In Cairo there is no midnight when summer begins: the day begins at one.
    ("day", "Africa/Cairo", "2026-04-24T10:00:00+00:00", "2026-04-23T22:00:00+00:00", "2026-04-24T21:00:00+00:00"),
    # In Havana midnight comes twice when summer ends; the day begins with the first.
    ("day", "America/Havana", "2026-11-01T12:00:00+00:00", "2026-11-01T04:00:00+00:00", "2026-11-02T05:00:00+00:00"),
    ("day", "Asia/Kolkata", "2026-01-01T18:30:00+00:00", "2026-01-01T18:30:00+00:00", "2026-01-02T18:30:00+00:00"),
    ("week", "Asia/Shanghai", "2026-11-29T15:59:59+00:00", "2026-11-22T16:00:00+00:00", "2026-11-29T16:00:00+00:00"),
    ("week", "Asia/Shanghai", "2026-11-29T16:00:00+00:00", "2026-11-29T16:00:00+00:00", "2026-12-06T16:00:00+00:00"),
    ("month", "Europe/Berlin", "2026-03-31T12:00:00+00:00", "2026-02-28T23:00:00+00:00", "2026-03-31T22:00:00+00:00"),
    ("month", "UTC", "2028-02-29T12:00:00+00:00", "2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00"),
    ("month", "UTC", "2026-12-31T23:59:59+00:00", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
]


@pytest.mark.parametrize(("period", "zone", "now", "begin", "end"), WINDOWS)
def test_a_window_begins_and_ends_with_days_of_its_time_zone(period, zone, now, begin, end):
    window = window_at(budget(period, zone), at(now))
    assert (said(window.begin_us), said(window.end_us)) == (begin, end)
    # The moment of its end is in the next one, and the one before is not.
    assert window_at(budget(period, zone), window.end_us).begin_us == window.end_us
    assert window_at(budget(period, zone), window.end_us - 1) == window


@pytest.mark.parametrize("zone", ["America/New_York", "Africa/Cairo", "America/Havana", "Asia/Kolkata", "Pacific/Apia"])
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_windows_follow_one_another_without_gap_for_years(period, zone):
    now = at("2011-12-01T00:00:00+00:00")
    window = window_at(budget(period, zone), now)
    names = set()
    for _ in range(1_200 if period == "day" else 200):
        following = window_at(budget(period, zone), window.end_us)
        assert window.begin_us <= now < window.end_us == following.begin_us
        assert following.name not in names
        names.add(following.name)
        window, now = following, following.begin_us


def test_total_has_no_end_and_rolling_goes_back_whole_days():
    now = at("2026-11-29T07:00:00+00:00")
    assert (window_at(budget("total"), now).begin_us, window_at(budget("total"), now).end_us) == (0, 0)
    window = window_at(budget("rolling", days=30), now)
    assert (now - window.begin_us, window.end_us, window.name) == (30 * DAY_US, 0, "2026-11-29")


@pytest.mark.parametrize(
    ("spent", "percent", "action", "model"),
    [
        (49, 0, "", ""),
        (50, 50, "", ""),
        (79, 50, "", ""),
        (80, 80, "downgrade", "small"),
        (99, 80, "downgrade", "small"),
        (100, 100, "block", ""),
        (10**30, 100, "block", ""),
        (-5, 0, "", ""),
    ],
)
def test_the_strictest_threshold_that_is_reached_holds(spent, percent, action, model):
    month = budget()
    window = window_at(month, at("2026-11-29T07:00:00+00:00"))
    state = evaluate(month, window, spent, 7)
    assert (state.reached_percent, state.action, state.model) == (percent, action, model)
    assert state.opens_us == (window.end_us if action else 0)


def test_a_share_is_compared_exactly():
    odd = budget(amount=3 * 10**12 + 1, thresholds=(Threshold(33, "block"),))
    least = -(-odd.amount_pico * 33 // 100)
    window = window_at(odd, 0)
    assert evaluate(odd, window, least, 0).action == "block"
    assert evaluate(odd, window, least - 1, 0).action == ""


def test_a_threshold_is_new_once_in_a_window_and_anew_in_the_next():
    month = budget()
    first, second = (window_at(month, at(f"2026-{name}-02T00:00:00+00:00")) for name in ("10", "11"))
    little, much = evaluate(month, first, 60, 1), evaluate(month, first, 85, 2)
    assert newly_reached(month, None, little) == (HALF,)
    assert newly_reached(month, little, little) == ()
    assert newly_reached(month, little, much) == (DOWN,)
    assert newly_reached(month, None, much) == (HALF, DOWN)
    assert newly_reached(month, much, evaluate(month, second, 50, 3)) == (HALF,)


def test_a_rolling_budget_is_told_again_only_after_it_was_below():
    rolling = budget("rolling", days=7)
    days = [window_at(rolling, at(f"2026-11-0{day}T00:00:00+00:00")) for day in (1, 2, 3)]
    states = [evaluate(rolling, window, spent, 1) for window, spent in zip(days, (60, 60, 40), strict=True)]
    assert newly_reached(rolling, states[0], states[1]) == ()
    assert newly_reached(rolling, states[2], states[1]) == (HALF,)


def test_a_rolling_budget_opens_when_enough_hours_have_left_it():
    rolling = budget("rolling", days=7)
    begin = at("2026-11-01T00:00:00+00:00")
    hours = [(begin, 10), (begin + 5 * HOUR_US, 15), (begin + 9 * HOUR_US, 85)]
    assert opens_at(rolling, BLOCK, 110, hours) == begin + 6 * HOUR_US + 7 * DAY_US
    assert opens_at(rolling, DOWN, 110, hours) == begin + 10 * HOUR_US + 7 * DAY_US
    # An adjustment may leave more than the hours have; then nothing lets go by itself.
    assert opens_at(rolling, BLOCK, 10**6, hours) == 0


def test_a_block_comes_before_a_downgrade_and_the_later_downgrade_before_the_earlier():
    deeper = Threshold(90, "downgrade", "smallest")
    assert holding([HALF]) is None
    assert holding([HALF, DOWN, deeper]) == deeper
    assert holding([BLOCK, deeper]) == BLOCK


def test_a_forecast_is_the_pace_of_the_last_day():
    now = at("2026-11-29T12:00:00+00:00")
    steady = Pace(240, now - DAY_US)
    assert forecast(steady, 480, now) == Forecast(240, now + 2 * DAY_US, 24)
    # Two hours old: 20 in them are 240 a day, not 20.
    assert forecast(Pace(20, now - 2 * HOUR_US + 1), 480, now) == Forecast(240, now + 2 * DAY_US, 2)
    # Minutes old: as if it had been an hour.
    assert forecast(Pace(20, now - 60_000_000), 480, now) == Forecast(480, now + DAY_US, 1)
    assert forecast(Pace(0, 0), 480, now) == Forecast(0, 0, 1)
    assert forecast(steady, 0, now).runs_out_us == forecast(steady, -5, now).runs_out_us == now
    assert forecast(Pace(1, now - DAY_US), 10**18, now).runs_out_us == 0


def test_a_budget_that_outlasts_its_window_is_not_used_up_in_it():
    month, now = budget(amount=1000), at("2026-11-29T12:00:00+00:00")
    window = window_at(month, now)
    assert of_budget(month, window, 0, Pace(500, now - DAY_US), now).runs_out_us == 0
    assert (
        of_budget(month, window, 800, Pace(500, now - DAY_US), now).runs_out_us == now + 9 * HOUR_US + 36 * 60 * 10**6
    )


def test_a_budget_is_kept_with_its_thresholds_in_order():
    assert check_budget(budget(thresholds=())).thresholds == USUAL_THRESHOLDS
    mixed = (BLOCK, Threshold(100, "notify"), HALF)
    assert check_budget(budget(thresholds=mixed)).thresholds == (HALF, Threshold(100, "notify"), BLOCK)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "printable"),
        ({"name": "a\nb"}, "printable"),
        ({"scope": "person"}, "scope is one of"),
        ({"scope": "project"}, "which project"),
        ({"scope_id": "x"}, "no scope_id"),
        ({"scope": "tag", "scope_id": "a,b"}, "one word"),
        ({"period": "year"}, "period is one of"),
        ({"period": "rolling"}, "days from 1"),
        ({"days": 5}, "rolling"),
        ({"time_zone": "Nowhere/At_All"}, "IANA"),
        ({"time_zone": "/etc/localtime"}, "IANA"),
        ({"amount_pico": 0}, "above 0"),
        ({"thresholds": (Threshold(0, "block"),)}, "from 1"),
        ({"thresholds": (Threshold(50, "explode"),)}, "action is one of"),
        ({"thresholds": (Threshold(50, "downgrade"),)}, "names the model"),
        ({"thresholds": (Threshold(50, "block", "m"),)}, "only a downgrade"),
        ({"thresholds": (BLOCK, BLOCK)}, "once"),
    ],
)
def test_what_cannot_be_a_budget_is_refused(change, said):
    import dataclasses

    with pytest.raises(InvalidControl, match=said):
        check_budget(dataclasses.replace(budget(), **change))
