"""What looks wrong in the use of a key, a project or a model, by statistics that can be told in a sentence.

A key's last whole hour is compared with the hours of the two weeks before it in which it was used, and what it spent
also with the same hour of the week in the four weeks before: a batch that runs each night is none, and the same load at
another hour is. A key with less than a day of such hours, or that is younger than three days, has no usual yet: nothing
is said of it. One request that is sent again and again is told of any key: programs run in a loop on their first day.

A project and a model of an organization are judged as keys are, in what they spend and what fails: many keys that rise
a little are one rise. A rise is told once, of the narrowest: what a key is told of is not looked at in its project, and
what a project is told of not in its models.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from statistics import median_low
from typing import Any, Final

from tollgate_billing.domain.budgets import DAY_US, HOUR_US

SPEND, ERRORS, NEW_MODEL = "spend", "errors", "new_model"
NEW_ADDRESS, REPEATED_PROMPT = "new_address", "repeated_prompt"
# What is looked at in a project and a model as well.
_WIDE: Final = (SPEND, ERRORS)
BASELINE_US: Final = 14 * DAY_US
_WEEK_US: Final = 7 * DAY_US
_WEEKS: Final = 4
# The hour before that of four weeks ago: what runs by a clock may be late, and clocks are put forward and back.
SPEND_BASELINE_US: Final = _WEEKS * _WEEK_US + HOUR_US
_FEWEST_HOURS: Final = 24
_YOUNGEST_US: Final = 3 * DAY_US
# A new model means something only where the key has kept to its models for a while.
_SETTLED_US: Final = 7 * DAY_US
_TIMES_USUAL: Final = 4
_FEWEST_REQUESTS: Final = 20
_FEWEST_BEFORE: Final = 200
_LOWEST_RATE_PERCENT: Final = 20
_DEVIATIONS: Final = 5
_MICRO: Final = 1_000_000
# Who comes from more networks than these, such as an app on telephones, comes from a new one every day.
_MOST_NETWORKS: Final = 10
FEWEST_REPEATS: Final = 50


@dataclass(frozen=True, slots=True)
class KeyNetwork:
    """A network that a key was used from, and when first within the baseline."""

    organization_id: str
    project_id: str
    api_key_id: str
    network: str
    first_us: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """How often a key sent one request in the hour, what that cost in pico-units, and the most in an hour before."""

    organization_id: str
    project_id: str
    api_key_id: str
    prompt_hash: int
    requests: int
    charge_pico: int
    currency: str
    most_before: int


@dataclass(frozen=True, slots=True)
class KeyHour:
    """What a key used of a model in an hour; money in pico-units. Without a key, what a project used of it."""

    organization_id: str
    project_id: str
    api_key_id: str
    model: str
    hour_us: int
    requests: int
    errors: int
    charge_pico: int
    currency: str


@dataclass(frozen=True, slots=True)
class Anomaly:
    """`numbers` are what it was judged by; the words are made of them (`notices.py`).

    Of a project, it names no key; of a model, neither key nor project, and the model is its `subject`.
    """

    id: str
    organization_id: str
    project_id: str
    api_key_id: str
    kind: str
    subject: str
    numbers: Mapping[str, Any]
    hour_us: int
    found_us: int = 0


@dataclass(slots=True)
class _Hour:
    requests: int = 0
    errors: int = 0
    charge_pico: int = 0


def find(rows: Iterable[KeyHour], hour_us: int) -> list[Anomaly]:
    """Returns what is unusual in the hour that begins at `hour_us`; rows of other hours are the baseline."""
    keys = _grouped(rows, lambda row: (row.organization_id, row.project_id, row.api_key_id))
    return [one for of_key in keys for one in _of_key(of_key, hour_us)]


def find_wide(
    projects: Iterable[KeyHour], keys: Iterable[KeyHour], told: Iterable[Anomaly], hour_us: int
) -> list[Anomaly]:
    """Returns what is unusual of projects and of models; `told` is what `find` says of `keys`, which are part of it."""
    named = {(one.organization_id, one.api_key_id) for one in told if one.kind in _WIDE}
    rest = _less(projects, [row for row in keys if (row.organization_id, row.api_key_id) in named])
    found = []
    for of_project in _grouped(rest, lambda row: (row.organization_id, row.project_id)):
        found += [one for one in _of_key(of_project, hour_us) if one.kind in _WIDE]
    named = {(one.organization_id, one.project_id) for one in found}
    rest = [replace(row, project_id="") for row in rest if (row.organization_id, row.project_id) not in named]
    for of_model in _grouped(rest, lambda row: (row.organization_id, row.model)):
        of_it = [one for one in _of_key(of_model, hour_us) if one.kind in _WIDE]
        found += [
            replace(one, id=_id(one.kind, one.organization_id, of_model[0].model, hour_us), subject=of_model[0].model)
            for one in of_it
        ]
    return found


def _grouped(rows: Iterable[KeyHour], by: Callable[[KeyHour], tuple[str, ...]]) -> list[list[KeyHour]]:
    groups: dict[tuple[str, ...], list[KeyHour]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return [group for _, group in sorted(groups.items())]


def _less(projects: Iterable[KeyHour], keys: Iterable[KeyHour]) -> list[KeyHour]:
    """Returns what projects used without what these of their keys did."""
    taken: dict[tuple[str, str, str, int], _Hour] = {}
    for row in keys:
        _add(taken.setdefault(_place(row), _Hour()), row)
    rest = []
    for row in projects:
        less = taken.get(_place(row), _Hour())
        if row.requests > less.requests:
            rest.append(
                replace(
                    row,
                    requests=row.requests - less.requests,
                    errors=row.errors - less.errors,
                    charge_pico=row.charge_pico - less.charge_pico,
                )
            )
    return rest


def _place(row: KeyHour) -> tuple[str, str, str, int]:
    return row.organization_id, row.project_id, row.model, row.hour_us


def _of_key(rows: Sequence[KeyHour], hour_us: int) -> list[Anomaly]:
    now = _Hour()
    before: dict[int, _Hour] = {}
    earlier: dict[int, int] = {}
    models_now: set[str] = set()
    models_before: set[str] = set()
    for row in rows:
        if row.hour_us == hour_us:
            _add(now, row)
            if row.requests > row.errors:
                models_now.add(row.model)
            continue
        if row.hour_us < hour_us:
            earlier[row.hour_us] = earlier.get(row.hour_us, 0) + row.charge_pico
        if hour_us - BASELINE_US <= row.hour_us < hour_us:
            _add(before.setdefault(row.hour_us, _Hour()), row)
            models_before.add(row.model)
    if not now.requests or len(before) < _FEWEST_HOURS or min(before) > hour_us - _YOUNGEST_US:
        return []
    found = [
        _spend(now, list(before.values()), _at_this_hour(earlier, hour_us), rows[0].currency),
        _errors(now, list(before.values())),
    ]
    if min(before) <= hour_us - _SETTLED_US:
        found += [
            (NEW_MODEL, model, {"models": sorted(models_before)[:10]}) for model in sorted(models_now - models_before)
        ]
    return [_anomaly(rows[0], one, hour_us) for one in found if one is not None]


def find_addresses(rows: Iterable[KeyNetwork], hour_us: int) -> list[Anomaly]:
    """Returns networks that a key was first used from in the hour, where it kept to a few of them for a week."""
    keys: dict[tuple[str, str], list[KeyNetwork]] = {}
    for row in rows:
        keys.setdefault((row.organization_id, row.api_key_id), []).append(row)
    found = []
    for _, of_key in sorted(keys.items()):
        before = sorted(row.network for row in of_key if row.first_us < hour_us)
        if not 0 < len(before) <= _MOST_NETWORKS or min(row.first_us for row in of_key) > hour_us - _SETTLED_US:
            continue
        fresh = sorted((row for row in of_key if row.first_us >= hour_us), key=lambda row: row.network)
        found += [_anomaly(row, (NEW_ADDRESS, row.network, {"networks": before}), hour_us) for row in fresh]
    return found


def find_repeats(rows: Iterable[Repeat], hour_us: int) -> list[Anomaly]:
    """Returns requests that a key sent often in the hour, and more than four times as often as in any hour before."""
    return [
        _anomaly(
            row,
            (
                REPEATED_PROMPT,
                f"{row.prompt_hash:016x}",
                {
                    "requests": row.requests,
                    "most_before": row.most_before,
                    "spent_pico": row.charge_pico,
                    "currency": row.currency,
                },
            ),
            hour_us,
        )
        for row in sorted(rows, key=lambda row: (row.organization_id, row.api_key_id, row.prompt_hash))
        if row.requests >= FEWEST_REPEATS and row.requests > _TIMES_USUAL * row.most_before
    ]


def _anomaly(row: "KeyHour | KeyNetwork | Repeat", found: tuple[str, str, dict[str, Any]], hour_us: int) -> Anomaly:
    kind, subject, numbers = found
    return Anomaly(
        id=_id(kind, row.api_key_id or row.project_id, subject, hour_us),
        organization_id=row.organization_id,
        project_id=row.project_id,
        api_key_id=row.api_key_id,
        kind=kind,
        subject=subject,
        numbers=numbers,
        hour_us=hour_us,
    )


def _id(kind: str, whose: str, subject: str, hour_us: int) -> str:
    return f"{kind}/{whose}/{subject}/{hour_us // DAY_US}"


def _add(hour: _Hour, row: KeyHour) -> None:
    hour.requests += row.requests
    hour.errors += row.errors
    hour.charge_pico += row.charge_pico


_Found = tuple[str, str, dict[str, Any]] | None


def _at_this_hour(earlier: Mapping[int, int], hour_us: int) -> list[int]:
    """Returns the most that each of the weeks before spent at this hour of the week or beside it, in pico-units.

    Only weeks that the key's use goes back to: of a key in its first week nothing is known of this hour.
    """
    weeks = min(_WEEKS, (hour_us - min(earlier)) // _WEEK_US) if earlier else 0
    return [
        max(earlier.get(hour_us - week * _WEEK_US + aside * HOUR_US, 0) for aside in (-1, 0, 1))
        for week in range(1, weeks + 1)
    ]


def _spend(now: _Hour, before: Sequence[_Hour], weekly: Sequence[int], currency: str) -> _Found:
    """More than four times the median hour, and half more than the dearest one at this hour of the week.

    In a key's first week it is the dearest of all hours.
    """
    usual = median_low([one.charge_pico for one in before])
    most = max(weekly) if weekly else max(one.charge_pico for one in before)
    if now.charge_pico <= _TIMES_USUAL * usual or now.charge_pico * 2 <= most * 3:
        return None
    return (
        SPEND,
        "",
        {
            "spent_pico": now.charge_pico,
            "usual_pico": usual,
            "most_pico": most,
            "hours": len(before),
            "weeks": len(weekly),
            "currency": currency,
        },
    )


def _errors(now: _Hour, before: Sequence[_Hour]) -> _Found:
    """At least a fifth, and more than five standard deviations of a share that is as before."""
    requests, errors = sum(one.requests for one in before), sum(one.errors for one in before)
    if now.requests < _FEWEST_REQUESTS or requests < _FEWEST_BEFORE or now.requests <= 0:
        return None
    rate = now.errors * _MICRO // now.requests
    # A share of nothing has no deviation: one in a hundred is the least that is taken for usual.
    usual = max(_MICRO // 100, errors * _MICRO // requests)
    deviation = isqrt(usual * max(0, _MICRO - usual) // now.requests)
    if rate * 100 < _LOWEST_RATE_PERCENT * _MICRO or rate <= usual + _DEVIATIONS * deviation:
        return None
    return (
        ERRORS,
        "",
        {
            "requests": now.requests,
            "errors": now.errors,
            "usual_percent": errors * 100 // requests,
            "hours": len(before),
        },
    )
