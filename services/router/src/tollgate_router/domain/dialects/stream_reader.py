"""Reading a streamed reply, in every dialect: frame by frame, until one is an error or unreadable."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

import msgspec

from tollgate_router.domain.dialects.neutral import Event
from tollgate_router.domain.dialects.sse import EventReader, TooLong
from tollgate_router.domain.upstream_errors import UpstreamProblem, unreadable

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class StreamReader(ABC):
    """One reply. `done`: all was said; `finished`: it gave its reason. After `problem` was set no more events come."""

    def __init__(self) -> None:
        self._frames = EventReader()
        self.problem: UpstreamProblem | None = None
        self.done = False
        self.finished = False

    @abstractmethod
    def _take(self, data: bytes) -> Iterable[Event]:
        """Yields what the data of a frame says, or sets `problem`. Raises what decoding raises."""

    def feed(self, data: bytes) -> list[Event]:
        """Takes what one read held."""
        try:
            return self._read(self._frames.feed(data))
        except TooLong:
            self.problem = unreadable()
            return []

    def finish(self) -> list[Event]:
        """The stream has ended."""
        return self._read(self._frames.finish())

    def _read(self, frames: Iterable[tuple[bytes, bytes]]) -> list[Event]:
        events: list[Event] = []
        for _, data in frames:
            if self.problem is not None or self.done:
                break
            try:
                events += self._take(data)
            except _BROKEN:
                self.problem = unreadable()
        return events
