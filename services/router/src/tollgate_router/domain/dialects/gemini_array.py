"""A stream of Gemini as the array that its callers get who do not ask for events."""

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.sending import Filter
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage


def as_events(opened: wire.Open) -> wire.Open:
    """Returns what is asked of the provider for an array: the same as events."""
    found = wire.Open()
    found.CopyFrom(opened)
    found.as_array = False
    return found


class ArrayStream:
    """Turns the events that `inner` lets through into the items of one JSON array, each as soon as it is whole."""

    def __init__(self, inner: Filter) -> None:
        self._inner = inner
        self._held = b""
        self._began = self._closed = False

    @property
    def problem(self) -> UpstreamProblem | None:
        return self._inner.problem

    @property
    def done(self) -> bool:
        return self._inner.done or self._closed

    @property
    def usage(self) -> ReplyUsage | None:
        return self._inner.usage

    @property
    def complete(self) -> bool:
        return self._inner.complete

    @property
    def frames(self) -> int:
        return self._inner.frames

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        return self._items(self._inner.feed(data))

    def finish(self) -> bytes:
        """The provider has ended; a whole stream ends the array, of one that broke off the caller's error does."""
        ready = self._items(self._inner.finish())
        if self._closed or not self._inner.complete:
            return ready
        self._closed = True
        return ready + (b"]" if self._began else b"[]")

    def _items(self, events: bytes) -> bytes:
        lines = (self._held + events).split(b"\n")
        self._held = lines.pop()
        items = []
        for line in lines:
            if line.startswith(b"data:"):
                items.append((b",\r\n" if self._began else b"[") + line[5:].strip())
                self._began = True
        return b"".join(items)
