"""The filter that a stream of Anthropic passes on its way to a caller of the same dialect: untouched.

Only the frames that say how much was used, that an error came or that all is said are decoded; the others are told
apart by searching bytes, which is safe since a quote within a JSON string is escaped.
"""

from typing import Final

import msgspec

from tollgate_router.domain.dialects.anthropic_reply import UsageCounts
from tollgate_router.domain.dialects.sse import EventReader, TooLong, WholeFrames
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_TELLING: Final = (b'"usage"', b'"message_stop"', b'"error"')


class _Message(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Frame(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_FRAME: Final = msgspec.json.Decoder(_Frame)


class MessageStream:
    """One reply; what `feed` and `finish` return are whole frames. After `problem` was set nothing more is returned."""

    __slots__ = ("_counts", "_frames", "_passed_frames", "_reader", "done", "problem")

    def __init__(self) -> None:
        self._reader = EventReader()
        self._counts = UsageCounts()
        self._frames = WholeFrames()
        self._passed_frames = 0
        self.done = False
        self.problem: UpstreamProblem | None = None

    @property
    def usage(self) -> ReplyUsage | None:
        """What it reported last; None when there was none."""
        return self._counts.usage()

    @property
    def complete(self) -> bool:
        """All was said."""
        return self.problem is None and self.done

    @property
    def frames(self) -> int:
        """How many frames went through; the stand-in for output tokens when usage is missing."""
        return self._passed_frames

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        if self.problem is not None:
            return b""
        try:
            ready = self._frames.feed(data)
        except TooLong:
            self.problem = unreadable()
            return b""
        return self._pass(ready) if ready else b""

    def finish(self) -> bytes:
        """The upstream has ended: a frame that is not whole is dropped."""
        return b""

    def _pass(self, ready: bytes) -> bytes:
        self._passed_frames += ready.count(b"data:")
        if not any(word in ready for word in _TELLING):
            return ready
        try:
            frames = self._reader.feed(ready)
        except TooLong:
            self.problem = unreadable()
            return b""
        for _, data in frames:
            if any(word in data for word in _TELLING):
                self._look(data)
        # What came before an error in the same read is dropped with it: the caller is told of the error.
        return b"" if self.problem is not None else ready

    def _look(self, data: bytes) -> None:
        try:
            frame = _FRAME.decode(data)
        except _BROKEN:
            self.problem = unreadable()
            return
        if frame.type == "message_start" and frame.message is not None:
            self._counts.take(frame.message.usage)
        elif frame.type == "message_delta":
            self._counts.take(frame.usage)
        elif frame.type == "message_stop":
            self.done = True
        elif frame.type == "error":
            self.problem = problem_of_error(msgspec.json.decode(frame.error))
