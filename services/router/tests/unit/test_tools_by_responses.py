"""GPT models that think in a chat only without tools: others' dialects reach them by the Responses API instead."""

import base64
import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages, frames
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, NAMES, OPENAI, target, translated

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import load_catalogue
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused
from tollgate_simulator_provider import responses as simulated
from tollgate_simulator_provider import responses_check
from tollgate_simulator_provider.faults import NONE

pytestmark = pytest.mark.unit
QUIRKS = WireQuirks(load_catalogue().providers["openai"].all_quirks)
GPT = replace(
    target(OPENAI), upstream_model="gpt-5.6-sol", responses=True, quirks=QUIRKS, tools_by_responses=True,
    max_tokens_name="max_completion_tokens",
)  # fmt: skip
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ASKED = {
    ANTHROPIC: {
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "the weather"}],
        "tools": [{"name": "weather", "input_schema": CITY}],
    },
    GEMINI: {
        "contents": [{"role": "user", "parts": [{"text": "the weather"}]}],
        "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": CITY}]}],
    },
    # Sent to chat's path by one client.
    OPENAI: {"input": "the weather", "tools": [{"type": "function", "name": "weather", "parameters": CITY}]},
}
callers = pytest.mark.parametrize("caller", ASKED, ids=[NAMES[caller] for caller in ASKED])


def asked(caller, one=GPT, *, stream=False, **more):
    return translated(caller, one, {"model": "asked", **ASKED[caller], **more}, stream=stream)


def answered(caller, body, *, stream, thought=8):
    """Returns what the caller gets of the simulated vendor's reply to what was sent."""
    sent = asked(caller, stream=stream, **body)
    request = json.loads(sent.body)
    responses_check.check(request)
    reply = simulated.build(request, replace(NONE, reasoning=thought), "chatcmpl-1234567890abcdef", 1)
    if not stream:
        found = sent.read(reply.body())
        assert not isinstance(found, UpstreamProblem)
        return json.loads(found[1]), found[0]
    said = sent.filter.feed(b"".join(reply.frames())) + sent.filter.finish()
    return said, sent.filter.usage


@callers
def test_chats_with_tools_go_by_the_responses_api(caller):
    sent = asked(caller)
    body = json.loads(sent.body)
    responses_check.check(body)
    assert (sent.path, sent.dropped) == (b"/responses", ())
    assert (body["model"], body["store"]) == ("gpt-5.6-sol", False)
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["tools"] == [{"type": "function", "name": "weather", "parameters": CITY, "strict": False}]


@callers
@pytest.mark.parametrize(
    "other",
    [
        {"tools": []},
        {"one": replace(GPT, tools_by_responses=False)},
        {"one": replace(GPT, responses=False)},
    ],
)
def test_all_else_goes_by_chat(caller, other):
    assert asked(caller, **other).path == b"/chat/completions"


def test_who_wants_no_thought_goes_by_chat():
    assert asked(GEMINI, generationConfig={"thinkingConfig": {"thinkingBudget": 0}}).path == b"/chat/completions"
    assert asked(OPENAI, reasoning={"effort": "none"}).path == b"/chat/completions"


@pytest.mark.parametrize(
    ("model", "so"),
    [
        ("gpt-5.4", True), ("gpt-5.4-mini", True), ("gpt-5.5", True), ("gpt-6.1-sol", True),
        ("gpt-5.2", False), ("gpt-5-mini", False), ("gpt-4.1", False), ("o3", False),
    ],
)  # fmt: skip
def test_which_models_these_are_is_data(model, so):
    assert QUIRKS.tools_by_responses(model) == so


TURNS = [
    {"role": "user", "content": [
        {"type": "text", "text": "Look."},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
        {"type": "document", "title": "a", "source": {"type": "url", "url": "https://papers.example/a.pdf"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
    ]},
    {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "of Claude"},
        {"type": "text", "text": "So."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "x"}},
        {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
    ]},
    {"role": "user", "content": [
        {"type": "text", "text": "And now?"},
        {"type": "tool_result", "tool_use_id": "t1", "content": "1"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [
            {"type": "text", "text": "2"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ]},
    ]},
]  # fmt: skip


def test_everything_of_a_message_arrives_or_is_named():
    sent = asked(
        ANTHROPIC,
        system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        messages=TURNS,
        tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2048},
        output_config={"format": {"type": "json_schema", "schema": CITY}},
        metadata={"user_id": "u"},
        max_tokens=5,
        temperature=1,
        top_p=0.5,
        top_k=3,
        stop_sequences=["END"],
        service_tier="auto",
    )  # fmt: skip
    body = json.loads(sent.body)
    responses_check.check(body)
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    assert body["input"] == [
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "Look."},
            picture,
            picture | {"image_url": "https://pictures.example/a.png"},
            {"type": "input_file", "file_url": "https://papers.example/a.pdf", "filename": "a"},
            {"type": "input_file", "filename": "document", "file_data": "data:text/plain;base64,eA=="},
        ]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
        {"type": "function_call", "call_id": "t1", "name": "weather", "arguments": '{"city": "x"}'},
        {"type": "function_call", "call_id": "t2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t1", "output": "1"},
        {"type": "function_call_output", "call_id": "t2", "output": [{"type": "input_text", "text": "2"}, picture]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ]  # fmt: skip
    del body["input"], body["tools"]
    assert body == {
        "model": "gpt-5.6-sol",
        "instructions": "Be brief.\n\nBe kind.",
        # The vendor takes no less.
        "max_output_tokens": 16,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": CITY}},
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": False,
        "user": "u",
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert set(sent.dropped) == {
        "temperature", "top_p", "top_k", "stop_sequences", "service_tier", "messages.content.thinking",
    }  # fmt: skip


def test_sound_is_refused_by_its_name():
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    with pytest.raises(Refused) as refused:
        asked(GEMINI, contents=[{"role": "user", "parts": [sound]}])
    assert (refused.value.param, "input_audio" in refused.value.message) == ("contents", True)


# Replies.

CHECKS = {
    ANTHROPIC: check_messages,
    GEMINI: check_contents,
    OPENAI: lambda stream: check_chat(stream, usage=True),
}


@callers
@pytest.mark.parametrize("said", ["the weather", "say hello"])
def test_streams_wherever_they_are_cut(caller, said):
    body = json.loads(json.dumps(ASKED[caller]).replace("the weather", said))
    sent = asked(caller, stream=True, **body)
    request = json.loads(sent.body)
    assert request["stream"] is True
    reply = simulated.build(request, replace(NONE, reasoning=8, chunks=5), "chatcmpl-1234567890abcdef", 1)
    stream = b"".join(reply.frames())
    expected = sent.filter.feed(stream) + sent.filter.finish()
    assert sent.filter.complete
    CHECKS[caller](expected)
    assert dict(sent.filter.usage.units) == reply.units
    for cut in range(0, len(stream), 7):
        one = asked(caller, stream=True, **body).filter
        assert one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.finish() == expected, cut


@callers
def test_a_whole_reply_says_what_the_stream_says(caller):
    whole, usage = answered(caller, {}, stream=False)
    stream, streamed = answered(caller, {}, stream=True)
    assert usage.units == streamed.units
    said = CHECKS[caller](stream)
    if caller == ANTHROPIC:
        assert [block["type"] for block in whole["content"]] == ["thinking", "tool_use"]
        assert said["blocks"] == whole["content"]
        assert (said["reason"], said["usage"]) == (whole["stop_reason"], whole["usage"])
    elif caller == GEMINI:
        (candidate,) = whole["candidates"]
        calls = [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in candidate["content"]["parts"]]
        assert said["calls"] == calls == [("weather", {"city": "simulated"})]
    else:
        (call,) = whole["choices"][0]["message"]["tool_calls"]
        assert said["calls"][0] == [call["id"], "weather", call["function"]["arguments"]]
        assert said["reason"] == whole["choices"][0]["finish_reason"] == "tool_calls"


def test_summaries_of_thoughts_come_to_those_who_ask_for_thoughts():
    thinking = {"thinking": {"type": "adaptive"}}
    whole, _ = answered(ANTHROPIC, thinking, stream=False)
    stream, _ = answered(ANTHROPIC, thinking, stream=True)
    assert whole["content"][0]["thinking"]
    assert check_messages(stream)["blocks"] == whole["content"]
    assert not answered(ANTHROPIC, {}, stream=False)[0]["content"][0]["thinking"]


def test_what_was_cut_says_so():
    whole, _ = answered(ANTHROPIC, {"tool_choice": {"type": "none"}, "max_tokens": 20}, stream=False, thought=2)
    assert whole["stop_reason"] == "max_tokens"
    stream, _ = answered(ANTHROPIC, {"tool_choice": {"type": "none"}, "max_tokens": 20}, stream=True, thought=2)
    assert check_messages(stream)["reason"] == "max_tokens"


def event(kind, **members):
    return b"data: %b\n\n" % json.dumps({"type": kind, **members}).encode()


def test_refusals_and_failures():
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    over = {"id": "resp_1", "model": "m", "status": "completed", "error": None, "output": [refusal], "usage": usage}
    begun = event("response.created", response={**over, "status": "in_progress", "output": [], "usage": None})
    said = event("response.refusal.delta", output_index=0, delta="No.")
    sent = asked(ANTHROPIC, stream=True)
    out = sent.filter.feed(begun + said + event("response.completed", response=over))
    assert check_messages(out)["blocks"] == [{"type": "text", "text": "No."}]
    _, body = asked(ANTHROPIC).read(json.dumps(over).encode())
    assert json.loads(body)["content"] == [{"type": "text", "text": "No."}]
    failed = {**over, "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "x"}}
    for found in (event("response.failed", response=failed), event("error", error=failed["error"])):
        sent = asked(ANTHROPIC, stream=True)
        sent.filter.feed(begun + found)
        assert sent.filter.problem.kind == errors.ERROR_KIND_UPSTREAM_RATE_LIMITED
    assert asked(ANTHROPIC).read(json.dumps(failed).encode()).kind == errors.ERROR_KIND_UPSTREAM_RATE_LIMITED
    for broken in (b"<html>", b"{}", b"[]", b'{"output": 3}'):
        assert asked(ANTHROPIC).read(broken).kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL
    sent = asked(ANTHROPIC, stream=True)
    sent.filter.feed(begun)
    sent.filter.finish()
    assert not sent.filter.complete


# Thoughts over several turns.


def next_turn(caller, *, stream):
    """Returns a second turn of a conversation, as the caller's client sends it after the reply to the first."""
    found, _ = answered(caller, {}, stream=stream)
    if caller == ANTHROPIC:
        content = check_messages(found)["blocks"] if stream else found["content"]
        result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "rain"}
        turns = [*ASKED[caller]["messages"], {"role": "assistant", "content": content}]
        return {"messages": [*turns, {"role": "user", "content": [result]}]}
    if stream:
        parts = [part for _, chunk in frames(found) for part in chunk["candidates"][0]["content"]["parts"]]
    else:
        parts = found["candidates"][0]["content"]["parts"]
    # What clients of Gemini do with it: bytes, and back.
    signatures = [base64.b64decode(part["thoughtSignature"], validate=True) for part in parts if "functionCall" in part]
    assert len(signatures) == 1
    call = next(part["functionCall"] for part in parts if "functionCall" in part)
    answer = {"functionResponse": {"id": call["id"], "name": call["name"], "response": {"result": "rain"}}}
    turns = [*ASKED[caller]["contents"], {"role": "model", "parts": parts}]
    return {"contents": [*turns, {"role": "user", "parts": [answer]}]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("caller", [ANTHROPIC, GEMINI], ids=["messages", "contents"])
def test_thoughts_come_back_to_their_maker_as_it_sealed_them(caller, stream):
    request = json.loads(asked(caller, **next_turn(caller, stream=stream)).body)
    responses_check.check(request)
    assert [item["type"] for item in request["input"]] == [
        "message", "reasoning", "function_call", "function_call_output",
    ]  # fmt: skip
    assert request["input"][1]["id"].startswith("rs_")


@pytest.mark.parametrize("other", [OPENAI, ANTHROPIC, GEMINI], ids=["chat", "messages", "contents"])
@pytest.mark.parametrize("caller", [ANTHROPIC, GEMINI], ids=["messages", "contents"])
def test_no_other_maker_is_shown_them(caller, other):
    if caller == other:
        return
    turn = next_turn(caller, stream=False)
    assert "b3BlbmFpX3Yx" in json.dumps(turn)
    assert b"b3BlbmFpX3Yx" not in bytes(asked(caller, target(other), **turn).body)


def test_a_proof_that_was_broken_is_left_out():
    turn = json.loads(json.dumps(next_turn(ANTHROPIC, stream=False)).replace("b3BlbmFpX3Yx", "b3BlbmFpX3Yx~"))
    request = json.loads(asked(ANTHROPIC, **turn).body)
    assert [item["type"] for item in request["input"]] == ["message", "function_call", "function_call_output"]
