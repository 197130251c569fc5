"""Each thing that breaks a client is noticed by the parsers that the replays of clients check our streams with."""

import json

import pytest
from tests.integration import client_parsers as clients
from tests.integration.client_parsers import ClientBrokeError

pytestmark = pytest.mark.contract

BASE = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


def chunk(delta=None, finish=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: %b\n\n" % json.dumps({**BASE, "choices": choices, **more}).encode()


def call(index=0, **more):
    return {"tool_calls": [{"index": index, **more} if index is not None else more]}


FIRST = call(id="call_1", type="function", function={"name": "f", "arguments": ""})
ROLE, HI, STOP = chunk({"role": "assistant", "content": ""}), chunk({"content": "hi"}), chunk({}, "stop")
LAST, DONE = chunk(usage=USAGE), b"data: [DONE]\n\n"
ARGUMENTS = chunk(call(function={"arguments": "{}"}))
CALLED = chunk({}, "tool_calls")
SECOND = call(1, id="call_2", type="function", function={"name": "g", "arguments": "{}"})

BAD_CHAT = {
    "an event without data": ROLE + b"event: ping\n\n" + HI + STOP + LAST + DONE,
    "an id alone": ROLE + b"id: 7\n\n" + HI + STOP + LAST + DONE,
    "a retry alone": ROLE + b"retry: 10\n\n" + HI + STOP + LAST + DONE,
    "an object without choices": ROLE + b'data: {"type":"ping"}\n\n' + HI + STOP + LAST + DONE,
    "the role on every chunk": ROLE + chunk({"role": "assistant", "content": "hi"}) + STOP + LAST + DONE,
    "no role": HI + STOP + LAST + DONE,
    "no finish_reason": ROLE + HI + LAST + DONE,
    "id and name of a call again": ROLE + chunk(FIRST) + chunk(FIRST) + CALLED + LAST + DONE,
    "a call without index": ROLE + chunk(call(None, id="c", function={"name": "f", "arguments": ""})) + CALLED + DONE,
    "two calls in one chunk": ROLE
    + chunk({"tool_calls": [*FIRST["tool_calls"], *SECOND["tool_calls"]]})
    + CALLED
    + LAST
    + DONE,
    "an error that is null": ROLE + chunk({"content": "hi"}, error=None) + STOP + LAST + DONE,
    "usage on every chunk": ROLE + chunk({"content": "hi"}, usage=USAGE) + STOP + LAST + DONE,
    "usage twice": ROLE + HI + STOP + LAST + LAST + DONE,
    "JSON over several lines": ROLE + HI.replace(b', "choices"', b',\ndata: "choices"') + STOP + LAST + DONE,
    "a ping as comment": ROLE + b": ping\n\n" + HI + STOP + LAST + DONE,
    "an error as text": ROLE + b'data: {"error":"overloaded"}\n\n',
}


def test_what_is_right_is_read_alike_by_all():
    said = clients.read_chat(ROLE + b": keep-alive\n\n" + HI + STOP + LAST + DONE)
    assert (said.text, said.finish, said.usage) == ("hi", "stop", 3)
    said = clients.read_chat(ROLE + chunk(FIRST) + ARGUMENTS + chunk(SECOND) + CALLED + DONE)
    assert said.calls == [["call_1", "f", "{}"], ["call_2", "g", "{}"]]


@pytest.mark.parametrize("what", BAD_CHAT)
def test_chat_chunks_that_break_somebody(what):
    with pytest.raises(ClientBrokeError):
        clients.read_chat(BAD_CHAT[what])


def event(kind, *, name=None, **more):
    head = f"event: {name if name is not None else kind}\n" if name != "" else ""
    return f"{head}data: {json.dumps({'type': kind, **more})}\n\n".encode()


START = event("message_start", message={"content": [], "usage": {"input_tokens": 1, "output_tokens": 0}})
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
WORD = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
END = event("content_block_stop", index=0)
DELTA = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
OVER = event("message_stop")
BAD_MESSAGES = {
    "no event lines": b"".join(part.split(b"\n", 1)[1] for part in (START, BLOCK, WORD, END, DELTA, OVER)),
    "no usage at the start": event("message_start", message={"content": []}) + BLOCK + WORD + END + DELTA + OVER,
    "no usage at the end": START + BLOCK + WORD + END + event("message_delta", delta={"stop_reason": "x"}) + OVER,
    "a delta without its block": START + WORD + END + DELTA + OVER,
    "no message_stop": START + BLOCK + WORD + END + DELTA,
}


def test_messages_that_are_right():
    said = clients.read_messages(START + event("ping") + BLOCK + WORD + END + DELTA + OVER)
    assert (said.text, said.finish) == ("hi", "end_turn")


@pytest.mark.parametrize("what", BAD_MESSAGES)
def test_messages_that_break_somebody(what):
    with pytest.raises(ClientBrokeError):
        clients.read_messages(BAD_MESSAGES[what])


CONTENT = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
GOOD_CONTENT = b"data: %b\n\n" % json.dumps(CONTENT).encode()
BAD_CONTENTS = {
    "a comment": b": keep-alive\n\n" + GOOD_CONTENT,
    "an event line": b"event: x\n" + GOOD_CONTENT,
    "data without its blank": GOOD_CONTENT.replace(b"data: ", b"data:"),
    "[DONE]": GOOD_CONTENT + DONE,
    "an error": GOOD_CONTENT + b'data: {"error":{"code":500}}\n\n',
}


def test_contents_that_are_right():
    assert clients.read_contents(b"\n" + GOOD_CONTENT).text == "hi"


@pytest.mark.parametrize("what", BAD_CONTENTS)
def test_contents_that_break_somebody(what):
    with pytest.raises(ClientBrokeError):
        clients.read_contents(BAD_CONTENTS[what])


CREATED, ADDED = event("response.created"), event("response.output_item.added", output_index=0)
PART = event("response.content_part.added", content_index=0)
PIECE = event("response.output_text.delta", output_index=0, content_index=0, delta="hi")
COUNTED = {
    "input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}  # fmt: skip


def completed(**more):
    return event("response.completed", response={"id": "r", "status": "completed", "usage": COUNTED, **more})


BAD_RESPONSES = {
    "created is not first": ADDED + PART + PIECE + completed(),
    "a delta without its item": CREATED + PIECE + completed(),
    "a delta without its part": CREATED + ADDED + PIECE + completed(),
    "no end": CREATED + ADDED + PART + PIECE,
    "an end without id": CREATED + ADDED + PART + PIECE + completed(id=""),
    "an error": CREATED + event("error", error={"message": "x"}),
} | {
    f"usage with {name} as {value}": CREATED + completed(usage=COUNTED | {name: value})
    for name in ("input_tokens", "output_tokens", "total_tokens")
    for value in (None, 1.5, "1")
}


def test_responses_that_are_right():
    said = clients.read_responses(CREATED + ADDED + PART + PIECE + completed())
    assert (said.text, said.usage) == ("hi", 2)


@pytest.mark.parametrize("what", BAD_RESPONSES)
def test_responses_that_break_somebody(what):
    with pytest.raises(ClientBrokeError):
        clients.read_responses(BAD_RESPONSES[what])


MODEL = {"id": "m", "object": "model", "created": 1, "owned_by": "o", "supported_endpoint_types": ["openai"]}


def test_models_that_are_right():
    assert clients.read_models(json.dumps({"data": [MODEL]}).encode()) == ["m"]


@pytest.mark.parametrize("change", [{"created": None}, {"created": "1"}, {"owned_by": None}, {"x": None}])
def test_models_that_break_somebody(change):
    with pytest.raises(ClientBrokeError):
        clients.read_models(json.dumps({"data": [MODEL | change]}).encode())


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{}", b'{"error":"text"}', b'{"error":{"message":"","type":"t","param":null,"code":null}}',
     b'{"error":{"message":"m","type":null,"param":null,"code":null}}', b'{"error":{"message":"m","type":"t"}}'],
)  # fmt: skip
def test_errors_that_say_nothing(body):
    with pytest.raises(ClientBrokeError):
        clients.read_error(400, body)
