"""The filter that a stream of Gemini passes on its way to a caller of the same dialect: untouched, its usage read."""

from tollgate_router.domain.dialects.gemini_reply import ContentReader
from tollgate_router.domain.dialects.sse import TooLong, WholeFrames
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable
from tollgate_router.domain.usage import ReplyUsage


class ContentStream:
    """One reply; what `feed` returns are whole frames. After `problem` was set nothing more is returned.

    Every chunk of this wire carries the counts so far, so that every chunk is decoded.
    """

    __slots__ = ("_events", "_frames", "_reader")

    done = False

    def __init__(self) -> None:
        self._reader = ContentReader()
        self._frames = WholeFrames()
        self._events = 0

    @property
    def problem(self) -> UpstreamProblem | None:
        """It was an error, or nothing that can be read."""
        return self._reader.problem

    @property
    def usage(self) -> ReplyUsage | None:
        """What it reported last."""
        return self._reader.usage

    @property
    def complete(self) -> bool:
        """It gave its reason to finish."""
        return self.problem is None and self._reader.finished

    @property
    def frames(self) -> int:
        """About how many pieces went through."""
        return self._events

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        if self.problem is not None:
            return b""
        try:
            ready = self._frames.feed(data)
        except TooLong:
            self._reader.problem = unreadable()
            return b""
        self._events += len(self._reader.feed(ready)) if ready else 0
        return b"" if self.problem is not None else ready

    def finish(self) -> bytes:
        """The upstream has ended: a frame that is not whole is dropped."""
        return b""
