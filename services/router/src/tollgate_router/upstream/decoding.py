"""Content encodings of a reply: identity is asked for, gzip and deflate are taken all the same."""

import zlib
from typing import Protocol


class BrokenEncoding(ValueError):  # noqa: N818
    """The body is not what its Content-Encoding says, or unpacks to more than is allowed."""


class Decoder(Protocol):
    def feed(self, data: bytes) -> bytes:
        """Raises BrokenEncoding."""
        ...

    def finish(self) -> None:
        """Raises BrokenEncoding when the compressed stream stopped in the middle."""
        ...


def new_decoder(encoding: bytes, max_bytes: int) -> Decoder | None:
    """Returns what unpacks `encoding` (lower case), None for identity. Raises BrokenEncoding for any other.

    `max_bytes` bounds what one `feed` may return, so that a few bytes cannot fill the memory.
    """
    if encoding in {b"", b"identity"}:
        return None
    if encoding in {b"gzip", b"x-gzip"}:
        return _Inflate(max_bytes, 31)
    if encoding == b"deflate":
        return _Inflate(max_bytes, 15)
    raise BrokenEncoding("an encoding that was not asked for")


class _Inflate:
    def __init__(self, max_bytes: int, window_bits: int) -> None:
        self._max_bytes = max_bytes
        self._window_bits = window_bits
        self._unpacker = zlib.decompressobj(window_bits)
        self._started = False

    def feed(self, data: bytes) -> bytes:
        if not self._started and data:
            self._started = True
            # "deflate" is zlib by the standard, but some servers send it raw; a zlib header has 8 in its low nibble.
            if self._window_bits == 15 and data[0] & 15 != 8:
                self._unpacker = zlib.decompressobj(-15)
        try:
            return self._unpack(data)
        except zlib.error as error:
            raise BrokenEncoding(str(error)) from error

    def _unpack(self, data: bytes) -> bytes:
        parts = []
        room = self._max_bytes
        while data:
            if self._unpacker.eof:
                if self._window_bits != 31:
                    raise BrokenEncoding("bytes after the end of the compressed body")
                # Gzip may consist of several members.
                self._unpacker = zlib.decompressobj(31)
            part = self._unpacker.decompress(data, room + 1)
            room -= len(part)
            if room < 0:
                raise BrokenEncoding("the body unpacks to more than is allowed")
            parts.append(part)
            data = self._unpacker.unused_data
        return b"".join(parts)

    def finish(self) -> None:
        if self._started and not self._unpacker.eof:
            raise BrokenEncoding("the compressed body stops in the middle")
