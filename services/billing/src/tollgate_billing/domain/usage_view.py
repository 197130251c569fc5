"""A question about usage: a SQL view with a version, its parameters and columns, as its file says them.

-- What did an organization spend, by model?          the question
-- for operators                                      only they may ask; left out where everyone may
-- reads: usage_1h
-- parameter since = today: the first moment          with what is meant when it is left out
-- column cost (operators) [currency]: what it cost   with who may see it, its unit, and its meaning
SELECT ...
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from tollgate_billing.errors import InvalidQuery

_NAME: Final = re.compile(r"(\w+)_v(\d+)")
_PARAMETER: Final = re.compile(r"parameter (\w+)(?: =(?: (\S+))?)?: (.+)")
_COLUMN: Final = re.compile(r"column (\w+)( \(operators\))?(?: \[([^\]]+)\])?: (.+)")
_PLACEHOLDER: Final = re.compile(r"\{(\w+):((?:[^{}])+)\}")
_SPAN: Final = re.compile(r"(\d{1,4})([hd])")
_LONGEST: Final = 200
_MOST: Final = 10_000
_TIME: Final = "DateTime('UTC')"


@dataclass(frozen=True, slots=True)
class Parameter:
    """`kind` is the type that the engine is told; `default` is None where one has to be given."""

    name: str
    kind: str
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    unit: str
    operators_only: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """`name` is without the version, `full_name` what the view is called in the usage store."""

    name: str
    version: int
    question: str
    operators_only: bool
    reads: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    sql: str

    @property
    def full_name(self) -> str:
        return f"{self.name}_v{self.version}"


def read_view(full_name: str, text: str) -> View:
    """Returns the view that a file describes. Raises ValueError for a line that says nothing known."""
    named = _NAME.fullmatch(full_name)
    if named is None:
        raise ValueError(f"{full_name}: a view is called NAME_vNUMBER")
    lines = text.splitlines()
    head = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    sql = "\n".join(line for line in lines if not line.startswith("-- ")).strip()
    kinds = dict(_PLACEHOLDER.findall(sql))
    parameters, columns, reads, operators_only = [], [], "", False
    for line in head[1:]:
        if found := _PARAMETER.fullmatch(line):
            default = found[2] or ("" if f"{found[1]} =" in line else None)
            parameters.append(Parameter(found[1], kinds[found[1]], default, found[3]))
        elif found := _COLUMN.fullmatch(line):
            columns.append(Column(found[1], found[3] or "", bool(found[2]), found[4]))
        elif line.startswith("reads: "):
            reads = line.removeprefix("reads: ")
        elif line == "for operators":
            operators_only = True
        else:
            raise ValueError(f"{full_name}: {line!r} is no parameter, column, table or reader")
    if {one.name for one in parameters} != set(kinds):
        raise ValueError(f"{full_name}: its parameters are {sorted(kinds)}")
    return View(named[1], int(named[2]), head[0], operators_only, reads, tuple(parameters), tuple(columns), sql)


def values_of(view: View, given: Mapping[str, str], now_us: int) -> dict[str, str | int]:
    """Returns a value for each parameter, in the form that the engine takes. Raises InvalidQuery."""
    known = [one.name for one in view.parameters]
    if unknown := [name for name in given if name not in known]:
        raise InvalidQuery(f"{view.name} takes {', '.join(known)}, not '{unknown[0]}'")
    values: dict[str, str | int] = {}
    for one in view.parameters:
        text = given.get(one.name) or one.default
        if text is None:
            raise InvalidQuery(f"{view.name} needs '{one.name}': {one.meaning}")
        values[one.name] = _value(one, text, now_us)
    since, until = values.get("since"), values.get("until")
    if isinstance(since, str) and isinstance(until, str) and since > until:
        raise InvalidQuery(f"'since' is {since}, which is after 'until', {until}")
    return values


def _value(one: Parameter, text: str, now_us: int) -> str | int:
    if one.kind == _TIME:
        return _time(one.name, text, now_us).strftime("%Y-%m-%d %H:%M:%S")
    if one.kind == "UInt32":
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= _MOST and len(text) < 6):
            raise InvalidQuery(f"'{one.name}' is a whole number from 1 to {_MOST}, not '{text[:40]}'")
        return int(text)
    if one.kind.startswith("Decimal"):
        return _amount(one.name, text)
    if len(text) > _LONGEST:
        raise InvalidQuery(f"'{one.name}' has more than {_LONGEST} characters")
    return text


def _amount(name: str, text: str) -> str:
    wrong = InvalidQuery(f"'{name}' is an amount such as 25 or 0.5, not '{text[:40]}'")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise wrong from None
    exponent = amount.as_tuple().exponent
    if not amount.is_finite() or not 0 <= amount < 10**12 or not isinstance(exponent, int) or exponent < -12:
        raise wrong
    return f"{amount:f}"


def _time(name: str, text: str, now_us: int) -> datetime:
    """Returns a moment to the second: a day or time in UTC, `now`, `today`, `month`, `last-month`, or a span ago."""
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    today = now.replace(hour=0, minute=0, second=0)
    month = today.replace(day=1)
    words = {"now": now, "today": today, "month": month, "last-month": (month - timedelta(days=1)).replace(day=1)}
    if text in words:
        return words[text]
    if span := _SPAN.fullmatch(text):
        return now - timedelta(hours=int(span[1]) * (24 if span[2] == "d" else 1))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is not None:
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    # What the engine's DateTime can hold.
    if found is None or not 1970 <= found.year <= 2105:
        advice = "2026-11-01, 2026-11-01T08:00:00Z, 24h, 7d, today, month or last-month"
        raise InvalidQuery(f"'{name}' is a time such as {advice}, not '{text[:40]}'")
    return found
