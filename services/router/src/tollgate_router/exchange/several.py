"""An attempt that takes several calls: providers whose wire has one text a call, or a few, where callers send many.

To the request it is one call with one reply: a list of `{"input_tokens": …, "reply": …}` in the order of the bodies,
with what the head of each reply counts as input, or null. The first call that fails ends all of them, and its failure
is that of the attempt; what the others cost by then is lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tollgate_router.domain.failure import FailureKind, UpstreamFailure

if TYPE_CHECKING:
    from tollgate_router.exchange.dispatching import AwaitedCall
    from tollgate_router.upstream.client import UpstreamCall, UpstreamSink

    Send = Callable[[bytes, UpstreamSink], UpstreamCall | AwaitedCall]

_AT_ONCE: Final = 8
_TOKENS: Final = b"x-amzn-bedrock-input-token-count"
_MOST_DIGITS: Final = 10


class SeveralCalls:
    """`send` begins one call; `seconds` bounds all of them together, `most_bytes` what is kept of their replies."""

    def __init__(
        self, bodies: tuple[bytes, ...], send: "Send", sink: "UpstreamSink", *, seconds: float, most_bytes: int
    ) -> None:
        self._send = send
        self._sink = sink
        self._waiting = deque(enumerate(bodies))
        self._replies: list[bytes] = [b""] * len(bodies)
        self._left = len(bodies)
        self._room = most_bytes
        self._calls: dict[int, UpstreamCall | AwaitedCall] = {}
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late)
        for _ in range(min(_AT_ONCE, len(bodies))):
            self._next()

    def _next(self) -> None:
        place, body = self._waiting.popleft()
        self._calls[place] = self._send(body, _One(self, place))

    def answered(self, place: int, reply: bytes) -> None:
        """One of them has its reply, written as an item of the list."""
        del self._calls[place]
        self._replies[place] = reply
        self._left -= 1
        if self._waiting:
            self._next()
        elif not self._left:
            self._deliver(b"[%b]" % b",".join(self._replies))

    def took(self, size: int) -> None:
        """Some of a reply has come."""
        self._room -= size
        if self._room < 0:
            self.failed(UpstreamFailure(FailureKind.PROTOCOL, sent=True, detail="the replies are too large"))

    def refused(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """One of them has an error for a reply."""
        self.cancel()
        self._sink.upstream_head(status, headers)
        self._sink.upstream_data(body)
        self._sink.upstream_end()

    def failed(self, failure: UpstreamFailure) -> None:
        """One of them has no whole reply."""
        self.cancel()
        self._sink.upstream_failed(failure)

    def _late(self) -> None:
        self.failed(UpstreamFailure(FailureKind.TOTAL_TIMEOUT, sent=True))

    def _deliver(self, body: bytes) -> None:
        self._timer.cancel()
        self._sink.upstream_head(200, [])
        self._sink.upstream_data(body)
        self._sink.upstream_end()

    def pause(self) -> None:
        """Nothing is handed on before all is there, so that nothing has to be held back."""

    def resume(self) -> None:
        """Nothing was held back."""

    def cancel(self) -> None:
        """Ends all of them."""
        self._timer.cancel()
        self._waiting.clear()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()


class _One:
    """The sink of one call."""

    def __init__(self, several: SeveralCalls, place: int) -> None:
        self._several = several
        self._place = place
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status, self._headers = status, headers

    def upstream_data(self, data: bytes) -> None:
        self._body.append(data)
        self._several.took(len(data))

    def upstream_end(self) -> None:
        body = b"".join(self._body)
        if self._status != 200:
            self._several.refused(self._status, self._headers, body)
        else:
            self._several.answered(self._place, b'{"input_tokens":%b,"reply":%b}' % (_counted(self._headers), body))

    def upstream_failed(self, failure: UpstreamFailure) -> None:
        self._several.failed(failure)


def _counted(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Returns what a head counts as input, as JSON."""
    found = next((value for name, value in headers if name == _TOKENS), b"")
    return b"%d" % int(found) if found.isdigit() and len(found) <= _MOST_DIGITS else b"null"
