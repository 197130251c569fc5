"""The Responses dialect: bodies read, replies written, whole and streamed, and what needs a memory refused."""

import json

import pytest
from services.router.tests.fakes.dialects import check_chat, check_responses
from services.router.tests.fakes.versions import channel, snapshot
from services.router.tests.unit.test_dialect_gemini import CONTENTS
from services.router.tests.unit.test_dialect_streams import CHAT, MESSAGES, call, chunk, opened

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.anthropic_body import write_messages
from tollgate_router.domain.dialects.openai_request import write_chat
from tollgate_router.domain.dialects.responses_request import PLAIN, ToolNames, read_responses, tool_names
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation, sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
OPENAI, RESPONSES, ANTHROPIC = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_OPENAI_RESPONSES, wire.DIALECT_ANTHROPIC
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
PICTURE = {"type": "input_image", "image_url": "https://h.example/a.png", "detail": "low"}
FREE = ToolNames(frozenset(("apply_patch",)), {"agents__first": ("agents", "first")})


def translation(upstream, tools=PLAIN):
    return StreamTranslation(Translation(opened(RESPONSES), upstream, {}, tools))


def whole(one, stream):
    return one.feed(stream) + one.finish()


def request(**body):
    return read_responses(read_body(json.dumps({"input": "hi", **body}).encode()), stream=False, usage_wanted=True)


def to_chat(**body):
    found, dropped = write_chat(request(**body), "up")
    return json.loads(found), dropped


@pytest.mark.parametrize(
    ("upstream", "stream"), [(OPENAI, CHAT), (ANTHROPIC, MESSAGES), (wire.DIALECT_GEMINI, CONTENTS)]
)
def test_streams_of_all_wires(upstream, stream):
    said = check_responses(whole(translation(upstream), stream))
    assert [item["type"] for item in said["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert json.loads(said["output"][2]["arguments"]) == {"a": 1}
    assert (said["status"], said["model"], said["object"]) == ("completed", "asked", "response")
    expected = whole(translation(upstream), stream)
    for cut in range(len(stream)):
        one = translation(upstream)
        assert one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.finish() == expected, cut


def test_calls_in_turns_and_tools_that_take_text():
    stream = b"".join(
        (
            chunk({"role": "assistant"}),
            chunk(call(0, "", "call_a", "agents__first")),
            chunk(call(1, '{"input": "*** Begin', "call_b", "apply_patch")),
            chunk(call(0, '{"a":1}')),
            chunk(call(1, ' Patch"}')),
            chunk({}, "tool_calls"),
            b"data: [DONE]\n\n",
        )
    )
    one, two = check_responses(whole(translation(OPENAI, FREE), stream))["output"]
    assert (one["type"], one["call_id"], one["arguments"]) == ("function_call", "call_a", '{"a":1}')
    assert (one["namespace"], one["name"]) == ("agents", "first")
    assert (two["type"], two["call_id"], two["input"]) == ("custom_tool_call", "call_b", "*** Begin Patch")


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_how_it_ends(reason, status, why):
    stream = chunk({"role": "assistant", "content": "x"}) + chunk({}, reason) + b"data: [DONE]\n\n"
    said = check_responses(whole(translation(OPENAI), stream))
    assert (said["status"], (said["incomplete_details"] or {}).get("reason")) == (status, why)


def test_thoughts_come_back_signed():
    said = check_responses(whole(translation(ANTHROPIC), MESSAGES))
    turns = [{"role": "user", "content": "hi"}, *said["output"]]
    turns += [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"} for item in said["output"][2:]
    ]
    tools = [{"type": "function", "name": "first", "parameters": SCHEMA}]
    written = write_messages(
        request(input=turns, tools=tools, reasoning={"effort": "high"}), "claude-sonnet-4-5", max_output_tokens=64_000
    )
    body = json.loads(written.body)
    thought = body["messages"][1]["content"][0]
    assert thought == {"type": "thinking", "thinking": "Hm, 好.", "signature": "sig"}
    assert body["thinking"]["type"] == "enabled"
    # One that somebody else has sealed is nothing that could be proven.
    turns[1] = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAAA"}
    written = write_messages(request(input=turns, tools=tools), "claude-sonnet-4-5", max_output_tokens=64_000)
    assert "thinking" not in [block["type"] for block in json.loads(written.body)["messages"][1]["content"]]


def test_a_whole_reply():
    reply = {
        "id": "chatcmpl-1",
        "choices": [{"message": {"content": "hello", "reasoning_content": "hm"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    usage, body = Translation(opened(RESPONSES), OPENAI, {}).read(json.dumps(reply).encode())
    found = json.loads(body)
    assert [item["type"] for item in found["output"]] == ["reasoning", "message"]
    assert found["output"][1]["content"][0]["text"] == "hello"
    assert found["usage"]["total_tokens"] == 5
    assert usage.units == {"input": 3, "output": 2}


def test_what_a_body_asks_for():
    body, dropped = to_chat(
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "And kind."},
            {"role": "user", "content": [{"type": "input_text", "text": "look"}, PICTURE]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        ],
        tools=[
            {"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark"}},
            {"type": "web_search"},
        ],
        tool_choice={"type": "function", "name": "f"},
        max_output_tokens=50,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
    )  # fmt: skip
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert body["messages"][0]["content"] == "Be brief.\n\nAnd kind."
    assert body["messages"][1]["content"][1]["image_url"] == {"url": "https://h.example/a.png", "detail": "low"}
    assert json.loads(body["messages"][2]["tool_calls"][1]["function"]["arguments"]) == {"input": "*** Begin"}
    assert [tool["function"]["name"] for tool in body["tools"]] == ["f", "apply_patch"]
    assert body["response_format"]["json_schema"] == {"name": "n", "schema": SCHEMA, "strict": True}
    assert (body["max_tokens"], body["reasoning_effort"]) == (50, "low")
    assert set(dropped) == {"tools.web_search", "tools.apply_patch.format", "text.verbosity", "prompt_cache_key"}


def test_tools_in_a_namespace_are_offered_under_both_names():
    inner = {"type": "function", "name": "first", "parameters": SCHEMA}
    tools = [{"type": "namespace", "name": "agents", "tools": [inner]}, {"type": "custom", "name": "apply_patch"}]
    said = {"type": "function_call", "call_id": "c", "namespace": "agents", "name": "first", "arguments": "{}"}
    body, _ = to_chat(tools=tools, input=[{"role": "user", "content": "x"}, said])
    assert [tool["function"]["name"] for tool in body["tools"]] == ["agents__first", "apply_patch"]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "agents__first"
    assert tool_names(read_body(json.dumps({"tools": tools}).encode())) == FREE


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input"),
        ({"tools": [{"type": "file_search"}]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text"),
        ({"reasoning": {"effort": "huge"}}, "reasoning"),
    ],
)
def test_what_cannot_be_done_names_the_field(body, param):
    with pytest.raises(Refused) as caught:
        to_chat(**body)
    assert caught.value.param == param


def test_a_response_body_on_the_path_of_chat_is_answered_in_chunks():
    target = snapshot([channel("a")]).route("default", "able").base.levels[0].targets[0]
    asked = opened(OPENAI, model="able", requested_model="")
    body = json.dumps({"model": "able", "input": [{"role": "user", "content": "hi"}], "messages": []}).encode()
    sent = sending(asked, read_body(body), target, body)
    assert json.loads(sent.body)["messages"] == [{"role": "user", "content": "hi"}]
    check_chat(sent.filter.feed(CHAT) + sent.filter.finish(), usage=True)
    embeddings = wire.Open(dialect=OPENAI, operation=wire.OPERATION_EMBEDDINGS, model="able")
    body = b'{"model":"able","input":"x"}'
    plain = sending(embeddings, read_body(body), target, body)
    assert json.loads(plain.body)["input"] == "x"
