"""Content encodings of a reply: identity is asked for, gzip, deflate, br and zstd are taken all the same.

Libraries are loaded when the first reply needs them: no provider that does what it is asked sends such a reply.
"""

import sys
import zlib
from typing import Any, Final, Protocol

# What one step may unpack to: its check comes before the next.
_STEP_BYTES: Final = 1_048_576
# RFC 9659: what a zstd reply on the web may ask for, as a power of two.
_ZSTD_WINDOW: Final = 23


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
    if encoding == b"br":
        return _Brotli(max_bytes)
    if encoding == b"zstd":
        return _Zstd(max_bytes)
    raise BrokenEncoding("an encoding that is not known")


class _Parts:
    """What one `feed` has unpacked so far, within its bound."""

    def __init__(self, max_bytes: int) -> None:
        self._parts: list[bytes] = []
        self.room = max_bytes

    def add(self, part: bytes) -> None:
        self.room -= len(part)
        if self.room < 0:
            raise BrokenEncoding("the body unpacks to more than is allowed")
        self._parts.append(part)

    def joined(self) -> bytes:
        return b"".join(self._parts)


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
        parts = _Parts(self._max_bytes)
        while data:
            if self._unpacker.eof:
                if self._window_bits != 31:
                    raise BrokenEncoding("bytes after the end of the compressed body")
                # Gzip may consist of several members.
                self._unpacker = zlib.decompressobj(31)
            parts.add(self._unpacker.decompress(data, parts.room + 1))
            data = self._unpacker.unused_data
        return parts.joined()

    def finish(self) -> None:
        if self._started and not self._unpacker.eof:
            raise BrokenEncoding("the compressed body stops in the middle")


class _Brotli:
    def __init__(self, max_bytes: int) -> None:
        import brotli

        self._max_bytes = max_bytes
        self._error: type[Exception] = brotli.error
        self._unpacker = brotli.Decompressor()
        self._started = False

    def feed(self, data: bytes) -> bytes:
        parts = _Parts(self._max_bytes)
        self._started = self._started or bool(data)
        try:
            part = self._unpacker.process(data, output_buffer_limit=_STEP_BYTES)
            while part:
                parts.add(part)
                if self._unpacker.is_finished():
                    break
                part = self._unpacker.process(b"", output_buffer_limit=_STEP_BYTES)
        except self._error as error:
            raise BrokenEncoding(str(error)) from error
        return parts.joined()

    def finish(self) -> None:
        if self._started and not self._unpacker.is_finished():
            raise BrokenEncoding("the compressed body stops in the middle")


class _Zstd:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._zstd = _zstd()
        self._unpacker = self._new()
        self._started = False

    def _new(self) -> Any:
        return self._zstd.ZstdDecompressor(options={self._zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW})

    def feed(self, data: bytes) -> bytes:
        try:
            return self._unpack(data)
        except self._zstd.ZstdError as error:
            raise BrokenEncoding(str(error)) from error

    def _unpack(self, data: bytes) -> bytes:
        parts = _Parts(self._max_bytes)
        while data:
            self._started = True
            if self._unpacker.eof:
                # A body may consist of several frames.
                self._unpacker = self._new()
            parts.add(self._unpacker.decompress(data, max_length=_STEP_BYTES))
            while not self._unpacker.eof and not self._unpacker.needs_input:
                parts.add(self._unpacker.decompress(b"", max_length=_STEP_BYTES))
            data = self._unpacker.unused_data if self._unpacker.eof else b""
        return parts.joined()

    def finish(self) -> None:
        if self._started and not self._unpacker.eof:
            raise BrokenEncoding("the compressed body stops in the middle")


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
