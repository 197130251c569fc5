"""What a row costs on its way into an embedded usage store with its three rollups, in this process and nothing else."""

import asyncio
import contextlib
import itertools
import time
from pathlib import Path

from benchmarks.events import EventSource, Template
from benchmarks.results import Results
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rows import Block, rows_of

BATCHES = (5_000, 20_000, 50_000)
ROWS = 100_000
MERGES_SECONDS = 60.0
TABLES = ("usage_events", "usage_1m", "usage_1h", "usage_1d")
MERGING = "SELECT count() AS merges FROM system.merges"


def run(directory: Path, results: Results) -> None:
    """Prints rows a second and processor time a row, by batch and with and without fsync."""
    # At the pace of the target, so that a batch is of one or two minutes, as it is when events come.
    source = EventSource(Template("org", "proj", "sha256:bench"), seed=1)
    made = [event.SerializeToString() for event, _ in source.make(ROWS, seconds=ROWS / 50_000)]
    print(f"\n{ROWS} rows into the usage store with three rollups, by batch and fsync: rows a second,")
    print("  us of processor a row (with Arrow and the merges that followed)")
    for size in BATCHES:
        for fsync in (True, False):
            asyncio.run(_run(directory / f"insert-{size}-{fsync}", results, made, size, fsync=fsync))


async def _run(directory: Path, results: Results, made: list[bytes], size: int, *, fsync: bool) -> None:
    clickhouse = ClickHouse(f"chdb:///{directory}")
    await clickhouse.migrate()
    if not fsync:
        await without_fsync(clickhouse)
    store = ClickHouseUsageStore(clickhouse)
    now_us = time.time_ns() // 1000
    blocks = [_block(made[low : low + size], low, now_us) for low in range(0, len(made), size)]
    began, used = time.monotonic(), time.process_time()
    for number, block in enumerate(blocks):
        await store.insert_usage(block, f"bench-{number}")
    seconds = time.monotonic() - began
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MERGES_SECONDS):
            await _at_rest(clickhouse)
    micros = (time.process_time() - used) * 1e6 / len(made)
    await clickhouse.close()
    row = results.add("insert", batch=size, fsync=fsync, rows=len(made), rate=len(made) / seconds, micros=micros)
    print(
        f"  {size:>6}, {'fsynced' if fsync else 'not fsynced':<12}{row['rate']:>8.0f} {row['micros']:>6.1f}",
        flush=True,
    )


async def without_fsync(clickhouse: ClickHouse) -> None:
    """Has the tables of usage not wait for the disk any more."""
    for table in TABLES:
        await clickhouse.command(f"ALTER TABLE {table} MODIFY SETTING fsync_after_insert = 0, fsync_part_directory = 0")


async def _at_rest(clickhouse: ClickHouse) -> None:
    """Waits until no parts are merged."""
    for _ in itertools.count():
        if not (await clickhouse.rows(MERGING, {}))[0]["merges"]:
            return
        await asyncio.sleep(0.2)


def _block(made: list[bytes], low: int, now_us: int) -> Block:
    decoded = [decode(value, low + place, now_us) for place, value in enumerate(made)]
    judged = [Judged(event, exceptional=False) for event in decoded]
    return rows_of(judged, Bounds("bench", "bench", 0, low, low + len(made)), now_us)
