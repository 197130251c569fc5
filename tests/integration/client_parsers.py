"""How real clients read replies, each after its own source: what one of them cannot read raises ClientBrokeError.

Nothing here is shared with the translators, and nothing is forgiven that the client does not forgive.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


class ClientBrokeError(AssertionError):
    """A client fails on this reply, or shows something else than what was said."""


@dataclass
class Said:
    """What a client has understood of a streamed answer; `usage` are all tokens, None where none were told."""

    text: str = ""
    thought: str = ""
    calls: list[list[str]] = field(default_factory=list)
    finish: str | None = None
    usage: int | None = None


def need(condition: object, what: str) -> None:
    """Raises ClientBrokeError with `what` unless the condition holds."""
    if not condition:
        raise ClientBrokeError(what)


def _decoded(text: str, whose: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ClientBrokeError(f"{whose} cannot decode {text[:80]!r}") from None


def python_events(raw: bytes) -> Iterator[str]:
    """Yields data as the decoder of OpenAI's package for Python does, which dispatches whatever has any field."""
    data: list[str] = []
    dispatch = False
    for line in raw.decode().splitlines():
        name, _, value = line.partition(":")
        if not line:
            if dispatch:
                yield "\n".join(data)
            data, dispatch = [], False
        elif name == "data":
            data.append(value.removeprefix(" "))
            dispatch = True
        elif name in {"event", "id", "retry"}:
            dispatch = True


def chat_of_openai_python(raw: bytes) -> Said:
    """`client.chat.completions.stream()`: strings of deltas are joined, role and id among them."""
    said, role = Said(), ""
    calls: dict[int, list[str]] = {}
    for data in python_events(raw):
        if data.startswith("[DONE]"):
            break
        chunk = _decoded(data, "openai-python")
        need("error" not in chunk or not chunk["error"], f"APIError: {chunk.get('error')}")
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            role += delta.get("role") or ""
            said.text += delta.get("content") or ""
            said.thought += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls") or ():
                need("index" in call, "TypeError: a call without index")
                found = calls.setdefault(call["index"], ["", "", ""])
                function = call.get("function") or {}
                found[0] += call.get("id") or ""
                found[1] += function.get("name") or ""
                found[2] += function.get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
        if chunk.get("usage"):
            said.usage = chunk["usage"]["total_tokens"]
    need(role == "assistant", f"the role is {role!r}")
    need(said.finish, "finish_reason is None")
    said.calls = list(calls.values())
    return said


def chat_of_openai_node(raw: bytes) -> Said:
    """`client.chat.completions.stream()` of Node: the final completion wants role and finish_reason."""
    said, role = Said(), None
    calls: dict[int, list[str]] = {}
    for frame in re.split(r"\r?\n\r?\n", raw.decode()):
        lines = [line for line in frame.splitlines() if line and not line.startswith(":")]
        events = [line for line in lines if line.startswith("event:")]
        data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
        need(not events or data, "SyntaxError: an event without data")
        need("error" not in "".join(events), "APIError: an event of this name")
        if not data or data.startswith("[DONE]"):
            continue
        chunk = _decoded(data, "openai-node")
        need(not chunk.get("error"), f"APIError: {chunk.get('error')}")
        need(isinstance(chunk.get("choices"), list), "TypeError: choices is not iterable")
        for choice in chunk["choices"]:
            delta = choice["delta"]
            role = delta.get("role") or role
            said.text += delta.get("content") or ""
            said.thought += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls") or ():
                need("index" in call, "OpenAIError: a call without index")
                found = calls.setdefault(call["index"], ["", "", ""])
                found[0] = call.get("id") or found[0]
                function = call.get("function") or {}
                found[1] = function.get("name") or found[1]
                found[2] += function.get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
        if chunk.get("usage"):
            said.usage = chunk["usage"]["total_tokens"]
    need(role, "missing role for choice 0")
    need(said.finish, "missing finish_reason for choice 0")
    said.calls = list(calls.values())
    return said


def chat_of_ai_sdk(raw: bytes) -> Said:
    """`@ai-sdk/openai-compatible`, strict where `@ai-sdk/openai` is: every chunk is validated, `error` wins."""
    said = Said()
    calls: dict[int, list[str]] = {}
    for data in python_events(raw):
        if data == "[DONE]":
            continue
        chunk = _decoded(data, "the AI SDK")
        need("error" not in chunk, "an error part instead of the chunk's content")
        need(isinstance(chunk.get("choices"), list), "validation: choices")
        if chunk.get("usage"):
            said.usage = chunk["usage"]["prompt_tokens"] + chunk["usage"]["completion_tokens"]
        for choice in chunk["choices"][:1]:
            need(isinstance(choice.get("index"), int), "validation: index of the choice")
            delta = choice.get("delta") or {}
            said.thought += delta.get("reasoning_content") or delta.get("reasoning") or ""
            said.text += delta.get("content") or ""
            for call in delta.get("tool_calls") or ():
                need(isinstance(call.get("index"), int), "validation: index of the call")
                if call["index"] not in calls:
                    need(call.get("id"), "Expected 'id' to be a string")
                    need(call["function"].get("name"), "Expected 'function.name' to be a string")
                    calls[call["index"]] = [call["id"], call["function"]["name"], ""]
                calls[call["index"]][2] += call["function"].get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
    need(said.finish, "Response stream ended without a finish reason")
    said.calls = list(calls.values())
    return said


def chat_of_langchain(raw: bytes) -> Said:
    """`ChatOpenAI.stream`: message chunks are added up, usages and names of calls among them."""
    said = Said()
    calls: dict[int, list[str]] = {}
    for data in python_events(raw):
        if data.startswith("[DONE]"):
            break
        chunk = _decoded(data, "langchain")
        if chunk.get("usage"):
            said.usage = (said.usage or 0) + chunk["usage"]["total_tokens"]
        for choice in chunk.get("choices") or ():
            said.text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                found = calls.setdefault(call["index"], ["", "", ""])
                found[0] = found[0] or call.get("id") or ""
                found[1] += call["function"].get("name") or ""
                found[2] += call["function"].get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
    said.calls = list(calls.values())
    return said


def chat_of_continue(raw: bytes) -> Said:
    """Continue: line by line, `: ping` ends the batch, and a chunk with usage is kept to the end without its words."""
    said = Said()
    calls: dict[int, list[str]] = {}
    for line in raw.decode().split("\n"):
        need(not line.startswith(": ping"), "the answer ends at `: ping`")
        if not line.startswith("data:") or line.removeprefix("data:").strip() == "[DONE]":
            continue
        chunk = _decoded(line.removeprefix("data:"), "Continue")
        need(not chunk.get("error"), f"Error streaming response: {chunk.get('error')}")
        if chunk.get("usage"):
            said.usage = chunk["usage"]["total_tokens"]
            continue
        for choice in chunk.get("choices", ())[:1]:
            said.text += choice["delta"].get("content") or ""
            said.thought += choice["delta"].get("reasoning_content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                found = calls.setdefault(call["index"], ["", "", ""])
                found[0] = call.get("id") or found[0]
                found[1] = call["function"].get("name") or found[1]
                found[2] += call["function"].get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
    said.calls = list(calls.values())
    return said


def chat_of_nextchat(raw: bytes) -> Said:
    """NextChat: the first choice and the first call of a chunk; a call with an id is a new one."""
    said = Said()
    for data in python_events(raw):
        if data == "[DONE]":
            break
        choices = _decoded(data, "NextChat").get("choices") or [{}]
        delta = choices[0].get("delta") or {}
        said.text += delta.get("content") or ""
        said.thought += delta.get("reasoning_content") or ""
        if called := delta.get("tool_calls"):
            function = called[0]["function"]
            if called[0].get("id"):
                said.calls.append([called[0]["id"], function["name"], function["arguments"]])
            else:
                said.calls[-1][2] += function["arguments"]
        said.finish = choices[0].get("finish_reason") or said.finish
    need(said.text or said.calls, "empty response from server")
    return said


def chat_of_dify(raw: bytes) -> Said:
    """Dify's compatible plugin: frames by a blank line; a line of data that is no JSON ends the answer."""
    said = Said()
    for frame in raw.decode().split("\n\n"):
        line = frame.strip()
        if not line or line.startswith(":"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            continue
        chunk = _decoded(data, "Dify (the answer ends here)")
        need("error" not in chunk or "choices" in chunk, f"error: {chunk.get('error')}")
        need("choices" in chunk, "KeyError: choices")
        if chunk.get("usage"):
            said.usage = chunk["usage"]["prompt_tokens"] + chunk["usage"]["completion_tokens"]
        for choice in chunk["choices"][:1]:
            delta = choice["delta"]
            said.thought += delta.get("reasoning") or delta.get("reasoning_content") or ""
            said.text += delta.get("content") or ""
            for call in delta.get("tool_calls") or ():
                known = [one for one in said.calls if one[0] == call.get("id")]
                if call.get("id") and not known:
                    said.calls.append([call["id"], "", ""])
                found = known[0] if known else said.calls[-1]
                found[1] = call["function"].get("name") or found[1]
                found[2] += call["function"].get("arguments") or ""
            said.finish = choice.get("finish_reason") or said.finish
    return said


CHAT: dict[str, Callable[[bytes], Said]] = {
    "openai-python": chat_of_openai_python,
    "openai-node": chat_of_openai_node,
    "ai-sdk": chat_of_ai_sdk,
    "langchain": chat_of_langchain,
    "continue": chat_of_continue,
    "nextchat": chat_of_nextchat,
    "dify": chat_of_dify,
}


def read_chat(raw: bytes) -> Said:
    """Returns what all clients understand of a stream of chat chunks. Raises ClientBrokeError where one differs."""
    first = chat_of_openai_node(raw)
    for name, read in CHAT.items():
        found = read(raw)
        for what in ("text", "calls", "finish"):
            same = getattr(found, what) == getattr(first, what)
            need(same, f"{name} reads another {what}: {getattr(found, what)!r}, not {getattr(first, what)!r}")
        if name != "nextchat":
            need(found.usage == first.usage, f"{name} counts {found.usage} tokens, not {first.usage}")
    return first


def read_messages(raw: bytes) -> Said:
    """Returns what Anthropic's packages understand: frames without `event:` do not exist for them."""
    said, blocks, stopped = Said(), 0, False
    for frame in raw.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.split("\n") if line and not line.startswith(":"))
        if "event" not in lines:
            continue
        event = _decoded(lines["data"], "anthropic")
        kind = event["type"]
        need(kind != "error", f"APIStatusError: {event.get('error')}")
        if kind == "message_start":
            need(event["message"].get("usage"), "AttributeError: usage of message_start")
        elif kind == "content_block_start":
            need(event["index"] == blocks, "a block that is not the next")
            blocks += 1
            if event["content_block"]["type"] == "tool_use":
                block = event["content_block"]
                said.calls.append([block["id"], block["name"], ""])
        elif kind == "content_block_delta":
            need(event["index"] < blocks, "IndexError: a delta without its block")
            delta = event["delta"]
            said.text += delta.get("text", "")
            said.thought += delta.get("thinking", "")
            if "partial_json" in delta:
                said.calls[-1][2] += delta["partial_json"]
        elif kind == "message_delta":
            need(event.get("usage"), "AttributeError: usage of message_delta")
            said.finish, said.usage = event["delta"]["stop_reason"], event["usage"]["output_tokens"]
        elif kind == "message_stop":
            stopped = True
    need(stopped, "request ended without sending any chunks, or without message_stop")
    need(said.finish, "stop_reason is None")
    return said


def read_contents(raw: bytes) -> Said:
    """Returns what google-genai understands: `data: ` with its blank, JSON, and blank lines, and nothing else."""
    said = Said()
    for line in raw.decode().replace("\r\n", "\n").split("\n"):
        if not line:
            continue
        need(line.startswith("data: "), f"UnknownApiResponseError: {line[:60]!r}")
        chunk = _decoded(line.removeprefix("data: "), "google-genai")
        need("error" not in chunk, f"ClientError: {chunk.get('error')}")
        for candidate in chunk.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                if "functionCall" in part:
                    call = part["functionCall"]
                    said.calls.append([call.get("id", ""), call["name"], json.dumps(call.get("args", {}))])
                elif part.get("thought"):
                    said.thought += part["text"]
                else:
                    said.text += part.get("text", "")
            said.finish = candidate.get("finishReason") or said.finish
        usage = chunk.get("usageMetadata", {})
        said.usage = usage.get("totalTokenCount", said.usage)
    need(said.finish, "finish_reason is None")
    return said


def read_responses(raw: bytes) -> Said:
    """Returns what `responses.stream()` and Codex understand alike."""
    said, items, parts, ended = Said(), 0, 0, False
    for place, data in enumerate(python_events(raw)):
        event = _decoded(data, "openai-python")
        kind = event.get("type")
        need(kind, "an event without type")
        need(place > 0 or kind == "response.created", "RuntimeError: expected response.created first")
        need(kind not in {"error", "response.failed"}, f"APIError: {event}")
        if kind == "response.output_item.added":
            items, parts = items + 1, 0
        elif kind == "response.content_part.added":
            parts += 1
        elif kind == "response.output_text.delta":
            need(event["output_index"] < items, "IndexError: a delta without its item")
            need(event["content_index"] < parts, "IndexError: a delta without its part")
            said.text += event["delta"]
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            item = event["item"]
            said.calls.append([item["call_id"], item["name"], item["arguments"]])
        elif kind == "response.completed":
            response, ended = event["response"], True
            need(response.get("id"), "stream closed before response.completed")
            said.finish = response["status"]
            usage = response["usage"]
            for name in ("input_tokens", "output_tokens", "total_tokens"):
                need(type(usage.get(name)) is int, f"failed to parse ResponseCompleted: {name}")
            need(type(usage["input_tokens_details"].get("cached_tokens")) is int, "cached_tokens is missing")
            need(type(usage["output_tokens_details"].get("reasoning_tokens")) is int, "reasoning_tokens is missing")
            said.usage = usage["total_tokens"]
    need(ended, "stream closed before response.completed")
    return said


def read_models(body: bytes) -> list[str]:
    """Returns the ids as Cherry Studio's schema and LobeChat's card take them: one null spoils the whole list."""
    listed = _decoded(body.decode(), "the client")["data"]
    for item in listed:
        need(all(value is not None for value in item.values()), f"a null in {item['id']}")
        need(type(item.get("created")) is int, "TypeError: created.toFixed is not a function")
        need(isinstance(item.get("owned_by", ""), str), "validation: owned_by")
        need(isinstance(item.get("supported_endpoint_types"), list), "no protocol to choose")
    return [item["id"] for item in listed]


def read_error(status: int, body: bytes) -> dict[str, Any]:
    """Returns the error object as OpenAI's clients want it. Raises ClientBrokeError where one shows nothing."""
    need(status >= 400, "no error")
    error = _decoded(body.decode(), "the client").get("error")
    need(isinstance(error, dict), "the raw body is shown")
    need(isinstance(error["message"], str) and error["message"], "the reason phrase is shown")
    need(isinstance(error["type"], str), "validation: type")
    need({"param", "code"} <= error.keys(), "validation: param, code")
    return dict(error)
