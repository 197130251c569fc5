"""Rollups and views of the usage store: their numbers, against rows that plain Python adds up."""

import io
import json
import uuid

import pyarrow.parquet as pq
import pytest
from services.billing.tests.fakes.events import NOW_US
from services.billing.tests.fakes.month import book, random_events
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.fakes.usage_views import FakeUsageViews

from tollgate_billing.adapters.usage_export import ClickHouseUsageExport
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.adapters.usage_views import ClickHouseUsageViews, all_views
from tollgate_billing.domain.fields import TOKEN_FIELDS
from tollgate_billing.domain.table import row_json
from tollgate_billing.domain.usage_export import exported_columns, read_month
from tollgate_billing.domain.usage_view import values_of

pytestmark = pytest.mark.integration

MONEY = ("charge", "cost", "loss")
UNITS = (*TOKEN_FIELDS, "images")


@pytest.fixture(scope="module")
def tag():
    return uuid.uuid4().hex[:8]


@pytest.fixture
async def month(profile, tag, open_clickhouse):
    """A store with a month of usage, the same rows in plain Python, and how to open the store again."""
    clickhouse, reopen = await open_clickhouse(profile)
    reference = FakeUsageStore()
    events = random_events(7, 300, NOW_US, tag)
    await book(events, reference, [ClickHouseUsageStore(clickhouse)], tag, size=100, now_us=NOW_US)
    yield clickhouse, reference, reopen
    await clickhouse.close()


def asked(view, tag, **more):
    needed = {"channel": f"{tag}-east", "request_id": more.pop("request_id", "")}
    names = [one.name for one in view.parameters]
    given = {name: value for name, value in (needed | {"until": "now"} | more).items() if name in names}
    return values_of(view, given, NOW_US + 60 * 10**6)


def cases(tag, reference):
    """Yields what is asked of each view: a month, an hour, nothing; one organization where a view takes one."""
    mine = f"{tag}-org-a"
    corrected = next(
        row["request_id"] for row in reference.usage if row["kind"] == "adjustment" and row["organization_id"] == mine
    )
    for view in all_views():
        for more in ({"since": "31d"}, {"since": "2h", "top": "2", "budget": "25.5"}, {"since": "0h"}):
            yield view, asked(view, tag, organization=mine, request_id=corrected, **more)


@pytest.mark.parametrize("profile", ["chdb", "http"])
async def test_every_view_finds_what_plain_python_finds(month, tag):
    clickhouse, reference, _ = month
    views, oracle = ClickHouseUsageViews(clickhouse), FakeUsageViews(reference, all_views())
    answered = set()
    for view, values in cases(tag, reference):
        found, expected = await views.ask(view, values, 10_000), await oracle.ask(view, values, 10_000)
        assert [name for name, _ in found.columns] == [column.name for column in view.columns]
        # Other tests use the same store, and views for operators see all of it.
        rows = [row for row in found.rows if not view.operators_only or view.name == "channel_errors" or tag in row[0]]
        answered |= {view.name} if rows else set()
        compare(view, rows, expected.rows)
        if view.name == "latency":
            for row in rows:
                near(row[3:6], oracle.samples[row[0], row[1]][0])
                near(row[6:9], oracle.samples[row[0], row[1]][1])
        # The view that analysts use and the question that billing asks are one text.
        arguments = ", ".join(f"{one.name} = {{{one.name}:{one.kind}}}" for one in view.parameters)
        seen = await clickhouse.table(f"SELECT * FROM {view.full_name}({arguments})", values)
        assert sorted(map(row_json, seen.rows)) == sorted(map(row_json, found.rows))
    assert answered == {view.name for view in all_views()}


def compare(view, found, expected):
    left, right = ([json.loads(row_json(row)) for row in rows] for rows in (found, expected))
    assert len(left) == len(right), view.name
    for one, other in zip(left, right, strict=True):
        for column, mine, theirs in zip(view.columns, one, other, strict=True):
            if view.name == "latency" and column.unit == "ms":
                continue
            if isinstance(theirs, float):
                assert mine == pytest.approx(theirs, rel=1e-9), (view.name, column.name)
            else:
                assert mine == theirs, (view.name, column.name)


def near(found, ordered):
    """A digest is not exact: what it says is within two places of where it belongs among the real values."""
    for part, value in zip((0.5, 0.95, 0.99), found, strict=True):
        place = part * (len(ordered) - 1)
        low, high = ordered[max(0, int(place) - 2)], ordered[min(len(ordered) - 1, int(place) + 3)]
        assert low - 0.05 <= value <= high + 0.05, (part, value, low, high)


async def sums_of(clickhouse, tag):
    """Returns the totals of an organization's rows in the raw table and in each rollup."""
    raw = ", ".join(
        [
            "count() AS rows",
            *(f"sum({name}) AS {name}" for name in MONEY),
            *(f"sum(sign * toInt64({name})) AS {name}" for name in UNITS),
            "sum(sign) AS requests",
            "sum(sign * (outcome != 'ok')) AS errors",
            "sum(sign * unpriced) AS unpriced",
        ]
    )
    sign = "WITH toInt64(multiIf(kind = 'adjustment', -1, final AND NOT superseded, 1, 0)) AS sign"
    found = {}
    for table in ("usage_events", "usage_1m", "usage_1h", "usage_1d"):
        columns = ("rows", *MONEY, *UNITS, "requests", "errors", "unpriced")
        sums = raw if table == "usage_events" else ", ".join(f"sum(r.{name}) AS {name}" for name in columns)
        (found[table],) = await clickhouse.rows(
            f"{sign if table == 'usage_events' else ''} SELECT {sums} FROM {table} AS r"
            " WHERE startsWith(organization_id, {tag:String})",
            {"tag": tag},
        )
    return found


@pytest.mark.parametrize("profile", ["chdb", "http"])
async def test_rollups_equal_raw_rows_however_often_batches_come(month, tag):
    clickhouse, reference, reopen = month
    first = await sums_of(clickhouse, tag)
    assert first["usage_events"]["rows"] == len(reference.usage)
    assert sum(row["kind"] == "adjustment" for row in reference.usage) >= 3
    for name in MONEY:
        assert first["usage_events"][name] == sum(row[name] for row in reference.usage)
    for table, sums in first.items():
        assert sums == first["usage_events"], table
    # Another process, after a kill where the engine is a server, and merged parts: the window is remembered.
    clickhouse = await reopen()
    for table in ("usage_events", "usage_1m", "usage_1h", "usage_1d"):
        await clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")
    await book(
        random_events(7, 300, NOW_US, tag),
        FakeUsageStore(),
        [ClickHouseUsageStore(clickhouse)],
        f"{tag}",
        size=100,
        now_us=NOW_US,
    )
    assert await sums_of(clickhouse, tag) == first
    await clickhouse.close()


@pytest.mark.parametrize("profile", ["chdb", "http"])
async def test_an_export_is_the_rows_of_the_month_as_parquet(month, tag):
    clickhouse, reference, _ = month
    export = ClickHouseUsageExport(clickhouse)
    for operator in (True, False):
        columns = exported_columns(operator=operator)
        pieces = [piece async for piece in export.month(f"{tag}-org-a", read_month("2025-11"), columns)]
        assert len(pieces) > 2
        table = pq.read_table(io.BytesIO(b"".join(pieces)))
        assert table.column_names == columns
        begin, end = read_month("2025-11").begin.timestamp() * 1e6, read_month("2025-11").end.timestamp() * 1e6
        expected = {
            str(row["event_id"]): row
            for row in reference.usage
            if row["organization_id"] == f"{tag}-org-a" and begin <= row["started_at"] < end
        }
        rows = table.to_pylist()
        assert {row["event_id"] for row in rows} == set(expected)
        for row in rows:
            other = expected[row["event_id"]]
            assert (row["charge"], row["kind"], row["final"]) == (other["charge"], other["kind"], other["final"])
            assert dict(row["extra_units"]) == other["extra_units"]
    empty = [piece async for piece in export.month("nobody", read_month("2025-11"), ["event_id", "charge"])]
    assert pq.read_table(io.BytesIO(b"".join(empty))).num_rows == 0
