"""Anthropic Messages bodies for a provider, written from a neutral request.

Names and ids are made such that the wire takes them; `Written.names` says what the caller called them.
"""

import base64
import binascii
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.claude import is_adaptive, thinking_of
from tollgate_router.domain.dialects.members import object_of, true_type, usable_name
from tollgate_router.domain.dialects.neutral import (
    Audio,
    Call,
    File,
    Image,
    Message,
    Part,
    Request,
    Result,
    Text,
    Thinking,
    Tool,
    ToolChoice,
)
from tollgate_router.errors import Refused

# Without these the answer would be of another form than the caller waits for; a value that asks for nothing may go.
REFUSED: Final = {
    "n": (b"1",),
    "logprobs": (b"false",),
    "top_logprobs": (b"0",),
    "audio": (),
    "modalities": (b'["text"]',),
    "web_search_options": (),
}
_MOST_MARKS: Final = 4
_MOST_NAME: Final = 128
_MOST_TOKENS: Final = 8192
# A document's text, where it is one.
_TEXTUAL: Final = ("text/", "application/json", "application/xml")


class Written(msgspec.Struct, frozen=True):
    """`dropped` names what was left out; `names` are the caller's names of tools by those that were sent."""

    body: bytes
    dropped: tuple[str, ...]
    names: dict[str, str] = {}


def write_messages(request: Request, model: str, *, max_output_tokens: int | None, body_version: str = "") -> Written:
    """Returns the body; `max_output_tokens` is the model's own limit, for callers that set none. Raises Refused.

    With `body_version` the body says that as its version and names no model: the path does.
    """
    named = {"anthropic_version": body_version} if body_version else {"model": model}
    return _Writer(request, model, max_output_tokens or _MOST_TOKENS).write(named)


class _Writer:
    def __init__(self, request: Request, model: str, most_tokens: int) -> None:
        self._request = request
        self._model = model
        self._most_tokens = most_tokens
        self._dropped = [name for name in request.extra if not self._is_refused(name)]
        self._names: dict[str, str] = {}
        self._marks = 0

    def _is_refused(self, name: str) -> bool:
        usual = REFUSED.get(name)
        if usual is None:
            return False
        if (value := bytes(self._request.extra[name])) == b"null" or value in usual:
            return False
        raise Refused(f"{name} cannot be carried to the provider of this model.", name)

    def write(self, named: dict[str, Any]) -> Written:
        request = self._request
        tools = [self._tool(tool) for tool in request.tools]
        system = [self._text(text) for text in request.system if text.text]
        if request.format is not None and request.format.schema is None:
            system.append({"type": "text", "text": "Answer with one JSON object and nothing else."})
        body: dict[str, Any] = {**named, "messages": self._messages()}
        if system:
            body["system"] = system
        if tools:
            body["tools"] = tools
            body |= self._choice()
        body |= self._thinking()
        self._limit(body)
        self._sampling(body)
        if request.format is not None and request.format.schema is not None:
            output = body.setdefault("output_config", {})
            output["format"] = {"type": "json_schema", "schema": request.format.schema}
        if request.user:
            body["metadata"] = {"user_id": request.user}
        if request.stream:
            body["stream"] = True
        dropped = tuple(dict.fromkeys(name for name in self._dropped if self._says_something(name)))
        return Written(msgspec.json.encode(body), dropped, self._names)

    def _says_something(self, name: str) -> bool:
        raw = self._request.extra.get(name)
        return raw is None or bytes(raw) not in {b"null", b"false", b"{}", b"[]", b"0", b"0.0", b"1", b'["text"]'}

    # What steers.

    def _limit(self, body: dict[str, Any]) -> None:
        asked = self._request.max_output_tokens
        limit = min(asked, self._most_tokens) if asked and self._most_tokens > _MOST_TOKENS else asked
        body["max_tokens"] = limit or self._most_tokens
        thinking = body.get("thinking", {})
        if (budget := thinking.get("budget_tokens")) is not None and budget >= body["max_tokens"]:
            # Thought counts as output, so that both have to fit.
            body["max_tokens"] = budget + body["max_tokens"]

    def _sampling(self, body: dict[str, Any]) -> None:
        request = self._request
        fixed = is_adaptive(self._model) or "thinking" in body
        for name, value in (
            ("temperature", None if request.temperature is None else min(request.temperature, 1.0)),
            ("top_p", request.top_p),
            ("top_k", request.top_k),
        ):
            if value is None:
                continue
            if fixed:
                self._dropped.append(name)
            else:
                body[name] = value
        if "temperature" in body and "top_p" in body:
            # One of the two, says the vendor.
            del body["top_p"]
            self._dropped.append("top_p")
        self._dropped += [
            name for name in ("seed", "presence_penalty", "frequency_penalty") if getattr(request, name) is not None
        ]
        stops = [stop for stop in request.stop if stop.strip()]
        if len(stops) < len(request.stop):
            self._dropped.append("stop")
        if stops:
            body["stop_sequences"] = stops

    def _thinking(self) -> dict[str, Any]:
        thinking, effort = thinking_of(self._request, self._model)
        if not thinking:
            return {}
        return {"thinking": thinking} | ({"output_config": {"effort": effort}} if effort else {})

    def _choice(self) -> dict[str, Any]:
        choice, parallel = self._request.tool_choice, self._request.parallel_calls
        if choice is None and parallel is not False:
            return {}
        found = choice or ToolChoice("auto")
        kinds = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
        written: dict[str, Any] = {"type": kinds[found.mode]}
        if found.mode == "named":
            written["name"] = self._name(found.name)
        if parallel is False and found.mode != "none":
            written["disable_parallel_tool_use"] = True
        return {"tool_choice": written}

    def _tool(self, tool: Tool) -> dict[str, Any]:
        schema = {"type": "object", "properties": {}} | tool.schema
        written: dict[str, Any] = {"name": self._name(tool.name), "input_schema": schema}
        if tool.description:
            written["description"] = tool.description
        if tool.strict:
            written["strict"] = True
        return self._marked(written, tool.cache)

    def _name(self, name: str) -> str:
        usable = usable_name(name, _MOST_NAME)[:_MOST_NAME]
        if usable != name:
            self._names[usable] = name
        return usable

    # What is said.

    def _messages(self) -> list[dict[str, Any]]:
        turns: list[tuple[str, list[dict[str, Any]]]] = []
        for message in self._request.messages:
            blocks = self._blocks(message)
            if turns and turns[-1][0] == message.role:
                turns[-1][1].extend(blocks)
            else:
                turns.append((message.role, blocks))
        if turns[0][0] == "assistant":
            turns.insert(0, ("user", [{"type": "text", "text": "Go on."}]))
        last_role, last = turns[-1]
        if last_role == "assistant" and last and last[-1]["type"] == "text":
            # A beginning of the answer must not end in blanks.
            last[-1]["text"] = last[-1]["text"].rstrip() or "."
        return [
            {"role": role, "content": _results_first(blocks) or [{"type": "text", "text": "."}]}
            for role, blocks in turns
        ]

    def _blocks(self, message: Message) -> list[dict[str, Any]]:
        return [block for part in message.parts if (block := self._block(part, message.role)) is not None]

    def _block(self, part: Part, role: str) -> dict[str, Any] | None:
        if isinstance(part, Text):
            return self._text(part) if part.text.strip() else None
        if isinstance(part, Image):
            return self._marked({"type": "image", "source": _image_source(part)}, part.cache)
        if isinstance(part, File):
            return self._marked(_document(part), part.cache)
        if isinstance(part, Call):
            # Arguments that are no object would be refused, with the whole conversation.
            call = {"type": "tool_use", "id": _id(part.id), "name": self._name(part.name)}
            return self._marked(call | {"input": object_of(part.arguments)}, part.cache)
        if isinstance(part, Result):
            return self._result(part)
        if isinstance(part, Thinking):
            return _thought(part) if role == "assistant" else None
        assert isinstance(part, Audio)
        raise Refused("input_audio cannot be carried to the provider of this model.", "messages")

    def _result(self, part: Result) -> dict[str, Any]:
        content = [block for one in part.parts if (block := self._block(one, "user")) is not None]
        written: dict[str, Any] = {"type": "tool_result", "tool_use_id": _id(part.call_id)}
        if content:
            written["content"] = content
        if part.failed:
            written["is_error"] = True
        return self._marked(written, part.cache)

    def _text(self, part: Text) -> dict[str, Any]:
        return self._marked({"type": "text", "text": part.text}, part.cache)

    def _marked(self, block: dict[str, Any], cache: str) -> dict[str, Any]:
        if cache and self._marks < _MOST_MARKS:
            self._marks += 1
            block["cache_control"] = {"type": "ephemeral"} | ({"ttl": cache} if cache != "5m" else {})
        return block


def _id(call_id: str) -> str:
    return usable_name(call_id, _MOST_NAME) or "call"


def _results_first(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers of tools come before all else in their message."""
    return [one for one in blocks if one["type"] == "tool_result"] + [
        one for one in blocks if one["type"] != "tool_result"
    ]


def _thought(part: Thinking) -> dict[str, Any] | None:
    """Thought without proof would be refused."""
    if part.hidden:
        return {"type": "redacted_thinking", "data": part.hidden}
    if not part.signature:
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _image_source(part: Image) -> dict[str, Any]:
    if part.url:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": true_type(part.mime, part.data), "data": part.data}


def _document(part: File) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "document"}
    if part.name:
        block["title"] = part.name
    if part.url:
        return block | {"source": {"type": "url", "url": part.url}}
    mime = true_type(part.mime, part.data)
    if mime == "application/pdf":
        return block | {"source": {"type": "base64", "media_type": mime, "data": part.data}}
    if mime.startswith(_TEXTUAL):
        try:
            text = base64.b64decode(part.data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Refused("A file's data is not base64 of UTF-8 text.", "messages") from None
        return block | {"source": {"type": "text", "media_type": "text/plain", "data": text}}
    raise Refused(f"A file of type '{mime[:60]}' cannot be carried to the provider of this model.", "messages")
