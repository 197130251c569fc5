"""What a request asks for, how long it is and which conversation it belongs to, the same in all four dialects."""

import base64
import json

import pytest
from services.router.tests.fakes.versions import ask, channel, first, path, route, snapshot, walk

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.abilities import AUDIO, FILES, IMAGES, SCHEMA, TOOLS, VIDEO, needs_of, tokens_of
from tollgate_router.domain.affinity import parse_affinity
from tollgate_router.domain.estimated import estimate
from tollgate_router.domain.openai_chat import read_body

pytestmark = pytest.mark.unit

CHAT, RESPONSES = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_OPENAI_RESPONSES
ANTHROPIC, GEMINI = wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI
# As large as a photograph; the first bytes are those of a JPEG, which begins with a slash.
PICTURE = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 1200).decode()
NAME = {"type": "object", "properties": {"type": {"enum": ["image", "input_image", "file"]}}}


def chat(*parts, **more):
    return CHAT, {"messages": [{"role": "user", "content": [*parts]}], **more}


def responses(*parts, **more):
    return RESPONSES, {"input": [{"role": "user", "content": [*parts]}], **more}


def anthropic(*parts, **more):
    return ANTHROPIC, {"max_tokens": 9, "messages": [{"role": "user", "content": [*parts]}], **more}


def gemini(*parts, **more):
    return GEMINI, {"contents": [{"role": "user", "parts": [*parts]}], **more}


def blob(mime, data="QUJD"):
    return {"inlineData": {"mimeType": mime, "data": data}}


def snake_blob(mime, data="QUJD"):
    return {"inline_data": {"data": data, "mime_type": mime}}


CALL = {"type": "function", "function": {"name": "f"}}
ASKED = {
    "chat: text": (chat({"type": "text", "text": "hi"}), 0),
    "chat: an image": (chat({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}), IMAGES),
    "chat: sound": (chat({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}), AUDIO),
    "chat: a file": (chat({"type": "file", "file": {"file_data": "QUJD"}}), FILES),
    "chat: a film": (chat({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}}), VIDEO),
    "chat: tools": (chat(tools=[CALL]), TOOLS),
    "chat: a schema": (chat(response_format={"type": "json_schema", "json_schema": {"schema": NAME}}), SCHEMA),
    "chat: any JSON": (chat(response_format={"type": "json_object"}), 0),
    "responses: text": (responses({"type": "input_text", "text": "hi"}), 0),
    "responses: only words": ((RESPONSES, {"input": 'a "type": "input_image"'}), 0),
    "responses: an image": (responses({"type": "input_image", "image_url": "https://x.example/a.png"}), IMAGES),
    "responses: a screenshot": (
        (RESPONSES, {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot"}}]}),
        IMAGES,
    ),
    "responses: sound": (responses({"type": "input_audio", "input_audio": {"data": "QUJD"}}), AUDIO),
    "responses: a file": (responses({"type": "input_file", "file_data": "QUJD"}), FILES),
    "responses: tools": (responses(tools=[{"type": "function", "name": "f"}]), TOOLS),
    "responses: a schema": (responses(text={"format": {"type": "json_schema", "schema": NAME}}), SCHEMA),
    "responses: plain text": (responses(text={"format": {"type": "text"}, "verbosity": "low"}), 0),
    "anthropic: text": (anthropic({"type": "text", "text": "hi"}), 0),
    "anthropic: an image": (anthropic({"type": "image", "source": {"type": "base64", "data": "QUJD"}}), IMAGES),
    "anthropic: an image by its file": (anthropic({"type": "image", "source": {"type": "file"}}), IMAGES),
    "anthropic: an image of a tool": (
        anthropic({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url"}}]}),
        IMAGES,
    ),
    "anthropic: a document": (anthropic({"type": "document", "source": {"type": "url"}}), FILES),
    "anthropic: tools": (anthropic(tools=[{"name": "f", "input_schema": NAME}]), TOOLS),
    "anthropic: a schema": (anthropic(output_config={"format": {"type": "json_schema", "schema": NAME}}), SCHEMA),
    "anthropic: a schema, as it was": (anthropic(output_format={"type": "json_schema", "schema": NAME}), SCHEMA),
    "anthropic: effort": (anthropic(output_config={"effort": "low"}), 0),
    "gemini: text": (gemini({"text": 'a "inlineData": {"mimeType": "image/png"'}), 0),
    "gemini: an image": (gemini(blob("image/png")), IMAGES),
    "gemini: an image, in snake case": (gemini(snake_blob("image/jpeg")), IMAGES),
    "gemini: sound": (gemini(blob("audio/wav")), AUDIO),
    "gemini: a film by its address": (gemini({"fileData": {"fileUri": "gs://a/b", "mimeType": "video/mp4"}}), VIDEO),
    "gemini: a document": (gemini({"file_data": {"mime_type": "application/pdf", "file_uri": "gs://a/b"}}), FILES),
    "gemini: several": (gemini(blob("image/png"), snake_blob("audio/mp3")), IMAGES | AUDIO),
    "gemini: a type in what a tool said": (
        gemini({"functionResponse": {"name": "f", "response": {"mimeType": "image/png"}}}),
        0,
    ),
    "gemini: tools": (gemini(tools=[{"functionDeclarations": [{"name": "f"}]}]), TOOLS),
    "gemini: a schema": (gemini(generationConfig={"responseSchema": NAME}), SCHEMA),
    "gemini: a JSON schema": (gemini(generationConfig={"responseJsonSchema": NAME}), SCHEMA),
    "gemini: a schema, in snake case": (gemini(generation_config={"response_schema": NAME}), SCHEMA),
    "gemini: a JSON schema, in snake case": (gemini(generation_config={"response_json_schema": NAME}), SCHEMA),
    "gemini: no schema": (gemini(generationConfig={"responseSchema": None, "responseMimeType": "text/plain"}), 0),
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(("asked", "needs"), ASKED.values(), ids=ASKED.keys())
def test_what_is_asked_for(asked, needs, indent):
    dialect, body = asked
    assert needs_of(read_body(json.dumps(body, indent=indent).encode()), dialect) == needs


@pytest.mark.parametrize("tools", ["[]", "null", "[ ]", "{\n}"])
def test_no_tools_are_none(tools):
    assert needs_of(read_body(b'{"messages":[],"tools":%b}' % tools.encode()), CHAT) == 0


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (chat({"type": "image_url", "image_url": {"url": "https://x.example/a"}}), IMAGES),
        (responses({"type": "input_image", "image_url": "https://x.example/a"}), IMAGES),
        (anthropic({"type": "image", "source": {"type": "url"}}), IMAGES),
        (gemini(blob("image/png")), IMAGES),
    ],
    ids=["chat", "responses", "anthropic", "gemini"],
)
def test_only_who_can_see_is_asked_to(asked, wanted):
    dialect, body = asked
    blind, sees = {"name": "able", "abilities": []}, {"name": "able", "abilities": ["image_input"]}
    found = snapshot([channel("blind", blind), channel("sees", sees)])
    sent = json.dumps(body).encode()
    served = {first(walk(found, ask(body=sent, dialect=dialect), seed)).channel for seed in range(20)}
    assert served == {"sees"}
    assert wanted == IMAGES


PICTURES = {
    "chat": chat({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PICTURE}"}}),
    "responses": responses({"type": "input_image", "image_url": f"data:image/jpeg;base64,{PICTURE}"}),
    "anthropic": anthropic({"type": "image", "source": {"type": "base64", "media_type": "x", "data": PICTURE}}),
    "gemini": gemini(blob("image/jpeg", PICTURE)),
    "gemini, in snake case": gemini(snake_blob("image/jpeg", PICTURE)),
    "within words": chat({"type": "text", "text": f"Here: ![a](data:image/jpeg;base64,{PICTURE}) it is."}),
    "what a tool said": chat({"type": "text", "text": json.dumps({"image": PICTURE})}),
}


@pytest.mark.parametrize("slash", [b"/", b"\\/"], ids=["plain", "escaped"])
@pytest.mark.parametrize("asked", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_is_not_counted_as_words(asked, slash):
    body = json.dumps(asked[1]).encode().replace(b"/", slash)
    assert len(body) > 400_000
    assert tokens_of(read_body(body), len(body)) < 64
    usage = estimate(wire.Open(body_length=len(body)), read_body(body), 5)
    assert 1600 <= usage.units["input"] < 1664


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["line feeds", "both"])
@pytest.mark.parametrize("width", [64, 76])
def test_a_picture_in_lines_is_not_counted_as_words(width, end):
    lines = end.join(PICTURE[at : at + width] for at in range(0, len(PICTURE), width))
    body = json.dumps(gemini(blob("image/jpeg", lines))[1]).encode()
    assert tokens_of(read_body(body), len(body)) < 64


@pytest.mark.parametrize("make", [chat, responses, anthropic, gemini])
@pytest.mark.parametrize("words", ["four " * 10_000, "你好，世界" * 5_000, "\n\n" * 9_000, "one\ntwo\n" * 9_000])
def test_words_are_counted_as_words(make, words):
    _, body = make({"text": words})
    sent = json.dumps(body).encode()
    assert tokens_of(read_body(sent), len(sent)) == len(sent) // 4


@pytest.mark.parametrize("make", [chat, responses, anthropic, gemini])
def test_a_picture_stays_where_its_words_fit(make):
    dialect, body = make({"text": "What is this?"}, {"data": PICTURE})
    found = snapshot(
        [channel("short", {"name": "able", "context_tokens": 1000}), channel("long")],
        [route("able", ["short"], ["long"])],
    )
    assert path(found, asked=ask(body=json.dumps(body).encode(), dialect=dialect)) == ["short"]
    _, body = make({"text": "many words " * 500})
    assert path(found, asked=ask(body=json.dumps(body).encode(), dialect=dialect)) == ["long"]


def turns(name, own, *said):
    """Returns a body with these turns, each (role, text), in which `own(text)` is what one says."""
    return {name: [{"role": role, **own(text)} if role else own(text) for role, text in said]}


def content(text):
    return {"content": text}


def parts(text):
    return {"parts": [{"text": text}]}


CONVERSATIONS = {
    "chat": ("messages", content, "system", "assistant"),
    "responses": ("input", content, "developer", "assistant"),
    "anthropic": ("messages", content, "", "assistant"),
    "gemini": ("contents", parts, "", "model"),
}


def value(body):
    return parse_affinity("conversation").value(read_body(json.dumps(body).encode()), {}, chat=True)


@pytest.mark.parametrize(("name", "own", "first_role", "answers"), CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_a_conversation_is_known_by_its_beginning(name, own, first_role, answers):
    start = [*([(first_role, "Be brief.")] if first_role else ()), ("user", "hi")]
    begun = value(turns(name, own, *start))
    assert begun
    assert value(turns(name, own, *start, (answers, "hello"), ("user", "and now?"))) == begun
    assert value(turns(name, own, *start[:-1], ("user", "hi there"))) != begun
    if first_role:
        assert value(turns(name, own, (first_role, "Be long."), ("user", "hi"))) != begun


def test_who_says_nothing_else_is_geminis_user():
    assert value(turns("contents", parts, ("", "hi"))) == value(turns("contents", parts, ("", "hi"), ("model", "oh")))
    assert value({"contents": parts("hi")}) == value({"contents": [parts("hi")]})
    assert value(turns("input", content, ("", "hi"))) is None


def test_ids_and_marks_of_caches_bind_nothing():
    plain = value({"input": [{"role": "user", "content": "hi"}]})
    assert value({"input": [{"type": "message", "id": "msg_1", "role": "user", "content": "hi"}]}) == plain
    block = {"type": "text", "text": "hi"}
    marked = {**block, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert value({"messages": [{"role": "user", "content": [marked]}]}) == value(
        {"messages": [{"role": "user", "content": [block]}]}
    )


def test_words_alone_are_a_conversation_only_in_chat():
    assert value({"input": "hi"}) not in {None, value({"input": "ho"})}
    assert parse_affinity("conversation").value(read_body(b'{"input":"hi"}'), {}, chat=False) is None


@pytest.mark.parametrize(
    "body",
    [{}, {"messages": 1}, {"messages": [1]}, {"messages": [{"role": 1}]}, {"input": None}, {"contents": []}],
    ids=str,
)
def test_what_is_no_conversation_binds_nothing(body):
    assert value(body) is None
