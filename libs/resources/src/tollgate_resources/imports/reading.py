"""What importers share: exact numbers, remarks on entries, and the book that comes out."""

import json
import re
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final

from tollgate_rating import InvalidPrice, format_decimal, parse_decimal

_LARGEST: Final = 10**12
_PLACES: Final = Decimal(1).scaleb(-12)
_MAX_BYTES: Final = 32 * 1024 * 1024
_MODEL: Final = re.compile("[^\\s\\x00-\\x1f\ud800-\udfff]{1,200}")
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


class Unreadable(ValueError):  # noqa: N818
    """The file as a whole is not what it is said to be."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said about an entry. `line` counts from 1, 0 is not known; with `error` the entry is left out."""

    line: int
    entry: str
    text: str
    error: bool

    def __str__(self) -> str:
        return f"line {self.line}, {self.entry}: {self.text}" if self.line else f"{self.entry}: {self.text}"


@dataclass(slots=True)
class Imported:
    """Models, tiers and groups as a price book declares them, and what was said about the entries."""

    models: dict[str, dict[str, str]] = field(default_factory=dict)
    tiers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def book(self, name: str, effective: str) -> dict[str, Any]:
        """Returns the price book as it stands in a file."""
        found: dict[str, Any] = {"name": name, "effective": effective, "currency": "USD", "models": self.models}
        return found | {key: value for key, value in (("tiers", self.tiers), ("groups", self.groups)) if value}

    @property
    def errors(self) -> list[Remark]:
        return [remark for remark in self.remarks if remark.error]


class Entry:
    """One model of a file, or a thing of another kind: reads its numbers, and says what is wrong with them."""

    def __init__(self, name: str, line: int, into: Imported, kind: str = "") -> None:
        self.name, self._line, self._into = name, line, into
        self._shown = f"{kind} {name}" if kind else name
        self.failed = False
        if _MODEL.fullmatch(name) is None:
            self.refuse("a model's name has 1 to 200 characters and no blanks")

    def note(self, text: str) -> None:
        """Says something that leaves the entry in."""
        self._into.remarks.append(Remark(self._line, self._shown, text, error=False))

    def refuse(self, text: str) -> None:
        """Says why the entry is left out."""
        self.failed = True
        self._into.remarks.append(Remark(self._line, self._shown, text, error=True))

    def number(self, what: str, value: object) -> Decimal | None:
        """Returns a number that is 0 or above, exactly as it is written; refuses the entry otherwise."""
        found = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(found, Decimal) and found.is_finite() and 0 <= found < _LARGEST:
            return found
        self.refuse(f"{what} is {str(value)[:60]!r}, not a number of 0 or above")
        return None

    def price(self, what: str, value: Decimal) -> str:
        """Returns a price as a decimal string; one with more than 12 decimals is rounded, half to even, and noted."""
        if value >= _LARGEST:
            self.refuse(f"{what} is more than a price can be")
            return "0"
        with localcontext() as context:
            context.prec = 60
            rounded = value.quantize(_PLACES, rounding=ROUND_HALF_EVEN)
            if rounded != value:
                self.note(f"{what} has more than 12 decimals and is rounded to {rounded.normalize():f}")
            text = f"{rounded:f}"
        try:
            return format_decimal(parse_decimal(text))
        except InvalidPrice as error:
            self.refuse(f"{what}: {error}")
            return "0"


def read_json(content: bytes) -> Any:
    """Returns a JSON document with exact numbers. Raises Unreadable."""
    if len(content) > _MAX_BYTES:
        raise Unreadable(f"the file has {len(content)} bytes; at most {_MAX_BYTES} are read")
    try:
        return json.loads(content, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the file is no JSON: {error}") from None


def lines_of(content: bytes, names: Any) -> dict[str, int]:
    """Returns the line on which each name first stands as a key."""
    found: dict[str, int] = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        for key in re.findall(r'"((?:[^"\\]|\\.)*)"\s*:', line):
            found.setdefault(key, number)
    return {name: found.get(json.dumps(name)[1:-1], found.get(name, 0)) for name in names}


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number" if text in _NO_NUMBERS else text)
