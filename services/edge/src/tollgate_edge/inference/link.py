"""The Exchange streams to router processes: batches out, batches in, and who is asked next.

A batch is handed on while it is read, and written when it is due; an error of one request never ends a stream.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.guarding import Breakable, guarded
from tollgate_edge.telemetry import InferenceCounters
from tollgate_streams.client import Call, NotOpened, call
from tollgate_streams.frames import Headers
from tollgate_streams.pacing import Pace

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES: Final = 256 * 1024
_MAX_BATCH_FRAMES: Final = 512
# What may wait for a router that reads nothing: callers leave, and what they asked stays in the queue until the stream
# is given up. Frames are counted as well, since a small request is far more than its body.
_MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
_MAX_QUEUED_FRAMES: Final = 16_384
_LAZY_PAUSE_SECONDS: Final = 0.02
# From so many frames in a write on, the next one waits twice as long, as in the router: 5 % less of a small request
# at 32 connections (docs/adr/0001-one-multiplexed-stream.md).
_BUSY_FRAMES: Final = 6
_FIRST_RETRY_SECONDS: Final = 0.05
_LAST_RETRY_SECONDS: Final = 1.0
_DRAIN_POLL_SECONDS: Final = 0.05
_CONNECT_SECONDS: Final = 5.0
# A router that is asked for nothing says nothing, and must not be passed by for what it said once.
_LOAD_SECONDS: Final = 1.0
_PATH: Final = "/tollgate.exchange.v1.ExchangeService/Exchange"


class Pending(Breakable, Protocol):
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
    """Frames that wait for the next write of one stream, made inside their batch: 1 µs less for each than beside it.

    `waits` is told when the first frame comes to wait, and when the first urgent one does.
    """

    __slots__ = ("_batch", "_waits", "bytes", "frames", "urgent")

    def __init__(self, waits: Callable[[bool], None]) -> None:
        self._waits = waits
        self._batch = wire.EdgeBatch()
        self.bytes = 0
        self.frames = 0
        self.urgent = False

    @property
    def full(self) -> bool:
        """So much waits that a new request is to go elsewhere, or to wait."""
        return self.bytes > _MAX_QUEUED_BYTES or self.frames > _MAX_QUEUED_FRAMES

    def open(self, size: int, common: bytes = b"", **fields: Any) -> None:
        """Adds an Open with `size` bytes of body; it is made inside the batch that it leaves in.

        `common` are fields that it shares with others, encoded: reading them takes 1 us less than setting them.
        """
        added = self._batch.open.add(**fields)
        try:
            added.MergeFromString(common)
        except BaseException:
            # Half an Open must not leave.
            del self._batch.open[-1]
            raise
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

    def keep(self, frame_id: int) -> None:
        """Edge keeps the trace of a request whose `ack` waits here since this turn of the loop."""
        self._batch.ack_kept.append(frame_id)

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
    for name in ("open", "body", "credit", "cancel", "ack_kept", "ack"):
        for frame in getattr(batch, name):
            weight = len(frame.body) if name == "open" else len(frame.data) if name == "body" else 0
            if frames >= _MAX_BATCH_FRAMES or (frames and size + weight > _MAX_BATCH_BYTES):
                parts.append(wire.EdgeBatch())
                frames = size = 0
            getattr(parts[-1], name).append(frame)
            frames, size = frames + 1, size + weight
    return parts


class RouterStream:
    """One gRPC call that carries many requests; it listens to the call, which `connect` makes.

    `on_room` is told when its queue was full and has left.
    """

    def __init__(
        self,
        pause_seconds: float,
        counters: InferenceCounters | None = None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.call: Call | None = None
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        # Acknowledgements wait for company.
        self._pace = Pace(pause_seconds, _LAZY_PAUSE_SECONDS, self._write)
        self._counters = counters or InferenceCounters()
        self._next_id = 0
        self.outbox = Outbox(self._pace.waits)
        self.pending: dict[int, Pending] = {}
        # What is open at this router's process beside ours, as it said last, and when on the loop's clock.
        self._others, self._said_at = 0, 0.0
        self.draining = False
        # The router's process stops.
        self.stopping = False
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        # As `ended` has it, for those who ask with every request and every write: 0.03 µs less than to ask that.
        self.closed = False

    @property
    def load(self) -> int:
        """Returns how many requests are open at the router's process. Its word is forgotten where it says nothing."""
        others = self._others if self._loop.time() < self._said_at + _LOAD_SECONDS else 0
        return len(self.pending) + others

    async def connect(self, address: str) -> None:
        """Opens the call. Raises NotOpened, OSError."""
        self.call = await call(address, _PATH, self)
        await self.call.taken()

    def open(self, pending: Pending) -> int:
        """Registers a request and returns its id on this stream."""
        frame_id = self._next_id = (self._next_id + 1) & 0xFFFFFFFF or 1
        self.pending[frame_id] = pending
        return frame_id

    # From the call.

    def on_headers(self, headers: Headers, *, last: bool) -> None:
        """The call looks at them."""

    def on_message(self, message: bytes) -> None:
        """A batch of the router; what is none ends the stream."""
        try:
            batch = wire.RouterBatch.FromString(message)
        except DecodeError:
            log.warning("an exchange stream carries what is no batch")
            self.cancel()
            return
        self._dispatch(batch)

    def on_end(self) -> None:
        """The router ended the stream."""
        self._close("the router ended it")

    def on_lost(self, reason: str) -> None:
        """The stream broke."""
        self._close(reason)

    def on_writable(self) -> None:
        """The router, or the network, takes more."""
        if self.outbox.frames:
            self._pace.waits(self.outbox.urgent)

    def _close(self, reason: str) -> None:
        """Tells what is open that it is lost: no End will come."""
        if self.closed:
            return
        log.info("exchange stream ended", extra={"fields": {"reason": reason}})
        self.closed = True
        self.ended.set()
        self._pace.stop()
        lost, self.pending = self.pending, {}
        for pending in lost.values():
            guarded(pending, pending.lost)
        self.changed.set()

    def _dispatch(self, batch: wire.RouterBatch) -> None:  # noqa: C901 - one pass over a batch, in the hot path.
        heads = {head.id: head for head in batch.head}
        ends = {end.id: end for end in batch.end}
        pending = self.pending
        self._counters.received.observe(len(heads) + len(batch.data) + len(ends) + len(batch.credit))
        for frame in batch.data:
            frame_id = frame.id
            request = pending.get(frame_id)
            if request is None:
                continue
            head, data, end = heads.pop(frame_id, None), frame.data, ends.pop(frame_id, None)
            if end is not None:
                del pending[frame_id]
                data += end.data
            guarded(request, request.deliver, head, data, end)
        for frame_id, end in ends.items():
            request = pending.pop(frame_id, None)
            if request is not None:
                guarded(request, request.deliver, heads.pop(frame_id, None), end.data, end)
        for frame_id, head in heads.items():
            request = pending.get(frame_id)
            if request is not None:
                guarded(request, request.deliver, head, b"", None)
        for credit in batch.credit:
            request = pending.get(credit.id)
            if request is not None:
                guarded(request, request.credit, credit.bytes)
        # Requests of ours that are on their way to it are not in its count: it must not go below none.
        self._others, self._said_at = max(0, batch.open_requests - len(pending)), self._loop.time()
        if batch.HasField("go_away"):
            self.draining = True
            self.stopping = batch.go_away.stopping
            self.changed.set()

    def _write(self) -> None:
        if self.closed or self.call is None or not self.call.writable:
            # What waits goes on from `on_writable`.
            self._pace.stop()
            return
        busy, full = self.outbox.frames >= _BUSY_FRAMES, self.outbox.full
        self._counters.sent.observe(self.outbox.frames)
        try:
            self._send()
        finally:
            self._pace.left(busy=busy)
        if full:
            self._on_room()

    def _send(self) -> None:
        assert self.call is not None
        for message in self.outbox.take():
            self.call.send(message)

    async def finish(self) -> None:
        """Waits until nothing is open, then ends the stream from this side."""
        while self.pending and not self.closed:  # noqa: ASYNC110 - a drain ends once in a stream.
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        if not self.closed and self.call is not None:
            self._send()
            self.call.done_writing()

    def cancel(self) -> None:
        """Ends the stream at once; what is open is told."""
        if self.call is not None:
            self.call.cancel()
        self._close("it was given up")


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
            stream = await self._connect()
            if stream is not None:
                await self._serve(stream, stopping)
                if not stream.stopping:
                    delay = _FIRST_RETRY_SECONDS
                elif not stream.closed:
                    await _first(stopping, stream.ended)
                if not stream.closed:
                    # A second stream opens beside this one, which finishes what it carries.
                    continue
            if not stopping.is_set():
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_SECONDS)
        await self._finish()

    async def _connect(self) -> RouterStream | None:
        stream = RouterStream(self._pause, self._counters, self._on_ready)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await stream.connect(self.address)
        except (NotOpened, OSError, TimeoutError):
            stream.cancel()
            return None
        except asyncio.CancelledError:
            stream.cancel()
            raise
        if stream.closed:
            return None
        self.streams.add(stream)
        self.opened += 1
        self.stream = stream
        log.info("exchange stream open", extra={"fields": {"router": self.address}})
        self._on_ready()
        return stream

    async def _serve(self, stream: RouterStream, stopping: asyncio.Event) -> None:
        await _first(stopping, stream.changed)
        if self.stream is stream and (stream.closed or stream.draining):
            self.stream = None
        self.broken += stream.closed and not stream.draining
        if stream.closed:
            self.streams.discard(stream)
        elif stream.draining:
            task = asyncio.create_task(self._let_finish(stream))
            self._old.add(task)
            task.add_done_callback(self._old.discard)

    async def _let_finish(self, stream: RouterStream) -> None:
        await stream.finish()
        await stream.ended.wait()
        self.streams.discard(stream)

    async def _finish(self) -> None:
        if self.stream is not None:
            await self.stream.finish()
        if self.streams:
            await asyncio.wait([asyncio.create_task(stream.ended.wait()) for stream in self.streams], timeout=1)
        for stream in tuple(self.streams):
            stream.cancel()


async def _first(*events: asyncio.Event) -> None:
    """Waits for the first of these."""
    waiting = {asyncio.create_task(event.wait()) for event in events}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


class RouterPool:
    """Picks the router process with the fewest open requests: ours, and by its own word those of other edges."""

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
        """Returns the stream to use, or None while no router is connected that takes more."""
        usable = [
            peer
            for peer in self.peers
            if peer.stream is not None
            and peer.stream is not exclude
            and not peer.stream.draining
            and not peer.stream.closed
            and not peer.stream.outbox.full
        ]
        if len(usable) < 2:
            return usable[0].stream if usable else None
        return min(usable, key=_load_of).stream

    @property
    def streams(self) -> list[RouterStream]:
        """Every stream that is open, those included that take no more requests."""
        return [stream for peer in self.peers for stream in peer.streams]

    @property
    def connected(self) -> int:
        return sum(peer.stream is not None for peer in self.peers)


def _load_of(peer: RouterPeer) -> int:
    """Returns how many requests are open at a router's process. One that renewed its stream has some on the old one."""
    assert peer.stream is not None
    return peer.stream.load if len(peer.streams) == 1 else max(peer.stream.load, peer.open_requests)
