"""Gemini bodies, read into a neutral request. Members may be named in camelCase or snake_case, as at the vendor."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.members import read
from tollgate_router.domain.dialects.neutral import (
    Audio,
    Call,
    File,
    Format,
    Image,
    Message,
    Part,
    Refused,
    Request,
    Result,
    Text,
    Thinking,
    Tool,
    ToolChoice,
)

_SNAKE: Final = re.compile(r"_([a-z])")
_MODES: Final = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none"}
_UNDERSTOOD: Final = frozenset(("contents", "systemInstruction", "tools", "toolConfig", "generationConfig"))
_CONFIGURED: Final = frozenset(
    (
        *("temperature", "topP", "topK", "maxOutputTokens", "stopSequences", "candidateCount", "seed"),
        *("presencePenalty", "frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema"),
        *("thinkingConfig", "responseLogprobs", "responseModalities", "logprobs"),
    )
)


def read_contents(members: Mapping[str, msgspec.Raw], *, stream: bool) -> Request:
    """Returns what a body asks for. Raises Refused."""
    found = {_camel(name): raw for name, raw in members.items() if name != "model"}
    contents = _list(read(found, "contents", object), "contents")
    if not contents:
        raise Refused("contents: at least one is required", "contents")
    config = _object(read(found, "generationConfig", object) or {}, "generationConfig")
    _refuse(found, config)
    tools = tuple(_tools(read(found, "tools", object) or []))
    thinking = _object(config.get("thinkingConfig") or {}, "generationConfig.thinkingConfig")
    budget = _number(thinking, "thinkingBudget", int)
    level = _word(thinking, "thinkingLevel").lower()
    if level not in {"", "minimal", "low", "medium", "high"}:
        raise Refused("thinkingConfig.thinkingLevel: expected MINIMAL, LOW, MEDIUM or HIGH", "generationConfig")
    return Request(
        messages=tuple(_Conversation().read(contents)),
        system=tuple(_system(read(found, "systemInstruction", object))),
        tools=tools,
        tool_choice=_choice(read(found, "toolConfig", object)),
        max_output_tokens=_number(config, "maxOutputTokens", int),
        temperature=_number(config, "temperature", float),
        top_p=_number(config, "topP", float),
        top_k=_number(config, "topK", int),
        seed=_number(config, "seed", int),
        presence_penalty=_number(config, "presencePenalty", float),
        frequency_penalty=_number(config, "frequencyPenalty", float),
        stop=tuple(str(stop) for stop in _list(config.get("stopSequences") or [], "generationConfig.stopSequences")),
        effort="none" if budget == 0 else level or None,  # type: ignore[arg-type]
        thinking="enabled" if budget is not None and budget > 0 else "",
        thinking_budget=budget if budget is not None and budget > 0 else None,
        format=_format(config),
        stream=stream,
        usage_wanted=True,
        extra={name: raw for name, raw in found.items() if name not in _UNDERSTOOD}
        | {name: msgspec.Raw(b"true") for name in config if name not in _CONFIGURED},
    )


def _refuse(found: Mapping[str, msgspec.Raw], config: Mapping[str, Any]) -> None:
    """What would make the answer one of another form cannot be carried."""
    if "cachedContent" in found:
        raise Refused("cachedContent is of the vendor of Gemini, which does not serve this model.", "cachedContent")
    modalities = _list(config.get("responseModalities") or [], "generationConfig.responseModalities")
    wrong = {
        "candidateCount": config.get("candidateCount") not in {None, 1},
        "responseLogprobs": bool(config.get("responseLogprobs")),
        "responseModalities": bool(set(map(str, modalities)) - {"TEXT"}),
    }
    for name, said in wrong.items():
        if said:
            raise Refused(f"generationConfig.{name} cannot be carried to the provider of this model.", name)


class _Conversation:
    """Gives calls ids where they have none, and answers the id of the call of that name which waits the longest."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[tuple[str, str]] = []

    def read(self, contents: Iterable[Any]) -> Iterable[Message]:
        for place, content in enumerate(contents):
            where = f"contents[{place}]"
            found = _object(content, where)
            role = found.get("role") or "user"
            if role not in {"user", "model", "function"}:
                raise Refused(f"{where}.role: expected user or model", "contents")
            parts = _list(found.get("parts") or [], f"{where}.parts")
            read = tuple(self._part(part, f"{where}.parts[{number}]") for number, part in enumerate(parts))
            yield Message("assistant" if role == "model" else "user", read)

    def _part(self, found: Any, where: str) -> Part:
        part = _object(found, where)
        if isinstance(text := part.get("text"), str):
            return Thinking(text) if part.get("thought") else Text(text)
        if "inlineData" in part:
            return _blob(_object(part["inlineData"], f"{where}.inlineData"), where)
        if "fileData" in part:
            file = _object(part["fileData"], f"{where}.fileData")
            mime, url = _word(file, "mimeType"), _word(file, "fileUri")
            return Image(mime, url=url) if mime.startswith("image/") else File(mime=mime, url=url)
        if "functionCall" in part:
            return self._call(_object(part["functionCall"], f"{where}.functionCall"))
        if "functionResponse" in part:
            return self._answer(_object(part["functionResponse"], f"{where}.functionResponse"), where)
        names = ", ".join(sorted(part)) or "nothing"
        raise Refused(f"{where}: {names[:80]} cannot be carried to the provider of this model", "contents")

    def _call(self, call: Mapping[str, Any]) -> Call:
        self._count += 1
        call_id, name = _word(call, "id") or f"call_{self._count}", _word(call, "name")
        self._waiting.append((call_id, name))
        return Call(call_id, name, msgspec.json.encode(call.get("args") or {}).decode())

    def _answer(self, answer: Mapping[str, Any], where: str) -> Result:
        call_id, name = _word(answer, "id"), _word(answer, "name")
        found = next((one for one in self._waiting if (one[0] == call_id if call_id else one[1] == name)), None)
        if found is None:
            raise Refused(f"{where}: no functionCall before it is answered by this", "contents")
        self._waiting.remove(found)
        response = answer.get("response")
        if isinstance(response, dict) and len(response) == 1 and isinstance(response.get("result"), str):
            return Result(found[0], (Text(response["result"]),))
        return Result(found[0], (Text(msgspec.json.encode(response).decode()),))


def _blob(found: Mapping[str, Any], where: str) -> Image | Audio | File:
    mime, data = _word(found, "mimeType"), _word(found, "data")
    if not mime or not data:
        raise Refused(f"{where}.inlineData: mimeType and data are required", "contents")
    if mime.startswith("audio/"):
        return Audio(mime.partition("/")[2], data)
    return Image(mime, data) if mime.startswith("image/") else File(mime=mime, data=data)


def _system(found: Any) -> Iterable[Text]:
    if found is None:
        return
    if isinstance(found, str):
        yield Text(found)
        return
    for number, part in enumerate(_list(_object(found, "systemInstruction").get("parts") or [], "systemInstruction")):
        text = _object(part, f"systemInstruction.parts[{number}]").get("text")
        if not isinstance(text, str):
            raise Refused(f"systemInstruction.parts[{number}]: only text", "systemInstruction")
        yield Text(text)


def _tools(found: Any) -> Iterable[Tool]:
    for place, one in enumerate(_list(found, "tools")):
        tool = _object(one, f"tools[{place}]")
        for name in tool:
            if name != "functionDeclarations":
                raise Refused(f"tools[{place}].{name} runs at the vendor of Gemini, not of this model.", "tools")
        for number, declared in enumerate(_list(tool.get("functionDeclarations") or [], f"tools[{place}]")):
            function = _object(declared, f"tools[{place}].functionDeclarations[{number}]")
            schema = function.get("parametersJsonSchema") or function.get("parameters") or {}
            yield Tool(_word(function, "name"), _word(function, "description"), json_schema(schema))


def _choice(found: Any) -> ToolChoice | None:
    if found is None:
        return None
    calling = _object(_object(found, "toolConfig").get("functionCallingConfig") or {}, "toolConfig")
    mode = _word(calling, "mode").upper() or "AUTO"
    if mode not in _MODES:
        raise Refused("toolConfig.functionCallingConfig.mode: expected AUTO, ANY or NONE", "toolConfig")
    names = _list(calling.get("allowedFunctionNames") or [], "toolConfig.functionCallingConfig.allowedFunctionNames")
    if mode == "ANY" and len(names) == 1:
        return ToolChoice("named", str(names[0]))
    if names:
        raise Refused("allowedFunctionNames: one or none can be carried to this provider", "toolConfig")
    return ToolChoice(_MODES[mode])  # type: ignore[arg-type]


def _format(config: Mapping[str, Any]) -> Format | None:
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is not None:
        return Format(schema=json_schema(schema))
    return Format() if _word(config, "responseMimeType") == "application/json" else None


def json_schema(found: Any) -> dict[str, Any]:
    """Returns a schema whose types are in lower case, as JSON Schema has them."""
    lowered = _lowered(found)
    return lowered if isinstance(lowered, dict) else {}


def _lowered(found: Any) -> Any:
    if isinstance(found, list):
        return [_lowered(one) for one in found]
    if not isinstance(found, dict):
        return found
    plain = {name: _lowered(value) for name, value in found.items()}
    if isinstance(kind := plain.get("type"), str):
        plain["type"] = kind.lower()
    return plain


def _camel(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name)


def _object(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Refused(f"{where}: expected an object", where.partition("[")[0].partition(".")[0])
    return {_camel(name): value for name, value in found.items()}


def _list(found: Any, where: str) -> list[Any]:
    if isinstance(found, list):
        return found
    if where == "contents" and isinstance(found, dict | str):
        return [found if isinstance(found, dict) else {"parts": [{"text": found}]}]
    raise Refused(f"{where}: expected a list", where.partition("[")[0].partition(".")[0])


def _word(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"{name}: expected text", name)
    return value or ""


def _number(found: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise Refused(f"{name}: expected a number", name)
    return value
