"""Whole replies that are too long to leave at once: in windows, at the pace of their caller, and charged whole."""

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, snapshot

from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.unit

WINDOW = 256 * 1024
STEP = 64 * 1024


def body_of(size):
    """Returns a reply of so many bytes."""
    head, tail = b'{"choices":[{"index":0}],"pad":"', b'","usage":{"prompt_tokens":3,"completion_tokens":2}}'
    return head + b"y" * (size - len(head) - len(tail)) + tail


@pytest.fixture
def router(tmp_path):
    return Router(tmp_path, snapshot([channel("a")]))


def begun(router, size):
    """Returns a request whose provider has answered so many bytes."""
    request = router.open()
    router.upstream.calls[-1].reply(body=body_of(size))
    return request


def out(router):
    """Returns (data, Ends) of what has left since."""
    batches = [wire.RouterBatch.FromString(message) for message in router.outbox.take()]
    data = b"".join(frame.data for batch in batches for frame in batch.data)
    return data, [end for batch in batches for end in batch.end]


@pytest.mark.parametrize("size", [17_000, WINDOW])
def test_what_fits_a_window_leaves_at_once(router, size):
    begun(router, size)
    data, (end,) = out(router)
    assert (data, end.outcome) == (body_of(size), wire.OUTCOME_OK)


def test_what_does_not_leaves_as_the_caller_takes_it(router):
    size = WINDOW + 3 * STEP + 7
    request = begun(router, size)
    found, ends = out(router)
    assert (len(found), ends, request.stalled) == (WINDOW, [], True)
    assert router.deps.counters.stalls == 1
    # The provider has done its part, and its health is told of it.
    assert router.open_calls() == 0
    request.credit(STEP)
    assert router.events == []
    request.credit(STEP)
    data, ends = out(router)
    assert (len(data), ends) == (2 * STEP, [])
    found += data
    request.credit(WINDOW)
    data, (end,) = out(router)
    assert found + data == body_of(size)
    assert (end.outcome, end.usage.output_tokens) == (wire.OUTCOME_OK, 2)
    (event,) = router.events
    assert event.outcome == wire.OUTCOME_OK
    request.credit(STEP)
    assert out(router) == (b"", [])


def test_a_caller_that_leaves_pays_for_all_of_it(router):
    request = begun(router, 10 * WINDOW)
    out(router)
    request.credit(STEP)
    assert request.held_bytes == len(b'{"messages":[]}') + 10 * WINDOW
    request.cancel()
    data, (end,) = out(router)
    assert (data, end.outcome) == (b"", wire.OUTCOME_CANCELLED)
    (event,) = router.events
    assert (event.usage.input_tokens, event.usage.output_tokens) == (3, 2)
    request.credit(STEP)
    assert out(router) == (b"", [])


def test_above_the_limit_of_what_waits_a_reply_leaves_at_once(tmp_path):
    router = Router(tmp_path, snapshot([channel("a")]), max_waiting_reply_bytes=5 * WINDOW)
    waiting = begun(router, 4 * WINDOW)
    out(router)
    assert router.deps.counters.waiting_reply_bytes == 4 * WINDOW
    begun(router, 2 * WINDOW)
    data, (end,) = out(router)
    assert (data, end.outcome) == (body_of(2 * WINDOW), wire.OUTCOME_OK)
    waiting.credit(4 * WINDOW)
    assert router.deps.counters.waiting_reply_bytes == 0
    begun(router, 5 * WINDOW).cancel()
    assert router.deps.counters.waiting_reply_bytes == 0


def test_a_router_that_stops_sends_the_rest(router):
    request = begun(router, 10 * WINDOW)
    found, _ = out(router)
    request.out_of_time()
    data, (end,) = out(router)
    assert (found + data, end.outcome) == (body_of(10 * WINDOW), wire.OUTCOME_OK)
    request.out_of_time()
    assert len(router.events) == 1


def test_an_error_of_ours_within_it_ends_the_request(router):
    request = begun(router, 10 * WINDOW)
    out(router)
    request.broke()
    _, (end,) = out(router)
    assert (end.outcome, end.usage.output_tokens) == (wire.OUTCOME_UPSTREAM_CUT, 2)
