"""The two sides of an upstream connection that are not ours: who asked, and the wire."""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable

from tollgate_kit.clock import ManualClock
from tollgate_resources.ports import DEFAULT_PORTS, Ports
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.target import Target, split_base_url
from tollgate_router.upstream.call import UpstreamCall
from tollgate_router.upstream.connection import Connection
from tollgate_router.upstream.connector import Connector
from tollgate_router.upstream.names import Names
from tollgate_router.upstream.pool import Counters, Pool
from tollgate_router.upstream.sink import ClientLimits, Timeouts
from tollgate_router.upstream.tls import TlsContexts

PATH = b"/chat/completions"


def target(base_url: str, *, private_network: bool = True, header_block: bytes = b"authorization: Bearer k\r\n"):
    origin, path = split_base_url(base_url, private_network=private_network)
    return Target(
        channel="main",
        key_index=0,
        provider="openai",
        origin=origin,
        base_path=path,
        upstream_model="m",
        conforming=True,
        weight=1,
        header_block=header_block,
    )


async def eventually(condition: Callable[[], object]) -> None:
    """Waits for what no event tells: what a server in another thread has seen."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the other thread sets no event of this loop.
            await asyncio.sleep(0.002)


class Listener:
    """A sink that writes down what it is told, and refuses what the port rules out."""

    def __init__(self, on_head: Callable[[], None] | None = None, on_data: Callable[[bytes], None] | None = None):
        self.events: list[str] = []
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.failure: UpstreamFailure | None = None
        self.on_head = on_head
        self.on_data = on_data
        self.changed = asyncio.Event()

    def upstream_head(self, status, headers):
        assert self.events == []
        self._hear("head")
        self.status, self.headers = status, headers
        if self.on_head is not None:
            self.on_head()

    def upstream_data(self, data):
        assert data
        assert self.events[-1] in {"head", "data"}
        self._hear("data")
        self.pieces.append(bytes(data))
        if self.on_data is not None:
            self.on_data(data)

    def upstream_end(self):
        assert self.events[-1] in {"head", "data"}
        self._hear("end")

    def upstream_failed(self, failure):
        assert not self.is_over
        self._hear("failed")
        self.failure = failure

    def _hear(self, event):
        self.events.append(event)
        self.changed.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1] in {"end", "failed"}

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def over(self) -> "Listener":
        await self.until(lambda: self.is_over)
        return self

    @property
    def kind(self) -> FailureKind | None:
        return self.failure.kind if self.failure is not None else None


class FakeResolver:
    """Knows the names that it is told, and numeric addresses; a list of lists is answered in turn."""

    def __init__(self, names):
        self.names = dict(names)
        self.asked: list[str] = []

    async def resolve(self, host, port):
        del port
        self.asked.append(host)
        await asyncio.sleep(0)
        found = self.names.get(host)
        if found is None:
            with contextlib.suppress(ValueError):
                return [str(ipaddress.ip_address(host))]
            raise OSError(f"{host} is not known")
        return found.pop(0) if found and isinstance(found[0], list) else list(found)


class Wire(asyncio.Transport):
    """A transport that goes nowhere: what is written is kept."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.closing = False
        self.reading = True
        self.unsent = 0

    def write(self, data):
        assert not self.closing
        self.written += data

    def writelines(self, list_of_data):
        self.write(b"".join(list_of_data))

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.closing

    def abort(self):
        self.closing = True

    def get_write_buffer_size(self):
        return self.unsent


class Bench:
    """One connection over a `Wire`, in a pool of its own, so that replies can be fed to it cut at any place."""

    def __init__(self, limits: ClientLimits | None = None):
        self.limits = limits or ClientLimits()
        self.clock = ManualClock()
        origin, _ = split_base_url("http://127.0.0.1:1", private_network=True)
        names = Names(FakeResolver({}), self.clock, Ports(DEFAULT_PORTS, "THE_PORTS"), fresh_seconds=1, stale_seconds=1)
        connector = Connector(names, TlsContexts(None), delay_seconds=1)
        self.pool = Pool(origin, connector, self.limits, self.clock, Counters())
        self.wire = Wire()
        self.connection = Connection(self.pool, self.limits)
        self.connection.connection_made(self.wire)
        self.pool.release(self.connection)

    def ask(self, sink: Listener, timeouts: Timeouts | None = None) -> UpstreamCall:
        """Sends a request; the connection must be unused."""
        now = self.clock.monotonic()
        call = UpstreamCall("main", self.pool, (b"request",), sink, timeouts or Timeouts(), now)
        self.pool.start(call, now)
        assert call.connection is self.connection
        return call

    def feed(self, *pieces: bytes) -> None:
        """Hands bytes over as reads of the event loop would, until the connection is closed."""
        for piece in pieces:
            if not self.wire.closing:
                self.connection.data_received(piece)

    def finish(self, error: Exception | None = None) -> None:
        """The other side closed, or the connection broke."""
        if error is None:
            self.connection.eof_received()
        self.connection.connection_lost(error)

    @property
    def is_reusable(self) -> bool:
        return self.pool.idle_connections == 1
