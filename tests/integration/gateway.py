"""Edge's door in front of routers' Exchange in one process: real streams between them, real Valkey, a real upstream."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from services.edge.tests.fakes.inference import MODEL, Bench, chat, eventually

from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.alone import Alone
from tollgate_holds.holds import Holds
from tollgate_resources import Channel, Credential, Declared, compile_version, digest, load_catalogue
from tollgate_router.app import Router
from tollgate_router.settings import RouterSettings
from tollgate_streams.server import StreamServer

SSE = b"text/event-stream"
_PIECE_BYTES = 65_536


def reply() -> bytes:
    """Returns a whole chat completion."""
    message = {"role": "assistant", "content": "Hello"}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        }
    ).encode()


def event(text: str) -> bytes:
    """Returns a chunk with content."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def last_events() -> bytes:
    """Returns the end of a stream: finish reason, usage, `[DONE]`."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    stop = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {**head, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in (stop, usage)) + b"data: [DONE]\n\n"


class Call:
    """One request at the provider. `body` is what came; a script answers."""

    def __init__(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.body = json.loads(body)
        self.sent = 0
        self._writer = writer

    @property
    def socket(self) -> socket.socket:
        return cast("socket.socket", self._writer.get_extra_info("socket"))

    @property
    def gone(self) -> bool:
        """The router has closed the connection."""
        reader = cast("Any", self._writer)._reader
        return bool(reader.at_eof() or reader.exception())

    def waiting(self) -> int:
        """Returns how many bytes the kernel has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    async def whole(self, body: bytes) -> None:
        """Answers at once."""
        self._writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await self._writer.drain()

    async def promise(self, size: int) -> None:
        """Sends the head of a reply of so many bytes."""
        self._writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size)

    async def write(self, data: bytes) -> None:
        """Sends bytes of it as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self) -> None:
        """Sends the head of a stream."""
        self._writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % SSE)

    async def send(self, data: bytes) -> None:
        """Sends part of a stream and waits until the kernel has most of it; `sent` counts."""
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self._writer.drain()
            self.sent += len(piece)

    async def end(self) -> None:
        """Sends the end of a stream."""
        await self.send(last_events())
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


Script = Callable[[Call], Awaitable[None]]


async def answer_whole(call: Call) -> None:
    """The script of a provider that answers at once."""
    await call.whole(reply())


class Upstream:
    """A provider on a port; `script` answers each call. `gone` counts connections that ended under a script."""

    def __init__(self) -> None:
        self.script: Script = answer_whole
        self.calls: list[Call] = []
        self.gone = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                call = Call(await reader.readexactly(int(length.partition(b":")[2])), writer)
                self.calls.append(call)
                await self._answer(call, reader)
        writer.transport.abort()

    async def _answer(self, call: Call, reader: asyncio.StreamReader) -> None:
        answering = asyncio.ensure_future(self.script(call))
        # A client that goes away ends its script.
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not answering.done():
            self.gone += 1
            # Whether it closed or broke the connection is all the same.
            gone.exception()
            answering.cancel()
            raise ConnectionResetError
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        await answering


class RunningRouter:
    """One router's parts, listening at `address`."""

    def __init__(
        self, directory: Path, name: str, document: bytes, settings: dict[str, Any], environment: dict[str, str]
    ) -> None:
        self.address = f"unix:{directory}/{name}.sock"
        self.parts = Router(
            RouterSettings(
                address=self.address,
                config_addresses="unix:/nowhere",
                state_directory=directory / name,
                spool_directory=directory / name,
                event_log_url=f"sqlite:///{directory}/events.sqlite",
                admin_address="127.0.0.1:0",
                **{"trace_sample_ratio": 0, **settings},
            ),
            {"UPSTREAM_KEY": "sk-upstream", **environment},
        )
        self.parts.apply(digest(document), document)
        self.server = StreamServer(self.address)
        self.parts.exchange.register(self.server)
        self._no_more = asyncio.Event()

    async def start(self) -> None:
        """Listens and publishes."""
        await self.server.start()
        self._publishing = asyncio.create_task(self.parts.publisher.run(self._no_more))

    async def vanish(self) -> None:
        """Breaks every stream at once, as a killed process does."""
        await self.server.stop(0)

    async def stop(self) -> None:
        """Stops and leaves nothing behind."""
        await self.server.stop(0)
        self._no_more.set()
        await self._publishing
        await self.parts.upstream.close()
        await self.parts.producer.close()
        self.parts.tracing.shutdown()
        self.parts.spool.close()


class Gateway:
    """An edge in front of `routers` routers, all with one provider behind them."""

    def __init__(self, directory: Path, redis_url: str, *, routers: int = 1, **router_settings: Any) -> None:
        self._directory, self._redis_url = directory, redis_url
        self._count, self._settings = routers, router_settings
        self.edge_settings: dict[str, Any] = {}
        # Standard variables of the routers' environment, and the provider that the upstream is said to be.
        self.environment: dict[str, str] = {}
        self.provider = "openai-compatible"
        self.alone: Alone | None = None
        self.upstream = Upstream()
        self.routers: list[RunningRouter] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Gateway"]:
        """Runs all of it."""
        server = await asyncio.start_server(self.upstream.serve, "127.0.0.1", 0)
        channel = Channel(
            name="one",
            provider=self.provider,
            base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1",
            credentials=(Credential(env="UPSTREAM_KEY"),),
            models=(MODEL,),  # type: ignore[arg-type] - read as a file would say it.
            private_network=True,
        )
        document = compile_version(Declared(channels=(channel,)), load_catalogue())
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(server.close)
            for number in range(self._count):
                router = RunningRouter(self._directory, f"router-{number}", document, self._settings, self.environment)
                await router.start()
                stack.push_async_callback(router.stop)
                self.routers.append(router)
            await self._edge(stack)
            yield self

    async def _edge(self, stack: contextlib.AsyncExitStack) -> None:
        holds = self.holds = Holds(self._redis_url)
        await holds.start()
        stack.push_async_callback(holds.close)
        assert await holds.wait_ready(60)
        await holds.rebuild("org_1", 10**15)
        addresses = ",".join(router.address for router in self.routers)
        tracing = self.routers[0].parts.tracing
        self.bench = Bench(**{"tracing": tracing, "router_addresses": addresses, **self.edge_settings})
        self.inference = self.bench.gateway
        self.admission = Admission(
            holds,
            hold_ttl_seconds=60,
            slot_ttl_seconds=60,
            pause_seconds=0.001,
            on_no_wallet=lambda _: None,
            alone=self.alone,
        )
        self.inference.admission = self.admission
        self.pool = self.inference.pool
        stopping = asyncio.Event()
        self.pool.start(stopping)
        stack.push_async_callback(self.pool.stop)
        stack.callback(stopping.set)
        await eventually(lambda: self.pool.connected == self._count)
        await stack.enter_async_context(self.bench.serving())

    async def ask(self, count: int, *, stream: bool = False) -> None:
        """Sends requests one after the other on one connection."""
        client = await self.bench.client()
        for _ in range(count):
            client.send(chat(stream=stream))
            status, _, body = await client.reply()
            assert status == 200, body
