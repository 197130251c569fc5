"""What binds requests together: the same value leads to the same target for as long as that is healthy.

Nothing is stored: a value's hash decides, the same way in every process and after every start.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

_HEADER: Final = "header:"
_CONVERSATION: Final = "conversation"
_MASK: Final = (1 << 64) - 1


class _Message(msgspec.Struct):
    role: str = ""


_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MESSAGE: Final = msgspec.json.Decoder(_Message)


@dataclass(frozen=True, slots=True)
class Affinity:
    """Where the value is read from: a field of the body, a header, or the beginning of the conversation."""

    kind: Literal["field", "header", "conversation"]
    name: str = ""

    def __str__(self) -> str:
        return {"field": self.name, "header": f"{_HEADER}{self.name}"}.get(self.kind, _CONVERSATION)

    def value(self, members: Mapping[str, msgspec.Raw], headers: Mapping[bytes, bytes]) -> bytes | None:
        """Returns the value that a request carries, or None."""
        if self.kind == "header":
            return headers.get(self.name.encode()) or None
        if self.kind == "conversation":
            return _beginning(members.get("messages"))
        found = members.get(self.name)
        value = b"" if found is None else bytes(found)
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


def _beginning(messages: msgspec.Raw | None) -> bytes | None:
    """Returns everything up to the first message of the user: what every later turn of a conversation repeats."""
    try:
        found = _LIST.decode(messages) if messages is not None else []
        for place, message in enumerate(found):
            if _MESSAGE.decode(message).role == "user":
                return b",".join(bytes(one) for one in found[: place + 1])
    except msgspec.DecodeError:
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
