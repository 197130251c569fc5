"""Bodies of Bedrock's Converse, written from a neutral request.

Names and ids are made such that the wire takes them; `Converse.names` says what the caller called them.
"""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import structs

from tollgate_router.domain.dialects.anthropic_body import REFUSED
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
)
from tollgate_router.errors import Refused

_MOST_NAME: Final = 64
_MOST_MARKS: Final = 4
_PICTURES: Final = {f"image/{name}": name for name in ("png", "jpeg", "gif", "webp")} | {"image/jpg": "jpeg"}
_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    f"{_OFFICE}wordprocessingml.document": "docx",
    f"{_OFFICE}spreadsheetml.sheet": "xlsx",
}
# Letters that a document's name may have; two blanks in a row it may not.
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9()\[\]-]+")
_NOTHING: Final = frozenset((b"null", b"false", b"{}", b"[]", b"0", b"0.0", b"1", b'["text"]'))
_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}


class Converse(msgspec.Struct, frozen=True):
    """`dropped` names what was left out; `names` are the caller's names of tools by those that were sent."""

    body: bytes
    dropped: tuple[str, ...]
    names: dict[str, str]


def converse_path(model: str, *, stream: bool) -> bytes:
    """Returns the path for a model's id, an inference profile's id, or an ARN."""
    return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}".encode()


def write_converse(request: Request, model: str) -> Converse:
    """Returns the body for a provider, which names the model in the path. Raises Refused."""
    return _Writer(request, model).write()


class _Writer:
    def __init__(self, request: Request, model: str) -> None:
        self._request = request
        self._model = model
        self._claude = "claude" in model
        # Models of other makers refuse marks of the prompt cache.
        self._marks = _MOST_MARKS if self._claude or "amazon.nova" in model else 0
        self._dropped: list[str] = []
        self._names: dict[str, str] = {}
        self._documents = 0

    def write(self) -> Converse:
        request = self._request
        self._extra()
        tools = self._tools()
        system = [block for text in request.system if text.text.strip() for block in self._text(text)]
        if request.format is not None and request.format.schema is None:
            system.append({"text": "Answer with one JSON object and nothing else."})
        body: dict[str, Any] = {"messages": self._messages()}
        if system:
            body["system"] = system
        if tools:
            body["toolConfig"] = tools
        self._steer(body)
        dropped = tuple(dict.fromkeys(self._dropped))
        return Converse(msgspec.json.encode(body), dropped, self._names)

    def _extra(self) -> None:
        """Refuses what would make the answer one of another form; names the rest."""
        for name, raw in self._request.extra.items():
            value = bytes(raw)
            if name in REFUSED and value != b"null" and value not in REFUSED[name]:
                raise Refused(f"{name} cannot be carried to the provider of this model.", name)
            if value not in _NOTHING and name not in REFUSED:
                self._dropped.append(name)
        if self._request.parallel_calls is False:
            self._dropped.append("parallel_tool_calls")
        if self._request.user:
            self._dropped.append("user")
        self._dropped += [
            name
            for name in ("seed", "presence_penalty", "frequency_penalty")
            if getattr(self._request, name) is not None
        ]

    # What steers.

    def _steer(self, body: dict[str, Any]) -> None:
        request = self._request
        thinking, effort = self._thinking()
        config: dict[str, Any] = {}
        if request.max_output_tokens:
            budget = thinking.get("budget_tokens", 0)
            # Thought counts as output, so that both have to fit.
            config["maxTokens"] = request.max_output_tokens + (budget if budget >= request.max_output_tokens else 0)
        self._sample(config, fixed=bool(thinking) or is_adaptive(self._model))
        stops = [stop for stop in request.stop if stop.strip()]
        if len(stops) < len(request.stop):
            self._dropped.append("stop")
        if stops:
            config["stopSequences"] = stops
        top_k = config.pop("topK", None)
        if config:
            body["inferenceConfig"] = config
        more = {"thinking": thinking} if thinking else self._reasoning()
        if top_k is not None:
            more["top_k"] = top_k
        if more:
            body["additionalModelRequestFields"] = more
        output: dict[str, Any] = {"effort": effort} if effort else {}
        form = request.format
        if form is not None and form.schema is not None:
            schema = {"schema": msgspec.json.encode(form.schema).decode()}
            named = {"name": usable_name(form.name, _MOST_NAME)} if form.name else {}
            said = {"description": form.description} if form.description else {}
            output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema | named | said}}
        if output:
            body["outputConfig"] = output

    def _thinking(self) -> tuple[dict[str, Any], str]:
        return thinking_of(self._request, self._model) if self._claude else ({}, "")

    def _reasoning(self) -> dict[str, Any]:
        """Returns what makes a model of another maker than Claude's think; named where there is no way."""
        effort = self._request.effort
        if self._claude or effort in {None, "none"}:
            return {}
        if "gpt-oss" in self._model:
            return {"reasoning_effort": _EFFORTS.get(str(effort), str(effort))}
        self._dropped.append("reasoning_effort")
        return {}

    def _sample(self, config: dict[str, Any], *, fixed: bool) -> None:
        request = self._request
        for name, ours, value in (
            ("temperature", "temperature", None if request.temperature is None else min(request.temperature, 1.0)),
            ("topP", "top_p", request.top_p),
            ("topK", "top_k", request.top_k),
        ):
            if value is None:
                continue
            # Of temperature and top_p Claude takes one.
            both = self._claude and name == "topP" and "temperature" in config
            if fixed or both or (name == "topK" and not self._claude):
                self._dropped.append(ours)
            else:
                config[name] = value

    # Tools.

    def _tools(self) -> dict[str, Any]:
        request = self._request
        called = any(isinstance(part, Call | Result) for message in request.messages for part in message.parts)
        choice = request.tool_choice
        if not request.tools:
            if called:
                raise Refused(
                    "tools: the provider of this model takes a conversation with calls only with the tools called.",
                    "tools",
                )
            return {}
        if choice is not None and choice.mode == "none":
            if called:
                raise Refused(
                    'tool_choice: "none" cannot be carried to the provider of this model after calls.', "tool_choice"
                )
            return {}
        found: dict[str, Any] = {"tools": [block for tool in request.tools for block in self._tool(tool)]}
        if choice is not None and choice.mode == "named":
            found["toolChoice"] = {"tool": {"name": self._name(choice.name)}}
        elif choice is not None:
            found["toolChoice"] = {"any": {}} if choice.mode == "required" else {"auto": {}}
        return found

    def _tool(self, tool: Tool) -> Iterable[dict[str, Any]]:
        schema = {"type": "object", "properties": {}} | tool.schema
        spec: dict[str, Any] = {"name": self._name(tool.name), "inputSchema": {"json": schema}}
        if tool.description:
            spec["description"] = tool.description
        if tool.strict:
            spec["strict"] = True
        yield {"toolSpec": spec}
        yield from self._mark(tool.cache)

    def _name(self, name: str) -> str:
        usable = usable_name(name, _MOST_NAME)
        if len(usable) > _MOST_NAME:
            # A hash of the whole tells apart what begins alike.
            usable = usable_name(f"{name} ", _MOST_NAME)
        if usable != name:
            self._names[usable] = name
        return usable

    # What is said.

    def _messages(self) -> list[dict[str, Any]]:
        turns: list[tuple[str, list[dict[str, Any]]]] = []
        for message in self._request.messages:
            blocks = list(self._blocks(message))
            if turns and turns[-1][0] == message.role:
                turns[-1][1].extend(blocks)
            else:
                turns.append((message.role, blocks))
        if turns[0][0] == "assistant":
            turns.insert(0, ("user", [{"text": "Go on."}]))
        return [{"role": role, "content": _in_order(blocks)} for role, blocks in turns]

    def _blocks(self, message: Message) -> Iterable[dict[str, Any]]:
        for part in message.parts:
            yield from self._block(part, message.role)

    def _block(self, part: Part, role: str) -> Iterable[dict[str, Any]]:
        if isinstance(part, Text):
            yield from self._text(part) if part.text.strip() else ()
        elif isinstance(part, Image | File):
            yield _image(part) if isinstance(part, Image) else self._document(part)
            yield from self._mark(part.cache)
        elif isinstance(part, Call):
            # Arguments that are no object would be refused, with the whole conversation.
            given = object_of(part.arguments)
            yield {"toolUse": {"toolUseId": _id(part.id), "name": self._name(part.name), "input": given}}
            yield from self._mark(part.cache)
        elif isinstance(part, Result):
            yield self._result(part)
            yield from self._mark(part.cache)
        elif isinstance(part, Thinking):
            yield from _thought(part) if role == "assistant" else ()
        else:
            assert isinstance(part, Audio)
            raise Refused("input_audio cannot be carried to the provider of this model.", "messages")

    def _text(self, part: Text) -> Iterable[dict[str, Any]]:
        yield {"text": part.text}
        yield from self._mark(part.cache)

    def _mark(self, cache: str) -> Iterable[dict[str, Any]]:
        if cache and self._marks:
            self._marks -= 1
            yield {"cachePoint": {"type": "default"} | ({"ttl": cache} if cache != "5m" else {})}

    def _result(self, part: Result) -> dict[str, Any]:
        # No marks within: they have no place there.
        content = [block for one in part.parts for block in self._block(structs.replace(one, cache=""), "user")]
        found: dict[str, Any] = {"toolUseId": _id(part.call_id), "content": content or [{"text": "."}]}
        if part.failed:
            found["status"] = "error"
        return {"toolResult": found}

    def _document(self, part: File) -> dict[str, Any]:
        if part.url:
            raise Refused("A file by its address cannot be carried to the provider: send its data.", "messages")
        kind = _DOCUMENTS.get(true_type(part.mime, part.data).partition(";")[0])
        if kind is None:
            raise Refused(f"A file of type '{part.mime[:60]}' cannot be carried to the provider.", "messages")
        self._documents += 1
        # Names must differ; the number also stands for one that there is not.
        name = _NOT_IN_NAMES.sub(" ", part.name.rpartition(".")[0] or part.name).strip()[:150]
        name = f"{name} {self._documents}" if name else f"document {self._documents}"
        return {"document": {"format": kind, "name": name, "source": {"bytes": part.data}}}


def _image(part: Image) -> dict[str, Any]:
    if part.url:
        raise Refused("An image by its address cannot be carried to the provider: send its data.", "messages")
    kind = _PICTURES.get(true_type(part.mime, part.data))
    if kind is None:
        raise Refused(f"An image of type '{part.mime[:60]}' cannot be carried to the provider.", "messages")
    return {"image": {"format": kind, "source": {"bytes": part.data}}}


def _thought(part: Thinking) -> Iterable[dict[str, Any]]:
    """Thought without proof would be refused."""
    if part.hidden:
        yield {"reasoningContent": {"redactedContent": part.hidden}}
    elif part.signature:
        yield {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}


def _id(call_id: str) -> str:
    usable = usable_name(call_id, _MOST_NAME)
    return (usable if len(usable) <= _MOST_NAME else usable_name(f"{call_id} ", _MOST_NAME)) or "call"


def _in_order(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers of tools come before all else in their message; a document does not stand without words."""
    first = [one for one in blocks if "toolResult" in one]
    rest = [one for one in blocks if "toolResult" not in one]
    if not first and not any("text" in one or "toolUse" in one for one in rest):
        rest.append({"text": "."})
    return first + rest
