"""Gemini bodies for a provider, written from a neutral request."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tollgate_router.domain.dialects.members import object_of, parse_json, true_type
from tollgate_router.domain.dialects.neutral import (
    BUDGETS,
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
    ToolChoice,
    choices_of,
)
from tollgate_router.domain.dialects.odds import MOST_OTHERS, asks_odds, members_of_chat
from tollgate_router.errors import Refused

# Without these the answer would be of another form than the caller waits for; a value that asks for nothing may go.
_REFUSED: Final = {
    "audio": (),
    "modalities": (b'["text"]',),
    "web_search_options": (),
    "mcp_servers": (b"[]",),
    "container": (),
}
_NOTHING: Final = frozenset((b"null", b"false", b"{}", b"[]", b"0", b"0.0", b"1", b'["text"]'))
# The vendor takes it where a call comes back without its signature: another maker's, or its client kept none.
_NO_SIGNATURE: Final = "skip_thought_signature_validator"
_LEVELS: Final = re.compile(r"gemini-(\d+)")
_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
}
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_MOST_STOPS: Final = 5
# Later models give one answer only, and do not say how likely its words were.
_SEVERAL: Final = re.compile(r"gemini-2\b")
_MOST_CHOICES: Final = 8


def write_contents(request: Request, model: str) -> tuple[bytes, tuple[str, ...]]:
    """Returns the body for a provider, which names the model in the path, and what was left out. Raises Refused."""
    for name, usual in _REFUSED.items():
        raw = request.extra.get(name)
        if raw is not None and bytes(raw) != b"null" and bytes(raw) not in usual:
            raise Refused(f"{name} cannot be carried to the provider of this model.", name)
    taken = members_of_chat(request)
    dropped = [name for name, raw in request.extra.items() if name not in taken and bytes(raw) not in _NOTHING]
    if request.parallel_calls is False:
        dropped.append("parallel_tool_calls")
    if request.user:
        dropped.append("user")
    if len(request.stop) > _MOST_STOPS:
        dropped.append("stop")
    body: dict[str, Any] = {"contents": list(_contents(request))}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": text.text} for text in request.system]}
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description}
            | ({"parametersJsonSchema": tool.schema} if tool.schema else {})
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
        if request.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _choice(request.tool_choice)}
    if config := _config(request, model):
        body["generationConfig"] = config
    return msgspec.json.encode(body), tuple(dict.fromkeys(dropped))


def _choice(choice: ToolChoice) -> dict[str, Any]:
    found: dict[str, Any] = {"mode": _MODES[choice.mode]}
    if choice.mode == "named":
        found["allowedFunctionNames"] = [choice.name]
    return found


def _config(request: Request, model: str) -> dict[str, Any]:
    values = {
        "maxOutputTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "stopSequences": list(request.stop[:_MOST_STOPS]) or None,
        "candidateCount": _choices(request, model),
        **_odds(request, model),
        "thinkingConfig": _thinking(request, model),
    }
    config: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if request.format is not None:
        config["responseMimeType"] = "application/json"
        if request.format.schema is not None:
            config["responseJsonSchema"] = request.format.schema
    return config


def _choices(request: Request, model: str) -> int | None:
    count, most = choices_of(request), _MOST_CHOICES if _SEVERAL.search(model) else 1
    if count > most:
        raise Refused(f"n: the model of this provider gives {most} at most.", "n")
    return count if count > 1 else None


def _odds(request: Request, model: str) -> dict[str, Any]:
    if not asks_odds(request):
        return {}
    if _SEVERAL.search(model) is None:
        raise Refused("logprobs: the model of this provider does not tell them.", "logprobs")
    return {"responseLogprobs": True, "logprobs": request.extra.get(MOST_OTHERS)}


def _thinking(request: Request, model: str) -> dict[str, Any] | None:
    """Gemini 3 and later take a level, the ones before a budget."""
    generation = _LEVELS.search(model)
    takes_levels = generation is not None and int(generation[1]) >= 3
    if request.effort == "none" or request.thinking == "disabled":
        return None if takes_levels else {"thinkingBudget": 0}
    if request.effort is None and not request.thinking_budget and request.thinking != "adaptive":
        return None
    effort = request.effort or "medium"
    if takes_levels:
        level = {"xhigh": "high", "max": "high"}.get(effort, effort)
        return {"thinkingLevel": level, "includeThoughts": True}
    return {"thinkingBudget": request.thinking_budget or BUDGETS[effort], "includeThoughts": True}


def _contents(request: Request) -> Iterable[dict[str, Any]]:
    """Yields the turns, consecutive ones of a speaker joined."""
    names: dict[str, str] = {}
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in request.messages:
        role = "model" if message.role == "assistant" else "user"
        parts = list(_parts(message, names))
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        elif parts:
            turns.append((role, parts))
    if not turns:
        raise Refused("messages must say something.", "messages")
    for role, parts in turns:
        yield {"role": role, "parts": parts}


def _parts(message: Message, names: dict[str, str]) -> Iterable[dict[str, Any]]:
    proven = False
    for part in message.parts:
        if isinstance(part, Call):
            names[part.id] = part.name
            written: dict[str, Any] = {"functionCall": {"name": part.name, "args": object_of(part.arguments)}}
            # Only the first call of a turn must have one.
            if signature := part.signature or ("" if proven else _NO_SIGNATURE):
                written["thoughtSignature"] = signature
            proven = True
            yield written
        elif isinstance(part, Result):
            yield from _answer(part, names)
        elif (plain := _part(part)) is not None:
            yield plain


def _answer(part: Result, names: dict[str, str]) -> Iterable[dict[str, Any]]:
    text = "\n".join(one.text for one in part.parts if isinstance(one, Text))
    try:
        found = parse_json(text)
    except ValueError:
        found = None
    response = found if isinstance(found, dict) and "$ref" not in text else {"result": text}
    if part.failed:
        response = {"error": text}
    yield {"functionResponse": {"name": names.get(part.call_id, part.call_id), "response": response}}
    for one in part.parts:
        if not isinstance(one, Text) and (plain := _part(one)) is not None:
            yield plain


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise Refused("The provider of this model fetches from https addresses only.", "messages")
    return url


def _type_at(part: Image | File) -> str:
    """Returns the type that an address speaks of, which the vendor wants to be told; the usual one where it does not.

    The table is fixed: that of the machine differs from one to the next.
    """
    ending = urlsplit(part.url).path.rpartition("/")[2].rpartition(".")[2].lower()
    found = _TYPES.get(ending, "")
    if isinstance(part, Image):
        return found if found.startswith("image/") else "image/jpeg"
    return found or "application/pdf"


def _part(part: Part) -> dict[str, Any] | None:
    if isinstance(part, Text):
        return {"text": part.text} if part.text else None
    if isinstance(part, Audio):
        return {"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}
    if isinstance(part, Image | File):
        if part.url:
            return {"fileData": {"mimeType": part.mime or _type_at(part), "fileUri": _https(part.url)}}
        return {"inlineData": {"mimeType": true_type(part.mime, part.data), "data": part.data}}
    assert isinstance(part, Thinking)
    return None
