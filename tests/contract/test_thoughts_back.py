"""Vendors that want a turn's thoughts back get them, in every dialect; where a client kept none, they do without.

The simulated vendors refuse what the real ones do: the thoughts of a turn with calls must come back while they think.
"""

import json

import pytest
from tests.contract.test_vendors import ANTHROPIC, GEMINI, OPENAI, RESPONSES, Vendor

from tollgate_simulator_provider import vendors

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
THOUGHT = "I should look."
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def chat(*, kept):
    assistant = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    return {
        "messages": [
            {"role": "user", "content": "x"},
            assistant | ({"reasoning_content": THOUGHT} if kept else {}),
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        "reasoning_effort": "high",
    }


def messages(*, kept):
    thought = [{"type": "thinking", "thinking": THOUGHT, "signature": ""}] if kept else []
    return {
        "max_tokens": 9000,
        "messages": [
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "content": [*thought, {"type": "tool_use", "id": "c1", "name": "weather", "input": {}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]},
        ],
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
        "thinking": {"type": "enabled", "budget_tokens": 4096},
    }


def contents(*, kept):
    thought = [{"text": THOUGHT, "thought": True}] if kept else []
    return {
        "contents": [
            {"role": "user", "parts": [{"text": "x"}]},
            {"role": "model", "parts": [*thought, {"functionCall": {"name": "weather", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"a": 1}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": SCHEMA}]}],
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}},
    }


def responses(*, kept):
    thought = [{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": THOUGHT}]}]
    return {
        "model": "m",
        "input": [
            {"role": "user", "content": "x"},
            *(thought if kept else ()),
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ],
        "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
        "reasoning": {"effort": "high"},
    }


BODIES = {
    "chat": (OPENAI, chat), "messages": (ANTHROPIC, messages), "contents": (GEMINI, contents),
    "responses": (RESPONSES, responses),
}  # fmt: skip
WANTING = sorted(name for name, ways in vendors.vendors().items() if ways.returns)


EFFORTS = {
    "chat": "reasoning_effort",
    "messages": "thinking",
    "contents": "generationConfig.thinkingConfig",
    "responses": "reasoning.effort",
}


def sent(vendor, dialect, body):
    """Returns what the vendor was sent, which it took, and what was left out."""
    asked = vendor.sending(body, dialect=dialect)
    status, pieces, _ = vendor.answer(asked)
    assert status == 200, pieces
    return json.loads(asked.body), asked.dropped


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("vendor", [*WANTING, "zhipu"])
def test_thoughts_come_back(vendor, name):
    dialect, made = BODIES[name]
    body, dropped = sent(Vendor(vendor), dialect, made(kept=True))
    (turn,) = [message for message in body["messages"] if message["role"] == "assistant"]
    assert (turn["reasoning_content"], body["reasoning_effort"], dropped) == (THOUGHT, "high", ())
    assert "thinking" not in body


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("vendor", WANTING)
def test_a_client_that_kept_none_is_answered_all_the_same(vendor, name):
    dialect, made = BODIES[name]
    body, dropped = sent(Vendor(vendor), dialect, made(kept=False))
    if vendor == "deepseek":
        assert (body["thinking"], "reasoning_effort" in body) == ({"type": "disabled"}, False)
        # By the caller's own word for it.
        assert dropped == (EFFORTS[name],)
    else:
        (turn,) = [message for message in body["messages"] if message["role"] == "assistant"]
        assert (turn["reasoning_content"], body["reasoning_effort"], dropped) == (".", "high", ())


def test_with_tools_deepseek_wants_the_thoughts_of_every_turn():
    body = chat(kept=True)
    body["messages"] += [{"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "And?"}]
    found, _ = sent(Vendor("deepseek"), OPENAI, body)
    assert found["thinking"] == {"type": "disabled"}
    plain = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
    plain["messages"].append({"role": "user", "content": "z"})
    assert "thinking" not in sent(Vendor("deepseek"), OPENAI, plain)[0]


@pytest.mark.parametrize("vendor", ["deepseek", "moonshot", "zhipu"])
@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OPENAI, {"messages": [{"role": "user", "content": "x"}], "reasoning_effort": "none"}),
        (OPENAI, {"messages": [{"role": "user", "content": "x"}], "thinking": {"type": "disabled"}}),
        (
            ANTHROPIC,
            {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "thinking": {"type": "disabled"}},
        ),
        (
            GEMINI,
            {
                "contents": [{"role": "user", "parts": [{"text": "x"}]}],
                "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}},
            },
        ),
        (RESPONSES, {"model": "m", "input": "x", "reasoning": {"effort": "none"}}),
    ],
    ids=["effort", "switch", "messages", "contents", "responses"],
)
def test_who_wants_no_thoughts_gets_none(vendor, dialect, body):
    found, dropped = sent(Vendor(vendor), dialect, body)
    assert (found["thinking"], "reasoning_effort" in found, dropped) == ({"type": "disabled"}, False, ())
