"""What one request may cost, counted, not timed: decodes, copies, tasks, round trips, events, spans, lines of log.

And what a chunk of a stream may cost: calls of Python functions, of which most of its processor time is made.

Edge's door and the router's Exchange run in this process, over a real stream between them, Valkey and an upstream on a
socket, so that the interpreter's own hooks see every call. Budgets are absolute; the last test plants work that is one
too much and sees that each of them notices.
"""

import asyncio
import contextlib
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from services.edge.tests.fakes.inference import MODEL, chat, eventually
from tests.integration import planted
from tests.integration.counting import PARTS, Counts
from tests.integration.gateway import Call, Gateway, Script, answer_whole, event

pytestmark = pytest.mark.integration

REQUESTS = 5
CHUNKS = 24
# Long enough that nothing else in the path is of this size, short enough for one read and one frame.
BODY_BYTES = 16 * 1024
# What a request costs, by what is counted.
Costs = dict[str, float]

SMALL: Final[Costs] = {
    "decodes at edge": 1,
    # One to edit the request, one for the reply, which is checked whole and read for its usage before a byte of it
    # leaves. The design says one. That of the reply takes 0.5 µs of 0.3 KB; searching it for its usage instead would
    # deliver half a document as a whole one.
    "decodes at router": 2,
    "tasks at edge": 0,
    "tasks at router": 0,
    "holds": 1,
    # A settle travels with the next hold, or alone once it has waited 20 ms; nothing else is asked of Redis.
    "settles alone": 1,
    "other round trips": 0,
    "events": 1,
    "spans": 0,
    "log lines": 0,
}
# Objects of Python's of the body's size, beyond the one that was read from the caller.
COPIES: Final[Costs] = {
    # Out of the parser, and into the batch.
    "copies at edge": 2,
    # The field of the message; the edited body, and the request of head and body, which up to 64 KiB is cheaper than
    # two writes.
    "copies at router": 3,
}
# Between the two: behind its prefix and behind its frame's head, and out of both again.
COPIES_BETWEEN: Final = 4
# Of a whole stream, however many chunks it has.
STREAM: Final[Costs] = {
    **SMALL,
    # Those of the request, and the chunk with the usage.
    "decodes at router": 2,
}
# Beyond those of a stream: what may hold the first and the last words of a provider that is not conforming.
MENDED: Final[Costs] = {**STREAM, "decodes at router": 6}
# Of a chunk that comes, is handed on and is written alone. Five of edge's, seven of router's and all between are of a
# write, however many streams are in it.
CHUNK: Final[Costs] = {
    "calls at edge": 8,
    # And of the few in which the end of a stream might stand.
    "calls at router": 14.5,
    # Both ends of the stream between them.
    "calls between": 14,
}


def over(costs: Costs, budgets: Costs) -> dict[str, float]:
    """Returns what costs more than it may."""
    assert costs.keys() == budgets.keys()
    return {name: cost for name, cost in costs.items() if cost > budgets[name]}


def costs_of(counts: Counts, events: int) -> Costs:
    """Returns what one of REQUESTS requests cost."""
    total = {
        "decodes at edge": counts.decodes["edge"],
        "decodes at router": counts.decodes["router"],
        "tasks at edge": counts.tasks["edge"],
        "tasks at router": counts.tasks["router"],
        "holds": counts.trips["hold"],
        "settles alone": counts.trips["settle"],
        "other round trips": counts.trips["other"],
        "events": events,
        "spans": counts.spans,
        "log lines": len(counts.log_lines),
    }
    return {name: count / REQUESTS for name, count in total.items()}


async def small(gateway: Gateway) -> tuple[Costs, Counts]:
    """Measures small requests, one after the other."""
    gateway.upstream.script = answer_whole
    counts, events = Counts(), _events(gateway)
    with counts.counting():
        await gateway.ask(REQUESTS)
    return costs_of(counts, _events(gateway) - events), counts


async def stream(gateway: Gateway) -> tuple[Costs, Counts]:
    """Measures streams of CHUNKS chunks, each of which the caller has before the provider says the next."""
    counts, events = Counts(), _events(gateway)
    await _streams(gateway, counts, REQUESTS, CHUNKS)
    return costs_of(counts, _events(gateway) - events), counts


async def chunks(gateway: Gateway) -> tuple[Costs, Counts]:
    """Measures what one chunk more costs: the lowest of streams of CHUNKS, and of twice as many.

    So what is done once for a stream counts as little as what timers do beside it.
    """
    counts = Counts()
    lowest: list[Counter[str]] = []
    for count in (CHUNKS, 2 * CHUNKS):
        found = []
        for _ in range(REQUESTS):
            counts = Counts()
            await _streams(gateway, counts, 1, count)
            found.append(counts.calls)
        lowest.append(Counter({part: min(one[part] for one in found) for part in PARTS.values()}))
    few, many = lowest
    each = {part: (many[part] - few[part]) / CHUNKS for part in PARTS.values()}
    costs = {"calls at edge": each["edge"], "calls at router": each["router"], "calls between": each["streams"]}
    return costs, counts


async def _streams(gateway: Gateway, counts: Counts, times: int, chunks: int) -> None:
    arrived = asyncio.Semaphore(0)
    gateway.upstream.script = in_step(arrived, chunks)
    client = await gateway.bench.client()
    with counts.counting():
        for _ in range(times):
            client.send(chat(stream=True))
            for number in range(chunks):
                await client.until(b'"word%d"' % number)
                arrived.release()
            await client.rest_of_stream()


async def copies(gateway: Gateway) -> tuple[Costs, Counts]:
    """Measures how often a body is copied."""
    gateway.upstream.script = answer_whole
    messages = [{"role": "user", "content": "x" * BODY_BYTES}]
    sent = chat(body=json.dumps({"model": MODEL, "messages": messages}).encode())
    client = await gateway.bench.client()
    counts = Counts()
    with counts.counting_copies(BODY_BYTES):
        for _ in range(REQUESTS):
            client.send(sent)
            status, _, _ = await client.reply()
            assert status == 200
    found = {"copies at edge": counts.copies["edge"], "copies at router": counts.copies["router"]}
    return {name: count / REQUESTS for name, count in found.items()}, counts


def _events(gateway: Gateway) -> int:
    """Returns how many usage events the router has handed to its publisher or keeps until edge acknowledges them."""
    (router,) = gateway.routers
    return router.parts.publisher.published + router.parts.spool.records


def in_step(arrived: asyncio.Semaphore, chunks: int) -> Script:
    """Returns the script of a provider that says a word only when the caller has the one before."""

    async def answer(call: Call) -> None:
        await call.begin()
        for number in range(chunks):
            await call.send(event(f"word{number}"))
            await arrived.acquire()
        await call.end()

    return answer


@contextlib.asynccontextmanager
async def running(directory: Path, valkey: Any, provider: str = "openai", **settings: Any) -> AsyncIterator[Gateway]:
    """Runs a gateway that records spans of what it keeps."""
    valkey.clear()
    made = Gateway(directory, valkey.url, **settings)
    made.provider, made.environment = provider, {"OTEL_TRACES_EXPORTER": "console"}
    async with made.running():
        # The first request opens the connection to the provider, in a task of its own.
        await made.ask(1)
        yield made


@pytest.fixture
async def gateway(tmp_path: Path, valkey: Any) -> AsyncIterator[Gateway]:
    async with running(tmp_path, valkey) as made:
        yield made


async def test_a_small_request_costs_no_more_than_its_budget(gateway: Gateway) -> None:
    costs, counts = await small(gateway)
    assert counts.deliveries == REQUESTS
    assert (counts.decodes["streams"], counts.tasks["streams"]) == (0, 0), counts.places
    assert over(costs, SMALL) == {}, counts.places


async def test_a_body_is_copied_no_more_often_than_it_may_be(gateway: Gateway) -> None:
    costs, counts = await copies(gateway)
    assert 0 < counts.copies["streams"] <= COPIES_BETWEEN * REQUESTS, counts.places
    assert over(costs, COPIES) == {}, counts.places


async def test_a_stream_costs_no_more_for_its_chunks(gateway: Gateway) -> None:
    costs, counts = await stream(gateway)
    # Each chunk came in a read of its own, and went to the caller in a batch of its own.
    assert counts.reads >= CHUNKS * REQUESTS
    assert counts.deliveries >= CHUNKS * REQUESTS
    assert (counts.decodes["streams"], counts.tasks["streams"]) == (0, 0), counts.places
    assert over(costs, STREAM) == {}, counts.places


async def test_a_chunk_costs_no_more_calls_than_its_budget(gateway: Gateway) -> None:
    costs, counts = await chunks(gateway)
    assert counts.reads >= 2 * CHUNKS
    assert counts.deliveries >= 2 * CHUNKS
    assert over(costs, CHUNK) == {}


async def test_mending_a_stream_looks_at_its_ends_only(tmp_path: Path, valkey: Any) -> None:
    async with running(tmp_path, valkey, "openai-compatible") as gateway:
        costs, counts = await stream(gateway)
    assert counts.reads >= CHUNKS * REQUESTS
    assert over(costs, MENDED) == {}, counts.places


async def test_a_stream_that_is_kept_has_no_span_for_a_chunk(tmp_path: Path, valkey: Any) -> None:
    async with running(tmp_path, valkey, trace_sample_ratio=1) as gateway:
        costs, counts = await stream(gateway)
    # That of the request and that of its attempt; the event's way to the log may come later.
    assert counts.spans >= 2 * REQUESTS
    assert over(costs, {**STREAM, "spans": 6}) == {}, counts.places


async def test_requests_that_come_together_share_round_trips(gateway: Gateway) -> None:
    trips = gateway.admission.round_trips
    together = 8
    await asyncio.gather(*(gateway.ask(REQUESTS // 2) for _ in range(together)))
    assert gateway.admission.round_trips - trips < together * (REQUESTS // 2)


async def test_a_request_is_one_usage_event(gateway: Gateway) -> None:
    await gateway.ask(REQUESTS)
    (router,) = gateway.routers
    await eventually(lambda: router.parts.publisher.published > REQUESTS)
    assert router.parts.publisher.published == REQUESTS + 1
    assert router.parts.spool.records == 0


Plant = Callable[[Gateway], contextlib.AbstractContextManager[None]]


def _work(where: Callable[..., contextlib.AbstractContextManager[None]], work: planted.Work) -> Plant:
    return lambda gateway: where(gateway, work)


# What is planted, what is measured then, and what must be found too dear.
PLANTS: Final[tuple[tuple[Plant, Callable[..., Any], Costs, str], ...]] = (
    (_work(planted.at_the_door, planted.decode_by_function), small, SMALL, "decodes at edge"),
    (_work(planted.at_the_door, planted.decode_by_decoder), small, SMALL, "decodes at edge"),
    (_work(planted.at_the_door, planted.decode_in_python), small, SMALL, "decodes at edge"),
    (_work(planted.at_the_door, planted.begin_task), small, SMALL, "tasks at edge"),
    (_work(planted.at_the_door, planted.write_line), small, SMALL, "log lines"),
    (lambda made: planted.at_the_door(made, planted.asking_redis(made)), small, SMALL, "other round trips"),
    (lambda made: planted.at_the_door(made, planted.holding_again(made)), small, SMALL, "holds"),
    (lambda made: planted.at_the_door(made, planted.settling_twice(made)), small, SMALL, "settles alone"),
    (_work(planted.for_each_read, planted.decode_by_function), small, SMALL, "decodes at router"),
    (_work(planted.for_each_read, planted.begin_task), small, SMALL, "tasks at router"),
    (planted.recording_twice, small, SMALL, "events"),
    (planted.copying_at_the_door, copies, COPIES, "copies at edge"),
    (planted.copying_at_the_router, copies, COPIES, "copies at router"),
    (_work(planted.for_each_batch, planted.decode_by_decoder), stream, STREAM, "decodes at edge"),
    (_work(planted.for_each_batch, planted.begin_task_by_hand), stream, STREAM, "tasks at edge"),
    (_work(planted.for_each_read, planted.decode_in_python), stream, STREAM, "decodes at router"),
    (_work(planted.for_each_read, planted.begin_task), stream, STREAM, "tasks at router"),
    (_work(planted.for_each_read, planted.make_span), stream, STREAM, "spans"),
    (_work(planted.for_each_read, planted.write_line), stream, STREAM, "log lines"),
    (lambda made: planted.for_each_batch(made, planted.asking_redis(made)), stream, STREAM, "other round trips"),
    (planted.recording_twice, stream, STREAM, "events"),
    (_work(planted.for_each_batch, planted.call_once), chunks, CHUNK, "calls at edge"),
    (_work(planted.for_each_read, planted.call_once), chunks, CHUNK, "calls at router"),
)


async def test_every_budget_notices_what_is_planted(gateway: Gateway) -> None:
    missed = []
    for plant, measure, budgets, wanted in PLANTS:
        with plant(gateway):
            costs, _ = await measure(gateway)
        if over(costs, budgets).keys() != {wanted}:
            missed.append((wanted, over(costs, budgets)))
    assert missed == []
    assert {wanted for *_, wanted in PLANTS} == SMALL.keys() | COPIES.keys() | CHUNK.keys() - {"calls between"}


def stream_of(chunks: int) -> Script:
    """Returns the script of a provider that streams so many pieces of text at once."""

    async def answer(call: Call) -> None:
        await call.begin()
        await call.send(event("x") * chunks)
        await call.end()

    return answer


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
