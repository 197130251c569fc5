"""Amazon's binary event stream: published messages, cuts at every byte, and damage."""

import struct
import zlib

import pytest

from tollgate_router.domain.dialects.event_stream import Damaged, MessageSplitter

pytestmark = pytest.mark.unit
# Published with the vendor's clients.
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
NO_HEADERS = bytes.fromhex("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936")
ONE_HEADER = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1"
)
SAID = b"{'foo':'bar'}"
READ = [({}, b""), ({}, SAID), ({"content-type": "application/json"}, SAID)]


def message(headers: bytes, payload: bytes = b"") -> bytes:
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def test_published_messages_cut_anywhere():
    stream = EMPTY + NO_HEADERS + ONE_HEADER
    assert list(MessageSplitter().feed(stream)) == READ
    for cut in range(len(stream)):
        one = MessageSplitter()
        assert [*one.feed(stream[:cut]), *one.feed(stream[cut:])] == READ
    one = MessageSplitter()
    assert [found for at in range(len(stream)) for found in one.feed(stream[at : at + 1])] == READ


def test_a_bit_that_fell_over_anywhere_is_found():
    for place in range(len(ONE_HEADER)):
        broken = bytearray(NO_HEADERS + ONE_HEADER)
        broken[len(NO_HEADERS) + place] ^= 1
        read: list[object] = []
        with pytest.raises(Damaged):
            read.extend(MessageSplitter().feed(bytes(broken)))
        assert read == READ[1:2]


@pytest.mark.parametrize("length", [0, 15, 24 * 1024 * 1024 + 1, 2**32 - 1])
def test_lengths_that_cannot_be_are_not_waited_for(length):
    prelude = struct.pack(">II", length, 0)
    with pytest.raises(Damaged):
        list(MessageSplitter().feed(prelude + struct.pack(">I", zlib.crc32(prelude))))


def test_headers_of_every_kind_are_passed_over():
    values = [(0, b""), (1, b""), (2, b"x"), (3, b"xx"), (4, b"x" * 4), (5, b"x" * 8), (8, b"x" * 8), (9, b"x" * 16)]
    kinds = [*values, (6, struct.pack(">H", 3) + b"raw"), (7, struct.pack(">H", 2) + b"ok")]
    headers = b"".join(bytes([1]) + str(kind).encode() + bytes([kind]) + value for kind, value in kinds)
    assert list(MessageSplitter().feed(message(headers, b"p"))) == [({"7": "ok"}, b"p")]


@pytest.mark.parametrize(
    "headers",
    [b"\x05ab", b"\x01a\x0b", b"\x01a\x07\x00", b"\x01a\x07\x00\x09short", b"\x01a\x07\x00\x01\xff", b"\x01a"],
)
def test_headers_that_cannot_be_read(headers):
    with pytest.raises(Damaged):
        list(MessageSplitter().feed(message(headers)))
