"""Anthropic Messages replies: read into events and neutral replies, and written from them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tollgate_rating import SEARCH
from tollgate_router.domain.dialects.citations import as_block_citation, of_block
from tollgate_router.domain.dialects.in_order import InOrder
from tollgate_router.domain.dialects.members import object_of
from tollgate_router.domain.dialects.neutral import (
    CALLS,
    LENGTH,
    PAUSE,
    REFUSAL,
    STOP,
    STOP_SEQUENCE,
    Began,
    Call,
    CallArguments,
    CallBegan,
    Citation,
    Event,
    Finished,
    RefusalDelta,
    Reply,
    Signature,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    answer_tokens,
)
from tollgate_router.domain.dialects.stream_reader import StreamReader
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import SEARCHES, ReplyUsage, searched

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_MAX_TOKENS: Final = 2**31
_REASONS: Final = {
    "end_turn": STOP,
    "stop_sequence": STOP_SEQUENCE,
    "max_tokens": LENGTH,
    "model_context_window_exceeded": LENGTH,
    "tool_use": CALLS,
    "pause_turn": PAUSE,
    "refusal": REFUSAL,
}
_WORDS: Final = {
    STOP: "end_turn",
    STOP_SEQUENCE: "stop_sequence",
    LENGTH: "max_tokens",
    CALLS: "tool_use",
    PAUSE: "pause_turn",
    REFUSAL: "refusal",
}
_ABSENT: Final = msgspec.Raw(b"null")


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    citations: object = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    citation: object = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    content: list[_Block] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = _ABSENT
    type: str = ""
    error: msgspec.Raw = _ABSENT


class _Frame(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


_FRAME: Final = msgspec.json.Decoder(_Frame)
_WHOLE: Final = msgspec.json.Decoder(_Message)


class UsageCounts:
    """What a reply says that it used; later numbers take the place of earlier ones."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def take(self, raw: bytes | msgspec.Raw) -> None:
        """Takes a `usage` object, as JSON."""
        try:
            found = msgspec.json.decode(raw)
        except _BROKEN:
            return
        if isinstance(found, dict):
            self._found |= {name: value for name, value in found.items() if value is not None}

    def usage(self) -> ReplyUsage | None:
        """Returns exclusive units; None when the totals are missing or cannot be true."""
        into, out = _count(self._found.get("input_tokens")), _count(self._found.get("output_tokens"))
        if into is None or out is None:
            return None
        written = _count(self._found.get("cache_creation_input_tokens")) or 0
        by_age = self._found.get("cache_creation")
        long = _count(by_age.get("ephemeral_1h_input_tokens")) or 0 if isinstance(by_age, Mapping) else 0
        details = self._found.get("output_tokens_details")
        thought = _count(details.get("thinking_tokens")) or 0 if isinstance(details, Mapping) else 0
        thought = min(thought, out)
        tools = self._found.get("server_tool_use")
        units = {
            "input": into,
            "cache_read": _count(self._found.get("cache_read_input_tokens")) or 0,
            "cache_write_5m": max(0, written - long),
            "cache_write_1h": min(long, written),
            "output": out - thought,
            "reasoning": thought,
            SEARCH: searched(tools.get("web_search_requests")) if isinstance(tools, Mapping) else 0,
        }
        service = self._found.get("service_tier")
        named = service if isinstance(service, str) and service not in {"standard", "default", "auto"} else ""
        return ReplyUsage({name: count for name, count in units.items() if count}, estimated=False, service=named[:32])


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MAX_TOKENS else None


class MessageReader(StreamReader):
    """One streamed reply."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = UsageCounts()
        self._calls: dict[int, int] = {}
        # Where the block began, in letters of the answer; its sources stand for all of it, which ends later.
        self._letters = 0
        self._block_began = 0
        self._sources: list[object] = []

    @property
    def usage(self) -> ReplyUsage | None:
        return self._counts.usage()

    def _take(self, data: bytes) -> Iterable[Event]:
        return self._frame(_FRAME.decode(data))

    def _frame(self, frame: _Frame) -> Iterable[Event]:
        if frame.type == "message_start" and frame.message is not None:
            self._counts.take(frame.message.usage)
            yield Began(frame.message.id, frame.message.model)
        elif frame.type == "content_block_start" and frame.content_block is not None:
            yield from self._block(frame.index, frame.content_block)
        elif frame.type == "content_block_delta" and frame.delta is not None:
            yield from self._delta(frame.index, frame.delta)
        elif frame.type == "content_block_stop":
            yield from self._cited()
        elif frame.type == "message_delta":
            self._counts.take(frame.usage)
            if frame.delta is not None and frame.delta.stop_reason and not self.finished:
                self.finished = True
                yield Finished(_REASONS.get(frame.delta.stop_reason, STOP), frame.delta.stop_sequence or "")
        elif frame.type == "message_stop":
            self.done = True
        elif frame.type == "error" or bytes(frame.error) != b"null":
            self.problem = problem_of_error(msgspec.json.decode(frame.error))

    def _block(self, index: int, block: _Block) -> Iterable[Event]:
        self._block_began, self._sources = self._letters, _sources(block.citations)
        if block.type == "text" and block.text:
            self._letters += len(block.text)
            yield TextDelta(block.text)
        elif block.type == "thinking" and block.thinking:
            yield ThinkingDelta(block.thinking)
        elif block.type == "redacted_thinking" and block.data:
            yield Signature(hidden=block.data)
        elif block.type == "tool_use":
            number = self._calls[index] = len(self._calls)
            yield CallBegan(number, block.id or f"call_{number}", block.name or "")
            if bytes(block.input) not in {b"{}", b"null", b""}:
                yield CallArguments(number, bytes(block.input).decode())

    def _delta(self, index: int, delta: _Delta) -> Iterable[Event]:
        if delta.type == "text_delta" and delta.text:
            self._letters += len(delta.text)
            yield TextDelta(delta.text)
        elif delta.type == "citations_delta":
            self._sources.append(delta.citation)
        elif delta.type == "thinking_delta" and delta.thinking:
            yield ThinkingDelta(delta.thinking)
        elif delta.type == "signature_delta" and delta.signature:
            yield Signature(delta.signature)
        elif delta.type == "input_json_delta" and delta.partial_json and index in self._calls:
            yield CallArguments(self._calls[index], delta.partial_json)

    def _cited(self) -> Iterable[Event]:
        sources, self._sources = self._sources, []
        yield from _citations(sources, self._block_began, self._letters)


def _sources(found: object) -> list[object]:
    return list(found) if isinstance(found, list) else []


def _citations(sources: Iterable[object], begin: int, end: int) -> Iterable[Citation]:
    found = (of_block(source, begin, end) for source in sources)
    return (one for one in found if one is not None)


def read_whole(body: bytes) -> tuple[Reply, ReplyUsage | None] | UpstreamProblem:
    """Returns a whole reply and what it used."""
    try:
        found = _WHOLE.decode(body)
        if bytes(found.error) != b"null":
            return problem_of_error(msgspec.json.decode(found.error))
        # What is only taken over may be broken, too: arguments of calls.
        return _read(found) if found.type == "message" else unreadable()
    except _BROKEN:
        return unreadable()


def _read(found: _Message) -> tuple[Reply, ReplyUsage | None]:
    parts: list[Text | Thinking | Call] = []
    cited: list[Citation] = []
    letters = 0
    for block in found.content:
        if block.type == "text" and block.text:
            parts.append(Text(block.text))
            cited += _citations(_sources(block.citations), letters, letters + len(block.text))
            letters += len(block.text)
        elif block.type == "thinking":
            parts.append(Thinking(block.thinking or "", block.signature or ""))
        elif block.type == "redacted_thinking" and block.data:
            parts.append(Thinking(hidden=block.data))
        elif block.type == "tool_use":
            parts.append(Call(block.id or "", block.name or "", bytes(block.input).decode()))
    counts = UsageCounts()
    counts.take(found.usage)
    finish = Finished(_REASONS.get(found.stop_reason or "", STOP), found.stop_sequence or "")
    return Reply(found.id, found.model, tuple(parts), finish, citations=tuple(cited)), counts.usage()


# Written.


def usage_of(usage: ReplyUsage | None) -> dict[str, Any]:
    """Returns a usage object; of nothing where nothing is known yet."""
    units: Mapping[str, int] = usage.units if usage is not None else {}
    short, long = units.get("cache_write_5m", 0), units.get("cache_write_1h", 0)
    searches = sum(units.get(name, 0) for name in SEARCHES)
    searched = {"server_tool_use": {"web_search_requests": searches}} if searches else {}
    return {
        "input_tokens": sum(units.get(name, 0) for name in ("input", "audio_input", "image_input")),
        "cache_creation_input_tokens": short + long,
        "cache_read_input_tokens": units.get("cache_read", 0),
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": answer_tokens(units),
        **searched,
    }


class MessageWriter:
    """Writes the events of one streamed reply; blocks stand one behind the other."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._order = InOrder()
        self._index = -1
        self._open = ""
        self._finish = Finished(STOP)

    def write(self, events: Iterable[Event]) -> bytes:
        """Returns the frames that say these events."""
        return b"".join(frame for event in events for one in self._order.take(event) for frame in self._frames(one))

    def end(self, usage: ReplyUsage | None) -> bytes:
        """Returns what stands behind the last event."""
        frames = [frame for event in self._order.rest() for frame in self._frames(event)]
        frames += self._close()
        sequence = self._finish.sequence or None
        delta = {"stop_reason": _WORDS[self._finish.reason], "stop_sequence": sequence}
        frames.append(_frame("message_delta", {"delta": delta, "usage": usage_of(usage)}))
        frames.append(_frame("message_stop", {}))
        return b"".join(frames)

    def _frames(self, event: Event) -> Iterable[bytes]:
        if isinstance(event, Began):
            yield _frame("message_start", {"message": _message(event.id, self._model)})
        elif isinstance(event, TextDelta | RefusalDelta):
            yield from self._in("text", {"type": "text", "text": ""})
            yield self._delta({"type": "text_delta", "text": event.text})
        elif isinstance(event, ThinkingDelta):
            yield from self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._delta({"type": "thinking_delta", "thinking": event.text})
        elif isinstance(event, Signature):
            yield from self._signature(event)
        elif isinstance(event, CallBegan):
            yield from self._close()
            yield from self._in("call", {"type": "tool_use", "id": event.id, "name": event.name, "input": {}})
        elif isinstance(event, CallArguments):
            yield self._delta({"type": "input_json_delta", "partial_json": event.json})
        elif isinstance(event, Citation):
            cited = as_block_citation(event)
            if cited is not None and self._open == "text":
                yield self._delta({"type": "citations_delta", "citation": cited})
        else:
            self._finish = event

    def _signature(self, event: Signature) -> Iterable[bytes]:
        if event.hidden:
            yield from self._in("hidden", {"type": "redacted_thinking", "data": event.hidden})
            yield from self._close()
        else:
            yield from self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._delta({"type": "signature_delta", "signature": event.signature})
            # What is thought after it is another thought, with a proof of its own.
            yield from self._close()

    def _in(self, kind: str, block: dict[str, Any]) -> Iterable[bytes]:
        """Opens a block of this kind, unless it is open."""
        if self._open == kind:
            return
        yield from self._close()
        self._index += 1
        self._open = kind
        yield _frame("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> Iterable[bytes]:
        if self._open:
            self._open = ""
            yield _frame("content_block_stop", {"index": self._index})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _frame("content_block_delta", {"index": self._index, "delta": delta})


def write_whole(reply: Reply, usage: ReplyUsage, model: str) -> bytes:
    """Returns a whole reply under the caller's name of the model."""
    content: list[dict[str, Any]] = []
    letters = 0
    last = max((place for place, part in enumerate(reply.parts) if isinstance(part, Text)), default=-1)
    for place, part in enumerate(reply.parts):
        if isinstance(part, Text):
            end = letters + len(part.text)
            # What has no place is of the end of the text, as in a stream.
            here = [one for one in reply.citations if letters < one.end <= end or (place == last and one.end < 0)]
            cited = [found for one in here if (found := as_block_citation(one)) is not None]
            content.append({"type": "text", "text": part.text} | ({"citations": cited} if cited else {}))
            letters = end
        elif isinstance(part, Call):
            content.append({"type": "tool_use", "id": part.id, "name": part.name, "input": object_of(part.arguments)})
        elif part.hidden:
            content.append({"type": "redacted_thinking", "data": part.hidden})
        else:
            content.append({"type": "thinking", "thinking": part.text, "signature": part.signature})
    if reply.refusal and not any(isinstance(part, Text) for part in reply.parts):
        content.append({"type": "text", "text": reply.refusal})
    message = _message(reply.id, model) | {
        "content": content,
        "stop_reason": _WORDS[reply.finish.reason],
        "stop_sequence": reply.finish.sequence or None,
        "usage": usage_of(usage),
    }
    return msgspec.json.encode(message)


def _message(found: str, model: str) -> dict[str, Any]:
    return {
        "id": found if found.startswith("msg_") else f"msg_{found.removeprefix('chatcmpl-')}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_of(None),
    }


def _frame(kind: str, members: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind} | members))
