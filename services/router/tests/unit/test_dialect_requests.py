"""Requests of one dialect on the wire of the other: what is said, what is left out and named, what is refused."""

import base64
import json

import msgspec
import pytest
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, OPENAI, target, translated

from tollgate_router.domain.dialects.anthropic_body import write_messages
from tollgate_router.domain.dialects.anthropic_request import read_messages
from tollgate_router.domain.dialects.nested_tools import with_nested_tools
from tollgate_router.domain.dialects.openai_request import read_chat, write_chat
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
HI = [{"role": "user", "content": "hi"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 20).decode()
PDF = base64.b64encode(b"%PDF-1.7 " + b"0" * 20).decode()
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
CLAUDE_TOOL = {"name": "f", "description": "d", "input_schema": SCHEMA}


def members(body):
    return read_body(json.dumps(body).encode())


def part(one):
    return {"messages": [{"role": "user", "content": [one]}]}


def to_claude(model="claude-sonnet-4-5", longest=64_000, **body):
    request = read_chat(members({"messages": HI, **body}), stream=bool(body.get("stream")), usage_wanted=False)
    written = write_messages(request, model, max_output_tokens=longest)
    return json.loads(written.body), written


def to_chat(**body):
    values = {"max_tokens": 100, "messages": HI, **body}
    request = read_messages(members(values), stream=bool(body.get("stream")))
    found, dropped = write_chat(request, "up")
    return json.loads(found), dropped


# From chat to messages.


def test_a_plain_question():
    body, written = to_claude(messages=[{"role": "system", "content": "Be brief."}, *HI], max_tokens=7, stream=True)
    assert body == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 7,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stream": True,
    }
    assert written.dropped == ()


def test_without_a_limit_the_model_may_say_as_much_as_it_can():
    assert to_claude()[0]["max_tokens"] == 64_000
    assert to_claude(longest=None)[0]["max_tokens"] == 8192
    assert to_claude(max_completion_tokens=5, max_tokens=9)[0]["max_tokens"] == 5


def test_tools_their_calls_and_their_answers():
    called = {"id": "call.1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    other = {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "not json"}}
    body, _ = to_claude(
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
        messages=[
            *HI,
            {"role": "assistant", "content": None, "tool_calls": [called, other]},
            {"role": "tool", "tool_call_id": "call.1", "content": "one"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": "and now?"},
        ],
    )
    assert body["tools"] == [CLAUDE_TOOL]
    assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    _, said, answered = body["messages"]
    first = said["content"][0]["id"]
    assert [block["input"] for block in said["content"]] == [{"a": 1}, {"_raw": "not json"}]
    # All answers in one message, before anything else in it.
    assert [block["type"] for block in answered["content"]] == ["tool_result", "tool_result", "text"]
    assert [block.get("tool_use_id") for block in answered["content"][:2]] == [first, "call_2"]
    assert first.replace("_", "").replace("-", "").isalnum()


def test_names_that_the_wire_does_not_take():
    odd = {"type": "function", "function": {"name": "files.read", "parameters": {}}}
    body, written = to_claude(tools=[odd])
    (tool,) = body["tools"]
    assert written.names == {tool["name"]: "files.read"}
    assert tool["input_schema"] == {"type": "object", "properties": {}}
    long = {"type": "function", "function": {"name": "é" * 100}}
    assert len(to_claude(tools=[long])[0]["tools"][0]["name"]) <= 128


def test_pictures_documents_and_their_true_types():
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}},
        {"type": "image_url", "image_url": "https://host.example/a.png"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}},
        {"type": "text", "text": "what is it", "cache_control": {"type": "ephemeral"}},
    ]
    body, _ = to_claude(messages=[{"role": "user", "content": parts}])
    png, url, pdf, text, asked = body["messages"][0]["content"]
    assert png["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}
    assert url["source"] == {"type": "url", "url": "https://host.example/a.png"}
    assert pdf == {
        "type": "document",
        "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
    }
    assert text["source"] == {"type": "text", "media_type": "text/plain", "data": "hi"}
    assert asked["cache_control"] == {"type": "ephemeral"}


def test_turns_are_joined_and_nothing_is_empty():
    body, _ = to_claude(
        messages=[
            {"role": "assistant", "content": "hello "},
            {"role": "user", "content": ""},
            {"role": "user", "content": "a"},
            {"role": "system", "content": "later"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "so "},
        ]
    )
    turns = [(one["role"], [block["text"] for block in one["content"]]) for one in body["messages"]]
    assert turns == [
        ("user", ["Go on."]),
        ("assistant", ["hello "]),
        ("user", ["a", "later", "b"]),
        ("assistant", ["so"]),
    ]


def test_effort_becomes_thinking_that_fits():
    body, written = to_claude(reasoning_effort="high", max_tokens=100, temperature=0.3)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 4096}
    assert body["max_tokens"] == 4196
    assert "temperature" not in body
    assert written.dropped == ("temperature",)
    body, _ = to_claude(model="claude-opus-4-6", reasoning_effort="minimal")
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "low"}
    assert "thinking" not in to_claude(reasoning_effort="none")[0]


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL], "tool_choice": "required"},
        {
            "tools": [TOOL],
            "messages": [
                *HI,
                {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]},
                {"role": "tool", "tool_call_id": "c", "content": "x"},
            ],
        },
    ],
    ids=["a forced tool", "calls whose thoughts the caller did not keep"],
)
def test_where_thinking_would_be_refused_it_is_off(more):
    assert "thinking" not in to_claude(reasoning_effort="high", **more)[0]


def test_sampling_and_what_only_steers():
    body, written = to_claude(
        temperature=1.7, stop=["END", " "], seed=3, presence_penalty=0.5, user="u", logprobs=False, n=1, store=False
    )
    assert body["temperature"] == 1.0
    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": "u"}
    assert set(written.dropped) == {"seed", "presence_penalty", "stop"}


def test_structured_answers():
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    body, _ = to_claude(response_format=form)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert "JSON object" in to_claude(response_format={"type": "json_object"})[0]["system"][0]["text"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"messages": []}, "messages"),
        ({"messages": 7}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages"),
        (part({"type": "hologram"}), "messages"),
        ({"messages": [{"role": "system", "content": "alone"}]}, "messages"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, "messages"),
        (part({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), "messages"),
        (part({"type": "image_url", "image_url": "data:image/png,raw"}), "messages"),
        (part({"type": "file", "file": {"file_id": "f"}}), "messages"),
        (part({"type": "file", "file": {"file_data": "data:text/plain;base64,%%"}}), "messages"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": "all"}, "tools"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": [1]}, "stop"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_to_claude_names_the_field(body, param):
    with pytest.raises(Refused) as caught:
        to_claude(**body)
    assert caught.value.param == param
    assert caught.value.message


# From messages to chat.


def test_a_plain_question_to_chat():
    system = [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}},
    ]
    body, dropped = to_chat(system=system, stream=True, stop_sequences=["END"], metadata={"user_id": "u"})
    assert body == {
        "model": "up",
        "messages": [{"role": "system", "content": "One.\n\nTwo."}, {"role": "user", "content": "hi"}],
        "max_tokens": 100,
        "stop": ["END"],
        "user": "u",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert dropped == ()


def test_tools_and_their_answers_to_chat():
    body, _ = to_chat(
        tools=[CLAUDE_TOOL],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        messages=[
            *HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                    {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_2",
                        "content": [
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
                        ],
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
    )
    assert body["tools"] == [TOOL]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    _, said, one, two, asked = body["messages"]
    assert said["content"] == "I look."
    assert [(c["id"], c["function"]) for c in said["tool_calls"]] == [
        ("toolu_1", {"name": "f", "arguments": '{"a": 1}'}),
        ("toolu_2", {"name": "f", "arguments": "{}"}),
    ]
    assert (one["role"], one["tool_call_id"], one["content"]) == ("tool", "toolu_1", "one")
    assert two["tool_call_id"] == "toolu_2"
    assert [part["type"] for part in asked["content"]] == ["image_url", "text"]


def test_thinking_becomes_effort():
    assert to_chat(thinking={"type": "enabled", "budget_tokens": 5000})[0]["reasoning_effort"] == "high"
    assert to_chat(output_config={"effort": "low"})[0]["reasoning_effort"] == "low"
    assert "reasoning_effort" not in to_chat(thinking={"type": "disabled"})[0]
    form = {"type": "json_schema", "schema": SCHEMA}
    assert to_chat(output_config={"format": form})[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_what_chat_has_no_place_for_is_named():
    _, dropped = to_chat(top_k=5, service_tier="auto", stop_sequences=list("abcde"))
    assert set(dropped) == {"top_k", "service_tier", "stop_sequences"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        (part({"type": "tool_result", "tool_use_id": "x"}), "messages"),
        (part({"type": "server_tool_use"}), "messages"),
        (part({"type": "document", "source": {"type": "url", "url": "https://h.example/a.pdf"}}), "messages"),
        (part({"type": "image", "source": {"type": "file"}}), "messages"),
        ({"system": 7}, "system"),
        ({"system": [{"type": "image"}]}, "system"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": [{"description": "no name"}]}, "tools"),
        ({"tool_choice": {"type": "perhaps"}}, "tool_choice"),
        ({"thinking": {"type": "a lot"}}, "thinking"),
        ({"output_config": {"effort": "none"}}, "output_config"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"temperature": "hot"}, "temperature"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_to_chat_names_the_field(body, param):
    with pytest.raises(Refused) as caught:
        to_chat(**body)
    assert caught.value.param == param
    assert caught.value.message


def test_a_conversation_goes_there_and_back():
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "user", "content": "thanks"},
    ]  # fmt: skip
    there, _ = to_claude(messages=turns, tools=[TOOL])
    back, _ = write_chat(read_messages(members(there), stream=False), "up")
    assert msgspec.json.decode(back)["messages"] == turns


FLAT = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}


@pytest.mark.parametrize("upstream", [OPENAI, ANTHROPIC, GEMINI], ids=["chat", "messages", "contents"])
def test_tools_as_the_responses_api_has_them(upstream):
    """One client sends them to chat, too."""
    nested = {"type": "function", "function": {name: value for name, value in FLAT.items() if name != "type"}}
    body = {"model": "asked", "messages": [{"role": "user", "content": "hi"}]}
    found = [
        json.loads(translated(OPENAI, target(upstream), {**body, "tools": tools}).body) for tools in ([FLAT], [nested])
    ]
    assert found[0] == found[1]
    assert found[0]["tools"]


@pytest.mark.parametrize("tools", [[], [{"type": "web_search"}], [{"type": "custom", "name": "f"}], None])
def test_other_tools_go_to_their_provider_as_they_came(tools):
    body = {"model": "asked", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    assert json.loads(translated(OPENAI, target(OPENAI), body).body)["tools"] == tools


@pytest.mark.parametrize("tools", ['"x"', "[3]", '[{"name"', '[{"type": 3, "name": "f"}]'])
def test_tools_that_are_none_do_no_harm(tools):
    """They go on, for the provider to refuse, or are refused by their name."""
    raw = {"tools": msgspec.Raw(tools.encode())}
    assert with_nested_tools(raw)["tools"]
