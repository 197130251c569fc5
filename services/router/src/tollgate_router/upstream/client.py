"""The client: one object per process, a pool per origin, one timer for every call."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tollgate_kit.clock import Clock
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.target import Origin, Target
from tollgate_router.upstream.call import UpstreamCall
from tollgate_router.upstream.connector import Connector
from tollgate_router.upstream.pool import Counters, Pool
from tollgate_router.upstream.sink import ClientLimits, Timeouts, UpstreamSink

__all__ = ["ClientLimits", "Timeouts", "UpstreamCall", "UpstreamClient", "UpstreamFailure", "UpstreamSink"]

# Larger bodies are written beside the head instead of being copied behind it.
_COPIED_BODY_BYTES: Final = 65536
_IDLE_SWEEP_SECONDS: Final = 1.0
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
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_BREAKING: Final = (b"\r", b"\n", b"\0")


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
    ) -> None:
        self._clock = clock
        self._limits = limits or ClientLimits()
        if max_connections_per_origin is not None:
            self._limits = replace(self._limits, connections_per_origin=max_connections_per_origin)
        if keep_idle_seconds is not None:
            self._limits = replace(self._limits, idle_age_seconds=keep_idle_seconds)
        self._connector = Connector(ca_file)
        self._pools: dict[Origin, Pool] = {}
        self._active: set[UpstreamCall] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_is_slow = False
        self._closed = False
        self.counters = Counters()

    def send(
        self,
        target: Target,
        path: bytes,
        body: bytes,
        extra_headers: Iterable[tuple[bytes, bytes]],
        sink: UpstreamSink,
        timeouts: Timeouts,
        *,
        method: bytes = b"POST",
    ) -> UpstreamCall:
        """Sends a request and returns its handle; everything else is told to `sink`, never before this returns.

        A connection that is there is used at once; otherwise one is opened in the background. `path` comes behind the
        target's base path. Extra headers that the client sets itself, or that are malformed, are left out. A request
        is sent a second time only by the rule of `Connection._untouched`.
        """
        head = target.request_head(method, path)
        lines = render_headers(extra_headers) if extra_headers else b""
        if len(body) <= _COPIED_BODY_BYTES:
            request: tuple[bytes, ...] = (b"%b%d\r\n%b\r\n%b" % (head, len(body), lines, body),)
        else:
            request = (b"%b%d\r\n%b\r\n" % (head, len(body), lines), body)
        pool = self._pools.get(target.origin)
        if pool is None:
            pool = self._pools[target.origin] = Pool(
                target.origin, self._connector, self._limits, self._clock, self.counters
            )
        now = self._clock.monotonic()
        self.counters.calls += 1
        call = UpstreamCall(target.channel, pool, request, sink, timeouts, now, self._active)
        if self._closed:
            self._loop.call_soon(call.fail, FailureKind.BUSY, "the client is closed")
            return call
        if self._timer is None or self._timer_is_slow:
            self._arm()
        pool.start(call, now)
        return call

    def sweep(self) -> None:
        """Fails the calls whose time has run out and closes connections unused for too long; the timer calls it."""
        now = self._clock.monotonic()
        for call in tuple(self._active):
            call.check(now)
        for origin, pool in tuple(self._pools.items()):
            pool.expire(now)
            if pool.is_empty:
                del self._pools[origin]

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools that have connections, or calls that wait for one."""
        return tuple(self._pools.values())

    @property
    def active_calls(self) -> int:
        return len(self._active)

    @property
    def open_connections(self) -> int:
        return sum(pool.open_connections for pool in self._pools.values())

    @property
    def idle_connections(self) -> int:
        return sum(pool.idle_connections for pool in self._pools.values())

    def open_by_channel(self) -> dict[str, int]:
        """Returns how many calls are under way for each channel that has any."""
        return Counter(call.channel for call in self._active)

    async def close(self) -> None:
        """Fails every call as CUT and closes every connection."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in tuple(self._active):
            call.fail(FailureKind.CUT, "the client is closing")
        for pool in tuple(self._pools.values()):
            await pool.close()
        self._pools.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_is_slow = not self._active
        delay = _IDLE_SWEEP_SECONDS if self._timer_is_slow else self._limits.sweep_seconds
        self._timer = self._loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.sweep()
        if self._active or self._pools:
            self._arm()


def render_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns header lines, each ending in CRLF, without those that are malformed or that only the client may set."""
    lines = []
    for name, value in headers:
        lower = name.lower()
        if lower in _OWN_HEADERS or not lower or not _TOKEN.issuperset(lower):
            continue
        if any(character in value for character in _BREAKING):
            continue
        lines.append(b"%b: %b\r\n" % (lower, value.strip()))
    return b"".join(lines)
