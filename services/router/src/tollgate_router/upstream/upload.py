"""A call whose body comes in pieces, while it is sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tollgate_router.upstream.call import CONNECTING, OVER, WAITING, UpstreamCall
from tollgate_router.upstream.sink import Timeouts, UpstreamSink

if TYPE_CHECKING:
    from tollgate_router.upstream.pool import Pool

# Many servers know nothing of 100-continue, and wait for the body themselves.
_CONTINUE_SECONDS: Final = 1.0


class Upload(UpstreamCall):
    """Handle of such a call. The body goes in chunks, or under the length that was announced.

    It begins on a connection of its own and is never sent again: what was handed over is not kept.
    """

    __slots__ = ("_finished", "_has_room", "_held", "_is_held_up", "_left", "_on_room")

    def __init__(
        self,
        channel: str,
        pool: "Pool",
        head: bytes,
        sink: UpstreamSink,
        timeouts: Timeouts,
        now: float,
        *,
        length: int | None,
        expects: bool,
        on_room: Callable[[], None] | None,
    ) -> None:
        super().__init__(channel, pool, (head, b""), sink, timeouts, now)
        self.retried = True
        self._left = length
        self._on_room = on_room
        # Held back until the upstream says that it will read them; None when nothing is.
        self._held: list[bytes] | None = [] if expects else None
        self._has_room = False
        # The connection may say so while it takes what was handed over before it was there.
        self._is_held_up = False
        self._finished = False

    @property
    def has_room(self) -> bool:
        """Whether more of the body is welcome; `on_room` is called when it is again."""
        return self._has_room and self.stage != OVER

    @property
    def is_finished(self) -> bool:
        """Whether the whole body was handed over, and nothing of it is held back."""
        return self._finished and self._held is None

    def feed(self, data: bytes) -> bool:
        """Hands over the next piece of the body; returns `has_room`. Does nothing when the call is over.

        Raises ValueError for more than was announced, and after `finish`.
        """
        if self._finished:
            raise ValueError("the body is finished")
        if data and self.stage != OVER:
            if self._left is None:
                self._write((b"%x\r\n" % len(data), data, b"\r\n"))
            else:
                if len(data) > self._left:
                    raise ValueError("more than the length that was announced")
                self._left -= len(data)
                self._write((data,))
        return self.has_room

    def finish(self) -> None:
        """The body is whole. Raises ValueError when it is shorter than was announced."""
        if self._finished or self.stage == OVER:
            return
        if self._left:
            raise ValueError("less than the length that was announced")
        self._finished = True
        if self._left is None:
            self._write((b"0\r\n\r\n",))
        if self.connection is not None and self._held is None:
            self.connection.owes_body = False

    def began(self) -> None:
        """The connection took what was handed over so far."""
        if self._held is None:
            self.room(free=not self._is_held_up)

    def proceed(self) -> None:
        """The upstream will read the body, or says nothing about it."""
        held, self._held = self._held, None
        if held is not None and self.connection is not None:
            if held:
                self.unsent += self.connection.write_more(tuple(held))
            self.connection.owes_body = not self._finished
            self.room(free=not self._is_held_up)

    def room(self, *, free: bool) -> None:
        """The connection takes more, or no more for now."""
        self._has_room = free
        self._is_held_up = not free
        if free and not self._finished and self._on_room is not None:
            self._on_room()

    def check(self, now: float) -> None:
        """Fails the call when one of its times has run out; while the caller thinks, only the total time runs."""
        if self.stage == WAITING and self._held is not None:
            if now - self.since >= _CONTINUE_SECONDS:
                self.proceed()
        elif self.stage == WAITING and not self._finished and not self.unsent:
            self.since = now
        super().check(now)

    def _write(self, pieces: tuple[bytes, ...]) -> None:
        if self._held is not None:
            self._held += pieces
        elif self.stage == CONNECTING:
            self.request += pieces
        elif self.connection is not None:
            self.unsent += self.connection.write_more(pieces)
