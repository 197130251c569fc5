"""Streams from one dialect into the other, and past each other, however their bytes are cut."""

import json

import pytest
from services.router.tests.fakes.dialects import check_chat, check_messages

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.anthropic_stream import MessageStream
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation

pytestmark = pytest.mark.unit
OPENAI, ANTHROPIC = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC


def opened(dialect, **fields):
    values = {"model": "asked", "stream": True, "usage_wanted": True, "operation": wire.OPERATION_CHAT} | fields
    return wire.Open(dialect=dialect, **values)


def to_messages(names=None):
    return StreamTranslation(Translation(opened(ANTHROPIC), OPENAI, names or {}))


def to_chat(names=None, **fields):
    return StreamTranslation(Translation(opened(OPENAI, **fields), ANTHROPIC, names or {}))


def chunk(delta=None, reason=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return b"data: %b\n\n" % json.dumps({"id": "chatcmpl-1", "model": "up", "choices": choices, **more}).encode()


def call(index, arguments, call_id=None, name=None):
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function} | ({"id": call_id} if call_id else {})]}


def event(kind, **members):
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())


def tool(call_id, name):
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}}


STARTED = {
    "input_tokens": 25, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 5, "output_tokens": 1,
    "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
}  # fmt: skip
USAGE = {
    "prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39, "prompt_tokens_details": {"cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip
DONE = b"data: [DONE]\n\n"
CHAT = b"".join(
    (
        b": keep-alive\n\n",
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "Let me "}),
        chunk({"reasoning_content": "see."}),
        chunk({"content": "Grüße, "}),
        chunk({"content": '"quoted" [DONE] \n'}),
        chunk(call(0, "", "call_a", "first")),
        chunk(call(0, '{"a"')),
        chunk(call(0, ":1}")),
        chunk(call(1, '{"b":2}', "call_b", "second")),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE),
        DONE,
    )
)
MESSAGES = b"".join(
    (
        event("message_start", message={"id": "msg_1", "model": "up", "content": [], "usage": STARTED}),
        event("ping"),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm, 好."}),
        event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "sig"}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=1, delta={"type": "text_delta", "text": 'say "usage"'}),
        event("content_block_stop", index=1),
        event("content_block_start", index=2, content_block=tool("toolu_1", "first")),
        event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"a":'}),
        event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": "1}"}),
        event("content_block_stop", index=2),
        event("content_block_start", index=3, content_block=tool("toolu_2", "none")),
        event("content_block_stop", index=3),
        event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 11}),
        event("message_stop"),
    )
)  # fmt: skip


def whole(translation, stream):
    return translation.feed(stream) + translation.finish()


def test_chat_chunks_become_messages():
    translation = to_messages()
    said = check_messages(whole(translation, CHAT))
    assert said["model"] == "asked"
    assert [block["type"] for block in said["blocks"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert said["blocks"][0]["thinking"] == "Let me see."
    assert said["blocks"][1]["text"] == 'Grüße, "quoted" [DONE] \n'
    assert [(b["id"], b["name"], b["input"]) for b in said["blocks"][2:]] == [
        ("call_a", "first", {"a": 1}),
        ("call_b", "second", {"b": 2}),
    ]
    assert said["reason"] == "tool_use"
    assert said["usage"]["input_tokens"] == 20
    assert said["usage"]["cache_read_input_tokens"] == 10
    assert said["usage"]["output_tokens"] == 9
    assert translation.complete
    assert translation.usage.units == {"input": 20, "cache_read": 10, "reasoning": 4, "output": 5}


def test_messages_become_chat_chunks():
    translation = to_chat()
    said = check_chat(whole(translation, MESSAGES), usage=True)
    assert (said["thought"], said["text"]) == ("Hm, 好.", 'say "usage"')
    assert said["calls"] == {0: ["toolu_1", "first", '{"a":1}'], 1: ["toolu_2", "none", "{}"]}
    assert said["reason"] == "tool_calls"
    assert said["usage"]["prompt_tokens"] == 37
    assert said["usage"]["completion_tokens"] == 11
    assert said["usage"]["prompt_tokens_details"] == {"cached_tokens": 7, "cache_write_tokens": 5}
    assert said["usage"]["cache_read_input_tokens"] == 7
    units = {"input": 25, "cache_read": 7, "cache_write_5m": 2, "cache_write_1h": 3, "output": 11}
    assert translation.usage.units == units
    check_chat(whole(to_chat(usage_wanted=False), MESSAGES), usage=False)


@pytest.mark.parametrize(("make", "stream"), [(to_messages, CHAT), (to_chat, MESSAGES)], ids=["chat", "messages"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_where_the_bytes_are_cut_changes_nothing(make, stream, ends):
    stream = stream.replace(b"\n", ends)
    expected = whole(make(), stream)
    for cut in range(len(stream)):
        translation = make()
        found = translation.feed(stream[:cut]) + translation.feed(stream[cut:]) + translation.finish()
        assert found == expected, cut
    one_by_one = make()
    assert b"".join(one_by_one.feed(stream[at : at + 1]) for at in range(len(stream))) + one_by_one.finish() == expected


def test_calls_that_come_in_turns_become_blocks_one_behind_the_other():
    stream = b"".join(
        (
            chunk({"role": "assistant"}),
            chunk(call(0, "", "call_a", "first")),
            chunk(call(1, "", "call_b", "second")),
            chunk(call(0, '{"a":')),
            chunk(call(1, '{"b":')),
            chunk({"content": "between"}),
            chunk(call(0, "1}")),
            chunk(call(1, "2}")),
            chunk({}, "stop"),
            DONE,
        )
    )
    said = check_messages(whole(to_messages(), stream))
    assert [(b["name"], b["input"]) for b in said["blocks"] if b["type"] == "tool_use"] == [
        ("first", {"a": 1}),
        ("second", {"b": 2}),
    ]
    assert [b["text"] for b in said["blocks"] if b["type"] == "text"] == ["between"]
    # Some say stop where they have called tools.
    assert said["reason"] == "tool_use"


def test_names_that_the_wire_did_not_take_come_back_as_the_caller_knows_them():
    said = check_chat(whole(to_chat({"first": "first.tool"}), MESSAGES), usage=True)
    assert said["calls"][0][1] == "first.tool"


@pytest.mark.parametrize(
    ("reason", "sequence", "expected"),
    [
        ("end_turn", None, "stop"),
        ("stop_sequence", "END", "stop"),
        ("max_tokens", None, "length"),
        ("model_context_window_exceeded", None, "length"),
        ("refusal", None, "content_filter"),
        ("pause_turn", None, "stop"),
        ("something new", None, "stop"),
    ],
)
def test_reasons_of_messages(reason, sequence, expected):
    stream = event("message_start", message={"id": "msg_1", "usage": {"input_tokens": 1, "output_tokens": 1}})
    stream += event(
        "message_delta", delta={"stop_reason": reason, "stop_sequence": sequence}, usage={"output_tokens": 1}
    )
    stream += event("message_stop")
    assert check_chat(whole(to_chat(), stream), usage=True)["reason"] == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("function_call", "tool_use")],
)
def test_reasons_of_chat(reason, expected):
    stream = chunk({"role": "assistant", "content": "x"}) + chunk({}, reason) + DONE
    assert check_messages(whole(to_messages(), stream))["reason"] == expected


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence", "of its own", "tool_use"])
def test_an_answer_with_calls_ends_with_them_whatever_the_provider_says(reason):
    stream = MESSAGES.replace(b'"stop_reason": "tool_use"', b'"stop_reason": "%b"' % reason.encode())
    assert check_chat(whole(to_chat(), stream), usage=True)["reason"] == "tool_calls"
    reply = {"id": "msg_1", "model": "up", "content": [tool("toolu_1", "f")], "stop_reason": reason, "usage": STARTED}
    reply |= {"type": "message", "role": "assistant"}
    _, found = Translation(opened(OPENAI), ANTHROPIC, {}).read(json.dumps(reply).encode())
    assert json.loads(found)["choices"][0]["finish_reason"] == "tool_calls"


def test_usage_that_comes_with_the_finish_counts():
    stream = chunk({"role": "assistant", "content": "x"}) + chunk({}, "stop", usage=USAGE) + DONE
    translation = to_messages()
    assert check_messages(whole(translation, stream))["usage"]["output_tokens"] == 9


@pytest.mark.parametrize("make", [to_messages, to_chat])
def test_an_error_within_a_stream_ends_it(make):
    stream = CHAT if make is to_messages else MESSAGES
    error = {"type": "overloaded_error", "message": "Overloaded"}
    broken = (
        b"data: %b\n\n" % json.dumps({"error": error}).encode() if make is to_messages else event("error", error=error)
    )
    translation = make()
    assert translation.feed(broken) == b""
    assert translation.problem.kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE
    assert not translation.complete
    assert translation.feed(stream) == b""
    assert translation.finish() == b""


@pytest.mark.parametrize("make", [to_messages, to_chat])
@pytest.mark.parametrize("rubbish", [b"data: {\n\n", b"data: 7\n\n", b"event: x\ndata: <html>\n\n"])
def test_what_cannot_be_read_is_a_problem_of_the_upstream(make, rubbish):
    translation = make()
    translation.feed(rubbish)
    assert translation.problem.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL


@pytest.mark.parametrize(("make", "stream"), [(to_messages, CHAT), (to_chat, MESSAGES)])
def test_a_stream_that_broke_off_is_not_complete(make, stream):
    place = stream.index(b'"finish_reason": "tool_calls"' if make is to_messages else b"event: message_delta")
    translation = make()
    translation.feed(stream[: place - 80])
    translation.finish()
    assert not translation.complete


# Untouched, where both sides speak the same.


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_messages_pass_untouched_and_are_read_on_the_way(ends):
    stream = MESSAGES.replace(b"\n", ends)
    for cut in range(len(stream)):
        passing = MessageStream()
        assert passing.feed(stream[:cut]) + passing.feed(stream[cut:]) + passing.finish() == stream
        assert passing.complete
    assert passing.usage.units["output"] == 11
    assert passing.frames == MESSAGES.count(b"data:")


def test_words_of_a_model_are_not_taken_for_events():
    passing = MessageStream()
    text = '{"type": "message_stop"} "usage": {} "error": {}'
    frame = event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    assert passing.feed(frame) == frame
    assert not passing.done
    assert passing.problem is None


def test_an_error_of_the_same_dialect_is_told_in_our_words():
    passing = MessageStream()
    error = {"type": "rate_limit_error", "message": "slow down"}
    assert passing.feed(event("ping") + event("error", error=error)) == b""
    assert passing.problem.kind == errors.ERROR_KIND_UPSTREAM_RATE_LIMITED
    assert passing.feed(MESSAGES) == b""
