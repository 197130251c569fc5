"""The Exchange streams to router processes: batches out, batches in, and who is asked next.

A stream's reader awaits nothing but `read()`, one task writes, and an error of one request never ends a loop.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from grpc import aio

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.exchange.v1 import exchange_pb2_grpc
from tollgate_edge.telemetry import InferenceCounters
from tollgate_kit.grpc_io import new_channel
from tollgate_kit.pacing import Pace

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES: Final = 256 * 1024
_MAX_BATCH_FRAMES: Final = 512
_LAZY_PAUSE_SECONDS: Final = 0.02
# From so many frames in a write on, the next one waits twice as long, as in the router.
_BUSY_FRAMES: Final = 6
_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 1.0
_DRAIN_POLL_SECONDS: Final = 0.05
# What a write raises once the call has ended: the second when it had been told so before.
_ENDED: Final = (aio.AioRpcError, asyncio.InvalidStateError)


class Pending(Protocol):
    """A request that is open on a stream."""

    def deliver(self, head: wire.Head | None, data: bytes, end: wire.End | None) -> None:
        """Takes what one batch carries for this request."""
        ...

    def credit(self, size: int) -> None:
        """The router drained `size` bytes of the body."""
        ...

    def lost(self) -> None:
        """The stream broke; no End will come."""
        ...


class Outbox:
    """Frames that wait for the next write of one stream.

    `waits` is told when the first frame comes to wait, and when the first urgent one does.
    """

    __slots__ = ("_batch", "_waits", "bytes", "frames", "urgent")

    def __init__(self, waits: Callable[[bool], None]) -> None:
        self._waits = waits
        self._batch = wire.EdgeBatch()
        self.bytes = 0
        self.frames = 0
        self.urgent = False

    def open(self, size: int, **fields: Any) -> None:
        """Adds an Open with `size` bytes of body; it is made inside the batch that it leaves in."""
        self._batch.open.add(**fields)
        self._added(size, urgent=True)

    def body(self, frame_id: int, data: bytes) -> None:
        self._batch.body.add(id=frame_id, data=data)
        self._added(len(data), urgent=True)

    def cancel(self, frame_id: int, reason: wire.CancelReason) -> None:
        self._batch.cancel.add(id=frame_id, reason=reason)
        self._added(0, urgent=True)

    def credit(self, frame_id: int, size: int) -> None:
        self._batch.credit.add(id=frame_id, bytes=size)
        self._added(0, urgent=True)

    def ack(self, frame_id: int) -> None:
        self._batch.ack.append(frame_id)
        self._added(0, urgent=False)

    def _added(self, size: int, *, urgent: bool) -> None:
        self.bytes += size
        self.frames += 1
        if urgent and not self.urgent:
            self.urgent = True
            self._waits(True)
        elif self.frames == 1:
            self._waits(False)

    def take(self) -> list[bytes]:
        """Returns what waits as encoded batches, each within the limits, and begins anew."""
        batch, frames, size = self._batch, self.frames, self.bytes
        self._batch, self.bytes, self.frames, self.urgent = wire.EdgeBatch(), 0, 0, False
        if frames <= _MAX_BATCH_FRAMES and size <= _MAX_BATCH_BYTES:
            return [batch.SerializeToString()] if frames else []
        return [part.SerializeToString() for part in split(batch)]


def split(batch: wire.EdgeBatch) -> list[wire.EdgeBatch]:
    """Cuts a batch into batches within the limits; an Open comes before its Body frames."""
    parts = [wire.EdgeBatch()]
    frames = size = 0
    for name in ("open", "body", "credit", "cancel", "ack"):
        for frame in getattr(batch, name):
            weight = len(frame.body) if name == "open" else len(frame.data) if name == "body" else 0
            if frames >= _MAX_BATCH_FRAMES or (frames and size + weight > _MAX_BATCH_BYTES):
                parts.append(wire.EdgeBatch())
                frames = size = 0
            getattr(parts[-1], name).append(frame)
            frames, size = frames + 1, size + weight
    return parts


class RouterStream:
    """One gRPC call that carries many requests."""

    def __init__(
        self,
        call: "aio.StreamStreamCall[bytes, bytes]",
        pause_seconds: float,
        counters: InferenceCounters | None = None,
    ) -> None:
        self._call = call
        # Acknowledgements wait for company.
        self._pace = Pace(pause_seconds, _LAZY_PAUSE_SECONDS)
        self._counters = counters or InferenceCounters()
        self._next_id = 0
        self.outbox = Outbox(self._pace.waits)
        self.pending: dict[int, Pending] = {}
        self.draining = False
        # The router's process stops.
        self.stopping = False
        self.closed = False
        self.changed = asyncio.Event()

    def open(self, pending: Pending) -> int:
        """Registers a request and returns its id on this stream."""
        frame_id = self._next_id = (self._next_id + 1) & 0xFFFFFFFF or 1
        self.pending[frame_id] = pending
        return frame_id

    async def run(self) -> None:
        """Reads and writes until the stream ends; what was open then is told that it is lost."""
        writer = asyncio.create_task(self._write())
        try:
            while isinstance(message := await self._call.read(), bytes):
                self._dispatch(wire.RouterBatch.FromString(message))
        except aio.AioRpcError as error:
            log.info("exchange stream ended", extra={"fields": {"code": error.code().name}})
        finally:
            self.closed = True
            writer.cancel()
            # However it ended, and it may have before: what follows must happen.
            await asyncio.wait({writer})
            self._call.cancel()
            lost, self.pending = self.pending, {}
            for pending in lost.values():
                _guarded(pending.lost)
            self.changed.set()

    def _dispatch(self, batch: wire.RouterBatch) -> None:  # noqa: C901 - one pass over a batch, in the hot path.
        heads = {head.id: head for head in batch.head}
        ends = {end.id: end for end in batch.end}
        pending = self.pending
        self._counters.received.observe(len(heads) + len(batch.data) + len(ends) + len(batch.credit))
        for frame in batch.data:
            frame_id = frame.id
            request = pending.get(frame_id)
            end = ends.pop(frame_id, None)
            if request is not None:
                if end is not None:
                    del pending[frame_id]
                _guarded(request.deliver, heads.pop(frame_id, None), frame.data + end.data if end else frame.data, end)
        for frame_id, end in ends.items():
            request = pending.pop(frame_id, None)
            if request is not None:
                _guarded(request.deliver, heads.pop(frame_id, None), end.data, end)
        for frame_id, head in heads.items():
            request = pending.get(frame_id)
            if request is not None:
                _guarded(request.deliver, head, b"", None)
        for credit in batch.credit:
            request = pending.get(credit.id)
            if request is not None:
                _guarded(request.credit, credit.bytes)
        if batch.HasField("go_away"):
            self.draining = True
            self.stopping = batch.go_away.stopping
            self.changed.set()

    async def _write(self) -> None:
        outbox, pace = self.outbox, self._pace
        while True:
            await pace.due.wait()
            pace.leaves()
            busy = outbox.frames >= _BUSY_FRAMES
            self._counters.sent.observe(outbox.frames)
            if not await self._send(outbox.take()):
                return
            pace.left(busy=busy)
            if outbox.frames:
                pace.waits(outbox.urgent)

    async def finish(self) -> None:
        """Waits until nothing is open, then ends the stream from this side."""
        while self.pending and not self.closed:  # noqa: ASYNC110 - a drain ends once in a stream.
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        if not self.closed and await self._send(self.outbox.take()):
            with contextlib.suppress(*_ENDED):
                await self._call.done_writing()

    async def _send(self, messages: Sequence[bytes]) -> bool:
        """Writes to the call; False when it has ended, which its reader finds out as well."""
        try:
            for message in messages:
                await self._call.write(message)
        except _ENDED:
            return False
        return True


def _guarded(function: Callable[..., None], *arguments: Any) -> None:
    """Runs a request's callback; its error ends that request only, never the loop that reads the stream."""
    try:
        function(*arguments)
    except Exception:
        log.exception("a request's callback failed")


class RouterPeer:
    """One router process: keeps a stream open to it, and a second beside the first after GoAway."""

    def __init__(
        self, address: str, pause_seconds: float, on_ready: Callable[[], None], counters: InferenceCounters
    ) -> None:
        self.address = address
        # Those included that finish what they carry.
        self.streams: set[RouterStream] = set()
        self.opened = 0
        self.broken = 0
        self.stream: RouterStream | None = None
        self._pause = pause_seconds
        self._on_ready = on_ready
        self._counters = counters
        self._old: set[asyncio.Task[None]] = set()

    @property
    def open_requests(self) -> int:
        return sum(len(stream.pending) for stream in self.streams)

    async def run(self, stopping: asyncio.Event) -> None:
        """Connects, and connects again with back-off, until `stopping`."""
        delay = _FIRST_RETRY_SECONDS
        while not stopping.is_set():
            async with new_channel(self.address) as channel:
                while not stopping.is_set():
                    stream, task = await self._connect(channel)
                    if stream is None or task is None:
                        break
                    self._old.add(task)
                    task.add_done_callback(self._old.discard)
                    await self._serve(stream, stopping)
                    if not stream.stopping:
                        delay = _FIRST_RETRY_SECONDS
                    elif not stream.closed:
                        await self._ended(task, stopping)
                    if stream.closed:
                        break
                if stopping.is_set():
                    await self._finish()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY_SECONDS)

    async def _connect(self, channel: aio.Channel) -> tuple[RouterStream | None, asyncio.Task[None] | None]:
        new_stub: Any = exchange_pb2_grpc.ExchangeServiceStub
        stub = new_stub(_Bytes(channel))
        call = stub.Exchange()
        try:
            await asyncio.wait_for(call.wait_for_connection(), 5)
        except (aio.AioRpcError, TimeoutError, asyncio.CancelledError) as error:
            call.cancel()
            if isinstance(error, asyncio.CancelledError):
                raise
            return None, None
        stream = RouterStream(call, self._pause, self._counters)
        task = asyncio.create_task(stream.run())
        task.add_done_callback(lambda _: self.streams.discard(stream))
        self.streams.add(stream)
        self.opened += 1
        self.stream = stream
        log.info("exchange stream open", extra={"fields": {"router": self.address}})
        self._on_ready()
        return stream, task

    async def _serve(self, stream: RouterStream, stopping: asyncio.Event) -> None:
        stopped = asyncio.create_task(stopping.wait())
        changed = asyncio.create_task(stream.changed.wait())
        await asyncio.wait({stopped, changed}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        changed.cancel()
        if self.stream is stream and (stream.closed or stream.draining):
            self.stream = None
        self.broken += stream.closed and not stream.draining
        if stream.draining and not stream.closed:
            # A second stream opens beside this one, which finishes what it carries.
            task = asyncio.create_task(stream.finish())
            self._old.add(task)
            task.add_done_callback(self._old.discard)

    async def _ended(self, task: asyncio.Task[None], stopping: asyncio.Event) -> None:
        """Waits until a router that stops has ended its stream: until then it takes no other."""
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait({stopped, task}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def _finish(self) -> None:
        if self.stream is not None:
            await self.stream.finish()
        if self._old:
            await asyncio.wait(self._old, timeout=1)


class _Bytes:
    """Stands in for a channel whose methods hand bytes through: batches are encoded where they are built."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel

    def stream_stream(self, method: str, **_: object) -> Any:
        return self._channel.stream_stream(method)


class RouterPool:
    """Picks the router process with the fewest open requests."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        pause_seconds: float,
        on_ready: Callable[[], None],
        counters: InferenceCounters,
    ) -> None:
        self.peers = [RouterPeer(address, pause_seconds, on_ready, counters) for address in addresses]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, stopping: asyncio.Event) -> None:
        """Begins to connect to every router process."""
        self._tasks = [asyncio.create_task(peer.run(stopping)) for peer in self.peers]

    async def stop(self) -> None:
        """Ends the streams; call it after `stopping` is set and requests have drained."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        for task in self._tasks:
            task.cancel()

    def pick(self, exclude: RouterStream | None = None) -> RouterStream | None:
        """Returns the stream to use, or None while no router is connected."""
        best: RouterStream | None = None
        for peer in self.peers:
            stream = peer.stream
            if stream is None or stream is exclude or stream.draining or stream.closed:
                continue
            if best is None or len(stream.pending) < len(best.pending):
                best = stream
        return best

    @property
    def streams(self) -> list[RouterStream]:
        """Every stream that is open, those included that take no more requests."""
        return [stream for peer in self.peers for stream in peer.streams]

    @property
    def connected(self) -> int:
        return sum(peer.stream is not None for peer in self.peers)
