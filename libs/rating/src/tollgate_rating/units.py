"""The units that are priced, and which price stands in for one that a book leaves out."""

import re

from tollgate_rating.errors import InvalidPrice

MILLION = 10**6
REQUEST = "request"
IMAGE = "image"
INPUT_UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT_UNITS = ("output", "reasoning", "audio_output", "image_output")
TOKEN_UNITS = frozenset(INPUT_UNITS + OUTPUT_UNITS)
_IMAGE_UNIT = re.compile(r"image(:[a-z0-9_.-]{1,32}){0,2}")


def per(unit: str) -> int:
    """Returns how many of `unit` its price is for: 1,000,000 for tokens, 1 for the rest."""
    return MILLION if unit in TOKEN_UNITS else 1


def check_unit(unit: object) -> str:
    """Returns the unit's name, or raises InvalidPrice when no unit has it."""
    if isinstance(unit, str) and (unit in TOKEN_UNITS or unit == REQUEST or _IMAGE_UNIT.fullmatch(unit)):
        return unit
    allowed = ", ".join([*INPUT_UNITS, *OUTPUT_UNITS, REQUEST, "image, image:SIZE, image:SIZE:QUALITY"])
    raise InvalidPrice(f"unknown unit {unit!r}; allowed: {allowed}")


def stand_ins(unit: str) -> tuple[str, ...]:
    """Returns the units whose price applies when `unit` has none, nearest first."""
    if unit in INPUT_UNITS[1:]:
        return ("input",)
    if unit in OUTPUT_UNITS[1:]:
        return ("output",)
    if unit.startswith("image:"):
        parts = unit.split(":")
        return tuple(":".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return ()
