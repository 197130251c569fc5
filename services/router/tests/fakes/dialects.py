"""Grammars of streams, written from what breaks clients; they share no code with the translators."""

import json
from collections.abc import Sequence
from typing import Any, Final

CHAT_REASONS: Final = frozenset(("stop", "length", "tool_calls", "content_filter"))
MESSAGE_REASONS: Final = frozenset(("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"))


def frames(stream: bytes) -> list[tuple[str, Any]]:
    """Returns (event name, data) of each frame; [DONE] is text."""
    found = []
    for frame in stream.decode().split("\n\n")[:-1]:
        lines = [line for line in frame.split("\n") if line]
        # Clients read line by line, and some know no line but these: data in one, behind its event.
        names = [line[7:] for line in lines if line.startswith("event: ")]
        (data,) = [line[6:] for line in lines if line.startswith("data: ")]
        assert len(lines) == len(names) + 1 <= 2, f"other lines than event and data: {frame!r}"
        found.append(("".join(names), data if data == "[DONE]" else json.loads(data)))
    assert stream.endswith(b"\n\n")
    return found


def check_chat(stream: bytes, *, usage: bool) -> dict[str, Any]:
    """Checks a stream of chat chunks; returns text, thought, calls, reason and usage."""
    # One client takes `: ping` for the end of a batch.
    found = frames(stream.replace(b": keep-alive\n\n", b""))
    assert all(name == "" for name, _ in found)
    *chunks, (_, last) = found
    assert last == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for _, chunk in chunks}) == 1
    said: dict[str, Any] = {"text": "", "thought": "", "calls": {}, "reason": None, "usage": None}
    for place, (_, chunk) in enumerate(chunks):
        assert chunk["object"] == "chat.completion.chunk"
        assert "error" not in chunk
        if not chunk["choices"]:
            assert (usage, place) == (True, len(chunks) - 1)
            said["usage"] = chunk["usage"]
            continue
        assert not chunk.get("usage"), "usage is added up, and words beside it are lost"
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert ("role" in choice["delta"]) == (place == 0)
        assert said["reason"] is None, "something after the finish"
        _take(said, choice["delta"])
        said["reason"] = choice["finish_reason"]
    assert said["reason"] in CHAT_REASONS
    assert not said["calls"] or said["reason"] != "stop", "calls end with tool_calls only"
    assert (said["usage"] is not None) == usage
    return said


def _take(said: dict[str, Any], delta: dict[str, Any]) -> None:
    assert "reasoning" not in delta, "thoughts under two names are shown twice, or not"
    said["text"] += delta.get("content") or ""
    said["thought"] += delta.get("reasoning_content") or ""
    assert len(delta.get("tool_calls", ())) <= 1
    for call in delta.get("tool_calls", ()):
        if call["index"] in said["calls"]:
            assert "id" not in call
            assert "name" not in call["function"]
            said["calls"][call["index"]][2] += call["function"]["arguments"]
        else:
            assert call["index"] == len(said["calls"])
            assert call["type"] == "function"
            said["calls"][call["index"]] = [call["id"], call["function"]["name"], call["function"]["arguments"]]


def check_messages(stream: bytes) -> dict[str, Any]:
    """Checks a stream of Anthropic's events; returns blocks, reason, stop sequence and usage."""
    found = frames(stream)
    assert all(name == data["type"] for name, data in found), "every frame needs its event line"
    assert [name for name, _ in found[:1]] == ["message_start"]
    assert [name for name, _ in found[-2:]] == ["message_delta", "message_stop"]
    started, delta = found[0][1]["message"], found[-2][1]
    assert started["content"] == []
    assert started["stop_reason"] is None
    assert {"input_tokens", "output_tokens"} <= set(started["usage"]) & set(delta["usage"])
    blocks = _blocks([data for name, data in found[1:-2] if name != "ping"])
    end = delta["delta"]
    called = any(block["type"] == "tool_use" for block in blocks)
    assert end["stop_reason"] in MESSAGE_REASONS - ({"end_turn"} if called else set())
    return {
        "blocks": blocks,
        "reason": end["stop_reason"],
        "sequence": end["stop_sequence"],
        "usage": delta["usage"],
        "model": started["model"],
    }


def _blocks(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    open_ = False
    for event in events:
        if event["type"] == "content_block_start":
            assert not open_
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
            open_ = True
            continue
        assert open_, f"{event['type']} outside of a block"
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_stop":
            open_ = False
            continue
        delta, block = event["delta"], blocks[-1]
        kind = delta["type"]
        if kind == "input_json_delta":
            assert block["type"] == "tool_use"
            block["json"] = block.get("json", "") + delta["partial_json"]
        elif kind == "citations_delta":
            assert block["type"] == "text"
            block.setdefault("citations", []).append(delta["citation"])
        else:
            member = kind.removesuffix("_delta")
            assert block["type"] == {"signature": "thinking"}.get(member, member)
            block[member] = delta[member] if member == "signature" else block[member] + delta[member]
    assert not open_
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = _arguments(block.pop("json", "") or "{}")
    return blocks


def _arguments(text: str) -> Any:
    """What a model writes for arguments is its own affair: text that is no JSON is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_contents(stream: bytes) -> dict[str, Any]:
    """Checks a stream of Gemini's chunks; returns text, thought, calls, reason and usage."""
    assert b"data: [DONE]" not in stream
    said: dict[str, Any] = {"text": "", "thought": "", "calls": [], "reason": None, "usage": None}
    for name, chunk in frames(stream):
        assert name == ""
        assert said["reason"] is None, "something after the finish"
        (candidate,) = chunk["candidates"]
        assert candidate["content"]["role"] == "model"
        for part in candidate["content"]["parts"]:
            if "functionCall" in part:
                said["calls"].append((part["functionCall"]["name"], part["functionCall"]["args"]))
            else:
                said["thought" if part.get("thought") else "text"] += part["text"]
        said["reason"] = candidate.get("finishReason")
        said["usage"] = chunk.get("usageMetadata")
    assert said["reason"]
    assert said["usage"]
    return said


def check_responses(stream: bytes) -> dict[str, Any]:
    """Checks a stream of Responses; returns its items and the last response."""
    found = frames(stream)
    assert all(name == data["type"] for name, data in found)
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert [name for name, _ in found[:2]] == ["response.created", "response.in_progress"]
    items: list[dict[str, Any]] = []
    open_: dict[str, Any] | None = None
    for name, event in found[2:-1]:
        if name == "response.output_item.added":
            assert open_ is None
            assert event["output_index"] == len(items)
            open_, said, parts = dict(event["item"]), "", 0
        elif name == "response.output_item.done":
            assert open_ is not None
            assert event["item"]["id"] == open_["id"]
            assert said == _said_by(event["item"])
            items.append(event["item"])
            open_ = None
        else:
            assert open_ is not None
            assert (event["item_id"], event["output_index"]) == (open_["id"], len(items))
            parts += name.endswith("part.added")
            if name.endswith(".delta"):
                assert parts or open_["type"] not in {"message", "reasoning"}
                said += event["delta"]
            elif name.endswith((".done", "_text.done")) and not name.endswith("part.done"):
                assert said == next(event[key] for key in ("text", "arguments", "input") if key in event)
    assert open_ is None
    name, last = found[-1]
    response = last["response"]
    assert name == f"response.{response['status']}"
    assert response["output"] == items
    assert response["id"]
    counts, details = response["usage"], {"input": "cached_tokens", "output": "reasoning_tokens"}
    assert all(type(counts[f"{side}_tokens_details"][name]) is int for side, name in details.items())
    assert response["usage"]["total_tokens"] == response["usage"]["input_tokens"] + response["usage"]["output_tokens"]
    return response


def _said_by(item: dict[str, Any]) -> str:
    if item["type"] == "message":
        return "".join(part["text"] for part in item["content"])
    if item["type"] == "reasoning":
        return "".join(part["text"] for part in item["summary"])
    return str(item.get("arguments", item.get("input")))
