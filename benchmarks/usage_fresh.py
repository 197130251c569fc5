"""How long after an event is in the log its row can be asked for, while events come at a steady pace."""

import asyncio
import time
from collections.abc import Sequence

from benchmarks.events import EventSource, Publisher
from benchmarks.machine import percentile
from benchmarks.processes import processor_seconds
from benchmarks.product import Product
from benchmarks.results import Results

RATE = 5_000
SECONDS = 20
TURNS = 10
POLL_SECONDS = 0.05
WAIT_SECONDS = 120.0


def run(product: Product, redis: str, source: EventSource, results: Results) -> None:
    """Prints the percentiles, and what billing took meanwhile."""
    first = product.rows()
    spent = processor_seconds(product.pids("billing"))
    appended, seen = asyncio.run(_run(product, redis, source, first))
    micros = (processor_seconds(product.pids("billing")) - spent) * 1e6 / (len(appended) * RATE // TURNS)
    waits = sorted(_waits(appended, seen))
    took = appended[-1][0] - appended[0][0]
    row = results.add(
        "freshness of rows",
        rate=(appended[-1][1] - appended[0][1]) / took,
        aim=RATE,
        events=appended[-1][1] - first,
        billing=micros,
        **{f"p{part}_s": percentile(waits, part / 100) for part in (50, 99)},
    )
    print(f"\nFrom an event's place in the log to its row, {row['rate']:.0f} events a second for {took:.0f} s:")
    print(
        f"  p50 {row['p50_s']:.2f} s, p99 {row['p99_s']:.2f} s; billing {micros:.1f} us of processor a row", flush=True
    )


async def _run(
    product: Product, redis: str, source: EventSource, first: int
) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """Returns when how many rows were in the log, and when how many could be asked for; both count from before."""
    seen: list[tuple[float, int]] = []
    done = asyncio.Event()
    watching = asyncio.create_task(_watch(product, seen, done, first + RATE * SECONDS))
    appended = []
    async with Publisher.of(product, redis) as publisher:
        due, rows = time.monotonic(), first
        for _ in range(SECONDS * TURNS):
            await asyncio.sleep(due - time.monotonic())
            await publisher.publish(list(source.make(RATE // TURNS, seconds=1 / TURNS)))
            rows += RATE // TURNS
            appended.append((time.monotonic(), rows))
            due = max(due + 1 / TURNS, time.monotonic() - 1 / TURNS)
    await asyncio.wait_for(done.wait(), WAIT_SECONDS)
    await watching
    return appended, seen


async def _watch(product: Product, seen: list[tuple[float, int]], done: asyncio.Event, last: int) -> None:
    while not seen or seen[-1][1] < last:
        _, status = await asyncio.to_thread(product.call, "GET", "/api/v1/billing/status", product.admin_key)
        seen.append((time.monotonic(), int(status["rows"])))
        await asyncio.sleep(POLL_SECONDS)
    done.set()


def _waits(appended: Sequence[tuple[float, int]], seen: Sequence[tuple[float, int]]) -> list[float]:
    """Returns the seconds from append to sight, a value for each call of the log, which all have one size."""
    waits, place = [], 0
    for at, rows in appended:
        while seen[place][1] < rows:
            place += 1
        waits.append(max(0.0, seen[place][0] - at))
    return waits
