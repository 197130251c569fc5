"""OpenAI Responses bodies, read into a neutral request.

Nothing is stored here: a conversation comes whole, and what points at one that was stored is refused, but where the
exchange stores responses and has put what came before in front of the input. Thoughts go out
as `encrypted_content` and come back in it, so that a maker can check its signature in the next turn.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from tollgate_router.domain.dialects.data import address_of, base64_of, split_data_url
from tollgate_router.domain.dialects.members import (
    Known,
    Lost,
    Share,
    Temperature,
    Whole,
    check,
    check_count,
    parse_json,
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
)
from tollgate_router.errors import Refused

_UNDERSTOOD: Final = frozenset(
    (
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens"),
        *("temperature", "top_p", "text", "reasoning", "user", "safety_identifier", "stream", "include", "store"),
        *("stream_options", "background", "previous_response_id"),
    )
)
_STATE: Final = (
    ("previous_response_id", "This gateway stores no responses: send the whole conversation as `input`."),
    ("conversation", "This gateway stores no conversations: send the whole conversation as `input`."),
    ("prompt", "This gateway stores no prompts: send `instructions` and `input`."),
)
_STORED: Final = frozenset(("store", "previous_response_id"))
# Tools that run at the vendor of GPT. To offer one of these steers; without the others the answer would lack its point.
_OFFERED: Final = frozenset(("web_search", "web_search_preview", "image_generation"))
_TEXTS: Final = frozenset(("input_text", "output_text", "text", "summary_text", "refusal"))
_EFFORTS: Final = frozenset(("none", "minimal", "low", "medium", "high", "xhigh", "max"))
# Of the dialect, but nothing that another wire has a place for: their kinds are looked at all the same.
_OTHERS: Final[Mapping[str, Any]] = {
    "include": list[str],
    "max_tool_calls": Whole,
    "metadata": dict[str, str],
    "prompt_cache_key": str,
    "service_tier": str,
    "stream_options": dict[str, Any],
    "top_logprobs": Whole,
    "truncation": str,
}
# What the base64 of a list whose first part is a text begins with, whatever the text.
SEALED_HERE: Final = "Wy"
FREE_FORM: Final = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


class _InputAudio(Known):
    data: str
    format: str


class _Part(Known):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    input_audio: _InputAudio | None = None


class _Summary(Known):
    text: str = ""
    type: str = "summary_text"


class _Item(Known):
    type: str = "message"
    role: str | None = None
    content: str | list[_Part] | None = None
    call_id: str | None = None
    namespace: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[_Part] | None = None
    summary: list[_Summary] | None = None
    encrypted_content: str | None = None
    # What a reply said of its items.
    id: object = None
    status: object = None


class _TextForm(Known):
    type: str = "text"


class _Tool(Known):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: _TextForm | None = None
    tools: "list[_Tool] | None" = None


class _Choice(Known):
    type: str
    name: str | None = None


class _Format(Known):
    type: str
    name: str = ""
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class _TextConfig(Known):
    format: _Format | None = None
    verbosity: str | None = None


class _Reasoning(Known):
    effort: str | None = None
    summary: str | None = None


class ToolNames(msgspec.Struct, frozen=True):
    """What callers know of their tools and their request, and other dialects do not.

    `free_form` are the tools that take text; `spaces` say namespace and name of those that are in one, by the name
    under which the model is offered them. `echo` is what a reply repeats of its request, by member; `reply_id` is its
    id, empty for that of the provider's reply.
    """

    free_form: frozenset[str] = frozenset()
    spaces: Mapping[str, tuple[str, str]] = {}
    echo: Mapping[str, msgspec.Raw] = {}
    seals: bool = False
    """The caller asks for sealed thoughts, and so brings them back: Gemini's signatures may travel in them."""
    reply_id: str = ""


PLAIN: Final = ToolNames()


def is_responses(members: Mapping[str, msgspec.Raw]) -> bool:
    """Tells a Responses body where chat is expected: one client sends them to chat's path, and waits for chunks."""
    if "input" not in members:
        return False
    return bytes(members.get("messages", b"null")).strip() in {b"null", b"[]"}


def read_responses(
    members: Mapping[str, msgspec.Raw], *, stream: bool, usage_wanted: bool, remembers: bool = False
) -> Request:
    """Returns what a body asks for. Raises Refused. `remembers`: what it says of storing is seen to elsewhere."""
    refuse_state(members, remembers=remembers)
    lost: Lost = {}
    found = read(members, "input", str | list[_Item], lost)
    if not found:
        raise Refused("input: a text or at least one item is required.", "input")
    if not isinstance(found, str):
        kept = [item for item in found if not is_thought_kept_elsewhere(item.type, item.id)]
        if len(kept) < len(found):
            lost["input.item_reference"] = None
        found = kept
    system, turns = _conversation(found)
    instructions = read(members, "instructions", str)
    offered = read(members, "tools", list[_Tool], lost) or []
    check_count(inner for tool in offered for inner in (tool.tools or (tool,)))
    tools, dropped = _tools(offered)
    check(members, _OTHERS)
    user, safety = read(members, "user", str), read(members, "safety_identifier", str)
    text = read(members, "text", _TextConfig, lost) or _TextConfig()
    reasoning = read(members, "reasoning", _Reasoning, lost) or _Reasoning()
    if reasoning.effort is not None and reasoning.effort not in _EFFORTS:
        raise Refused(f"reasoning.effort: expected one of {', '.join(sorted(_EFFORTS))}.", "reasoning")
    extra = {name: raw for name, raw in members.items() if name not in _UNDERSTOOD}
    extra |= dict.fromkeys(dropped, msgspec.Raw(b"true"))
    if set(read(members, "include", list[str]) or ()) - {"reasoning.encrypted_content"}:
        extra["include"] = msgspec.Raw(b'"set"')
    if text.verbosity is not None:
        extra["text.verbosity"] = msgspec.Raw(b'"set"')
    return Request(
        messages=turns,
        system=((Text(instructions), *system) if instructions else system),
        tools=tools,
        tool_choice=_choice(read(members, "tool_choice", str | _Choice, lost)),
        parallel_calls=read(members, "parallel_tool_calls", bool),
        max_output_tokens=read(members, "max_output_tokens", Whole),
        temperature=read(members, "temperature", Temperature),
        top_p=read(members, "top_p", Share),
        effort=reasoning.effort,  # type: ignore[arg-type]  # One of the words; checked.
        format=_format(text.format),
        user=safety or user or "",
        stream=stream,
        usage_wanted=usage_wanted,
        lost=tuple(lost),
        # The reply repeats these; what does as the caller would have it anyway, needs no naming.
        extra={name: raw for name, raw in extra.items() if name != "metadata" and bytes(raw) != b'"disabled"'},
    )


def tool_names(members: Mapping[str, msgspec.Raw]) -> ToolNames:
    """Returns what has to be told apart when a tool is called."""
    tools: list[_Tool] = read(members, "tools", list[_Tool]) or []
    spaces = {
        _flat(space.name or "", tool.name or ""): (space.name or "", tool.name or "")
        for space in tools
        if space.type == "namespace"
        for tool in space.tools or ()
    }
    return ToolNames(frozenset(tool.name or "" for tool in tools if tool.type == "custom"), spaces)


def is_thought_kept_elsewhere(kind: str, known: object) -> bool:
    """Tells whether an item only points at a thought, which its client believes to be kept where it was made."""
    return kind == "item_reference" and isinstance(known, str) and known.startswith("rs_")


def _flat(space: str, name: str) -> str:
    return f"{space}__{name}"


def refuse_state(members: Mapping[str, msgspec.Raw], *, remembers: bool) -> None:
    """Raises Refused for what needs a memory; `remembers`: what a body says of storing is seen to elsewhere."""
    for name, words in _STATE:
        if bytes(members.get(name, b"null")) != b"null" and not (remembers and name in _STORED):
            raise Refused(words, name)
    for name, words in (
        ("store", "This gateway stores no responses: leave `store` out, or send false."),
        ("background", "Only responses that are stored run in the background, and this gateway stores none."),
    ):
        if read(members, name, bool) and not (remembers and name in _STORED):
            raise Refused(words, name)


def _conversation(found: str | list[_Item]) -> tuple[tuple[Text, ...], tuple[Message, ...]]:
    """Returns the system's words and the turns. Words of the system after the first turn become the user's."""
    if isinstance(found, str):
        return (), (Message("user", (Text(found),)),)
    system: list[Text] = []
    turns: list[Message] = []
    calls: set[str] = set()
    for place, item in enumerate(found):
        where = f"input[{place}]"
        role, parts = _item(item, where, calls)
        if role == "system" and not turns:
            system += [part for part in parts if isinstance(part, Text)]
        elif role == "assistant" and turns and turns[-1].role == "assistant":
            # A turn comes in pieces: thoughts, words and calls are items of their own.
            turns[-1] = Message("assistant", (*turns[-1].parts, *parts))
        elif parts:
            turns.append(Message("assistant" if role == "assistant" else "user", parts))
    if not turns:
        raise Refused("input must have something of the user.", "input")
    return tuple(system), tuple(turns)


def _item(item: _Item, where: str, calls: set[str]) -> tuple[str, tuple[Part, ...]]:
    if item.type == "message":
        if item.role not in {"user", "assistant", "system", "developer"}:
            raise Refused(f"{where}.role: expected user, assistant, system or developer.", "input")
        role = "system" if item.role == "developer" else item.role
        return role, tuple(_parts(item.content, f"{where}.content"))
    if item.type in {"function_call", "custom_tool_call"} and item.call_id and item.name:
        calls.add(item.call_id)
        free = item.type == "custom_tool_call"
        arguments = msgspec.json.encode({"input": item.input or ""}).decode() if free else item.arguments or "{}"
        name = _flat(item.namespace, item.name) if item.namespace else item.name
        return "assistant", (Call(item.call_id, name, arguments),)
    if item.type in {"function_call_output", "custom_tool_call_output"} and item.call_id:
        if item.call_id not in calls:
            raise Refused(f"{where}: answers the call '{item.call_id[:80]}', which no item before it made.", "input")
        parts = _parts(item.output, f"{where}.output")
        return "user", (Result(item.call_id, tuple(one for one in parts if isinstance(one, Text | Image | File))),)
    if item.type == "reasoning":
        return "assistant", (_thought(item),)
    raise Refused(f"{where}.type: '{item.type[:40]}' cannot be carried, or a member of it is missing.", "input")


def _parts(content: str | list[_Part] | None, where: str) -> Iterable[Part]:
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for number, part in enumerate(content or ()):
        yield _part(part, f"{where}[{number}]")


def _part(part: _Part, where: str) -> Part:
    if part.type in _TEXTS and (said := part.refusal if part.type == "refusal" else part.text) is not None:
        return Text(said)
    if part.type == "input_image" and part.image_url is not None:
        if part.image_url.startswith("data:"):
            mime, data = split_data_url(part.image_url, f"{where}.image_url", "input")
            return Image(mime, data, detail=part.detail or "")
        url = address_of(part.image_url, f"{where}.image_url", "input")
        return Image(url=url, detail=part.detail or "")
    if part.type == "input_file" and part.file_data is not None:
        mime, data = split_data_url(part.file_data, f"{where}.file_data", "input")
        return File(part.filename or "", mime, data)
    if part.type == "input_file" and part.file_url is not None:
        return File(part.filename or "", url=address_of(part.file_url, f"{where}.file_url", "input"))
    if part.type == "input_audio" and part.input_audio is not None:
        data = base64_of(part.input_audio.data, f"{where}.input_audio.data", "input")
        return Audio(part.input_audio.format, data)
    raise Refused(f"{where}.type: '{part.type[:40]}' cannot be carried, or a member of it is missing.", "input")


def sealed(text: str, signature: str, hidden: str) -> str:
    """Returns a thought as `encrypted_content`: what it takes to say it again to its maker."""
    # All of them begin with `SEALED_HERE`.
    return base64.b64encode(msgspec.json.encode([text, signature, hidden])).decode()


def _thought(item: _Item) -> Thinking:
    """A thought that was sealed elsewhere proves nothing here: its summary is all there is."""
    said = "".join(one.text for one in item.summary or ())
    try:
        text, signature, hidden = parse_json(base64.b64decode(item.encrypted_content or "", validate=True).decode())
    except (binascii.Error, ValueError, TypeError):
        return Thinking(said)
    return Thinking(str(text), str(signature), str(hidden))


def _tools(found: list[_Tool]) -> tuple[tuple[Tool, ...], list[str]]:
    tools: list[Tool] = []
    dropped: list[str] = []
    for place, tool in enumerate(found):
        if tool.type == "function" and tool.name:
            tools.append(Tool(tool.name, tool.description or "", tool.parameters or {}, tool.strict))
        elif tool.type == "custom" and tool.name:
            # A tool that takes text is called with an object of one text, and told back as what it is.
            tools.append(Tool(tool.name, tool.description or "", FREE_FORM))
            if tool.format is not None and tool.format.type != "text":
                dropped.append(f"tools.{tool.name}.format")
        elif tool.type == "namespace" and tool.name:
            found_tools, left = _tools(
                [structs.replace(one, name=_flat(tool.name, one.name or "")) for one in tool.tools or ()]
            )
            tools += found_tools
            dropped += left
        elif tool.type in _OFFERED:
            dropped.append(f"tools.{tool.type}")
        else:
            raise Refused(
                f"tools[{place}].type: '{tool.type[:40]}' runs at the vendor of GPT, or its name is missing.", "tools"
            )
    return tuple(tools), dropped


def _choice(found: str | _Choice | None) -> ToolChoice | None:
    if found is None:
        return None
    if isinstance(found, str) and found in {"auto", "none", "required"}:
        return ToolChoice(found)  # type: ignore[arg-type]  # One of the words; checked above.
    if isinstance(found, _Choice) and found.type in {"function", "custom"} and found.name:
        return ToolChoice("named", found.name)
    raise Refused("tool_choice: expected auto, none, required or a function.", "tool_choice")


def _format(found: _Format | None) -> Format | None:
    if found is None or found.type == "text":
        return None
    if found.type == "json_object":
        return Format()
    if found.type != "json_schema":
        raise Refused("text.format.type: expected text, json_object or json_schema.", "text")
    return Format(found.name, found.description or "", found.schema or {}, found.strict)
