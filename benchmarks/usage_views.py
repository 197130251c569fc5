"""How long the kept questions about usage, and comparing its sums, take over many rows of an embedded usage store."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import percentile
from benchmarks.results import Results
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_rollups import ClickHouseRollups
from tollgate_billing.adapters.usage_views import ClickHouseUsageViews, all_views
from tollgate_billing.domain.rollups import DAY_US
from tollgate_billing.domain.usage_view import View, values_of
from tollgate_billing.use_cases.compare_rollups import CompareRollups

CHUNK = 500_000
DAYS = 31
ORGANIZATIONS = 200
TABLES = ("usage_events", "usage_1m", "usage_1h", "usage_1d")
FOUND = "SELECT count() AS rows, toUnixTimestamp64Micro(max(started_at)) AS last FROM usage_events"
# Organizations and keys are used unevenly, a key asks three of twenty models, one call in fifty fails.
GENERATED = """
INSERT INTO usage_events (event_id, kind, request_id, try, attempt, source, status, final, started_at, ended_at,
    logged_at, ingested_at, organization_id, project_id, api_key_id, model, upstream_model, provider, channel, dialect,
    operation, stream, outcome, input_tokens, output_tokens, cache_read_tokens, reasoning_tokens, requests, images,
    charge, cost, currency, price_digest, first_byte_us, total_us, batch, src_epoch, src_topic, src_offset)
WITH
    cityHash64(number, 1) AS a, cityHash64(number, 2) AS b, cityHash64(number, 3) AS c,
    toUInt32({organizations:UInt32} * pow(a % 100000 / 100000, 2)) AS org,
    toUInt32(40 * pow(c % 1000 / 1000, 2)) AS key_number,
    (key_number * 7 + b % 3) % 20 AS model_number,
    a % 50 = 7 AS failed,
    fromUnixTimestamp64Micro({from:Int64} + toInt64(b % toUInt64({span:Int64}))) AS at
SELECT generateUUIDv4(number), 'usage', concat('req_', lower(hex(a)), lower(hex(number))), 1, 1, 'router', 'confirmed',
    1, at, at + INTERVAL 2 SECOND, at, at, concat('org_', toString(org)),
    concat('proj_', toString(org), '_', toString(key_number % 5)),
    concat('key_', toString(org), '_', toString(key_number)), concat('model-', toString(model_number)),
    concat('upstream-', toString(model_number)), concat('provider-', toString(model_number % 6)),
    concat('channel-', toString(model_number % 12)), 'openai_chat', if(model_number = 19, 'image', 'chat'), a % 2,
    if(failed, 'upstream_error', 'ok'), b % 4000, c % 1500, if(c % 3 = 0, b % 2000, 0), c % 100, 1,
    if(model_number = 19, 1 + a % 4, 0), toDecimal128(c % 100000, 12) / 1000000, toDecimal128(c % 60000, 12) / 1000000,
    'USD', concat('sha256:', toString(intDiv(b, 7) % 3)), 1000 * (c % 900), 1000 * (200 + b % 9000),
    {token:String}, 'bench', 'bench', number
FROM numbers({first:UInt64}, {count:UInt64})
"""


def run(directory: Path, results: Results, rows: int, times: int) -> None:
    """Makes so many rows and prints how long every view takes, `times` times each."""
    asyncio.run(_run(directory, results, rows, times))


async def _run(directory: Path, results: Results, rows: int, times: int) -> None:
    clickhouse = ClickHouse(f"chdb:///{directory}")
    await clickhouse.migrate()
    (found,) = await clickhouse.rows(FOUND, {})
    print(f"\n{rows} rows of {DAYS} days and {ORGANIZATIONS} organizations, with three rollups")
    if found["rows"]:
        rows, until_us = found["rows"], found["last"] + 1_000_000
        print(f"  {rows} were there")
    else:
        until_us = int(datetime.now(UTC).timestamp()) * 1_000_000
        began, used = time.monotonic(), time.process_time()
        await make_rows(clickhouse, rows, until_us)
        took = time.monotonic() - began
        used = (time.process_time() - used) * 1e6 / rows
        results.add("views made", rows=rows, seconds=took, micros=used)
        print(f"  made and inserted in {took:.0f} s, {used:.1f} us of processor a row")
    await ask_views(clickhouse, results, rows, until_us, times)
    await compare_sums(clickhouse, results, rows, until_us)
    await clickhouse.close()


async def make_rows(clickhouse: ClickHouse, rows: int, until_us: int) -> None:
    """Makes so many rows in the order of time, as events come, so that a chunk's sums are few."""
    begin_us, a_row_us = until_us - DAYS * 24 * 3600 * 1_000_000, DAYS * 24 * 3600 * 1_000_000 / rows
    for first in range(0, rows, CHUNK):
        count = min(CHUNK, rows - first)
        values = {"first": first, "count": count, "token": f"bench-{first}", "organizations": ORGANIZATIONS}
        span = {"from": begin_us + int(first * a_row_us), "span": max(1, int(count * a_row_us))}
        await clickhouse.rows(GENERATED, values | span, booking=True)


async def ask_views(clickhouse: ClickHouse, results: Results, rows: int, until_us: int, times: int) -> None:
    """Prints the sizes of the tables and how long each view takes."""
    # So that the questions are not asked while parts are merged; what is not merged yet stays so, as it does live.
    for table in TABLES:
        await clickhouse.command(f"SYSTEM STOP MERGES {table}")
    for table in TABLES:
        (size,) = await clickhouse.rows(
            "SELECT sum(rows) AS rows, count() AS parts, sum(bytes_on_disk) AS bytes FROM system.parts"
            " WHERE active AND table = {table:String}",
            {"table": table},
        )
        print(f"  {table:<14} {size['rows']:>10} rows in {size['parts']:>3} parts, {size['bytes'] / 1e6:>8.1f} MB")
    (found,) = await clickhouse.rows("SELECT request_id FROM usage_events WHERE src_offset = 7 LIMIT 1", {})
    print(f"\nThe views, {times} times each, ms: p50 / p95 (the first), ms of processor")
    for view in all_views():
        used = time.process_time()
        took_ms = await _asked(ClickHouseUsageViews(clickhouse), view, str(found["request_id"]), until_us, times)
        used_ms = (time.process_time() - used) * 1e3 / times
        ordered = took_ms[1:] or took_ms
        results.add("views", view=view.full_name, rows=rows, ms=[round(one, 2) for one in took_ms], used_ms=used_ms)
        print(
            f"  {view.full_name:<24} {percentile(ordered, 0.5):7.1f} / {percentile(ordered, 0.95):7.1f}"
            f" ({took_ms[0]:.1f}), {used_ms:.1f}",
            flush=True,
        )


async def compare_sums(clickhouse: ClickHouse, results: Results, rows: int, until_us: int) -> None:
    """Prints how long `tollgate reconcile` takes for rows and their sums."""
    compare = CompareRollups(ClickHouseRollups(clickhouse))
    print("\nComparing rows with their sums by minute, hour and day: seconds, seconds of processor")
    for days in (1, DAYS):
        began, used = time.monotonic(), time.process_time()
        found, _ = await compare(until_us - days * DAY_US, until_us, 1)
        took, used = time.monotonic() - began, time.process_time() - used
        if found:
            raise RuntimeError(f"rows and sums do not agree: {found[0].detail}")
        results.add("sums compared", days=days, rows=rows, seconds=took, processor_seconds=used)
        print(f"  {days:>2} of {DAYS} days {took:8.1f}, {used:.1f}", flush=True)


async def _asked(views: ClickHouseUsageViews, view: View, request: str, now_us: int, times: int) -> Sequence[float]:
    """Returns the milliseconds of each answer; organizations take turns, from the busiest on."""
    took = []
    names = [one.name for one in view.parameters]
    # All of the generated days where the view means a month, its own time otherwise.
    spans = {"month": "31d", "last-month": "31d"}
    for number in range(times):
        given = {"request_id": request, "channel": f"channel-{number % 12}", "until": "now"}
        # Across all organizations where that is the question.
        if view.name not in {"media", "request"}:
            given["organization"] = f"org_{number % 20}"
        since = next((one.default for one in view.parameters if one.name == "since"), None)
        given |= {"since": spans[since]} if since in spans else {}
        values = values_of(view, {key: value for key, value in given.items() if key in names}, now_us)
        began = time.monotonic()
        table = await views.ask(view, values, 10_000)
        took.append((time.monotonic() - began) * 1e3)
        if not table.rows:
            raise RuntimeError(f"{view.full_name} found nothing for {values}")
    return took
