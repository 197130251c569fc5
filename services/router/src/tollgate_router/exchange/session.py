"""One Exchange stream from an edge process: frames in, batches out.

The reader awaits nothing but `read()`, one task writes. When the stream breaks, what still runs for it is cancelled and
every event that was not acknowledged is published as unconfirmed.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import aio

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.pacing import Pace
from tollgate_router.exchange.outbox import Outbox
from tollgate_router.exchange.recorder import Recorded
from tollgate_router.exchange.remembering import RememberedRequest
from tollgate_router.exchange.request import Request

if TYPE_CHECKING:
    from tollgate_router.exchange.service import ExchangeDeps

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.05
# From so many frames in a write on, the next one waits twice as long: a message costs more than a frame, and where
# requests queue for the processor the wait is not felt.
_BUSY_FRAMES: Final = 3


class Session:
    def __init__(self, deps: "ExchangeDeps", context: "aio.ServicerContext[bytes, bytes]") -> None:
        self.deps = deps
        settings = deps.settings
        self._pace = Pace(settings.exchange_pause_ms / 1000, settings.exchange_data_pause_ms / 1000)
        self.outbox = Outbox(self._pace.waits)
        self.requests: dict[int, Request] = {}
        self.draining = False
        self._unacknowledged: dict[int, list[Recorded]] = {}
        self._context = context
        self._abandoned = False

    async def run(self) -> None:
        """Serves the stream until edge ends it or it breaks."""
        await self._context.send_initial_metadata(())
        writer = asyncio.create_task(self._write())
        try:
            while isinstance(message := await self._context.read(), bytes):
                self._dispatch(wire.EdgeBatch.FromString(message))
        except (aio.AioRpcError, grpc.RpcError, asyncio.CancelledError) as error:
            log.info("exchange stream broke", extra={"fields": {"error": type(error).__name__}})
            raise
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, aio.AioRpcError, grpc.RpcError):
                await writer
            self._abandon()

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
                found.credit(credit.bytes)
        for cancel in batch.cancel:
            found = requests.get(cancel.id)
            if found is not None:
                self.guarded(found, found.cancel)
        for frame_id in batch.ack:
            for recorded in self._unacknowledged.pop(frame_id, ()):
                self.deps.recorder.confirm(recorded)

    def _request(self, frame: wire.Open) -> Request:
        store = self.deps.responses
        if store is None or frame.dialect != wire.DIALECT_OPENAI_RESPONSES:
            return Request(self, frame)
        return RememberedRequest(self, frame, store)

    def guarded(self, request: Request, function: Any, *arguments: Any) -> None:
        """Runs a step of a request; its error ends that request only, never the loop that reads the stream."""
        try:
            function(*arguments)
        except Exception:
            log.exception("a request failed inside the router")
            request.broke()

    def ended(self, frame_id: int, recorded: list[Recorded]) -> None:
        """A request has ended: its events wait for edge's Ack."""
        self.requests.pop(frame_id, None)
        self._unacknowledged[frame_id] = recorded
        if self._abandoned:
            # It waited for the store when the stream broke.
            self._give_up()
        self.deps.open_requests -= 1

    async def _write(self) -> None:
        outbox, pace, spool = self.outbox, self._pace, self.deps.recorder.spool
        while True:
            await pace.due.wait()
            pace.leaves()
            busy = outbox.frames >= _BUSY_FRAMES
            self.deps.counters.sent.observe(outbox.waiting_frames)
            # The spool has every event before its End leaves.
            spool.flush()
            for message in outbox.take():
                await self._context.write(message)
            pace.left(busy=busy)
            if outbox.waiting:
                pace.waits(outbox.urgent)

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
        for request in list(self.requests.values()):
            self.guarded(request, request.cancel)
        self._abandoned = True
        self._give_up()
        self.deps.sessions.discard(self)

    def _give_up(self) -> None:
        unacknowledged, self._unacknowledged = self._unacknowledged, {}
        for recorded in unacknowledged.values():
            for one in recorded:
                self.deps.recorder.give_up(one)
        self.deps.recorder.spool.flush()
