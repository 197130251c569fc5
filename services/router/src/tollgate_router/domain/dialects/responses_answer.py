"""OpenAI Responses replies of a provider: read into events and neutral replies."""

from collections.abc import Iterable
from typing import Final

import msgspec

from tollgate_router.domain.dialects.citations import of_annotations
from tollgate_router.domain.dialects.neutral import (
    CALLS,
    LENGTH,
    REFUSAL,
    STOP,
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
)
from tollgate_router.domain.dialects.openai_proof import proof
from tollgate_router.domain.dialects.responses_object import problem_in, read_response
from tollgate_router.domain.dialects.stream_reader import StreamReader
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable
from tollgate_router.domain.usage import ReplyUsage

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_REASONS: Final = {"max_output_tokens": LENGTH, "content_filter": REFUSAL}
_ENDINGS: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))
_ABSENT: Final = msgspec.Raw(b"null")


class _Piece(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: object = None


class _Item(msgspec.Struct):
    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    content: list[_Piece] | None = None
    summary: list[_Piece] | None = None
    encrypted_content: str | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str = ""
    model: str = ""
    output: list[_Item] | None = None
    incomplete_details: _Details | None = None


class _Frame(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = _ABSENT
    item: _Item | None = None
    output_index: int = 0
    summary_index: int = 0
    delta: str | None = None
    error: msgspec.Raw = _ABSENT
    code: object = None
    message: object = None
    annotation: object = None


_RESPONSE: Final = msgspec.json.Decoder(_Response)
_FRAME: Final = msgspec.json.Decoder(_Frame)


class ResponseReader(StreamReader):
    """One streamed reply."""

    def __init__(self) -> None:
        super().__init__()
        self._began = False
        # By the place of the item: the number of the call, and whether anything of its arguments came.
        self._calls: dict[int, int] = {}
        self._spoken: set[int] = set()
        self._letters = 0
        self._part_began = 0
        self.usage: ReplyUsage | None = None

    def _take(self, data: bytes) -> Iterable[Event]:
        return self._frame(_FRAME.decode(data))

    def _frame(self, frame: _Frame) -> Iterable[Event]:
        if frame.delta:
            yield from self._delta(frame, frame.delta)
        elif frame.type == "response.reasoning_summary_part.added" and frame.summary_index:
            yield ThinkingDelta("\n\n")
        elif frame.type == "response.content_part.added":
            self._part_began = self._letters
        elif frame.type == "response.output_text.annotation.added":
            yield from of_annotations([frame.annotation], self._part_began)
        elif frame.item is not None:
            over = frame.type == "response.output_item.done"
            yield from (self._over if over else self._added)(frame.output_index, frame.item)
        elif frame.type in {"response.created", "response.in_progress"} and not self._began:
            self._began = True
            begun = _RESPONSE.decode(frame.response)
            yield Began(begun.id, begun.model)
        elif frame.type in _ENDINGS:
            yield from self._end(frame.response)
        elif frame.type == "error":
            error = msgspec.json.decode(frame.error)
            self.problem = problem_in({"code": frame.code, "message": frame.message} if error is None else error)

    def _delta(self, frame: _Frame, delta: str) -> Iterable[Event]:
        if frame.type == "response.output_text.delta":
            self._letters += len(delta)
            yield TextDelta(delta)
        elif frame.type == "response.refusal.delta":
            yield RefusalDelta(delta)
        elif frame.type == "response.reasoning_summary_text.delta":
            yield ThinkingDelta(delta)
        elif frame.type == "response.function_call_arguments.delta":
            yield from self._arguments(frame.output_index, delta)

    def _added(self, place: int, item: _Item) -> Iterable[Event]:
        if item.type == "function_call" and place not in self._calls:
            number = self._calls[place] = len(self._calls)
            yield CallBegan(number, item.call_id or f"call_{number}", item.name or "")

    def _arguments(self, place: int, delta: str) -> Iterable[Event]:
        if place in self._calls:
            self._spoken.add(place)
            yield CallArguments(self._calls[place], delta)

    def _over(self, place: int, item: _Item) -> Iterable[Event]:
        if item.type == "reasoning" and item.encrypted_content:
            yield Signature(proof(item.id or "", item.encrypted_content))
        elif item.type == "function_call" and place in self._calls and place not in self._spoken and item.arguments:
            yield from self._arguments(place, item.arguments)

    def _end(self, response: msgspec.Raw) -> Iterable[Event]:
        found = read_response(response)
        if isinstance(found, UpstreamProblem):
            self.problem = found
            return
        self.usage, self.problem = found.usage, found.problem
        if self.problem is None:
            self.finished = self.done = True
            yield _finish(_RESPONSE.decode(response), called=bool(self._calls))


def read_whole(body: bytes) -> tuple[Reply, ReplyUsage | None] | UpstreamProblem:
    """Returns a whole reply and what it used."""
    said = read_response(body)
    if isinstance(said, UpstreamProblem):
        return said
    if said.problem is not None:
        return said.problem
    try:
        found = _RESPONSE.decode(body)
    except _BROKEN:
        return unreadable()
    parts: list[Text | Thinking | Call] = []
    cited: list[Citation] = []
    refusal, letters = "", 0
    for item in found.output or ():
        parts += _said(item)
        for piece in item.content or () if item.type == "message" else ():
            if piece.type == "output_text" and piece.text:
                cited += of_annotations(piece.annotations, letters)
                letters += len(piece.text)
            refusal += piece.refusal or ""
    finish = _finish(found, called=any(isinstance(part, Call) for part in parts))
    return Reply(found.id, found.model, tuple(parts), finish, refusal, tuple(cited)), said.usage


def _said(item: _Item) -> Iterable[Text | Thinking | Call]:
    if item.type == "message":
        yield from (Text(piece.text) for piece in item.content or () if piece.type == "output_text" and piece.text)
    elif item.type == "function_call":
        yield Call(item.call_id or "", item.name or "", item.arguments or "{}")
    elif item.type == "reasoning":
        text = "\n\n".join(piece.text or "" for piece in item.summary or ())
        sealed = proof(item.id or "", item.encrypted_content) if item.encrypted_content else ""
        if text or sealed:
            yield Thinking(text, sealed)


def _finish(found: _Response, *, called: bool) -> Finished:
    reason = found.incomplete_details.reason if found.incomplete_details is not None else None
    return Finished(_REASONS.get(reason or "", CALLS if called else STOP))
