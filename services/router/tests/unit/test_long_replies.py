"""Whole replies that are too long to leave at once: in windows, at the pace of their caller, and charged whole."""

import json

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, snapshot
from services.router.tests.unit.test_repeating import FORM, FORM_TYPE

from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.unit

WINDOW = 256 * 1024
STEP = 64 * 1024


def body_of(size):
    """Returns a reply of so many bytes."""
    head, tail = b'{"choices":[{"index":0}],"pad":"', b'","usage":{"prompt_tokens":3,"completion_tokens":2}}'
    return head + b"y" * (size - len(head) - len(tail)) + tail


def used(event):
    """Returns what an event says was used, by the names of its fields."""
    found = {field.name: value for field, value in event.usage.ListFields() if field.name != "units"}
    return found | dict(event.usage.units)


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


JSON = b'{"messages":[{"role":"user","content":"12345678901234567890"}]}'
LEFT = {
    # Four bytes of a prompt to a token, sixteen of a reply: as where a whole reply says nothing of its usage.
    "chat": (wire.OPERATION_CHAT, JSON, {"input_tokens": 16, "output_tokens": 100}),
    "embeddings": (wire.OPERATION_EMBEDDINGS, b'{"input":"12345678901234567890"}', {"input_tokens": 9}),
    # What these are metered by is in no proportion to the size of a reply.
    "moderation": (wire.OPERATION_MODERATION, b'{"input":"a"}', {}),
    "rerank": (wire.OPERATION_RERANK, b'{"query":"a","documents":["b"]}', {"search": 1}),
    "transcript": (wire.OPERATION_TRANSCRIPTION, FORM, {"audio_second": 1}),
}


def asked(router, operation, body, **fields):
    """Returns a request whose provider has said the first 1,600 bytes of a whole reply."""
    headers = [wire.Header(name=b"content-type", value=FORM_TYPE)] if body is FORM else []
    request = router.open(body=body, operation=operation, headers=headers, **fields)
    sink = router.upstream.calls[-1].sink
    sink.upstream_head(200, [])
    sink.upstream_data(b"{" * 1600)
    return request


@pytest.mark.parametrize(("operation", "body", "units"), LEFT.values(), ids=LEFT.keys())
def test_a_caller_that_leaves_before_its_end_pays_for_what_came(router, operation, body, units):
    request = asked(router, operation, body)
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    _, (end,) = out(router)
    (event,) = router.events
    assert (end.outcome, event.estimated, used(event)) == (
        wire.OUTCOME_CANCELLED, True, {**units, "requests": 1},
    )  # fmt: skip


SAID = [{"role": "user", "content": "hi"}]
CHAT = {"messages": SAID}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
ODDS = {"logprobs": True, "top_logprobs": 20}
CHATS, COMPLETIONS = wire.OPERATION_CHAT, wire.OPERATION_COMPLETION
OPENAI = wire.DIALECT_OPENAI_CHAT
BOUNDS = {
    "a limit": (OPENAI, CHATS, {**CHAT, **ODDS, "max_tokens": 10}, 10),
    "the newest name of it": (OPENAI, CHATS, {**CHAT, "max_tokens": 90, "max_completion_tokens": 10}, 10),
    "nothing at all": (OPENAI, CHATS, {**CHAT, "max_tokens": 0}, 0),
    "several choices": (OPENAI, CHATS, {**CHAT, "max_tokens": 10, "n": 3}, 30),
    "more than came": (OPENAI, CHATS, {**CHAT, "max_tokens": 1000, "n": 3}, 100),
    "no limit": (OPENAI, CHATS, {**CHAT, "max_tokens": None, "n": None}, 100),
    "a response": (wire.DIALECT_OPENAI_RESPONSES, CHATS, {"input": "hi", "max_output_tokens": 10}, 10),
    "a message": (wire.DIALECT_ANTHROPIC, CHATS, {**CHAT, "max_tokens": 10, "n": 5}, 10),
    "contents": (
        wire.DIALECT_GEMINI, CHATS, {**CONTENTS, "generationConfig": {"maxOutputTokens": 10, "candidateCount": 2}}, 20,
    ),
    "contents, otherwise spelled": (
        wire.DIALECT_GEMINI, CHATS, {**CONTENTS, "generation_config": {"max_output_tokens": 10}}, 10,
    ),
    "a completion": (OPENAI, COMPLETIONS, {"prompt": "hi", "max_tokens": 10}, 10),
    "completions": (OPENAI, COMPLETIONS, {"prompt": ["a", "b"], "max_tokens": 10, "n": 2, "best_of": 3}, 60),
    "a completion of tokens": (OPENAI, COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 10}, 10),
}  # fmt: skip


@pytest.mark.parametrize(("dialect", "operation", "body", "most"), BOUNDS.values(), ids=BOUNDS.keys())
def test_nobody_pays_for_more_output_than_was_asked_for(router, dialect, operation, body, most):
    request = asked(router, operation, json.dumps(body).encode(), dialect=dialect)
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    (event,) = router.events
    assert event.usage.output_tokens == most


@pytest.mark.parametrize(("more", "most"), [({}, 50), ({"n": 2}, 100), ({"max_tokens": 70}, 70)])
def test_nobody_pays_for_more_output_than_the_model_has(tmp_path, more, most):
    router = Router(tmp_path, snapshot([channel("a", "brief")]))
    asked(router, CHATS, json.dumps({**CHAT, **more}).encode(), model="brief").cancel(wire.CANCEL_REASON_CLIENT_GONE)
    (event,) = router.events
    assert event.usage.output_tokens == most


def test_a_whole_reply_without_usage_costs_no_more_than_was_asked_for(router):
    router.open(body=json.dumps({**CHAT, **ODDS, "max_tokens": 10}).encode())
    router.upstream.calls[-1].reply(body=b'{"choices":[{"index":0}],"pad":"%b"}' % (b"y" * 14_000))
    (event,) = router.events
    assert (event.estimated, event.usage.output_tokens) == (True, 10)


def test_a_stream_without_usage_costs_no_more_than_was_asked_for(router):
    request = router.open(body=json.dumps({**CHAT, "stream": True, "max_tokens": 10}).encode(), stream=True)
    sink = router.upstream.calls[-1].sink
    sink.upstream_head(200, [])
    for _ in range(50):
        sink.upstream_data(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    (event,) = router.events
    assert (event.estimated, event.usage.output_tokens) == (True, 10)


@pytest.mark.parametrize("operation", [wire.OPERATION_CHAT, wire.OPERATION_RERANK])
def test_blank_lines_while_a_request_waits_at_the_provider_are_no_answer(router, operation):
    request = router.open(body=LEFT["rerank"][1] if operation == wire.OPERATION_RERANK else JSON, operation=operation)
    sink = router.upstream.calls[-1].sink
    sink.upstream_head(200, [])
    for _ in range(100):
        sink.upstream_data(b" \r\n")
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    (event,) = router.events
    assert used(event) == {}


def test_an_answer_that_begins_behind_blank_lines_is_paid(router):
    request = router.open(body=JSON)
    sink = router.upstream.calls[-1].sink
    sink.upstream_head(200, [])
    for _ in range(100):
        sink.upstream_data(b"\n")
    sink.upstream_data(b"{" * 1600)
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    (event,) = router.events
    assert used(event) == {"input_tokens": 16, "output_tokens": 106, "requests": 1}


UNPAID = {
    "the caller was told that time is up": lambda request: request.cancel(wire.CANCEL_REASON_DEADLINE),
    "edge asks another router": lambda request: request.cancel(),
    "a step of ours failed": lambda request: request.broke(),
}


@pytest.mark.parametrize("ends", UNPAID.values(), ids=UNPAID.keys())
def test_nobody_pays_for_a_reply_that_was_taken_from_its_caller(router, ends):
    ends(asked(router, wire.OPERATION_CHAT, JSON))
    (event,) = router.events
    assert used(event) == {}


def test_nobody_pays_for_an_answer_that_has_not_begun_or_is_an_error(router):
    router.open().cancel(wire.CANCEL_REASON_CLIENT_GONE)
    request = router.open()
    sink = router.upstream.calls[-1].sink
    sink.upstream_head(503, [])
    sink.upstream_data(b"{" * 1600)
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    assert [used(event) for event in router.events] == [{}, {}]


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
