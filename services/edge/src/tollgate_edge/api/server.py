"""The public port: uvicorn, started and drained by us."""

import asyncio
import logging
import socket
from typing import Any, Final, Protocol

import uvicorn
from fastapi import FastAPI

log = logging.getLogger(__name__)

_BACKLOG: Final = 2048
_POLL_SECONDS: Final = 0.05
# For the last words of what is cut off.
_LAST_SECONDS: Final = 1.0


class Connection(Protocol):
    """What the server asks of the protocol that it was given, once it drains."""

    transport: asyncio.Transport

    @property
    def busy(self) -> bool:
        """A request is being read or answered."""
        ...

    def shutdown(self) -> None:
        """The process stops: replies that have not begun are to say that the connection closes."""
        ...

    def cut_off(self) -> None:
        """The time is up: what is open ends, and the connection closes."""
        ...


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
        idle_seconds: float,
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
        )
        self._server = uvicorn.Server(self._config)
        self._listener = listener
        self._drain_seconds, self._idle_seconds = drain_seconds, idle_seconds
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to accept."""
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[self._listener])
        self._loop = asyncio.create_task(self._server.main_loop())

    async def drain(self) -> None:
        """Accepts no more, lets open requests end within the drain time, cuts off what is left, and closes.

        uvicorn's own end closes an unused connection at once, on which a request may be on its way.
        """
        for server in self._server.servers:
            server.close()
        self._listener.close()
        for door in self._doors():
            door.shutdown()
        await self._let_end()
        left = self._doors()
        if left:
            log.warning("the time to drain is up", extra={"fields": {"connections": len(left)}})
            await self._cut_off(left)
        self._server.should_exit = True
        if self._loop is not None:
            await self._loop

    def _doors(self) -> list[Connection]:
        connections: Any = self._server.server_state.connections
        return list(connections)

    async def _let_end(self) -> None:
        """Closes connections as they fall quiet, until none is left or the time is up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        quiet_since: dict[Connection, float] = {}
        while (doors := self._doors()) and loop.time() < began + self._drain_seconds:
            now = loop.time()
            for door in doors:
                if door.busy:
                    quiet_since.pop(door, None)
                elif now - quiet_since.setdefault(door, now) >= self._idle_seconds:
                    door.transport.close()
            await asyncio.sleep(_POLL_SECONDS)

    async def _cut_off(self, doors: list[Connection]) -> None:
        for door in doors:
            door.cut_off()
        for task in self._server.server_state.tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        until = loop.time() + _LAST_SECONDS
        while self._server.server_state.connections and loop.time() < until:  # noqa: ASYNC110 - once in a process.
            await asyncio.sleep(_POLL_SECONDS)
        for door in self._doors():
            door.transport.abort()
