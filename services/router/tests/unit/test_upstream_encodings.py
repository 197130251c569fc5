"""Replies that come compressed though nobody asked: unpacked, bounded, and never whole when they stop in the middle."""

import functools
import gzip
import random
import sys
import zlib

import brotli
import pytest
from services.router.tests.fakes.upstream import Bench, Listener

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.decoding import BrokenEncoding, new_decoder
from tollgate_router.upstream.sink import ClientLimits

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.unit


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACK = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"deflate (raw)": raw_deflate,
    b"br": functools.partial(brotli.compress, quality=4),
    b"zstd": zstd.compress,
}
SOURCE = random.Random(7)
TEXT = b"".join(b'{"id": %d, "text": "%d"}\n' % (n, SOURCE.getrandbits(64)) for n in range(40))
# More in one step than any unpacker hands out at once.
LONG = TEXT * 3000
MAX_BYTES = 8_388_608


def named(encoding):
    return new_decoder(encoding.partition(b" ")[0], MAX_BYTES)


def unpack(encoding, *pieces):
    decoder = named(encoding)
    unpacked = b"".join(decoder.feed(piece) for piece in pieces)
    decoder.finish()
    return unpacked


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_is_unpacked_however_it_is_cut(encoding):
    packed = PACK[encoding](TEXT)
    for cut in range(len(packed) + 1):
        assert unpack(encoding, packed[:cut], packed[cut:]) == TEXT
    assert unpack(encoding, *[packed[i : i + 1] for i in range(len(packed))]) == TEXT


@pytest.mark.parametrize("encoding", PACK)
def test_a_long_body_comes_whole_out_of_one_read(encoding):
    assert len(LONG) > 3 * 1_048_576
    assert unpack(encoding, PACK[encoding](LONG)) == LONG


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_that_stops_in_the_middle_is_not_whole(encoding):
    packed = PACK[encoding](TEXT)
    for cut in range(1, len(packed)):
        with pytest.raises(BrokenEncoding):
            unpack(encoding, packed[:cut])


@pytest.mark.parametrize("encoding", PACK)
def test_no_body_at_all_is_whole(encoding):
    assert unpack(encoding) == b""
    assert unpack(encoding, b"") == b""


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_that_is_something_else_is_refused(encoding):
    with pytest.raises(BrokenEncoding):
        unpack(encoding, b"\x37 what is this\xff\xff\xff\xff" * 10)


@pytest.mark.parametrize("encoding", PACK)
def test_bytes_behind_the_end_are_refused(encoding):
    packed = PACK[encoding](TEXT)
    with pytest.raises(BrokenEncoding):
        unpack(encoding, packed + b"more")
    with pytest.raises(BrokenEncoding):
        unpack(encoding, packed, b"more")


@pytest.mark.parametrize("encoding", [b"gzip", b"zstd"])
def test_a_body_may_consist_of_several_members(encoding):
    pack = PACK[encoding]
    packed = pack(b"one ") + pack(b"") + pack(b"two")
    for cut in range(1, len(packed)):
        assert unpack(encoding, packed[:cut], packed[cut:]) == b"one two"


@pytest.mark.parametrize("encoding", PACK)
def test_a_few_bytes_cannot_fill_the_memory(encoding):
    assert len(unpack(encoding, PACK[encoding](bytes(MAX_BYTES)))) == MAX_BYTES
    bomb = PACK[encoding](bytes(8 * MAX_BYTES))
    assert len(bomb) < MAX_BYTES // 50
    with pytest.raises(BrokenEncoding, match="more than is allowed"):
        unpack(encoding, bomb)
    # Nor can a bomb hide behind a good member.
    if encoding == b"gzip":
        with pytest.raises(BrokenEncoding, match="more than is allowed"):
            unpack(encoding, PACK[encoding](b"good") + bomb)


def test_a_window_larger_than_the_web_allows_is_refused():
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    packed = packer.compress(bytes(1 << 20), zstd.ZstdCompressor.FLUSH_BLOCK) + packer.flush()
    with pytest.raises(BrokenEncoding):
        unpack(b"zstd", packed)


def test_encodings_that_are_none():
    assert new_decoder(b"", 1) is None
    assert new_decoder(b"identity", 1) is None
    for encoding in b"compress", b"gzip, br", b"chunked", b"bzip2":
        with pytest.raises(BrokenEncoding):
            new_decoder(encoding, 1)


# Through a connection.


def reply(*lines, body=b""):
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""]) + body


def chunked(body, size=7):
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def hear(*pieces, limits=None):
    bench, sink = Bench(limits), Listener()
    bench.ask(sink)
    bench.feed(*pieces)
    return bench, sink


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_the_sink_hears_the_body_and_no_header_that_is_no_longer_true(encoding):
    packed = PACK[encoding](TEXT)
    lines = (b"Content-Type: application/json", b"Content-Encoding: " + encoding.upper())
    for raw in (
        reply(*lines, b"content-length: %d" % len(packed), body=packed),
        reply(*lines, b"transfer-encoding: chunked", body=chunked(packed)),
    ):
        for size in 1, 50, len(raw):
            bench, sink = hear(*[raw[i : i + size] for i in range(0, len(raw), size)])
            assert (sink.body, sink.events[-1]) == (TEXT, "end")
            assert sink.headers == [(b"content-type", b"application/json")]
            assert bench.is_reusable


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_a_whole_reply_around_half_a_body_is_cut(encoding):
    packed = PACK[encoding](TEXT)[:-3]
    bench, sink = hear(reply(b"content-encoding: " + encoding, b"content-length: %d" % len(packed), body=packed))
    assert (sink.kind, sink.failure.sent) == (FailureKind.CUT, True)
    assert bench.wire.closing


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_half_a_body_up_to_the_end_of_the_connection_is_cut(encoding):
    bench, sink = hear(reply(b"content-encoding: " + encoding, body=PACK[encoding](TEXT)[:-3]))
    bench.finish()
    assert (sink.kind, sink.failure.sent) == (FailureKind.CUT, True)
    bench, sink = hear(reply(b"content-encoding: " + encoding, body=PACK[encoding](TEXT)))
    bench.finish()
    assert (sink.body, sink.events[-1]) == (TEXT, "end")


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"zstd"])
def test_a_bomb_ends_the_call_and_the_connection(encoding):
    packed = PACK[encoding](bytes(100_000))
    raw = reply(b"content-encoding: " + encoding, b"content-length: %d" % len(packed), body=packed)
    bench, sink = hear(raw, limits=ClientLimits(decoded_bytes_per_read=99_999))
    assert (sink.kind, sink.pieces) == (FailureKind.PROTOCOL, [])
    assert bench.wire.closing


def test_encodings_that_cannot_be_told_apart_are_refused_before_a_byte_is_handed_on():
    for lines in (
        (b"content-encoding: gzip, br",),
        (b"content-encoding: gzip", b"content-encoding: br"),
        (b"content-encoding: sdch",),
        (b"transfer-encoding: gzip, chunked",),
    ):
        bench, sink = hear(reply(*lines, b"content-length: 2", body=b"ok"))
        assert (sink.kind, sink.events) == (FailureKind.PROTOCOL, ["failed"])
        assert bench.wire.closing


def test_an_encoding_without_a_body_is_whole():
    bench, sink = hear(b"HTTP/1.1 204 No Content\r\ncontent-encoding: br\r\n\r\n")
    assert sink.events == ["head", "end"]
    bench, sink = hear(reply(b"content-encoding: gzip", b"content-length: 0"))
    assert sink.events == ["head", "end"]
    assert bench.is_reusable
