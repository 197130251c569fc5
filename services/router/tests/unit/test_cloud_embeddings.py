"""Embeddings at Bedrock and Vertex: what is sent for callers of either dialect, and what comes back."""

import base64
import json
import struct

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import WIRE_BEDROCK, Origin, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
OPENAI, GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_GEMINI
TITAN_V2, TITAN_V1 = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1"
PICTURE = "amazon.titan-embed-image-v1"
COHERE_V3, COHERE_V4 = "cohere.embed-multilingual-v3", "global.cohere.embed-v4:0"
TEXT, FIRST, SECOND = "text-embedding-005", "gemini-embedding-001", "gemini-embedding-2"


def ask(model, body, dialect=OPENAI):
    platform = "vertex" if model in {TEXT, FIRST, SECOND} else "bedrock"
    opened = wire.Open(dialect=dialect, operation=wire.OPERATION_EMBEDDINGS, model="public")
    spoken = GEMINI if platform == "vertex" else WIRE_BEDROCK
    origin = Origin("https", "h", 443)
    target = Target("a", 0, "p", origin, "", model, False, 1, b"", wire=spoken, platform=platform)
    raw = json.dumps(body).encode()
    return sending(opened, read_body(raw), target, raw)


def bodies(model, body, dialect=OPENAI):
    return [json.loads(one) for one in ask(model, body, dialect).bodies]


def joined(*replies):
    return json.dumps([{"input_tokens": tokens, "reply": reply} for tokens, reply in replies]).encode()


def content(text, **more):
    return {"content": {"parts": [{"text": text}]}, **more}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (TITAN_V2, b"/model/amazon.titan-embed-text-v2%3A0/invoke"),
        (COHERE_V4, b"/model/global.cohere.embed-v4%3A0/invoke"),
        (TEXT, b"/models/text-embedding-005:predict"),
        (FIRST, b"/models/gemini-embedding-001:predict"),
        (SECOND, b"/models/gemini-embedding-2:embedContent"),
    ],
)
def test_each_family_has_its_path(model, path):
    assert ask(model, {"input": "a"}).path == path


# What is sent.


def test_titan_takes_one_text_a_call():
    sized = {"input": ["a", "b"], "dimensions": 256}
    assert bodies(TITAN_V2, sized) == [{"inputText": "a", "dimensions": 256}, {"inputText": "b", "dimensions": 256}]
    assert bodies(TITAN_V1, {"input": "a"}) == [{"inputText": "a"}]
    assert bodies(PICTURE, sized)[0] == {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 256}}


def test_cohere_takes_96_texts_a_call_and_is_told_what_they_are_for():
    found = bodies(COHERE_V4, {"input": [str(n) for n in range(97)], "dimensions": 512, "input_type": "clustering"})
    assert [len(one["texts"]) for one in found] == [96, 1]
    assert found[1] == {
        "texts": ["96"], "input_type": "clustering", "embedding_types": ["float"], "output_dimension": 512,
    }  # fmt: skip
    assert bodies(COHERE_V3, {"input": "a"})[0]["input_type"] == "search_document"


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("RETRIEVAL_QUERY", "search_query"),
        ("CLASSIFICATION", "classification"),
        ("CLUSTERING", "clustering"),
        ("SEMANTIC_SIMILARITY", "search_document"),
    ],
)
def test_a_task_of_gemini_is_a_type_of_cohere(task, kind):
    asked = ask(COHERE_V3, content("a", taskType=task, title="t"), GEMINI)
    assert json.loads(asked.bodies[0])["input_type"] == kind
    assert asked.dropped == ("title",)


def test_vertex_takes_instances_with_task_and_title_each():
    requests = [content("a", taskType="RETRIEVAL_DOCUMENT", title="t"), content("b", task_type="CLUSTERING")]
    for one in requests:
        one["outputDimensionality"] = 64
    (found,) = bodies(TEXT, {"requests": requests}, GEMINI)
    assert found == {
        "instances": [
            {"content": "a", "task_type": "RETRIEVAL_DOCUMENT", "title": "t"},
            {"content": "b", "task_type": "CLUSTERING"},
        ],
        "parameters": {"outputDimensionality": 64},
    }
    assert len(bodies(FIRST, {"requests": requests}, GEMINI)) == 2
    assert bodies(SECOND, {"requests": requests}, GEMINI)[0] == {
        "content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_DOCUMENT", "title": "t",
        "outputDimensionality": 64,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        (["a"] * 251, [250, 1]),
        # No call holds more bytes than it may hold tokens, and a long text has a call of its own.
        (["é" * 5_000, "b" * 10_000, "c"], [2, 1]),
        (["a", "b" * 30_000, "c"], [1, 1, 1]),
    ],
)
def test_calls_of_vertex_are_as_large_as_they_may_be(texts, sizes):
    assert [len(one["instances"]) for one in bodies(TEXT, {"input": texts})] == sizes


def test_what_has_no_place_is_named():
    extras = {"input": "a", "user": "u", "input_type": "search_query", "truncate": "END", "dimensions": None}
    assert ask(TITAN_V2, extras).dropped == ("input_type", "user", "truncate")
    assert ask(COHERE_V3, extras).dropped == ("user", "truncate")
    assert ask(TITAN_V2, content("a", taskType="CLUSTERING", title="t"), GEMINI).dropped == ("taskType", "title")
    assert ask(TEXT, content("a", taskType="CLUSTERING", title="t"), GEMINI).dropped == ()


@pytest.mark.parametrize(
    ("model", "body", "dialect", "param"),
    [
        (TITAN_V2, {"input": [1, 2]}, OPENAI, "input"),
        (COHERE_V4, {"input": [[1, 2], [3]]}, OPENAI, "input"),
        (TEXT, {"input": [[1, 2], [3]]}, OPENAI, "input"),
        (TITAN_V2, {"input": []}, OPENAI, "input"),
        (TITAN_V2, {}, OPENAI, "input"),
        (TITAN_V2, {"input": ["a"] * 257}, OPENAI, "input"),
        (TITAN_V2, {"requests": [content("a")] * 257}, GEMINI, "requests"),
        (TITAN_V1, {"input": "a", "dimensions": 256}, OPENAI, "dimensions"),
        (COHERE_V3, {"input": "a", "dimensions": 256}, OPENAI, "dimensions"),
        (COHERE_V3, content("a", outputDimensionality=256), GEMINI, "outputDimensionality"),
        (TITAN_V2, {"input": "a", "dimensions": 0}, OPENAI, "dimensions"),
        (TEXT, content("a", outputDimensionality=-1), GEMINI, "outputDimensionality"),
        (TITAN_V2, {"input": "a", "dimensions": "256"}, OPENAI, "dimensions"),
        (TITAN_V2, {"input": "a", "encoding_format": "int8"}, OPENAI, "encoding_format"),
        (TITAN_V2, {"input": "a", "encoding_format": 7}, OPENAI, "encoding_format"),
        (COHERE_V3, {"input": "a", "input_type": "query"}, OPENAI, "input_type"),
        (
            COHERE_V3,
            {"requests": [content("a", taskType="CLUSTERING"), content("b", taskType="CLASSIFICATION")]},
            GEMINI,
            "taskType",
        ),
        (TEXT, {"content": {"parts": [{"inlineData": {}}]}}, GEMINI, "content"),
        ("us.anthropic.claude-x-v1:0", {"input": "a"}, OPENAI, "model"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", {"input": "a"}, OPENAI, "model"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(model, body, dialect, param):
    with pytest.raises(Refused) as refused:
        ask(model, body, dialect)
    assert refused.value.param == param


# What comes back.


@pytest.mark.parametrize(
    ("model", "replies"),
    [
        (TITAN_V2, [(None, {"embedding": [1, 2], "inputTextTokenCount": 3}), (4, {"embedding": [3, 4]})]),
        (COHERE_V4, [(7, {"embeddings": {"float": [[1, 2], [3, 4]]}, "response_type": "embeddings_by_type"})]),
        (COHERE_V3, [(7, {"embeddings": [[1, 2], [3, 4]], "response_type": "embeddings_floats"})]),
        (
            TEXT,
            [
                (
                    None,
                    {
                        "predictions": [
                            {"embeddings": {"values": [1, 2], "statistics": {"token_count": 3, "truncated": False}}},
                            {"embeddings": {"values": [3, 4], "statistics": {"token_count": 4.0}}},
                        ]
                    },
                )
            ],
        ),
        (
            SECOND,
            [
                (None, {"embedding": {"values": [1, 2]}, "usageMetadata": {"promptTokenCount": 3}}),
                (None, {"embedding": {"values": [3, 4]}, "usageMetadata": {"promptTokenCount": 4}}),
            ],
        ),
    ],
)
def test_vectors_and_usage_in_either_dialect(model, replies):
    usage, reply = ask(model, {"input": ["a", "b"], "encoding_format": "base64"}).read(joined(*replies))
    found = json.loads(reply)
    assert [struct.unpack("<2f", base64.b64decode(one["embedding"])) for one in found["data"]] == [(1, 2), (3, 4)]
    assert [one["index"] for one in found["data"]] == [0, 1]
    assert (found["model"], found["usage"]) == ("public", {"prompt_tokens": 7, "total_tokens": 7})
    assert (dict(usage.units), usage.estimated) == ({"input": 7}, False)
    _, reply = ask(model, {"requests": [content("a"), content("b")]}, GEMINI).read(joined(*replies))
    assert json.loads(reply) == {
        "embeddings": [{"values": [1, 2]}, {"values": [3, 4]}], "usageMetadata": {"promptTokenCount": 7},
    }  # fmt: skip


def test_usage_that_one_call_does_not_tell_is_estimated():
    asked = ask(COHERE_V3, {"input": ["a"] * 97})
    whole, rest = {"embeddings": [[1]] * 96}, {"embeddings": [[1]]}
    assert asked.read(joined((5, whole), (None, rest)))[0] is None
    assert dict(asked.read(joined((5, whole), (1, rest)))[0].units) == {"input": 6}


def test_characters_count_where_vertex_is_priced_by_them():
    prediction = {"embeddings": {"values": [1], "statistics": {"token_count": 3}}}
    reply = {"predictions": [prediction], "metadata": {"billableCharacterCount": 9}}
    usage, _ = ask(TEXT, {"input": "a"}).read(joined((None, reply)))
    assert [dict(one.units) for one in (usage, *usage.others)] == [{"input": 3}, {"character": 9}]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (TITAN_V2, b"<html>"),
        (TITAN_V2, b"[]"),
        (TITAN_V2, joined((1, {"message": "no"}))),
        (TITAN_V2, joined((1, {"embedding": ["x"]}))),
        (TITAN_V2, joined((1, {"embedding": [1], "inputTextTokenCount": -1}))),
        (TITAN_V2, b'[{"input_tokens":null,"reply":<html>}]'),
        (COHERE_V4, joined((1, {"embeddings": {"int8": [[1]]}}))),
        (COHERE_V4, joined((1, {"embeddings": [[1], [2]]}))),
        (TEXT, joined((None, {"predictions": []}))),
        (TEXT, joined((None, {"predictions": [{"embeddings": {}}]}))),
        (SECOND, joined((None, {}))),
    ],
)
def test_replies_that_are_none_are_problems(model, body):
    assert isinstance(ask(model, {"input": "a"}).read(body), UpstreamProblem)


def test_a_number_that_no_vector_holds_is_a_problem_where_it_is_packed():
    reply = joined((1, {"embedding": [1e300], "inputTextTokenCount": 1}))
    assert isinstance(ask(TITAN_V2, {"input": "a", "encoding_format": "base64"}).read(reply), UpstreamProblem)
