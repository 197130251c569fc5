"""A head that is known from the request before: it is taken as known only where the parser would say the same of it."""

import random
from types import SimpleNamespace

import httptools
import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.faces import OPENAI
from tollgate_edge.inference.exchange import InferenceExchange
from tollgate_edge.inference.known_head import known_head

pytestmark = pytest.mark.unit

NAMES = ()
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer k\r\n"
    b"Content-Length: %d\r\nX-Last: 1\r\n\r\n"
)
MUTATIONS = 20_000


class Parsed:
    """What the parser makes of some bytes; `bodies` has one entry for each whole message."""

    def __init__(self, data):
        self.url, self.headers, self.bodies, self.broken = b"", [], [], False
        self._parts = []
        try:
            httptools.HttpRequestParser(self).feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.broken = True

    def on_message_begin(self):
        self._parts = []

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name, value))

    def on_body(self, body):
        self._parts.append(body)

    def on_message_complete(self):
        self.bodies.append(b"".join(self._parts))

    @property
    def others(self):
        """All but the length."""
        return self.url, [(name, value) for name, value in self.headers if name.lower() != b"content-length"]


def request(body=b'{"a":1}', head=HEAD):
    return head % len(body) + body


def exchange(content_length, operation=wire.OPERATION_CHAT):
    made = InferenceExchange(SimpleNamespace(new_request_id=lambda: "req_1"), None, operation, OPENAI)
    made.content_length, made.presented, made.host = content_length, b"k", b"t"
    return made


def known(data=None, operation=wire.OPERATION_CHAT):
    data = data or request()
    return known_head(data, exchange(len(data) - data.index(b"\r\n\r\n") - 4, operation), NAMES)


@pytest.mark.parametrize("body", [b"", b"x", b"{}" * 400, b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"])
def test_the_same_head_before_another_body_is_known(body):
    assert known().body_of(request(body)) == body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request()[:-1], id="the body is not whole"),
        pytest.param(request() + b"P", id="another one behind it"),
        pytest.param(request().replace(b"Bearer k", b"Bearer l"), id="another key"),
        pytest.param(request().replace(b"X-Last: 1", b"X-Last: 2"), id="another header behind the length"),
        pytest.param(request().replace(b"/v1/chat", b"/v1/chut"), id="another path"),
        pytest.param(request().replace(b": 7\r\n", b": +7\r\n"), id="a sign"),
        pytest.param(request().replace(b": 7\r\n", b": 7 \r\n"), id="a blank"),
        pytest.param(request().replace(b": 7\r\n", b": \r\n"), id="no length"),
        pytest.param(request().replace(b": 7\r\n", b": " + b"7".rjust(30, b"0") + b"\r\n"), id="too many digits"),
        pytest.param(request()[:60], id="half a head"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_differs_in_anything_else_is_for_the_parser(data):
    assert known().body_of(data) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request().replace(b"Content-Length: 7", b"Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(request(head=HEAD.replace(b"Host: t", b"Host: " + b"t" * 5000)), id="long"),
        pytest.param(b"POST /v1/chat/completions HTTP/1.1\r\nHost: t", id="not whole"),
    ],
)
def test_a_head_that_varies_in_more_than_its_length_is_not_kept(data):
    assert known_head(data, exchange(7), NAMES) is None


def test_a_length_that_the_parser_did_not_read_is_not_taken_for_the_head_s():
    """The head ends at bare line feeds, and what looks like its end is in the body."""
    body = b"\r\nContent-Length: 7\r\n\r\n1234567"
    data = b"POST /v1/chat/completions HTTP/1.1\nContent-Length: %d\n\n" % len(body) + body
    assert known_head(data, exchange(len(body)), NAMES) is None


def test_a_form_is_not_kept_since_its_type_is_among_what_is_passed_on():
    assert known(operation=wire.OPERATION_TRANSCRIPTION) is None


def test_a_request_of_a_known_head_has_all_that_the_first_one_had():
    first = exchange(7)
    first.content_type, first.traceparent, first.cors, first.forwarded = b"application/json", b"00-a-b-01", True, b"1.2"
    first.passed = [wire.Header(name=b"a", value=b"b")]
    head = known_head(request(), first, NAMES)
    made = head.exchange(SimpleNamespace(new_request_id=lambda: "req_2"), None, b"{}")
    same = ("operation", "face", "named", "presented", "host", "content_type", "traceparent", "cors", "passed")
    assert [getattr(made, name) for name in (*same, "forwarded")] == [
        getattr(first, name) for name in (*same, "forwarded")
    ]
    assert (made.request_id, made.body_parts, made.body_size, made.content_length) == ("req_2", [b"{}"], 2, 2)


def test_the_parser_says_the_same_of_whatever_is_taken_as_known():
    source = random.Random(7)
    pieces = [b"\r\n", b"\n", b" ", b"\t", b":", b"0", b"7", b"+", b"\r\nContent-Length: 3", b"\r\n\r\n", b"\0", b"Q"]
    taken = 0
    for _ in range(MUTATIONS):
        first = request(bytes(source.choices(b'{}:"\r\n17', k=source.randrange(12))))
        head = known(first)
        data = bytearray(request(bytes(source.choices(b'{}:"\r\n17', k=source.randrange(12)))))
        for _ in range(source.choice((0, 1, 1, 2))):
            at = source.randrange(len(data) + 1)
            data[at : at + source.randrange(3)] = source.choice(pieces)
        body = head.body_of(bytes(data))
        if body is None:
            continue
        taken += 1
        parsed = Parsed(bytes(data))
        assert (parsed.broken, parsed.bodies, parsed.others) == (False, [body], Parsed(first).others), bytes(data)
    assert MUTATIONS / 10 < taken < MUTATIONS / 2
