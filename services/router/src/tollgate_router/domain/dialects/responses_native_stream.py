"""The filter that a stream of the Responses API passes on its way to a caller of the same dialect: untouched.

Only the events that carry the whole response, or an error, are decoded; the others are told apart by searching bytes,
which is safe since a quote within a JSON string is escaped.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tollgate_router.domain.dialects.responses_object import problem_in, read_response, retold
from tollgate_router.domain.dialects.sse import TooLong, WholeFrames
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable
from tollgate_router.domain.usage import ReplyUsage

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_TELLING: Final = (b'"response"', b'"error"')
_FIELDS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")
_ABSENT: Final = msgspec.Raw(b"null")
# They say that a response is made, and nothing of it.
_OPENINGS: Final = frozenset(("response.created", "response.queued", "response.in_progress"))
_ENDINGS: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))


class _Event(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    # Documented is an error whose parts stand in the event itself, sent is one within it.
    code: object = None
    message: object = None


_EVENT: Final = msgspec.json.Decoder(_Event)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()


class NativeStream:
    """One reply; `told` are members that each response within it is to have instead of its own.

    What `feed` and `finish` return are whole frames, none before one says more than that a response is made, so that
    another provider may be asked until then. After `problem` or `done` was set nothing more is returned.
    """

    __slots__ = ("_began", "_deltas", "_frames", "_opening", "_told", "done", "problem", "usage")

    def __init__(self, told: Mapping[str, msgspec.Raw]) -> None:
        self._told = told
        self._frames = WholeFrames()
        self._opening = b""
        self._began = False
        self._deltas = 0
        self.done = False
        """The response is complete, or says why it is not."""
        self.usage: ReplyUsage | None = None
        """What it said that it used; None when it did not."""
        self.problem: UpstreamProblem | None = None
        """It failed, or is nothing that can be read."""

    @property
    def complete(self) -> bool:
        """All was said."""
        return self.problem is None and self.done

    @property
    def frames(self) -> int:
        """How many pieces of an answer went through; the stand-in for output tokens when usage is missing."""
        return self._deltas or int(self._began)

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        if self.problem is not None or self.done:
            return b""
        try:
            ready = self._frames.feed(data)
        except TooLong:
            self.problem = unreadable()
            return b""
        return self._pass(ready) if ready else b""

    def finish(self) -> bytes:
        """The provider has ended: a last event that no blank line followed counts when it is whole."""
        held = self._frames.finish().strip()
        if self.problem is not None or self.done or not held:
            return b""
        try:
            _EVENT.decode(_data(held))
        except _BROKEN:
            return b""
        return self._pass(held + b"\n\n")

    def _pass(self, ready: bytes) -> bytes:
        if self._began and not any(word in ready for word in _TELLING):
            self._deltas += ready.count(b'.delta"')
            return ready
        began, parts = self._began, []
        for frame in ready.replace(b"\r\n", b"\n").split(b"\n\n"):
            if frame.strip() and not self.done:
                parts.append(self._frame(frame))
            if self.problem is not None:
                # Nothing was sent yet: another provider may do better.
                return b"".join(parts) if began else b""
        return b"".join(parts)

    def _frame(self, frame: bytes) -> bytes:
        """Returns a frame, which comes without the blank line behind it, as it is to go on."""
        if self._began and not any(word in frame for word in _TELLING):
            self._deltas += b'.delta"' in frame
            return frame + b"\n\n"
        data = _data(frame)
        if not data:
            if not frame.lstrip().startswith(_FIELDS):
                self.problem = unreadable()
            return frame + b"\n\n" if self._began else b""
        try:
            event = _EVENT.decode(data)
            self._look(event)
            if self._told and self.problem is None and bytes(memoryview(event.response)[:1]) == b"{":
                frame = self._retold(event.type, data)
        except _BROKEN:
            self.problem = unreadable()
        if self.problem is not None:
            return b""
        return self._after_opening(event.type, frame + b"\n\n")

    def _look(self, event: _Event) -> None:
        if event.type == "error":
            error = msgspec.json.decode(event.error)
            self.problem = problem_in({"code": event.code, "message": event.message} if error is None else error)
        elif event.type in _ENDINGS:
            found = read_response(event.response)
            if isinstance(found, UpstreamProblem):
                self.problem = found
            else:
                self.usage, self.problem, self.done = found.usage, found.problem, True

    def _after_opening(self, kind: str, frame: bytes) -> bytes:
        if self._began:
            return frame
        if kind in _OPENINGS:
            self._opening += frame
            return b""
        self._began = True
        self._deltas += kind.endswith(".delta")
        opening, self._opening = self._opening, b""
        return opening + frame

    def _retold(self, kind: str, data: bytes) -> bytes:
        members = _MEMBERS.decode(data)
        members["response"] = msgspec.Raw(retold(members["response"], self._told))
        return b"event: %b\ndata: %b" % (kind.encode(), _ENCODER.encode(members))


def _data(frame: bytes) -> bytes:
    lines = frame.removeprefix(b"\xef\xbb\xbf").splitlines()
    return b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
