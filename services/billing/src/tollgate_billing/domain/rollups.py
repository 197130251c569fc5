"""The sums by minute, hour and day that the usage store keeps beside its rows, and where they differ from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

MINUTE_US: Final = 60 * 1_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
_MONEY: Final = ("charge", "cost", "loss")
_FEW: Final = 500_000


class Rollup(NamedTuple):
    """A table of sums: what people call it, its column of times, how long a bucket is, and how much is asked at once.

    Lengths in microseconds. What is asked at once is whole buckets, and few enough of them for the engine's memory.
    """

    name: str
    table: str
    column: str
    bucket_us: int
    slice_us: int

    @property
    def kind(self) -> str:
        """What a difference of it is called."""
        return f"rollup_{self.name}"


ROLLUPS: Final[Mapping[str, Rollup]] = {
    "minute": Rollup("minute", "usage_1m", "minute", MINUTE_US, HOUR_US),
    "hour": Rollup("hour", "usage_1h", "hour", HOUR_US, DAY_US),
    "day": Rollup("day", "usage_1d", "day", DAY_US, DAY_US),
}

# Amounts in pico-units; a map of units is a dictionary.
Sums = Mapping[str, int | Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class SumDifference:
    """One line of a rollup that does not say what its rows say. `names` are its other columns, by name.

    `found` and `expected` have the sums that differ, and rows and money always.
    """

    rollup: Rollup
    bucket_us: int
    names: Mapping[str, str]
    found: Sums
    expected: Sums

    @property
    def key(self) -> tuple[str, int, tuple[tuple[str, str], ...]]:
        """What is the same of it whenever it is looked at."""
        return self.rollup.name, self.bucket_us, tuple(self.names.items())

    @property
    def by(self) -> dict[str, int | dict[str, int]]:
        """By how much each sum is too high; below 0 too low."""
        return {name: _less(self.found[name], self.expected[name]) for name in self.found}

    @property
    def lacking(self) -> bool:
        """Tells that rows are missing of the sums, so that nothing is lost by making them again."""
        return _number(self.found["rows"]) < _number(self.expected["rows"])

    @property
    def money_by(self) -> tuple[int, ...]:
        """By how much charge, cost and loss are too high; below 0 too low."""
        return tuple(_number(self.found[name]) - _number(self.expected[name]) for name in _MONEY)

    @property
    def money(self) -> tuple[int, int]:
        """Found and expected, of the first kind of money that differs; of the charge where none does."""
        name = next((one for one in _MONEY if self.found[one] != self.expected[one]), "charge")
        return _number(self.found[name]), _number(self.expected[name])

    def describe(self) -> str:
        """Returns which line it is and what differs, for people."""
        at = datetime.fromtimestamp(self.bucket_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        differing = [
            f"{_unit(name)} {_text(self.found[name])} instead of {_text(self.expected[name])}"
            for name in self.found
            if self.found[name] != self.expected[name]
        ]
        named = [f"{name.removesuffix('_id')} {value}" for name, value in self.names.items() if value]
        return f"{self.rollup.table} of {at}: {', '.join(differing)}; {', '.join(named)}"


def _number(value: int | Mapping[str, int]) -> int:
    assert isinstance(value, int)
    return value


def _less(found: int | Mapping[str, int], expected: int | Mapping[str, int]) -> int | dict[str, int]:
    if isinstance(found, int) and isinstance(expected, int):
        return found - expected
    assert isinstance(found, Mapping)
    assert isinstance(expected, Mapping)
    return {name: found.get(name, 0) - expected.get(name, 0) for name in sorted({*found, *expected})}


def _unit(name: str) -> str:
    return f"{name}_pico" if name in _MONEY else name


def _text(value: int | Mapping[str, int]) -> str:
    if isinstance(value, int):
        return str(value)
    return ", ".join(f"{name} {count}" for name, count in sorted(value.items())) or "none"


def slices_of(rollup: Rollup, hours: Sequence[int], rows: Mapping[int, int]) -> list[tuple[int, int]]:
    """Returns the times (first, end) that are asked of a rollup at once, so that each of these hours is in one.

    `rows` are those of every hour of their days. Hours of days that follow each other are asked together, with what is
    between them, while their rows are few: what the engine reads for one hour is much of what it reads for all of them.
    """
    days = {floor(hour, DAY_US) for hour in hours}
    slices: list[tuple[int, int]] = []
    together = 0
    for hour in sorted(hours):
        begin, end = slices[-1] if slices else (0, 0)
        same = floor(hour, rollup.slice_us) == floor(end - 1, rollup.slice_us)
        between = range(end, hour, HOUR_US) if slices else range(0)
        together += sum(rows.get(one, 0) for one in (*between, hour))
        known = days.issuperset(floor(one, DAY_US) for one in between)
        if slices and (same or (known and together <= _FEW)):
            slices[-1] = (begin, hour + HOUR_US)
        else:
            slices.append((hour, hour + HOUR_US))
            together = rows.get(hour, 0)
    return slices


def floor(at_us: int, step_us: int) -> int:
    """Returns the last multiple of a step that is not after a time."""
    return at_us // step_us * step_us


def ceil(at_us: int, step_us: int) -> int:
    """Returns the first multiple of a step that is not before a time."""
    return -(-at_us // step_us) * step_us
