"""What edge reads of the requests that are no chats: what they may use at most, and what is refused of them."""

import json

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.faces import face_of
from tollgate_edge.inference.endpoint_fields import sound
from tollgate_edge.inference.fields import BadRequest, decode
from tollgate_edge.inference.operations import OPERATIONS, ROUTES, misplaced

FORM = b"multipart/form-data; boundary=b"


def read(operation, **body):
    return decode(operation, wire.DIALECT_OPENAI_CHAT, json.dumps(body).encode(), 128)


def form(*fields, end=b"--b--\r\n"):
    """Returns a form of fields: name and value, and a file's name where it is one."""
    body = b""
    for name, value, *filename in fields:
        named = f'; filename="{filename[0]}"' if filename else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + value + b"\r\n"
    return body + end


MODEL, FILE = ("model", b"whisper-1"), ("file", bytes(5000), "a.wav")


@pytest.mark.parametrize(
    ("prompt", "more", "choices"),
    [
        ("Say", {}, 1),
        (None, {}, 1),
        (["a", "b"], {"n": 2}, 4),
        ([1, 2, 3], {"n": 2, "best_of": 5}, 5),
        ([[1, 2], [3]], {}, 2),
    ],
)
def test_every_prompt_of_a_completion_has_its_own_answers(prompt, more, choices):
    asked = read(wire.OPERATION_COMPLETION, model="m", prompt=prompt, max_tokens=7, stream=True, **more)
    assert (asked.choices, asked.max_output_tokens, asked.stream, asked.usage_wanted) == (choices, 7, True, False)


@pytest.mark.parametrize(
    ("operation", "body", "param"),
    [
        (wire.OPERATION_COMPLETION, {"prompt": "x"}, "model"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": []}, "prompt"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": {"a": 1}}, "prompt"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": ["a", 1]}, "prompt"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": ["a"] * 10_001}, "prompt"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": "x", "n": 0}, "n"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": "x", "best_of": 1000}, "best_of"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": "x", "max_tokens": -1}, "max_tokens"),
        (wire.OPERATION_COMPLETION, {"model": "m", "prompt": "x", "stream": "yes"}, "stream"),
        (wire.OPERATION_MODERATION, {"model": "m"}, "input"),
        (wire.OPERATION_MODERATION, {"model": "", "input": "x"}, "model"),
        (wire.OPERATION_RERANK, {"query": "q", "documents": ["d"]}, "model"),
        (wire.OPERATION_RERANK, {"model": "m", "documents": ["d"]}, "query"),
        (wire.OPERATION_RERANK, {"model": "m", "query": "", "documents": ["d"]}, "query"),
        (wire.OPERATION_RERANK, {"model": "m", "query": "q", "documents": []}, "documents"),
        (wire.OPERATION_RERANK, {"model": "m", "query": "q", "documents": "d"}, "documents"),
        (wire.OPERATION_SPEECH, {"model": "m"}, "input"),
        (wire.OPERATION_SPEECH, {"model": "m", "input": ""}, "input"),
        (wire.OPERATION_SPEECH, {"model": "m", "input": ["x"]}, "input"),
        (wire.OPERATION_SPEECH, {"model": "m", "input": "x", "stream_format": "ogg"}, "stream_format"),
    ],
)
def test_bad_fields_are_named(operation, body, param):
    with pytest.raises(BadRequest) as refused:
        read(operation, **body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "operation", sorted({*OPERATIONS} - {wire.OPERATION_TRANSCRIPTION, wire.OPERATION_TRANSLATION})
)
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"model": ', b"\xff\xfe", b"[" * 500 + b"]" * 500])
def test_what_is_no_object_is_refused(operation, body):
    with pytest.raises(BadRequest):
        decode(operation, wire.DIALECT_OPENAI_CHAT, body, 128)


def test_what_is_no_token_is_held_by_its_own_unit():
    spoken = read(wire.OPERATION_SPEECH, model="m", input="世界" * 30, stream_format="sse")
    assert dict(spoken.units)["character"] == 60
    assert spoken.stream
    # One search covers a hundred documents, and a long document counts as several.
    assert dict(read(wire.OPERATION_RERANK, model="m", query="q", documents=["d"] * 100).units)["search"] == 2
    assert dict(read(wire.OPERATION_RERANK, model="m", query="q", documents=["d" * 60_000]).units)["search"] == 2
    # Clients that name no model mean this one.
    assert read(wire.OPERATION_MODERATION, input="x").model == "omni-moderation-latest"


def test_a_form_is_read_as_far_as_its_model():
    asked = sound(form(MODEL, ("stream", b"true"), FILE), FORM, may_stream=True)
    assert (asked.model, asked.stream, asked.content_type) == ("whisper-1", True, b'multipart/form-data; boundary="b"')
    # At least 8 kbit to the second.
    assert asked.units == (("audio_second", 6),)
    assert 0 < asked.most_input < 1000
    assert not sound(form(MODEL, ("stream", b"true"), FILE), FORM, may_stream=False).stream


@pytest.mark.parametrize(
    ("body", "content_type", "param", "words"),
    [
        (form(FILE), FORM, "model", "no 'model'"),
        (form(("model", b""), FILE), FORM, "model", "name of a model"),
        (form(("model", b"\xff"), FILE), FORM, "model", "UTF-8"),
        (form(MODEL, MODEL, FILE), FORM, "model", "one short text"),
        (form(("model", b"m", "model.txt"), FILE), FORM, "model", "one short text"),
        (form(("model", b"m" * 5000), FILE), FORM, "model", "one short text"),
        (form(MODEL), FORM, "file", "needs one 'file'"),
        (form(MODEL, ("file", b"text")), FORM, "file", "needs one 'file'"),
        (form(MODEL, FILE, FILE), FORM, "file", "needs one 'file'"),
        (form(MODEL, ("file", b"", "a.wav")), FORM, "file", "empty"),
        (form(MODEL, FILE, end=b""), FORM, "", "last boundary"),
        (form(*[("x", b"1")] * 1000), FORM, "", "more than 100 parts"),
        (form(MODEL, FILE), b"multipart/form-data", "", "boundary"),
        (form(MODEL, FILE), b"multipart/form-data; boundary=other", "", "boundary"),
        (b"", FORM, "", "boundary"),
    ],
)
def test_broken_forms_are_refused(body, content_type, param, words):
    with pytest.raises(BadRequest, match=words) as refused:
        sound(body, content_type, may_stream=True)
    assert refused.value.param == param


def test_every_route_is_there_with_and_without_v1():
    for path, route in ROUTES.items():
        if path.startswith(b"/v1/"):
            assert ROUTES[path[3:]] == route
    # Cohere's second version is another API of the same operation; routers are told which one was asked.
    (first, face), (second, other) = ROUTES[b"/v1/rerank"], ROUTES[b"/v2/rerank"]
    assert (first, face.api_version, other.api_version) == (second, 0, 2)
    assert face_of("/v2/rerank") is other
    assert face_of("/rerank") is face_of("/v1/rerank") is face


def test_a_model_of_another_kind_is_told_where_it_is_asked():
    assert misplaced("m", "chat", wire.OPERATION_COMPLETION) is None
    assert misplaced("m", "", wire.OPERATION_RERANK) is None
    said = misplaced("m", "image", wire.OPERATION_SPEECH)
    assert said == "The model 'm' is for image, not for speech. Ask it at /v1/images/generations."
