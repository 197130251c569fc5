"""Amazon's binary event stream out of bytes that may be cut anywhere: messages with headers, and checksums over both.

A message is: its length and that of its headers (each four bytes, big-endian), a CRC-32 of those eight bytes, the
headers, the payload, and a CRC-32 of all before it.
"""

import struct
from collections.abc import Iterator
from typing import Final
from zlib import crc32

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_LEAST: Final = _PRELUDE.size + _CRC.size
_MOST_BYTES: Final = 24 * 1024 * 1024
_MOST_HEADERS: Final = 128 * 1024
# Kinds of header values by number: how long each is; bytes and text say so themselves.
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_SIZED: Final = frozenset((6, 7))
_TEXT: Final = 7

Message = tuple[dict[str, str], bytes]


class Damaged(ValueError):  # noqa: N818 - what came, not a fault of ours.
    """A checksum does not fit, or a length cannot be."""


class MessageSplitter:
    """Returns the headers, those that are text, and the payload of each whole message."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Takes what one read held; yields what is whole. Raises Damaged, after what was whole before."""
        held, at = self._held, 0
        held += data
        try:
            while len(held) - at >= _PRELUDE.size:
                length, headers, crc = _PRELUDE.unpack_from(held, at)
                if crc32(held[at : at + 8]) != crc:
                    raise Damaged("the checksum of a prelude does not fit")
                if not headers + _LEAST <= length <= _MOST_BYTES or headers > _MOST_HEADERS:
                    raise Damaged("a message has a length that cannot be")
                if len(held) - at < length:
                    break
                message = bytes(held[at : at + length])
                at += length
                yield _read(message, headers)
        finally:
            del held[:at]


def _read(message: bytes, headers_length: int) -> Message:
    if crc32(message[: -_CRC.size]) != _CRC.unpack_from(message, len(message) - _CRC.size)[0]:
        raise Damaged("the checksum of a message does not fit")
    end = _PRELUDE.size + headers_length
    return dict(_headers(message[_PRELUDE.size : end])), message[end : -_CRC.size]


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    try:
        while at < len(data):
            start, at = at + 1, at + 1 + data[at]
            name, kind, at = data[start:at], data[at], at + 1
            if kind in _SIZED:
                length, at = int.from_bytes(data[at : at + 2]), at + 2
            else:
                length = _FIXED[kind]
            value, at = data[at : at + length], at + length
            if at > len(data):
                raise Damaged("a header is longer than all of them")
            if kind == _TEXT:
                yield name.decode(), value.decode()
    except (IndexError, KeyError, UnicodeDecodeError):
        raise Damaged("a header cannot be read") from None
