"""Where the words of an answer are from: told by each vendor in its own way, and to each caller in theirs."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages, check_responses, frames
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, NAMES, OPENAI, RESPONSE, target, translated

from tollgate_router.domain.dialects.citations import Places
from tollgate_router.domain.dialects.neutral import Citation
from tollgate_simulator_provider import chat, claude, gemini, responses, searching
from tollgate_simulator_provider.faults import NONE

pytestmark = pytest.mark.unit
HI = [{"role": "user", "content": "hi"}]
ASKED = {
    OPENAI: {"messages": HI},
    ANTHROPIC: {"messages": HI, "max_tokens": 99},
    GEMINI: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    RESPONSE: {"input": "hi"},
}
BY_RESPONSES = replace(target(OPENAI), responses=True, tools_by_responses=True)
# 'ü' and '好' are more bytes than letters.
SAID = "Grüße web_search google_search 好"
PAGES = [(page.url, page.title) for page in searching.PAGES]


def reply(name, *, chunks=0):
    """Returns what a simulated vendor answers with who searched the web, and the pieces of its text."""
    faults = replace(NONE, chunks=chunks)
    said = {"role": "user", "content": SAID}
    if name == "messages":
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
        return claude.build({"model": "c", "max_tokens": 999, "messages": [said], "tools": tools}, faults, "chatcmpl-1")
    if name == "contents":
        body = {"contents": [{"role": "user", "parts": [{"text": SAID}]}], "tools": [{"googleSearch": {}}]}
        return gemini.build(body, "gemini-3.5-flash", faults, "chatcmpl-1")
    if name == "responses":
        body = {"model": "gpt", "input": SAID, "tools": [{"type": "web_search"}]}
        return responses.build(body, faults, "chatcmpl-123456789012", 1)
    body = {"model": "gpt-5-search-api", "messages": [said], "stream_options": {"include_usage": True}}
    return chat.build(body, faults, "chatcmpl-1", 1)


WIRES = {"chat": target(OPENAI), "messages": target(ANTHROPIC), "contents": target(GEMINI), "responses": BY_RESPONSES}
PAIRS = [
    (caller, wire)
    for caller in ASKED
    for wire, one in WIRES.items()
    if (caller != one.wire or wire == "responses") and not (wire == "responses" and caller in {RESPONSE, OPENAI})
]
pairs = pytest.mark.parametrize(("caller", "wire"), PAIRS, ids=[f"{wire}-to-{NAMES[caller]}" for caller, wire in PAIRS])


def asked(caller, wire, *, stream):
    body = {"model": "asked", **ASKED[caller]}
    if wire == "responses":
        tool = {"name": "f", "input_schema": {"type": "object"}}
        body["tools"] = [tool] if caller == ANTHROPIC else [{"functionDeclarations": [{"name": "f"}]}]
    return translated(caller, WIRES[wire], body, stream=stream)


def spans(said):
    """Returns the places of the two halves in the letters of the text."""
    pieces = said.choices[0].pieces if hasattr(said, "choices") else said.choice.pieces
    found = searching.cited(pieces)
    return "".join(pieces), [searching.letters(pieces, one) for one in found]


def check_whole(caller, body, text, places):
    found = json.loads(body)
    if caller == OPENAI:
        message = found["choices"][0]["message"]
        assert message["content"] == text
        check_annotations([note["url_citation"] for note in message["annotations"]], places)
        assert {note["type"] for note in message["annotations"]} == {"url_citation"}
    elif caller == RESPONSE:
        check_items(found["output"], text, places)
    elif caller == ANTHROPIC:
        check_blocks(found["content"], text)
    else:
        (candidate,) = found["candidates"]
        check_grounding(candidate["groundingMetadata"], text, places)


def check_annotations(notes, places):
    assert [(note["url"], note["title"]) for note in notes] == PAGES
    assert [(note["start_index"], note["end_index"]) for note in notes] == places


def check_items(output, text, places):
    before, notes = 0, []
    for item in output:
        (part,) = item["content"]
        for note in part["annotations"]:
            assert note.pop("type") == "url_citation"
            notes.append(note | {name: note[name] + before for name in ("start_index", "end_index")})
        before += len(part["text"])
    assert "".join(item["content"][0]["text"] for item in output) == text
    check_annotations(notes, places)


def check_blocks(blocks, text):
    texts = [block for block in blocks if block["type"] == "text"]
    assert "".join(block["text"] for block in texts) == text
    notes = [note for block in texts for note in block.get("citations", ())]
    assert [(note["url"], note["title"]) for note in notes] == PAGES
    assert {note["type"] for note in notes} == {"web_search_result_location"}
    assert all(isinstance(note["encrypted_index"], str) and isinstance(note["cited_text"], str) for note in notes)


def check_grounding(found, text, places):
    assert [(one["web"]["uri"], one["web"]["title"]) for one in found["groundingChunks"]] == PAGES
    assert [one["groundingChunkIndices"] for one in found["groundingSupports"]] == [[0], [1]]
    data = text.encode()
    said = [
        data[one["segment"].get("startIndex", 0) : one["segment"]["endIndex"]] for one in found["groundingSupports"]
    ]
    assert said == [text[begin:end].encode() for begin, end in places]


def check_stream(caller, stream, text, places):
    if caller == OPENAI:
        assert check_chat(stream, usage=True)["text"] == text
        notes = [
            note["url_citation"]
            for _, data in frames(stream)
            if data != "[DONE]" and data["choices"]
            for note in data["choices"][0]["delta"].get("annotations", ())
        ]
        check_annotations(notes, places)
    elif caller == RESPONSE:
        response = check_responses(stream)
        added = [data["annotation"] for name, data in frames(stream) if name.endswith("annotation.added")]
        assert added == [note for item in response["output"] for note in item["content"][0]["annotations"]]
        check_items(response["output"], text, places)
    elif caller == ANTHROPIC:
        check_blocks(check_messages(stream)["blocks"], text)
    else:
        check_contents(stream)
        last = frames(stream)[-1][1]["candidates"][0]
        check_grounding(last["groundingMetadata"], text, places)


@pairs
def test_a_whole_answer(caller, wire):
    said = reply(wire)
    text, places = spans(said)
    assert "ü" in text
    _, body = asked(caller, wire, stream=False).read(said.body())
    check_whole(caller, body, text, places)


@pairs
def test_a_stream_wherever_it_is_cut(caller, wire):
    said = reply(wire, chunks=9)
    text, places = spans(said)
    stream = b"".join(said.frames())
    one = asked(caller, wire, stream=True).filter
    expected = one.feed(stream) + one.finish()
    assert one.complete
    check_stream(caller, expected, text, places)
    for cut in range(0, len(stream), 11):
        one = asked(caller, wire, stream=True).filter
        assert one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.finish() == expected, cut


# Sources without a place, and what has none elsewhere.

HEAD = {"id": "c", "created": 1, "model": "sonar"}
FOUND = [{"title": "A", "url": "https://a.example/1", "date": None}, {"url": "https://b.example/2"}, {"title": "x"}, 3]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("caller", [ANTHROPIC, GEMINI, RESPONSE], ids=["messages", "contents", "responses"])
@pytest.mark.parametrize("named", [True, False])
def test_what_perplexity_found(caller, stream, named):
    """It says so of the answer as a whole, and with each chunk again."""
    urls = ["https://a.example/1", "https://b.example/2"]
    more = {"citations": urls} | ({"search_results": FOUND} if named else {})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    one = replace(target(OPENAI), conforming=False)
    sent = translated(caller, one, {"model": "asked", **ASKED[caller]}, stream=stream)
    if stream:
        deltas = [({"role": "assistant", "content": "So"}, None), ({"content": " it is [1]."}, None), ({}, "stop")]
        data = [
            {**HEAD, "object": "chat.completion.chunk", **more, "usage": usage,
             "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            for delta, reason in deltas
        ]  # fmt: skip
        raw = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in data) + b"data: [DONE]\n\n"
        out = sent.filter.feed(raw) + sent.filter.finish()
        if caller == ANTHROPIC:
            notes = check_messages(out)["blocks"][0]["citations"]
        elif caller == RESPONSE:
            notes = check_responses(out)["output"][0]["content"][0]["annotations"]
        else:
            notes = frames(out)[-1][1]["candidates"][0]["groundingMetadata"]["groundingChunks"]
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": "So it is [1]."}, "finish_reason": "stop"}
        body = {**HEAD, "object": "chat.completion", "choices": [choice], **more, "usage": usage}
        found = json.loads(sent.read(json.dumps(body).encode())[1])
        if caller == ANTHROPIC:
            notes = found["content"][0]["citations"]
        elif caller == RESPONSE:
            notes = found["output"][0]["content"][0]["annotations"]
        else:
            notes = found["candidates"][0]["groundingMetadata"]["groundingChunks"]
    assert [note["web"]["uri"] if caller == GEMINI else note["url"] for note in notes] == urls
    titles = [note["web"]["title"] if caller == GEMINI else note["title"] for note in notes]
    assert [title or "" for title in titles] == (["A", ""] if named else ["", ""])


DOCUMENT = {
    "type": "page_location", "cited_text": "quoted", "document_index": 0, "document_title": "Paper",
    "start_page_number": 1, "end_page_number": 2, "file_id": "file_1",
}  # fmt: skip


def test_documents_that_claude_cites():
    """Chat has no word for them; Gemini has, and so has the Responses API, by their file."""
    content = [{"type": "text", "text": "So.", "citations": [DOCUMENT, {"type": "new"}, 3]}]
    usage = {"input_tokens": 1, "output_tokens": 1}
    body = json.dumps({"type": "message", "id": "msg_1", "model": "m", "content": content, "usage": usage}).encode()

    def said(caller):
        return json.loads(asked(caller, "messages", stream=False).read(body)[1])

    chunks = said(GEMINI)["candidates"][0]["groundingMetadata"]["groundingChunks"]
    assert chunks == [{"retrievedContext": {"uri": "file_1", "title": "Paper", "text": "quoted"}}]
    assert said(OPENAI)["choices"][0]["message"]["annotations"] == []
    (note,) = said(RESPONSE)["output"][0]["content"][0]["annotations"]
    assert note == {"type": "file_citation", "file_id": "file_1", "filename": "Paper", "index": 0}


def test_what_gemini_recites():
    text = "Größe 好 und mehr"
    source = {"startIndex": len("Größe ".encode()), "endIndex": len("Größe 好".encode()), "uri": "https://a.example/"}
    candidate = {
        "content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": text}]},
        "citationMetadata": {"citationSources": [source, {"license": "x"}]}, "finishReason": "STOP",
    }  # fmt: skip
    body = json.dumps({"candidates": [candidate], "responseId": "r", "modelVersion": "m"}).encode()
    found = json.loads(asked(OPENAI, "contents", stream=False).read(body)[1])
    (note,) = found["choices"][0]["message"]["annotations"]
    begin, end = note["url_citation"]["start_index"], note["url_citation"]["end_index"]
    assert text[begin:end] == "好"


BAD = [
    None,
    "x",
    3,
    [],
    {},
    [None],
    [{}],
    [{"type": 3}],
    [{"type": "url_citation"}],
    [{"type": "url_citation", "url": 3}],
]


@pytest.mark.parametrize("bad", BAD, ids=json.dumps)
def test_what_is_none_of_them_is_passed_over(bad):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    message = {"role": "assistant", "content": "ab", "annotations": bad}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {**HEAD, "choices": [choice], "usage": usage, "citations": bad, "search_results": bad}
    assert asked(ANTHROPIC, "chat", stream=False).read(json.dumps(body).encode())[0] is not None
    text = {"type": "text", "text": "ab", "citations": bad}
    reply_of_claude = {
        "type": "message",
        "id": "m",
        "content": [text],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    found = asked(OPENAI, "messages", stream=False).read(json.dumps(reply_of_claude).encode())
    assert json.loads(found[1])["choices"][0]["message"]["content"] == "ab"
    for name in ("groundingMetadata", "citationMetadata"):
        for value in (bad, {"groundingChunks": bad, "groundingSupports": bad, "citationSources": bad}):
            candidate = {"content": {"parts": [{"text": "ab"}]}, "finishReason": "STOP", name: value}
            found = asked(OPENAI, "contents", stream=False).read(json.dumps({"candidates": [candidate]}).encode())
            assert json.loads(found[1])["choices"][0]["message"]["content"] == "ab"


@pytest.mark.parametrize("cuts", [[1], [2, 3], [1, 2, 3, 4, 5, 6, 7, 8]])
def test_places_by_bytes_and_by_letters(cuts):
    text = "aü好b😀cde"
    places = Places()
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        places.add(text[begin:end])
    for begin in range(len(text)):
        for end in range(begin + 1, len(text) + 1):
            by_letters = Citation(url="u", begin=begin, end=end)
            by_bytes = Citation(url="u", begin=len(text[:begin].encode()), end=len(text[:end].encode()))
            assert places.in_letters(by_bytes) == by_letters
            assert places.in_bytes(by_letters) == by_bytes
    assert places.in_letters(Citation(url="u")) == places.in_bytes(Citation(url="u")) == Citation(url="u")
