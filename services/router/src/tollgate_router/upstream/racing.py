"""Connecting to a name that has several addresses: happy eyeballs, as in RFC 8305."""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from itertools import chain, zip_longest

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.names import CannotConnect


def interleaved(addresses: Sequence[str]) -> list[str]:
    """Returns the addresses with both families in turn, the family of the first one first."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    other = [address for address in addresses if (":" in address) != (":" in addresses[0])]
    return [address for address in chain.from_iterable(zip_longest(first, other)) if address is not None]


async def open_first(addresses: Sequence[str], port: int, delay_seconds: float) -> socket.socket:
    """Returns a socket that is connected to one of the addresses (numeric, at least one).

    The next address is tried when one has failed or has not answered for `delay_seconds`; whichever answers first
    wins, and the others are closed. Raises CannotConnect with the last failure when none is left.
    """
    if len(addresses) == 1:
        try:
            return await _open(addresses[0], port)
        except OSError as refused:
            raise CannotConnect(FailureKind.REFUSED, str(refused)) from refused
    waiting = deque(interleaved(addresses))
    trying: set[asyncio.Task[socket.socket]] = set()
    error = OSError("no address")
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.get_running_loop().create_task(_open(waiting.popleft(), port)))
            done, _ = await asyncio.wait(
                trying, timeout=delay_seconds if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                trying.discard(task)
                failure = task.exception()
                if failure is None:
                    trying |= done - {task}
                    return task.result()
                assert isinstance(failure, OSError)
                error = failure
    finally:
        await _close(trying)
    raise CannotConnect(FailureKind.REFUSED, str(error))


async def _open(address: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(one, (address, port))
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
