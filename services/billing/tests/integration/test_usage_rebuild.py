"""Usage rows that are lost are written again from the event log, under traffic: raw rows and sums end as they were."""

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from itertools import product

import clickhouse_connect
import pytest
from grpc.aio import AioRpcError
from services.billing.tests.fakes.events import WITNESS, usage_event
from services.billing.tests.integration.running import TOPIC, BillingProcess, send, servers_of
from services.billing.tests.integration.test_crash import DAY_US, FUNDS, SUMS, events_of

from tollgate.billing.v1 import billing_pb2
from tollgate.billing.v1 import dead_letters_pb2 as letters
from tollgate.billing.v1 import mending_pb2 as mending
from tollgate.billing.v1.mending_pb2_grpc import MendingServiceStub
from tollgate_billing.adapters.kept_events import KeptEvents
from tollgate_kit.grpc_io import new_channel

pytestmark = pytest.mark.integration

ROLLUPS = ("usage_1m", "usage_1h", "usage_1d")
SECOND_US = 10**6
PATIENCE_SECONDS = 180
# What a row says, but for when the store got it.
ROW = "* EXCEPT (ingested_at)"
DAMAGE = """
import sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn=sys.argv[1])
for statement in sys.argv[2:]:
    client.command(statement)
client.close()
"""


@pytest.fixture
def billing(request, tmp_path, valkey):
    valkey.clear()
    process = BillingProcess(tmp_path, servers_of(request.param, request, tmp_path, valkey))
    yield process
    process.clean()


class Store:
    """A billing process, what was sent to it, and damage to its usage store."""

    def __init__(self, process):
        self.process = process
        self.log_url = process.servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
        self.dsn = process.servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"]
        self.charged = self.rows = 0
        self.began_us = time.time_ns() // 1000 - SECOND_US

    async def start(self):
        self.process.start()
        self.client = self.process.client()
        self.channel = new_channel(self.process.socket)
        self.mending = MendingServiceStub(self.channel)

    async def restart(self, *damage, lost=False, failpoint=""):
        """Stops the process, does damage to the store and starts the process again.

        `OLDEST` in a statement is the month of the oldest row.
        """
        if any("OLDEST" in one for one in damage):
            ((oldest,),) = await self.client.sql("SELECT min(toYYYYMM(started_at)) FROM usage_events")
            damage = [one.replace("OLDEST", str(oldest)) for one in damage]
        await self.close()
        assert self.process.stop() in {0, None, -9}
        if lost:
            await asyncio.to_thread(self._lose)
        if damage:
            command = [sys.executable, "-c", DAMAGE, self.dsn, *damage]
            await asyncio.to_thread(subprocess.run, command, check=True, timeout=120)
        self.process.start(failpoint)
        self.client = self.process.client()
        self.channel = new_channel(self.process.socket)
        self.mending = MendingServiceStub(self.channel)

    def _lose(self):
        """Loses the whole store, as with a disk: the directory, or on a server the database."""
        if self.dsn.startswith("chdb://"):
            shutil.rmtree(self.dsn.removeprefix("chdb://"))
            return
        server, _, name = self.dsn.rpartition("/")
        with clickhouse_connect.get_client(dsn=f"{server}/default") as client:
            client.command(f"DROP DATABASE {name} SYNC")
            client.command(f"CREATE DATABASE {name}")

    async def close(self):
        await self.client.close()
        await self.channel.close()

    async def send(self, seed):
        events, charged, rows = events_of(seed)
        for first in range(0, len(events), 15):
            await send(self.log_url, events[first : first + 15])
        self.charged += charged
        self.rows += rows

    async def said(self):
        """Returns every row and every sum, as text."""
        tables = [await self.client.sql(f"SELECT {ROW} FROM usage_events ORDER BY src_offset, src_index, event_id")]
        for table in ROLLUPS:
            names = "organization_id, project_id, model, provider, currency"
            at = {"usage_1m": "minute", "usage_1h": "hour", "usage_1d": "day"}[table]
            tables.append(
                await self.client.sql(
                    f"SELECT {at}, {names}, sum(rows), sum(requests), sum(input_tokens), sum(output_tokens), {SUMS}"
                    f" FROM {table} GROUP BY ALL ORDER BY ALL"
                )
            )
        return tables

    async def count(self):
        """Returns how many rows there are, with adjustments."""
        return (await self.client.sql("SELECT count() FROM usage_events"))[0][0]

    async def rebuild(self, *, dry_run=False, to_us=0):
        """Runs a rebuild, again until all before it is finished; returns all that it said."""
        asked = mending.RebuildUsageRequest(
            from_us=self.began_us - SECOND_US, to_us=to_us or time.time_ns() // 1000 + SECOND_US, dry_run=dry_run
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    return [one async for one in self.mending.RebuildUsage(asked, wait_for_ready=True)]
                except AioRpcError as error:
                    if "waits for something" not in str(error.details()):
                        raise
                    await asyncio.sleep(0.1)

    async def booked(self):
        """Waits until all that was sent is booked."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.usage_rows() < self.rows:  # noqa: ASYNC110 - behind a port.
                await asyncio.sleep(0.1)
        await self.client.booked(self.rows)

    async def usage_rows(self):
        """Returns how many rows there are of events."""
        return (await self.client.sql("SELECT count() FROM usage_events WHERE kind = 'usage'"))[0][0]

    async def agree(self):
        """The books agree, and rows, ledger and wallet say what was sent, no more and no less."""
        await self.booked()
        total, balance = await self.client.total(), await self.client.balance()
        assert total.charge_pico == self.charged
        assert (balance.ledger_pico, balance.wallet_pico) == (FUNDS - self.charged, FUNDS - self.charged)
        raw = await self.client.sql(f"SELECT count(), {SUMS} FROM usage_events")
        # Beside them are adjustments: how many depends on how events fell into batches.
        assert await self.usage_rows() == self.rows
        for table in ROLLUPS:
            assert await self.client.sql(f"SELECT sum(rows), {SUMS} FROM {table}") == raw, table
        return await self.client.call(
            "CompareBooks",
            billing_pb2.CompareBooksRequest(from_us=self.began_us, to_us=time.time_ns() // 1000 + SECOND_US),
        )


async def opened(billing):
    store = Store(billing)
    await store.start()
    await store.client.grant(FUNDS)
    return store


async def traffic(store, seeds):
    for seed in seeds:
        await store.send(seed)


DAMAGES = {
    "the store": {"lost": True},
    "a partition and its sums": {
        "damage": [
            "ALTER TABLE usage_events DROP PARTITION ID 'OLDEST'",
            "ALTER TABLE usage_1h DROP PARTITION ID 'OLDEST'",
        ]
    },
    "rows and no sums": {
        "damage": ["ALTER TABLE usage_events DELETE WHERE src_offset % 3 = 0 SETTINGS mutations_sync = 2"]
    },
    "sums and no rows": {"damage": ["TRUNCATE TABLE usage_1d"]},
}


@pytest.mark.parametrize(
    ("billing", "what"),
    [*product(["embedded"], DAMAGES), ("cluster", "the store")],
    indirect=["billing"],
)
async def test_what_is_lost_is_rebuilt_under_traffic_and_ends_as_it_was(billing, what):
    store = await opened(billing)
    await traffic(store, (1, 2))
    await send(store.log_url, [b"\xff poison"])
    assert [one.kind for one in (await store.agree()).differences] == ["poison"]
    before, total = await store.said(), await store.count()
    status = await store.client.call("GetStatus", billing_pb2.GetStatusRequest())
    balance = await store.client.balance()
    await store.restart(*DAMAGES[what].get("damage", ()), lost=DAMAGES[what].get("lost", False))
    # Seen before it is mended.
    found = await store.client.call(
        "CompareBooks", billing_pb2.CompareBooksRequest(from_us=store.began_us, to_us=time.time_ns() // 1000)
    )
    assert found.differences
    dry = (await store.rebuild(dry_run=True))[-1]
    missing = total - await store.count()
    assert (dry.step, dry.missing, dry.unfit, list(dry.not_rebuilt)) == ("done", missing, 0, [])
    done = (await store.rebuild())[-1]
    assert (done.step, done.missing, done.unfit, list(done.not_rebuilt)) == ("done", dry.missing, 0, [])
    assert (done.sums > 0) == (what != "rows and no sums")
    assert await store.said() == before
    after = await store.client.call("GetStatus", billing_pb2.GetStatusRequest())
    assert (after.poison, after.mismatches) == (status.poison, status.mismatches) == (1, 0)
    assert await store.client.balance() == balance
    # And again while more is booked.
    await store.restart(*DAMAGES[what].get("damage", ()), lost=DAMAGES[what].get("lost", False))
    await store.client.call("GetStatus", billing_pb2.GetStatusRequest())
    sending = asyncio.create_task(traffic(store, (3, 4, 5)))
    rebuilt = await store.rebuild()
    while not sending.done():
        rebuilt = await store.rebuild()
    await sending
    await store.client.booked(1)
    rebuilt = await store.rebuild()
    assert (rebuilt[-1].unfit, list(rebuilt[-1].not_rebuilt)) == (0, [])
    compared = await store.agree()
    assert [one.kind for one in compared.differences] == ["poison"]
    await store.close()
    assert billing.stop() == 0


@pytest.mark.parametrize("billing", ["cluster"], indirect=True)
async def test_rows_are_rebuilt_from_kafka_into_a_server(billing):
    store = await opened(billing)
    await traffic(store, (6, 7))
    await store.agree()
    before, total = await store.said(), await store.count()
    damage = ("TRUNCATE TABLE usage_events", "ALTER TABLE usage_1h DELETE WHERE 1 SETTINGS mutations_sync = 2")
    await store.restart(*damage)
    rebuilt = await store.rebuild()
    assert (rebuilt[-1].missing, rebuilt[-1].unfit, list(rebuilt[-1].not_rebuilt)) == (total, 0, [])
    assert {one.partition for one in rebuilt[-1].kept} == {0, 1}
    assert await store.said() == before
    assert not (await store.agree()).differences
    await store.close()
    assert billing.stop() == 0


@pytest.mark.parametrize("billing", ["embedded", "cluster"], indirect=True)
@pytest.mark.parametrize("failpoint", ["before_attach", "after_attach"])
async def test_a_rebuild_that_is_killed_is_done_again(billing, failpoint):
    store = await opened(billing)
    await traffic(store, (8,))
    await store.agree()
    before, total = await store.said(), await store.count()
    await store.restart(lost=True, failpoint=failpoint)
    with pytest.raises(AioRpcError):
        await store.rebuild()
    assert await billing.died() == -9
    await store.restart()
    rebuilt = await store.rebuild()
    assert rebuilt[-1].missing == (total if failpoint == "before_attach" else 0)
    assert rebuilt[-1].sums > 0
    assert await store.said() == before
    assert not (await store.agree()).differences
    await store.close()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_what_the_log_no_longer_keeps_is_named_and_left(billing):
    store = await opened(billing)
    await traffic(store, (9,))
    await store.booked()
    gone_charge, gone_rows = store.charged, await store.count()
    with contextlib.closing(sqlite3.connect(billing.directory / "events.sqlite")) as log:
        ((height,),) = log.execute("SELECT max(position) FROM records").fetchall()
    await traffic(store, (10,))
    await store.agree()
    total = await store.count()
    await store.close()
    assert billing.stop() == 0
    with contextlib.closing(sqlite3.connect(billing.directory / "events.sqlite")) as log:
        log.execute("DELETE FROM records WHERE position <= ?", (height,))
        log.commit()
    await store.restart(lost=True)
    last = (await store.rebuild())[-1]
    assert (last.missing, last.unfit) == (total - gone_rows, 0)
    assert [one.offset for one in last.kept] == [height + 1]
    charges = [one for one in last.not_rebuilt if one.kind == "charge"]
    assert sum(one.expected_pico - one.found_pico for one in charges) == gone_charge
    assert all(f"the event log keeps records from {height + 1} on" in one.detail for one in charges)
    total = await store.client.total()
    assert total.charge_pico == store.charged - gone_charge
    assert (await store.client.balance()).ledger_pico == FUNDS - store.charged
    await store.close()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_a_row_that_the_ledger_knows_nothing_of_is_left_out(billing):
    store = await opened(billing)
    now = time.time_ns() // 1000
    await send(store.log_url, [usage_event("a", at_us=now), usage_event("b", at_us=now)])
    await store.client.booked(2)
    await store.close()
    assert billing.stop() == 0
    # As if what was booked as a duplicate of an event that the log has lost came to light again.
    with contextlib.closing(sqlite3.connect(billing.directory / "ledger.sqlite")) as ledger:
        ledger.execute("UPDATE transfers SET amount_pico = amount_pico - 1 WHERE debit = 'wallet'")
        ledger.commit()
    await store.restart(lost=True)
    last = (await store.rebuild())[-1]
    assert (last.missing, last.unfit) == (2, 2)
    assert {one.kind for one in last.not_rebuilt} == {"charge", "cost"}
    assert all("not what the ledger booked" in one.detail for one in last.not_rebuilt)
    assert await store.count() == 0
    await store.close()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_poison_that_was_set_aside_without_a_limit_is_no_hindrance_under_one(billing):
    # What the runbook says to do where too much on end is poison: the limit is off until it is behind.
    billing.servers["TOLLGATE_BILLING_POISON_LIMIT"] = "0"
    store = await opened(billing)
    now = time.time_ns() // 1000
    events = [usage_event("a", at_us=now), *(b"\xff%d" % number for number in range(9)), usage_event("b", at_us=now)]
    await send(store.log_url, events)
    await store.client.booked(2)
    billing.servers["TOLLGATE_BILLING_POISON_LIMIT"] = "3"
    await store.restart(lost=True)
    last = (await store.rebuild())[-1]
    assert (last.step, last.missing, last.unfit, last.letters, list(last.not_rebuilt)) == ("done", 2, 0, 9, [])
    assert await store.count() == 2
    await store.close()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_sums_are_made_again_under_traffic_and_a_kill_in_the_middle_leaves_none_half_made(billing):
    store = await opened(billing)
    await traffic(store, (11,))
    await store.agree()
    await store.restart("ALTER TABLE usage_1h DELETE WHERE 1 SETTINGS mutations_sync = 2", "TRUNCATE TABLE usage_1m")
    sending = asyncio.create_task(traffic(store, (12, 13, 14, 15)))

    def refilling(ago_days):
        now = time.time_ns() // 1000
        end = now - ago_days * DAY_US + 60 * SECOND_US
        span = {"from_us": min(store.began_us, now) - ago_days * DAY_US - SECOND_US, "to_us": end}
        return store.mending.RefillRollups(mending.RefillRollupsRequest(**span), wait_for_ready=True)

    await store.client.booked(1)
    # By minute for one month; all else is as it was.
    async for one in refilling(40):
        assert one.rollup == "minute"
        billing.kill()
        break
    await sending
    await store.restart()
    await store.booked()
    differed = [one.differed for ago_days in (0, 40) async for one in refilling(ago_days)]
    assert sum(differed) > 0
    # And while billing inserts beside it.
    again = asyncio.create_task(traffic(store, (16, 17, 18)))
    while not again.done():
        for ago_days in (0, 40):
            async for _ in refilling(ago_days):
                pass
    await again
    assert not (await store.agree()).differences
    await store.close()


async def test_reading_the_log_again_holds_it_back_only_while_it_is_read(tmp_path):
    url, file = f"sqlite:///{tmp_path}/events.sqlite", tmp_path / "events.sqlite"
    await send(url, [usage_event(f"r{number}") for number in range(7)])
    events = KeptEvents(url, TOPIC, lambda: "x")

    def position():
        with contextlib.closing(sqlite3.connect(file)) as log:
            found = log.execute("SELECT position FROM positions WHERE consumers = 'billing-rebuild'").fetchall()
        return found[0][0] if found else None

    for _ in range(2):
        seen = []
        async for records in events.read():
            assert position() == 1
            seen += [record.offset for record in records]
        assert seen == list(range(1, 8))
        assert position() == 1 << 62
    # A process that is killed leaves it where it is, and the next one lets go.
    abandoned = events.read()
    await anext(abandoned)
    assert position() == 1
    await events.let_go()
    assert position() == 1 << 62
    await abandoned.aclose()


@pytest.mark.parametrize("billing", ["embedded"], indirect=True)
async def test_what_waited_for_a_lost_row_is_booked_after_the_rebuild_and_not_by_it(billing):
    store = await opened(billing)
    now = time.time_ns() // 1000
    witness, later, plain = (
        usage_event("a", status=WITNESS, attempt=0, output_tokens=7, at_us=now),
        usage_event("a", tried=2, at_us=now),
        usage_event("b", at_us=now),
    )
    await send(store.log_url, [witness])
    await store.client.booked(1)
    await store.restart("TRUNCATE TABLE usage_events")
    await send(store.log_url, [plain, later])
    await store.client.booked(1)
    status = await store.client.call("GetStatus", billing_pb2.GetStatusRequest())
    assert (status.rows, status.poison) == (1, 1)
    assert (await store.client.balance()).ledger_pico == FUNDS - witness.charge_pico - plain.charge_pico
    # Both are rebuilt, and what was not booked is not made up: with it, no row of its batch would fit the ledger.
    await store.restart("TRUNCATE TABLE usage_events")
    last = (await store.rebuild())[-1]
    assert (last.missing, last.unfit, list(last.not_rebuilt)) == (2, 0, [])
    done = await store.client.letters.ReplayDeadLetters(letters.ReplayDeadLettersRequest(all=True), timeout=30)
    assert [(one.request_id, one.state) for one in done.letters] == [("a", "sent")]
    await store.client.booked(4)
    # The witness takes its charge back.
    store.charged, store.rows = later.charge_pico + plain.charge_pico, 3
    assert [one.kind for one in (await store.agree()).differences] == []
    await store.close()
