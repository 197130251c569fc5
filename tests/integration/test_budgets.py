"""What one request may cost, counted, not timed: decodes, tasks, round trips, events, spans, lines of log.

Edge's door and the router's Exchange run in this process, over a real gRPC stream, Valkey and an upstream on a socket,
so that the interpreter's own profile hook sees every call. Counts of many requests are compared with those of none.
"""

import asyncio
import contextlib
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

import pytest
from services.edge.tests.fakes.inference import MODEL, Bench, chat, eventually

from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.link import RouterPool
from tollgate_holds import Holds
from tollgate_kit.clock import SystemClock
from tollgate_kit.event_log.port import Record
from tollgate_kit.grpc_io import new_server
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_kit.tracing import NoTracing, SpanRecord
from tollgate_rating import PriceBook, PriceTable
from tollgate_router.domain.choice import Level
from tollgate_router.domain.snapshot import Candidates, Snapshot
from tollgate_router.domain.target import Origin, Target
from tollgate_router.exchange.recorder import Recorder
from tollgate_router.exchange.service import ExchangeDeps, ExchangeService
from tollgate_router.settings import RouterSettings
from tollgate_router.telemetry import RouterCounters
from tollgate_router.upstream.client import UpstreamClient

pytestmark = pytest.mark.integration

REQUESTS = 40
REPLY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
).encode()


def sse(chunks: int) -> bytes:
    """Returns a stream of so many content chunks, its usage and its end."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    piece = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    frames = [{**head, "choices": [piece]} for _ in range(chunks)]
    frames.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    frames.append({**head, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}})
    return b"".join(b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames) + b"data: [DONE]\n\n"


class Upstream:
    """A provider on a port; `reply` is the body of every answer."""

    def __init__(self) -> None:
        self.reply, self.kind = REPLY, b"application/json"
        self.served = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                self.served += 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
                    % (self.kind, len(self.reply), self.reply)
                )
        writer.close()


class Log:
    """Takes what the publisher sends."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def send(self, _: str, records: list[Record]) -> None:
        self.records += records

    async def close(self) -> None:
        pass


class Spans(NoTracing):
    """Tracing that is on and keeps what it is given."""

    enabled = True

    def __init__(self) -> None:
        self.records: list[SpanRecord] = []

    def record(self, record: SpanRecord) -> None:
        self.records.append(record)


class Counts:
    """What this thread does in code of ours while `counting`: calls by the part they were made in, and tasks."""

    def __init__(self) -> None:
        self.decodes: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.log_lines: list[str] = []

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and argument.__name__ in {"decode", "loads"} and "json" in type_path(argument).lower():
            self.decodes[frame.f_globals["__name__"].split(".")[0]] += 1

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        module = getattr(coroutine, "cr_frame", None)
        name = module.f_globals["__name__"].split(".")[0] if module is not None else "?"
        self.tasks[name] += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        loop, logger = asyncio.get_running_loop(), logging.getLogger()
        handler = logging.Handler(logging.INFO)
        handler.emit = lambda record: self.log_lines.append(record.getMessage())  # type: ignore[method-assign]
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        loop.set_task_factory(self._task)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)
            loop.set_task_factory(None)
            logger.removeHandler(handler)
            logger.setLevel(level)


def type_path(function: Any) -> str:
    """Returns the module and type that a built-in method belongs to."""
    owner = getattr(function, "__self__", None)
    return f"{type(owner).__module__}.{type(owner).__name__}"


class Gateway:
    """Edge's door in front of the router's Exchange, with the upstream behind it."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory, self.redis_url = directory, redis_url
        self.upstream, self.log, self.spans = Upstream(), Log(), Spans()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.upstream.answer, "127.0.0.1", 0)
        stopping = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(server.close)
            address = f"unix:{self.directory}/router.sock"
            await self._router(stack, address, server.sockets[0].getsockname()[1])
            await self._edge(stack, address, stopping)
            yield

    async def _router(self, stack: contextlib.AsyncExitStack, address: str, port: int) -> None:
        spool = Spool.open(self.directory / "spool")
        stack.callback(spool.close)
        publisher = Publisher(spool, self.log, "usage.recorded.v1", gather_seconds=0)
        no_more = asyncio.Event()
        publishing = asyncio.create_task(publisher.run(no_more))

        async def finish() -> None:
            no_more.set()
            await publishing

        stack.push_async_callback(finish)
        source = random.Random(1)
        self.recorder = Recorder(
            spool=spool,
            publisher=publisher,
            tracing=self.spans,
            sample_ratio=0,
            random_source=source,
            slow_us=60_000_000,
        )
        client = UpstreamClient(SystemClock())
        stack.push_async_callback(client.close)
        deps = ExchangeDeps(
            settings=RouterSettings(
                address=address,
                config_addresses="",
                state_directory=self.directory,
                spool_directory=self.directory,
                event_log_url="",
                admin_address="",
            ),
            clock=SystemClock(),
            recorder=self.recorder,
            upstream=client,
            counters=RouterCounters(),
            random_source=source,
        )
        target = Target(
            channel="one",
            key_index=0,
            provider="tests",
            origin=Origin("http", "127.0.0.1", port, private_network=True),
            base_path="/v1",
            upstream_model=MODEL,
            conforming=False,
            weight=1,
            header_block=b"authorization: Bearer x\r\n",
        )
        candidates = MappingProxyType({("default", MODEL): Candidates((Level((target,)),))})
        deps.snapshot = Snapshot("sha256:1", (), PriceTable([BOOK]), candidates)
        server = new_server(address)
        ExchangeService(deps).register(server)
        await server.start()
        stack.push_async_callback(server.stop, 0)

    async def _edge(self, stack: contextlib.AsyncExitStack, address: str, stopping: asyncio.Event) -> None:
        self.holds = Holds(self.redis_url)
        await self.holds.start()
        stack.push_async_callback(self.holds.close)
        assert await self.holds.wait_ready(10)
        await self.holds.rebuild("org_1", 10**15)
        self.bench = Bench()
        gateway = self.bench.gateway
        gateway.tracing = self.spans
        self.admission = Admission(self.holds, hold_ttl_seconds=60, pause_seconds=0.001, on_no_wallet=lambda _: None)
        gateway.admission = self.admission
        connected = asyncio.Event()
        gateway.pool = RouterPool([address], pause_seconds=0.001, on_ready=connected.set)
        gateway.pool.start(stopping)
        stack.push_async_callback(gateway.pool.stop)
        stack.callback(stopping.set)
        await asyncio.wait_for(connected.wait(), 10)
        await stack.enter_async_context(self.bench.serving())

    async def ask(self, count: int, *, stream: bool = False) -> None:
        """Sends requests one after the other on one connection."""
        client = await self.bench.client()
        for _ in range(count):
            client.send(chat(stream=stream))
            status, _, body = await client.reply()
            assert status == 200, body


BOOK = PriceBook(
    name="public", effective_us=0, currency="USD", models={MODEL: {"input": "1", "output": "2"}}, groups={}
)


@pytest.fixture
async def gateway(tmp_path: Path, valkey: Any) -> AsyncIterator[Gateway]:
    valkey.clear()
    made = Gateway(tmp_path, valkey.url)
    async with made.running():
        # The first request opens the connection to the provider, in a task of its own.
        await made.ask(1)
        yield made


async def test_a_small_request_costs_no_more_than_its_budget(gateway: Gateway) -> None:
    counts, trips = Counts(), gateway.admission.round_trips
    with counts.counting():
        await gateway.ask(REQUESTS)
    assert gateway.upstream.served == REQUESTS + 1
    # Edge decodes the request; the router edits it, and reads the usage of the reply.
    assert counts.decodes["tollgate_edge"] == REQUESTS
    assert counts.decodes["tollgate_router"] == 2 * REQUESTS
    assert not {name: count for name, count in counts.tasks.items() if name.startswith("tollgate")}
    assert counts.log_lines == []
    # A settle waits for the next hold's round trip; how long is a matter of time, so some may have gone alone.
    assert REQUESTS <= gateway.admission.round_trips - trips <= 2 * REQUESTS
    assert gateway.spans.records == []


async def test_requests_that_come_together_share_round_trips(gateway: Gateway) -> None:
    trips = gateway.admission.round_trips
    together = 8
    await asyncio.gather(*(gateway.ask(REQUESTS // together) for _ in range(together)))
    assert gateway.admission.round_trips - trips < REQUESTS


async def test_a_request_is_one_usage_event(gateway: Gateway) -> None:
    await gateway.ask(REQUESTS)
    await eventually(lambda: len(gateway.log.records) > REQUESTS)
    assert len({record.key for record in gateway.log.records}) == len(gateway.log.records) == REQUESTS + 1


async def test_a_chunk_of_a_stream_costs_no_decode_and_no_task(gateway: Gateway) -> None:
    gateway.upstream.kind = b"text/event-stream"
    found = []
    for chunks in (4, 64):
        gateway.upstream.reply = sse(chunks)
        counts = Counts()
        with counts.counting():
            await gateway.ask(REQUESTS, stream=True)
        ours = {name: count for name, count in counts.decodes.items() if name.startswith("tollgate")}
        found.append((ours, {name: count for name, count in counts.tasks.items() if name.startswith("tollgate")}))
        assert counts.log_lines == []
    assert found[0] == found[1]
    assert found[0][0]["tollgate_edge"] == REQUESTS
    assert gateway.spans.records == []
