"""A body of each dialect that uses every member its reader knows, and what other values a member may have.

The members are those of the vendors' documentation; nothing here is read from the translators.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 22).decode()
TEXT: Final = base64.b64encode(b"some text").decode()
_SCHEMA: Final[dict[str, Any]] = {"type": "object", "properties": {"a": {"type": "integer"}}}
_CACHE: Final = {"type": "ephemeral", "ttl": "1h"}

CHAT: Final[dict[str, Any]] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind.", "cache_control": _CACHE}]},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": "Look."},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{TEXT}"}},
            ],
        },
        {
            "role": "assistant",
            "content": "So.",
            "reasoning_content": "Hm.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "No."},
        {"role": "assistant", "function_call": {"name": "g", "arguments": "{}"}},
        {"role": "function", "name": "g", "content": "2"},
        {"role": "user", "content": "And now?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": _SCHEMA, "strict": True},
            "cache_control": _CACHE,
        }
    ],
    "functions": [{"name": "g", "description": "d", "parameters": _SCHEMA}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": True,
    "max_tokens": 10,
    "max_completion_tokens": 10,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "seed": 1,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "stop": ["END"],
    "reasoning_effort": "low",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "description": "d", "schema": _SCHEMA, "strict": True},
    },
    "user": "u",
    "safety_identifier": "u",
    "logit_bias": {"50256": -100},
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "verbosity": "low",
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
}
MESSAGES: Final[dict[str, Any]] = {
    "model": "m",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": _CACHE}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "document", "title": "a", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "r"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "is_error": False,
                    "content": [{"type": "text", "text": "1"}],
                },
                {"type": "text", "text": "And now?"},
            ],
        },
    ],
    "tools": [
        {
            "type": "custom",
            "name": "f",
            "description": "d",
            "input_schema": _SCHEMA,
            "strict": True,
            "cache_control": _CACHE,
        }
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "stop_sequences": ["END"],
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}},
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
}
CONTENTS: Final[dict[str, Any]] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "Look."},
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://pictures.example/a.png"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "Hm.", "thought": True},
                {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"result": "1"}}}]},
        {"role": "user", "parts": [{"text": "And now?"}]},
    ],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "f", "description": "d", "parametersJsonSchema": _SCHEMA},
                {"name": "g", "description": "d", "parameters": _SCHEMA},
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.5,
        "topK": 3,
        "maxOutputTokens": 10,
        "stopSequences": ["END"],
        "candidateCount": 1,
        "seed": 1,
        "presencePenalty": 0.5,
        "frequencyPenalty": 0.5,
        "responseMimeType": "application/json",
        "responseJsonSchema": _SCHEMA,
        "responseModalities": ["TEXT"],
        "responseLogprobs": False,
        "thinkingConfig": {"thinkingBudget": 1024, "thinkingLevel": "LOW", "includeThoughts": True},
    },
    "safetySettings": [],
    "labels": {"a": "b"},
}
RESPONSES: Final[dict[str, Any]] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "developer", "content": "Be kind."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look."},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
                {"type": "input_file", "filename": "a.txt", "file_data": f"data:text/plain;base64,{TEXT}"},
            ],
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "c1", "namespace": "s", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "2"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "message", "role": "user", "content": "And now?"},
    ],
    "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": _SCHEMA, "strict": False},
        {"type": "custom", "name": "g", "description": "d", "format": {"type": "text"}},
        {"type": "namespace", "name": "s", "tools": [{"type": "function", "name": "f", "parameters": _SCHEMA}]},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "parallel_tool_calls": True,
    "max_output_tokens": 10,
    "temperature": 0.5,
    "top_p": 0.5,
    "text": {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "x", "description": "d", "schema": _SCHEMA, "strict": True},
    },
    "reasoning": {"effort": "low", "summary": "auto"},
    "user": "u",
    "safety_identifier": "u",
    "store": False,
    "background": False,
    "metadata": {"a": "b"},
    "truncation": "disabled",
    "service_tier": "auto",
    "include": ["reasoning.encrypted_content"],
}

Place = tuple[str | int, ...]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Yields the place of every value within a body, below the names that JSON schemas and free maps choose."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        place = (*here, name)
        yield place
        if isinstance(inner, dict | list) and name not in _FREE:
            yield from places(inner, place)


# Of any form: schemas, arguments, answers of tools.
_FREE: Final = frozenset(
    ("parameters", "schema", "input_schema", "parametersJsonSchema", "responseJsonSchema", "args", "response")
)


def at(body: Any, place: Place) -> Any:
    """Returns what stands at a place."""
    for name in place:
        body = body[name]
    return body


def replaced(body: Any, place: Place, value: Any) -> Any:
    """Returns a copy of `body` with another value at a place."""
    if not place:
        return value
    changed = dict(body) if isinstance(body, dict) else list(body)
    changed[place[0]] = replaced(body[place[0]], place[1:], value)
    return changed
