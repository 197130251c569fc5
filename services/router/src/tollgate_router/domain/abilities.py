"""What a request asks of a model, and what a target is known to be able to do, as bits that are compared at once."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_rating import BYTES_PER_TOKEN, embedded_files

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
# Parts by their `type`, as each dialect's own; a source in Anthropic's has a type too.
_PARTS: Final[Mapping[int, Mapping[bytes, int]]] = {
    wire.DIALECT_OPENAI_CHAT: {
        b"image_url": IMAGES,
        b"image": IMAGES,
        b"input_audio": AUDIO,
        b"file": FILES,
        b"document": FILES,
        b"video_url": VIDEO,
    },
    wire.DIALECT_OPENAI_RESPONSES: {
        b"input_image": IMAGES,
        b"computer_screenshot": IMAGES,
        b"input_audio": AUDIO,
        b"input_file": FILES,
    },
    wire.DIALECT_ANTHROPIC: {b"image": IMAGES, b"document": FILES},
}
# Parts of Gemini's have no type: what is in them says its own.
_MEDIA: Final = {b"image": IMAGES, b"audio": AUDIO, b"video": VIDEO, b"application": FILES}
# A quote within a JSON string is escaped, so words of a caller cannot look like a member.
_PART: Final = {
    dialect: re.compile(rb'"type"\s*:\s*"(' + b"|".join(parts) + rb')"') for dialect, parts in _PARTS.items()
}
_BLOB: Final = re.compile(rb'"(?:inline_?[dD]ata|file_?[dD]ata)"\s*:\s*\{')
_MIME: Final = re.compile(rb'"mime_?[tT]ype"\s*:\s*"(' + b"|".join(_MEDIA) + rb")/")
_SCHEMA: Final = re.compile(rb'"response_?(?:[jJ]son_?)?[sS]chema"\s*:\s*\{')
_PROMPTS: Final = ("messages", "input", "contents")
_TOOLS: Final = ("tools", "functions")
# Where each dialect names the form of an answer.
_FORMS: Final = ("response_format", "text", "output_format", "output_config")
_CONFIGS: Final = ("generationConfig", "generation_config")
_EMPTY: Final = (b"null", b"[]", b"{}")
# Longer than any way to write nothing.
_SHORT_BYTES: Final = 16


def bits_of(names: Iterable[str]) -> int:
    """Returns the bits of the abilities that choices are made by; others are left out."""
    found = 0
    for name in names:
        found |= BITS.get(name, 0)
    return found


def names_of(bits: int) -> list[str]:
    """Returns the names of the abilities, for people."""
    return [name for name, bit in BITS.items() if bits & bit]


def needs_of(members: Mapping[str, msgspec.Raw], dialect: int) -> int:
    """Returns what a chat request asks for, as bits."""
    needs = 0
    if any(name in members and not _is_empty(members[name]) for name in _TOOLS):
        needs |= TOOLS
    if any(b'"json_schema"' in bytes(members[name]) for name in _FORMS if name in members):
        needs |= SCHEMA
    if any(_SCHEMA.search(memoryview(members[name])) for name in _CONFIGS if name in members):
        needs |= SCHEMA
    part = _PART.get(dialect)
    for name in _PROMPTS:
        if name in members:
            prompt = bytes(members[name])
            needs |= _media_of(prompt) if part is None else _parts_of(prompt, part, _PARTS[dialect])
    return needs


def _is_empty(value: msgspec.Raw) -> bool:
    return b"".join(bytes(memoryview(value)[:_SHORT_BYTES]).split()) in _EMPTY


def _parts_of(prompt: bytes, part: re.Pattern[bytes], kinds: Mapping[bytes, int]) -> int:
    needs = 0
    for found in part.finditer(prompt):
        needs |= kinds[found[1]]
    return needs


def _media_of(prompt: bytes) -> int:
    needs = 0
    for blob in _BLOB.finditer(prompt):
        # Nothing in a blob has braces of its own.
        end = prompt.find(b"}", blob.end())
        if (mime := _MIME.search(prompt, blob.end(), end if end >= 0 else len(prompt))) is not None:
            needs |= _MEDIA[mime[1]]
    return needs


def tokens_of(members: Mapping[str, msgspec.Raw], body_bytes: int) -> int:
    """Returns about how many tokens a prompt has: a quarter of its bytes, without files that are embedded in it."""
    return max(0, body_bytes - sum(embedded_in(members))) // BYTES_PER_TOKEN


def embedded_in(members: Mapping[str, msgspec.Raw]) -> list[int]:
    """Returns how many bytes each file has that is embedded in a prompt, in whichever dialect."""
    return [size for name in _PROMPTS if name in members for size in embedded_files(memoryview(members[name]))]
