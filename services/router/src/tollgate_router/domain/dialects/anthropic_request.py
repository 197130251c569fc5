"""Anthropic Messages bodies, read into a neutral request."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.data import address_of, base64_of
from tollgate_router.domain.dialects.members import Known, Lost, Share, Temperature, Whole, check, check_count, read
from tollgate_router.domain.dialects.neutral import (
    Call,
    File,
    Format,
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

_UNDERSTOOD: Final = frozenset(
    (
        *("model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k"),
        *("stop_sequences", "thinking", "output_config", "metadata", "stream"),
    )
)
_EFFORTS: Final = frozenset(("low", "medium", "high", "xhigh", "max"))
# Of the dialect, but nothing that another wire has a place for: their kinds are looked at all the same.
_OTHERS: Final[Mapping[str, Any]] = {
    "container": str | dict[str, Any],
    "context_management": dict[str, Any],
    "inference_geo": str,
    "mcp_servers": list[Any],
    "service_tier": str,
}


class _CacheControl(Known):
    type: str = "ephemeral"
    ttl: str = "5m"


class _Source(Known):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class _Block(Known):
    type: str
    text: str | None = None
    source: _Source | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str | None = None
    content: "str | list[_Block] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    # Who called: the model itself, where there are no tools of its vendor.
    caller: object = None
    cache_control: _CacheControl | None = None

    @property
    def cache(self) -> str:
        return self.cache_control.ttl if self.cache_control is not None else ""


class _Message(Known):
    role: str
    content: str | list[_Block]


class _Tool(Known):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: _CacheControl | None = None


class _Choice(Known):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(Known):
    type: str
    budget_tokens: Whole | None = None


class _Format(Known):
    type: str
    schema: dict[str, Any] | None = None


class _OutputConfig(Known):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(Known):
    user_id: str | None = None


def read_messages(members: Mapping[str, msgspec.Raw], *, stream: bool) -> Request:
    """Returns what a Messages body asks for. Raises Refused."""
    lost: Lost = {}
    found = read(members, "messages", list[_Message], lost)
    if not found:
        raise Refused("messages: at least one message is required", "messages")
    choice = read(members, "tool_choice", _Choice, lost)
    thinking = read(members, "thinking", _Thinking, lost)
    output = read(members, "output_config", _OutputConfig, lost) or _OutputConfig()
    metadata = read(members, "metadata", _Metadata, lost)
    if output.effort is not None and output.effort not in _EFFORTS:
        raise Refused(f"output_config.effort: expected one of {', '.join(sorted(_EFFORTS))}", "output_config")
    if thinking is not None and thinking.type not in {"enabled", "adaptive", "disabled"}:
        raise Refused("thinking.type: expected enabled, adaptive or disabled", "thinking")
    tools = read(members, "tools", list[_Tool], lost) or []
    check_count(tools)
    check(members, _OTHERS)
    calls: set[str] = set()
    return Request(
        messages=tuple(_message(message, f"messages.{place}", calls) for place, message in enumerate(found)),
        system=tuple(_system(read(members, "system", str | list[_Block], lost))),
        tools=tuple(_tools(tools)),
        tool_choice=None if choice is None else _choice(choice),
        parallel_calls=False if choice is not None and choice.disable_parallel_tool_use else None,
        max_output_tokens=read(members, "max_tokens", Whole),
        temperature=read(members, "temperature", Temperature),
        top_p=read(members, "top_p", Share),
        top_k=read(members, "top_k", Whole),
        stop=tuple(read(members, "stop_sequences", list[str]) or ()),
        effort=output.effort,  # type: ignore[arg-type]  # One of the words; checked.
        thinking=thinking.type if thinking is not None else "",
        thinking_budget=thinking.budget_tokens if thinking is not None else None,
        format=None if output.format is None else Format(schema=output.format.schema),
        user=(metadata.user_id or "") if metadata is not None else "",
        stream=stream,
        usage_wanted=True,
        lost=tuple(lost),
        extra={name: raw for name, raw in members.items() if name not in _UNDERSTOOD},
    )


def _system(found: str | list[_Block] | None) -> Iterable[Text]:
    if isinstance(found, str):
        if found:
            yield Text(found)
        return
    for place, block in enumerate(found or ()):
        if block.type != "text" or block.text is None:
            raise Refused(f"system.{place}.type: only text", "system")
        yield Text(block.text, block.cache)


def _message(message: _Message, where: str, calls: set[str]) -> Message:
    if message.role not in {"user", "assistant", "system"}:
        raise Refused(f"{where}.role: expected user or assistant, found '{message.role[:40]}'", "messages")
    if isinstance(message.content, str):
        parts: tuple[Part, ...] = (Text(message.content),) if message.content else ()
    else:
        parts = tuple(_part(block, f"{where}.content.{number}", calls) for number, block in enumerate(message.content))
    return Message("assistant" if message.role == "assistant" else "user", parts)


def _part(block: _Block, where: str, calls: set[str]) -> Part:
    if block.type == "text" and block.text is not None:
        return Text(block.text, block.cache)
    if block.type in {"image", "document"} and block.source is not None:
        return _document(block, block.source, where)
    if block.type == "tool_use" and block.id and block.name:
        calls.add(block.id)
        return Call(block.id, block.name, _arguments(block.input, where), block.cache)
    if block.type == "tool_result" and block.tool_use_id:
        if block.tool_use_id not in calls:
            raise Refused(f"{where}: no tool_use block before it has the id '{block.tool_use_id[:80]}'", "messages")
        return Result(block.tool_use_id, _answer(block.content, where), bool(block.is_error), block.cache)
    if block.type == "thinking" and block.thinking is not None:
        return Thinking(block.thinking, block.signature or "")
    if block.type == "redacted_thinking" and block.data is not None:
        return Thinking(hidden=block.data)
    raise Refused(
        f"{where}.type: '{block.type[:40]}' cannot be carried to the provider of this model, or its member is missing",
        "messages",
    )


def _arguments(found: msgspec.Raw, where: str) -> str:
    text = bytes(found).decode()
    if text == "null":
        return "{}"
    if not text.startswith("{"):
        raise Refused(f"{where}.input: expected an object", "messages")
    return text


def _answer(content: str | list[_Block] | None, where: str) -> tuple[Text | Image | File, ...]:
    if content is None or content == "":
        return ()
    if isinstance(content, str):
        return (Text(content),)
    found = [_part(block, f"{where}.content.{number}", set()) for number, block in enumerate(content)]
    return tuple(part for part in found if isinstance(part, Text | Image | File))


def _document(block: _Block, source: _Source, where: str) -> Image | File:
    if source.type not in {"base64", "url", "text"}:
        raise Refused(f"{where}.source.type: '{source.type[:40]}' cannot be carried to this provider", "messages")
    data, url = "", ""
    if source.type == "url":
        url = address_of(source.url, f"{where}.source.url", "messages")
    elif source.type == "base64":
        data = base64_of(source.data, f"{where}.source.data", "messages")
    else:
        # Another dialect knows documents as files.
        data = base64.b64encode(source.data.encode(errors="replace")).decode()
    if block.type == "image":
        return Image(source.media_type, data, url, cache=block.cache)
    return File(block.title or "", source.media_type, data, url, cache=block.cache)


def _tools(found: list[_Tool]) -> Iterable[Tool]:
    for place, tool in enumerate(found):
        if tool.type not in {None, "custom"}:
            raise Refused(
                f"tools.{place}.type: '{(tool.type or '')[:40]}' runs at the vendor of Claude, which does not serve "
                "this model. Leave it out, or ask for a model of theirs.",
                "tools",
            )
        cache = tool.cache_control.ttl if tool.cache_control is not None else ""
        yield Tool(tool.name, tool.description or "", tool.input_schema or {}, tool.strict, cache)


def _choice(found: _Choice) -> ToolChoice:
    if found.type == "tool" and found.name:
        return ToolChoice("named", found.name)
    modes: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}
    if found.type not in modes:
        raise Refused("tool_choice.type: expected auto, any, none or tool", "tool_choice")
    return ToolChoice(modes[found.type])
