"""Rows that were inserted again: `usage rebuild` takes them and their sums away, under traffic, whatever is killed."""

import asyncio
import contextlib
import sqlite3
import time

import pytest
from grpc.aio import AioRpcError
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.rollups import FakeCopies, FakeRollups
from services.billing.tests.integration.planted_books import SECOND_US
from services.billing.tests.integration.running import BillingProcess, servers_of
from services.billing.tests.integration.test_usage_rebuild import ROLLUPS as TABLES
from services.billing.tests.integration.test_usage_rebuild import opened, traffic

from tollgate.billing.v1 import billing_pb2
from tollgate_billing.adapters.usage_copies import ClickHouseCopies
from tollgate_billing.adapters.usage_rollups import ClickHouseRollups
from tollgate_billing.domain.rollups import DAY_US, ROLLUPS, floor
from tollgate_billing.errors import UsageStoreUnavailable
from tollgate_billing.use_cases.drop_copies import DropCopies

pytestmark = pytest.mark.integration

AGAIN = "INSERT INTO usage_events SELECT {} FROM usage_events WHERE src_offset % {} SETTINGS insert_deduplicate = 0"
# Some come later, as from a process that stood still, and some at once, so that nothing tells them apart; some twice.
COPIES = (
    AGAIN.format("* REPLACE (ingested_at + INTERVAL 5 SECOND AS ingested_at)", "3 = 0"),
    AGAIN.format("*", "3 = 1"),
    AGAIN.format("*", "9 = 1 LIMIT 1 BY src_offset, src_index"),
)
NOTHING_BESIDE = (
    "SELECT throwIf(count() > 0) FROM system.tables WHERE database = currentDatabase() AND name LIKE 'usage_events_%'"
)


def copies_of(books):
    """Returns what finds and takes away copies in the store of these books, and what makes sums again."""
    if isinstance(books.ledger, FakeLedger):
        return FakeCopies(books.store), FakeRollups(books.store)
    return ClickHouseCopies(books.clickhouse), ClickHouseRollups(books.clickhouse)


class Beside:
    """A store into which another process inserts, each time that a table beside was filled."""

    def __init__(self, clickhouse, insert):
        self._clickhouse = clickhouse
        self._insert = insert
        self.inserted = 0

    def __getattr__(self, name):
        return getattr(self._clickhouse, name)

    async def change(self, work):
        return await self._clickhouse.change(lambda client: work(_Client(client, self._inserted)))

    def _inserted(self, client, statement):
        if statement.startswith(("INSERT INTO usage_events_once", "INSERT INTO usage_1h_refilled")):
            client.command(self._insert)
            self.inserted += 1


class _Client:
    def __init__(self, client, behind):
        self._client = client
        self._behind = behind

    def __getattr__(self, name):
        return getattr(self._client, name)

    def command(self, statement, **more):
        self._client.command(statement, **more)
        self._behind(self._client, statement)


@pytest.fixture
def billing(request, tmp_path, valkey):
    valkey.clear()
    process = BillingProcess(tmp_path, servers_of(request.param, request, tmp_path, valkey))
    yield process
    process.clean()


async def test_what_is_inserted_again_is_found_and_taken_away_of_the_time_that_is_asked_for(books):
    first = await books.book(books.event("a"), books.event("b", input_tokens=70), books.event("c", model="other"))
    await books.book(books.event("d"))
    since = books.began_us - SECOND_US, books.clock.now_us() + SECOND_US
    assert {one.kind for one in await books.differences(seconds=1)} == {"mismatch"}
    copies, rollups = copies_of(books)
    drop = DropCopies(copies, rollups, lambda work: work(), lambda _name: None)
    assert first not in await copies.found(*since)
    await books.insert_again(books.event("a"), books.event("b", input_tokens=70))
    assert {"repeated_event", "charge"} <= {one.kind for one in await books.differences(seconds=1)}
    assert (await drop.rows(*since, dry_run=True))[first] == 2
    assert first not in await drop.rows(since[1], since[1] + SECOND_US, dry_run=False)
    # Ended here, sums are still made by the next one.
    assert (await drop.rows(*since, dry_run=False))[first] == 2
    assert {"rollup_minute", "rollup_hour", "rollup_day"} <= {one.kind for one in await books.differences(seconds=1)}
    assert first not in await drop.rows(*since, dry_run=False)
    # Both are of one line.
    assert await drop.sums() == 3
    assert {one.kind for one in await books.differences(seconds=1)} == {"mismatch"}
    assert await drop.sums() == 0


async def test_a_place_that_the_log_gave_to_two_events_keeps_both(books):
    first = await books.book(books.event("a"), books.event("b"), books.event("c"))
    since = books.began_us - SECOND_US, books.clock.now_us() + SECOND_US
    # As after the log was restored from an old copy.
    await books.insert_again(books.event("d"), books.event("b"))
    copies, rollups = copies_of(books)
    drop = DropCopies(copies, rollups, lambda work: work(), lambda _name: None)
    assert (await drop.rows(*since, dry_run=False))[first] == 1
    assert first not in await copies.found(*since)
    assert await count_of(books, f"batch = '{first}'") == 4
    await drop.sums()


async def count_of(books, condition, what="count()", table="usage_events"):
    if isinstance(books.ledger, FakeLedger):
        return len(books.store.usage)
    (row,) = await books.clickhouse.rows(f"SELECT {what} AS found FROM {table} WHERE {condition}", {})
    return row["found"]


@pytest.mark.parametrize("books", ["real"], indirect=True)
async def test_what_another_process_inserts_meanwhile_is_not_replaced(books):
    first = await books.book(books.event("a"), books.event("b"), books.event("c"))
    since = books.began_us - SECOND_US, books.clock.now_us() + SECOND_US
    await books.insert_again(books.event("a"), books.event("b"))
    own = f"organization_id = '{books.organization}'"
    new = "* REPLACE (generateUUIDv4() AS event_id, src_offset + 9 AS src_offset)"
    insert = f"INSERT INTO usage_events SELECT {new} FROM usage_events WHERE {own} LIMIT 1"
    beside = Beside(books.clickhouse, insert)
    with pytest.raises(UsageStoreUnavailable, match="other rows came to usage_events meanwhile; run it again"):
        await ClickHouseCopies(beside).drop(*since)
    assert (beside.inserted, await count_of(books, own)) == (2, 7)
    day = floor(books.began_us, DAY_US)
    with pytest.raises(UsageStoreUnavailable, match="other rows came to usage_1h meanwhile; run it again"):
        await ClickHouseRollups(beside).refill(ROLLUPS["hour"], day, day + DAY_US, lacking=False)
    assert beside.inserted == 4
    assert await count_of(books, own) == await count_of(books, own, "sum(rows)", "usage_1h") == 9
    # And then it is done.
    copies, rollups = copies_of(books)
    drop = DropCopies(copies, rollups, lambda work: work(), lambda _name: None)
    assert (await drop.rows(*since, dry_run=False))[first] == 2
    await drop.sums()
    assert first not in await copies.found(*since)
    assert await count_of(books, own) == await count_of(books, own, "sum(rows)", "usage_1h")


@pytest.mark.parametrize("books", ["real"], indirect=True)
async def test_a_kill_while_copies_are_kept_leaves_none_for_good(books):
    first = await books.book(books.event("a"), books.event("b"), books.event("c"))
    since = books.began_us - SECOND_US, books.clock.now_us() + SECOND_US
    own = f"organization_id = '{books.organization}'"
    for _ in range(2):
        await books.clickhouse.command(AGAIN.format("*", f"1 = 0 AND {own} LIMIT 1 BY src_offset"))
    # One copy of each place was kept, and then the process was gone.
    await books.clickhouse.command("CREATE TABLE IF NOT EXISTS usage_events_copies AS usage_events")
    await books.clickhouse.command(
        f"INSERT INTO usage_events_copies SELECT * FROM usage_events WHERE {own} LIMIT 1 BY src_offset"
    )
    copies, rollups = copies_of(books)
    drop = DropCopies(copies, rollups, lambda work: work(), lambda _name: None)
    assert (await drop.rows(*since, dry_run=False))[first] == 6
    await drop.sums()
    assert [await count_of(books, own, "sum(rows)", table) for table in TABLES] == [3, 3, 3]
    assert await count_of(books, own) == 3


async def differences(store):
    asked = billing_pb2.CompareBooksRequest(from_us=store.began_us, to_us=time.time_ns() // 1000 + 10**6)
    return {one.kind for one in (await store.client.call("CompareBooks", asked)).differences}


@pytest.mark.parametrize("billing", ["embedded", "cluster"], indirect=True)
async def test_rows_that_were_inserted_again_are_taken_away_under_traffic(billing):
    store = await opened(billing)
    await traffic(store, (1, 2))
    await store.agree()
    before, total = await store.said(), await store.count()
    first = await store.client.sql("SELECT sum(toUnixTimestamp64Micro(ingested_at)) FROM usage_events")
    balance = await store.client.balance()
    await store.restart(*COPIES)
    copies = await store.count() - total
    assert copies > 0
    assert (await store.client.sql("SELECT sum(rows) FROM usage_1d"))[0][0] == total + copies
    assert {"repeated_event", "charge"} <= await differences(store)
    dry = (await store.rebuild(dry_run=True))[-1]
    assert (dry.step, dry.copies, dry.missing, list(dry.not_rebuilt)) == ("done", copies, 0, [])
    assert await store.count() == total + copies
    # Of another time, nothing.
    early = await store.rebuild(to_us=store.began_us)
    assert (early[-1].copies, await store.count()) == (0, total + copies)
    said = await store.rebuild()
    assert said[0].step == "copies"
    assert (said[-1].copies, said[-1].missing, said[-1].unfit, list(said[-1].not_rebuilt)) == (copies, 0, 0, [])
    assert said[-1].sums > 0
    assert await store.said() == before
    # The row that came first is the one that stays.
    assert await store.client.sql("SELECT sum(toUnixTimestamp64Micro(ingested_at)) FROM usage_events") == first
    assert await store.client.balance() == balance
    assert await differences(store) == set()
    assert (await store.rebuild())[-1].copies == 0
    # And while more is booked.
    await store.restart(*COPIES)
    sending = asyncio.create_task(traffic(store, (3, 4)))
    while not sending.done():
        await store.rebuild()
    await sending
    await store.booked()
    await store.rebuild()
    assert not (await store.agree()).differences
    await store.close()
    assert billing.stop() == 0


@pytest.mark.parametrize("billing", ["embedded", "cluster"], indirect=True)
async def test_a_kill_between_rows_and_sums_is_made_good_by_the_next_rebuild(billing):
    store = await opened(billing)
    await traffic(store, (5,))
    await store.agree()
    before, total = await store.said(), await store.count()
    await store.restart(*COPIES, failpoint="after_copies")
    with pytest.raises(AioRpcError):
        await store.rebuild()
    assert await billing.died() == -9
    # A little earlier, what had been a month was left as well.
    await store.restart("CREATE TABLE usage_events_once AS usage_events")
    assert await store.count() == total
    assert (await store.client.sql("SELECT sum(rows) FROM usage_1h"))[0][0] > total
    rebuilt = (await store.rebuild())[-1]
    assert (rebuilt.copies, rebuilt.sums > 0) == (0, True)
    assert await store.said() == before
    assert not (await store.agree()).differences
    await store.restart(NOTHING_BESIDE)
    await store.close()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_with_copies_beside_lost_rows_both_are_mended_and_sums_of_neither_are_left_alone(billing):
    store = await opened(billing)
    await traffic(store, (6,))
    await store.agree()
    before = await store.said()
    # Rows of the batches that have copies are lost, and a sum has more than either explains.
    lose = "ALTER TABLE usage_events DELETE WHERE src_offset % 3 = 2 SETTINGS mutations_sync = 2"
    more = "INSERT INTO usage_1d SELECT * FROM usage_1d LIMIT 1 SETTINGS insert_deduplicate = 0"
    await store.restart(*COPIES, lose)
    last = (await store.rebuild())[-1]
    assert (last.copies > 0, last.missing > 0, last.unfit, list(last.not_rebuilt)) == (True, True, 0, [])
    assert await store.said() == before
    await store.restart(*COPIES, more)
    await store.rebuild()
    after = await store.said()
    assert after[:-1] == before[: len(TABLES)]
    assert sum(line != other for line, other in zip(after[-1], before[-1], strict=True)) == 1
    await store.close()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_beside_copies_a_lost_row_that_the_log_no_longer_has_is_named(billing):
    store = await opened(billing)
    await traffic(store, (7,))
    await store.agree()
    ((batch,),) = await store.client.sql("SELECT batch FROM usage_events WHERE charge != 0 ORDER BY src_offset LIMIT 1")
    await store.close()
    assert billing.stop() == 0
    with contextlib.closing(sqlite3.connect(billing.directory / "events.sqlite")) as log:
        log.execute("DELETE FROM records")
        log.commit()
    twice = AGAIN.format("*", f"1 = 0 AND batch = '{batch}' AND charge != 0 ORDER BY src_offset DESC LIMIT 1")
    lost = f"SELECT min(src_offset) FROM usage_events WHERE batch = '{batch}' AND charge != 0"
    lose = f"ALTER TABLE usage_events DELETE WHERE src_offset = ({lost}) SETTINGS mutations_sync = 2"
    await store.restart(twice, lose)
    last = (await store.rebuild())[-1]
    assert (last.copies, last.missing) == (1, 0)
    assert batch in {one.batch for one in last.not_rebuilt if one.kind == "charge"}
    await store.close()
