"""Tiers: when a model costs something else than usual, by the size of the prompt, the kind of service or the hour."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tollgate_rating.decimals import format_decimal, parse_decimal
from tollgate_rating.errors import InvalidPrice
from tollgate_rating.units import INPUT_UNITS, check_unit

_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_SERVICE: Final = re.compile(r"[a-z0-9_-]{1,32}")
_MAX_CONTEXT: Final = 2**40
_DAY_MINUTES: Final = 24 * 60
_MINUTE_US: Final = 60 * 1_000_000
MAX_TIERS: Final = 32


@dataclass(frozen=True, slots=True)
class PriceTier:
    """What holds where all conditions that are named hold: prices of its own, `multiply` times the usual for the rest.

    `context_over`: more tokens than this on the input side, cached ones included. `service`: the tier of service that
    the provider reports, such as flex or priority. `hours`: "HH:MM-HH:MM" in UTC by the request's start, the end not
    included, over midnight where it is smaller.
    """

    prices: Mapping[str, str] = field(default_factory=dict)
    multiply: str = "1"
    context_over: int | None = None
    service: str = ""
    hours: str = ""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a tier, parsed; `minutes` is (from, to) of the day in UTC."""

    context_over: int | None
    service: str
    minutes: tuple[int, int] | None

    def known_for(self, service: str) -> bool | None:
        """Tells whether all usage of a tier of service is of this tier, or none; None where that depends on more."""
        if self.service and self.service != service:
            return False
        return True if self.minutes is None and self.context_over is None else None

    def hold(self, units: Mapping[str, int], at_us: int, service: str) -> bool:
        """Tells whether usage that began at `at_us` (microseconds since the epoch) is of this tier."""
        if self.service and self.service != service:
            return False
        if self.minutes is not None:
            first, last = self.minutes
            minute = at_us // _MINUTE_US % _DAY_MINUTES
            if not (first <= minute < last if first < last else minute >= first or minute < last):
                return False
        if self.context_over is None:
            return True
        return sum(units.get(unit, 0) for unit in INPUT_UNITS) > self.context_over


@dataclass(frozen=True, slots=True)
class ParsedTier:
    """A tier in integers: prices and `multiply` in 1e-12."""

    conditions: Conditions
    prices: Mapping[str, int]
    multiply: int
    canonical: Mapping[str, Any]


def parse_tiers(tiers: Sequence[PriceTier], where: str) -> tuple[ParsedTier, ...]:
    """Returns tiers in their order. Raises InvalidPrice, naming the tier by its number, which counts from 1."""
    if len(tiers) > MAX_TIERS:
        raise InvalidPrice(f"{where}: at most {MAX_TIERS} tiers")
    found: list[ParsedTier] = []
    for number, tier in enumerate(tiers, 1):
        try:
            parsed = parse_tier(tier)
        except InvalidPrice as error:
            raise InvalidPrice(f"{where}, tier {number}: {error}") from None
        for earlier, other in enumerate(found, 1):
            if _covers(other.conditions, parsed.conditions):
                raise InvalidPrice(f"{where}, tier {number}: tier {earlier} takes all its usage before it")
        found.append(parsed)
    return tuple(found)


def parse_tier(tier: PriceTier) -> ParsedTier:
    """Returns a tier in integers. Raises InvalidPrice."""
    if tier.context_over is None and not tier.service and not tier.hours:
        raise InvalidPrice("a tier has a condition: context_over, service or hours")
    if not tier.prices and tier.multiply == "1":
        raise InvalidPrice("a tier has prices or multiply")
    prices: dict[str, int] = {}
    for unit, text in tier.prices.items():
        try:
            prices[check_unit(unit)] = parse_decimal(text)
        except InvalidPrice as error:
            raise InvalidPrice(f"unit {unit!r}: {error}") from None
    multiply = parse_decimal(tier.multiply)
    conditions = Conditions(_context(tier.context_over), _service(tier.service), _minutes(tier.hours))
    canonical: dict[str, Any] = {
        "context_over": conditions.context_over,
        "service": conditions.service,
        "hours": tier.hours,
        "multiply": format_decimal(multiply),
        "prices": {unit: format_decimal(price) for unit, price in prices.items()},
    }
    defaults: dict[str, Any] = {"context_over": None, "service": "", "hours": "", "multiply": "1", "prices": {}}
    return ParsedTier(
        conditions, prices, multiply, {name: value for name, value in canonical.items() if value != defaults[name]}
    )


def _context(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_CONTEXT:
        raise InvalidPrice(f"context_over is a whole number of tokens, found {value!r}")
    return value


def _service(value: object) -> str:
    if value and (not isinstance(value, str) or _SERVICE.fullmatch(value) is None):
        raise InvalidPrice(f"service is a word such as flex, found {value!r}")
    return str(value or "")


def _minutes(value: object) -> tuple[int, int] | None:
    if not value:
        return None
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidPrice(f'hours are two times of the day in UTC such as "16:30-00:30", found {value!r}')
    first, last = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if first == last:
        raise InvalidPrice(f"hours begin and end at different times, found {value!r}")
    return first, last


def _covers(one: Conditions, other: Conditions) -> bool:
    """Tells whether whatever is of `other` is of `one` too."""
    if one.service and one.service != other.service:
        return False
    if one.context_over is not None and (other.context_over is None or other.context_over < one.context_over):
        return False
    return one.minutes is None or (other.minutes is not None and _within(other.minutes, one.minutes))


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    shift = outer[0]
    length = (outer[1] - shift) % _DAY_MINUTES
    start = (inner[0] - shift) % _DAY_MINUTES
    return start + (inner[1] - inner[0]) % _DAY_MINUTES <= length
