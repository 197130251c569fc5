"""From names to the addresses that may be connected to.

Each look-up is kept for seconds, shared by all who ask meanwhile, and judged by the egress guard: what is connected to
is always one of the addresses that were judged, whatever the name says a moment later.
"""

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from tollgate_kit.clock import Clock
from tollgate_resources.egress import refusal
from tollgate_resources.ports import Ports
from tollgate_router.domain.failure import FailureKind

_MAX_NAMES: Final = 4096
_MAX_ADDRESSES: Final = 8
_MOST_THREADS: Final = 64


class CannotConnect(Exception):  # noqa: N818
    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Resolver(Protocol):
    async def resolve(self, host: str, port: int) -> list[str]:
        """Returns the addresses of a name, or of an address in any spelling, best first. Raises OSError."""
        ...


class SystemResolver:
    """Asks the C library, in a thread for each look-up, which may take half a minute where nobody answers.

    Those of the loop are few (four of uvloop's), so that a few dead names would hold all others up; and a process does
    not wait at its end for threads like these. A look-up is rare beside what a thread costs, 0.1 ms.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_MOST_THREADS)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Returns the addresses, as the C library orders them by RFC 6724."""
        async with self._places:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[list[str]] = loop.create_future()
            threading.Thread(target=_ask_system, args=(loop, answer, host, port), name="names", daemon=True).start()
            return await answer


def _ask_system(loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[list[str]]", host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        told = partial(_tell, answer, list(dict.fromkeys(str(entry[4][0]) for entry in found)))
    except OSError as error:
        told = partial(_tell, answer, error)
    except UnicodeError as error:
        told = partial(_tell, answer, OSError(str(error)))
    # A loop that is closed waits for no answer.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(told)


def _tell(answer: "asyncio.Future[list[str]]", found: list[str] | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _allowed(host: str, found: list[str], *, private_network: bool) -> list[str]:
    refused = [refusal(address, private_network=private_network) for address in found]
    allowed = [address for address, reason in zip(found, refused, strict=True) if reason is None]
    if not allowed:
        raise CannotConnect(FailureKind.DENIED, "; ".join(filter(None, refused)) or f"{host} has no address")
    return allowed[:_MAX_ADDRESSES]


@dataclass(slots=True)
class _Known:
    addresses: list[str]
    asked_at: float


class Names:
    """`fresh_seconds`: how old an answer may be; `stale_seconds`: how old when the resolver fails."""

    def __init__(
        self, resolver: Resolver, clock: Clock, ports: Ports, *, fresh_seconds: float, stale_seconds: float
    ) -> None:
        self._ports = ports
        self._resolver = resolver
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = stale_seconds
        self._known: dict[tuple[str, int], _Known] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, port: int, *, private_network: bool) -> list[str]:
        """Returns the addresses of `host` that may be reached, best first. Raises CannotConnect."""
        self._judge_port(port, private_network=private_network)
        return _allowed(host, await self._look_up(host, port), private_network=private_network)

    def judge(self, host: str, port: int, *, private_network: bool) -> None:
        """Raises CannotConnect for a port, or an address in any spelling, that may not be reached; names pass."""
        self._judge_port(port, private_network=private_network)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return
        _allowed(host, [str(entry[4][0]) for entry in found], private_network=private_network)

    def _judge_port(self, port: int, *, private_network: bool) -> None:
        refused = self._ports.refusal(port, private_network=private_network)
        if refused is not None:
            raise CannotConnect(FailureKind.DENIED, refused)

    async def _look_up(self, host: str, port: int) -> list[str]:
        key = host, port
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is not None and now - known.asked_at < self._fresh_seconds:
            return known.addresses
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(host, port))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            # One who gives up does not stop the look-up of the others.
            return await asyncio.shield(task)
        except OSError as error:
            if known is not None and now - known.asked_at < self._stale_seconds:
                return known.addresses
            raise CannotConnect(FailureKind.REFUSED, f"{host} does not resolve: {error}") from error

    async def _ask(self, host: str, port: int) -> list[str]:
        found = await self._resolver.resolve(host, port)
        if len(self._known) >= _MAX_NAMES:
            self._known.clear()
        self._known[host, port] = _Known(found, self._clock.monotonic())
        return found

    async def close(self) -> None:
        """Stops what is being looked up."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
