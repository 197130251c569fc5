"""OpenAI Responses bodies for a provider, written from a neutral request.

Nothing is kept at the provider: a conversation goes whole, and thoughts go back as it sealed them.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

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
    choices_of,
    effort_of,
)
from tollgate_router.domain.dialects.odds import asks_odds
from tollgate_router.domain.dialects.openai_proof import before_calls, proven
from tollgate_router.errors import Refused

# Of Anthropic's dialect: without them the answer would be another one.
_REFUSED: Final = frozenset({"mcp_servers", "container"})
# The wire takes no less.
_LEAST_TOKENS: Final = 16
# These models take the usual value of what steers their choice of words, and refuse others.
_LEFT_OUT: Final = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")


def write_responses(request: Request, model: str) -> tuple[bytes, tuple[str, ...]]:
    """Returns the body for a provider, and the names of what was left out. Raises Refused."""
    for name in _REFUSED.intersection(request.extra):
        raise Refused(f"{name} cannot be carried to the provider of this model.", name)
    if choices_of(request) > 1:
        raise Refused("n: a response is one answer.", "n")
    if asks_odds(request):
        raise Refused("logprobs cannot be carried to the Responses API of this model.", "logprobs")
    dropped = [*request.extra, *(name for name in _LEFT_OUT if getattr(request, name) is not None)]
    if request.stop:
        dropped.append("stop")
    limit = request.max_output_tokens
    settings = {
        "instructions": "\n\n".join(text.text for text in request.system) or None,
        "max_output_tokens": None if limit is None else max(limit, _LEAST_TOKENS),
        "reasoning": _reasoning(request),
        "text": None if request.format is None else {"format": _format(request.format)},
        "user": request.user or None,
        "stream": request.stream or None,
    }
    said = list(_input(before_calls(request.messages)))
    if not said:
        raise Refused("messages must say something.", "messages")
    body: dict[str, Any] = {"model": model, "input": said}
    body |= {name: value for name, value in settings.items() if value is not None}
    body |= _tools(request)
    # The next turn brings back what was thought in this one.
    body |= {"store": False, "include": ["reasoning.encrypted_content"]}
    return msgspec.json.encode(body), tuple(dropped)


def _reasoning(request: Request) -> dict[str, Any] | None:
    effort = request.effort
    if effort is None and request.thinking == "enabled" and request.thinking_budget:
        effort = effort_of(request.thinking_budget)
    wanted = request.thinking in {"enabled", "adaptive"}
    # Accounts have to be proven to be shown thoughts: nobody is asked for that who does not ask for thoughts.
    found = ({} if effort is None else {"effort": effort}) | ({"summary": "auto"} if wanted else {})
    return found or None


def _tools(request: Request) -> dict[str, Any]:
    if not request.tools:
        return {}
    found: dict[str, Any] = {"tools": [_tool(tool) for tool in request.tools]}
    choice = request.tool_choice
    if choice is not None:
        named = {"type": "function", "name": choice.name}
        found["tool_choice"] = named if choice.mode == "named" else choice.mode
    if request.parallel_calls is not None:
        found["parallel_tool_calls"] = request.parallel_calls
    return found


def _tool(tool: Tool) -> dict[str, Any]:
    # Unlike in chat, a tool of which nothing is said is a strict one.
    written: dict[str, Any] = {"type": "function", "name": tool.name, "strict": tool.strict is True}
    written["parameters"] = tool.schema or {"type": "object", "properties": {}}
    return written | ({"description": tool.description} if tool.description else {})


def _format(found: Format) -> dict[str, Any]:
    if found.schema is None:
        return {"type": "json_object"}
    written: dict[str, Any] = {"type": "json_schema", "name": found.name or "answer", "schema": found.schema}
    if found.description:
        written["description"] = found.description
    if found.strict is not None:
        written["strict"] = found.strict
    return written


def _input(messages: Iterable[Message]) -> Iterable[dict[str, Any]]:
    for message in messages:
        if message.role == "assistant":
            yield from _turn(message.parts)
        else:
            yield from _asked(message.parts)


def _turn(parts: Iterable[Part]) -> Iterable[dict[str, Any]]:
    """Yields the items of a turn of the model. Thoughts without this maker's seal prove nothing to it."""
    for part in parts:
        if isinstance(part, Text) and part.text:
            content = [{"type": "output_text", "text": part.text}]
            yield {"type": "message", "role": "assistant", "content": content}
        elif isinstance(part, Call):
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
        elif isinstance(part, Thinking) and (found := proven(part.signature)) is not None:
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            yield {"type": "reasoning", "id": found[0], "summary": summary, "encrypted_content": found[1]}


def _asked(parts: Iterable[Part]) -> Iterable[dict[str, Any]]:
    """Yields the answers of tools first, then what the user says."""
    said: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Result):
            yield {"type": "function_call_output", "call_id": part.call_id, "output": _output(part)}
        else:
            said.append(_part(part))
    if said:
        yield {"type": "message", "role": "user", "content": said}


def _output(part: Result) -> str | list[dict[str, Any]]:
    texts = [one.text for one in part.parts if isinstance(one, Text)]
    if len(texts) == len(part.parts):
        return "\n".join(texts)
    return [_part(one) for one in part.parts]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or f"data:{part.mime};base64,{part.data}"
        return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
    if isinstance(part, File):
        if part.url:
            return {"type": "input_file", "file_url": part.url} | ({"filename": part.name} if part.name else {})
        data = f"data:{part.mime};base64,{part.data}"
        return {"type": "input_file", "filename": part.name or "document", "file_data": data}
    if isinstance(part, Audio):
        raise Refused("input_audio cannot be carried to the provider of this model.", "messages")
    raise Refused("A message of the user holds what only an assistant says.", "messages")
