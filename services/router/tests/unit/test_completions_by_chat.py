"""Legacy completions at models that only chat: what is sent on each wire, and what comes back of it."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.dialects import frames
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, OPENAI, target
from services.router.tests.unit.test_dialect_converse import STREAM as CONVERSE
from services.router.tests.unit.test_dialect_gemini import CONTENTS
from services.router.tests.unit.test_dialect_streams import CHAT, MESSAGES

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
ONLY_CHAT = frozenset((wire.OPERATION_CHAT,))
TARGETS = {
    "chat": replace(target(OPENAI), operations=ONLY_CHAT),
    "messages": replace(target(ANTHROPIC), operations=ONLY_CHAT),
    "contents": target(GEMINI),
    "converse": replace(target(ANTHROPIC), wire=WIRE_BEDROCK, upstream_model="anthropic.claude-haiku-4-5"),
}
STREAMS = {"chat": CHAT, "messages": MESSAGES, "contents": CONTENTS, "converse": CONVERSE}
BODY = {
    "model": "m", "prompt": "Once upon", "max_tokens": 30, "temperature": 0.5, "stop": ["END"], "n": 1, "best_of": 1,
    "echo": False, "suffix": None, "logprobs": None,
}  # fmt: skip


NATIVE = replace(target(OPENAI), operations=frozenset((wire.OPERATION_COMPLETION,)))


def asked(place, *, stream=False, usage=True, **more):
    body = json.dumps(BODY | more).encode()
    opened = wire.Open(
        dialect=OPENAI, operation=wire.OPERATION_COMPLETION, model="asked", request_id="req_1", started_at_us=7_000_000,
        stream=stream, usage_wanted=usage, body_length=len(body),
    )  # fmt: skip
    return sending(opened, read_body(body), TARGETS.get(place, NATIVE), body)


def test_the_prompt_is_what_a_user_says():
    sent = asked("messages")
    body = json.loads(sent.body)
    assert sent.path == b"/messages"
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Once upon"}]}]
    assert (body["max_tokens"], body["temperature"], body["stop_sequences"]) == (30, 0.5, ["END"])
    body = json.loads(asked("contents", prompt=["Once upon"], seed=3).body)
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Once upon"}]}]
    assert body["generationConfig"] | {"seed": 3, "stopSequences": ["END"]} == body["generationConfig"]
    sent = asked("chat", stream=True, presence_penalty=0.5, user="ann")
    body = json.loads(sent.body)
    assert sent.path == b"/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "Once upon"}]
    assert (body["stream"], body["presence_penalty"], body["user"]) == (True, 0.5, "ann")
    assert asked("converse").path.endswith(b"/converse")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("best_of", 2),
        ("echo", True),
        ("suffix", "the end"),
        ("logprobs", 0),
        ("logprobs", 5),
        ("prompt", None),
        ("prompt", ""),
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
        ("prompt", [[1, 2]]),
        ("prompt", 7),
        ("max_tokens", "7"),
        ("temperature", 3),
        ("stop", 7),
        ("logit_bias", "x"),
        ("stream_options", []),
    ],
)
@pytest.mark.parametrize("place", TARGETS)
def test_what_a_chat_cannot_do_is_refused_by_its_name(place, name, value):
    with pytest.raises(Refused) as caught:
        asked(place, **{name: value})
    assert caught.value.param == name
    assert name in caught.value.message


def test_what_is_left_out_is_named():
    assert asked("chat", logit_bias={"1": 2}).dropped == ("logit_bias",)
    assert set(asked("messages", seed=3, later=[1], stream_options={"a": 1}).dropped) == {
        "seed",
        "later",
        "stream_options.a",
    }


@pytest.mark.parametrize("place", TARGETS)
@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_comes_back_as_chunks_of_text(place, usage):
    sent = asked(place, stream=True, usage=usage)
    found = sent.filter
    out = b"".join(found.feed(STREAMS[place][at : at + 7]) for at in range(0, len(STREAMS[place]), 7)) + found.finish()
    *chunks, (_, last) = frames(out)
    assert last == "[DONE]"
    assert found.complete
    assert found.usage.units["output"]
    heads = {(chunk["object"], chunk["created"], chunk["model"], chunk["id"]) for _, chunk in chunks}
    assert len(heads) == 1
    kind, created, model, reply_id = heads.pop()
    assert (kind, created, model, reply_id[:5]) == ("text_completion", 7, "asked", "cmpl-")
    if usage:
        _, told = chunks.pop()
        assert told["choices"] == []
        assert told["usage"]["total_tokens"] == sum(found.usage.units.values())
    choices = [chunk["choices"][0] for _, chunk in chunks]
    assert not any("usage" in chunk for _, chunk in chunks)
    assert "".join(choice["text"] for choice in choices) == TEXTS[place]
    assert all((choice["index"], choice["logprobs"]) == (0, None) for choice in choices)
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"]


TEXTS = {
    "chat": 'Grüße, "quoted" [DONE] \n', "messages": 'say "usage"', "contents": 'Grüße, "usageMetadata"',
    "converse": 'Grüße, "usage"',
}  # fmt: skip


def test_whole_replies():
    reply = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "up", "stop_reason": "max_tokens",
        "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": " a time"}],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }  # fmt: skip
    usage, body = asked("messages").read(json.dumps(reply).encode())
    assert usage.units == {"input": 3, "output": 4}
    found = json.loads(body)
    assert found["choices"] == [{"text": " a time", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert (found["id"], found["object"], found["created"], found["model"]) == ("cmpl-1", "text_completion", 7, "asked")
    assert (found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"]) == (3, 4)
    reply["content"], reply["stop_reason"] = [], "refusal"
    _, body = asked("messages").read(json.dumps(reply).encode())
    assert (
        json.loads(body)["choices"][0] | {"text": "", "finish_reason": "content_filter"}
        == json.loads(body)["choices"][0]
    )


def test_a_provider_that_completes_is_asked_as_before():
    sent = asked("native", echo=True, suffix="z", n=2)
    assert sent.path == b"/completions"
    assert json.loads(sent.body) | {"echo": True, "suffix": "z", "n": 2} == json.loads(sent.body)
