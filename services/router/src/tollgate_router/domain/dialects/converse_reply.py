"""Replies of Bedrock's Converse, read into events and neutral replies."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.event_stream import Damaged, MessageSplitter
from tollgate_router.domain.dialects.neutral import (
    CALLS,
    LENGTH,
    REFUSAL,
    STOP,
    STOP_SEQUENCE,
    Began,
    Call,
    CallArguments,
    CallBegan,
    Event,
    Finished,
    Reply,
    Signature,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
)
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_exception, unreadable
from tollgate_router.domain.usage import ReplyUsage, with_service

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_MAX_TOKENS: Final = 2**31
_REASONS: Final = {
    "end_turn": STOP,
    "stop_sequence": STOP_SEQUENCE,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "tool_use": CALLS,
    "guardrail_intervened": REFUSAL,
    "content_filtered": REFUSAL,
}


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str = ""
    input_tokens: int = 0


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_details: list[_CacheDetail] = []


class _Tier(msgspec.Struct):
    type: str = ""


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _ReasoningText(msgspec.Struct):
    text: str = ""
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    reasoning_text: _ReasoningText | None = None
    redacted_content: str | None = None


class _Cited(msgspec.Struct):
    content: list[_ReasoningText] = []


class _Block(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Cited | None = None


class _Message(msgspec.Struct):
    content: list[_Block]


class _Output(msgspec.Struct):
    message: _Message


class _Whole(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str = ""
    usage: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: _Tier | None = None


class _Start(msgspec.Struct, rename="camel"):
    tool_use: _ToolUse | None = None


class _ToolDelta(msgspec.Struct):
    input: str = ""


class _ReasoningDelta(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolDelta | None = None
    reasoning_content: _ReasoningDelta | None = None


class _Frame(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    start: _Start | None = None
    delta: _Delta | None = None
    stop_reason: str = ""
    usage: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: _Tier | None = None


_WHOLE: Final = msgspec.json.Decoder(_Whole)
_FRAME: Final = msgspec.json.Decoder(_Frame)
_USAGE: Final = msgspec.json.Decoder(_Usage)


def units_of(raw: msgspec.Raw, tier: _Tier | None) -> ReplyUsage | None:
    """Returns exclusive units: the wire counts what was read from and written to a cache beside the input."""
    try:
        found = _USAGE.decode(raw)
    except _BROKEN:
        return None
    read, written = found.cache_read_input_tokens, found.cache_write_input_tokens
    long = sum(detail.input_tokens for detail in found.cache_details if detail.ttl == "1h")
    counts = (found.input_tokens, found.output_tokens, read, written, long)
    if not all(0 <= count <= _MAX_TOKENS for count in counts):
        return None
    units = {
        "input": found.input_tokens,
        "cache_read": read,
        "cache_write_5m": max(0, written - long),
        "cache_write_1h": min(long, written),
        "output": found.output_tokens,
    }
    usage = ReplyUsage({name: count for name, count in units.items() if count}, estimated=False)
    return with_service(usage, tier.type if tier is not None else None)


class ConverseReader:
    """One streamed reply. `done`: all was said; `finished`: it gave its reason. After `problem` no more events come.

    `reply_id` is what the reply is called: this wire has no ids.
    """

    def __init__(self, reply_id: str) -> None:
        self._messages = MessageSplitter()
        self._id = reply_id
        self._calls: dict[int, int] = {}
        self.problem: UpstreamProblem | None = None
        self.usage: ReplyUsage | None = None
        self.done = False
        self.finished = False

    def feed(self, data: bytes) -> list[Event]:
        """Takes what one read held."""
        events: list[Event] = []
        try:
            for headers, payload in () if self._is_over else self._messages.feed(data):
                events += self._message(headers, payload)
                if self._is_over:
                    break
        except (Damaged, *_BROKEN):
            self.problem = unreadable()
        return events

    @property
    def _is_over(self) -> bool:
        """What comes now is of no concern: all was said, or it broke."""
        return self.done or self.problem is not None

    def finish(self) -> list[Event]:
        """The stream has ended: a message that is not whole is dropped."""
        return []

    def _message(self, headers: dict[str, str], payload: bytes) -> Iterable[Event]:
        kind = headers.get(":message-type", "event")
        if kind == "event":
            return self._event(headers.get(":event-type", ""), payload)
        # An exception is one of the service's own, an error one of those before it.
        word = headers.get(":exception-type") or headers.get(":error-code", "")
        self.problem = problem_of_exception(word, headers.get(":error-message") or _message_in(payload))
        return ()

    def _event(self, kind: str, payload: bytes) -> Iterable[Event]:
        if kind == "messageStart":
            yield Began(self._id, "")
        elif kind == "contentBlockStart":
            frame = _FRAME.decode(payload)
            if frame.start is not None and (call := frame.start.tool_use) is not None:
                number = self._calls[frame.content_block_index] = len(self._calls)
                yield CallBegan(number, call.tool_use_id or f"call_{number}", call.name)
        elif kind == "contentBlockDelta":
            frame = _FRAME.decode(payload)
            if frame.delta is not None:
                yield from self._delta(frame.content_block_index, frame.delta)
        elif kind == "messageStop" and not self.finished:
            self.finished = True
            yield Finished(_REASONS.get(_FRAME.decode(payload).stop_reason, STOP))
        elif kind == "metadata":
            frame = _FRAME.decode(payload)
            self.usage = units_of(frame.usage, frame.service_tier)
            self.done = self.finished

    def _delta(self, index: int, delta: _Delta) -> Iterable[Event]:
        if delta.text:
            yield TextDelta(delta.text)
        if (thought := delta.reasoning_content) is not None:
            if thought.text:
                yield ThinkingDelta(thought.text)
            if thought.signature:
                yield Signature(thought.signature)
            if thought.redacted_content:
                yield Signature(hidden=thought.redacted_content)
        if delta.tool_use is not None and delta.tool_use.input and index in self._calls:
            yield CallArguments(self._calls[index], delta.tool_use.input)


def _message_in(payload: bytes) -> str:
    found: Any = msgspec.json.decode(payload) if payload else None
    message = found.get("message", found.get("Message")) if isinstance(found, dict) else None
    return message if isinstance(message, str) else ""


def read_whole(body: bytes, reply_id: str) -> tuple[Reply, ReplyUsage | None] | UpstreamProblem:
    """Returns a whole reply, called `reply_id`, and what it used."""
    try:
        found = _WHOLE.decode(body)
        # What is only taken over may be broken, too: arguments of calls.
        parts = tuple(part for block in found.output.message.content if (part := _part(block)) is not None)
    except _BROKEN:
        return unreadable()
    finish = Finished(_REASONS.get(found.stop_reason, STOP))
    return Reply(reply_id, "", parts, finish), units_of(found.usage, found.service_tier)


def _part(block: _Block) -> Text | Thinking | Call | None:
    if block.text:
        return Text(block.text)
    if block.citations_content is not None:
        return Text("".join(one.text for one in block.citations_content.content))
    if (call := block.tool_use) is not None:
        return Call(call.tool_use_id, call.name, bytes(call.input).decode())
    if (thought := block.reasoning_content) is not None:
        said = thought.reasoning_text
        return Thinking(said.text, said.signature or "") if said else Thinking(hidden=thought.redacted_content or "")
    return None
