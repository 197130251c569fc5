"""The Responses API: from a request to the bytes of its reply or of the events of its stream. No I/O.

`responses_check` says what is refused. Nothing is kept: every conversation comes whole.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tollgate_simulator_provider import answers, searching
from tollgate_simulator_provider.faults import Faults
from tollgate_simulator_provider.responses_check import sealed
from tollgate_simulator_provider.tokens import ATTACHMENT, FRAME, counted, json_tokens, text_tokens

THOUGHTS = 8
ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is to be said to one request. `searches` is how often the web is asked before the answer."""

    id: str
    created: int
    request: Mapping[str, Any]
    choice: answers.Choice
    kind: str
    thoughts: tuple[str, ...]
    searches: int
    prompt: int
    cached: int
    faults: Faults
    include_usage: bool = True

    @property
    def units(self) -> dict[str, int]:
        """What was counted: `input` without what was read from a cache, `output` without `reasoning`."""
        said, thought = len(self.choice.pieces), len(self.thoughts)
        return counted(self.prompt, self.cached, output=said, reasoning=thought, search=self.searches)

    def usage(self) -> dict[str, Any] | None:
        """Returns the usage object to send, which a fault may have made wrong; None: not to be sent."""
        answered = len(self.choice.pieces) + len(self.thoughts)
        usage = {
            "input_tokens": self.prompt,
            "input_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": 0},
            "output_tokens": answered,
            "output_tokens_details": {"reasoning_tokens": len(self.thoughts)},
            "total_tokens": self.prompt + answered,
        }
        return self.faults.told(usage, "output_tokens")

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        return _json(self._ended())

    def frames(self) -> Iterator[bytes]:
        """Yields the events of the stream with their framing, the last one saying how it ended."""
        told = Events()
        begun = self._response("in_progress")
        yield told.event("response.created", response=begun)
        yield told.event("response.in_progress", response=begun)
        items = self._items()
        for place, item in enumerate(items):
            yield from self._item(told, place, item)
        if not self.faults.no_done:
            ended = self._ended()
            yield told.event(f"response.{ended['status']}", response=ended)

    def _ended(self) -> dict[str, Any]:
        if self.faults.finish == "failed":
            failed = {"code": "server_error", "message": "[simulated] The model produced nothing."}
            return self._response("failed") | {"error": failed}
        cut = self.choice.finish == "length"
        return self._response("incomplete" if cut else "completed") | {
            "output": self._items(),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "usage": self.usage(),
        }

    def _response(self, status: str) -> dict[str, Any]:
        asked = self.request
        reasoning, text = asked.get("reasoning") or {}, asked.get("text") or {}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": asked["model"],
            "output": [],
            "previous_response_id": None,
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "service_tier": "default",
            "store": asked.get("store") is not False,
            "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
            "tool_usage": {"web_search": {"num_requests": self.searches}},
            "usage": None,
            **{name: usual if asked.get(name) is None else asked[name] for name, usual in ECHOED.items()},
        }

    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        if self.thoughts:
            items.append(self._thought())
        for number in range(self.searches):
            action = {"type": "search", "query": "[simulated]"}
            item = {"id": f"ws_{self._own}_{number}", "type": "web_search_call", "status": "completed"}
            items.append(item | {"action": action})
        items.append(self._call() if self.kind else self._message())
        return items

    def _thought(self) -> dict[str, Any]:
        said = "".join(self.thoughts)
        wanted = (self.request.get("reasoning") or {}).get("summary")
        item: dict[str, Any] = {"id": f"rs_{self._own}", "type": "reasoning"}
        item["summary"] = [{"type": "summary_text", "text": said}] if wanted else []
        include = self.request.get("include") or ()
        return item | ({"encrypted_content": sealed(said)} if "reasoning.encrypted_content" in include else {})

    def _message(self) -> dict[str, Any]:
        part = {"type": "output_text", "text": self.choice.text, "annotations": self._annotations(), "logprobs": []}
        status = "incomplete" if self.choice.finish == "length" else "completed"
        item = {"id": f"msg_{self._own}", "type": "message", "status": status}
        return item | {"role": "assistant", "content": [part]}

    def _annotations(self) -> list[dict[str, Any]]:
        found = []
        for one in searching.cited(self.choice.pieces) if self.searches else ():
            begin, end = searching.letters(self.choice.pieces, one)
            place = {"start_index": begin, "end_index": end, "url": one.page.url, "title": one.page.title}
            found.append({"type": "url_citation", **place})
        return found

    def _call(self) -> dict[str, Any]:
        space, _, name = self.choice.tool.rpartition("\n")
        item: dict[str, Any] = {"call_id": f"call_{self._own}", "name": name, "status": "completed"}
        if space:
            item["namespace"] = space
        if self.kind == "custom":
            return {"id": f"ctc_{self._own}", "type": "custom_tool_call", **item, "input": self.choice.text}
        return {"id": f"fc_{self._own}", "type": "function_call", **item, "arguments": self.choice.text}

    @property
    def _own(self) -> str:
        return self.id[-12:]

    def _item(self, told: "Events", place: int, item: dict[str, Any]) -> Iterator[bytes]:
        here = {"item_id": item["id"], "output_index": place}
        writers = {"reasoning": self._think, "web_search_call": self._search, "message": self._say}
        yield from writers.get(item["type"], self._use)(told, here, item)
        yield told.event("response.output_item.done", output_index=place, item=item)

    def _think(self, told: "Events", here: dict[str, Any], item: dict[str, Any]) -> Iterator[bytes]:
        yield told.event("response.output_item.added", output_index=here["output_index"], item=item | {"summary": []})
        if not item["summary"]:
            return
        where = here | {"summary_index": 0}
        empty, text = {"type": "summary_text", "text": ""}, item["summary"][0]["text"]
        yield told.event("response.reasoning_summary_part.added", **where, part=empty)
        for piece in self.thoughts:
            yield told.delta("response.reasoning_summary_text.delta", where, piece)
        yield told.event("response.reasoning_summary_text.done", **where, text=text)
        yield told.event("response.reasoning_summary_part.done", **where, part=empty | {"text": text})

    def _search(self, told: "Events", here: dict[str, Any], item: dict[str, Any]) -> Iterator[bytes]:
        begun = item | {"status": "in_progress"}
        yield told.event("response.output_item.added", output_index=here["output_index"], item=begun)
        for step in ("in_progress", "searching", "completed"):
            yield told.event(f"response.web_search_call.{step}", **here)

    def _say(self, told: "Events", here: dict[str, Any], item: dict[str, Any]) -> Iterator[bytes]:
        begun = item | {"status": "in_progress", "content": []}
        yield told.event("response.output_item.added", output_index=here["output_index"], item=begun)
        (part,) = item["content"]
        where = here | {"content_index": 0}
        yield told.event("response.content_part.added", **where, part=part | {"text": "", "annotations": []})
        for piece in self.choice.pieces:
            yield told.delta("response.output_text.delta", where, piece, logprobs=[])
        for number, note in enumerate(part["annotations"]):
            added = {"annotation_index": number, "annotation": note}
            yield told.event("response.output_text.annotation.added", **where, **added)
        yield told.event("response.output_text.done", **where, text=part["text"], logprobs=[])
        yield told.event("response.content_part.done", **where, part=part)

    def _use(self, told: "Events", here: dict[str, Any], item: dict[str, Any]) -> Iterator[bytes]:
        given = "input" if self.kind == "custom" else "arguments"
        begun = item | {"status": "in_progress", given: ""}
        yield told.event("response.output_item.added", output_index=here["output_index"], item=begun)
        kind = "response.custom_tool_call_input" if self.kind == "custom" else "response.function_call_arguments"
        for piece in self.choice.pieces:
            yield told.delta(f"{kind}.delta", here, piece)
        yield told.event(f"{kind}.done", **here, **{given: self.choice.text})


@dataclass(slots=True)
class Events:
    """Numbers the events of one stream."""

    number: int = field(default=0)

    def event(self, kind: str, **members: Any) -> bytes:
        """Returns the next event with its framing."""
        body = {"type": kind, "sequence_number": self.number, **members}
        self.number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json(body))

    def delta(self, kind: str, where: Mapping[str, Any], piece: str, **more: Any) -> bytes:
        """Returns the event of a piece; its padding hides how long the piece is."""
        return self.event(kind, **where, delta=piece, **more, obfuscation="x" * (16 - len(piece) % 16))


def build(request: Mapping[str, Any], faults: Faults, reply_id: str, created: int) -> Reply:
    """Returns the reply to a request that `responses_check.check` let through."""
    items = items_of(request["input"])
    prompt = last_of_user(items)
    tool, kind = _tool(request, items, prompt, faults)
    limit = request.get("max_output_tokens")
    effort = (request.get("reasoning") or {}).get("effort")
    thinks = faults.reasoning or (THOUGHTS if effort not in {None, "none", "minimal"} else 0)
    form = (request.get("text") or {}).get("format") or {}
    question = answers.Question(
        messages=items,
        seed=answers.seed_of(request["model"], items),
        prompt=prompt,
        limit=-1 if limit is None else max(0, limit - thinks),
        stop=(),
        tool=tool if kind != "custom" else None,
        schema=_schema(form),
    )
    choice = answers.choice(question, 0, faults)
    if kind == "custom" and tool is not None:
        choice = answers.Choice(("[simulated]", " input"), "tool_calls", str(tool["name"]))
    count = _prompt_tokens(request, items)
    return Reply(
        id=reply_id.replace("chatcmpl-", "resp_"),
        created=created,
        request=request,
        choice=choice,
        kind=kind,
        thoughts=answers.thoughts(question, thinks if limit is None else min(limit, thinks)),
        searches=_searches(request, prompt),
        prompt=count,
        cached=min(count, faults.cached),
        faults=faults,
    )


def items_of(found: object) -> list[dict[str, Any]]:
    """Returns the input as items."""
    if isinstance(found, str):
        return [{"type": "message", "role": "user", "content": found}]
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def last_of_user(items: Sequence[Mapping[str, Any]]) -> str:
    """Returns the text of the user's last message, or the empty text."""
    return answers.last_of_user([item for item in items if item.get("type", "message") == "message"])


def _schema(form: Mapping[str, Any]) -> object:
    if form.get("type") == "json_schema":
        return form.get("schema", {})
    return (
        {"type": "object", "properties": {"simulated": {"const": True}}} if form.get("type") == "json_object" else None
    )


def _tool(
    request: Mapping[str, Any], items: Sequence[Mapping[str, Any]], prompt: str, faults: Faults
) -> tuple[Mapping[str, Any] | None, str]:
    """Returns which tool is called, and its kind: a forced one, or the first whose name the user just wrote."""
    wish = request.get("tool_choice") or "auto"
    offered = list(_offered(request.get("tools") or ()))
    if wish == "none" or not offered:
        return None, ""
    found: Mapping[str, Any] | None = None
    if isinstance(wish, dict):
        found = next((tool for tool in offered if tool["plain"] == wish.get("name")), None)
    elif wish == "required" or faults.tool:
        found = offered[0]
    elif items[-1].get("type", "message") == "message" and items[-1].get("role") == "user":
        found = next((tool for tool in offered if tool["plain"] in prompt), None)
    return (found, str(found["type"])) if found is not None else (None, "")


def _offered(tools: Sequence[Mapping[str, Any]], space: str = "") -> Iterator[dict[str, Any]]:
    for tool in tools:
        if tool["type"] == "namespace":
            yield from _offered(tool.get("tools") or (), tool["name"])
        elif tool["type"] in {"function", "custom"}:
            name = f"{space}\n{tool['name']}" if space else tool["name"]
            yield {"type": tool["type"], "plain": tool["name"], "name": name, "parameters": tool.get("parameters")}


def _searches(request: Mapping[str, Any], prompt: str) -> int:
    offered = any(str(tool.get("type")).startswith("web_search") for tool in request.get("tools") or ())
    return 1 if offered and "web_search" in prompt else 0


def _prompt_tokens(request: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> int:
    """Counts as `tokens` says; an item that is no message costs what its JSON text would."""
    instructions = request.get("instructions")
    total = FRAME + text_tokens(instructions) if instructions else 0
    for item in items:
        if item.get("type", "message") != "message":
            total += FRAME + json_tokens(item)
            continue
        content = item.get("content")
        parts = [{"text": content}] if isinstance(content, str) else content or []
        total += FRAME + text_tokens("\n".join(str(part["text"]) for part in parts if "text" in part))
        total += ATTACHMENT * sum(1 for part in parts if "text" not in part)
    declared = [*(request.get("tools") or ()), ((request.get("text") or {}).get("format") or {}).get("schema")]
    return total + sum(json_tokens(one) for one in declared if one)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
