"""Gemini bodies, read into a neutral request. Members may be named in camelCase or snake_case, as at the vendor."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from tollgate_router.domain.dialects.data import address_of, base64_of
from tollgate_router.domain.dialects.members import (
    Known,
    Lost,
    Penalty,
    Share,
    Temperature,
    Whole,
    check,
    check_count,
    convert,
    read,
)
from tollgate_router.domain.dialects.neutral import (
    CHOICES,
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
)
from tollgate_router.domain.dialects.odds import MOST_OTHERS, ODDS
from tollgate_router.errors import Refused

_SNAKE: Final = re.compile(r"_([a-z])")
_MODES: Final = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none"}
_UNDERSTOOD: Final = frozenset(("contents", "systemInstruction", "tools", "toolConfig", "generationConfig"))
# Below these the caller chooses the names.
_FREE: Final = frozenset(
    ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels")
)
# Of the dialect, but nothing that another wire has a place for: their kinds are looked at all the same.
_OTHERS: Final[Mapping[str, Any]] = {"labels": dict[str, str], "safetySettings": list[dict[str, Any]], "store": bool}


class _Blob(Known, rename="camel"):
    mime_type: str
    data: str


class _FileData(Known, rename="camel"):
    file_uri: str
    mime_type: str = ""


class _FunctionCall(Known):
    name: str
    id: str | None = None
    args: dict[str, Any] | None = None


class _FunctionResponse(Known):
    name: str = ""
    id: str | None = None
    response: dict[str, Any] | None = None


class _Part(Known, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    inline_data: _Blob | None = None
    file_data: _FileData | None = None
    function_call: _FunctionCall | None = None
    function_response: _FunctionResponse | None = None
    thought_signature: str | None = None


class _Content(Known):
    role: str | None = None
    parts: list[_Part] | None = None


class _Function(Known, rename="camel"):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class _Tool(Known, rename="camel"):
    function_declarations: list[_Function] | None = None


class _Calling(Known, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class _ToolConfig(Known, rename="camel"):
    function_calling_config: _Calling | None = None


class _Thinking(Known, rename="camel"):
    thinking_budget: Whole | None = None
    thinking_level: str | None = None
    include_thoughts: bool | None = None


class _Config(Known, rename="camel"):
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Whole | None = None
    max_output_tokens: Whole | None = None
    stop_sequences: list[str] | None = None
    candidate_count: Whole | None = None
    seed: Whole | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    thinking_config: _Thinking | None = None
    response_logprobs: bool | None = None
    response_modalities: list[str] | None = None
    logprobs: Whole | None = None


# What makes a part one of a kind that is carried, and what may stand beside it.
_PARTS: Final = ("inlineData", "fileData", "functionCall", "functionResponse")


def read_contents(members: Mapping[str, msgspec.Raw], *, stream: bool) -> Request:
    """Returns what a body asks for. Raises Refused."""
    found = {_camel(name): raw for name, raw in members.items() if name != "model"}
    said = _plain(found, "contents")
    lost: Lost = {}
    contents = convert(_in_a_list(said), list[_Content], "contents", lost)
    if not contents:
        raise Refused("contents: at least one is required", "contents")
    given = _plain(found, "generationConfig")
    config = convert({} if given is None else given, _Config, "generationConfig", lost)
    _refuse(found, config)
    check(found, _OTHERS)
    if config.response_mime_type not in {None, "", "text/plain", "application/json"}:
        lost["generationConfig.responseMimeType"] = None
    if config.logprobs is not None and not config.response_logprobs:
        lost["generationConfig.logprobs"] = None
    thinking = config.thinking_config or _Thinking()
    budget, level = thinking.thinking_budget, (thinking.thinking_level or "").lower()
    if level not in {"", "minimal", "low", "medium", "high"}:
        raise Refused(
            "generationConfig.thinkingConfig.thinkingLevel: expected MINIMAL, LOW, MEDIUM or HIGH", "generationConfig"
        )
    return Request(
        messages=tuple(_Conversation(lost).read(contents, _in_a_list(said))),
        system=tuple(_system(_plain(found, "systemInstruction"), lost)),
        tools=tuple(_tools(_plain(found, "tools"), lost)),
        tool_choice=_choice(convert(_plain(found, "toolConfig"), _ToolConfig | None, "toolConfig", lost)),
        max_output_tokens=config.max_output_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        seed=config.seed,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        stop=tuple(config.stop_sequences or ()),
        effort="none" if budget == 0 else level or None,  # type: ignore[arg-type]  # One of the words; checked.
        thinking=_wish(thinking),
        thinking_budget=budget if budget is not None and budget > 0 else None,
        format=_format(config),
        stream=stream,
        usage_wanted=True,
        extra=_extra(found, config),
        knows_choices=True,
        lost=tuple(lost),
    )


def _extra(found: Mapping[str, msgspec.Raw], config: _Config) -> dict[str, msgspec.Raw]:
    extra = {name: raw for name, raw in found.items() if name not in _UNDERSTOOD}
    if config.candidate_count not in {None, 0, 1}:
        extra[CHOICES] = msgspec.Raw(b"%d" % config.candidate_count)
    if config.response_logprobs:
        extra[ODDS] = msgspec.Raw(b"true")
        if config.logprobs is not None:
            extra[MOST_OTHERS] = msgspec.Raw(b"%d" % config.logprobs)
    return extra


def _wish(asked: _Thinking) -> Literal["", "enabled", "adaptive"]:
    """Returns what is wished for; who wants to see thoughts wants the model to think as it sees fit."""
    if asked.thinking_budget is not None and asked.thinking_budget > 0:
        return "enabled"
    return "adaptive" if asked.include_thoughts and asked.thinking_budget != 0 else ""


def _refuse(found: Mapping[str, msgspec.Raw], config: _Config) -> None:
    """What would make the answer one of another form cannot be carried."""
    if "cachedContent" in found:
        raise Refused("cachedContent is of the vendor of Gemini, which does not serve this model.", "cachedContent")
    wrong = {
        "responseModalities": bool(set(config.response_modalities or ()) - {"TEXT"}),
    }
    for name, said in wrong.items():
        if said:
            raise Refused(f"generationConfig.{name} cannot be carried to the provider of this model.", name)


class _Conversation:
    """Gives calls ids where they have none, and answers the id of the call of that name which waits the longest."""

    def __init__(self, lost: Lost) -> None:
        self._lost = lost
        self._count = 0
        self._waiting: list[tuple[str, str]] = []

    def read(self, contents: Iterable[_Content], said: list[Any]) -> Iterable[Message]:
        """Yields the turns; `said` is what they were read from, for the names of what is not known."""
        for place, content in enumerate(contents):
            where = f"contents[{place}]"
            role = content.role or "user"
            if role not in {"user", "model", "function"}:
                raise Refused(f"{where}.role: expected user or model", "contents")
            found = [
                self._part(part, f"{where}.parts[{number}]", said[place]["parts"][number], assistant=role == "model")
                for number, part in enumerate(content.parts or ())
            ]
            yield Message("assistant" if role == "model" else "user", tuple(found))

    def _part(self, part: _Part, where: str, said: Mapping[str, Any], *, assistant: bool) -> Part:
        if part.thought_signature and part.function_call is None:
            self._lost["contents.parts.thoughtSignature"] = None
        if part.text is not None:
            return Thinking(part.text) if part.thought and assistant else Text(part.text)
        if part.inline_data is not None:
            return _blob(part.inline_data, f"{where}.inlineData")
        if part.file_data is not None:
            mime = part.file_data.mime_type
            url = address_of(part.file_data.file_uri, f"{where}.fileData.fileUri", "contents")
            return Image(mime, url=url) if mime.startswith("image/") else File(mime=mime, url=url)
        if part.function_call is not None:
            if not assistant:
                raise Refused(f"{where}.functionCall: only the model calls functions", "contents")
            return self._call(part.function_call, part.thought_signature or "")
        if part.function_response is not None:
            return self._answer(part.function_response, f"{where}.functionResponse")
        names = ", ".join(sorted(said)) or "nothing"
        raise Refused(f"{where}: {names[:80]} cannot be carried to the provider of this model", "contents")

    def _call(self, call: _FunctionCall, signature: str) -> Call:
        self._count += 1
        call_id = call.id or f"call_{self._count}"
        self._waiting.append((call_id, call.name))
        return Call(call_id, call.name, msgspec.json.encode(call.args or {}).decode(), signature=signature)

    def _answer(self, answer: _FunctionResponse, where: str) -> Result:
        found = next(
            (one for one in self._waiting if (one[0] == answer.id if answer.id else one[1] == answer.name)), None
        )
        if found is None:
            raise Refused(f"{where}: no functionCall before it is answered by this", "contents")
        self._waiting.remove(found)
        response = answer.response
        if response is not None and len(response) == 1 and isinstance(response.get("result"), str):
            return Result(found[0], (Text(response["result"]),))
        return Result(found[0], (Text(msgspec.json.encode(response).decode()),))


def _blob(found: _Blob, where: str) -> Image | Audio | File:
    mime, data = found.mime_type, base64_of(found.data, f"{where}.data", "contents")
    if not mime:
        raise Refused(f"{where}.mimeType: required", "contents")
    if mime.startswith("audio/"):
        return Audio(mime.partition("/")[2], data)
    return Image(mime, data) if mime.startswith("image/") else File(mime=mime, data=data)


def _system(found: Any, lost: Lost) -> Iterable[Text]:
    if isinstance(found, str):
        yield Text(found)
        return
    content = convert(found, _Content | None, "systemInstruction", lost)
    for number, part in enumerate((content.parts if content is not None else None) or ()):
        if part.text is None:
            raise Refused(f"systemInstruction.parts[{number}]: only text", "systemInstruction")
        yield Text(part.text)


def _tools(found: Any, lost: Lost) -> Iterable[Tool]:
    tools = convert(found, list[_Tool] | None, "tools", lost) or []
    for place, one in enumerate(found or ()):
        for name in one:
            if name != "functionDeclarations":
                raise Refused(f"tools[{place}].{name} runs at the vendor of Gemini, not of this model.", "tools")
    declared = [function for tool in tools for function in tool.function_declarations or ()]
    check_count(declared)
    for function in declared:
        schema = function.parameters_json_schema or function.parameters or {}
        yield Tool(function.name, function.description or "", json_schema(schema))


def _choice(found: _ToolConfig | None) -> ToolChoice | None:
    if found is None:
        return None
    calling = found.function_calling_config or _Calling()
    mode, where = (calling.mode or "").upper() or "AUTO", "toolConfig.functionCallingConfig"
    if mode not in _MODES:
        raise Refused(f"{where}.mode: expected AUTO, ANY or NONE", "toolConfig")
    names = calling.allowed_function_names or []
    if mode == "ANY" and len(names) == 1:
        return ToolChoice("named", names[0])
    if names:
        raise Refused(f"{where}.allowedFunctionNames: one or none can be carried to this provider", "toolConfig")
    return ToolChoice(_MODES[mode])  # type: ignore[arg-type]  # One of the words; checked above.


def _format(config: _Config) -> Format | None:
    schema = config.response_json_schema or config.response_schema
    if schema is not None:
        return Format(schema=json_schema(schema))
    return Format() if config.response_mime_type == "application/json" else None


def json_schema(found: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema whose types are in lower case, as JSON Schema has them."""
    return {name: _lowered(name, value) for name, value in found.items()}


def _lowered(name: str, found: Any) -> Any:
    if isinstance(found, list):
        return [_lowered("", one) for one in found]
    if isinstance(found, dict):
        return json_schema(found)
    return found.lower() if name == "type" and isinstance(found, str) else found


def _camel(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def _plain(members: Mapping[str, msgspec.Raw], name: str) -> Any:
    """Returns a member with its names in camelCase, down to where the caller chooses them."""
    return _camelled(read(members, name, object)) if name in members else None


def _camelled(found: Any) -> Any:
    if isinstance(found, list):
        return [_camelled(one) for one in found]
    if not isinstance(found, dict):
        return found
    named = {_camel(name): value for name, value in found.items()}
    return {name: value if name in _FREE else _camelled(value) for name, value in named.items()}


def _in_a_list(found: Any) -> Any:
    """The vendor takes one turn, or its words, for a list of one."""
    if isinstance(found, dict):
        return [found]
    return [{"parts": [{"text": found}]}] if isinstance(found, str) else found or []
