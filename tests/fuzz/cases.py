"""What a target is given: a case of plain values and bytes, how cases are written down, and how bytes are spoilt."""

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar

T = TypeVar("T")
# Values as JSON has them, and bytes, by name.
Case = Mapping[str, Any]

Edit = Sequence[Any]
EVERYWHERE: Final = -1
"""As the only cut: after every byte."""
_BYTES: Final = "bytes"
_ODD: Final = 0.15


def dump(case: Case) -> str:
    """Returns a case as JSON that a person can read: bytes are {"bytes": "…"}, a character each."""
    return json.dumps(case, default=_encode, indent=1) + "\n"


def load(text: str) -> Case:
    """Returns the case that `dump` wrote. Raises ValueError."""
    found = json.loads(text, object_hook=_decode)
    if not isinstance(found, dict):
        raise ValueError("a case is a JSON object")  # noqa: TRY004 - of the text, not of an argument.
    return found


def _encode(value: object) -> object:
    assert isinstance(value, bytes)
    return {_BYTES: value.decode("latin-1")}


def _decode(found: dict[str, Any]) -> object:
    return found[_BYTES].encode("latin-1") if set(found) == {_BYTES} else found


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Returns `data` cut at these places, each taken modulo its length; [EVERYWHERE] cuts at all of them."""
    if list(cuts) == [EVERYWHERE]:
        return [data[at : at + 1] for at in range(len(data))] or [b""]
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0})
    return [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]


def draw_cuts(source: Random, length: int, most: int = 6) -> list[int]:
    """Returns where to cut: at a few places, or now and then everywhere."""
    if source.random() < 0.1:
        return [EVERYWHERE]
    return sorted(source.randint(0, length) for _ in range(source.randint(0, most)))


def mostly(source: Random, usual: Sequence[T], odd: Sequence[T], share: float = _ODD) -> T:
    """Returns one of the usual values, or with the probability `share` an odd one."""
    return source.choice(odd if source.random() < share else usual)


def spoil(source: Random, data: bytes, spices: Sequence[bytes], most: int = 3) -> bytes:
    """Returns `data` after up to `most` edits, every other time none; `spices` are what is likely to matter."""
    for _ in range(source.randint(1, most) if source.random() < 0.5 else 0):
        data = edited(data, draw_edit(source, len(data), spices))
    return data


def draw_edit(source: Random, length: int, spices: Sequence[bytes]) -> Edit:
    """Returns an edit of data about so long: [what, where, how many bytes, bytes to use]."""
    pinch = source.choice(spices) if source.random() < 0.8 else source.randbytes(source.randint(1, 4))
    # Short spans more often than long ones.
    count = source.randint(1, 4) if source.random() < 0.7 else source.randint(1, 64)
    return [source.choice(_EDITS), source.randint(0, length), count, pinch]


def edited(data: bytes, edit: Edit) -> bytes:
    """Returns `data` after an edit; a place beyond its end is taken modulo its length."""
    what, place, count, pinch = edit
    at = place % (len(data) + 1)
    before, span, after = data[:at], data[at : at + count], data[at + count :]
    if what == "stop":
        return before
    if what == "move":
        return before + after + span
    changed = {
        "insert": pinch + span,
        "leave out": b"",
        "overwrite": pinch + span[len(pinch) :],
        "repeat": span + span,
        "flip": bytes([span[0] ^ (1 << count % 8)]) + span[1:] if span else b"",
    }
    return before + changed.get(what, span) + after


_EDITS: Final = (
    "insert", "insert", "leave out", "leave out", "overwrite", "overwrite", "flip", "flip", "repeat", "stop", "move",
)  # fmt: skip
