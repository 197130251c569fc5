"""Each way of breaking a client that the wire rules of the dialects name, put into what we send: the grammars find it.

The grammars are what every stream of ours is held against, so that no row can be sent unnoticed.
"""

import json
import re

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages, check_responses
from services.router.tests.unit.test_dialect_gemini import CONTENTS
from services.router.tests.unit.test_dialect_streams import CHAT, MESSAGES, opened

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation

pytestmark = pytest.mark.unit


def sent(caller, upstream, stream):
    one = StreamTranslation(Translation(opened(caller), upstream, {}))
    return one.feed(stream) + one.finish()


SENT = {
    "chat": sent(wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC, MESSAGES),
    "messages": sent(wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI, CONTENTS),
    "contents": sent(wire.DIALECT_GEMINI, wire.DIALECT_OPENAI_CHAT, CHAT),
    "responses": sent(wire.DIALECT_OPENAI_RESPONSES, wire.DIALECT_ANTHROPIC, MESSAGES),
}
CHECKS = {
    "chat": lambda stream: check_chat(stream, usage=True),
    "messages": check_messages,
    "contents": check_contents,
    "responses": check_responses,
}


def each(change):
    """Returns what changes the object of every frame; None takes the frame away."""

    def spoil(stream):
        out = []
        for frame in stream.split(b"\n\n")[:-1]:
            head, _, data = frame.partition(b"data: ")
            if data == b"[DONE]":
                out.append(frame)
            elif (found := change(json.loads(data))) is not None:
                out.append(b"%bdata: %b" % (head, json.dumps(found, ensure_ascii=False).encode()))
        return b"".join(frame + b"\n\n" for frame in out)

    return spoil


def without(kind):
    return each(lambda event: None if event["type"] == kind else event)


def in_choice(**more):
    return each(lambda chunk: chunk | {"choices": [{**choice, **more} for choice in chunk["choices"]]})


def in_delta(change):
    def spoil(chunk):
        for choice in chunk["choices"]:
            change(choice["delta"])
        return chunk

    return each(spoil)


def in_calls(change):
    def spoil(delta):
        for call in delta.get("tool_calls", ()):
            change(call)

    return in_delta(spoil)


def without_member(path):
    """Returns what takes a member out of every event that has it, such as usage of message."""
    *outer, last = path.split(".")

    def spoil(event):
        inner = event
        for name in outer:
            inner = inner.get(name) or {}
        inner.pop(last, None)
        return event

    return each(spoil)


def before_end(frame):
    return lambda stream: stream.replace(b"data: [DONE]", frame + b"data: [DONE]")


def instead(old, new, count=-1):
    return lambda stream: stream.replace(old, new, count)


def two_calls(stream):
    found = re.findall(rb'"tool_calls":\[(\{.*?\})\]\}', stream)
    return stream.replace(found[0], found[0] + b"," + found[0].replace(b'"index":0', b'"index":1'), 1)


def twice(pattern):
    return lambda stream: re.sub(rb"(data: [^\n]*" + pattern + rb"[^\n]*\n\n)", rb"\1\1", stream, count=1)


ANY = {
    "an event without data": lambda stream: b"event: x\n\n" + stream,
    "an id line": instead(b"data: ", b"id: 1\ndata: ", 1),
    "a retry line": instead(b"data: ", b"retry: 1\ndata: ", 1),
    "a comment that says ping": lambda stream: b": ping\n\n" + stream,
    "data without a blank": instead(b"data: ", b"data:"),
    "data over two lines": lambda stream: re.sub(rb"data: \{", b"data: {\ndata: ", stream, count=1),
    "CRLF": instead(b"\n", b"\r\n"),
    "half a frame at the end": lambda stream: stream + b"data: {",
}
OWN = {
    "chat": {
        "an event line": instead(b"data: ", b"event: message\ndata: "),
        "an object without choices": before_end(b'data: {"type": "ping"}\n\n'),
        "a role on every chunk": in_delta(lambda delta: delta.setdefault("role", "assistant")),
        "no role": in_delta(lambda delta: delta.pop("role", None)),
        "no finish_reason": in_choice(finish_reason=None),
        "finish_reason twice": twice(rb'"finish_reason":"tool_calls"'),
        "finish_reason stop behind calls": instead(b'"tool_calls"}', b'"stop"}'),
        "an unknown finish_reason": instead(b'"finish_reason":"tool_calls"', b'"finish_reason":"eos"'),
        "no [DONE]": instead(b"data: [DONE]\n\n", b""),
        "a call named again": in_calls(lambda call: call["function"].setdefault("name", "first")),
        "the id of a call again": in_calls(lambda call: call.setdefault("id", "toolu_1")),
        "a call without index": in_calls(lambda call: call.pop("index")),
        "two calls in one chunk": two_calls,
        "an error that is null": each(lambda chunk: chunk | {"error": None}),
        "usage on every chunk": each(lambda chunk: chunk | {"usage": {"total_tokens": 1}}),
        "usage on the chunk of the finish": lambda stream: stream.replace(
            b'"finish_reason":"tool_calls"}]', b'"finish_reason":"tool_calls"}],"usage":{"total_tokens":1}'
        ),
        "usage twice": twice(rb'"choices":\[\]'),
        "thoughts under two names": in_delta(lambda delta: delta.setdefault("reasoning", "Hm")),
        "a choice without index": each(
            lambda chunk: chunk | {"choices": [{"delta": one["delta"], "finish_reason": one["finish_reason"]}
                                               for one in chunk["choices"]]}
        ),
        "another id on each chunk": instead(b"chatcmpl-", b"chatcmpl-other-", 1),
        "another object": instead(b"chat.completion.chunk", b"chat.completion"),
    },
    "messages": {
        "no event lines": lambda stream: re.sub(rb"event: \w+\n", b"", stream),
        "an error frame among good ones": lambda stream: stream.replace(
            b"event: message_delta", b'event: error\ndata: {"type": "error", "error": {}}\n\nevent: message_delta'
        ),
        "no usage at the start": without_member("message.usage"),
        "no usage at the end": without_member("usage"),
        "a delta without its block": without("content_block_start"),
        "a block that does not end": without("content_block_stop"),
        "no message_start": without("message_start"),
        "no message_delta": without("message_delta"),
        "no message_stop": without("message_stop"),
        "[DONE]": lambda stream: stream + b"data: [DONE]\n\n",
        "end_turn behind calls": instead(b'"tool_use","stop_sequence"', b'"end_turn","stop_sequence"'),
    },
    "contents": {
        "a comment": lambda stream: b": keep-alive\n\n" + stream,
        "an event line": instead(b"data: ", b"event: message\ndata: "),
        "[DONE]": lambda stream: stream + b"data: [DONE]\n\n",
        "no finishReason": each(
            lambda chunk: chunk | {"candidates": [{"content": one["content"]} for one in chunk["candidates"]]}
        ),
        "no usage": without_member("usageMetadata"),
        "an error among good ones": each(lambda chunk: {"error": {"code": 500}}),
    },
    "responses": {
        "no response.created": without("response.created"),
        "no response.completed": without("response.completed"),
        "no output_item.added": without("response.output_item.added"),
        "no content_part.added": without("response.content_part.added"),
        "no output_item.done": without("response.output_item.done"),
        "no id": without_member("response.id"),
        "no usage": without_member("response.usage"),
        "no total_tokens": without_member("response.usage.total_tokens"),
        "no cached_tokens": without_member("response.usage.input_tokens_details.cached_tokens"),
        "no reasoning_tokens": without_member("response.usage.output_tokens_details.reasoning_tokens"),
        "no numbers": without_member("sequence_number"),
        "an object without type": without_member("type"),
    },
}  # fmt: skip
ROWS = [(dialect, name, spoil) for dialect, own in OWN.items() for name, spoil in (ANY | own).items()]


@pytest.mark.parametrize("dialect", SENT)
def test_what_we_send_has_none_of_them(dialect):
    CHECKS[dialect](SENT[dialect])


@pytest.mark.parametrize(("dialect", "spoil"), [pytest.param(row[0], row[2], id=f"{row[0]}: {row[1]}") for row in ROWS])
def test_a_row_that_is_sent_is_found(dialect, spoil):
    spoilt = spoil(SENT[dialect])
    assert spoilt != SENT[dialect]
    with pytest.raises((AssertionError, KeyError, ValueError, TypeError)):
        CHECKS[dialect](spoilt)
