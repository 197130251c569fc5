"""The caller's end of a connection: what is written to it, whether it takes that, and how it is let go."""

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange
    from tollgate_edge.inference.gateway import InferenceGateway
    from tollgate_edge.inference.slow_readers import SlowReaders


class Caller(HttpToolsProtocol):
    """The half of the door that faces the transport. `gateway` and `slow_readers` are set by `door_class`."""

    gateway: "InferenceGateway"
    slow_readers: "SlowReaders"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.peer = ""
        self._serving: InferenceExchange | None = None
        # All is said, or will be with the reply under way; what the caller still sends is dropped.
        self._lingers = False
        # When a request, or the rest of it, is to be there; 0 while none is under way.
        self.read_deadline = 0.0
        # See `unread`.
        self.taken_at = 0.0
        self._taken = 0

    def write(self, data: bytes) -> None:
        """Sends bytes; a vanished client is ignored."""
        if not self.transport.is_closing():
            self.transport.write(data)
            # What was written is counted, since what waits in all connections could only be asked of each: 0.07 µs.
            readers = self.slow_readers
            readers.room -= len(data)
            if readers.room < 0:
                readers.find_room(self.gateway.doors, self.loop.time())

    @property
    def write_paused(self) -> bool:
        return self.flow.write_paused

    def unread(self, now: float) -> int:
        """Returns how many bytes of replies wait for the caller, and notes whether it took any since the last look.

        The kernel's buffer is not among them. What was written meanwhile is known of exchanges only, so that nothing is
        counted as it is written; a reply of the app pauses where much waits, and goes on when it was taken.
        """
        unsent = self.transport.get_write_buffer_size()
        taken = (self._serving.bytes_out if self._serving is not None else 0) - unsent
        if not unsent or taken > self._taken:
            self.taken_at = now
        self._taken = taken
        return unsent

    def drop(self) -> None:
        """Closes at once; what waits for the caller is lost."""
        self.transport.abort()

    def _leave(self) -> None:
        """Closes; where the rest of a request is on its way, only when it was taken, or the caller has closed.

        Closing on what nobody has read would reset the connection, and the caller might never see its answer.
        """
        if not self._lingers:
            self.transport.close()
        elif not self.transport.is_closing():
            self.read_deadline = self.loop.time() + self.gateway.settings.header_timeout_seconds
            self.flow.resume_reading()
            self.transport.write_eof()
