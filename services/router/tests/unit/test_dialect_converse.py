"""Bedrock's Converse: bodies written, replies and binary streams read, at every cut."""

import base64
import json
import struct
import zlib

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages, check_responses
from services.router.tests.unit.test_dialect_streams import opened

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.anthropic_request import read_messages
from tollgate_router.domain.dialects.claude import is_adaptive
from tollgate_router.domain.dialects.converse_body import converse_path, write_converse
from tollgate_router.domain.dialects.converse_reply import read_whole
from tollgate_router.domain.dialects.openai_request import read_chat
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.domain.upstream_errors import Bench, Hints, UpstreamProblem, problem_of_reply
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
CHAT, MESSAGES = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC
CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"
HI = [{"role": "user", "content": "hi"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 20).decode()
PDF = base64.b64encode(b"%PDF-1.7 " + b"0" * 20).decode()
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
MARK = {"type": "ephemeral"}
PICTURE = {"type": "image_url", "image_url": "https://h/a.png"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
USAGE = {
    "inputTokens": 20, "outputTokens": 9, "totalTokens": 44, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 5,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 2}, {"ttl": "5m", "inputTokens": 3}],
}  # fmt: skip
UNITS = {"input": 20, "cache_read": 10, "cache_write_5m": 3, "cache_write_1h": 2, "output": 9}


def message(payload, **headers):
    pairs = [(f":{name.replace('_', '-')}", value) for name, value in headers.items()]
    said = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in pairs
    )
    data = json.dumps(payload).encode()
    prelude = struct.pack(">II", len(said) + len(data) + 16, len(said))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + said + data
    return whole + struct.pack(">I", zlib.crc32(whole))


def event(kind, **members):
    return message(members | {"p": "pad"}, event_type=kind, content_type="application/json", message_type="event")


def delta(index, **members):
    return event("contentBlockDelta", contentBlockIndex=index, delta=members)


def call(index, name, call_id):
    return event("contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": call_id, "name": name}})


def stop(index):
    return event("contentBlockStop", contentBlockIndex=index)


STREAM = b"".join(
    (
        event("messageStart", role="assistant"),
        delta(0, reasoningContent={"text": "Hm, 好."}),
        delta(0, reasoningContent={"signature": "sig"}),
        stop(0),
        delta(1, text="Grüße, "),
        delta(1, text='"usage"'),
        stop(1),
        call(2, "first", "t1"),
        delta(2, toolUse={"input": '{"a'}),
        delta(2, toolUse={"input": '":1}'}),
        stop(2),
        call(3, "second", "t2"),
        stop(3),
        event("messageStop", stopReason="tool_use"),
        event("metadata", usage=USAGE, metrics={"latencyMs": 1}, serviceTier={"type": "flex"}),
    )
)


def translation(caller, names=None):
    return StreamTranslation(Translation(opened(caller, request_id="req_1"), WIRE_BEDROCK, names or {}))


def whole(one, stream):
    return one.feed(stream) + one.finish()


def written(model=CLAUDE, **body):
    request = read_chat(read_body(json.dumps({"messages": HI, **body}).encode()), stream=False, usage_wanted=False)
    found = write_converse(request, model)
    return json.loads(found.body), found


# Streams.


def test_a_stream_becomes_chat_and_messages():
    one = translation(CHAT, {"second": "the second"})
    said = check_chat(whole(one, STREAM), usage=True)
    assert (said["thought"], said["text"], said["reason"]) == ("Hm, 好.", 'Grüße, "usage"', "tool_calls")
    assert said["calls"] == {0: ["t1", "first", '{"a":1}'], 1: ["t2", "the second", said["calls"][1][2]]}
    assert json.loads(said["calls"][1][2] or "{}") == {}
    assert (one.usage.units, one.usage.service, one.complete, one.done) == (UNITS, "flex", True, True)
    assert said["usage"]["prompt_tokens"] == 35
    found = check_messages(whole(translation(MESSAGES), STREAM))
    assert [block["type"] for block in found["blocks"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert found["blocks"][0]["signature"] == "sig"
    assert found["blocks"][2]["input"] == {"a": 1}
    assert (found["reason"], found["usage"]["cache_read_input_tokens"]) == ("tool_use", 10)


def test_a_stream_becomes_contents_and_responses():
    assert check_contents(whole(translation(wire.DIALECT_GEMINI), STREAM))["calls"][0] == ("first", {"a": 1})
    response = check_responses(whole(translation(wire.DIALECT_OPENAI_RESPONSES), STREAM))
    assert [item["type"] for item in response["output"]][-2:] == ["function_call", "function_call"]


@pytest.mark.parametrize("caller", [CHAT, MESSAGES])
def test_where_the_bytes_are_cut_changes_nothing(caller):
    expected = whole(translation(caller), STREAM)
    for cut in range(len(STREAM)):
        one = translation(caller)
        assert one.feed(STREAM[:cut]) + one.feed(STREAM[cut:]) + one.finish() == expected, cut


def test_hidden_thought_reaches_who_can_send_it_back():
    hidden = delta(0, reasoningContent={"redactedContent": "aGlkZGVu"})
    stream = event("messageStart", role="assistant") + hidden + stop(0)
    stream += delta(1, text="x") + event("messageStop", stopReason="end_turn") + event("metadata", usage=USAGE)
    block, _ = check_messages(whole(translation(MESSAGES), stream))["blocks"]
    assert block == {"type": "redacted_thinking", "data": "aGlkZGVu"}


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("throttlingException", "Too many requests", errors.ERROR_KIND_UPSTREAM_RATE_LIMITED),
        ("modelStreamErrorException", "x", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE),
        ("internalServerException", "x", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE),
        ("validationException", "Input is too long for requested model.", errors.ERROR_KIND_CONTEXT_LENGTH),
        ("validationException", "bad value", errors.ERROR_KIND_INVALID_REQUEST),
        ("somethingNewException", "x", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE),
    ],
)
def test_an_exception_in_the_stream_is_what_its_name_says(kind, words, expected):
    one = translation(CHAT)
    assert one.feed(event("messageStart", role="assistant") + delta(0, text="half"))
    assert one.feed(message({"message": words}, message_type="exception", exception_type=kind) + STREAM) == b""
    assert one.problem.kind == expected
    assert not one.complete


def test_damage_is_a_broken_answer_and_what_is_not_whole_is_no_end():
    one = translation(CHAT)
    broken = bytearray(STREAM)
    broken[-40] ^= 1
    assert one.feed(bytes(broken))
    assert one.problem.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL
    short = translation(CHAT)
    whole(short, STREAM[: len(STREAM) // 2])
    assert (short.problem, short.complete) == (None, False)
    silent = translation(CHAT)
    end = event("messageStart", role="assistant") + delta(0, text="x") + event("messageStop", stopReason="end_turn")
    assert check_chat(whole(silent, end), usage=False)["reason"] == "stop"
    assert (silent.complete, silent.usage) == (True, None)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("guardrail_intervened",
        "content_filter"), ("content_filtered", "content_filter"), ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
    ],
)  # fmt: skip
def test_reasons(reason, expected):
    stream = event("messageStart", role="assistant") + delta(0, text="x") + event("messageStop", stopReason=reason)
    assert check_chat(whole(translation(CHAT), stream), usage=False)["reason"] == expected


def test_whole_replies():
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
    cited = {"citationsContent": {"content": [{"text": " and more"}], "citations": []}}
    use = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}
    content = [thought, {"text": "hello"}, cited, use]
    reply = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use", "usage": USAGE}
    usage, chat = Translation(opened(CHAT, request_id="r"), WIRE_BEDROCK, {}).read(json.dumps(reply).encode())
    choice = json.loads(chat)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("hello and more", "tool_calls")
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert usage.units == UNITS
    _, found = Translation(opened(MESSAGES, request_id="r"), WIRE_BEDROCK, {}).read(json.dumps(reply).encode())
    assert json.loads(found)["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    for body in (b"<html>", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":7}}}'):
        problem = Translation(opened(CHAT), WIRE_BEDROCK, {}).read(body)
        assert problem.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL


@pytest.mark.parametrize("usage", [{"inputTokens": -1, "outputTokens": 1}, {"inputTokens": 1}, "many", None])
def test_usage_that_cannot_be_true_is_none(usage):
    reply = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "usage": usage}
    found, _ = Translation(opened(CHAT), WIRE_BEDROCK, {}).read(json.dumps(reply).encode())
    assert found is None


# Bodies.


def test_a_plain_question():
    body, found = written(
        messages=[{"role": "system", "content": "Be brief."}, *HI], max_tokens=7, temperature=1.5, stop=["END"]
    )
    assert body == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 7, "temperature": 1.0, "stopSequences": ["END"]},
    }
    assert found.dropped == ()


def test_tools_calls_and_answers():
    long, odd = "f" * 70, "my tool"
    tools = [TOOL, *({"type": "function", "function": {"name": name}} for name in (long, odd))]
    turns = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "call 2" + "x" * 70}]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "call 2" + "x" * 70, "content": ""},
        {"role": "user", "content": "and now?"},
    ]
    choice = {"type": "function", "function": {"name": odd}}
    body, found = written(messages=turns, tools=tools, tool_choice=choice, parallel_tool_calls=False)
    _, called, answered = body["messages"]
    ids = [block["toolUse"]["toolUseId"] for block in called["content"]]
    assert ids == [block["toolResult"]["toolUseId"] for block in answered["content"][:2]]
    assert all(len(one) <= 64 and " " not in one for one in ids)
    assert called["content"][0]["toolUse"]["input"] == {"a": 1}
    assert answered["content"][0]["toolResult"]["content"] == [{"text": "one"}]
    assert answered["content"][1]["toolResult"]["content"]
    assert answered["content"][2] == {"text": "and now?"}
    specs = [tool["toolSpec"] for tool in body["toolConfig"]["tools"]]
    assert specs[0] == {"name": "f", "description": "d", "inputSchema": {"json": SCHEMA}}
    assert specs[1]["inputSchema"]["json"]["type"] == "object"
    assert {found.names[spec["name"]] for spec in specs[1:]} == {long, odd}
    assert all(len(spec["name"]) <= 64 for spec in specs)
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": specs[2]["name"]}}
    assert found.dropped == ("parallel_tool_calls",)
    assert written(tools=[TOOL], tool_choice="required")[0]["toolConfig"]["toolChoice"] == {"any": {}}
    assert "toolConfig" not in written(tools=[TOOL], tool_choice="none")[0]


def test_pictures_and_documents():
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}},
        {"type": "file", "file": {"filename": "a_b..c.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    ]
    content = written(messages=[{"role": "user", "content": parts}])[0]["messages"][0]["content"]
    assert content[0] == {"image": {"format": "png", "source": {"bytes": PNG}}}
    assert content[1] == {"document": {"format": "pdf", "name": "a b c 1", "source": {"bytes": PDF}}}
    assert "text" in content[2], "a document needs words beside it"


def test_thinking_is_asked_for_in_each_models_way():
    body, found = written(reasoning_effort="medium", max_tokens=100, temperature=0.5)
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    assert body["inferenceConfig"] == {"maxTokens": 2148}
    assert found.dropped == ("temperature",)
    body, _ = written("global.anthropic.claude-opus-4-6-v1", reasoning_effort="xhigh")
    assert body["additionalModelRequestFields"]["thinking"]["type"] == "adaptive"
    assert body["outputConfig"] == {"effort": "xhigh"}
    body, _ = written("openai.gpt-oss-120b-1:0", reasoning_effort="minimal")
    assert body["additionalModelRequestFields"] == {"reasoning_effort": "low"}
    body, found = written(NOVA, reasoning_effort="high", top_p=0.5, temperature=0.1)
    assert "additionalModelRequestFields" not in body
    assert body["inferenceConfig"] == {"temperature": 0.1, "topP": 0.5}
    assert found.dropped == ("reasoning_effort",)


def test_signed_thoughts_and_marks_of_the_cache_come_along():
    thoughts = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "aGk="},
    ]
    turns = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        },
        {"role": "assistant", "content": [*thoughts, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]
    system = [{"type": "text", "text": "s", "cache_control": MARK}]
    body = {"max_tokens": 10, "messages": turns, "system": system, "top_k": 5}
    request = read_messages(read_body(json.dumps(body).encode()), stream=False)
    found = json.loads(write_converse(request, CLAUDE).body)
    assert found["system"] == [{"text": "s"}, {"cachePoint": {"type": "default"}}]
    assert found["messages"][0]["content"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert found["messages"][1]["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "aGk="}},
    ]
    assert found["additionalModelRequestFields"] == {"top_k": 5}
    other = write_converse(request, "meta.llama3-1-70b-instruct-v1:0")
    assert b"cachePoint" not in other.body
    assert other.dropped == ("top_k",)


def test_structured_answers():
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    text = written(response_format=form)[0]["outputConfig"]["textFormat"]
    assert text["type"] == "json_schema"
    assert json.loads(text["structure"]["jsonSchema"]["schema"]) == SCHEMA
    assert "JSON" in written(response_format={"type": "json_object"})[0]["system"][0]["text"]


def test_what_only_steers_is_left_out_and_named():
    _, found = written(seed=3, presence_penalty=0.5, user="u", logit_bias={"1": 2}, metadata={"a": "b"}, n=1)
    assert set(found.dropped) == {"seed", "presence_penalty", "user", "logit_bias", "metadata"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages"),
        ({"messages": [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                       {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "tools"),
        ({"tools": [TOOL], "tool_choice": "none",
          "messages": [*HI, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                       {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "tool_choice"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_names_the_field(body, param):
    with pytest.raises(Refused) as caught:
        written(**body)
    assert caught.value.param == param


def test_paths_name_models_profiles_and_arns():
    assert converse_path(CLAUDE, stream=True).endswith(b"-v1%3A0/converse-stream")
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.x"
    assert b"inference-profile%2Fus.x/converse" in converse_path(arn, stream=False)


@pytest.mark.parametrize(
    ("model", "adaptive"),
    [
        ("claude-opus-4-20250514", False), ("claude-sonnet-4-5-20250929", False), ("claude-opus-4-6", True),
        ("us.anthropic.claude-sonnet-4-6-v1:0", True), ("claude-sonnet-5", True), ("claude-opus-5@20260801", True),
        ("claude-fable-5-1", True), ("claude-3-7-sonnet-20250219", False), ("gpt-5.1", False),
    ],
)  # fmt: skip
def test_which_models_of_claude_decide_themselves_how_much_they_think(model, adaptive):
    assert is_adaptive(model) is adaptive


# Errors.


@pytest.mark.parametrize(
    ("status", "name", "words", "kind", "bench"),
    [
        (429, "ThrottlingException", "slow down", errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, Bench.NONE),
        (429, "ModelNotReadyException", "later", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, Bench.NONE),
        (408, "ModelTimeoutException", "late", errors.ERROR_KIND_UPSTREAM_TIMEOUT, Bench.NONE),
        (424, "ModelErrorException", "x", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, Bench.NONE),
        (404, "ResourceNotFoundException", "x", errors.ERROR_KIND_MODEL_NOT_FOUND, Bench.NONE),
        (400, "ValidationException", "x", errors.ERROR_KIND_INVALID_REQUEST, Bench.NONE),
        (403, "UnrecognizedClientException", "invalid token", errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
         Bench.CREDENTIALS),
        (403, "ExpiredTokenException", "x", errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, Bench.CREDENTIALS),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.",
         errors.ERROR_KIND_MODEL_NOT_FOUND, Bench.NONE),
        (403, "InvalidSignatureException", "Signature expired: 20261129T1 is now earlier than 20261129T2",
         errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, Bench.CLOCK),
        (403, "InvalidSignatureException", "Signature not yet current: x",
         errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, Bench.CLOCK),
        (503, "ServiceUnavailableException", "x", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, Bench.NONE),
    ],
)  # fmt: skip
def test_errors_are_told_by_their_names(status, name, words, kind, bench):
    body = json.dumps({"message": words}).encode()
    by_header = problem_of_reply(status, body, Hints(0, name))
    in_body = problem_of_reply(status, json.dumps({"__type": f"com.amazon#{name}", "Message": words}).encode())
    assert (by_header.kind, by_header.bench) == (in_body.kind, in_body.bench) == (kind, bench)


def test_arguments_that_are_no_utf_8_are_no_reply():
    call = {"toolUseId": "t", "name": "f", "input": {"?": 1}}
    content = {"output": {"message": {"role": "assistant", "content": [{"toolUse": call}]}}, "stopReason": "tool_use"}
    body = json.dumps({**content, "usage": USAGE}).encode()
    assert not isinstance(read_whole(body, "req_1"), UpstreamProblem)
    assert isinstance(read_whole(body.replace(b"?", b"\x9c"), "req_1"), UpstreamProblem)
