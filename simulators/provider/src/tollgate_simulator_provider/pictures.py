"""Small PNG files that differ by prompt: a mirrored pattern of blocks in colours drawn from the prompt's digest."""

import hashlib
import struct
import zlib

GRID = 8
LARGEST = 4096


def seed_of(model: str, prompt: str, index: int) -> bytes:
    """Returns 16 bytes that decide the picture."""
    return hashlib.blake2b(f"{model}\0{prompt}\0{index}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def size_of(text: str) -> tuple[int, int]:
    """Returns width and height from `1024x768`; `auto` is 1024x1024. Raises ValueError."""
    if text == "auto":
        return 1024, 1024
    width, mark, height = text.partition("x")
    if not mark or not width.isdecimal() or not height.isdecimal():
        raise ValueError("must be like 1024x1024, or auto")
    if not 1 <= int(width) <= LARGEST or not 1 <= int(height) <= LARGEST:
        raise ValueError(f"must be between 1x1 and {LARGEST}x{LARGEST}")
    return int(width), int(height)


def draw(seed: bytes, width: int, height: int) -> bytes:
    """Returns a PNG file of this size."""
    bits = hashlib.shake_128(seed).digest(GRID * GRID + 3 * 16)
    palette = bits[GRID * GRID :]
    blocks = [[bits[row * GRID + min(column, GRID - 1 - column)] & 15 for column in range(GRID)] for row in range(GRID)]
    rows = bytearray()
    last = -1
    unchanged = b"\x02" + bytes(width)
    for y in range(height):
        band = y * GRID // height
        if band == last:
            rows += unchanged
            continue
        last = band
        row = bytes(blocks[band][x * GRID // width] for x in range(width))
        rows += b"\x00" + row
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"tEXt", b"Comment\x00simulated, seed " + seed.hex().encode()),
            _chunk(b"IDAT", zlib.compress(bytes(rows), 1)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
