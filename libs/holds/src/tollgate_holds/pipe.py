"""A pipelined Redis connection for the request path: commands are packed once, replies meet callbacks in order.

Why not redis-py here: its asyncio client awaits each reply and allocates about ten objects a call, which costs more
than the whole admission of a request. This one writes bytes and calls back. It reconnects by itself; what was waiting
when a connection broke fails with RedisUnavailable, and every operation of ours may be repeated.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis

log = logging.getLogger(__name__)

Reply = object
Callback = Callable[[Reply], None]
_NOTHING = object()
_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 1.0
# Somebody has to change a server that cannot be used, or what stands at its address.
UNUSABLE_SECONDS = 10.0
# What a server of a cluster says to a command whose keys it has not.
_REDIRECTIONS = ("MOVED ", "ASK ", "CROSSSLOT", "CLUSTERDOWN")
CLUSTER = (
    "it is part of a Redis Cluster, whose redirections are not followed; give the address of a single server, or of an "
    "endpoint that stands in front of several"
)


class RedisError(Exception):
    """The server answered with an error; its text is the message."""


class RedisUnavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """There is no connection, or it broke or stalled before the reply came."""


class RedisUnusable(RedisUnavailable):
    """There is a server, which no repetition makes one that can be used; the message says why."""


def pack_command(command: tuple[str | bytes | int, ...]) -> bytes:
    """Returns the command on the wire."""
    return cast("bytes", hiredis.pack_command(cast("Any", command)))


class _Connection(asyncio.Protocol):
    def __init__(self, lost: Callable[["_Connection"], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[Callback] = deque()
        self.replies = 0
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self.waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING:
                self.replies += 1
                if not waiting:
                    self._give_up("a reply that nobody asked for")
                    return
                waiting.popleft()(reply)
        except (hiredis.ProtocolError, UnicodeDecodeError) as error:
            self._give_up(str(error))

    def _give_up(self, reason: str) -> None:
        """Ends a connection whose replies cannot be told apart any more; what waits fails, and may be repeated."""
        log.warning("Redis does not keep to its protocol, connecting anew", extra={"fields": {"error": reason}})
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it.
        self.transport = None
        waiting, self.waiting = self.waiting, deque()
        error = RedisUnavailable("the connection to Redis was lost")
        for callback in waiting:
            callback(error)
        self._lost(self)


class RedisPipe:
    """One connection to `url` (`unix:///path.sock`, `redis://[:password@]host:port/0` or `rediss://…`).

    `prepare` is awaited on every new connection before anything else is sent on it. A server that cannot be used is
    tried again after `unusable_seconds`.
    """

    def __init__(
        self,
        url: str,
        *,
        prepare: Callable[["RedisPipe"], Awaitable[None]] | None = None,
        timeout_seconds: float = 5.0,
        unusable_seconds: float = UNUSABLE_SECONDS,
    ) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in {"unix", "redis", "rediss"}:
            raise ValueError(f"Redis URL must begin with unix://, redis:// or rediss://, found {self._url.scheme!r}")
        self._prepare = prepare
        self._timeout = timeout_seconds
        self._unusable_seconds = unusable_seconds
        self._connection: _Connection | None = None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._seen = -1
        # Why the server that is there cannot be used; empty for one that can, and for none.
        self.problem = ""
        self._given_up = False
        self.connected = asyncio.Event()
        self.on_ready: Callable[[], None] | None = None

    @property
    def ready(self) -> bool:
        return self.connected.is_set()

    def start(self) -> None:
        """Begins to connect, and keeps connected until `close`."""
        self._wanted.set()
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())
        self._tick()

    async def close(self) -> None:
        """Drops the connection; what waits fails."""
        self.connected.clear()
        if self._watch is not None:
            self._watch.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.close()
            self._connection = None

    def submit(self, packed: bytes, callback: Callback) -> bool:
        """Sends a packed command; `callback` gets the reply, a hiredis.ReplyError or a RedisUnavailable.

        Returns False, without calling back, when there is no usable connection.
        """
        connection = self._connection
        if not self.ready or connection is None or connection.transport is None:
            return False
        connection.waiting.append(callback)
        connection.transport.write(packed)
        return True

    async def call(self, *command: str | bytes | int) -> Reply:
        """Sends one command and returns its reply. Raises RedisUnavailable or RedisError."""
        if not self.ready:
            raise RedisUnavailable("there is no connection to Redis")
        return await self._call(command)

    def gives_up(self, reply: Reply) -> bool:
        """Tells whether a reply shows that the server cannot be used; its connection is given up then."""
        if not str(reply).startswith(_REDIRECTIONS):
            return False
        self._given_up = True
        self._drop()
        self._wanted.set()
        return True

    async def _call(self, command: Sequence[str | bytes | int]) -> Reply:
        connection = self._connection
        if connection is None or connection.transport is None:
            raise RedisUnavailable("there is no connection to Redis")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not future.done():
                future.set_result(reply)

        connection.waiting.append(done)
        connection.transport.write(pack_command(tuple(command)))
        reply = await future
        if isinstance(reply, RedisUnavailable):
            raise reply
        if isinstance(reply, hiredis.ReplyError):
            if self.gives_up(reply):
                raise RedisUnusable(CLUSTER)
            raise RedisError(str(reply))
        return reply

    async def call_unready(self, *command: str | bytes | int) -> Reply:
        """As `call`, for `prepare`, which runs before the connection counts as ready."""
        return await self._call(command)

    async def _keep_connected(self) -> None:
        delay = _FIRST_RETRY_SECONDS
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._connect()
                delay, self.problem = _FIRST_RETRY_SECONDS, ""
            except RedisUnusable as error:
                if self.problem != str(error):
                    self.problem = str(error)
                    log.error("Redis cannot be used", extra={"fields": {"reason": self.problem}})  # noqa: TRY400 - the words say it all.
                self._drop()
                await asyncio.sleep(self._unusable_seconds)
                self._wanted.set()
            except (OSError, RedisUnavailable, RedisError) as error:
                self.problem = ""
                log.warning("no connection to Redis, trying again", extra={"fields": {"error": str(error)}})
                self._drop()
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_SECONDS)
                self._wanted.set()

    async def _connect(self) -> None:
        if self._given_up:
            self._given_up = False
            raise RedisUnusable(CLUSTER)
        loop = asyncio.get_running_loop()
        url = self._url

        def made() -> _Connection:
            return _Connection(self._lost)

        # Not wait_for: until Python 3.12 it forgets a cancellation that meets the connection in one turn, and
        # whoever closes the pipe would wait for ever.
        async with asyncio.timeout(self._timeout):
            if url.scheme == "unix":
                _, connection = await loop.create_unix_connection(made, unquote(url.path))
            else:
                host, port = url.hostname or "127.0.0.1", url.port or 6379
                tls = True if url.scheme == "rediss" else None
                _, connection = await loop.create_connection(made, host, port, ssl=tls)
        self._connection = connection
        if url.password:
            await self._call(("AUTH", *([url.username] if url.username else []), unquote(url.password)))
        database = url.path.strip("/") if url.scheme != "unix" else ""
        if database and database != "0":
            await self._call(("SELECT", database))
        if self._prepare is not None:
            await self._prepare(self)
        self.connected.set()
        if self.on_ready is not None:
            self.on_ready()

    def _lost(self, connection: _Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self.connected.clear()
            self._wanted.set()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self.connected.clear()
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    def _tick(self) -> None:
        """Breaks a connection on which replies are due and none came for a whole time limit."""
        connection = self._connection
        if connection is not None and connection.waiting and connection.replies == self._seen:
            log.warning("Redis does not answer, connecting anew")
            if connection.transport is not None:
                connection.transport.abort()
        self._seen = connection.replies if connection is not None and connection.waiting else -1
        self._watch = asyncio.get_running_loop().call_later(self._timeout, self._tick)
