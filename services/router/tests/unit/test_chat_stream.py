"""The filter that a streamed reply passes, fed whole, cut in two at every byte, and byte by byte: always the same."""

from dataclasses import dataclass, field

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.chat_stream import TAIL_BYTES, ChatStream

pytestmark = pytest.mark.unit

HELLO = 'data: {"id":"1","choices":[{"index":0,"delta":{"content":"Hé, 世界"},"finish_reason":null}]}\n\n'.encode()
TRICKY = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"\\"usage\\": {\\"prompt_tokens\\": 9} data: [DONE]'
    b' \\n\\n {\\"error\\": 1}"},"finish_reason":null}]}\n\n'
)
NULL_USAGE = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"}}],"usage":null}\n\n'
STOP = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}\n\n'
ODD_USAGE = b'data: {"id":"1","choices":[],"usage":{"completion_tokens":3,"prompt_tokens":12}}\n\n'
STOP_WITH_USAGE = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":3}}\n\n'
)
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
UNITS = {"input": 12, "output": 3}
PROTOCOL = errors.ERROR_KIND_UPSTREAM_PROTOCOL


@dataclass(frozen=True)
class Case:
    given: bytes
    passed: bytes
    wanted: bool = False
    units: dict = field(default_factory=dict)
    done: bool = True
    complete: bool = True
    failed: bool = False
    kind: int = 0


CASES = {
    "usage that was asked for stays": Case(HELLO + STOP + USAGE + DONE, HELLO + STOP + USAGE + DONE, True, UNITS),
    "usage that was not asked for goes": Case(HELLO + STOP + USAGE + DONE, HELLO + STOP + DONE, units=UNITS),
    "its members in another order": Case(HELLO + STOP + ODD_USAGE + DONE, HELLO + STOP + DONE, units=UNITS),
    "usage null on every chunk stays": Case(NULL_USAGE * 3 + STOP + DONE, NULL_USAGE * 3 + STOP + DONE),
    "usage beside choices loses only itself": Case(
        HELLO + STOP_WITH_USAGE + DONE,
        HELLO + STOP + DONE,
        units=UNITS,
    ),
    "usage beside choices that was asked for": Case(
        HELLO + STOP_WITH_USAGE + DONE, HELLO + STOP_WITH_USAGE + DONE, True, UNITS
    ),
    "the last of several usages counts": Case(USAGE.replace(b"12", b"99") + USAGE + DONE, DONE, units=UNITS),
    "words of the model are never taken for ours": Case(TRICKY + STOP + DONE, TRICKY + STOP + DONE),
    "no usage at all": Case(HELLO + STOP + DONE, HELLO + STOP + DONE),
    "no [DONE], but a reason to finish": Case(HELLO + STOP, HELLO + STOP + DONE),
    "no [DONE] behind the usage": Case(HELLO + STOP + USAGE, HELLO + STOP + USAGE + DONE, True, UNITS),
    "a reason without its blank line and no [DONE]": Case(HELLO + STOP.rstrip(), HELLO + STOP + DONE),
    "no [DONE] and no reason": Case(HELLO * 2, HELLO * 2, done=False, complete=False),
    "cut within a frame": Case(HELLO + STOP[:-20], HELLO, done=False, complete=False),
    "no blank line behind [DONE]": Case(HELLO + STOP + b"data: [DONE]", HELLO + STOP + DONE),
    "an error first": Case(ERROR + DONE, b"", done=False, complete=False, failed=True),
    "an error after a chunk": Case(HELLO + ERROR + HELLO, HELLO, done=False, complete=False, failed=True),
    "HTML": Case(b"<html>\n\n<body>no</body></html>", b"", done=False, complete=False, failed=True, kind=PROTOCOL),
    "an error that is no stream": Case(
        b'{"error":{"message":"no","type":"server_error"}}', b"", done=False, complete=False, failed=True
    ),
    "JSON that is no stream": Case(b'{"hello": 1}', b"", done=False, complete=False, failed=True, kind=PROTOCOL),
    "nothing": Case(b"", b"", done=False, complete=False),
    "event names go with their frame": Case(
        b"event: message\n" + HELLO + b"event: message\n" + USAGE + DONE,
        b"event: message\n" + HELLO + DONE,
        units=UNITS,
    ),
}
for _name in ("usage that was not asked for goes", "an error after a chunk", "usage beside choices that was asked for"):
    _case = CASES[_name]
    CASES[f"{_name}, with CRLF"] = Case(
        _case.given.replace(b"\n", b"\r\n"),
        _case.passed.replace(b"\n", b"\r\n"),
        _case.wanted,
        _case.units,
        _case.done,
        _case.complete,
        _case.failed,
    )


def run(case, *pieces):
    stream = ChatStream(usage_wanted=case.wanted)
    passed = b"".join(stream.feed(piece) for piece in pieces) + stream.finish()
    return stream, passed


def check(case, *pieces):
    stream, passed = run(case, *pieces)
    assert passed == case.passed
    assert dict(stream.usage.units if stream.usage is not None else {}) == case.units
    assert (stream.done, stream.complete) == (case.done, case.complete)
    assert (stream.problem is not None) == case.failed
    if case.kind:
        assert stream.problem.kind == case.kind


@pytest.mark.parametrize("name", CASES)
def test_fed_whole(name):
    check(CASES[name], CASES[name].given)


@pytest.mark.parametrize("name", CASES)
def test_cut_in_two_at_every_byte(name):
    case = CASES[name]
    for at in range(len(case.given) + 1):
        check(case, case.given[:at], case.given[at:])


@pytest.mark.parametrize("name", CASES)
def test_byte_by_byte(name):
    case = CASES[name]
    check(case, *(case.given[at : at + 1] for at in range(len(case.given))))


def test_a_comment_alone_commits_to_nothing():
    stream = ChatStream(usage_wanted=False)
    assert stream.feed(b": waiting\n\n") == b""
    assert stream.feed(ERROR) == b""
    assert stream.problem is not None


def test_a_comment_between_chunks_goes_on():
    stream = ChatStream(usage_wanted=False)
    assert stream.feed(HELLO) == HELLO
    assert stream.feed(b": waiting\n\n") == b": waiting\n\n"


def test_nothing_is_passed_after_a_problem():
    stream = ChatStream(usage_wanted=False)
    assert stream.feed(HELLO + ERROR) == HELLO
    assert stream.feed(HELLO) == b""
    assert stream.finish() == b""


def test_a_frame_beyond_the_limit_goes_on_unread():
    long = b'data: {"choices":[{"delta":{"content":"' + b"x" * 400
    stream = ChatStream(usage_wanted=False, max_frame_bytes=100)
    assert stream.feed(long[:200]) == long[:200]
    assert stream.feed(long[200:]) == long[200:]


def test_frames_stand_in_for_tokens():
    stream = ChatStream(usage_wanted=False)
    stream.feed(HELLO * 50)
    assert 45 <= stream.frames <= 55
    assert ChatStream(usage_wanted=False).frames == 0


@pytest.mark.parametrize("behind", [0, 5, 30, 1000])
def test_a_reason_to_finish_is_seen_however_many_reads_follow_while_it_is_in_the_tail(behind):
    stream = ChatStream(usage_wanted=True)
    comment = b": still here\n\n"
    for part in (*[HELLO] * 30, STOP, *[comment] * behind):
        stream.feed(part)
    assert stream.complete is (behind * len(comment) + len(STOP) <= TAIL_BYTES)
