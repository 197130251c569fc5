"""The caller's end of a connection: what is written to it, whether it takes that, and how it is let go."""

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tollgate_edge.errors import PublicError, render_openai
from tollgate_edge.inference.words import STATUS_LINES

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange
    from tollgate_edge.inference.gateway import InferenceGateway
    from tollgate_edge.inference.slow_readers import SlowReaders

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


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

    def _is_read_by_app(self) -> bool:
        """Tells whether the app waits for the rest of the request that is being read, and nothing comes before it."""
        cycle = self.cycle
        if self._serving is not None or self.pipeline or cycle is None:
            return False
        return cycle.more_body and not cycle.response_started

    def _idle(self) -> bool:
        return self._serving is None and (self.cycle is None or self.cycle.response_complete)

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

    def _answer(self, error: PublicError) -> None:
        """Writes an error that belongs to no exchange."""
        request_id = self.gateway.new_request_id()
        # How much of a head that is not whole was read depends on how it was cut: its host is not looked at.
        body = render_openai(error, request_id, self.gateway.error_docs(b""))
        more = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        self.transport.write(
            (STATUS_LINES.get(error.status) or b"HTTP/1.1 %d \r\n" % error.status)
            + b"content-type: application/json\r\nx-request-id: %s\r\n%s" % (request_id.encode(), more.encode())
            + b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body)
        )
        self.gateway.counters.count_refused(error.code)
        self.gateway.records.refused(request_id, error)
