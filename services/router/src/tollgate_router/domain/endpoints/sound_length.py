"""How long a sound file is, from its own words where it has any: for replies that do not say what was used."""

import struct
from math import ceil
from typing import Final

# Where a file does not say it: 128 kbit/s.
_USUAL_BYTES_PER_SECOND: Final = 16_000
_MOST_SECONDS: Final = 7 * 24 * 3600
_OPUS_RATE: Final = 48_000
_TAIL_BYTES: Final = 64 * 1024
# kbit/s of MPEG 1 and of MPEG 2, layer III, by the index in the header of a frame.
_RATES_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_RATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)


def seconds_of(file: memoryview) -> int:
    """Returns the length in whole seconds, rounded up, at least 1.

    Exact for WAV, FLAC, Ogg and MP4, by the first frame's bit rate for MP3, else by the size at 128 kbit/s.
    """
    found = None
    try:
        head = bytes(file[:12])
        if head.startswith(b"RIFF"):
            found = _wav(file)
        elif head.startswith(b"fLaC"):
            found = _flac(file)
        elif head.startswith(b"OggS"):
            found = _ogg(file)
        elif head[4:8] == b"ftyp":
            found = _mp4(file)
        elif head.startswith(b"ID3") or head[:1] == b"\xff":
            found = _mp3(file)
    except (struct.error, ZeroDivisionError):
        # It is none after all, or ends in the middle: its size has to do.
        found = None
    if found is None or not 0 < found <= _MOST_SECONDS:
        found = len(file) / _USUAL_BYTES_PER_SECOND
    return max(1, ceil(found))


def _wav(file: memoryview) -> float | None:
    at, rate = 12, 0
    while at + 8 <= len(file):
        name, size = struct.unpack_from("<4sI", file, at)
        if name == b"fmt ":
            rate = struct.unpack_from("<I", file, at + 16)[0]
        elif name == b"data":
            # A recorder that streams does not know the size.
            return float(min(size, len(file) - at - 8) / rate)
        at += 8 + size + size % 2
    return None


def _flac(file: memoryview) -> float | None:
    (packed,) = struct.unpack_from(">Q", file, 18)
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return samples / rate if samples else None


def _ogg(file: memoryview) -> float | None:
    tail = bytes(file[-_TAIL_BYTES:])
    last = tail.rfind(b"OggS")
    (samples,) = struct.unpack_from("<q", tail, last + 6)
    head = bytes(file[:128])
    if (vorbis := head.find(b"\x01vorbis")) >= 0:
        return float(samples / struct.unpack_from("<I", head, vorbis + 12)[0])
    return samples / _OPUS_RATE if b"OpusHead" in head else None


def _mp4(file: memoryview) -> float | None:
    at, end = 0, len(file)
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", file, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", file, at + 8)[0], 16
        if name == b"mvhd":
            if file[at + head]:
                scale, length = struct.unpack_from(">IQ", file, at + head + 20)
            else:
                scale, length = struct.unpack_from(">II", file, at + head + 12)
            return float(length / scale)
        if name == b"moov":
            at += head
        elif size < head:
            return None
        else:
            at += size
    return None


def _mp3(file: memoryview) -> float | None:
    at = 0
    if bytes(file[:3]) == b"ID3":
        sizes = struct.unpack_from("4B", file, 6)
        at = 10 + (sizes[0] << 21 | sizes[1] << 14 | sizes[2] << 7 | sizes[3])
    first, second, third = struct.unpack_from("3B", file, at)
    if first != 0xFF or second & 0xE0 != 0xE0:
        return None
    rate = (_RATES_1 if second & 0x18 == 0x18 else _RATES_2)[third >> 4]
    return (len(file) - at) / (rate * 125)
