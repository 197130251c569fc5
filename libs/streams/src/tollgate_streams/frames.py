"""What HTTP/2 (RFC 9113) and gRPC call things on the wire, and how much of each is taken."""

import struct
from collections.abc import Iterable
from typing import Any, Final

Headers = list[tuple[str, str]]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

HEAD: Final = struct.Struct(">BHBBL")
SETTING: Final = struct.Struct(">HL")
PREFIX: Final = struct.Struct(">BL")
UINT32: Final = struct.Struct(">L")
HEAD_BYTES: Final = 9
PREFIX_BYTES: Final = 5
SET_HEADER_TABLE: Final = 1
SET_ENABLE_PUSH: Final = 2
SET_MAX_STREAMS: Final = 3
SET_INITIAL_WINDOW: Final = 4
SET_MAX_FRAME: Final = 5
SET_MAX_HEADER_LIST: Final = 6
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME: Final = 16_384
LARGEST_WINDOW: Final = 2**31 - 1
LARGEST_FRAME: Final = 2**24 - 1
# What we take: whole batches in one frame, and enough under way that nobody waits for leave to go on.
FRAME_BYTES: Final = 512 * 1024
WINDOW_BYTES: Final = 8 * 1024 * 1024
HEADER_TABLE_BYTES: Final = 4096
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
MAX_STREAMS: Final = 100
# A connection on which nothing came for the first time is asked, and given up after the second.
PING_SECONDS: Final = 20.0
PING_ANSWER_SECONDS: Final = 10.0
# What is unsent when a connection is closed has so long to leave.
LINGER_SECONDS: Final = 1.0
# Between two looks at whether the other end is there; what carries messages, or leave for them, does not count.
MAX_CONTROL_FRAMES: Final = 100_000


class Broken(Exception):  # noqa: N818 - what the other end did.
    """The connection cannot go on; `code` is what HTTP/2 calls it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def text_of(headers: Iterable[Any]) -> Headers:
    """Returns headers as text. Raises UnicodeDecodeError."""
    return [(bytes(name).decode("ascii"), bytes(value).decode("latin-1")) for name, value in headers]


def unpadded(payload: bytes) -> bytes:
    """Returns a frame's payload without its padding. Raises Broken."""
    if not payload or payload[0] >= len(payload):
        raise Broken(PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]
