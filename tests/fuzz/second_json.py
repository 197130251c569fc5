"""A second reader of JSON: the standard library's, made as strict as the standard, which keeps every pair."""

import json
from random import Random
from typing import Any, Final

from tests.fuzz.cases import mostly


class NotJson(Exception):  # noqa: N818 - what is found, not a fault.
    """The bytes are no JSON text in UTF-8."""


class Pairs(list[tuple[str, Any]]):
    """An object with every pair that it had, in order."""

    def last(self) -> dict[str, Any]:
        """Returns the value of each name: that of its last pair."""
        return dict(self)


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def read(data: bytes) -> Any:
    """Returns lists, strings, booleans, None, Pairs and Numbers. Raises NotJson, and RecursionError when too deep."""
    try:
        return json.loads(
            data.decode(), object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=_refuse
        )
    except ValueError as error:
        raise NotJson(str(error)) from None


def plain(value: Any) -> Any:
    """Returns what was read with the last value of each name."""
    if isinstance(value, Pairs):
        return {name: plain(inner) for name, inner in value.last().items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def whole(value: Any) -> int | None:
    """Returns a number that was written without fraction and exponent; None for all else."""
    if not isinstance(value, Number) or not value.lstrip("-").isdigit():
        return None
    return int(value[:400])


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_SPACES: Final = ("", " ", "\n")
_ODD_SPACES: Final = ("\t\r\n ", "\u00a0", "\f", "/**/", "\ufeff", "\0")


def draw_object(source: Random, pairs: list[tuple[str, str]]) -> str:
    """Returns the text of an object of these names and values: names escaped now and then, and spaces between."""
    found = []
    for name, value in pairs:
        written = json.dumps(name)
        if source.random() < 0.1:
            written = f'"{name[:-1]}\\u{ord(name[-1]):04x}"'
        found.append(f"{written}{_space(source)}:{_space(source)}{value}")
    return f"{_space(source)}{{{_space(source)}" + f",{_space(source)}".join(found) + "}" + _space(source)


def _space(source: Random) -> str:
    return "" if source.random() < 0.7 else mostly(source, _SPACES, _ODD_SPACES, 0.03)
