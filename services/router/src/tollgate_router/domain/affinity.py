"""What binds requests together: the same value leads to the same target for as long as that is healthy.

Nothing is stored: a value's hash decides, the same way in every process and after every start.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

_HEADER: Final = "header:"
_CONVERSATION: Final = "conversation"
_MASK: Final = (1 << 64) - 1
_CONTENTS: Final = "contents"
_TURNS: Final = ("messages", "input", _CONTENTS)
# Clients of Anthropic's move this mark from turn to turn.
_CACHE_MARK: Final = re.compile(rb'\s*,\s*"cache_control"\s*:\s*(?:\{[^{}]*\}|null)')


_ABSENT: Final = msgspec.Raw(b"")


class _Turn(msgspec.Struct):
    """What is said. Ids are left out: where responses are stored, items get one of each request's own."""

    role: str = ""
    content: msgspec.Raw = _ABSENT
    parts: msgspec.Raw = _ABSENT


_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TURN: Final = msgspec.json.Decoder(_Turn)


@dataclass(frozen=True, slots=True)
class Affinity:
    """Where the value is read from: a field of the body, a header, or the beginning of the conversation."""

    kind: Literal["field", "header", "conversation"]
    name: str = ""

    def __str__(self) -> str:
        return {"field": self.name, "header": f"{_HEADER}{self.name}"}.get(self.kind, _CONVERSATION)

    def value(self, members: Mapping[str, msgspec.Raw], headers: Mapping[bytes, bytes], *, chat: bool) -> bytes | None:
        """Returns the value that a request carries, or None; only chat is a conversation."""
        if self.kind == "header":
            return headers.get(self.name.encode()) or None
        if self.kind == "conversation":
            found = next((name for name in _TURNS if chat and name in members), None)
            return None if found is None else _beginning(found, members[found])
        value = bytes(members.get(self.name, _ABSENT))
        return None if value in {b"", b"null", b'""'} else value


def parse_affinity(declared: str | None) -> Affinity | None:
    """Returns the affinity that a route declares: `header:NAME`, `conversation`, or the name of a field."""
    if declared is None:
        return None
    if declared == _CONVERSATION:
        return Affinity("conversation")
    if declared.startswith(_HEADER):
        return Affinity("header", declared.removeprefix(_HEADER).lower())
    return Affinity("field", declared)


def _beginning(name: str, turns: msgspec.Raw) -> bytes | None:
    """Returns everything up to the first turn of the user: what every later turn of a conversation repeats."""
    shape = bytes(memoryview(turns)[:1])
    if shape == b'"':
        return bytes(turns)
    said: list[bytes] = []
    try:
        for one in [turns] if shape == b"{" else _LIST.decode(turns):
            turn = _TURN.decode(one)
            said += (turn.role.encode(), bytes(turn.content), bytes(turn.parts))
            # In Gemini's dialect, who says nothing else is the user.
            if turn.role == "user" or (not turn.role and name == _CONTENTS):
                return _CACHE_MARK.sub(b"", b",".join(said))
    except (msgspec.DecodeError, RecursionError):
        return None
    return None


def hash_of(*parts: bytes) -> int:
    """Returns 64 bits that depend on every part, the same everywhere and always."""
    return int.from_bytes(hashlib.blake2b(b"\0".join(parts), digest_size=8).digest(), "little")


def mix(value: int) -> int:
    """Returns 64 bits that look nothing like the 64 bits of `value` (the finalizer of splitmix64)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
