"""Signatures of Gemini's calls come back to it whatever dialect its caller speaks, and go to nobody else."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, OPENAI, RESPONSE, target, translated

from tollgate_resources import load_catalogue
from tollgate_router.domain.chat_repair import RepairedStream
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_simulator_provider import faults, gemini

CATALOGUE = load_catalogue()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DIALECTS = {"chat": OPENAI, "messages": ANTHROPIC, "responses": RESPONSE}


def question(name):
    """Returns a request of a dialect that has the model call a tool."""
    if name == "chat":
        tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
        return {"messages": [{"role": "user", "content": "Use weather"}], "tools": [tool], "reasoning_effort": "low"}
    if name == "messages":
        tool = {"name": "weather", "input_schema": SCHEMA}
        thinking = {"type": "enabled", "budget_tokens": 1024}
        asked = {"messages": [{"role": "user", "content": "Use weather"}], "tools": [tool], "max_tokens": 2000}
        return asked | {"thinking": thinking}
    tool = {"type": "function", "name": "weather", "parameters": SCHEMA}
    asked = {"input": [{"role": "user", "content": "Use weather"}], "tools": [tool], "reasoning": {"effort": "low"}}
    return asked | {"include": ["reasoning.encrypted_content"]}


def events(stream):
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]


def turn(name, asked, said, *, stream):
    """Returns the next request as the dialect's clients make it: all that was said, and the tool's answer."""
    if name == "chat":
        if stream:
            (call,) = [one for one in pieces(said) if "id" in one]
            call = {
                **call,
                "function": {
                    **call["function"],
                    "arguments": "".join(one["function"]["arguments"] for one in pieces(said)),
                },
            }
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        else:
            message = json.loads(said)["choices"][0]["message"]
        (call,) = message["tool_calls"]
        more = [message, {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]
        return {**asked, "messages": [*asked["messages"], *more]}
    if name == "messages":
        content = blocks(events(said)) if stream else json.loads(said)["content"]
        (call,) = [one for one in content if one["type"] == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"}
        more = [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
        return {**asked, "messages": [*asked["messages"], *more]}
    output = events(said)[-1]["response"]["output"] if stream else json.loads(said)["output"]
    (call,) = [one for one in output if one["type"] == "function_call"]
    more = [*output, {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}]
    return {**asked, "input": [*asked["input"], *more]}


def pieces(stream):
    """Returns the pieces of calls in a stream of chat."""
    choices = [choice for event in events(stream) for choice in event["choices"]]
    return [call for choice in choices for call in choice["delta"].get("tool_calls", ())]


def blocks(found):
    content = []
    for event in found:
        if event["type"] == "content_block_start":
            content.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], content[-1]
            if delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            elif delta["type"] == "input_json_delta":
                block["input"] = json.loads(delta["partial_json"])
    return content


def asked_of_gemini(name, asked, *, stream):
    sent = translated(DIALECTS[name], target(GEMINI), asked, stream=stream)
    body = json.loads(sent.body)
    gemini.check(body)
    reply = gemini.build(body, "gemini-3.5-flash", faults.NONE, "chatcmpl-1")
    if not stream:
        return body, sent.read(reply.body())[1]
    assert sent.filter is not None
    said = b"".join(sent.filter.feed(frame) for frame in reply.frames())
    return body, said + sent.filter.finish()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_call_comes_back_to_gemini_with_its_own_signature(name, stream):
    first = question(name)
    _, said = asked_of_gemini(name, first, stream=stream)
    second = turn(name, first, said, stream=stream)
    body, said = asked_of_gemini(name, second, stream=stream)
    (part,) = [part for content in body["contents"] for part in content["parts"] if "functionCall" in part]
    assert part["thoughtSignature"] == gemini.signature_of(part["functionCall"]) != gemini.NO_SIGNATURE
    # Nobody else is shown it.
    for other in (ANTHROPIC, OPENAI):
        if other != DIALECTS[name]:
            assert part["thoughtSignature"].encode() not in translated(DIALECTS[name], target(other), second).body
    # Whoever made none gets the word for that.
    bare = json.loads(json.dumps(second).replace("google:", "").replace("extra_content", "extra"))
    if name != "responses":
        found, _ = asked_of_gemini(name, bare, stream=stream)
        (part,) = [part for content in found["contents"] for part in content["parts"] if "functionCall" in part]
        assert part["thoughtSignature"] == gemini.NO_SIGNATURE


def test_a_caller_of_responses_who_asks_for_nothing_sealed_gets_no_item_for_it():
    asked = question("responses")
    del asked["include"], asked["reasoning"]
    for stream in (False, True):
        body, said = asked_of_gemini("responses", asked, stream=stream)
        output = events(said)[-1]["response"]["output"] if stream else json.loads(said)["output"]
        # Some would refer to it by its id in the next request, and nothing is stored.
        assert [item["type"] for item in output] == ["function_call"]
        body, _ = asked_of_gemini("responses", turn("responses", asked, said, stream=stream), stream=stream)
        (part,) = [part for content in body["contents"] for part in content["parts"] if "functionCall" in part]
        assert part["thoughtSignature"] == gemini.NO_SIGNATURE


def test_gemini_refuses_a_signature_of_another_call():
    call = {"name": "f", "args": {"a": 1}}
    contents = [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": call, "thoughtSignature": gemini.signature_of({"name": "g"})}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ]
    with pytest.raises(gemini.Refused, match="not valid"):
        gemini.check({"contents": contents})


def test_the_compatible_endpoint_has_them_in_extra_content_and_others_have_none():
    quirks = WireQuirks(CATALOGUE.quirks_of(CATALOGUE.providers["gemini-openai"]))
    extra = {"google": {"thought_signature": "c2ln"}}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    delta = {"role": "assistant", "tool_calls": [{**call, "extra_content": extra}]}
    chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}
    stream = RepairedStream(quirks, {"id": "x", "created": 1, "model": "m"}, usage_wanted=False)
    (found,) = pieces(stream.feed(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode()))
    assert found["extra_content"] == extra
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [{**call, "extra_content": extra}]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]
    compatible = replace(target(OPENAI), conforming=False, quirks=quirks)
    kept = translated(OPENAI, compatible, {"messages": messages}).body
    assert json.loads(kept)["messages"][1]["tool_calls"][0]["extra_content"] == extra
    # OpenAI may refuse members that it does not know.
    tools = [{"type": "function", "function": {"name": "f"}}]
    passed = json.loads(translated(OPENAI, target(OPENAI), {"messages": messages, "tools": tools}).body)
    assert passed["messages"][1]["tool_calls"] == [call]
    contents = [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ]
    sent = json.loads(translated(GEMINI, compatible, {"contents": contents}).body)
    assert sent["messages"][1]["tool_calls"][0]["extra_content"] == extra
    assert b"c2ln" not in translated(GEMINI, target(OPENAI), {"contents": contents}).body
