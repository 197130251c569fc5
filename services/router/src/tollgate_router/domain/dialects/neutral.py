"""A conversation and its answer in nobody's dialect: what the readers make and the writers take.

Request    what a caller asks for                    Reply    a whole answer
Event      a piece of a streamed answer: Began, TextDelta, ThinkingDelta, Signature, CallBegan, CallArguments, Citation,
           Finished
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# How an answer ends: STOP and STOP_SEQUENCE of its own accord, LENGTH at a limit, CALLS to have tools called.
STOP: Final = "stop"
STOP_SEQUENCE: Final = "stop_sequence"
LENGTH: Final = "length"
CALLS: Final = "calls"
REFUSAL: Final = "refusal"
PAUSE: Final = "pause"

# The budgets of thinking tokens that words for effort stand for, smallest first.
BUDGETS: Final[dict[str, int]] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 2048,
    "high": 4096,
    "xhigh": 8192,
    "max": 16384,
}


class Text(msgspec.Struct, frozen=True):
    """`cache`: 5m or 1h where the caller marks what comes up to here for the prompt cache."""

    text: str
    cache: str = ""


class Image(msgspec.Struct, frozen=True):
    """Base64 `data` of type `mime`, or an address."""

    mime: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""
    cache: str = ""


class File(msgspec.Struct, frozen=True):
    """A document: base64 `data` of type `mime`, or an address."""

    name: str = ""
    mime: str = ""
    data: str = ""
    url: str = ""
    cache: str = ""


class Audio(msgspec.Struct, frozen=True):
    """Base64 `data` in a format such as wav."""

    format: str
    data: str


class Thinking(msgspec.Struct, frozen=True):
    """What a model thought. `signature` proves it to its maker; `hidden` is thought that only the maker can read."""

    text: str = ""
    signature: str = ""
    hidden: str = ""


class Call(msgspec.Struct, frozen=True):
    """A tool is to be called; `arguments` is JSON text, as the model wrote it.

    `signature` proves to Gemini what it thought before the call.
    """

    id: str
    name: str
    arguments: str
    cache: str = ""
    signature: str = ""


class Result(msgspec.Struct, frozen=True):
    """What a tool answered."""

    call_id: str
    parts: "tuple[Text | Image | File, ...]"
    failed: bool = False
    cache: str = ""


Part = Text | Image | File | Audio | Thinking | Call | Result


class Message(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str = ""
    schema: dict[str, Any] = {}
    strict: bool | None = None
    cache: str = ""


class ToolChoice(msgspec.Struct, frozen=True):
    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


class Format(msgspec.Struct, frozen=True):
    """The answer is to be JSON; of a schema, where there is one."""

    name: str = ""
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """None and empty mean that the caller said nothing of it."""

    messages: tuple[Message, ...]
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    thinking_budget: int | None = None
    thinking: Literal["", "enabled", "adaptive", "disabled"] = ""
    format: Format | None = None
    user: str = ""
    stream: bool = False
    usage_wanted: bool = False
    extra: Mapping[str, msgspec.Raw] = {}
    """Members that only the caller's own dialect has a meaning for, by their names there."""
    knows_choices: bool = False
    """The dialect has several answers and the odds of their words; in others such names mean nothing."""
    lost: tuple[str, ...] = ()
    """The places of members within others that have no meaning here, such as messages.content.citations."""


CHOICES: Final = "n"
"""What the number of answers is called among a request's extra members."""


def choices_of(request: Request) -> int:
    """Returns how many answers are asked for."""
    raw = bytes(request.extra.get(CHOICES, b"1"))
    return int(raw) if request.knows_choices and raw.isdigit() else 1


class Began(msgspec.Struct, frozen=True):
    id: str
    model: str


class Odds(msgspec.Struct, frozen=True):
    """How likely a token of the answer was, as a natural logarithm, and what else the likeliest ones were."""

    token: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


class TextDelta(msgspec.Struct, frozen=True):
    """`odds` are those of the words, where they were asked for."""

    text: str
    odds: tuple[Odds, ...] = ()


class RefusalDelta(msgspec.Struct, frozen=True):
    """Words of a refusal, where the provider keeps them apart from the text."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True):
    text: str


class Signature(msgspec.Struct, frozen=True):
    """The signature of the thinking before it; `hidden` is a piece of thinking that only its maker can read."""

    signature: str = ""
    hidden: str = ""


class CallBegan(msgspec.Struct, frozen=True):
    """`number` counts the calls of this answer from 0; `signature` is as that of a Call."""

    number: int
    id: str
    name: str
    signature: str = ""


class CallArguments(msgspec.Struct, frozen=True):
    number: int
    json: str


class Citation(msgspec.Struct, frozen=True):
    """Where words of the answer are from: an address, or a document, which `file` or its title names.

    `begin` and `end` are places in all of the answer's text, in letters (in bytes on Gemini's wire), -1 where they are
    not known; `quote` is what the source says. In a stream it comes behind the words.
    """

    url: str = ""
    title: str = ""
    quote: str = ""
    file: str = ""
    begin: int = -1
    end: int = -1


class Finished(msgspec.Struct, frozen=True):
    """`reason` is STOP, STOP_SEQUENCE, LENGTH, CALLS, REFUSAL or PAUSE; `sequence` is what stopped it."""

    reason: str
    sequence: str = ""


Event = Began | TextDelta | RefusalDelta | ThinkingDelta | Signature | CallBegan | CallArguments | Citation | Finished


def with_calls(finish: Finished) -> Finished:
    """Returns how an answer with calls ends: for their sake, though some providers say that it just stopped."""
    return Finished(CALLS) if finish.reason in {STOP, STOP_SEQUENCE} else finish


def text_length(event: Event) -> int:
    """Returns how long the words of an event are that are no arguments."""
    if isinstance(event, TextDelta | ThinkingDelta | RefusalDelta):
        return len(event.text)
    if isinstance(event, Citation):
        return len(event.url) + len(event.title)
    return len(event.signature) + len(event.hidden) if isinstance(event, Signature) else 0


class Reply(msgspec.Struct, frozen=True):
    """A whole answer: its parts in order, and how it ended."""

    id: str
    model: str
    parts: tuple[Text | Thinking | Call, ...]
    finish: Finished
    refusal: str = ""
    citations: tuple[Citation, ...] = ()
    odds: tuple[Odds, ...] = ()


def effort_of(budget: int) -> Effort:
    """Returns the word for a budget of thinking tokens."""
    for effort in ("max", "xhigh", "high", "medium", "low"):
        if budget >= BUDGETS[effort]:
            return effort
    return "minimal"


def prompt_tokens(units: "dict[str, int] | Any") -> int:
    """Returns all input of exclusive units."""
    return sum(
        units.get(name, 0)
        for name in ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
    )


def answer_tokens(units: "dict[str, int] | Any") -> int:
    """Returns all output of exclusive units."""
    return sum(units.get(name, 0) for name in ("output", "reasoning", "audio_output", "image_output"))
