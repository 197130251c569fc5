"""A whole reply that is too long to leave at once: it goes out in windows, as its caller takes it."""

from typing import Final

from tollgate_router.domain.openai_chat import ReplyUsage
from tollgate_router.exchange.outbox import Outbox
from tollgate_router.telemetry import RouterCounters

# Of one request's reply, on its way and not passed on by edge yet.
WINDOW_BYTES: Final = 256 * 1024


class LongReply:
    """`left` is how many bytes have not left yet; `usage` is what the provider said that the whole of it used."""

    __slots__ = ("_body", "_counters", "_frame_id", "_outbox", "_room", "_waits", "left", "usage")

    def __init__(self, outbox: Outbox, frame_id: int, body: bytes, usage: ReplyUsage, counters: RouterCounters) -> None:
        self._outbox = outbox
        self._frame_id = frame_id
        self._body = body
        self._counters = counters
        self._room = 0
        self._waits = False
        self.left = len(body)
        self.usage = usage

    def begin(self, most: int) -> int:
        """Returns how many bytes may leave at first: a window, or all where `most` bytes of such replies wait here.

        Edge, where they go then, has a limit of its own and knows who reads most slowly.
        """
        if self.left <= WINDOW_BYTES or self._counters.waiting_reply_bytes + self.left > most:
            return self.left
        self._waits = True
        self._counters.waiting_reply_bytes += self.left
        self._counters.stalls += 1
        return WINDOW_BYTES

    def send(self, room: int) -> bool:
        """Sends what there is room for, by `room` bytes more than before; returns whether that was the last of it."""
        self._room += room
        size = min(self._room, self.left)
        if size > 0:
            at = len(self._body) - self.left
            self._outbox.data(self._frame_id, self._body[at : at + size])
            self._room -= size
            self.left -= size
        return not self.left

    def close(self) -> None:
        """It waits no more."""
        if self._waits:
            self._waits = False
            self._counters.waiting_reply_bytes -= len(self._body)
