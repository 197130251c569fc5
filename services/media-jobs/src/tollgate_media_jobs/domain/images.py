"""What image bytes are: kind and size read from the bytes themselves, and whether they are whole.

PNG chunks are walked to IEND with their checksums, JPEG segments to the frame header (the end marker must be
there), WebP by its RIFF length. Nothing is decoded, so that a small file that unfolds to gigabytes costs nothing here.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tollgate_media_jobs.errors import NotAnImage

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
# Frame headers; C4, C8 and CC lie between them and are tables.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    content_type: str
    extension: str
    width: int
    height: int


def inspect_image(data: bytes, *, max_pixels: int) -> ImageFacts:
    """Returns what the bytes are. Raises NotAnImage: another kind, cut short, or more than `max_pixels`."""
    for magic, kind, extension, measure in _KINDS:
        if data.startswith(magic) and (kind != "image/webp" or data[8:12] == b"WEBP"):
            width, height = measure(data)
            if not (width and height):
                raise NotAnImage("the image has no area")
            if width * height > max_pixels:
                raise NotAnImage(f"the image has {width}x{height} pixels, at most {max_pixels} are kept")
            return ImageFacts(kind, extension, width, height)
    raise NotAnImage("the bytes are neither PNG, JPEG nor WebP")


def _png(data: bytes) -> tuple[int, int]:
    size = (0, 0)
    position, seen_data = len(_PNG), False
    while True:
        if position + 12 > len(data):
            raise NotAnImage("the PNG is cut short")
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if end + 4 > len(data):
            raise NotAnImage("the PNG is cut short")
        if zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise NotAnImage("a checksum of the PNG is wrong")
        if position == len(_PNG):
            if kind != b"IHDR" or length != 13:
                raise NotAnImage("the PNG does not begin with its header")
            size = (
                int.from_bytes(data[position + 8 : position + 12], "big"),
                int.from_bytes(data[position + 12 : position + 16], "big"),
            )
        seen_data = seen_data or kind == b"IDAT"
        if kind == b"IEND":
            if not seen_data:
                raise NotAnImage("the PNG has no picture in it")
            return size
        position = end + 4


def _jpeg(data: bytes) -> tuple[int, int]:
    if not data.rstrip(b"\x00").endswith(_JPEG_END):
        raise NotAnImage("the JPEG is cut short")
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            raise NotAnImage("the JPEG's segments are broken")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[position + 7 : position + 9], "big"), int.from_bytes(
                data[position + 5 : position + 7], "big"
            )
        if marker == 0xDA:
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2:
            raise NotAnImage("the JPEG's segments are broken")
        position += 2 + length
    raise NotAnImage("the JPEG has no frame header")


def _webp(data: bytes) -> tuple[int, int]:
    if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise NotAnImage("the WebP is cut short")
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise NotAnImage("the WebP has no picture in it")


_KINDS: Final[tuple[tuple[bytes, str, str, Callable[[bytes], tuple[int, int]]], ...]] = (
    (_PNG, "image/png", "png", _png),
    (_JPEG_START, "image/jpeg", "jpg", _jpeg),
    (b"RIFF", "image/webp", "webp", _webp),
)
