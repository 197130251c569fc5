"""What is unusual of a key and what is not, on made-up weeks."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate_billing.domain.anomalies import (
    KeyHour,
    KeyNetwork,
    Repeat,
    find,
    find_addresses,
    find_repeats,
    find_wide,
)
from tollgate_billing.domain.budgets import DAY_US, HOUR_US

NOW = 1_764_000_000_000_000 // HOUR_US * HOUR_US
WEEK_US = 7 * DAY_US


def hour(ago, charge=100, requests=50, errors=0, model="m", key="key_1"):
    return KeyHour("org", "proj", key, model, NOW - ago * HOUR_US, requests, errors, charge, "USD")


def weeks(hours=14 * 24, **more):
    return [hour(ago, **more) for ago in range(1, hours + 1)]


def kinds(rows):
    return [(one.kind, one.subject) for one in find(rows, NOW)]


def test_steady_use_is_not_unusual_and_a_jump_is():
    assert kinds([*weeks(), hour(0)]) == []
    assert kinds([*weeks(), hour(0, charge=400)]) == []
    (found,) = find([*weeks(), hour(0, charge=401)], NOW)
    assert (found.kind, found.api_key_id, found.project_id, found.hour_us) == ("spend", "key_1", "proj", NOW)
    numbers = {"spent_pico": 401, "usual_pico": 100, "most_pico": 100, "hours": 336, "weeks": 2, "currency": "USD"}
    assert found.numbers == numbers


def test_a_fresh_key_and_one_that_is_hardly_used_raise_no_alarm():
    loud = hour(0, charge=10**9, requests=100, errors=100, model="new")
    assert kinds([loud]) == []
    assert kinds([*weeks(23), loud]) == []
    # A day and more of use, but only since the day before yesterday.
    assert kinds([*weeks(2 * 24), loud]) == []
    # Old enough, but used in 23 hours only.
    assert kinds([*(hour(ago) for ago in range(14, 14 * 24, 14)), loud]) == []
    assert ("spend", "") in kinds([*weeks(4 * 24), loud])


def test_a_daily_peak_is_no_alarm():
    # Nine hours of work at a hundred times of what a night costs, weekends off.
    work = [hour(ago, charge=10_000 if ago % 24 < 9 and ago // 24 % 7 < 5 else 100) for ago in range(1, 14 * 24 + 1)]
    assert kinds([*work, hour(0, charge=10_000)]) == []
    assert kinds([*work, hour(0, charge=15_000)]) == []
    assert kinds([*work, hour(0, charge=15_001)]) == [("spend", "")]


BATCH = 5_000


def batches(ats, weeks=5):
    """Steady use for so many weeks, with a batch in the hours that `ats` says are so long ago."""
    return [hour(ago, charge=BATCH if ats(ago) else 100) for ago in range(1, weeks * 168 + 1)]


@pytest.mark.parametrize(
    ("ats", "spent", "alarm"),
    [
        # Each night at this hour.
        (lambda ago: ago % 24 == 0, BATCH, False),
        (lambda ago: ago % 24 == 0, BATCH * 3 // 2, False),
        (lambda ago: ago % 24 == 0, BATCH * 3 // 2 + 1, True),
        # An hour late, and an hour early, as when clocks are put back and forward.
        (lambda ago: ago % 24 == 1, BATCH, False),
        (lambda ago: ago % 24 == 23, BATCH, False),
        # Two hours away it is the same load at another hour.
        (lambda ago: ago % 24 == 2, BATCH, True),
        (lambda ago: ago % 24 == 22, BATCH, True),
        (lambda ago: ago % 24 == 12, BATCH, True),
        # Once a week, at this hour of the week; and at this hour of the day, on another one.
        (lambda ago: ago % 168 == 0, BATCH, False),
        (lambda ago: ago % 168 == 24, BATCH, True),
        (lambda ago: ago % 168 == 72, BATCH, True),
        # Every fourth week is remembered, every fifth is not.
        (lambda ago: ago == 4 * 168, BATCH, False),
        (lambda ago: ago == 5 * 168, BATCH, True),
    ],
)
def test_spending_is_held_against_the_same_hour_of_the_week(ats, spent, alarm):
    assert kinds([*batches(ats), hour(0, charge=spent)]) == [("spend", "")] * alarm


def test_in_its_first_week_a_key_is_held_against_all_of_its_hours():
    short = [hour(ago, charge=BATCH if ago % 24 == 12 else 100) for ago in range(1, 6 * 24)]
    assert kinds([*short, hour(0, charge=BATCH)]) == []
    assert kinds([*short, hour(0, charge=BATCH * 2)]) == [("spend", "")]


@given(
    hours=st.sets(st.integers(0, 167), min_size=1, max_size=40),
    load=st.integers(500, 10**9),
    now=st.integers(0, 167),
    weeks=st.integers(1, 4),
)
def test_what_a_week_does_again_is_no_alarm_and_anything_else_is(hours, load, now, weeks):
    """`hours` of a week are loud; the hour that is judged is as loud, wherever it lies."""
    start = NOW - NOW % WEEK_US
    rows = [
        KeyHour("org", "proj", "k", "m", start - (week * 168 - at) * HOUR_US, 5, 0, load if at in hours else 100, "USD")
        for week in range(1, weeks + 2)
        for at in range(168)
    ]
    at_us = start + now * HOUR_US
    rows += [
        KeyHour("org", "proj", "k", "m", start + at * HOUR_US, 5, 0, load if at in hours else 100, "USD")
        for at in range(now)
    ]
    rows.append(KeyHour("org", "proj", "k", "m", at_us, 5, 0, load, "USD"))
    usual = any((now + aside) % 168 in hours for aside in (-1, 0, 1))
    found = [one.kind for one in find(rows, at_us)]
    assert found == ([] if usual else ["spend"])


def test_noise_raises_no_alarm_in_thousands_of_hours():
    noise = random.Random(5)
    rows = [hour(ago, charge=noise.randint(50, 150), errors=noise.choice([0, 0, 0, 1])) for ago in range(1, 337)]
    alarms = 0
    for _ in range(3_000):
        alarms += len(kinds([*rows, hour(0, charge=noise.randint(50, 150), errors=noise.choice([0, 0, 1, 2]))]))
    assert alarms == 0


def test_errors_are_unusual_against_what_was_before():
    assert kinds([*weeks(), hour(0, errors=9)]) == []
    assert kinds([*weeks(), hour(0, errors=10)]) == [("errors", "")]
    # A key that always fails a third of its requests is as always.
    assert kinds([*weeks(errors=17), hour(0, errors=18)]) == []
    assert kinds([*weeks(errors=17), hour(0, errors=45)]) == [("errors", "")]
    # Nineteen requests say nothing.
    assert kinds([*weeks(), hour(0, requests=19, errors=19)]) == []


def test_a_new_model_is_told_of_a_key_that_kept_to_its_models():
    assert kinds([*weeks(), hour(0), hour(0, model="other")]) == [("new_model", "other")]
    # Three days old: it may still be trying.
    assert kinds([*weeks(4 * 24), hour(0), hour(0, model="other")]) == []
    # Nothing but refusals of it.
    assert kinds([*weeks(), hour(0), hour(0, model="other", requests=5, errors=5)]) == []
    assert kinds([*weeks(), hour(20, model="other"), hour(0, model="other")]) == []


def test_keys_are_judged_apart_and_named_by_day():
    rows = [*weeks(), *weeks(key="key_2", charge=10_000), hour(0, charge=500), hour(0, charge=500, key="key_2")]
    (found,) = find(rows, NOW)
    assert found.id == f"spend/key_1//{NOW // DAY_US}"


def wide(rows):
    """Returns what is told of keys, projects and models, by what names it."""
    projects = {}
    for row in rows:
        place = row.project_id, row.model, row.hour_us
        before = projects.get(place, replace(row, api_key_id="", requests=0, errors=0, charge_pico=0))
        sums = {name: getattr(before, name) + getattr(row, name) for name in ("requests", "errors", "charge_pico")}
        projects[place] = replace(before, **sums)
    told = find(rows, NOW)
    told += find_wide(projects.values(), rows, told, NOW)
    assert len({one.id for one in told}) == len(told)
    return [(one.kind, one.api_key_id, one.project_id, one.subject) for one in told]


def crowd(count, charge, of="proj", model="m", hours=range(1), **more):
    """Keys of a project that were never used before these hours."""
    return [
        replace(hour(ago, charge=charge, key=f"{of}_{number}", model=model, **more), project_id=of)
        for number in range(count)
        for ago in hours
    ]


def test_what_no_key_stands_out_in_is_told_of_the_project():
    # Forty new keys, none with a usual of its own: 40 * 10 beside the 100 of always.
    assert wide([*weeks(), hour(0), *crowd(30, 10)]) == []
    assert wide([*weeks(), hour(0), *crowd(31, 10)]) == [("spend", "", "proj", "")]
    # Ten old ones that each rise to what is just not unusual of one are not unusual together.
    old = [one for number in range(10) for one in weeks(key=f"old_{number}")]
    assert wide([*old, *(hour(0, charge=400, key=f"old_{number}") for number in range(10))]) == []
    failing = crowd(10, 0, errors=4, requests=10)
    assert wide([*weeks(), hour(0), *failing]) == [("errors", "", "proj", "")]


def test_a_rise_is_told_once_of_the_narrowest():
    # The key's rise is its project's and its model's, too.
    assert wide([*weeks(), hour(0, charge=5_000)]) == [("spend", "key_1", "proj", "")]
    # Beside it the project rises by keys that nothing is told of.
    old = [*weeks(), *(replace(one, api_key_id="calm") for one in weeks())]
    assert wide([*old, hour(0, charge=5_000), hour(0, key="calm"), *crowd(31, 10)]) == [
        ("spend", "key_1", "proj", ""),
        ("spend", "", "proj", ""),
    ]


def test_a_model_that_rises_in_new_projects_is_told_of_the_model():
    rise = [one for number in range(31) for one in crowd(1, 10, of=f"proj_{number}")]
    assert wide([*weeks(), hour(0), *rise]) == [("spend", "", "", "m")]
    # Another model's rise is another's; a project that is told of is not looked at again.
    old = [*weeks(), *weeks(key="key_2", model="n"), hour(0), hour(0, key="key_2", model="n")]
    other = [one for number in range(31) for one in crowd(1, 10, of=f"proj_{number}", model="n")]
    assert wide([*old, *other]) == [("spend", "", "", "n")]
    assert wide([*weeks(), hour(0), *crowd(31, 10)]) == [("spend", "", "proj", "")]


def network(name, ago, key="key_1"):
    return KeyNetwork("org", "proj", key, name, NOW - ago * HOUR_US)


def addresses(rows):
    return [(one.api_key_id, one.subject) for one in find_addresses(rows, NOW)]


def test_a_new_network_is_told_of_a_key_that_kept_to_a_few():
    home, fresh = network("10.0.0.0/24", 8 * 24), network("10.0.9.0/24", 0)
    assert addresses([home, fresh]) == [("key_1", "10.0.9.0/24")]
    assert find_addresses([home, fresh], NOW)[0].numbers == {"networks": ["10.0.0.0/24"]}
    # Used from there before, a key that is new, and one without any known network.
    assert addresses([home, network("10.0.9.0/24", 1)]) == []
    assert addresses([network("10.0.0.0/24", 6 * 24), fresh]) == []
    assert addresses([fresh]) == []
    # Who comes from everywhere has no usual; ten networks are still few.
    many = [network(f"10.1.{number}.0/24", 8 * 24) for number in range(11)]
    assert addresses([*many[:10], fresh]) == [("key_1", "10.0.9.0/24")]
    assert addresses([*many, fresh]) == []
    # Of another key it says nothing.
    assert addresses([home, network("10.0.9.0/24", 0, key="key_2")]) == []


def test_one_request_again_and_again_is_told_unless_it_always_is():
    def repeats(requests, before):
        return find_repeats([Repeat("org", "proj", "key_1", 255, requests, 7, "USD", before)], NOW)

    (found,) = repeats(50, 0)
    assert (found.kind, found.subject) == ("repeated_prompt", "00000000000000ff")
    assert found.numbers == {"requests": 50, "most_before": 0, "spent_pico": 7, "currency": "USD"}
    assert repeats(49, 0) == []
    # A check of health, twice a minute.
    assert repeats(120, 120) == []
    assert repeats(480, 120) == []
    assert len(repeats(481, 120)) == 1
