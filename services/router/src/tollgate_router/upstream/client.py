"""The client: one object per process, a pool per origin, one timer for every call."""

import asyncio
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tollgate_kit.clock import Clock
from tollgate_resources.ports import DEFAULT_PORTS, Ports
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.target import Origin, Target
from tollgate_router.upstream.call import UpstreamCall
from tollgate_router.upstream.connector import Connector
from tollgate_router.upstream.names import Names, Resolver, SystemResolver
from tollgate_router.upstream.pool import Counters, Pool
from tollgate_router.upstream.sink import ClientLimits, Timeouts, UpstreamSink
from tollgate_router.upstream.tls import TlsContexts
from tollgate_router.upstream.upload import Upload

__all__ = ["ClientLimits", "Timeouts", "Upload", "UpstreamCall", "UpstreamClient", "UpstreamFailure", "UpstreamSink"]

# Larger bodies are written beside the head instead of being copied behind it.
_COPIED_BODY_BYTES: Final = 65536
_IDLE_SWEEP_SECONDS: Final = 1.0
_TARGETS_SECONDS: Final = 10.0
_OWN_HEADERS: Final = frozenset(
    {
        b"accept-encoding",
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Of headers: few differ, and none is looked at a second time.
_KNOWN_NAMES: Final = 256
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BREAKING: Final = re.compile(rb"[\r\n\0]")


class UpstreamClient:
    """Own HTTP/1.1 client. Made inside a running loop; `close()` leaves no descriptor, task or timer behind.

    `ca_file`: certificates trusted besides the system's own, as PEM. The two numbers go before those in `limits`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_connections_per_origin: int | None = None,
        keep_idle_seconds: float | None = None,
        ca_file: Path | None = None,
        limits: ClientLimits | None = None,
        resolver: Resolver | None = None,
        ports: Ports | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits or ClientLimits()
        if max_connections_per_origin is not None:
            self._limits = replace(self._limits, connections_per_origin=max_connections_per_origin)
        if keep_idle_seconds is not None:
            self._limits = replace(self._limits, idle_age_seconds=keep_idle_seconds)
        names = Names(
            resolver or SystemResolver(),
            clock,
            ports or Ports(DEFAULT_PORTS, "egress_ports"),
            fresh_seconds=self._limits.name_fresh_seconds,
            stale_seconds=self._limits.name_stale_seconds,
        )
        self._connector = Connector(names, TlsContexts(ca_file), delay_seconds=self._limits.address_delay_seconds)
        self._pools: dict[Origin, Pool] = {}
        # The same by target: hashing an origin costs 0.3 µs, and a target is found by its identity.
        self._pool_of: dict[Target, Pool] = {}
        self._pool_of_since = clock.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_is_slow = False
        self._closed = False
        self.counters = Counters()

    def send(
        self,
        target: Target,
        path: bytes,
        body: bytes | tuple[bytes | memoryview, ...],
        extra_headers: Iterable[tuple[bytes, bytes]],
        sink: UpstreamSink,
        timeouts: Timeouts,
        *,
        method: bytes = b"POST",
        content_type: bytes = b"",
        proof: bytes = b"",
    ) -> UpstreamCall:
        """Sends a request and returns its handle; everything else is told to `sink`, never before this returns.

        A connection that is there is used at once; otherwise one is opened in the background. `path` comes behind the
        target's base path. A body in parts is sent without being joined. Extra headers that the client sets itself, or
        that are malformed, are left out. `content_type` is that of a body that is no JSON, `proof` are header lines of
        a Signer. A request is sent a second time only by the rule of `Connection.eof_received`.
        """
        head = target.request_head(method, path, content_type)
        lines = proof + render_headers(extra_headers) if extra_headers else proof
        request: tuple[bytes | memoryview, ...]
        if isinstance(body, bytes) and len(body) <= _COPIED_BODY_BYTES:
            request = (b"%b%d\r\n%b\r\n%b" % (head, len(body), lines, body),)
        else:
            parts = (body,) if isinstance(body, bytes) else body
            request = (b"%b%d\r\n%b\r\n" % (head, sum(map(len, parts)), lines), *parts)
        pool = self._pool_of.get(target) or self._find_pool(target)
        now = self._clock.monotonic()
        self.counters.calls += 1
        call = UpstreamCall(target.channel, pool, request, sink, timeouts, now)
        if self._closed:
            self._loop.call_soon(call.fail, FailureKind.BUSY, "the client is closed")
            return call
        if self._timer is None or self._timer_is_slow:
            self._arm(slow=False)
        pool.start(call, now)
        return call

    def upload(
        self,
        target: Target,
        path: bytes,
        extra_headers: Iterable[tuple[bytes, bytes]],
        sink: UpstreamSink,
        timeouts: Timeouts,
        *,
        length: int | None = None,
        expects: bool = False,
        on_room: Callable[[], None] | None = None,
        method: bytes = b"POST",
    ) -> Upload:
        """Begins a request whose body is fed to the handle: in chunks, or `length` bytes where that is known.

        `on_room` is called whenever more of the body is welcome, first when a connection is there; what is fed before
        is kept until then. With `expects`, the upstream is asked whether it wants the body (100-continue), and the body
        is held back until it says so, or nothing for a second. The sink may hear the reply before the body is finished.
        """
        head = target.request_head(method, path)
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        lines = (b"\r\nexpect: 100-continue\r\n" if expects else b"\r\n") + render_headers(extra_headers)
        head = head.removesuffix(b"content-length: ") + framing + lines + b"\r\n"
        pool = self._find_pool(target)
        now = self._clock.monotonic()
        self.counters.calls += 1
        call = Upload(target.channel, pool, head, sink, timeouts, now, length=length, expects=expects, on_room=on_room)
        if self._closed:
            self._loop.call_soon(call.fail, FailureKind.BUSY, "the client is closed")
            return call
        if self._timer is None or self._timer_is_slow:
            self._arm(slow=False)
        pool.start_new(call)
        return call

    def warm(self, origins: Iterable[Origin], connections: int) -> None:
        """Opens connections in advance, so that the first calls do not wait for names, TCP and TLS.

        `connections` is how many each origin shall have; they age like others.
        """
        if self._closed or connections <= 0:
            return
        for origin in set(origins):
            self._pool(origin).warm(connections)
        if self._timer is None and self._pools:
            self._arm(slow=True)

    def _find_pool(self, target: Target) -> Pool:
        pool = self._pool_of[target] = self._pool(target.origin)
        return pool

    def _pool(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._connector, self._limits, self._clock, self.counters)
        return pool

    def sweep(self) -> bool:
        """Fails the calls whose time has run out and closes connections unused for too long; the timer calls it.

        Returns whether any call is under way.
        """
        now = self._clock.monotonic()
        active = False
        for origin, pool in tuple(self._pools.items()):
            for call in pool.calls():
                active = True
                call.check(now)
            pool.expire(now)
            if pool.is_empty:
                del self._pools[origin]
                self._pool_of.clear()
        if now - self._pool_of_since >= _TARGETS_SECONDS:
            # Targets of configurations that are no longer in force must not be kept alive from here.
            self._pool_of.clear()
            self._pool_of_since = now
        return active

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools that have connections, or calls that wait for one."""
        return tuple(self._pools.values())

    @property
    def active_calls(self) -> int:
        return sum(len(pool.calls()) for pool in self._pools.values())

    @property
    def open_connections(self) -> int:
        return sum(pool.open_connections for pool in self._pools.values())

    @property
    def idle_connections(self) -> int:
        return sum(pool.idle_connections for pool in self._pools.values())

    def open_by_channel(self) -> dict[str, int]:
        """Returns how many calls are under way for each channel that has any."""
        return Counter(call.channel for pool in self._pools.values() for call in pool.calls())

    async def close(self) -> None:
        """Fails every call as CUT and closes every connection."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pools = tuple(self._pools.values())
        for pool in pools:
            for call in pool.calls():
                call.fail(FailureKind.CUT, "the client is closing")
        for pool in pools:
            await pool.close()
        self._pools.clear()
        self._pool_of.clear()
        await self._connector.close()

    def _arm(self, *, slow: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_is_slow = slow
        self._timer = self._loop.call_later(_IDLE_SWEEP_SECONDS if slow else self._limits.sweep_seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        active = self.sweep()
        # A sink that heard of a late call may have made another, and armed the timer by that.
        if self._timer is None and self._pools and not self._closed:
            self._arm(slow=not active)


def render_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns header lines, each ending in CRLF, without those that are malformed or that only the client may set."""
    lines = []
    for name, value in headers:
        begin = _line_begin(name)
        if begin and not _BREAKING.search(value):
            lines.append(b"%b%b\r\n" % (begin, value.strip()))
    return b"".join(lines)


@functools.lru_cache(_KNOWN_NAMES)
def _line_begin(name: bytes) -> bytes:
    """Returns what a header line of this name begins with; empty for one that may not be sent."""
    lower = name.lower()
    return b"%b: " % lower if lower not in _OWN_HEADERS and _TOKEN.fullmatch(lower) else b""
