"""Connecting to a name that has several addresses: happy eyeballs, as in RFC 8305."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain, zip_longest

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.names import CannotConnect

Open = Callable[[str], Coroutine[None, None, socket.socket]]


class Unreachable(CannotConnect):
    """An address was not reached; another one of the same name may be."""

    def __init__(self, detail: str) -> None:
        super().__init__(FailureKind.REFUSED, detail)


def interleaved(addresses: Sequence[str]) -> list[str]:
    """Returns the addresses with both families in turn, the family of the first one first."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    other = [address for address in addresses if (":" in address) != (":" in addresses[0])]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


async def open_first(addresses: Sequence[str], port: int, delay_seconds: float) -> socket.socket:
    """Returns a socket that is connected to one of the addresses (numeric, at least one), as `race` does."""
    return await race(addresses, lambda address: _open(address, port), delay_seconds)


async def race(addresses: Sequence[str], open_one: Open, delay_seconds: float) -> socket.socket:
    """Returns the first socket that `open_one` opened to one of the addresses, of which there is at least one.

    The next address is tried when one was unreachable or has not answered for `delay_seconds`; whichever answers first
    wins, and the others are closed. Raises Unreachable with the last failure when none is left, and whatever else
    `open_one` raises at once.
    """
    if len(addresses) == 1:
        return await open_one(addresses[0])
    waiting = deque(interleaved(addresses))
    trying: set[asyncio.Task[socket.socket]] = set()
    last = Unreachable("no address")
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.get_running_loop().create_task(open_one(waiting.popleft())))
            done, _ = await asyncio.wait(
                trying, timeout=delay_seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((task for task in done if task.exception() is None), None)
            if winner is not None:
                trying.discard(winner)
                return winner.result()
            trying -= done
            for failure in [task.exception() for task in done]:
                if not isinstance(failure, Unreachable):
                    assert failure is not None
                    raise failure
                last = failure
    finally:
        await _close(trying)
    raise last


async def _open(address: str, port: int) -> socket.socket:
    try:
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        # A kernel without this family, or no descriptor left.
        raise Unreachable(str(error)) from error
    try:
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(one, (address, port))
    except OSError as error:
        one.close()
        raise Unreachable(str(error)) from error
    except BaseException:
        one.close()
        raise
    return one


async def _close(tasks: set[asyncio.Task[socket.socket]]) -> None:
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()
