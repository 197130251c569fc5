"""Embeddings between the dialects of OpenAI and Gemini, and Gemini's streams as an array."""

import base64
import json
import struct

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.gemini_array import ArrayStream
from tollgate_router.domain.dialects.gemini_stream import ContentStream
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused

OPENAI, GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_GEMINI
COUNTS = b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}'
FRAMES = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\r\n\r\n',
    b'data: {"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],%b}\r\n\r\n' % COUNTS,
)


def ask(dialect, upstream, body):
    opened = wire.Open(dialect=dialect, operation=wire.OPERATION_EMBEDDINGS, model="public")
    target = Target("a", 0, "p", Origin("https", "h", 443), "/v1", "theirs", True, 1, b"", wire=upstream)
    raw = json.dumps(body).encode()
    return sending(opened, read_body(raw), target, raw)


def content(*texts):
    return {"parts": [{"text": text} for text in texts]}


ONE = {"content": content("a")}


def test_gemini_at_openai():
    asked = ask(GEMINI, OPENAI, {"content": content("a", "b"), "output_dimensionality": 2, "taskType": "X"})
    body = {"model": "theirs", "input": ["a\nb"], "encoding_format": "float", "dimensions": 2}
    assert (asked.path, json.loads(asked.body), asked.dropped) == (b"/embeddings", body, ("taskType",))
    usage, reply = asked.read(b'{"data":[{"index":0,"embedding":[1,2.5]}],"usage":{"prompt_tokens":4}}')
    assert json.loads(reply) == {"embedding": {"values": [1, 2.5]}, "usageMetadata": {"promptTokenCount": 4}}
    assert dict(usage.units) == {"input": 4}


def test_a_batch_of_gemini_at_openai_keeps_its_order():
    asked = ask(GEMINI, OPENAI, {"requests": [{"model": "models/x", "content": content(one)} for one in "ab"]})
    assert json.loads(asked.body)["input"] == ["a", "b"]
    usage, reply = asked.read(b'{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}')
    assert json.loads(reply) == {"embeddings": [{"values": [1]}, {"values": [2]}]}
    assert usage is None


def test_openai_at_gemini():
    asked = ask(OPENAI, GEMINI, {"input": ["a", "b"], "dimensions": 2, "encoding_format": "base64", "user": "u"})
    assert (asked.path, asked.dropped) == (b"/models/theirs:batchEmbedContents", ("user",))
    first = {"model": "models/theirs", "content": content("a"), "outputDimensionality": 2}
    assert json.loads(asked.body)["requests"][0] == first
    usage, reply = asked.read(
        b'{"embeddings":[{"values":[1,2]},{"values":[3,4]}],"usageMetadata":{"promptTokenCount":6}}'
    )
    found = json.loads(reply)
    assert [struct.unpack("<2f", base64.b64decode(one["embedding"])) for one in found["data"]] == [(1, 2), (3, 4)]
    assert (found["model"], found["usage"]) == ("public", {"prompt_tokens": 6, "total_tokens": 6})
    assert dict(usage.units) == {"input": 6}


@pytest.mark.parametrize("batch", [True, False])
def test_gemini_at_gemini_passes_but_for_the_models_name(batch):
    one = {"content": content("a"), "taskType": "X", "title": "t"}
    asked = ask(GEMINI, GEMINI, {"requests": [{**one, "model": "models/public"}]} if batch else one)
    named = {**one, "model": "models/theirs"}
    assert json.loads(asked.body) == ({"requests": [named]} if batch else named)
    assert asked.path == b"/models/theirs:" + (b"batchEmbedContents" if batch else b"embedContent")
    reply = b'{"embeddings":[{"values":[1]}],"more":7}'
    assert asked.read(reply) == (None, reply)


@pytest.mark.parametrize(
    ("dialect", "upstream", "body", "param"),
    [
        (GEMINI, OPENAI, {"content": {"parts": [{"inlineData": {}}]}}, "content"),
        (GEMINI, OPENAI, {"content": {"parts": []}}, "content"),
        (GEMINI, OPENAI, {"content": 7}, "content"),
        (GEMINI, OPENAI, {"requests": []}, "requests"),
        (GEMINI, OPENAI, {"requests": 7}, "requests"),
        (GEMINI, GEMINI, {"requests": 7}, "requests"),
        (
            GEMINI,
            OPENAI,
            {"requests": [{"content": content("a"), "outputDimensionality": n} for n in (1, 2)]},
            "requests",
        ),
        (OPENAI, GEMINI, {"input": [1, 2]}, "input"),
        (OPENAI, GEMINI, {"input": [["a"]]}, "input"),
        (OPENAI, GEMINI, {"input": []}, "input"),
        (OPENAI, GEMINI, {"input": "a", "dimensions": "2"}, "dimensions"),
        (GEMINI, wire.DIALECT_ANTHROPIC, {"content": content("a")}, "model"),
    ],
)
def test_what_cannot_be_said_is_refused(dialect, upstream, body, param):
    with pytest.raises(Refused) as refused:
        ask(dialect, upstream, body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("dialect", "upstream", "body", "reply"),
    [
        (OPENAI, GEMINI, {"input": "a"}, b'{"embeddings":[]}'),
        (OPENAI, GEMINI, {"input": "a"}, b"<html>"),
        (OPENAI, GEMINI, {"input": "a"}, b'{"embeddings":[{"values":["x"]}]}'),
        (OPENAI, GEMINI, {"input": "a"}, b'{"error":{"message":"no"}}'),
        (GEMINI, OPENAI, {"content": content("a")}, b'{"data":[]}'),
        (GEMINI, OPENAI, {"content": content("a")}, b'{"data":[{"embedding":"x"}]}'),
        (GEMINI, GEMINI, {"content": content("a")}, b"{}"),
    ],
)
def test_replies_that_are_none_are_problems(dialect, upstream, body, reply):
    assert isinstance(ask(dialect, upstream, body).read(reply), UpstreamProblem)


@pytest.mark.parametrize("cut", range(1, len(b"".join(FRAMES))))
def test_a_stream_becomes_an_array_however_it_is_cut(cut):
    whole = b"".join(FRAMES)
    found = ArrayStream(ContentStream())
    written = found.feed(whole[:cut]) + found.feed(whole[cut:]) + found.finish()
    assert [item["candidates"][0]["content"]["parts"][0]["text"] for item in json.loads(written)] == ["a", "b"]
    assert found.complete
    assert found.usage is not None


def test_an_array_that_breaks_off_is_left_open_for_the_error():
    found = ArrayStream(ContentStream())
    written = found.feed(FRAMES[0]) + found.finish()
    assert json.loads(written + b"]")
    assert not found.complete


def test_every_dialect_is_asked_for_events_behind_an_array():
    opened = wire.Open(dialect=GEMINI, operation=wire.OPERATION_CHAT, model="m", stream=True, as_array=True)
    body = json.dumps({"contents": [{"parts": [{"text": "a"}]}]}).encode()
    target = Target("a", 0, "p", Origin("https", "h", 443), "/v1", "theirs", True, 1, b"", wire=GEMINI)
    asked = sending(opened, read_body(body), target, body)
    assert asked.path.endswith(b":streamGenerateContent?alt=sse")
    assert isinstance(asked.filter, ArrayStream)
