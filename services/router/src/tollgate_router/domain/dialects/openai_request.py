"""OpenAI chat bodies, read into a neutral request and written from one.

Written for a provider, what has no place on this wire is left out and named, or refused where the answer would be of
another form than the caller waits for.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.data import address_of, base64_of, split_data_url
from tollgate_router.domain.dialects.google_signature import extra_of, signature_in
from tollgate_router.domain.dialects.members import (
    Known,
    Lost,
    Penalty,
    Share,
    Temperature,
    Whole,
    check,
    check_count,
    read,
)
from tollgate_router.domain.dialects.neutral import (
    Audio,
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
    effort_of,
)
from tollgate_router.domain.dialects.odds import members_of_chat
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks
from tollgate_router.errors import Refused

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_UNDERSTOOD: Final = frozenset(
    (
        *("model", "messages", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"),
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "stream", "stream_options"),
        *("response_format", "reasoning_effort", "user", "safety_identifier"),
        *("seed", "presence_penalty", "frequency_penalty"),
    )
)
# Of the dialect, but nothing that another wire has a place for: their kinds are looked at all the same.
_OTHERS: Final[Mapping[str, Any]] = {
    "audio": dict[str, Any],
    "logit_bias": dict[str, float],
    "logprobs": bool,
    "metadata": dict[str, str],
    "modalities": list[str],
    "n": Whole,
    "prediction": dict[str, Any],
    "prompt_cache_key": str,
    "prompt_cache_retention": str,
    "service_tier": str,
    "store": bool,
    "stream_options": dict[str, Any],
    "top_logprobs": Whole,
    "verbosity": str,
    "web_search_options": dict[str, Any],
}


class _CacheControl(Known):
    type: str = "ephemeral"
    ttl: str = "5m"


class _ImageUrl(Known):
    url: str
    detail: str | None = None


class _InputAudio(Known):
    data: str
    format: str


class _InputFile(Known):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _Part(Known):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _ImageUrl | str | None = None
    input_audio: _InputAudio | None = None
    file: _InputFile | None = None
    cache_control: _CacheControl | None = None


class _CalledFunction(Known):
    name: str
    arguments: str = ""


class _ToolCall(Known):
    function: _CalledFunction
    id: str = ""
    type: str = "function"
    # Of a piece of a stream, which some clients send back as it came.
    index: object = None
    extra_content: msgspec.Raw = msgspec.Raw(b"null")


class _Message(Known):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: _CalledFunction | None = None
    name: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None


class _Function(Known):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(Known):
    type: str
    function: _Function | None = None
    # As in the Responses API, which one client sends here as well.
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: _CacheControl | None = None


class _Name(Known):
    name: str


class _NamedChoice(Known):
    type: str = "function"
    function: _Name | None = None
    name: str | None = None


class StreamOptions(Known):
    """Also of legacy completions."""

    include_usage: object = None
    # How long the pieces are is nobody's question here.
    include_obfuscation: object = None


class _Schema(Known):
    name: str = ""
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class _Format(Known):
    type: str
    json_schema: _Schema | None = None


def read_chat(members: Mapping[str, msgspec.Raw], *, stream: bool, usage_wanted: bool) -> Request:
    """Returns what a chat body asks for. Raises Refused."""
    lost: Lost = {}
    found = read(members, "messages", list[_Message], lost)
    if not found:
        raise Refused("messages must have at least one message.", "messages")
    system, messages = _conversation(found)
    if any(message.name for message in found if message.role != "function"):
        lost["messages.name"] = None
    functions = read(members, "functions", list[_Function], lost) or []
    tools = read(members, "tools", list[_Tool], lost) or []
    check_count((*tools, *functions))
    check(members, _OTHERS)
    read(members, "stream_options", StreamOptions, lost)
    newer, older = read(members, "max_completion_tokens", Whole), read(members, "max_tokens", Whole)
    user, safety = read(members, "user", str), read(members, "safety_identifier", str)
    stop = read(members, "stop", str | list[str])
    return Request(
        messages=messages,
        system=system,
        tools=(*_tools(tools), *map(_tool, functions)),
        tool_choice=_choice(members, lost),
        parallel_calls=read(members, "parallel_tool_calls", bool),
        max_output_tokens=older if newer is None else newer,
        temperature=read(members, "temperature", Temperature),
        top_p=read(members, "top_p", Share),
        top_k=read(members, "top_k", Whole),
        seed=read(members, "seed", Whole),
        presence_penalty=read(members, "presence_penalty", Penalty),
        frequency_penalty=read(members, "frequency_penalty", Penalty),
        stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
        effort=_effort(read(members, "reasoning_effort", str)),
        format=_format(read(members, "response_format", _Format, lost)),
        user=safety or user or "",
        stream=stream,
        usage_wanted=usage_wanted,
        lost=tuple(lost),
        extra={name: raw for name, raw in members.items() if name not in _UNDERSTOOD},
        knows_choices=True,
    )


def _conversation(found: list[_Message]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """Returns the system's words and the turns. Words of the system after the first turn become the user's."""
    system: list[Text] = []
    turns: list[Message] = []
    names: dict[str, str] = {}
    for place, message in enumerate(found):
        where = f"messages[{place}]"
        if message.role in {"system", "developer"}:
            texts = [part for part in _parts(message.content, where) if isinstance(part, Text)]
            if turns:
                turns.append(Message("user", tuple(texts)))
            else:
                system += texts
        elif message.role == "user":
            turns.append(Message("user", tuple(_parts(message.content, where))))
        elif message.role == "assistant":
            turns.append(Message("assistant", tuple(_assistant(message, where, names))))
        elif message.role in {"tool", "function"}:
            turns.append(Message("user", (_result(message, where, names),)))
        else:
            raise Refused(f"{where}.role: unknown role '{message.role[:40]}'.", "messages")
    if not turns:
        raise Refused("messages must have a message of the user.", "messages")
    return tuple(system), tuple(turns)


def _assistant(message: _Message, where: str, names: dict[str, str]) -> Iterable[Part]:
    if message.reasoning_content:
        yield Thinking(message.reasoning_content)
    yield from _parts(message.content, where)
    if message.refusal:
        yield Text(message.refusal)
    for number, call in enumerate(message.tool_calls or ()):
        if call.type != "function":
            raise Refused(f"{where}.tool_calls[{number}].type: only functions can be carried.", "messages")
        names[call.id] = call.function.name
        signature = signature_in(call.extra_content)
        yield Call(call.id, call.function.name, call.function.arguments, signature=signature)
    if message.function_call is not None:
        name = message.function_call.name
        names[name] = name
        yield Call(name, name, message.function_call.arguments)


def _result(message: _Message, where: str, names: dict[str, str]) -> Result:
    call_id = message.tool_call_id if message.role == "tool" else message.name
    if not call_id or call_id not in names:
        raise Refused(f"{where}: answers the tool call '{call_id or ''}', which no message before it made.", "messages")
    parts = tuple(part for part in _parts(message.content, where) if isinstance(part, Text | Image | File))
    return Result(call_id, parts)


def _parts(content: str | list[_Part] | None, where: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_part(part, f"{where}.content[{number}]") for number, part in enumerate(content)]


def _part(part: _Part, where: str) -> Part:
    cache = part.cache_control.ttl if part.cache_control is not None else ""
    if part.type == "text" and part.text is not None:
        return Text(part.text, cache)
    if part.type == "refusal" and part.refusal is not None:
        return Text(part.refusal)
    if part.type == "image_url" and part.image_url is not None:
        image = part.image_url if isinstance(part.image_url, _ImageUrl) else _ImageUrl(part.image_url)
        place = f"{where}.image_url.url"
        if image.url.startswith("data:"):
            mime, data = split_data_url(image.url, place, "messages")
            return Image(mime, data, detail=image.detail or "", cache=cache)
        return Image(url=address_of(image.url, place, "messages"), detail=image.detail or "", cache=cache)
    if part.type == "input_audio" and part.input_audio is not None:
        data = base64_of(part.input_audio.data, f"{where}.input_audio.data", "messages")
        return Audio(part.input_audio.format, data)
    if part.type == "file" and part.file is not None:
        if part.file.file_data is None:
            raise Refused(f"{where}: files are carried by their data; file_id is another account's.", "messages")
        mime, data = split_data_url(part.file.file_data, f"{where}.file.file_data", "messages")
        return File(part.file.filename or "", mime, data, cache=cache)
    raise Refused(f"{where}.type: '{part.type[:40]}' is unknown, or its member is missing.", "messages")


def _tools(found: list[_Tool]) -> Iterable[Tool]:
    for place, tool in enumerate(found):
        function = tool.function
        if function is None and tool.name is not None:
            function = _Function(tool.name, tool.description, tool.parameters, tool.strict)
        if tool.type != "function" or function is None:
            raise Refused(f"tools[{place}]: only functions can be carried to this provider.", "tools")
        yield _tool(function, tool.cache_control.ttl if tool.cache_control is not None else "")


def _tool(function: _Function, cache: str = "") -> Tool:
    return Tool(function.name, function.description or "", function.parameters or {}, function.strict, cache)


def _choice(members: Mapping[str, msgspec.Raw], lost: Lost) -> ToolChoice | None:
    name = "tool_choice" if "tool_choice" in members else "function_call"
    found = read(members, name, str | _NamedChoice, lost)
    if found is None:
        return None
    if isinstance(found, str):
        if found not in {"auto", "none", "required"}:
            raise Refused(f"{name}: expected auto, none, required or a function.", name)
        return ToolChoice(found)  # type: ignore[arg-type]  # One of the words; checked above.
    named = found.function.name if found.function is not None else found.name
    if not named:
        raise Refused(f"{name}: only a function can be chosen.", name)
    return ToolChoice("named", named)


def _effort(said: str | None) -> Any:
    if said is not None and said not in _EFFORTS:
        raise Refused(f"reasoning_effort: expected one of {', '.join(_EFFORTS)}.", "reasoning_effort")
    return said


def _format(found: _Format | None) -> Format | None:
    if found is None or found.type == "text":
        return None
    if found.type == "json_object":
        return Format()
    if found.type != "json_schema" or found.json_schema is None:
        raise Refused("response_format.type: expected text, json_object or json_schema.", "response_format")
    schema = found.json_schema
    return Format(schema.name, schema.description or "", schema.schema or {}, schema.strict)


# Written.

# Of Anthropic's dialect: without them the answer would be another one.
_REFUSED: Final = frozenset({"mcp_servers", "container"})
# The wire's owner refuses more.
_MOST_STOPS: Final = 4


def write_chat(
    request: Request, model: str, *, max_tokens_name: str = "max_tokens", quirks: WireQuirks = NO_QUIRKS
) -> tuple[bytes, tuple[str, ...]]:
    """Returns the body for a provider, and the names of what was left out. Raises Refused.

    `max_tokens_name`: what the provider calls the limit of output. `quirks`: in what it differs from the wire.
    """
    for name in _REFUSED.intersection(request.extra):
        raise Refused(f"{name} cannot be carried to the provider of this model.", name)
    taken = members_of_chat(request)
    dropped = [name for name in request.extra if name not in taken]
    if request.top_k is not None:
        dropped.append("top_k")
    if len(request.stop) > _MOST_STOPS:
        dropped.append("stop_sequences")
    settings = {
        max_tokens_name: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "reasoning_effort": "none"
        if request.thinking == "disabled" and quirks.can_switch_off
        else _written_effort(request),
        "user": request.user or None,
        "stop": list(request.stop[:_MOST_STOPS]) or None,
        "response_format": None if request.format is None else _write_format(request.format),
    }
    body: dict[str, Any] = {"model": model, "messages": _write_messages(request, quirks)}
    body |= {name: value for name, value in settings.items() if value is not None}
    body |= _write_tools(request) | taken
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body), tuple(dropped)


def _write_tools(request: Request) -> dict[str, Any]:
    if not request.tools:
        return {}
    found: dict[str, Any] = {"tools": [_write_tool(tool) for tool in request.tools]}
    if request.tool_choice is not None:
        found["tool_choice"] = _write_choice(request.tool_choice)
    if request.parallel_calls is not None:
        found["parallel_tool_calls"] = request.parallel_calls
    return found


def _written_effort(request: Request) -> str | None:
    if request.effort is not None:
        return request.effort
    if request.thinking == "enabled" and request.thinking_budget:
        return effort_of(request.thinking_budget)
    return None


def _write_messages(request: Request, quirks: WireQuirks) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    if request.system:
        out.append({"role": "system", "content": "\n\n".join(text.text for text in request.system)})
    for message in request.messages:
        if message.role == "assistant":
            out.append(_write_assistant(message.parts, quirks))
        else:
            out += _write_user(message.parts)
    return out


def _write_assistant(parts: tuple[Part, ...], quirks: WireQuirks) -> dict[str, Any]:
    """Thinking stays away where nobody asks for it: its signature proves it to its own maker only."""
    text = "".join(part.text for part in parts if isinstance(part, Text))
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        | (extra_of(part.signature) if quirks.keeps_extra else {})
        for part in parts
        if isinstance(part, Call)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if calls:
        message["tool_calls"] = calls
    thought = "".join(part.text for part in parts if isinstance(part, Thinking)) if quirks.takes_thoughts else ""
    return message | {"reasoning_content": thought} if thought else message


def _write_user(parts: tuple[Part, ...]) -> Iterable[dict[str, Any]]:
    """Yields the answers of tools first, as messages of their own; their pictures follow in the user's."""
    rest: list[Part] = []
    for part in parts:
        if isinstance(part, Result):
            texts = [one.text for one in part.parts if isinstance(one, Text)]
            words = "\n".join(texts) or ("(see the attachment below)" if part.parts else "")
            yield {"role": "tool", "tool_call_id": part.call_id, "content": words}
            rest += [one for one in part.parts if not isinstance(one, Text)]
        else:
            rest.append(part)
    if rest:
        alone = rest[0] if len(rest) == 1 else None
        content = alone.text if isinstance(alone, Text) else [_write_part(part) for part in rest]
        yield {"role": "user", "content": content}


def _write_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or f"data:{part.mime};base64,{part.data}"
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    if isinstance(part, File):
        if part.url:
            raise Refused("A document by its address cannot be carried to the provider of this model.", "messages")
        data = f"data:{part.mime};base64,{part.data}"
        return {"type": "file", "file": {"filename": part.name or "document", "file_data": data}}
    raise Refused("A message of the user holds what only an assistant says.", "messages")


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.schema or {"type": "object", "properties": {}}}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _write_choice(choice: ToolChoice) -> Any:
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "named" else choice.mode


def _write_format(found: Format) -> dict[str, Any]:
    if found.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": found.name or "answer", "schema": found.schema}
    if found.description:
        schema["description"] = found.description
    if found.strict is not None:
        schema["strict"] = found.strict
    return {"type": "json_schema", "json_schema": schema}
