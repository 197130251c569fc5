"""Sums by minute, hour and day beside their rows: what differs is named, and is made again from the rows."""

import uuid

import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.rollups import FakeRollups
from services.billing.tests.integration.planted_books import CHARGE, SECOND_US

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_rollups import ClickHouseRollups
from tollgate_billing.adapters.usage_schema import Cluster, Retention
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rollups import DAY_US, ROLLUPS, floor
from tollgate_billing.domain.rows import rows_of, to_decimal
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.use_cases.compare_rollups import CompareRollups
from tollgate_billing.use_cases.refill_rollups import RefillRollups
from tollgate_kit.clock import SystemClock

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ROLLUPS)
async def test_sums_that_are_not_those_of_their_rows(books, name):
    await books.book(books.event("a"), books.event("b", input_tokens=70), books.event("c", model="other"))
    rollup = ROLLUPS[name]
    # A row too few: the sum is gone, of two rows; a row too many: one is in it twice.
    for plant, by in (("lose", -2), ("double", 1)):
        await plant_sums(books, rollup, plant)
        (one,) = await of_sums(books)
        assert (one.kind, one.rollup, one.project_id) == (f"rollup_{name}", rollup.table, "project")
        assert one.bucket_us == floor(books.began_us - SECOND_US, rollup.bucket_us)
        assert books.counters.differences[one.kind] == 1
        if by == -2:
            charges = CHARGE + 120 * 10**6
            assert (one.model, one.found_pico, one.expected_pico) == ("m", 0, charges)
            assert set(one.request_ids) == {books.name("a"), books.name("b")}
            assert "rows 0 instead of 2" in one.detail
        else:
            # Just as much as one request.
            assert (one.model, one.found_pico, one.expected_pico) == ("other", 2 * CHARGE, CHARGE)
            assert one.request_ids == (books.name("c"),)
            assert "rows 2 instead of 1" in one.detail
        assert f"usage refill {name}" in one.next_step
        await refilled(books, rollup)
        assert await of_sums(books) == []
    # A cost that is wrong by little.
    await plant_sums(books, rollup, "cost")
    (one,) = await of_sums(books)
    assert (one.kind, one.found_pico - one.expected_pico, one.model) == (f"rollup_{name}", 3, "other")


async def of_sums(books):
    """Returns the differences; that a model has no price here is none of the sums'."""
    return [one for one in await books.differences(seconds=1) if one.kind != "mismatch"]


async def plant_sums(books, rollup, plant):
    if isinstance(books.ledger, FakeLedger):
        rolled = books.store.rolled[rollup.name]
        if plant == "lose":
            rolled[:] = [row for row in rolled if row["model"] != "m"]
        else:
            more = [dict(row) for row in rolled if row["model"] == "other"]
            if plant == "cost":
                more = [more[0] | {"charge": to_decimal(0), "cost": to_decimal(3), "loss": to_decimal(0)}]
            rolled += more
        return
    mine = f"organization_id = '{books.organization}'"
    if plant == "lose":
        await books.clickhouse.command(
            f"ALTER TABLE {rollup.table} DELETE WHERE {mine} AND model = 'm' SETTINGS mutations_sync = 2"
        )
        return
    changed = ""
    if plant == "cost":
        cost = "toDecimal128('0.000000000003', 12)"
        changed = f"REPLACE (toUInt64(0) AS rows, toDecimal128(0, 12) AS charge, {cost} AS cost)"
    await books.clickhouse.command(
        f"INSERT INTO {rollup.table} SELECT * {changed} FROM {rollup.table} WHERE {mine} AND model = 'other'"
    )


async def refilled(books, rollup):
    rollups = FakeRollups(books.store) if isinstance(books.ledger, FakeLedger) else ClickHouseRollups(books.clickhouse)

    async def at_once(work, **_):
        return await work()

    refill = RefillRollups(rollups, at_once)
    begin, end = books.began_us - 2 * SECOND_US, books.clock.now_us()
    slices = [one async for one in refill(rollup.name, begin, end, dry_run=False)]
    assert sum(one.differed for one in slices) >= 1


@pytest.fixture
async def open_store(chdb_dsn):
    """Opens the usage store with other retentions; tables are shared, organizations are a test's own."""
    opened = []

    async def made(**retention):
        clickhouse = ClickHouse(chdb_dsn, retention=Retention(**retention))
        await clickhouse.migrate()
        opened.append(clickhouse)
        return clickhouse

    yield made
    for one in opened:
        await one.close()


def rows_at(at_us, organization, count=3):
    """Returns rows of requests that began then, and their batch."""
    bounds = Bounds(organization, "topic", 0, 0, count)
    events = [usage_event(f"{organization}-{n}", organization=organization, at_us=at_us) for n in range(count)]
    judged = [
        Judged(decode(one.SerializeToString(), offset, at_us), exceptional=False) for offset, one in enumerate(events)
    ]
    return rows_of(judged, bounds, SystemClock().now_us()), bounds.batch


async def found_of(rollups, organization, at_us):
    found, cut = await CompareRollups(rollups)(at_us - DAY_US, at_us + DAY_US, 1_000)
    assert cut == 0
    return [one for one in found if one.organization_id == organization]


async def test_what_time_has_taken_is_no_difference(open_store):
    organization = f"org-{uuid.uuid4().hex[:8]}"
    at_us = SystemClock().now_us() - 70 * DAY_US
    clickhouse = await open_store(raw_months=25, minute_days=14)
    rows, token = rows_at(at_us, organization)
    await ClickHouseUsageStore(clickhouse).insert_usage(rows, token)
    mine = f"DELETE WHERE organization_id = '{organization}' SETTINGS mutations_sync = 2"
    await clickhouse.command(f"ALTER TABLE usage_1m {mine}")
    assert await found_of(ClickHouseRollups(clickhouse), organization, at_us) == []
    longer = ClickHouseRollups(await open_store(raw_months=25, minute_days=100))
    assert [one.kind for one in await found_of(longer, organization, at_us)] == ["rollup_minute"]
    await clickhouse.command(f"ALTER TABLE usage_events {mine}")
    kinds = [one.kind for one in await found_of(longer, organization, at_us)]
    assert kinds == ["rollup_hour", "rollup_day"]
    assert await found_of(ClickHouseRollups(await open_store(raw_months=2)), organization, at_us) == []


class Between(ClickHouseRollups):
    """What happens after the first look at sums, and before the second."""

    def __init__(self, clickhouse, happens):
        super().__init__(clickhouse)
        self._happens = happens

    async def differences(self, *arguments, between_inserts=False, **more):
        if between_inserts:
            await self._happens()
        return await super().differences(*arguments, between_inserts=between_inserts, **more)


async def test_sums_that_come_a_moment_after_their_rows_are_no_difference(open_store):
    organization, clickhouse = f"org-{uuid.uuid4().hex[:8]}", await open_store()
    store, now = ClickHouseUsageStore(clickhouse), SystemClock().now_us()
    rows, token = rows_at(now, organization)
    await clickhouse.command("DETACH TABLE usage_1h_from_events")
    try:
        await store.insert_usage(rows, token)
    finally:
        await clickhouse.command("ATTACH TABLE usage_1h_from_events")

    async def insert():
        await store.insert_usage(rows, token)

    async def nothing():
        pass

    late = await found_of(Between(clickhouse, nothing), organization, now)
    assert [(one.kind, one.found_pico) for one in late] == [("rollup_hour", 0)]
    assert await found_of(Between(clickhouse, insert), organization, now) == []
    assert await found_of(ClickHouseRollups(clickhouse), organization, now) == []


async def at_once(work, **_):
    return await work()


async def test_sums_made_again_are_as_they_were_with_latencies_and_nothing_else_is_touched(open_store):
    organization, other = (f"org-{uuid.uuid4().hex[:8]}" for _ in range(2))
    clickhouse = await open_store()
    store, rollups, now = ClickHouseUsageStore(clickhouse), ClickHouseRollups(clickhouse), SystemClock().now_us()
    blocks = [rows_at(now, organization), rows_at(now - 2 * DAY_US, organization + "-before"), rows_at(now, other)]
    for rows, token in blocks:
        await store.insert_usage(rows, token)

    async def said(rollup):
        states = "" if rollup.name == "day" else ", finalizeAggregation(total_us) AS latencies"
        columns = f"organization_id, {rollup.column} AS at, rows, charge, requests, input_tokens{states}"
        names = {"names": [organization, organization + "-before", other]}
        sql = (
            f"SELECT {columns} FROM {rollup.table} FINAL WHERE organization_id IN {{names:Array(String)}} ORDER BY ALL"
        )
        return await clickhouse.rows(sql, names)

    for rollup in ROLLUPS.values():
        before = await said(rollup)
        assert len(before) == 3
        for table_row in (f"'{organization}'", f"'{other}'"):
            await clickhouse.command(
                f"INSERT INTO {rollup.table} SELECT * FROM {rollup.table} WHERE organization_id = {table_row}"
            )
        assert await said(rollup) != before
        begin = floor(now - 1_000_000, rollup.bucket_us)
        refill = RefillRollups(rollups, at_once)
        dry = [one.differed async for one in refill(rollup.name, begin, begin + 1, dry_run=True)]
        assert sum(dry) >= 2
        assert await said(rollup) != before
        done = [one.differed async for one in refill(rollup.name, begin, begin + 1, dry_run=False)]
        assert done == dry
        assert await said(rollup) == before
        # A batch that is sent again after that is still known.
        for rows, token in blocks:
            await store.insert_usage(rows, token)
        assert await said(rollup) == before


async def test_sums_that_nothing_is_left_of_and_sums_that_rows_are_gone_of(open_store):
    organization = f"org-{uuid.uuid4().hex[:8]}"
    clickhouse = await open_store(raw_months=0, minute_days=0, hour_months=0)
    store, rollups = ClickHouseUsageStore(clickhouse), ClickHouseRollups(clickhouse)
    # A month that no other test has rows of.
    at_us = SystemClock().now_us() - 500 * DAY_US
    rows, token = rows_at(at_us, organization)
    await store.insert_usage(rows, token)
    mine = f"DELETE WHERE organization_id = '{organization}' SETTINGS mutations_sync = 2"
    await clickhouse.command(f"ALTER TABLE usage_events {mine}")
    refill, day = RefillRollups(rollups, at_once), floor(at_us, DAY_US)
    # Sums that have more than there are rows stay, also where others are made again.
    assert await refill.lacking(ROLLUPS["hour"], day, day + DAY_US) == 0
    other = f"{organization}-other"
    rows, token = rows_at(at_us, other)
    await store.insert_usage(rows, token)
    await clickhouse.command(
        f"ALTER TABLE usage_1h DELETE WHERE organization_id = '{other}' SETTINGS mutations_sync = 2"
    )
    assert await refill.lacking(ROLLUPS["hour"], day, day + DAY_US) == 1
    assert await found_of(rollups, other, at_us) == []
    assert len(await found_of(rollups, organization, at_us)) == 3
    assert [one.differed async for one in refill("hour", day, day + DAY_US, dry_run=False)] == [1]
    assert {one.kind for one in await found_of(rollups, organization, at_us)} == {"rollup_minute", "rollup_day"}


async def test_what_cannot_be_made_again(open_store):
    refill = RefillRollups(ClickHouseRollups(await open_store(minute_days=14)), at_once)
    for name, from_us, to_us in (("week", 1, 2), ("hour", 5, 5), ("hour", 0, 5)):
        with pytest.raises(InvalidQuery):
            await anext(refill(name, from_us, to_us, dry_run=True))
    # Minutes of last month are gone: there is nothing to be made.
    long_ago = SystemClock().now_us() - 40 * DAY_US
    assert [one async for one in refill("minute", long_ago, long_ago + DAY_US, dry_run=False)] == []
    clustered = ClickHouse("chdb:///nowhere", cluster=Cluster("c", "/x"))
    with pytest.raises(InvalidQuery, match="cluster"):
        await ClickHouseRollups(clustered).refill(ROLLUPS["day"], 1, 2, lacking=False)
    await clustered.close()
