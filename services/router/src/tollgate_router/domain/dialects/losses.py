"""What a provider's wire has no place for of what the neutral model can say: the table of what is left out and named.

What it holds of a chat is dropped by the writers; here it is only found and named, by the caller's own word for it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.claude import thinking_of, wants_thinking
from tollgate_router.domain.dialects.neutral import (
    Audio,
    Call,
    File,
    Format,
    Image,
    Part,
    Request,
    Result,
    Text,
    Thinking,
)
from tollgate_router.domain.dialects.openai_proof import is_proof
from tollgate_router.domain.target import WIRE_BEDROCK, Target
from tollgate_router.errors import Refused

_OPENAI: Final = wire.DIALECT_OPENAI_CHAT
_ANTHROPIC: Final = wire.DIALECT_ANTHROPIC
_GEMINI: Final = wire.DIALECT_GEMINI
_RESPONSES: Final = wire.DIALECT_OPENAI_RESPONSES
# Marks of the prompt cache that the vendor of Claude takes.
_MOST_MARKS: Final = 4

# Features of a chat that not every wire has.
CACHE: Final = "cache"
MANY_MARKS: Final = "many marks"
INNER_MARK: Final = "mark within what a tool answered"
DETAIL: Final = "detail"
FILE_NAME: Final = "file name"
THOUGHT: Final = "thought"
SIGNED_THOUGHT: Final = "signed thought"
OPENAI_THOUGHT: Final = "thought that OpenAI sealed"
CALL_SIGNATURE: Final = "signature of a call"
FAILED: Final = "failed"
STRICT: Final = "strict"
FORMAT_NAME: Final = "format name"
FORMAT_DESCRIPTION: Final = "format description"
FORMAT_STRICT: Final = "format strict"
CHOICE_OF_NONE: Final = "choice of no tools"
PARALLEL_OF_NONE: Final = "parallel calls of no tools"
NO_THINKING: Final = "no thinking"
NO_EFFORT: Final = "effort of none"
THINKING: Final = "thinking"

_ALWAYS_CHAT: Final = frozenset((DETAIL, FILE_NAME, STRICT, FORMAT_NAME, FORMAT_DESCRIPTION, FORMAT_STRICT))
_CARRIED: Final[Mapping[int, frozenset[str]]] = {
    _OPENAI: _ALWAYS_CHAT | {NO_EFFORT},
    _RESPONSES: _ALWAYS_CHAT | {NO_EFFORT, OPENAI_THOUGHT},
    _ANTHROPIC: frozenset((CACHE, INNER_MARK, FILE_NAME, SIGNED_THOUGHT, FAILED, STRICT, NO_THINKING, NO_EFFORT)),
    WIRE_BEDROCK: frozenset(
        (FILE_NAME, SIGNED_THOUGHT, FAILED, STRICT, FORMAT_NAME, FORMAT_DESCRIPTION, NO_THINKING, NO_EFFORT)
    ),
    _GEMINI: frozenset((FAILED, CALL_SIGNATURE)),
}
_THOUGHTS: Final[Mapping[int, str]] = {
    _OPENAI: "messages.reasoning_content",
    _ANTHROPIC: "messages.content.thinking",
    _GEMINI: "contents.parts.thought",
    _RESPONSES: "input.reasoning",
}
_EFFORTS: Final[Mapping[int, str]] = {
    _OPENAI: "reasoning_effort",
    _ANTHROPIC: "thinking",
    _GEMINI: "generationConfig.thinkingConfig",
    _RESPONSES: "reasoning.effort",
}
# By feature: what each dialect calls it; what is not here has the same name in all.
_CALLED: Final[Mapping[str, Mapping[int, str]]] = {
    DETAIL: {_OPENAI: "messages.content.image_url.detail", _RESPONSES: "input.content.detail"},
    FILE_NAME: {
        _OPENAI: "messages.content.file.filename",
        _ANTHROPIC: "messages.content.title",
        _RESPONSES: "input.content.filename",
    },
    **dict.fromkeys((THOUGHT, SIGNED_THOUGHT, OPENAI_THOUGHT), _THOUGHTS),
    CALL_SIGNATURE: {
        _OPENAI: "messages.tool_calls.extra_content",
        _ANTHROPIC: "messages.content.signature",
        _GEMINI: "contents.parts.thoughtSignature",
        _RESPONSES: "input.encrypted_content",
    },
    STRICT: {_OPENAI: "tools.function.strict"},
    **{
        feature: {
            _OPENAI: f"response_format.json_schema.{name}",
            _RESPONSES: f"text.format.{name}",
        }
        for feature, name in ((FORMAT_NAME, "name"), (FORMAT_DESCRIPTION, "description"), (FORMAT_STRICT, "strict"))
    },
    CHOICE_OF_NONE: {_GEMINI: "toolConfig"},
    **dict.fromkeys((THINKING, NO_THINKING, NO_EFFORT), _EFFORTS),
}
_USUAL: Final = {
    CACHE: "cache_control",
    MANY_MARKS: "cache_control",
    INNER_MARK: "cache_control",
    FAILED: "messages.content.is_error",
    STRICT: "tools.strict",
    CHOICE_OF_NONE: "tool_choice",
    PARALLEL_OF_NONE: "parallel_tool_calls",
}


# What writers call a steering member, and the caller's own name of it where that is another.
_CALLERS: Final[Mapping[int, Mapping[str, str]]] = {
    _ANTHROPIC: {
        "stop": "stop_sequences",
        "user": "metadata.user_id",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
        "reasoning_effort": "thinking",
    },
    _GEMINI: {
        "temperature": "generationConfig.temperature",
        "top_p": "generationConfig.topP",
        "top_k": "generationConfig.topK",
        "seed": "generationConfig.seed",
        "presence_penalty": "generationConfig.presencePenalty",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "stop": "generationConfig.stopSequences",
        "stop_sequences": "generationConfig.stopSequences",
        "reasoning_effort": "generationConfig.thinkingConfig",
    },
    _OPENAI: {"stop_sequences": "stop"},
    _RESPONSES: {"reasoning_effort": "reasoning.effort"},
}


def in_callers_words(dropped: Iterable[str], dialect: int) -> list[str]:
    """Returns the names of what a writer left out as the caller knows them."""
    names = _CALLERS[dialect]
    return [names.get(name, name) for name in dropped]


def in_callers_field(refused: Refused, dialect: int) -> Refused:
    """Returns a refusal that names the field as the caller knows it, where a writer knows another name."""
    name = refused.param
    called = {"n": "candidateCount", "logprobs": "responseLogprobs"}.get(name) if dialect == _GEMINI else None
    return refused if called is None else Refused(refused.message.replace(name, called, 1), called)


def named_losses(request: Request, target: Target, spoken: int, dialect: int) -> list[str]:
    """Returns the caller's names of what a chat holds and the wire that is spoken has no place for.

    `dialect` is the caller's. Those that a writer finds itself are not among them.
    """
    carried = _carried(target, spoken)
    found = dict.fromkeys(_features(request))
    claude = spoken == _ANTHROPIC or (spoken == WIRE_BEDROCK and "claude" in target.upstream_model)
    if claude and wants_thinking(request) and not thinking_of(request, target.upstream_model)[0]:
        found[THINKING] = None
    return [_name(feature, dialect) for feature in found if feature not in carried]


def _carried(target: Target, spoken: int) -> frozenset[str]:
    carried = _CARRIED[spoken]
    if spoken == _OPENAI:
        quirks = target.quirks
        if quirks.takes_thoughts:
            carried |= {THOUGHT, SIGNED_THOUGHT}
        if quirks.keeps_extra:
            carried |= {CALL_SIGNATURE}
        if quirks.can_switch_off:
            carried |= {NO_THINKING}
    elif spoken == WIRE_BEDROCK and ("claude" in target.upstream_model or "amazon.nova" in target.upstream_model):
        carried |= {CACHE}
    elif spoken == _GEMINI and "gemini-2" in target.upstream_model:
        # Later ones have levels, none of which is no thinking.
        carried |= {NO_THINKING, NO_EFFORT}
    return carried


def _name(feature: str, dialect: int) -> str:
    return _CALLED.get(feature, {}).get(dialect) or _USUAL.get(feature, feature)


def _features(request: Request) -> Iterable[str]:
    marks = sum(1 for text in request.system if text.cache) + sum(1 for tool in request.tools if tool.cache)
    for message in request.messages:
        for part in message.parts:
            # Nearly all is text: that of a long conversation takes a third of what a call for each would.
            if type(part) is Text:
                marks += part.cache != ""
            else:
                yield from _of_part(part)
                marks += _marks(part)
    if marks:
        yield CACHE
        if marks > _MOST_MARKS:
            yield MANY_MARKS
    yield from _of_tools(request)
    if request.format is not None:
        yield from _of_format(request.format)
    if request.thinking == "disabled":
        yield NO_THINKING
    if request.effort == "none":
        yield NO_EFFORT


def _of_part(part: Part) -> Iterable[str]:
    if isinstance(part, Image) and part.detail not in {"", "auto"}:
        yield DETAIL
    elif isinstance(part, File) and part.name:
        yield FILE_NAME
    elif isinstance(part, Thinking):
        yield from _of_thought(part)
    elif isinstance(part, Call) and part.signature and not is_proof(part.signature):
        yield CALL_SIGNATURE
    elif isinstance(part, Result):
        yield from _of_result(part)


def _of_thought(part: Thinking) -> Iterable[str]:
    if is_proof(part.signature):
        yield OPENAI_THOUGHT
    elif part.signature or part.hidden:
        yield SIGNED_THOUGHT
    elif part.text:
        yield THOUGHT


def _of_result(part: Result) -> Iterable[str]:
    if part.failed:
        yield FAILED
    for inner in part.parts:
        if inner.cache:
            yield INNER_MARK
        yield from _of_part(inner)


def _marks(part: Part) -> int:
    if isinstance(part, Thinking | Audio):
        return 0
    found = int(part.cache != "")
    return found + sum(map(_marks, part.parts)) if isinstance(part, Result) else found


def _of_tools(request: Request) -> Iterable[str]:
    if any(tool.strict for tool in request.tools):
        yield STRICT
    if not request.tools:
        choice = request.tool_choice
        if choice is not None and choice.mode not in {"auto", "none"}:
            yield CHOICE_OF_NONE
        if request.parallel_calls is False:
            yield PARALLEL_OF_NONE


def _of_format(found: Format) -> Iterable[str]:
    if found.name:
        yield FORMAT_NAME
    if found.description:
        yield FORMAT_DESCRIPTION
    if found.strict:
        yield FORMAT_STRICT
