"""Gemini replies: read into events and neutral replies, and written from them."""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import structs

from tollgate_rating import SEARCH
from tollgate_router.domain.dialects.call_ids import call_id
from tollgate_router.domain.dialects.citations import as_grounding, of_grounding, of_recitations
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
    Odds,
    RefusalDelta,
    Reply,
    Signature,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    prompt_tokens,
)
from tollgate_router.domain.dialects.odds import as_gemini, of_gemini
from tollgate_router.domain.dialects.openai_proof import is_proof
from tollgate_router.domain.dialects.stream_reader import StreamReader
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_MAX_TOKENS: Final = 2**31
_REASONS: Final = {
    "STOP": STOP,
    "MAX_TOKENS": LENGTH,
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"), REFUSAL
    ),
    **dict.fromkeys(("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"), REFUSAL),
}
_WORDS: Final = {
    STOP: "STOP",
    STOP_SEQUENCE: "STOP",
    CALLS: "STOP",
    PAUSE: "STOP",
    LENGTH: "MAX_TOKENS",
    REFUSAL: "SAFETY",
}
_ABSENT: Final = msgspec.Raw(b"null")
# Up to these Google asks for a grounded answer, from Gemini 3 on for each query.
_BY_ANSWER: Final = re.compile(r"gemini-[12]\b")
_MAPS: Final = "tool_call:google_maps"


class _FunctionCall(msgspec.Struct):
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    function_call: _FunctionCall | None = None
    thought_signature: str | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: object = None
    grounding_chunks: object = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int = 0
    grounding_metadata: msgspec.Raw = _ABSENT
    citation_metadata: msgspec.Raw = _ABSENT
    logprobs_result: object = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    tool_use_prompt_token_count: int = 0


class _Chunk(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = _ABSENT
    model_version: str = ""
    response_id: str = ""
    error: msgspec.Raw = _ABSENT


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_USAGE: Final = msgspec.json.Decoder(_Usage)
_GROUNDING: Final = msgspec.json.Decoder(_Grounding)


def units_of(raw: msgspec.Raw) -> ReplyUsage | None:
    """Returns the exclusive units of a `usageMetadata`; None when it says none, or none that can be true."""
    if bytes(raw)[:1] != b"{":
        return None
    try:
        found = _USAGE.decode(raw)
    except _BROKEN:
        return None
    counts = (
        *(found.prompt_token_count, found.cached_content_token_count, found.candidates_token_count),
        *(found.thoughts_token_count, found.tool_use_prompt_token_count),
    )
    if not all(0 <= count <= _MAX_TOKENS for count in counts):
        return None
    cached = min(found.cached_content_token_count, found.prompt_token_count)
    units = {
        "input": found.prompt_token_count - cached + found.tool_use_prompt_token_count,
        "cache_read": cached,
        "output": found.candidates_token_count,
        "reasoning": found.thoughts_token_count,
    }
    return ReplyUsage({name: count for name, count in units.items() if count}, estimated=False)


class ContentReader(StreamReader):
    """One streamed reply; the end of the connection is its end. `reply_id` stands in for one that names no id."""

    def __init__(self, reply_id: str = "") -> None:
        super().__init__()
        self._id = reply_id
        self._began = False
        self._calls = 0
        self._units: ReplyUsage | None = None
        # A later chunk may repeat the sources of an earlier one.
        self._cited: dict[Citation, None] = {}
        self._queries: dict[str, None] = {}
        self._most_queries = 0
        self._by_answer = False
        self._on_maps = False

    @property
    def usage(self) -> ReplyUsage | None:
        """What was reported, and the searches that show; None where nothing was."""
        searches = max(len(self._queries), self._most_queries)
        counts = {SEARCH: min(searches, 1) if self._by_answer else searches, _MAPS: int(self._on_maps)}
        if self._units is None or not any(counts.values()):
            return self._units
        found = {unit: count for unit, count in counts.items() if count}
        return structs.replace(self._units, units={**self._units.units, **found})

    def _take(self, data: bytes) -> Iterable[Event]:
        chunk = _CHUNK.decode(data)
        if bytes(chunk.error) != b"null":
            self.problem = problem_of_error(msgspec.json.decode(chunk.error))
        else:
            yield from self.take(chunk)

    def take(self, chunk: _Chunk) -> Iterable[Event]:
        """Yields what a chunk says."""
        # Each chunk repeats the counts so far.
        self._units = units_of(chunk.usage_metadata) or self._units
        if not self._began:
            self._began = True
            self._id = chunk.response_id or self._id
            self._by_answer = _BY_ANSWER.match(chunk.model_version.rpartition("/")[2]) is not None
            yield Began(chunk.response_id, chunk.model_version)
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason and not self.finished:
            self.finished = True
            yield RefusalDelta(f"The provider refused the prompt: {chunk.prompt_feedback.block_reason}.")
            yield Finished(REFUSAL)
        for candidate in chunk.candidates:
            if bytes(candidate.grounding_metadata) != b"null":
                self._count(candidate.grounding_metadata)
            # Another dialect has room for one answer.
            if candidate.index == 0:
                yield from self._candidate(candidate)

    def _count(self, grounding: msgspec.Raw) -> None:
        """Counts what was searched for: a later chunk may repeat the queries of an earlier one, or add others."""
        try:
            found = _GROUNDING.decode(grounding)
        except _BROKEN:
            return
        if isinstance(found.web_search_queries, list):
            queries = [query for query in found.web_search_queries if isinstance(query, str) and query]
            self._queries |= dict.fromkeys(queries)
            self._most_queries = max(self._most_queries, len(queries))
        chunks = found.grounding_chunks if isinstance(found.grounding_chunks, list) else ()
        self._on_maps = self._on_maps or any(isinstance(chunk, dict) and bool(chunk.get("maps")) for chunk in chunks)

    def _candidate(self, candidate: _Candidate) -> Iterable[Event]:
        odds = () if candidate.logprobs_result is None else of_gemini(candidate.logprobs_result)
        for part in candidate.content.parts if candidate.content is not None else ():
            if part.function_call is not None and part.function_call.name:
                call, number = part.function_call, self._calls
                self._calls += 1
                yield CallBegan(number, call.id or call_id(self._id, number), call.name, part.thought_signature or "")
                yield CallArguments(number, bytes(call.args).decode() if bytes(call.args) != b"null" else "{}")
            elif part.text:
                yield ThinkingDelta(part.text) if part.thought else TextDelta(part.text, odds)
                # They are those of all words of the chunk.
                odds = odds if part.thought else ()
        yield from self._sources(candidate)
        if candidate.finish_reason and not self.finished:
            self.finished = True
            reason = _REASONS.get(candidate.finish_reason, STOP)
            yield Finished(CALLS if self._calls and reason == STOP else reason)

    def _sources(self, candidate: _Candidate) -> Iterable[Event]:
        found: list[Citation] = []
        if bytes(candidate.grounding_metadata) != b"null":
            found += of_grounding(candidate.grounding_metadata)
        if bytes(candidate.citation_metadata) != b"null":
            found += of_recitations(candidate.citation_metadata)
        for one in found:
            if one not in self._cited:
                self._cited[one] = None
                yield one


def read_whole(body: bytes, reply_id: str = "") -> tuple[Reply, ReplyUsage | None] | UpstreamProblem:
    """Returns a whole reply and what it used: the same as one chunk of a stream."""
    try:
        chunk = _CHUNK.decode(body)
        if bytes(chunk.error) != b"null":
            return problem_of_error(msgspec.json.decode(chunk.error))
        if not chunk.candidates and chunk.prompt_feedback is None:
            return unreadable()
        # What is only taken over may be broken, too: arguments of calls.
        return _read(chunk, reply_id)
    except _BROKEN:
        return unreadable()


def _read(chunk: _Chunk, reply_id: str) -> tuple[Reply, ReplyUsage | None]:
    reader = ContentReader(reply_id)
    parts: list[Text | Thinking | Call] = []
    finish, refusal = Finished(STOP), ""
    cited: list[Citation] = []
    odds: tuple[Odds, ...] = ()
    for event in reader.take(chunk):
        if isinstance(event, TextDelta):
            odds += event.odds
        if isinstance(event, Finished):
            finish = event
        elif isinstance(event, RefusalDelta):
            refusal = event.text
        elif isinstance(event, Citation):
            cited.append(event)
        else:
            _gather(parts, event)
    reply = Reply(chunk.response_id, chunk.model_version, tuple(parts), finish, refusal, tuple(cited), odds)
    return reply, reader.usage


def _gather(parts: list[Text | Thinking | Call], event: Event) -> None:
    if isinstance(event, TextDelta):
        parts.append(Text(event.text))
    elif isinstance(event, ThinkingDelta):
        parts.append(Thinking(event.text))
    elif isinstance(event, CallBegan):
        parts.append(Call(event.id, event.name, "{}", signature=event.signature))
    elif isinstance(event, CallArguments):
        begun = parts[-1]
        assert isinstance(begun, Call)
        parts[-1] = structs.replace(begun, arguments=event.json)


# Written.


def usage_of(usage: ReplyUsage | None) -> dict[str, int]:
    """Returns a `usageMetadata`."""
    units = usage.units if usage is not None else {}
    prompt, thought = prompt_tokens(units), units.get("reasoning", 0)
    said = sum(units.get(name, 0) for name in ("output", "audio_output", "image_output"))
    return {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": units.get("cache_read", 0),
        "candidatesTokenCount": said,
        "thoughtsTokenCount": thought,
        "totalTokenCount": prompt + said + thought,
    }


class ContentWriter:
    """Writes the chunks of one streamed reply. A call goes out when it is whole: this wire has no pieces of one."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = ""
        self._calls: dict[int, list[str]] = {}
        self._proof = ""
        self._cited: list[Citation] = []
        self._finish = Finished(STOP)

    def write(self, events: Iterable[Event]) -> bytes:
        """Returns the chunks that say these events."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, Began):
                self._id = event.id
            elif isinstance(event, TextDelta | RefusalDelta):
                odds = event.odds if isinstance(event, TextDelta) else ()
                out.append(self._parts([{"text": event.text}], odds))
            elif isinstance(event, ThinkingDelta):
                out.append(self._parts([{"text": event.text, "thought": True}]))
            elif isinstance(event, CallBegan):
                self._calls[event.number] = [event.id, event.name, "", event.signature or self._proof]
                self._proof = ""
            elif isinstance(event, Signature) and is_proof(event.signature):
                self._proof = event.signature
            elif isinstance(event, CallArguments):
                self._calls[event.number][2] += event.json
            elif isinstance(event, Citation):
                self._cited.append(event)
            elif isinstance(event, Finished):
                self._finish = event
        return b"".join(out)

    def end(self, usage: ReplyUsage | None) -> bytes:
        """Returns what stands behind the last event."""
        calls = [_call(*call) for _, call in sorted(self._calls.items())]
        candidate = {"content": {"role": "model", "parts": calls}, "index": 0}
        candidate["finishReason"] = _WORDS[self._finish.reason]
        if self._cited:
            candidate["groundingMetadata"] = as_grounding(self._cited)
        return self._data({"candidates": [candidate], "usageMetadata": usage_of(usage)})

    def _parts(self, parts: list[dict[str, Any]], odds: tuple[Odds, ...] = ()) -> bytes:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        return self._data({"candidates": [candidate | as_gemini(odds)]})

    def _data(self, members: dict[str, Any]) -> bytes:
        return b"data: %b\n\n" % msgspec.json.encode(members | {"modelVersion": self._model, "responseId": self._id})


def write_whole(reply: Reply, usage: ReplyUsage, model: str) -> bytes:
    """Returns a whole reply under the caller's name of the model."""
    parts: list[dict[str, Any]] = []
    proof = ""
    for part in reply.parts:
        if isinstance(part, Text):
            parts.append({"text": part.text})
        elif isinstance(part, Call):
            parts.append(_call(part.id, part.name, part.arguments, part.signature or proof))
            proof = ""
        else:
            proof = part.signature if is_proof(part.signature) else proof
            if part.text:
                parts.append({"text": part.text, "thought": True})
    if reply.refusal and not parts:
        parts.append({"text": reply.refusal})
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, "finishReason": _WORDS[reply.finish.reason]}
    if reply.citations:
        candidate["groundingMetadata"] = as_grounding(reply.citations)
    candidate |= as_gemini(reply.odds)
    body = {"candidates": [candidate], "usageMetadata": usage_of(usage), "modelVersion": model, "responseId": reply.id}
    return msgspec.json.encode(body)


def _call(said_id: str, name: str, arguments: str, signature: str) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"id": said_id, "name": name, "args": object_of(arguments)}}
    return part | {"thoughtSignature": signature} if signature else part
