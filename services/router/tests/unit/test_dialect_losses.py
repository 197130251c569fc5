"""Nothing is lost in silence: each member of a body arrives at another wire, or is named, or is refused by its name."""

from dataclasses import replace
from typing import Any

import pytest
from services.router.tests.fakes.dialect_bodies import PNG, TEXT, at, places, replaced
from services.router.tests.fakes.translating import (
    ANTHROPIC,
    BODIES,
    GEMINI,
    NAMES,
    OPENAI,
    RESPONSE,
    target,
    translated,
)

from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
WIRES = {
    "chat": target(OPENAI),
    "messages": target(ANTHROPIC),
    "contents": target(GEMINI),
    "contents-2": replace(target(GEMINI), upstream_model="gemini-2.5-flash"),
    "converse": replace(target(ANTHROPIC), wire=WIRE_BEDROCK, upstream_model="anthropic.claude-haiku-4-5"),
    "responses": replace(target(OPENAI), upstream_model="gpt-5.6", responses=True, tools_by_responses=True),
}
# The Responses API is passed on where it is spoken.
PAIRS = [
    (dialect, name)
    for dialect in BODIES
    for name, one in WIRES.items()
    if dialect != one.wire and not (name == "responses" and dialect in {RESPONSE, OPENAI})
]
pairs = pytest.mark.parametrize(
    ("dialect", "wire"), PAIRS, ids=[f"{NAMES[dialect]}-to-{wire}" for dialect, wire in PAIRS]
)
# What is of no meaning to anybody else: what kind a thing is shows in its members, and a reply's own ids and states.
# Thoughts and their summaries are asked for in any case.
BOOKKEEPING = {"type", "role", "model", "id", "status", "index", "caller", "includeThoughts", "summary"}
# The first bytes of a picture tell its type better.
BOOKKEEPING |= {"media_type", "mimeType"}
ALIASES = {"safety_identifier": "user"}
NOTHING: tuple[Any, ...] = (None, False, 0, 1, [], {}, "", "auto", "disabled", ["text"], ["TEXT"])
LATER = "later"


def base(dialect, wire):
    """Returns a body of this dialect in which every member says something that no other one says."""
    twice = {"functions", "function_call", "max_tokens" if dialect == OPENAI else "", "user"}
    body = {name: value for name, value in BODIES[dialect].items() if name not in twice}
    if dialect == ANTHROPIC:
        # Before a forced tool nothing is thought.
        body["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
        body["output_config"] = {"format": body["output_config"]["format"]}
        body["thinking"] = {"type": "enabled", "budget_tokens": 3000}
    if dialect == RESPONSE:
        # The reply repeats the one, and does what the other asks for.
        del body["metadata"], body["include"]
        body["tools"] = [{k: v for k, v in tool.items() if k != "format"} for tool in body["tools"]]
    if dialect == GEMINI:
        config = body["generationConfig"]
        thinking = {"thinkingBudget": config["thinkingConfig"]["thinkingBudget"]}
        body["generationConfig"] = config | {"thinkingConfig": thinking}
        if wire == "converse":
            # It takes no addresses.
            first = body["contents"][0]
            body["contents"] = [first | {"parts": first["parts"][:2]}, *body["contents"][1:]]
    return body


def sent(dialect, wire, body):
    """Returns what is sent, and the names of what is not; a refusal's words in place of both."""
    try:
        found = translated(dialect, WIRES[wire], body)
    except Refused as refused:
        return None, {f"{refused.param} {refused.message}"}
    return (found.path, bytes(found.body)), set(found.dropped)


def names(said, member):
    """Tells whether one of the names, or the words of a refusal, is of this member or of one within it."""
    member = ALIASES.get(member, member)
    return any(member in name.replace("[", ".").replace(" ", ".").replace("'", "").split(".") for name in said)


def objects(body):
    yield ()
    for place in places(body):
        if isinstance(at(body, place), dict) and place[-1] not in _FREE:
            yield place


_FREE = {"parameters", "schema", "input_schema", "parametersJsonSchema", "responseJsonSchema", "args", "response"}
_FREE |= {"input", "labels", "metadata", "logit_bias"}


@pairs
def test_what_nobody_knows_yet(dialect, wire):
    body = base(dialect, wire)
    # The body itself can be said.
    assert sent(dialect, wire, body)[0] is not None
    for place in objects(body):
        changed = replaced(body, place, {**at(body, place), LATER: {"a": [1]}})
        found, said = sent(dialect, wire, changed)
        assert names(said, LATER) or (found is None and place and place[0] in " ".join(said)), (place, said)


@pairs
def test_what_a_body_holds(dialect, wire):
    """Without it something else is sent, or the name of it is told with it."""
    body = base(dialect, wire)
    whole, said = sent(dialect, wire, body)
    for place in places(body):
        value = at(body, place)
        if value in NOTHING or place[-1] in BOOKKEEPING or isinstance(place[-1], int):
            continue
        holder = at(body, place[:-1])
        without, _ = sent(
            dialect, wire, replaced(body, place[:-1], {k: v for k, v in holder.items() if k != place[-1]})
        )
        known = [name for name in place if isinstance(name, str)]
        assert without != whole or any(names(said, name) for name in known), (place, said)


def user(*parts):
    return {"role": "user", "content": list(parts)}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "1"},
]
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
FILE = {"type": "file", "file": {"file_data": f"data:text/plain;base64,{TEXT}"}}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
USED = [
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": [USE]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1"}]},
]
CLAUDES = {"name": "f", "input_schema": {"type": "object"}}
SAID = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
ASKED = [
    SAID,
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "1"},
]
THEIRS = {"type": "function", "name": "f", "parameters": {"type": "object"}}
DECLARED = {"name": "f", "parametersJsonSchema": {"type": "object"}}
# Members that the vendors document, by the place at which they stand in a body that has little else.
MEMBERS: list[tuple[int, dict[str, Any], tuple[Any, ...], Any]] = [
    (OPENAI, {"messages": [user({"type": "text", "text": "x"})]}, ("messages", 0, "name"), "ann"),
    (OPENAI, {"messages": [user({"type": "text", "text": "x"})]}, ("messages", 0, "content", 0, "cache_control"),
     {"type": "ephemeral"}),
    (OPENAI, {"messages": [user(PICTURE)]}, ("messages", 0, "content", 0, "image_url", "detail"), "low"),
    (OPENAI, {"messages": [user(FILE)]}, ("messages", 0, "content", 0, "file", "filename"), "a.txt"),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("messages", 1, "reasoning_content"), "Hm."),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("messages", 1, "refusal"), "No."),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("messages", 1, "audio"), {"id": "audio_1"}),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("messages", 1, "annotations"), [{"type": "url_citation"}]),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("messages", 1, "tool_calls", 0, "extra_content"),
     {"google": {"thought_signature": "s"}}),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("tools", 0, "function", "description"), "d"),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("tools", 0, "function", "strict"), True),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("tools", 0, "cache_control"), {"type": "ephemeral"}),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("tool_choice",), "required"),
    (OPENAI, {"messages": CALLED[:1]}, ("tool_choice",), "required"),
    (OPENAI, {"messages": CALLED[:1]}, ("parallel_tool_calls",), False),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("parallel_tool_calls",), False),
    (OPENAI, {"messages": CALLED[:1]}, ("reasoning_effort",), "low"),
    (OPENAI, {"messages": CALLED, "tools": [TOOL]}, ("reasoning_effort",), "low"),
    (OPENAI, {"messages": CALLED[:1]}, ("reasoning_effort",), "none"),
    *[
        (OPENAI, {"messages": CALLED[:1]}, (name,), value)
        for name, value in {
            "audio": {"voice": "alloy", "format": "wav"}, "frequency_penalty": 0.5, "presence_penalty": 0.5,
            "logit_bias": {"1": 2}, "logprobs": True, "top_logprobs": 3, "max_tokens": 7, "max_completion_tokens": 7,
            "metadata": {"a": "b"}, "modalities": ["text", "audio"], "n": 2, "prediction": {"type": "content"},
            "prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "u", "seed": 3,
            "service_tier": "flex", "stop": "END", "store": True, "temperature": 0.25, "top_p": 0.25, "user": "u",
            "verbosity": "low", "web_search_options": {}, "moderation": {"a": 1}, "reasoning": {"effort": "low"},
            "thinking": {"type": "disabled"},
        }.items()
    ],
    *[
        (OPENAI, {"messages": CALLED[:1],
                  "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
         ("response_format", "json_schema", name), value)
        for name, value in {"name": "x", "description": "d", "strict": True}.items()
    ],
    *[
        (ANTHROPIC, {"messages": [user(block)], "max_tokens": 9}, ("messages", 0, "content", 0, name), value)
        for block, more in (
            ({"type": "text", "text": "x"}, {"cache_control": {"type": "ephemeral", "ttl": "1h"},
                                             "citations": [{"type": "char_location"}]}),
            ({"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
             {"cache_control": {"type": "ephemeral"}}),
            ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
             {"title": "a", "context": "c", "citations": {"enabled": True}, "cache_control": {"type": "ephemeral"}}),
        )
        for name, value in more.items()
    ],
    (ANTHROPIC, {"messages": USED, "tools": [CLAUDES], "max_tokens": 9},
     ("messages", 1, "content", 0, "cache_control"), {"type": "ephemeral"}),
    (ANTHROPIC, {"messages": USED, "tools": [CLAUDES], "max_tokens": 9},
     ("messages", 2, "content", 0, "cache_control"), {"type": "ephemeral"}),
    (ANTHROPIC, {"messages": USED, "tools": [CLAUDES], "max_tokens": 9}, ("messages", 2, "content", 0, "is_error"),
     True),
    *[
        (ANTHROPIC, {"messages": USED, "tools": [CLAUDES], "max_tokens": 9}, ("tools", 0, name), value)
        for name, value in {
            "description": "d", "strict": True, "cache_control": {"type": "ephemeral"}, "defer_loading": True,
            "allowed_callers": ["direct"], "input_examples": [{"a": 1}], "eager_input_streaming": True,
        }.items()
    ],
    *[
        (ANTHROPIC, {"messages": USED[:1], "max_tokens": 4000}, (name,), value)
        for name, value in {
            "system": "Be brief.", "temperature": 0.25, "top_p": 0.25, "top_k": 4, "stop_sequences": ["END"],
            "metadata": {"user_id": "u"}, "service_tier": "standard_only", "container": "c", "mcp_servers": [{"a": 1}],
            "context_management": {"edits": [1]}, "inference_geo": "eu", "thinking": {"type": "disabled"},
            "output_config": {"effort": "low"}, "speed": "fast", "cache_control": {"type": "ephemeral"},
        }.items()
    ],
    (ANTHROPIC, {"messages": USED[:1], "max_tokens": 4000}, ("thinking",), {"type": "enabled", "budget_tokens": 2000}),
    (ANTHROPIC, {"messages": USED[:1], "max_tokens": 4000, "thinking": {"type": "adaptive"}}, ("thinking", "display"),
     "omitted"),
    (ANTHROPIC, {"messages": USED[:1], "max_tokens": 4000, "output_config": {"effort": "low"}},
     ("output_config", "task_budget"), {"type": "tokens", "total": 9}),
    (ANTHROPIC, {"messages": USED, "tools": [CLAUDES], "max_tokens": 9, "tool_choice": {"type": "auto"}},
     ("tool_choice", "disable_parallel_tool_use"), True),
    *[
        (GEMINI, {"contents": [{"role": "user", "parts": [part]}]}, ("contents", 0, "parts", 0, *place), value)
        for part, place, value in (
            ({"text": "x"}, ("thoughtSignature",), "czE="),
            ({"inlineData": {"mimeType": "image/png", "data": PNG}}, ("inlineData", "displayName"), "a"),
            ({"inlineData": {"mimeType": "image/png", "data": PNG}}, ("mediaResolution",), {"level": "LOW"}),
            ({"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b.png"}}, ("videoMetadata",),
             {"fps": 1}),
        )
    ],
    (GEMINI, {"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "1"}}}]},
     ], "tools": [{"functionDeclarations": [DECLARED]}]},
     ("contents", 1, "parts", 0, "thoughtSignature"), "czE="),
    *[
        (GEMINI, {"contents": [
            {"role": "user", "parts": [{"text": "x"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "1"}}}]},
         ], "tools": [{"functionDeclarations": [DECLARED]}]},
         ("contents", 2, "parts", 0, "functionResponse", name), value)
        for name, value in {"parts": [{"a": 1}], "scheduling": "SILENT", "willContinue": True}.items()
    ],
    *[
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}], "tools": [{"functionDeclarations": [DECLARED]}]},
         ("tools", 0, "functionDeclarations", 0, name), value)
        for name, value in {"description": "d", "behavior": "BLOCKING", "response": {"type": "object"},
                            "responseJsonSchema": {"type": "object"}}.items()
    ],
    *[
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}], "tools": [{"functionDeclarations": [DECLARED]}]}, place,
         value)
        for place, value in (
            (("tools", 0, "googleSearch"), {}),
            (("tools", 0, "codeExecution"), {}),
            (("toolConfig",), {"functionCallingConfig": {"mode": "ANY"}}),
            (("toolConfig",), {"retrievalConfig": {"languageCode": "de"}}),
        )
    ],
    *[
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}]}, (name,), value)
        for name, value in {
            "systemInstruction": {"parts": [{"text": "y"}]}, "cachedContent": "c", "labels": {"a": "b"}, "store": True,
            "safetySettings": [{"category": "a", "threshold": "b"}], "serviceTier": "flex",
        }.items()
    ],
    *[
        (GEMINI, {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {}}, ("generationConfig", name), value)
        for name, value in {
            "temperature": 0.25, "topP": 0.25, "topK": 4, "maxOutputTokens": 7, "stopSequences": ["END"],
            "candidateCount": 2, "seed": 3, "presencePenalty": 0.5, "frequencyPenalty": 0.5,
            "responseMimeType": "application/json", "responseSchema": {"type": "object"},
            "responseJsonSchema": {"type": "object"}, "responseModalities": ["IMAGE"], "responseLogprobs": True,
            "logprobs": 3, "thinkingConfig": {"thinkingLevel": "LOW"}, "speechConfig": {"a": 1},
            "mediaResolution": "MEDIA_RESOLUTION_LOW", "audioTimestamp": True, "imageConfig": {"a": 1},
            "enableEnhancedCivicAnswers": True, "routingConfig": {"a": 1},
        }.items()
    ],
    (GEMINI, {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"responseMimeType": "text/x.enum"}},
     ("generationConfig", "responseMimeType"), "text/x.enum"),
    (GEMINI, {"contents": [{"parts": [{"text": "x"}]}]}, ("generationConfig",),
     {"thinkingConfig": {"thinkingBudget": 0}}),
    *[
        (RESPONSE, {"input": [SAID]}, (name,), value)
        for name, value in {
            "instructions": "Be brief.", "include": ["web_search_call.action.sources"], "max_output_tokens": 20,
            "max_tool_calls": 3, "parallel_tool_calls": False, "prompt_cache_key": "k", "prompt_cache_retention": "24h",
            "reasoning": {"effort": "low"}, "safety_identifier": "u", "service_tier": "flex", "temperature": 0.25,
            "text": {"verbosity": "low"}, "tool_choice": "required", "top_logprobs": 3, "top_p": 0.25,
            "truncation": "auto", "user": "u", "conversation": "c", "prompt": {"id": "p"}, "store": True,
            "background": True, "previous_response_id": "r", "context_management": [{"a": 1}],
        }.items()
    ],
    (RESPONSE, {"input": [SAID], "reasoning": {"effort": "low"}}, ("reasoning", "mode"), "pro"),
    (RESPONSE, {"input": [SAID]}, ("input", 0, "phase"), "commentary"),
    (RESPONSE, {"input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
                          SAID]}, ("input", 0, "content", 0, "annotations"), [{"type": "url_citation"}]),
    (RESPONSE, {"input": [{**SAID, "content": [{"type": "input_image", "image_url": "https://a.example/b.png"}]}]},
     ("input", 0, "content", 0, "detail"), "low"),
    (RESPONSE, {"input": [{**SAID, "content": [
        {"type": "input_file", "file_data": f"data:text/plain;base64,{TEXT}"}]}]},
     ("input", 0, "content", 0, "filename"), "a.txt"),
    *[
        (RESPONSE, {"input": ASKED, "tools": [THEIRS]}, ("tools", 0, name), value)
        for name, value in {
            "description": "d", "strict": True, "defer_loading": True, "output_schema": {"a": 1},
        }.items()
    ],
    *[
        (RESPONSE, {"input": ASKED, "tools": [THEIRS, {"type": kind, **more}]}, ("tools", 1), {"type": kind, **more})
        for kind, more in {"web_search": {}, "image_generation": {}, "file_search": {"vector_store_ids": ["v"]},
                           "mcp": {"server_label": "m"}}.items()
    ],
]  # fmt: skip
# Claude thinks only where it is asked to.
UNASKED = ("none", {"type": "disabled"}, {"thinkingConfig": {"thinkingBudget": 0}})
CASES = [
    pytest.param(dialect, body, place, value, wire, id=f"{NAMES[dialect]}-{number}-{place[-1]}-to-{wire}")
    for number, (dialect, body, place, value) in enumerate(MEMBERS)
    for wire in WIRES
    if (dialect, wire) in PAIRS and not (wire in {"messages", "converse"} and value in UNASKED)
]


@pytest.mark.parametrize(("dialect", "body", "place", "value", "wire"), CASES)
def test_what_the_vendors_document(dialect, body, place, value, wire):
    holder = at(body, place[:-1])
    if isinstance(place[-1], int):
        word = value["type"]
        holder = [one for number, one in enumerate(holder) if number != place[-1]]
        whole, said = sent(dialect, wire, body)
        without, _ = sent(dialect, wire, replaced(body, place[:-1], holder))
    else:
        word = place[-1]
        whole, said = sent(dialect, wire, replaced(body, place[:-1], {**holder, word: value}))
        plain = {name: inner for name, inner in holder.items() if name != word}
        without, _ = sent(dialect, wire, replaced(body, place[:-1], plain))
    if whole is None:
        assert word in " ".join(said) or place[0] in " ".join(said), said
        return
    assert whole != without or names(said, word), said
