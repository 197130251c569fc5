"""Anthropic Messages: from a request to the bytes of its reply or of the events of its stream. No I/O.

It is as strict as the vendor where a client or a gateway could get it wrong: the version header, who speaks first,
answers of tools behind their calls, empty texts, names of tools, media types.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tollgate_simulator_provider import answers, searching
from tollgate_simulator_provider.faults import Faults
from tollgate_simulator_provider.refusals import Refused
from tollgate_simulator_provider.tokens import ATTACHMENT, FRAME, counted, json_tokens, text_tokens

NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
PICTURES = {"image/jpeg", "image/png", "image/gif", "image/webp"}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error_body(status: int, message: str) -> bytes:
    """Returns the JSON body of an error."""
    error = {"type": KINDS.get(status, "api_error"), "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": None}).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is to be said to one request."""

    id: str
    model: str
    choice: answers.Choice
    thoughts: tuple[str, ...]
    prompt: int
    cached: int
    faults: Faults
    stopped_by: str
    searches: int = 0
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
            "input_tokens": self.prompt - self.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": self.cached,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": answered,
            "output_tokens_details": {"thinking_tokens": len(self.thoughts)},
            "service_tier": "standard",
        }
        if self.searches:
            usage["server_tool_use"] = {"web_search_requests": self.searches, "web_fetch_requests": 0}
        return self.faults.told(usage, "output_tokens")

    def body(self) -> bytes:
        """Returns the reply that is no stream."""
        message = self._message() | {"content": self._content(), "stop_reason": self._reason}
        message["stop_sequence"] = self.stopped_by or None
        message["usage"] = self.usage()
        if message["usage"] is None:
            del message["usage"]
        return _json(message)

    def frames(self) -> Iterator[bytes]:
        """Yields the events of the stream with their framing, the last one being message_stop."""
        started = self._message() | {"content": [], "stop_reason": None, "stop_sequence": None}
        usage = self.usage()
        if isinstance(usage, dict):
            started["usage"] = usage | {"output_tokens": 1}
        yield _event("message_start", message=started)
        yield _event("ping")
        index = 0
        if self.thoughts:
            yield _event(
                "content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}
            )
            for piece in self.thoughts:
                yield _event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": piece})
            yield _event(
                "content_block_delta", index=0, delta={"type": "signature_delta", "signature": self._signature}
            )
            yield _event("content_block_stop", index=0)
            index = 1
        yield from self._said(index)
        delta = {"stop_reason": self._reason, "stop_sequence": self.stopped_by or None}
        yield _event("message_delta", delta=delta, **({} if usage is None else {"usage": usage}))
        if not self.faults.no_done:
            yield _event("message_stop")

    def _said(self, index: int) -> Iterator[bytes]:
        if self.searches:
            yield from self._found(index)
            return
        if self.choice.tool:
            block = {"type": "tool_use", "id": self._call_id, "name": self.choice.tool, "input": {}}
            kind, member = "input_json_delta", "partial_json"
        else:
            block, kind, member = {"type": "text", "text": ""}, "text_delta", "text"
        yield _event("content_block_start", index=index, content_block=block)
        for piece in self.choice.pieces:
            yield _event("content_block_delta", index=index, delta={"type": kind, member: piece})
        yield _event("content_block_stop", index=index)

    def _found(self, index: int) -> Iterator[bytes]:
        for place, block in enumerate(self._searched(), index):
            text, cites = block.get("text", ""), block.get("citations", ())
            start = {"type": "text", "text": ""} | ({"citations": []} if cites else {}) if text else block
            yield _event("content_block_start", index=place, content_block=start)
            for piece in text.splitlines(keepends=True):
                yield _event("content_block_delta", index=place, delta={"type": "text_delta", "text": piece})
            for cite in cites:
                yield _event("content_block_delta", index=place, delta={"type": "citations_delta", "citation": cite})
            yield _event("content_block_stop", index=place)

    def _searched(self) -> Iterator[dict[str, Any]]:
        """Yields the blocks of an answer that was searched for: each search, what it found, and the words from it."""
        for number, query in enumerate(searching.QUERIES[: self.searches]):
            used = f"srvtoolu_{number}{self.id[-12:]}"
            yield {"type": "server_tool_use", "id": used, "name": "web_search", "input": {"query": query}}
            yield {"type": "web_search_tool_result", "tool_use_id": used, "content": [
                {"type": "web_search_result", "url": page.url, "title": page.title, "encrypted_content": "c2lt",
                 "page_age": None}
                for page in searching.PAGES
            ]}  # fmt: skip
        for one in searching.cited(self.choice.pieces):
            cite = {"type": "web_search_result_location", "url": one.page.url, "title": one.page.title}
            cite |= {"encrypted_index": "c2lt", "cited_text": one.page.said}
            yield {"type": "text", "text": "".join(self.choice.pieces[one.begin : one.end]), "citations": [cite]}

    def _message(self) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model}

    def _content(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        if self.thoughts:
            content.append({"type": "thinking", "thinking": "".join(self.thoughts), "signature": self._signature})
        if self.searches:
            content += self._searched()
        elif self.choice.tool:
            given = json.loads(self.choice.text)
            content.append({"type": "tool_use", "id": self._call_id, "name": self.choice.tool, "input": given})
        else:
            content.append({"type": "text", "text": self.choice.text})
        return content

    @property
    def _reason(self) -> str:
        return "stop_sequence" if self.stopped_by else REASONS[self.choice.finish]

    @property
    def _call_id(self) -> str:
        return f"toolu_{self.id[-12:]}"

    @property
    def _signature(self) -> str:
        return signature_of("".join(self.thoughts))


def signature_of(thought: str) -> str:
    """Returns what proves that a thought is of this model: nobody else makes it, and a change of a letter breaks it."""
    return f"sig-{answers.seed_of('thinking', [{'thought': thought}]).hex()}"


def build(request: Mapping[str, Any], faults: Faults, reply_id: str) -> Reply:
    """Returns the reply to a request that `check` let through."""
    messages = request["messages"]
    offered = [tool for tool in request.get("tools") or () if not _searching(tool)]
    tools = [{"name": tool["name"], "parameters": tool.get("input_schema")} for tool in offered]
    prompt = answers.last_of_user([_plain(message) for message in messages])
    thinking = (request.get("thinking") or {}).get("type") in {"enabled", "adaptive"}
    thoughts = faults.reasoning or (8 if thinking else 0)
    form = (request.get("output_config") or {}).get("format") or {}
    stops = tuple(request.get("stop_sequences") or ())
    question = answers.Question(
        messages=messages,
        seed=answers.seed_of(request["model"], messages),
        prompt=prompt,
        limit=max(0, request["max_tokens"] - thoughts),
        stop=(),
        tool=_tool(request, tools, prompt, faults),
        schema=form.get("schema"),
    )
    whole = answers.choice(question, 0, faults)
    stopped = answers.until(whole, stops)
    count = _prompt_tokens(request)
    return Reply(
        id=reply_id.replace("chatcmpl-", "msg_"),
        model=request["model"],
        choice=stopped,
        thoughts=answers.thoughts(question, min(thoughts, request["max_tokens"])),
        prompt=count,
        cached=min(count, faults.cached),
        faults=faults,
        searches=0 if whole.tool else _searches(request, prompt),
        stopped_by=next((stop for stop in stops if stop in whole.text), "") if stopped is not whole else "",
    )


def check(request: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
    """Raises Refused for a request that the real wire would not take."""
    if not headers.get(b"anthropic-version"):
        raise Refused(400, "anthropic-version: header is required")
    limit = request.get("max_tokens")
    if type(limit) is not int or limit < 1:
        raise Refused(400, "max_tokens: Field required" if limit is None else "max_tokens: must be at least 1")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages: at least one message is required")
    calls: set[str] = set()
    made: set[str] = set()
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant"}:
            raise Refused(400, f"messages.{place}.role: Input should be 'user' or 'assistant'")
        calls = _check_message(message, place, calls)
        for number, block in enumerate(_blocks(message)):
            if block.get("type") == "tool_use":
                if block["id"] in made:
                    raise Refused(400, f"messages.{place}.content.{number}: `tool_use` ids must be unique")
                made.add(block["id"])
    if messages[0]["role"] != "user":
        raise Refused(400, 'messages: first message must use the "user" role')
    _check_tools(request)
    _check_values(request, limit)


def _check_tools(request: Mapping[str, Any]) -> None:
    for place, tool in enumerate(request.get("tools") or ()):
        if _searching(tool):
            if tool.get("name") != "web_search":
                raise Refused(400, f"tools.{place}.{tool['type']}.name: Input should be 'web_search'")
            continue
        if not NAME.fullmatch(str(tool.get("name"))):
            raise Refused(400, f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if (tool.get("input_schema") or {}).get("type") != "object":
            raise Refused(400, f"tools.{place}.custom.input_schema.type: Field required")


def _searching(tool: Mapping[str, Any]) -> bool:
    return str(tool.get("type")).startswith("web_search_")


def _searches(request: Mapping[str, Any], prompt: str) -> int:
    """Twice, or as often as the caller allows, where the user writes the tool's name."""
    limits = [tool.get("max_uses") or 2 for tool in request.get("tools") or () if _searching(tool)]
    return min(2, *limits, 2) if limits and "web_search" in prompt else 0


def _check_values(request: Mapping[str, Any], limit: int) -> None:
    temperature = request.get("temperature")
    if temperature is not None and not 0 <= temperature <= 1:
        raise Refused(400, "temperature: range: 0..1")
    thinking = request.get("thinking") or {}
    if thinking.get("type") == "enabled" and not 1024 <= thinking.get("budget_tokens", 0) < limit:
        raise Refused(400, "thinking.enabled.budget_tokens: must be at least 1024 and less than max_tokens")


def _check_message(message: Mapping[str, Any], place: int, calls: set[str]) -> set[str]:
    """Returns the calls that the next message must answer."""
    blocks = _blocks(message)
    if not blocks:
        raise Refused(400, f"messages.{place}: content must not be empty")
    for number, block in enumerate(blocks):
        _check_block(block, f"messages.{place}.content.{number}")
    answered = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
    if calls - set(answered):
        missing = ", ".join(sorted(calls - set(answered)))
        raise Refused(
            400,
            f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {missing}",
        )
    if set(answered) - calls:
        raise Refused(400, f"messages.{place}: unexpected `tool_use_id` found in `tool_result` blocks")
    if any(block.get("type") != "tool_result" for block in blocks[: len(answered)]):
        raise Refused(400, f"messages.{place}: `tool_result` blocks must come first")
    return {block["id"] for block in blocks if block.get("type") == "tool_use"}


def _check_block(block: Mapping[str, Any], where: str) -> None:
    kind = block.get("type")
    if kind == "text" and not str(block.get("text", "")).strip():
        raise Refused(400, f"{where}: text content blocks must be non-empty")
    if kind == "image":
        source = block.get("source") or {}
        if source.get("type") == "base64" and source.get("media_type") not in PICTURES:
            raise Refused(400, f"{where}.image.source.base64.media_type: Input should be an image type")
    if kind == "tool_use" and not (isinstance(block.get("input"), dict) and NAME.fullmatch(str(block.get("id")))):
        raise Refused(400, f"{where}.tool_use: Input should be a valid dictionary, and the id of letters and digits")
    if kind == "thinking" and block.get("signature") != signature_of(str(block.get("thinking"))):
        raise Refused(400, f"{where}: Invalid `signature` in `thinking` block")


def _blocks(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content if isinstance(content, list) and all(isinstance(item, dict) for item in content) else []


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": message["role"], "content": [block for block in _blocks(message) if "text" in block]}


def _prompt_tokens(request: Mapping[str, Any]) -> int:
    """Counts as `tokens` says; a block that is no text and no call costs an attachment."""
    total = 0
    system = request.get("system")
    texts = [system] if isinstance(system, str) else [str(block.get("text", "")) for block in system or ()]
    total += sum(FRAME + text_tokens(text) for text in texts)
    for message in request["messages"]:
        total += FRAME
        for block in _blocks(message):
            if "text" in block:
                total += text_tokens(str(block["text"]))
            elif block.get("type") in {"tool_use", "tool_result"}:
                total += json_tokens(block)
            else:
                total += ATTACHMENT
    return total + sum(json_tokens(tool) for tool in request.get("tools") or ())


def _tool(
    request: Mapping[str, Any], tools: list[dict[str, Any]], prompt: str, faults: Faults
) -> Mapping[str, Any] | None:
    """Which tool is called: a forced one, or with `auto` the first whose name the user wrote, unless it just ran."""
    wish = request.get("tool_choice") or {"type": "auto"}
    if not tools or wish.get("type") == "none":
        return None
    if wish.get("type") == "tool":
        return next((tool for tool in tools if tool["name"] == wish.get("name")), None)
    if wish.get("type") == "any" or faults.tool:
        return tools[0]
    if any(block.get("type") == "tool_result" for block in _blocks(request["messages"][-1])):
        return None
    return next((tool for tool in tools if tool["name"] in prompt), None)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **members}))
