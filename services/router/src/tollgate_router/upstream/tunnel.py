"""A tunnel through an HTTP proxy, by CONNECT."""

import asyncio
import re
import socket
from typing import Final

from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.names import CannotConnect
from tollgate_router.upstream.racing import Unreachable

_MAX_HEAD_BYTES: Final = 16_384
_NEEDS_CREDENTIAL: Final = b"407"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")


async def open_tunnel(proxy: socket.socket, authority: str, authorization: str) -> None:
    """Has the proxy at the other end connect to `authority`, `host:port`; afterwards the socket speaks to that.

    Raises Unreachable when it refuses, with its status, or closes the connection; CannotConnect when it would do the
    same for any authority: it takes no such credential, or breaks the rules.
    """
    loop = asyncio.get_running_loop()
    lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
    if authorization:
        lines.append(f"proxy-authorization: {authorization}")
    try:
        await loop.sock_sendall(proxy, "\r\n".join([*lines, "", ""]).encode())
        head = await _read_head(loop, proxy)
    except OSError as error:
        raise Unreachable(f"the proxy: {error}") from error
    status = _STATUS_LINE.match(head)
    if status is None or head.find(b"\r\n\r\n") != len(head) - 4:
        # What comes behind the head cannot be the origin's: both TLS and HTTP wait for us to begin.
        raise CannotConnect(FailureKind.REFUSED, "the proxy broke the rules of CONNECT")
    if status[1] == _NEEDS_CREDENTIAL:
        raise CannotConnect(FailureKind.REFUSED, "the proxy refused with 407")
    if not status[1].startswith(b"2"):
        raise Unreachable(f"the proxy refused with {status[1].decode()}")


async def _read_head(loop: asyncio.AbstractEventLoop, proxy: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        part = await loop.sock_recv(proxy, 4096)
        if not part:
            raise ConnectionResetError("it closed the connection")
        head += part
        if len(head) > _MAX_HEAD_BYTES:
            raise CannotConnect(FailureKind.REFUSED, "the proxy: its answer is too long")
    return head
