"""The simulated Responses API: what it refuses, what it counts, and the events of its streams."""

import json

import pytest

from tollgate_simulator_provider import faults, responses, responses_check
from tollgate_simulator_provider.clouds import AtAzure, Clouds
from tollgate_simulator_provider.refusals import Refused

pytestmark = pytest.mark.unit
FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {"a": {"const": 1}}}}
CUSTOM = {"type": "custom", "name": "patch"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "weather", "arguments": "{}"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": responses_check.sealed("Hm")}


def ask(text="Hello", fault="", **more):
    request = {"model": "m", "input": text, **more}
    responses_check.check(request)
    return responses.build(request, faults.parse(fault), "chatcmpl-sim000000000001", 7)


def events(reply):
    found = []
    for frame in reply.frames():
        name, data = frame.decode().removesuffix("\n\n").split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def test_a_stream_says_what_the_whole_reply_says():
    reply = ask("Hello", "reasoning=2", reasoning={"summary": "auto"})
    found = events(reply)
    assert [event["type"] for event in found if "delta" not in event["type"]] == [
        *("response.created", "response.in_progress"),
        *("response.output_item.added", "response.reasoning_summary_part.added"),
        *("response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "response.output_item.done"),
        *("response.output_item.added", "response.content_part.added"),
        *("response.output_text.done", "response.content_part.done", "response.output_item.done"),
        "response.completed",
    ]
    whole = json.loads(reply.body())
    assert found[-1]["response"] == whole
    said = "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")
    assert said == whole["output"][1]["content"][0]["text"]
    assert all(event["obfuscation"] for event in found if "delta" in event)


def test_counts_are_those_that_are_reported():
    reply = ask("abcde", "cached=3,reasoning=4,chunks=6", instructions="abcd")
    assert reply.units == {"input": (4 + 2) + (4 + 1) - 3, "cache_read": 3, "output": 6, "reasoning": 4}
    usage = reply.usage()
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (11, 10, 21)
    assert usage["output_tokens_details"] == {"reasoning_tokens": 4}
    assert ask("x", "wrong-usage=missing").usage() is None
    picture = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]
    assert ask(picture).units["input"] == 4 + 85


def test_tools():
    call = json.loads(ask("Use weather", tools=[FUNCTION]).body())["output"][0]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "weather", '{"a":1}')
    call = json.loads(ask("Use patch", tools=[FUNCTION, CUSTOM]).body())["output"][0]
    assert (call["type"], call["input"]) == ("custom_tool_call", "[simulated] input")
    space = {"type": "namespace", "name": "sky", "tools": [FUNCTION]}
    call = json.loads(ask("Use weather", tools=[space]).body())["output"][0]
    assert (call["namespace"], call["name"]) == ("sky", "weather")
    searched = ask("Use web_search", tools=[{"type": "web_search"}])
    assert [item["type"] for item in json.loads(searched.body())["output"]] == ["web_search_call", "message"]
    assert searched.units["search"] == 1
    assert ask("Use weather", tools=[FUNCTION], tool_choice="none").kind == ""
    after = [{"role": "user", "content": "Use weather"}, CALL, {**CALL, "type": "function_call_output", "output": "x"}]
    assert ask(after, tools=[FUNCTION]).kind == ""


def test_how_it_ends():
    cut = json.loads(ask("Hello", max_output_tokens=16).body())
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert events(ask("Hello", max_output_tokens=16))[-1]["type"] == "response.incomplete"
    assert events(ask("Hello", "finish=failed"))[-1]["type"] == "response.failed"
    assert events(ask("Hello", "no-done"))[-1]["type"] == "response.output_item.done"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        ({"response_format": {}}, 400, "response_format"),
        ({"input": []}, 400, "input"),
        ({"input": None}, 400, "input"),
        ({"input": [7]}, 400, "input[0]"),
        ({"input": [{"type": "hologram"}]}, 400, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, 400, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": "x", "name": "n"}]}, 400, "input[0].name"),
        ({"input": [{"role": "user", "content": "x", "id": "item_1"}]}, 400, "input[0].id"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, 400, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, 404, "input"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, 404, "input"),
        ({"input": [THOUGHT | {"encrypted_content": "gAAAAAx"}]}, 400, None),
        ({"tools": [{"type": "function", "function": {}}]}, 400, "tools[0].function"),
        ({"tools": [{"type": "function"}]}, 400, "tools[0].name"),
        ({"tools": [{"type": "anvil"}]}, 400, "tools[0].type"),
        ({"tool_choice": "maybe"}, 400, "tool_choice"),
        ({"stream_options": {"include_usage": True}, "stream": True}, 400, "stream_options.include_usage"),
        ({"stream_options": {}}, 400, "stream_options"),
        ({"max_output_tokens": 15}, 400, "max_output_tokens"),
        ({"temperature": 3}, 400, "temperature"),
        ({"reasoning": {"effort": "some"}}, 400, "reasoning.effort"),
        ({"include": ["everything"]}, 400, "include"),
        ({"text": {"format": {"type": "json_schema"}}}, 400, "text.format"),
        ({"store": "yes"}, 400, "store"),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"conversation": "conv_1"}, 404, "conversation"),
        ({"background": True}, 400, "background"),
    ],
)
def test_what_is_refused(body, status, param):
    with pytest.raises(Refused) as caught:
        responses_check.check({"model": "m", "input": "x", **body})
    assert (caught.value.status, caught.value.param) == (status, param)


def test_what_it_sealed_comes_back():
    include = ["reasoning.encrypted_content"]
    thought = json.loads(ask("Hi", "reasoning=3", include=include).body())["output"][0]
    assert thought["encrypted_content"].startswith("gAAAAA")
    assert ask([{"role": "user", "content": "Hi"}, thought, {"role": "user", "content": "And?"}])
    assert ask([THOUGHT, {"role": "user", "content": "And?"}])


def test_azure_has_it_on_the_v1_path_alone():
    clouds = Clouds()
    found = clouds.find("/azure/openai/v1/responses", b"")
    assert isinstance(found, AtAzure)
    assert found.operation == "responses"
    assert clouds.find("/azure/openai/deployments/d/responses", b"") is None
    with pytest.raises(Refused, match="content management policy"):
        found.request({"input": [{"role": "user", "content": "[[azure:blocked]]"}]})
