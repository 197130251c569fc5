"""Replies of every shape through one connection: cut at every place they mean the same, and a second parser agrees.

Nothing that this client takes may be refused by h11, nor mean something else to it. Where the client refuses what h11
takes, the table says so: those are the shapes that two parsers of one message have disagreed about before.
"""

import asyncio
import re
from dataclasses import dataclass, replace
from enum import Enum

import h11
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from services.router.tests.fakes.upstream import Bench, Listener

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.sink import ClientLimits

pytestmark = pytest.mark.unit


class Verdict(Enum):
    REUSABLE = "whole, and the connection serves on"
    WHOLE = "whole, and the connection is closed"
    REFUSED = "breaks the rules"
    CUT = "stops in the middle"


REUSABLE, WHOLE, REFUSED, CUT = Verdict


@dataclass(frozen=True)
class Heard:
    verdict: Verdict
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    @property
    def is_whole(self) -> bool:
        return self.verdict in {REUSABLE, WHOLE}


def by_us(*pieces, limits=None):
    """What a sink hears of a reply that comes in these pieces, after which the other side closes."""
    bench, sink = Bench(limits), Listener()
    bench.ask(sink)
    bench.feed(*pieces)
    reusable = bench.is_reusable
    if not sink.is_over:
        bench.finish()
    assert sink.is_over
    assert bench.connection.call is None
    assert reusable != bench.wire.closing or sink.kind is FailureKind.CUT or sink.kind is None
    if sink.failure is not None:
        assert sink.failure.sent
        verdict = {FailureKind.PROTOCOL: REFUSED, FailureKind.CUT: CUT}[sink.failure.kind]
    else:
        verdict = REUSABLE if reusable else WHOLE
    return Heard(verdict, sink.status, tuple(sink.headers), sink.body)


def by_h11(raw):
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    status, headers, body, closed = 0, (), b"", False
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return Heard(CUT if closed else REFUSED, status, headers, body)
        if event is h11.NEED_DATA:
            closed = True
            connection.receive_data(b"")
        elif isinstance(event, h11.Response):
            status, headers = event.status_code, tuple((bytes(name), bytes(value)) for name, value in event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            # Empty lines between replies mean nothing to our parser.
            if connection.trailing_data[0].strip(b"\r\n"):
                return Heard(REFUSED, status, headers, body)
            reusable = connection.states[h11.SERVER] is h11.DONE and not closed
            return Heard(REUSABLE if reusable else WHOLE, status, headers, body)
        elif isinstance(event, h11.ConnectionClosed):
            return Heard(CUT, status, headers, body)


def reply(*lines, body=b"", status=b"200 OK", version=b"HTTP/1.1"):
    return b"\r\n".join([version + b" " + status, *lines, b"", b""]) + body


CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

GOOD = {
    "a length": (reply(b"Content-Type: text/plain", b"Content-Length: 5", body=b"hello"), REUSABLE),
    "blanks around a length": (reply(b"Content-Length: \t 5 \t", body=b"hello"), REUSABLE),
    "a length of nothing": (reply(b"content-length: 0"), REUSABLE),
    "no reason": (reply(b"content-length: 0", status=b"200"), REUSABLE),
    "an empty reason": (reply(b"content-length: 0", status=b"200 "), REUSABLE),
    "a reason in Latin": (reply(b"content-length: 0", status="200 Très bien".encode("latin-1")), REUSABLE),
    "an empty value": (reply(b"x-empty:", b"content-length: 5", body=b"hello"), REUSABLE),
    "a header again": (reply(b"x-a: 1", b"x-a: 2", b"content-length: 0"), REUSABLE),
    "it says keep-alive": (reply(b"connection: keep-alive", b"content-length: 0"), REUSABLE),
    "it closes": (reply(b"Connection: close", b"content-length: 5", body=b"hello"), WHOLE),
    "it closes, among other things": (reply(b"Connection: x, Close", b"content-length: 0"), WHOLE),
    "nothing by its status": (reply(status=b"204 No Content"), REUSABLE),
    "not modified, with the length it would have": (reply(b"content-length: 5", status=b"304 x"), REUSABLE),
    "chunks": (reply(CHUNKED, body=b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), REUSABLE),
    "chunks in capitals": (reply(b"TRANSFER-ENCODING: chunked", body=b"A\r\nhellohello\r\n0\r\n\r\n"), REUSABLE),
    "chunks with extensions": (reply(CHUNKED, body=b'5;a=1;b="x"\r\nhello\r\n0;last\r\n\r\n'), REUSABLE),
    "chunks with zeros in front": (reply(CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"), REUSABLE),
    "no chunk": (reply(CHUNKED, body=b"0\r\n\r\n"), REUSABLE),
    "trailers": (reply(CHUNKED, body=b"5\r\nhello\r\n0\r\nx-sum: 1\r\nx-b: 2\r\n\r\n"), REUSABLE),
    "chunks, then it closes": (reply(CHUNKED, b"connection: close", body=HELLO), WHOLE),
    "up to the end of the connection": (reply(b"content-type: text/plain", body=b"hello"), WHOLE),
    "nothing up to the end of the connection": (reply(), WHOLE),
    "an error": (reply(b"content-length: 2", body=b"no", status=b"503 Service Unavailable"), REUSABLE),
    "continue": (reply(status=b"100 Continue") + reply(b"content-length: 2", body=b"ok"), REUSABLE),
    "hints": (
        reply(b"link: </a>", b"link: </b>", status=b"103 Early Hints")
        + reply(status=b"102 Processing")
        + reply(b"content-length: 2", body=b"ok"),
        REUSABLE,
    ),
    "of the old version": (reply(b"content-length: 2", body=b"ok", version=b"HTTP/1.0"), WHOLE),
    "chunks in the old version": (reply(CHUNKED, body=HELLO, version=b"HTTP/1.0"), WHOLE),
    "of the old version up to the end": (reply(body=b"ok", version=b"HTTP/1.0"), WHOLE),
    "many headers": (reply(*[b"x-%d: y" % i for i in range(255)], b"content-length: 0"), REUSABLE),
}

# What h11 says too: not whole.
BAD = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", REFUSED),
    "another protocol's name": (reply(b"content-length: 0", version=b"ICY"), REFUSED),
    "binary": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", REFUSED),
    "a status of two digits": (reply(b"content-length: 0", status=b"20 OK"), REFUSED),
    "a status of four digits": (reply(b"content-length: 0", status=b"2000 OK"), REFUSED),
    "a status below all classes": (reply(status=b"099 x") + reply(b"content-length: 0"), REFUSED),
    "two lengths that differ": (reply(b"content-length: 5", b"content-length: 6", body=b"hello!"), REFUSED),
    "a list of lengths that differ": (reply(b"content-length: 5, 6", body=b"hello!"), REFUSED),
    "a negative length": (reply(b"content-length: -1"), REFUSED),
    "a length with a sign": (reply(b"content-length: +5", body=b"hello"), REFUSED),
    "a length in hexadecimal": (reply(b"content-length: 0x5", body=b"hello"), REFUSED),
    "a length with a gap": (reply(b"content-length: 5 5", body=b"hello"), REFUSED),
    "an empty length": (reply(b"content-length:", body=b"hello"), REFUSED),
    "another coding": (reply(b"transfer-encoding: gzip, chunked", body=HELLO), REFUSED),
    "another coding alone": (reply(b"transfer-encoding: identity", body=b"hello"), REFUSED),
    "chunked twice": (reply(b"transfer-encoding: chunked, chunked", body=HELLO), REFUSED),
    "chunked in two headers": (reply(CHUNKED, CHUNKED, body=HELLO), REFUSED),
    "chunked behind a vertical tab": (reply(b"transfer-encoding: \x0bchunked", body=HELLO), REFUSED),
    "a size that is none": (reply(CHUNKED, body=b"xyz\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "a size with a sign": (reply(CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "a size with a prefix": (reply(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "an empty size": (reply(CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "a size too large for any machine": (reply(CHUNKED, body=b"1" + b"0" * 20 + b"\r\nhello"), REFUSED),
    "a chunk longer than its size": (reply(CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n"), REFUSED),
    "a name with a blank behind": (reply(b"content-length : 5", body=b"hello"), REFUSED),
    "a name with a blank within": (reply(b"content length: 5", body=b"hello"), REFUSED),
    "no name": (reply(b": 5", b"content-length: 0"), REFUSED),
    "no colon": (reply(b"content-length", b"content-length: 0"), REFUSED),
    "a nought in a value": (reply(b"x: a\0b", b"content-length: 0"), REFUSED),
    "a return in a value": (reply(b"x: a\rb", b"content-length: 0"), REFUSED),
    "chunks with bare line feeds": (reply(CHUNKED, body=b"5\nhello\n0\n\n"), REFUSED),
    "less than announced": (reply(b"content-length: 9", body=b"hello"), CUT),
    "no last chunk": (reply(CHUNKED, body=b"5\r\nhello\r\n"), CUT),
    "no end of trailers": (reply(CHUNKED, body=b"5\r\nhello\r\n0\r\nx: 1\r\n"), CUT),
    "half a chunk": (reply(CHUNKED, body=b"9\r\nhello"), CUT),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-le", CUT),
    "half a status line": (b"HTTP/1.1 2", CUT),
    "nothing": (b"", CUT),
    "only hints": (reply(status=b"103 Early Hints"), CUT),
}

# What h11 takes: an intermediary that read it otherwise than we do could be made to see another message.
STRICTER = {
    "a length and chunks": reply(b"content-length: 5", CHUNKED, body=HELLO),
    "chunks and a length": reply(CHUNKED, b"content-length: 5", body=HELLO),
    "the next version's name": reply(b"content-length: 0", version=b"HTTP/2.0"),
    "a version before versions": reply(b"content-length: 0", version=b"HTTP/0.9"),
    "one length twice": reply(b"content-length: 5", b"content-length: 5", body=b"hello"),
    "a list of one length": reply(b"content-length: 5, 5", body=b"hello"),
    "a trailer about framing": reply(CHUNKED, body=b"5\r\nhello\r\n0\r\ncontent-length: 9\r\n\r\n"),
    "a folded header": reply(b"x: a\r\n b", b"content-length: 0"),
    "a folded length": reply(b"content-length:\r\n 5", body=b"hello"),
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    "a size with a blank behind": reply(CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n"),
}

# A whole reply, and what nobody asked for behind it.
BEHIND = {
    "another reply": (reply(b"content-length: 2", body=b"ok"), reply(b"content-length: 0")),
    "rubbish": (reply(b"content-length: 5", body=b"hello"), b" and more"),
    "rubbish behind chunks": (reply(CHUNKED, body=HELLO), b"more"),
    "rubbish though it closes": (reply(b"connection: close", b"content-length: 2", body=b"ok"), b"more"),
    "hints": (reply(b"content-length: 2", body=b"ok"), reply(status=b"103 Early Hints")),
    "the beginning of a reply": (reply(b"content-length: 2", body=b"ok"), b"H"),
}

WHOLES = {name: raw for name, (raw, _) in GOOD.items()}
BROKEN = {name: raw for name, (raw, _) in BAD.items()} | STRICTER


@pytest.mark.parametrize("name", GOOD)
def test_a_good_reply_is_heard_as_the_second_parser_hears_it(name):
    raw, verdict = GOOD[name]
    heard = by_us(raw)
    assert heard.verdict is verdict
    assert heard == by_h11(raw)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_reply_is_none_to_both_parsers(name):
    raw, verdict = BAD[name]
    assert by_us(raw).verdict is verdict
    assert not by_h11(raw).is_whole


@pytest.mark.parametrize("name", STRICTER)
def test_a_doubtful_reply_is_refused_though_the_second_parser_takes_it(name):
    assert by_us(STRICTER[name]).verdict is REFUSED
    assert by_h11(STRICTER[name]).is_whole


def cuts_of(raw):
    """Yields the reply in two reads, cut everywhere, and byte by byte."""
    for cut in range(1, len(raw), 1 if len(raw) < 1000 else 97):
        yield raw[:cut], raw[cut:]
    yield tuple(raw[i : i + 1] for i in range(len(raw)))


@pytest.mark.parametrize("name", WHOLES)
def test_a_good_reply_is_the_same_however_it_is_read(name):
    raw = WHOLES[name]
    heard = by_us(raw)
    for pieces in cuts_of(raw):
        assert by_us(*pieces) == heard, pieces


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_reply_is_whole_however_it_is_read_never(name):
    for pieces in cuts_of(BROKEN[name]):
        assert not by_us(*pieces).is_whole, pieces


@pytest.mark.parametrize("name", BEHIND)
def test_what_nobody_asked_for_ends_the_connection(name):
    whole, extra = BEHIND[name]
    assert by_us(whole + extra).verdict is REFUSED
    # In a read of its own it comes too late to say anything about the reply.
    bench, sink = Bench(), Listener()
    bench.ask(sink)
    bench.feed(whole)
    assert sink.events[-1] == "end"
    bench.feed(extra)
    assert bench.wire.closing
    bench.finish()
    assert bench.pool.idle_connections == 0


def test_empty_lines_behind_a_reply_are_harmless_in_the_same_read_only():
    whole = reply(b"content-length: 2", body=b"ok")
    assert by_us(whole + b"\r\n").verdict is REUSABLE
    bench, sink = Bench(), Listener()
    bench.ask(sink)
    bench.feed(whole, b"\r\n")
    assert bench.wire.closing


def test_replies_on_one_connection_know_nothing_of_one_another():
    bench = Bench()
    for raw, headers, body in [
        (
            reply(CHUNKED, b"x-first: 1", body=b"5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n"),
            [(b"transfer-encoding", b"chunked"), (b"x-first", b"1")],
            b"hello",
        ),
        (reply(status=b"204 x"), [], b""),
        (reply(b"content-length: 0", status=b"103 x") + reply(status=b"304 x"), [], b""),
        (reply(b"content-length: 2", body=b"ok"), [(b"content-length", b"2")], b"ok"),
    ]:
        sink = Listener()
        bench.ask(sink)
        bench.feed(raw)
        assert sink.events[-1] == "end"
        assert sink.headers == headers
        assert sink.body == body
    assert bench.wire.written == b"request" * 4


def test_a_call_on_a_kept_connection_needs_no_event_loop():
    """No task, no future and no timer: they would all ask for the loop that runs."""
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert by_us(WHOLES["a length"]).verdict is REUSABLE
    assert by_us(WHOLES["chunks"][:60], WHOLES["chunks"][60:]).verdict is REUSABLE


HEAD_LIMIT = ClientLimits().header_bytes
LARGE = {
    "one long header": reply(b"x: " + b"y" * HEAD_LIMIT, b"content-length: 0"),
    "one long header before a body": reply(b"x: " + b"y" * HEAD_LIMIT, b"content-length: 5", body=b"hello"),
    "many headers": reply(*[b"x-%d: y" % i for i in range(256)], b"content-length: 0"),
    "many empty headers": reply(*[b"x:"] * 5000, b"content-length: 0"),
    "a long reason": reply(b"content-length: 0", status=b"200 " + b"y" * HEAD_LIMIT),
    "a name without end": b"HTTP/1.1 200 OK\r\n" + b"x" * (HEAD_LIMIT + 1),
    "empty lines without end": b"\r\n" * HEAD_LIMIT,
    "trailers without end": reply(CHUNKED, body=b"0\r\n" + b"x: y\r\n" * HEAD_LIMIT),
    "an extension without end": reply(CHUNKED, body=b"5;" + b"x" * (HEAD_LIMIT + 1)),
    "zeros without end": reply(CHUNKED, body=b"0" * (HEAD_LIMIT + 1)),
    "hints without end": reply(status=b"103 x") * 9 + reply(b"content-length: 0"),
    "long hints": reply(b"x: " + b"y" * 40_000, status=b"103 x") * 2 + reply(b"content-length: 0"),
}


@pytest.mark.parametrize("size", [None, 1000], ids=["one read", "many reads"])
@pytest.mark.parametrize("name", LARGE)
def test_what_grows_without_end_is_refused(name, size):
    raw = LARGE[name]
    pieces = [raw] if size is None else [raw[i : i + size] for i in range(0, len(raw), size)]
    assert by_us(*pieces).verdict is REFUSED


def test_the_largest_head_that_is_allowed_is_taken():
    raw = reply(*[b"x-%d: y" % i for i in range(255)], b"content-length: 0")
    assert by_us(raw).verdict is REUSABLE
    assert by_us(reply(status=b"103 x") * 8 + raw).verdict is REUSABLE
    assert by_us(reply(b"x: " + b"y" * (HEAD_LIMIT - 1000), b"content-length: 0")).verdict is REUSABLE
    # What comes with it in one read is not its own.
    long = reply(b"content-length: %d" % (2 * HEAD_LIMIT), body=b"z" * 2 * HEAD_LIMIT)
    assert by_us(long).verdict is REUSABLE
    assert by_us(long[:100], long[100:]).verdict is REUSABLE


def test_a_connection_of_the_old_version_is_kept_when_it_says_so():
    raw = reply(b"connection: keep-alive", b"content-length: 2", body=b"ok", version=b"HTTP/1.0")
    assert by_us(raw).verdict is REUSABLE


def test_switching_protocols_is_refused():
    upgrade = (b"upgrade: websocket", b"connection: upgrade")
    assert by_us(reply(*upgrade, status=b"101 Switching Protocols")).verdict is REFUSED
    assert by_us(reply(status=b"101 Switching Protocols") + reply(b"content-length: 0")).verdict is REFUSED
    # Offering it is no switch.
    assert by_us(reply(*upgrade, b"content-length: 2", body=b"ok")).verdict is not CUT


def test_a_broken_connection_cuts_even_a_reply_that_only_closing_ends():
    for raw in WHOLES["up to the end of the connection"], WHOLES["a length"][:-1], b"":
        bench, sink = Bench(), Listener()
        bench.ask(sink)
        bench.feed(*([raw] if raw else []))
        bench.finish(ConnectionResetError())
        assert sink.kind is FailureKind.CUT


NAMES = st.sampled_from([b"x-a", b"Content-Type", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Date"])
VALUES = st.sampled_from([b"", b"1", b"5", b"chunked", b"close", b"keep-alive", b"gzip", b"a b", b"\xe9", b'"q"'])
NOISE = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\0",
        b":",
        b";",
        b",",
        b"0",
        b"5",
        b"f",
        b"-",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff",
    ]
)


@st.composite
def replies(draw):
    """Replies that are mostly right: a status, framing, a body, and up to three places where bytes came or went."""
    body = draw(st.binary(max_size=12))
    lines = [b"%b: %b" % pair for pair in draw(st.lists(st.tuples(NAMES, VALUES), max_size=2))]
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    if framing == "length":
        lines.append(b"content-length: %d" % len(body))
    elif framing == "chunks":
        lines.append(b"transfer-encoding: chunked")
        at = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:at], body[at:]) if part]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    status = draw(st.sampled_from([b"200 OK", b"204 x", b"304 x", b"404", b"500 ", b"103 x"]))
    raw = reply(*lines, body=body, status=status, version=draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        gone = draw(st.integers(0, 2))
        raw = raw[:at] + draw(NOISE | st.just(b"")) + raw[at + gone :]
    return raw


@settings(max_examples=400, derandomize=True, deadline=None)
@given(replies(), st.integers(0, 200))
def test_whatever_is_taken_means_the_same_to_the_second_parser(raw, cut):
    # The reason is dropped unread, whatever is in it.
    assume(not re.search(rb"HTTP/1\.[01] [0-9]{3}[^\r\n]*\0", raw))
    heard = by_us(raw)
    if heard.is_whole:
        # So do those before the first; h11 takes them from clients only.
        other = by_h11(raw.lstrip(b"\r\n"))
        # It never keeps a connection of the old version.
        assert heard == (replace(other, verdict=heard.verdict) if other.is_whole and b"HTTP/1.0" in raw else other)
        assert by_us(raw[:cut], raw[cut:]) == heard
