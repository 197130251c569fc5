"""One Exchange stream from an edge process: frames in, batches out.

A batch is handed on while it is read, and written when it is due: no task and no wait stands between. When the stream
breaks, what still runs for it is cancelled and every event that was not acknowledged is published as unconfirmed.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.exchange.background import BackgroundRequest
from tollgate_router.exchange.outbox import Outbox
from tollgate_router.exchange.recorder import Recorded
from tollgate_router.exchange.request import Request
from tollgate_streams.pacing import Pace

if TYPE_CHECKING:
    from tollgate_router.exchange.service import ExchangeDeps
    from tollgate_streams.frames import Headers
    from tollgate_streams.server import ServerCall

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.05
# From so many frames in a write on, the next one waits twice as long: a message costs more than a frame, and where
# requests queue for the processor the wait is not felt: 5 % less of a small request at 32 connections.
_BUSY_FRAMES: Final = 3
_INVALID_ARGUMENT: Final = "3"
_CANNOT_TAKE: Final = UpstreamProblem(
    errors.ERROR_KIND_UNAVAILABLE, "The gateway cannot take this request now.", retry_after_ms=1000
)
_UNRECORDED: Final = UpstreamProblem(errors.ERROR_KIND_INTERNAL, "")


class Session:
    """Listens to its call. `age_timer` asks edge for a stream in place of this one."""

    def __init__(self, deps: "ExchangeDeps", call: "ServerCall") -> None:
        self.deps = deps
        settings = deps.settings
        self._pace = Pace(settings.exchange_pause_ms / 1000, settings.exchange_data_pause_ms / 1000, self._write)
        self.outbox = Outbox(self._pace.waits)
        self.requests: dict[int, Request] = {}
        self.draining = False
        self.age_timer: asyncio.TimerHandle | None = None
        self._unacknowledged: dict[int, list[Recorded]] = {}
        self._call = call
        self._abandoned = False

    # From the stream.

    def on_headers(self, headers: "Headers", *, last: bool) -> None:
        """Trailers of a client say nothing."""

    def on_message(self, message: bytes) -> None:
        """A batch of edge; behind what is none, nothing counts."""
        if self._abandoned:
            return
        try:
            batch = wire.EdgeBatch.FromString(message)
        except DecodeError:
            log.warning("an exchange stream carries what is no batch")
            self._abandon()
            self._call.finish(_INVALID_ARGUMENT, "This is no batch.")
            return
        self._dispatch(batch)

    def on_end(self) -> None:
        """Edge ends the stream: it waits for nothing more."""
        self._abandon()
        self._call.finish()

    def on_lost(self, reason: str) -> None:
        """The stream broke."""
        log.info("exchange stream broke", extra={"fields": {"reason": reason}})
        self._abandon()

    def on_writable(self) -> None:
        """Edge, or the network, takes more."""
        if self.outbox.waiting:
            self._pace.waits(self.outbox.urgent)

    def _dispatch(self, batch: wire.EdgeBatch) -> None:
        requests = self.requests
        self.deps.counters.received.observe(
            len(batch.open) + len(batch.ack) + len(batch.body) + len(batch.credit) + len(batch.cancel)
        )
        for frame in batch.open:
            request = requests[frame.id] = self._request(frame)
            self.guarded(request, request.begin)
        for body in batch.body:
            found = requests.get(body.id)
            if found is not None:
                self.guarded(found, found.body, body.data)
        for credit in batch.credit:
            found = requests.get(credit.id)
            if found is not None:
                self.guarded(found, found.credit, credit.bytes)
        for cancel in batch.cancel:
            found = requests.get(cancel.id)
            if found is not None:
                self.guarded(found, found.cancel, cancel.reason)
        self._acknowledged(batch)

    def _acknowledged(self, batch: wire.EdgeBatch) -> None:
        for frame_id in batch.ack_kept:
            if frame_id in self._unacknowledged:
                self._unacknowledged[frame_id] = [*map(self.deps.recorder.keep, self._unacknowledged[frame_id])]
        for frame_id in batch.ack:
            for recorded in self._unacknowledged.pop(frame_id, ()):
                self.deps.recorder.confirm(recorded)

    def _request(self, frame: wire.Open) -> Request:
        deps = self.deps
        if deps.responses is None or deps.background is None or frame.dialect != wire.DIALECT_OPENAI_RESPONSES:
            return Request(self, frame)
        return BackgroundRequest(self, frame, deps.responses, deps.background)

    def guarded(self, request: Request, function: Any, *arguments: Any) -> None:
        """Runs a step of a request; its error ends that request only, never the loop that reads the stream."""
        try:
            function(*arguments)
        except Exception:
            log.exception("a request failed inside the router")
            try:
                request.broke()
            except Exception:
                log.exception("the end of a request could not be recorded")
                self.end_unrecorded(request, _UNRECORDED)

    def end_unrecorded(self, request: Request, problem: UpstreamProblem = _CANNOT_TAKE) -> None:
        """Ends a request that has no usage event, since the spool is full or its record failed; edge sees to its hold.

        Without an End edge would wait until its deadline. An event for each that is refused would let a full spool
        grow for as long as callers ask.
        """
        for frame_id in [one for one, found in self.requests.items() if found is request]:
            self.outbox.end(0, problem, id=frame_id, outcome=wire.OUTCOME_REFUSED, unrecorded=True)
            self.deps.counters.ends[wire.OUTCOME_REFUSED] += 1
            self.ended(frame_id, request.forget())

    def ended(self, frame_id: int, recorded: list[Recorded]) -> None:
        """A request has ended: its events wait for edge's Ack."""
        self.requests.pop(frame_id, None)
        self._unacknowledged[frame_id] = recorded
        if self._abandoned:
            # It waited for the store when the stream broke.
            self._give_up()
        self.deps.open_requests -= 1

    def _write(self) -> None:
        if self._abandoned or not self._call.writable:
            # What waits goes on from `on_writable`.
            self._pace.stop()
            return
        outbox = self.outbox
        busy, streams = outbox.frames >= _BUSY_FRAMES, outbox.streams
        self.deps.counters.sent.observe(outbox.waiting_frames)
        try:
            # The spool has every event before its End leaves.
            self.deps.recorder.spool.flush()
            for message in outbox.take(self.deps.open_requests):
                self._call.send(message)
        finally:
            self._pace.left(busy=busy)
            if outbox.waiting:
                # It failed; what waits is told to nobody a second time.
                self._pace.waits(False)
        self.deps.rest.wrote(streams)

    def go_away(self, reason: str, *, stopping: bool = False) -> None:
        """Tells edge to send no more; what is open, or was on its way, is finished here."""
        if stopping or not self.draining:
            self.draining = True
            self.outbox.go_away(reason, stopping=stopping)

    def out_of_time(self) -> None:
        """Ends the replies that are under way."""
        for request in list(self.requests.values()):
            self.guarded(request, request.out_of_time)

    @property
    def unacknowledged(self) -> int:
        """Returns how many requests have ended and wait for edge's Ack."""
        return len(self._unacknowledged)

    async def drained(self) -> None:
        """Waits until nothing is open and everything was acknowledged."""
        while self.requests or self._unacknowledged:  # noqa: ASYNC110 - a drain ends once in a process.
            await asyncio.sleep(_POLL_SECONDS)

    def _abandon(self) -> None:
        if self._abandoned:
            return
        if self.age_timer is not None:
            self.age_timer.cancel()
        for request in list(self.requests.values()):
            self.guarded(request, request.cancel)
        self._abandoned = True
        self.deps.sessions.discard(self)
        self._give_up()

    def _give_up(self) -> None:
        unacknowledged, self._unacknowledged = self._unacknowledged, {}
        for recorded in unacknowledged.values():
            for one in recorded:
                self.deps.recorder.give_up(one)
        self.deps.recorder.spool.flush()
