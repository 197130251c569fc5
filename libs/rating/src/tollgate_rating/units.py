"""The units that are priced, and which price stands in for one that a book leaves out."""

import re

from tollgate_rating.errors import InvalidPrice

MILLION = 10**6
REQUEST = "request"
IMAGE = "image"
CHARACTER = "character"
SEARCH = "search"
AUDIO_SECOND = "audio_second"
INPUT_UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT_UNITS = ("output", "reasoning", "audio_output", "image_output", "video_output")
TOKEN_UNITS = frozenset(INPUT_UNITS + OUTPUT_UNITS)
PER_MILLION = TOKEN_UNITS | {CHARACTER}
# Counted one by one: searches of the web or of documents by rank, other calls of tools, seconds of audio.
COUNTED = (SEARCH, "tool_call", AUDIO_SECOND, CHARACTER)
# A picture by size and quality; a second of video by resolution and whether it has sound; a search by how much of what
# it found is read.
_FAMILY_UNIT = re.compile(r"(image|video)(:[a-z0-9_.-]{1,32}){0,2}|(search|tool_call):[a-z0-9_.-]{1,32}")


def per(unit: str) -> int:
    """Returns how many of `unit` its price is for: 1,000,000 for tokens and characters, 1 for the rest."""
    return MILLION if unit in PER_MILLION else 1


def check_unit(unit: object) -> str:
    """Returns the unit's name, or raises InvalidPrice when no unit has it."""
    if isinstance(unit, str) and (
        unit in TOKEN_UNITS or unit in COUNTED or unit == REQUEST or _FAMILY_UNIT.fullmatch(unit)
    ):
        return unit
    pictures = "image, image:SIZE, image:SIZE:QUALITY, video, video:RESOLUTION, video:RESOLUTION:audio"
    allowed = ", ".join([*INPUT_UNITS, *OUTPUT_UNITS, REQUEST, *COUNTED, pictures, "search:SIZE, tool_call:NAME"])
    raise InvalidPrice(f"unknown unit {unit!r}; allowed: {allowed}")


def stand_ins(unit: str) -> tuple[str, ...]:
    """Returns the units whose price applies when `unit` has none, nearest first."""
    if unit in INPUT_UNITS[1:]:
        return ("input",)
    if unit in OUTPUT_UNITS[1:]:
        return ("output",)
    if ":" in unit:
        parts = unit.split(":")
        return tuple(":".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return ()
