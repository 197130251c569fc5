"""Rows that were inserted again: `usage rebuild` takes them and their sums away, under traffic, whatever is killed."""

import asyncio
import time

import pytest
from grpc.aio import AioRpcError
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.rollups import FakeCopies, FakeRollups
from services.billing.tests.integration.planted_books import SECOND_US
from services.billing.tests.integration.running import BillingProcess, servers_of
from services.billing.tests.integration.test_usage_rebuild import ROLLUPS, opened, traffic

from tollgate.billing.v1 import billing_pb2
from tollgate_billing.adapters.usage_copies import ClickHouseCopies
from tollgate_billing.adapters.usage_rollups import ClickHouseRollups
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
    fake = isinstance(books.ledger, FakeLedger)
    copies, rollups = (
        (FakeCopies(books.store), FakeRollups(books.store))
        if fake
        else (ClickHouseCopies(books.clickhouse), ClickHouseRollups(books.clickhouse))
    )
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
    assert after[:-1] == before[: len(ROLLUPS)]
    assert sum(line != other for line, other in zip(after[-1], before[-1], strict=True)) == 1
    await store.close()
