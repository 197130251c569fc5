"""What one request may cost, counted, not timed: decodes, tasks, round trips, events, lines of log.

Edge's door and the router's Exchange run in this process, over a real gRPC stream, Valkey and an upstream on a socket,
so that the interpreter's own profile hook sees every call. Counts of many requests are compared with those of none.
"""

import asyncio
import contextlib
import gc
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from services.edge.tests.fakes.inference import eventually
from tests.integration.gateway import Call, Gateway, Script, event

pytestmark = pytest.mark.integration

REQUESTS = 40


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


def stream_of(chunks: int) -> Script:
    """Returns the script of a provider that streams so many pieces of text at once."""

    async def answer(call: Call) -> None:
        await call.begin()
        await call.send(event("x") * chunks)
        await call.end()

    return answer


@pytest.fixture
async def gateway(tmp_path: Path, valkey: Any) -> AsyncIterator[Gateway]:
    valkey.clear()
    async with Gateway(tmp_path, valkey.url).running() as made:
        # The first request opens the connection to the provider, in a task of its own.
        await made.ask(1)
        yield made


async def test_a_small_request_costs_no_more_than_its_budget(gateway: Gateway) -> None:
    counts, trips = Counts(), gateway.admission.round_trips
    with counts.counting():
        await gateway.ask(REQUESTS)
    assert len(gateway.upstream.calls) == REQUESTS + 1
    # Edge decodes the request; the router edits it, and reads the usage of the reply.
    assert counts.decodes["tollgate_edge"] == REQUESTS
    assert counts.decodes["tollgate_router"] == 2 * REQUESTS
    assert not {name: count for name, count in counts.tasks.items() if name.startswith("tollgate")}
    assert counts.log_lines == []
    # A settle waits for the next hold's round trip; how long is a matter of time, so some may have gone alone.
    assert REQUESTS <= gateway.admission.round_trips - trips <= 2 * REQUESTS


async def test_requests_that_come_together_share_round_trips(gateway: Gateway) -> None:
    trips = gateway.admission.round_trips
    together = 8
    await asyncio.gather(*(gateway.ask(REQUESTS // together) for _ in range(together)))
    assert gateway.admission.round_trips - trips < REQUESTS


async def test_a_request_is_one_usage_event(gateway: Gateway) -> None:
    await gateway.ask(REQUESTS)
    (router,) = gateway.routers
    await eventually(lambda: router.parts.publisher.published > REQUESTS)
    assert router.parts.publisher.published == REQUESTS + 1
    assert router.parts.spool.records == 0


async def test_a_chunk_of_a_stream_costs_no_decode_and_no_task(gateway: Gateway) -> None:
    found = []
    for chunks in (4, 64):
        gateway.upstream.script = stream_of(chunks)
        counts = Counts()
        with counts.counting():
            await gateway.ask(REQUESTS, stream=True)
        kinds = (counts.decodes, counts.tasks)
        found.append([{name: kind[name] for name in kind if name.startswith("tollgate")} for kind in kinds])
        assert counts.log_lines == []
    assert found[0] == found[1]
    assert found[0][0]["tollgate_edge"] == REQUESTS


async def test_a_request_leaves_nothing_for_the_garbage_collector(gateway: Gateway) -> None:
    """Else bodies stay in memory until it comes, and it comes more often."""
    for chunks in (0, 10):
        if chunks:
            gateway.upstream.script = stream_of(chunks)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await gateway.ask(REQUESTS, stream=chunks > 0)
            gc.collect()
            left = Counter(type(one).__qualname__ for one in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert {name: count for name, count in left.items() if count >= REQUESTS} == {}
