"""OpenAI chat replies: read into events and neutral replies, and written from them."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.call_ids import call_id
from tollgate_router.domain.dialects.citations import as_chat_annotation, of_annotations, of_results
from tollgate_router.domain.dialects.google_signature import extra_of, signature_in
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
    Odds,
    RefusalDelta,
    Reply,
    Signature,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    answer_tokens,
    prompt_tokens,
)
from tollgate_router.domain.dialects.odds import as_chat, of_chat
from tollgate_router.domain.dialects.stream_reader import StreamReader
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage, read_usage, with_service

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_REASONS: Final = {
    "stop": STOP,
    "length": LENGTH,
    "tool_calls": CALLS,
    "function_call": CALLS,
    "content_filter": REFUSAL,
}
FINISH_WORDS: Final = {
    STOP: "stop",
    STOP_SEQUENCE: "stop",
    PAUSE: "stop",
    LENGTH: "length",
    CALLS: "tool_calls",
    REFUSAL: "content_filter",
}
_ABSENT: Final = msgspec.Raw(b"null")


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None
    extra_content: msgspec.Raw = _ABSENT


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolDelta] | None = None
    function_call: _Function | None = None
    annotations: object = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: object = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    service_tier: object = None
    # Of Perplexity.
    search_results: object = None
    citations: object = None


class _WholeCall(msgspec.Struct):
    function: _Function
    id: str = ""
    extra_content: msgspec.Raw = _ABSENT


class _WholeMessage(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_WholeCall] | None = None
    function_call: _Function | None = None
    annotations: object = None


class _WholeChoice(msgspec.Struct):
    message: _WholeMessage
    finish_reason: str | None = None
    logprobs: object = None


class _Whole(msgspec.Struct):
    choices: list[_WholeChoice]
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = _ABSENT
    search_results: object = None
    citations: object = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_WHOLE: Final = msgspec.json.Decoder(_Whole)


class ChatReader(StreamReader):
    """One streamed reply. `reply_id` stands in for one that names no id."""

    def __init__(self, reply_id: str = "") -> None:
        super().__init__()
        self._id = reply_id
        self._began = False
        self._calls: dict[int, int] = {}
        # What was found for the answer as a whole: each chunk repeats it.
        self._found: tuple[object, object] = (None, None)
        self._noted = False
        self.usage: ReplyUsage | None = None

    def _take(self, data: bytes) -> Iterable[Event]:
        if data.startswith(b"[DONE]"):
            self.done = True
            return
        chunk = _CHUNK.decode(data)
        if bytes(chunk.error) != b"null":
            self.problem = problem_of_error(msgspec.json.decode(chunk.error))
        else:
            yield from self._chunk(chunk)

    def _chunk(self, chunk: _Chunk) -> Iterable[Event]:
        if bytes(chunk.usage)[:1] == b"{":
            found = read_usage(chunk.usage, needs_output=True)
            self.usage = with_service(found, chunk.service_tier) or self.usage
        if not self._began and chunk.choices:
            self._began = True
            self._id = chunk.id or self._id
            yield Began(chunk.id or "", chunk.model or "")
        if not self._noted and (chunk.search_results is not None or chunk.citations is not None):
            self._found = chunk.search_results, chunk.citations
        for choice in chunk.choices or ():
            # Another dialect has room for one answer.
            if choice.index == 0:
                yield from self._delta(choice)

    def _delta(self, choice: _Choice) -> Iterable[Event]:
        delta = choice.delta
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                yield ThinkingDelta(thought)
            if delta.content:
                yield TextDelta(delta.content, () if choice.logprobs is None else of_chat(choice.logprobs))
            if delta.refusal:
                yield RefusalDelta(delta.refusal)
            for call in delta.tool_calls or ():
                yield from self._call(call.index, call.id, call.function, signature_in(call.extra_content))
            if delta.function_call is not None:
                yield from self._call(0, None, delta.function_call, "")
            for cited in of_annotations(delta.annotations):
                # Some say the same in both ways.
                self._found = (None, None)
                self._noted = True
                yield cited
        if choice.finish_reason and not self.finished:
            self.finished = True
            yield from of_results(*self._found)
            reason = _REASONS.get(choice.finish_reason, STOP)
            # Some say stop where they have called tools.
            yield Finished(CALLS if self._calls and reason == STOP else reason)

    def _call(self, index: int, said: str | None, function: _Function | None, signature: str) -> Iterable[Event]:
        number = self._calls.get(index)
        if number is None:
            number = self._calls[index] = len(self._calls)
            name = (function.name if function is not None else None) or ""
            yield CallBegan(number, said or call_id(self._id, number), name, signature)
        if function is not None and function.arguments:
            yield CallArguments(number, function.arguments)


def read_whole(body: bytes, reply_id: str = "") -> Reply | UpstreamProblem:
    """Returns a whole chat reply, of which it is known that it is one; its usage is read apart."""
    try:
        found = _WHOLE.decode(body)
    except _BROKEN:
        return unreadable()
    if not found.choices:
        return unreadable()
    named = found.id or reply_id
    message, reason = found.choices[0].message, found.choices[0].finish_reason or "stop"
    parts: list[Text | Thinking | Call] = []
    if thought := message.reasoning_content or message.reasoning:
        parts.append(Thinking(thought))
    if message.content:
        parts.append(Text(message.content))
    for number, call in enumerate(message.tool_calls or ()):
        said, signature = call.function, signature_in(call.extra_content)
        arguments = said.arguments or "{}"
        parts.append(Call(call.id or call_id(named, number), said.name or "", arguments, signature=signature))
    if message.function_call is not None:
        name = message.function_call.name or ""
        parts.append(Call(call_id(named, 0), name, message.function_call.arguments or "{}"))
    called = any(isinstance(part, Call) for part in parts)
    finish = _REASONS.get(reason, STOP)
    finish = CALLS if called and finish == STOP else finish
    cited = tuple(of_annotations(message.annotations)) or tuple(of_results(found.search_results, found.citations))
    return Reply(
        found.id or "",
        found.model or "",
        tuple(parts),
        Finished(finish),
        message.refusal or "",
        cited,
        of_chat(found.choices[0].logprobs),
    )


# Written.


def usage_of(usage: ReplyUsage) -> dict[str, Any]:
    """Returns a usage object. Clients of Claude models also look for the names that Anthropic uses."""
    units = usage.units
    prompt, answer = prompt_tokens(units), answer_tokens(units)
    cached = units.get("cache_read", 0)
    written = units.get("cache_write_5m", 0) + units.get("cache_write_1h", 0)
    found: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": units.get("reasoning", 0)},
    }
    if cached or written:
        found |= {"cache_read_input_tokens": cached, "cache_creation_input_tokens": written}
    return found


class ChatWriter:
    """Writes the chunks of one streamed reply. `model` is the caller's name of it, `created` in seconds."""

    def __init__(self, model: str, created: int, *, usage_wanted: bool) -> None:
        self._model = model
        self._created = created
        self._usage_wanted = usage_wanted
        self._id = ""
        self._silent: set[int] = set()

    def write(self, events: Iterable[Event]) -> bytes:
        """Returns the chunks that say these events."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, Began):
                self._id = chat_id(event.id)
                out.append(self._chunk({"role": "assistant", "content": ""}))
            elif isinstance(event, TextDelta):
                out.append(self._chunk({"content": event.text}, odds=event.odds))
            elif isinstance(event, ThinkingDelta):
                out.append(self._chunk({"reasoning_content": event.text}))
            elif isinstance(event, RefusalDelta):
                out.append(self._chunk({"refusal": event.text}))
            elif isinstance(event, CallBegan):
                self._silent.add(event.number)
                function = {"name": event.name, "arguments": ""}
                call = {"index": event.number, "id": event.id, "type": "function", "function": function}
                out.append(self._chunk({"tool_calls": [call | extra_of(event.signature)]}))
            elif isinstance(event, CallArguments):
                self._silent.discard(event.number)
                out.append(self._arguments(event.number, event.json))
            elif isinstance(event, Finished):
                # A call without arguments is one with none: an empty text would be no JSON.
                out += [self._arguments(number, "{}") for number in sorted(self._silent)]
                self._silent.clear()
                out.append(self._chunk({}, FINISH_WORDS[event.reason]))
            elif isinstance(event, Citation):
                cited = as_chat_annotation(event)
                out += [self._chunk({"annotations": [cited]})] if cited is not None else []
            else:
                assert isinstance(event, Signature)
        return b"".join(out)

    def end(self, usage: ReplyUsage | None) -> bytes:
        """Returns what stands behind the last event."""
        last = b"data: [DONE]\n\n"
        if not self._usage_wanted or usage is None:
            return last
        return self._data({"choices": [], "usage": usage_of(usage)}) + last

    def _arguments(self, number: int, json: str) -> bytes:
        return self._chunk({"tool_calls": [{"index": number, "function": {"arguments": json}}]})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None, odds: tuple[Odds, ...] = ()) -> bytes:
        told = {"logprobs": as_chat(odds)} if odds else {}
        return self._data({"choices": [{"index": 0, "delta": delta, **told, "finish_reason": reason}]})

    def _data(self, members: dict[str, Any]) -> bytes:
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        return b"data: %b\n\n" % msgspec.json.encode(head | members)


def write_whole(reply: Reply, usage: ReplyUsage, model: str, created: int) -> bytes:
    """Returns a whole chat reply under the caller's name of the model."""
    text = "".join(part.text for part in reply.parts if isinstance(part, Text))
    thought = "".join(part.text for part in reply.parts if isinstance(part, Thinking))
    calls = [
        {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
        | extra_of(part.signature)
        for part in reply.parts
        if isinstance(part, Call)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    message["refusal"] = reply.refusal or None
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    if reply.citations:
        message["annotations"] = [cited for one in reply.citations if (cited := as_chat_annotation(one)) is not None]
    choice = {"index": 0, "message": message, "logprobs": as_chat(reply.odds)}
    choice["finish_reason"] = FINISH_WORDS[reply.finish.reason]
    body = {"id": chat_id(reply.id), "object": "chat.completion", "created": created, "model": model}
    return msgspec.json.encode(body | {"choices": [choice], "usage": usage_of(usage)})


def chat_id(found: str) -> str:
    """Returns an id of a reply as clients know them."""
    return found if found.startswith("chatcmpl-") else f"chatcmpl-{found.removeprefix('msg_')}"
