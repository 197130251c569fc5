"""Gemini's dialect from and to the others: requests, whole replies, and streams cut at every byte."""

import json

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages
from services.router.tests.unit.test_dialect_streams import CHAT, MESSAGES, opened

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.anthropic_request import read_messages
from tollgate_router.domain.dialects.gemini_body import write_contents
from tollgate_router.domain.dialects.gemini_request import read_contents
from tollgate_router.domain.dialects.gemini_stream import ContentStream
from tollgate_router.domain.dialects.openai_request import read_chat, write_chat
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.errors import Refused
from tollgate_simulator_provider import gemini as simulated

pytestmark = pytest.mark.unit
OPENAI, ANTHROPIC, GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI
HI = [{"role": "user", "parts": [{"text": "hi"}]}]
SCHEMA = {"type": "object", "properties": {"a_b": {"type": "integer"}}}
USAGE = {
    "promptTokenCount": 30, "cachedContentTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 4,
    "totalTokenCount": 39,
}  # fmt: skip


def chunk(*parts, reason=None, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    found = {"candidates": [candidate | ({"finishReason": reason} if reason else {})], "usageMetadata": USAGE, **more}
    return b"data: %b\r\n\r\n" % json.dumps(found | {"responseId": "r1", "modelVersion": "up"}).encode()


CONTENTS = b"".join(
    (
        chunk({"text": "Hm, 好.", "thought": True}),
        chunk({"text": "Grüße, "}),
        chunk({"text": '"usageMetadata"'}),
        chunk({"functionCall": {"name": "first", "args": {"a": 1}}, "thoughtSignature": "s"}),
        chunk({"functionCall": {"name": "second", "args": {}}}, reason="STOP"),
    )
)


def translation(caller, upstream):
    return StreamTranslation(Translation(opened(caller), upstream, {}))


def whole(one, stream):
    return one.feed(stream) + one.finish()


def members(body):
    return read_body(json.dumps(body).encode())


def to_chat(**body):
    found, dropped = write_chat(read_contents(members({"contents": HI, **body}), stream=False), "up")
    return json.loads(found), dropped


def to_gemini(model="gemini-2.5-pro", **body):
    values = {"messages": [{"role": "user", "content": "hi"}], **body}
    found, dropped = write_contents(read_chat(members(values), stream=False, usage_wanted=False), model)
    return json.loads(found), dropped


# Streams.


def test_contents_become_chat_and_messages():
    one = translation(OPENAI, GEMINI)
    said = check_chat(whole(one, CONTENTS), usage=True)
    assert (said["thought"], said["text"], said["reason"]) == ("Hm, 好.", 'Grüße, "usageMetadata"', "tool_calls")
    assert said["calls"] == {0: ["call_r1_0", "first", '{"a": 1}'], 1: ["call_r1_1", "second", "{}"]}
    assert one.usage.units == {"input": 20, "cache_read": 10, "output": 5, "reasoning": 4}
    found = check_messages(whole(translation(ANTHROPIC, GEMINI), CONTENTS))
    assert [block["type"] for block in found["blocks"]] == ["thinking", "text", "thinking", "tool_use", "tool_use"]
    assert found["blocks"][2]["signature"] == "google:s"
    assert found["blocks"][3]["input"] == {"a": 1}
    assert (found["reason"], found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == ("tool_use", 20, 9)


@pytest.mark.parametrize(("upstream", "stream"), [(OPENAI, CHAT), (ANTHROPIC, MESSAGES)], ids=["chat", "messages"])
def test_others_become_contents(upstream, stream):
    said = check_contents(whole(translation(GEMINI, upstream), stream))
    assert said["thought"]
    assert said["text"]
    assert said["calls"][0] == ("first", {"a": 1})
    assert said["reason"] == "STOP"
    assert said["usage"]["totalTokenCount"] == said["usage"]["promptTokenCount"] + (
        said["usage"]["candidatesTokenCount"] + said["usage"]["thoughtsTokenCount"]
    )


@pytest.mark.parametrize(
    ("caller", "upstream", "stream"),
    [(OPENAI, GEMINI, CONTENTS), (ANTHROPIC, GEMINI, CONTENTS), (GEMINI, OPENAI, CHAT), (GEMINI, ANTHROPIC, MESSAGES)],
)
def test_where_the_bytes_are_cut_changes_nothing(caller, upstream, stream):
    expected = whole(translation(caller, upstream), stream)
    for cut in range(len(stream)):
        one = translation(caller, upstream)
        assert one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.finish() == expected, cut


def test_contents_pass_untouched_and_are_read_on_the_way():
    for cut in range(len(CONTENTS)):
        passing = ContentStream()
        assert passing.feed(CONTENTS[:cut]) + passing.feed(CONTENTS[cut:]) + passing.finish() == CONTENTS
        assert passing.complete
    assert passing.usage.units["reasoning"] == 4


@pytest.mark.parametrize("make", [ContentStream, lambda: translation(OPENAI, GEMINI)])
def test_errors_and_ends(make):
    one = make()
    error = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}
    assert one.feed(b"data: %b\n\n" % json.dumps(error).encode()) == b""
    assert one.problem.kind == errors.ERROR_KIND_UPSTREAM_RATE_LIMITED
    broken = make()
    broken.feed(chunk({"text": "half"}))
    broken.finish()
    assert not broken.complete


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
     ("SOMETHING_NEW", "stop")],
)  # fmt: skip
def test_reasons(reason, expected):
    said = check_chat(whole(translation(OPENAI, GEMINI), chunk({"text": "x"}, reason=reason)), usage=True)
    assert said["reason"] == expected


def test_a_prompt_that_is_blocked_is_a_refusal():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    stream = b"data: %b\n\n" % json.dumps(blocked).encode()
    assert check_chat(whole(translation(OPENAI, GEMINI), stream), usage=True)["reason"] == "content_filter"
    assert check_messages(whole(translation(ANTHROPIC, GEMINI), stream))["reason"] == "refusal"


# Whole replies.


def test_whole_replies():
    candidate = {"content": {"parts": [{"text": "hello"}, {"functionCall": {"name": "f", "args": {"a": 1}}}]}}
    body = {"candidates": [candidate | {"finishReason": "STOP"}], "usageMetadata": USAGE, "responseId": "r1"}
    usage, chat = Translation(opened(OPENAI), GEMINI, {}).read(json.dumps(body).encode())
    choice = json.loads(chat)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("hello", "tool_calls")
    assert usage.units["output"] == 5
    _, message = Translation(opened(ANTHROPIC), GEMINI, {}).read(json.dumps(body).encode())
    assert [block["type"] for block in json.loads(message)["content"]] == ["text", "tool_use"]
    said = {"role": "assistant", "content": "hello", "reasoning_content": "hm"}
    used = {"prompt_tokens": 3, "completion_tokens": 2}
    reply = {"id": "chatcmpl-1", "choices": [{"message": said, "finish_reason": "length"}], "usage": used}
    _, contents = Translation(opened(GEMINI), OPENAI, {}).read(json.dumps(reply).encode())
    found = json.loads(contents)
    assert found["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert [part.get("thought") for part in found["candidates"][0]["content"]["parts"]] == [True, None]
    assert found["usageMetadata"]["totalTokenCount"] == 5
    problem = Translation(opened(OPENAI), GEMINI, {}).read(b"<html>")
    assert problem.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL


# Requests.


def test_contents_in_either_spelling():
    config = {"maxOutputTokens": 7, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"], "seed": 3}
    tool = {"functionDeclarations": [{"name": "f", "description": "d", "parameters_json_schema": SCHEMA}]}
    body, dropped = to_chat(
        system_instruction={"parts": [{"text": "Be brief."}]},
        generationConfig=config | {"thinking_config": {"thinking_budget": 5000}},
        tools=[tool],
        tool_config={"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
        safetySettings=[{"category": "x"}],
    )
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (7, 0.5, 0.9)
    assert (body["stop"], body["seed"]) == (["END"], 3)
    assert body["reasoning_effort"] == "high"
    assert body["tools"][0]["function"] == {"name": "f", "description": "d", "parameters": SCHEMA}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert dropped == ("safetySettings",)


def test_calls_find_their_answers_by_name_and_schemas_their_case():
    calls = [{"functionCall": {"name": "f", "args": {"a": number}}} for number in (1, 2)]
    responses: list[dict[str, object]] = [{"result": "one"}, {"b": 2}]
    answers = [{"functionResponse": {"name": "f", "response": response}} for response in responses]
    turns = [*HI, {"role": "model", "parts": calls}, {"role": "user", "parts": answers}]
    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
    tools = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    body, _ = to_chat(contents=turns, tools=tools)
    _, said, one, two = body["messages"]
    assert [call["id"] for call in said["tool_calls"]] == [one["tool_call_id"], two["tool_call_id"]]
    assert (one["content"], two["content"]) == ("one", '{"b":2}')
    assert body["tools"][0]["function"]["parameters"]["properties"]["city"]["type"] == "string"


def test_chat_becomes_contents():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    body, dropped = to_gemini(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,iVBORw0KGgo="}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        tool_choice="required",
        parallel_tool_calls=False,
        reasoning_effort="medium",
        seed=3,
        user="u",
    )
    picture, called, answered = body["contents"]
    assert picture["parts"][0]["inlineData"]["mimeType"] == "image/png"
    assert called["role"] == "model"
    assert called["parts"][0]["functionCall"] == {"name": "f", "args": {"a": 1}}
    assert called["parts"][0]["thoughtSignature"]
    assert answered["parts"] == [{"functionResponse": {"name": "f", "response": {"result": "sunny"}}}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    config = body["generationConfig"]
    assert config == {"seed": 3, "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True}}
    assert set(dropped) == {"parallel_tool_calls", "user"}
    level = to_gemini("gemini-3-pro", reasoning_effort="max")[0]["generationConfig"]["thinkingConfig"]
    assert level == {"thinkingLevel": "high", "includeThoughts": True}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": []}, "contents"),
        ({"contents": 7}, "contents"),
        ({"contents": [7]}, "contents"),
        ({"contents": [{"role": "nobody", "parts": []}]}, "contents"),
        ({"contents": [{"parts": [{"executableCode": {}}]}]}, "contents"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}, "contents"),
        ({"contents": [{"parts": [{"inlineData": {"data": ""}}]}]}, "contents"),
        ({"tools": [{"googleSearch": {}}]}, "tools"),
        ({"tools": 7}, "tools"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "PERHAPS"}}}, "toolConfig"),
        ({"cachedContent": "c"}, "cachedContent"),
        ({"generationConfig": {"responseModalities": ["AUDIO"]}}, "responseModalities"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}}, "generationConfig"),
        ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction"),
    ],
)
def test_what_cannot_be_said_names_the_field(body, param):
    with pytest.raises(Refused) as caught:
        to_chat(**body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("url", "mime"),
    [
        ("https://h.example/a.PNG?x=1.gif", "image/png"),
        ("https://h.example/a.webp#b", "image/webp"),
        # A picture that does not say what it is, is most often one of these.
        ("https://h.example/a", "image/jpeg"),
        ("https://h.example/a.pdf", "image/jpeg"),
    ],
)
def test_pictures_by_their_address(url, mime):
    part = {"type": "image_url", "image_url": {"url": url}}
    body, _ = to_gemini(messages=[{"role": "user", "content": [part]}])
    assert body["contents"][0]["parts"] == [{"fileData": {"mimeType": mime, "fileUri": url}}]
    simulated.check(body)


def test_documents_by_their_address():
    def asked(url):
        source = {"type": "document", "source": {"type": "url", "url": url}}
        members_ = members({"messages": [{"role": "user", "content": [source]}], "max_tokens": 9})
        return json.loads(write_contents(read_messages(members_, stream=False), "gemini-3.5-flash")[0])

    for url, mime in (("https://h.example/a.txt", "text/plain"), ("https://h.example/a", "application/pdf")):
        body = asked(url)
        assert body["contents"][0]["parts"] == [{"fileData": {"mimeType": mime, "fileUri": url}}]
        simulated.check(body)
    # Of the simulated vendor's strictness.
    for broken in ({"fileUri": "http://h.example/a", "mimeType": "image/png"}, {"fileUri": "https://h.example/a"}):
        with pytest.raises(simulated.Refused):
            simulated.check({"contents": [{"role": "user", "parts": [{"fileData": broken}]}]})


@pytest.mark.parametrize(
    "body",
    [{"n": 9}, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://h.example/a.png"}]}]}],
)  # fmt: skip
def test_what_cannot_be_said_to_gemini(body):
    with pytest.raises(Refused):
        to_gemini(**body)
