"""The public port: uvicorn, started and drained by us."""

import asyncio
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

_BACKLOG: Final = 2048


def listen(host: str, port: int, inherited_fd: int) -> socket.socket:
    """Returns the listening socket: the one inherited from the supervisor (-1: none), or a new one. Raises OSError."""
    if inherited_fd >= 0:
        found = socket.socket(fileno=inherited_fd)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, port))
            found.listen(_BACKLOG)
        except OSError:
            found.close()
            raise
    found.setblocking(False)
    return found


class PublicServer:
    """Serves `app` on a socket. `protocol` answers inference itself and hands all else to the app."""

    def __init__(
        self,
        app: FastAPI,
        listener: socket.socket,
        protocol: type[asyncio.Protocol],
        *,
        keep_alive_seconds: int,
        drain_seconds: float,
    ) -> None:
        self._config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=keep_alive_seconds,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
        self._server = uvicorn.Server(self._config)
        self._listener = listener
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to accept."""
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[self._listener])
        self._loop = asyncio.create_task(self._server.main_loop())

    async def drain(self) -> None:
        """Accepts no more, lets open requests end within the drain time, and closes."""
        self._server.should_exit = True
        if self._loop is not None:
            await self._loop
            await self._server.shutdown(sockets=[self._listener])
