"""Calls have ids of their own: over turns of one conversation, whoever made them and whoever is asked next."""

import json

import pytest
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, OPENAI, target, translated
from services.router.tests.unit.test_chat_repair import GIVEN
from services.router.tests.unit.test_dialect_gemini import chunk as gemini_chunk
from services.router.tests.unit.test_dialect_streams import opened

from tollgate_router.domain.chat_repair import RepairedStream
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation
from tollgate_router.domain.quirks.wire import WireQuirks

pytestmark = pytest.mark.unit

FUNCTION = {"name": "f", "arguments": "{}"}


def gemini(reply_id):
    parts = [{"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "f", "args": {}}}]
    return gemini_chunk(*parts, reason="STOP").replace(b'"r1"', json.dumps(reply_id).encode())


def chat(reply_id):
    calls = [{"index": number, "function": FUNCTION} for number in (0, 1)]
    said = {"choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    return b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"id": reply_id, **said}).encode()


def whole_chat(reply_id):
    calls = [{"function": FUNCTION}, {"function": FUNCTION}]
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"}
    return json.dumps({"id": reply_id, "choices": [choice]}).encode()


def ids_of(reply):
    return [block["id"] for block in json.loads(reply)["content"]]


@pytest.mark.parametrize(("upstream", "stream"), [(GEMINI, gemini), (OPENAI, chat)], ids=["gemini", "chat"])
def test_no_two_replies_name_their_calls_alike_and_a_stream_as_the_whole_does(upstream, stream):
    found = []
    for reply_id in ("r-1", "r-2", None, "chatcmpl-" + "0123456789" * 9):
        request = opened(ANTHROPIC, request_id=f"req_{reply_id}")
        translation = Translation(request, upstream, {})
        streamed = StreamTranslation(translation)
        said = streamed.feed(stream(reply_id or "")) + streamed.finish()
        events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: ")]
        ids = [one["content_block"]["id"] for one in events if one["type"] == "content_block_start"]
        text = whole_chat(reply_id) if upstream == OPENAI else gemini(reply_id or "").removeprefix(b"data: ")
        _, whole = translation.read(text)
        assert ids == ids_of(whole)
        found += ids
    assert len(set(found)) == len(found) == 8
    # OpenAI has refused longer ones.
    assert max(map(len, found)) <= 40


def test_a_mended_stream_names_its_calls_by_the_request():
    found = set()
    for request_id in ("r-1", "r-2"):
        stream = RepairedStream(WireQuirks(), {**GIVEN, "id": request_id}, usage_wanted=False)
        found |= {line for line in stream.feed(chat("same")).split(b'"') if line.startswith(b"call_")}
    assert found == {b"call_r1_0", b"call_r1_1", b"call_r2_0", b"call_r2_1"}


def called(*ids):
    calls = [{"id": one, "type": "function", "function": FUNCTION} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id, text):
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def blocks(*messages):
    asked = {"messages": [{"role": "user", "content": "x"}, *messages]}
    body = json.loads(translated(OPENAI, target(ANTHROPIC), asked).body)
    return [block for message in body["messages"] for block in message["content"]]


def test_calls_that_come_with_one_id_are_told_apart_and_find_their_results():
    found = blocks(
        called("call_0", "call_0", "call_1"),
        result("call_0", "a"), result("call_0", "b"), result("call_1", "c"),
        called("call_0"),
        result("call_0", "d"),
        called("call_0_2"),
        result("call_0_2", "e"),
    )  # fmt: skip
    ids = [block["id"] for block in found if block["type"] == "tool_use"]
    assert len(set(ids)) == 5
    # An id that is not used twice stays.
    assert (ids[0], ids[2], ids[4]) == ("call_0", "call_1", "call_0_2")
    said = {
        block["tool_use_id"]: block["content"][0]["text"] if isinstance(block["content"], list) else block["content"]
        for block in found
        if block["type"] == "tool_result"
    }
    assert said == dict(zip(ids, "abcde", strict=True))


def test_functions_of_old_that_are_known_by_their_names_are_told_apart():
    turn = [
        {"role": "assistant", "content": None, "function_call": FUNCTION},
        {"role": "function", "name": "f", "content": "1"},
    ]
    ids = [block["id"] for block in blocks(*turn, *turn) if block["type"] == "tool_use"]
    assert len(set(ids)) == 2
