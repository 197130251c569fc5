"""The connections to one origin: unused ones, and the calls that wait for one."""

import asyncio
import socket
from collections import deque
from dataclasses import dataclass
from typing import Final

from tollgate_kit.clock import Clock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.target import Origin
from tollgate_router.upstream.call import UpstreamCall
from tollgate_router.upstream.connection import Connection
from tollgate_router.upstream.connector import CannotConnect, Connector
from tollgate_router.upstream.sink import ClientLimits

_AGE_SPREAD: Final = 0.25
_WARM_SECONDS: Final = 10.0


@dataclass(slots=True)
class Counters:
    """What the client has done since it was made; read by metrics."""

    calls: int = 0
    opened: int = 0
    reused: int = 0
    retried: int = 0


class Pool:
    def __init__(
        self, origin: Origin, connector: Connector, limits: ClientLimits, clock: Clock, counters: Counters
    ) -> None:
        self.origin = origin
        self._connector = connector
        self._limits = limits
        self._clock = clock
        self._counters = counters
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._waiting: deque[UpstreamCall] = deque()
        # Uploads, and calls that met a stale connection: only one that nobody used yet may serve them.
        self._waiting_for_new: deque[UpstreamCall] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen_at = clock.monotonic()
        self._closed = False
        self._all_gone = asyncio.Event()

    def start(self, call: UpstreamCall, now: float) -> None:
        """Serves `call` on an unused connection at once, or queues it and opens one."""
        self._seen_at = now
        idle = self._idle
        while idle:
            # The one used last is the least likely to have been closed meanwhile.
            connection = idle.pop()
            if connection.is_usable():
                self._counters.reused += 1
                connection.start(call, now)
                return
        if len(self._waiting) >= self._limits.waiting_per_origin or self._closed:
            asyncio.get_running_loop().call_soon(call.fail, FailureKind.BUSY, "too many calls wait for a connection")
            return
        self._waiting.append(call)
        self._open_more()

    def start_new(self, call: UpstreamCall) -> None:
        """Serves `call` on a connection that nobody used yet."""
        if len(self._waiting_for_new) >= self._limits.waiting_per_origin or self._closed:
            asyncio.get_running_loop().call_soon(call.fail, FailureKind.BUSY, "too many calls wait for a connection")
            return
        self._waiting_for_new.append(call)
        self._open_more()

    def now(self) -> float:
        """Returns the time on the client's clock, in seconds."""
        return self._clock.monotonic()

    def retry(self, call: UpstreamCall) -> None:
        """Sends `call` once more, on a new connection."""
        self._counters.retried += 1
        call.retried = True
        call.again(self._clock.monotonic())
        self._waiting_for_new.append(call)
        self._open_more()

    def release(self, connection: Connection) -> None:
        """Takes a connection back after a whole reply."""
        # The clock is not asked for each reply, 0.04 us less: the sweep and the calls keep this time fresh enough for
        # ages.
        now = self._seen_at
        if self._closed or now >= connection.retires_at:
            connection.abandon()
        elif self._waiting:
            self._counters.reused += 1
            connection.start(self._waiting.popleft(), self._clock.monotonic())
        elif len(self._idle) >= self._limits.idle_per_origin:
            connection.abandon()
        else:
            connection.unused_since = now
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closed and not self._open:
            self._all_gone.set()
        self._open_more()

    def forget_waiting(self, call: UpstreamCall) -> None:
        """Takes a call that is over out of the queue."""
        for queue in (self._waiting, self._waiting_for_new):
            if call in queue:
                queue.remove(call)

    def calls(self) -> list[UpstreamCall]:
        """Returns the calls under way, those that wait for a connection included."""
        served = [connection.call for connection in self._open if connection.call is not None]
        return [*served, *self._waiting, *self._waiting_for_new]

    def expire(self, now: float) -> None:
        """Closes connections that were unused for too long, and unused ones that are too old."""
        self._seen_at = now
        for connection in [
            one for one in self._idle if now - one.unused_since > one.kept_seconds or one.retires_at <= now
        ]:
            self._idle.remove(connection)
            connection.abandon()

    def warm(self, connections: int) -> None:
        """Opens connections in advance until there are so many; what fails is left to the calls that come."""
        while not self._closed and len(self._open) + len(self._tasks) < connections and self._has_room():
            self._open_one(_WARM_SECONDS)

    @property
    def is_empty(self) -> bool:
        return not (self._open or self._tasks or self._waiting or self._waiting_for_new)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    @property
    def connecting(self) -> int:
        return len(self._tasks)

    @property
    def waiting_calls(self) -> int:
        return len(self._waiting) + len(self._waiting_for_new)

    async def close(self) -> None:
        """Closes every connection and waits until the attempts to open one have ended."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._idle.clear()
        if self._open:
            for connection in tuple(self._open):
                connection.abandon()
            # The loop closes the descriptors in its next turns.
            await self._all_gone.wait()

    def _open_more(self) -> None:
        while not self._closed and len(self._tasks) < len(self._waiting) + len(self._waiting_for_new):
            if not self._has_room():
                if self._waiting_for_new and self._idle:
                    # Unused connections must not keep out the call that none of them may serve.
                    self._idle.pop(0).abandon()
                return
            call = (self._waiting_for_new or self._waiting)[0]
            self._open_one(call.timeouts.connect)

    def _open_one(self, seconds: float) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(self._connect(seconds)))

    def _has_room(self) -> bool:
        return len(self._open) + len(self._tasks) < self._limits.connections_per_origin

    async def _connect(self, seconds: float) -> None:
        task = asyncio.current_task()
        try:
            connection = await self._connector.connect(self.origin, self._make, seconds)
        except CannotConnect as error:
            self._forget(task)
            self._failed(error.kind, error.detail)
        except BaseException:
            self._forget(task)
            raise
        else:
            self._forget(task)
            self._opened(connection)

    def _failed(self, kind: FailureKind, detail: str) -> None:
        """An attempt to connect has failed: so does a call that waits, unless only the attempt's own time was up."""
        queue = self._waiting_for_new or self._waiting
        if kind is FailureKind.CONNECT_TIMEOUT:
            # The attempt may have begun for a call that is gone, long before those that wait now. Each has its time.
            for call in tuple(queue):
                call.check(self._clock.monotonic() + self._limits.sweep_seconds)
        elif queue:
            queue.popleft().fail(kind, detail)
        self._open_more()

    def _forget(self, task: "asyncio.Task[None] | None") -> None:
        if task is not None:
            self._tasks.discard(task)

    def _make(self, link: socket.socket) -> Connection:
        return Connection(self, self._limits, link)

    def _opened(self, connection: Connection) -> None:
        if not connection.is_usable():
            # Trying again at once would go on for as long as the call has time.
            self._failed(FailureKind.REFUSED, "the connection closed as soon as it was open")
            return
        self._counters.opened += 1
        self._open.add(connection)
        # Connections that were opened together do not all end together.
        share = 1 - _AGE_SPREAD * (self._counters.opened % 16) / 16
        connection.retires_at = self._clock.monotonic() + self._limits.connection_age_seconds * share
        if self._waiting_for_new and not self._closed:
            connection.start(self._waiting_for_new.popleft(), self._clock.monotonic())
        else:
            self._hand_out(connection)

    def _hand_out(self, connection: Connection) -> None:
        if self._waiting and not self._closed:
            connection.start(self._waiting.popleft(), self._clock.monotonic())
        else:
            self.release(connection)
