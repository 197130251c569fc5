"""What a request asks of a model, and what a target is known to be able to do, as bits that are compared at once."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

IMAGES: Final = 1
TOOLS: Final = 2
SCHEMA: Final = 4
AUDIO: Final = 8
FILES: Final = 16
VIDEO: Final = 32
# Names as the catalogue has them.
BITS: Final = {
    "image_input": IMAGES,
    "tools": TOOLS,
    "structured_output": SCHEMA,
    "audio_input": AUDIO,
    "pdf_input": FILES,
    "video_input": VIDEO,
}
EVERYTHING: Final = IMAGES | TOOLS | SCHEMA | AUDIO | FILES | VIDEO
_PARTS: Final = {
    b"image_url": IMAGES,
    b"image": IMAGES,
    b"input_audio": AUDIO,
    b"file": FILES,
    b"document": FILES,
    b"video_url": VIDEO,
}
# A quote within a JSON string is escaped, so words of a caller cannot look like a member.
_PART: Final = re.compile(rb'"type"\s*:\s*"(' + b"|".join(_PARTS) + rb')"')
_EMBEDDED: Final = re.compile(rb"[A-Za-z0-9+/_-]{1024,}")
BYTES_PER_TOKEN: Final = 4
_EMPTY: Final = (b"null", b"[]", b"{}")


def bits_of(names: Iterable[str]) -> int:
    """Returns the bits of the abilities that choices are made by; others are left out."""
    found = 0
    for name in names:
        found |= BITS.get(name, 0)
    return found


def names_of(bits: int) -> list[str]:
    """Returns the names of the abilities, for people."""
    return [name for name, bit in BITS.items() if bits & bit]


def needs_of(members: Mapping[str, msgspec.Raw]) -> int:
    """Returns what a chat request asks for, as bits."""
    needs = 0
    for name in ("tools", "functions"):
        value = members.get(name)
        if value is not None and bytes(value) not in _EMPTY:
            needs |= TOOLS
    form = members.get("response_format")
    if form is not None and b'"json_schema"' in bytes(form):
        needs |= SCHEMA
    messages = members.get("messages")
    if messages is not None:
        for found in _PART.finditer(memoryview(messages)):
            needs |= _PARTS[bytes(found[1])]
    return needs


def tokens_of(members: Mapping[str, msgspec.Raw], body_bytes: int) -> int:
    """Returns about how many tokens a prompt has: a quarter of its bytes, without files that are embedded in it."""
    messages = members.get("messages", members.get("input"))
    if messages is None:
        return body_bytes // BYTES_PER_TOKEN
    embedded = sum(found.end() - found.start() for found in _EMBEDDED.finditer(memoryview(messages)))
    return max(0, body_bytes - embedded) // BYTES_PER_TOKEN
