"""One call to an upstream: its deadlines, its place in a pool, and the handle that its caller holds."""

import enum
from typing import TYPE_CHECKING

from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.upstream.sink import Timeouts, UpstreamSink

if TYPE_CHECKING:
    from tollgate_router.upstream.connection import Connection
    from tollgate_router.upstream.pool import Pool


class Stage(enum.Enum):
    CONNECTING = FailureKind.CONNECT_TIMEOUT
    WAITING = FailureKind.FIRST_BYTE_TIMEOUT
    READING = FailureKind.IDLE_TIMEOUT
    OVER = None


class UpstreamCall:
    """Handle of a call. Its methods may be called at any time, also from within the sink, and more than once."""

    __slots__ = (
        "_active",
        "_deadline",
        "_total_deadline",
        "channel",
        "connection",
        "paused",
        "pool",
        "request",
        "retried",
        "seen",
        "sink",
        "stage",
        "timeouts",
        "unsent",
    )

    def __init__(
        self,
        channel: str,
        pool: "Pool",
        request: tuple[bytes, ...],
        sink: UpstreamSink,
        timeouts: Timeouts,
        now: float,
        active: "set[UpstreamCall]",
    ) -> None:
        self.channel = channel
        self.pool = pool
        self.request = request
        self.sink = sink
        self.timeouts = timeouts
        self.connection: Connection | None = None
        self.stage = Stage.CONNECTING
        self.retried = False
        # Set by every read instead of a new deadline: the sweep moves the deadline, so a read asks no clock.
        self.seen = False
        self.paused = False
        # Bytes of a long request that the kernel had not taken at the last look.
        self.unsent = 0
        self._deadline = now + timeouts.connect
        self._total_deadline = now + timeouts.total
        self._active = active
        active.add(self)

    def pause(self) -> None:
        """Stops reading from the upstream; at most what one read held still comes."""
        if not self.paused and self.stage is not Stage.OVER:
            self.paused = True
            if self.connection is not None:
                self.connection.pause()

    def resume(self) -> None:
        """Reads on; the time that runs for the reply begins anew."""
        if self.paused and self.stage is not Stage.OVER:
            self.paused = False
            if self.connection is not None:
                self.seen = False
                reading = self.stage is Stage.READING
                self._deadline = self.pool.now() + (self.timeouts.idle if reading else self.timeouts.first_byte)
                self.connection.resume()

    def cancel(self) -> None:
        """Ends the call: the connection is closed and the sink hears nothing more."""
        self._leave()

    def again(self, now: float) -> None:
        """Waits for a connection once more; the total time runs on."""
        self.stage = Stage.CONNECTING
        self.connection = None
        self.unsent = 0
        self._deadline = now + self.timeouts.connect

    def written(self, now: float) -> None:
        """The request is on its way."""
        self.stage = Stage.WAITING
        self.seen = False
        self._deadline = now + self.timeouts.first_byte

    def over(self) -> None:
        """Takes the call out of the client's books; for the connection that brought it to its end."""
        self.stage = Stage.OVER
        self.connection = None
        self.request = ()
        self._active.discard(self)

    def fail(self, kind: FailureKind, detail: str = "") -> None:
        """Ends the call and tells the sink; does nothing when it is over."""
        if self.stage is not Stage.OVER:
            sent = self.stage is not Stage.CONNECTING
            self._leave()
            self.sink.upstream_failed(UpstreamFailure(kind, sent, detail))

    def check(self, now: float) -> None:
        """Fails the call when one of its times has run out."""
        if self.stage is Stage.OVER:
            return
        if now >= self._total_deadline:
            self.fail(FailureKind.TOTAL_TIMEOUT)
            return
        if self.paused and self.stage is not Stage.CONNECTING:
            return
        if self.unsent:
            self._note_sending(now)
        if self.seen and self.stage is Stage.READING:
            self.seen = False
            self._deadline = now + self.timeouts.idle
        elif now >= self._deadline:
            kind = self.stage.value
            assert kind is not None
            self.fail(kind)

    def _note_sending(self, now: float) -> None:
        """As long as the upstream takes more of the request, it need not answer yet."""
        left = self.connection.unsent if self.connection is not None else 0
        if left < self.unsent and self.stage is Stage.WAITING:
            self._deadline = now + self.timeouts.first_byte
        self.unsent = left

    def _leave(self) -> None:
        if self.stage is Stage.OVER:
            return
        connection, connecting = self.connection, self.stage is Stage.CONNECTING
        self.over()
        if connection is not None:
            connection.abandon()
        elif connecting:
            self.pool.forget_waiting(self)
