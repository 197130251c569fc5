"""What an HTTP/2 peer sends on a gRPC connection: the same at every split, and what a slow reader finds."""

import asyncio
import struct
from random import Random
from typing import Any, Final

from hpack import Encoder

from tests.fuzz.cases import Case, draw_cuts, mostly, pieces, spoil
from tests.fuzz.counted_loop import run
from tollgate_streams.frames import Headers
from tollgate_streams.http2 import Connection

_MESSAGE: Final = b"\0\0\0\0\3abc"
_TRAILERS: Final = Encoder().encode([("grpc-status", "0")])
# Kind, flags, stream, payload.
_FRAMES: Final = [
    (0, 0, 1, _MESSAGE), (0, 0, 1, _MESSAGE * 3), (0, 0, 1, _MESSAGE[:4]), (0, 0, 1, _MESSAGE[4:]), (0, 0, 3, _MESSAGE),
    (0, 8, 1, b"\2" + _MESSAGE + b"\0\0"), (1, 5, 1, _TRAILERS), (1, 1, 1, _TRAILERS[:2]), (9, 4, 1, _TRAILERS[2:]),
    (4, 0, 0, struct.pack(">HLHL", 4, 100, 5, 20_000)), (4, 1, 0, b""), (6, 0, 0, b"12345678"), (6, 1, 0, b"12345678"),
    (8, 0, 0, struct.pack(">L", 9)), (8, 0, 1, struct.pack(">L", 9)), (77, 3, 1, b"unknown"), (2, 0, 1, b"\0\0\0\0\1"),
]  # fmt: skip
_ODD: Final = [
    (0, 1, 1, b""), (0, 0, 0, _MESSAGE), (0, 0, 1, b"\1\0\0\0\0"), (0, 0, 1, b"\0\xff\xff\xff\xff"), (0, 8, 1, b"\xff"),
    (3, 0, 1, b"\0\0\0\x08"), (3, 0, 1, b""), (5, 4, 1, b"\0\0\0\2"), (7, 0, 0, b"\0" * 8), (1, 4, 9, _TRAILERS),
    (4, 0, 0, b"12345"), (4, 0, 0, struct.pack(">HL", 4, 2**32 - 1)), (8, 0, 1, struct.pack(">L", 2**31 - 1)),
    (8, 0, 1, struct.pack(">L", 0)), (6, 0, 0, b"x"), (9, 4, 1, b""), (1, 44, 1, b"\xff\xff"),
]  # fmt: skip
_SPICES: Final = [b"\0", b"\1", b"\xff", b"\0\0\0", b"\0\0\5\0\0\0\0\0\1", b"\x7f\xff\xff\xff"]


class StreamFramesTarget:
    """Frames in pieces; `sends`: messages of ours, by size, of which one leaves before each piece."""

    cost = 2

    def draw(self, source: Random) -> Case:
        frames = [mostly(source, _FRAMES, _ODD, 0.15) for _ in range(source.randint(0, 8))]
        # Messages that frames cut anywhere, before all that may end their stream.
        messages = _MESSAGE * source.randint(0, 6)
        frames[:0] = [(0, 0, 1, part) for part in pieces(messages, draw_cuts(source, len(messages)))]
        data = b"".join(struct.pack(">HBBBL", len(body) >> 8, len(body) & 255, *head) + body for *head, body in frames)
        spoiled = spoil(source, data, _SPICES) if source.random() < 0.5 else data
        return {"data": spoiled, "cuts": draw_cuts(source, len(spoiled)), "size": source.choice([0, 10, 70_000])}

    def close(self) -> None:
        """Nothing is held."""

    def check(self, case: Case) -> None:
        data = case["data"]
        run(lambda: _check([data], pieces(data, case["cuts"]), case["size"]))


async def _check(whole: list[bytes], parts: list[bytes], size: int) -> None:
    once, split = _taken(whole, size), _taken(parts, size)
    assert once == split
    told, closed, _ = once
    assert [what for what, *_ in told].count("lost") <= 1
    messages = [one[1] for one in told if one[0] == "message"]
    expected = _messages(b"".join(whole))
    assert messages == (expected[: len(messages)] if closed else expected)


def _taken(parts: list[bytes], size: int) -> tuple[list[Any], bool, bytes]:
    """Returns what the listener was told, whether the connection ended, and what was written."""
    connection, transport, listener = Connection(), _Transport(), _Listener()
    connection.connection_made(transport)
    stream = connection.add(1, listener)
    stream.send(b"x" * size)
    for part in parts:
        connection.data_received(part)
    closed = connection.closed
    connection.close("over")
    return [one for one in listener.told if one != ("lost", "over")], closed, bytes(transport.written)


def _messages(data: bytes) -> list[bytes]:
    """Returns the messages of stream 1, read the slow way: up to its end, or to what is no frame."""
    joined, block_ends = b"", False
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        kind, flags, stream = data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF
        body, data = data[9 : 9 + length], data[9 + length :]
        if len(body) < length:
            break
        if kind == 1:
            block_ends = stream == 1 and bool(flags & 1)
        if (kind in {1, 9} and flags & 4 and block_ends) or (kind == 3 and stream == 1):
            break
        if kind == 0 and stream == 1:
            joined += body[1 : len(body) - body[0]] if flags & 8 and body else body
            if flags & 1:
                break
    found = []
    while len(joined) >= 5 and len(joined) >= 5 + int.from_bytes(joined[1:5], "big"):
        size = 5 + int.from_bytes(joined[1:5], "big")
        found.append(joined[5:size])
        joined = joined[size:]
    return found


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True


class _Listener:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_headers(self, headers: Headers, *, last: bool) -> None:
        self.told.append(("headers", headers, last))

    def on_message(self, message: bytes) -> None:
        self.told.append(("message", message))

    def on_end(self) -> None:
        self.told.append(("end",))

    def on_lost(self, reason: str) -> None:
        self.told.append(("lost", reason))

    def on_writable(self) -> None:
        """When it is told depends on the split."""
