"""Replies that are held since they are not whole yet: a limit for all of them together, whatever becomes of each."""

import json
import tracemalloc

import pytest
from services.router.tests.fakes.exchange import REPLY, Router
from services.router.tests.fakes.versions import channel, snapshot

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.failure import FailureKind
from tollgate_router.exchange.held import UNCOUNTED_BYTES, Memory

pytestmark = pytest.mark.unit
KIB = 1024
LIMIT = 1024 * KIB
HELD = 600 * KIB


def make_router(directory, **more):
    settings = {"max_gathered_reply_bytes": LIMIT, "max_reply_bytes": 2 * LIMIT} | more
    return Router(directory, snapshot([channel("a"), channel("b")]), **settings)


@pytest.fixture
def router(tmp_path):
    return make_router(tmp_path)


def begun(router, size=HELD, **fields):
    """Returns a request and its call, of whose reply so many bytes have come."""
    request = router.open(**fields)
    call = router.upstream.calls[-1]
    call.sink.upstream_head(200, [])
    while size > 0:
        call.sink.upstream_data(b"x" * min(size, 64 * KIB))
        size -= 64 * KIB
    return request, call


def test_a_reply_that_finds_no_room_is_given_up_and_its_caller_told_to_come_back(router):
    _, first = begun(router)
    assert router.deps.memories.replies.bytes == HELD
    _, second = begun(router)
    end = router.end()
    assert (end.error.kind, end.error.retry_after_ms) == (errors.ERROR_KIND_UNAVAILABLE, 1000)
    assert (end.outcome, end.charge_pico) == (wire.OUTCOME_UPSTREAM_ERROR, 0)
    # Nobody else is asked, whose answer would be as long, and nothing is held against who answered.
    assert (second.cancelled, first.cancelled, len(router.upstream.calls)) == (True, False, 2)
    models = [ready.health.models["able"].breaker for ready in router.deps.snapshot.ready.values()]
    assert [breaker._consecutive for breaker in models] == [0, 0]
    assert (router.deps.memories.replies.bytes, router.deps.memories.replies.refused) == (HELD, 1)
    # The one that was there first goes on to its end.
    first.sink.upstream_data(b"x" * (LIMIT - HELD))
    assert (router.deps.memories.replies.bytes, router.outbox.waiting) == (LIMIT, False)


def test_short_replies_are_answered_however_full_it_is(router):
    begun(router, LIMIT)
    router.open()
    router.upstream.calls[-1].reply()
    end = router.end()
    assert (end.outcome, end.data) == (wire.OUTCOME_OK, REPLY)
    _, call = begun(router, UNCOUNTED_BYTES)
    assert not call.cancelled
    assert router.deps.memories.replies.bytes == LIMIT


ENDS = {
    "cancelled": lambda request, call: request.cancel(),
    "broken inside": lambda request, call: request.broke(),
    "whole, and no reply": lambda request, call: call.sink.upstream_end(),
    "broke off": lambda request, call: call.fail(),
    "silent": lambda request, call: call.fail(FailureKind.IDLE_TIMEOUT),
    "too large": lambda request, call: call.sink.upstream_data(b"x" * 2 * LIMIT),
}


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS.keys())
def test_whatever_becomes_of_a_reply_its_room_is_free_again(router, ends):
    memory = router.deps.memories.replies
    request, call = begun(router)
    assert memory.bytes == HELD
    ends(request, call)
    assert (memory.bytes, memory.refused) == (0, 0)
    # Where the next provider is asked, its reply is counted by itself.
    for other in router.upstream.calls[1:]:
        other.reply()
    assert memory.bytes == 0
    assert (router.deps.open_requests, router.open_calls()) == (router.deps.open_requests, 0)


def test_a_whole_reply_leaves_the_room_when_it_leaves(router):
    body = b'{"choices":[{"index":0}],"pad":"' + b"y" * HELD + b'","usage":{"prompt_tokens":3,"completion_tokens":2}}'
    request, call = begun(router, 0)
    call.sink.upstream_data(body[:HELD])
    assert router.deps.memories.replies.bytes == HELD
    call.sink.upstream_data(body[HELD:])
    call.sink.upstream_end()
    # From here on it is one that waits for its caller, which has a limit of its own.
    assert router.deps.memories.replies.bytes == 0
    assert router.deps.counters.waiting_reply_bytes == len(body)
    request.credit(len(body))
    data = b"".join(
        frame.data for message in router.outbox.take() for frame in wire.RouterBatch.FromString(message).data
    )
    assert data == body


def test_small_pieces_take_no_more_than_their_bytes(tmp_path):
    router = make_router(tmp_path, max_gathered_reply_bytes=8 * LIMIT)
    pieces = [bytes((65 + number % 26,)) * 24 for number in range(40_000)]
    request, call = begun(router, 0)
    tracemalloc.start()
    try:
        for piece in pieces:
            # Each of its own, as a read makes it.
            call.sink.upstream_data(bytes(bytearray(piece)))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(map(len, pieces))
    assert request.held_bytes == size + len(b'{"messages":[]}')
    assert taken < 1.5 * size
    assert b"".join(request._reply) == b"".join(pieces)


def test_of_an_error_only_the_beginning_is_kept(router):
    request = router.open()
    call = router.upstream.calls[-1]
    call.sink.upstream_head(500, [])
    for _ in range(100):
        call.sink.upstream_data(b"x" * 16 * KIB)
    assert request.held_bytes <= 80 * KIB + len(b'{"messages":[]}')
    assert router.deps.memories.replies.bytes == 0


# What a stream holds.


def test_a_frame_that_does_not_end_counts_until_it_leaves(router):
    _, call = begun(router, 0, stream=True)
    call.sink.upstream_data(b'data: {"choices":[{"index":0,"delta":{"content":"')
    for _ in range(10):
        call.sink.upstream_data(b"x" * 64 * KIB)
    assert router.deps.memories.replies.bytes > 10 * 64 * KIB
    call.sink.upstream_data(b'"}}]}\n\n')
    assert (router.deps.memories.replies.bytes, call.cancelled) == (0, False)
    call.sink.upstream_data(b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')
    assert router.deps.memories.replies.bytes == 0


@pytest.mark.parametrize("begun_before", [False, True])
def test_a_stream_that_finds_no_room_ends(router, begun_before):
    begun(router, LIMIT)
    _, call = begun(router, 0, stream=True)
    if begun_before:
        call.sink.upstream_data(b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n')
    for _ in range(5):
        if not call.cancelled:
            call.sink.upstream_data(b"data: " + b"x" * 64 * KIB)
    end = router.end()
    assert call.cancelled
    assert end.error.kind == errors.ERROR_KIND_UNAVAILABLE
    assert end.outcome == (wire.OUTCOME_UPSTREAM_CUT if begun_before else wire.OUTCOME_UPSTREAM_ERROR)
    assert router.deps.memories.replies.bytes == LIMIT


def test_what_ordinary_streams_pass_on_is_not_counted(router):
    _, call = begun(router, 0, stream=True)
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 8 * KIB)
    for number in range(100):
        cut = number * 80
        call.sink.upstream_data(frame[:cut] or frame[:1])
        call.sink.upstream_data(frame[cut or 1 :])
    assert (router.deps.memories.replies.bytes, call.cancelled) == (0, False)


def chunk(**delta):
    return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [{"index": 0, "delta": delta}]}).encode()


@pytest.mark.parametrize(
    ("dialect", "delta", "counts"),
    [
        # Its last event says all of it again.
        (wire.DIALECT_OPENAI_RESPONSES, {"content": "x" * 8 * KIB}, True),
        (wire.DIALECT_ANTHROPIC, {"content": "x" * 8 * KIB}, False),
        # Arguments of a call are looked at as a whole.
        (
            wire.DIALECT_ANTHROPIC,
            {"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": "x" * 8 * KIB}}]},
            True,
        ),
    ],
    ids=["text in the Responses API", "text in Messages", "a call's arguments"],
)
def test_what_a_translation_keeps_of_a_stream_is_counted(router, dialect, delta, counts):
    body = b'{"input":"a"}' if dialect == wire.DIALECT_OPENAI_RESPONSES else b'{"max_tokens":9,"messages":[]}'
    if dialect == wire.DIALECT_ANTHROPIC:
        body = b'{"max_tokens":9,"messages":[{"role":"user","content":"a"}]}'
    request, call = begun(router, 0, stream=True, dialect=dialect, body=body)
    call.sink.upstream_data(chunk(role="assistant"))
    for _ in range(40):
        call.sink.upstream_data(chunk(**delta))
    assert router.deps.memories.replies.bytes == (40 * 8 * KIB if counts else 0)
    request.cancel()
    assert router.deps.memories.replies.bytes == 0


def test_the_sum_never_exceeds_the_limit():
    memory = Memory(25)
    held = [0] * 5
    for place, size in ((0, 10), (1, 10), (2, 5), (3, 1), (0, 4), (3, 6), (4, 1)):
        if memory.change(held[place], size):
            held[place] = size
        assert memory.bytes == sum(held) <= 25
    assert (held, memory.refused) == ([4, 10, 5, 6, 0], 2)


# Bodies.

LONG = b'{"messages":[],"pad":"' + b"x" * 200 * KIB + b'"}'


def begun_body(router, body=LONG):
    """Returns a request of which the first 64 KiB have come, and the rest."""
    return router.open(body=body[: 64 * KIB], body_length=len(body)), body[64 * KIB :]


def test_a_body_that_finds_no_room_is_refused_before_anybody_is_asked(tmp_path):
    router = make_router(tmp_path, max_body_memory_bytes=2 * len(LONG))
    bodies = router.deps.memories.bodies
    waiting = [begun_body(router) for _ in range(2)]
    assert bodies.bytes == 2 * len(LONG)
    begun_body(router)
    end = router.end()
    assert (end.error.kind, end.error.retry_after_ms) == (errors.ERROR_KIND_UNAVAILABLE, 1000)
    assert (end.outcome, router.upstream.calls) == (wire.OUTCOME_REFUSED, [])
    assert (bodies.bytes, bodies.refused) == (2 * len(LONG), 1)
    # Short ones are answered all the while, and long ones when there is room again.
    router.open()
    router.upstream.calls[-1].reply()
    request, rest = waiting[0]
    request.body(rest)
    call = router.upstream.calls[-1]
    assert len(b"".join(map(bytes, call.body))) >= len(LONG)
    assert bodies.bytes == 2 * len(LONG)
    call.reply()
    waiting[1][0].cancel()
    assert bodies.bytes == 0
    begun_body(router)
    assert (bodies.bytes, bodies.refused) == (len(LONG), 1)


def test_a_body_is_held_until_nobody_else_can_be_asked(router):
    request, rest = begun_body(router)
    request.body(rest)
    router.upstream.calls[0].reply(500)
    assert router.deps.memories.bodies.bytes == len(LONG)
    router.upstream.calls[1].reply(500)
    assert router.deps.memories.bodies.bytes == 0
