"""Inserts into a real engine that end in the middle or come after their token: rows and sums have each batch once."""

import asyncio
import time

import clickhouse_connect
import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.conftest import FOR_GOOD
from services.billing.tests.integration.databases import new_clickhouse_database
from services.billing.tests.integration.running import BillingProcess, send, servers_of
from services.billing.tests.integration.test_usage_store import rows

from tollgate.billing.v1 import billing_pb2
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.usage_schema import REPLICATED_WINDOW
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.domain.rows import Block

pytestmark = pytest.mark.integration

FUNDS = 10**13
DAY_US = 24 * 3600 * 10**6
TABLES = ("usage_events", "usage_1m", "usage_1h", "usage_1d")
SUMS = "sum(charge), sum(cost), sum(loss)"
WINDOW = 5


@pytest.fixture
def billing(request, tmp_path, valkey, http_process):
    """A process whose usage store is a server's."""
    valkey.clear()
    servers = servers_of("embedded", request, tmp_path, valkey)
    servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"] = new_clickhouse_database(http_process.dsn)
    process = BillingProcess(tmp_path, servers)
    yield process
    process.clean()


@pytest.fixture
def engine(billing):
    """Asks the engine itself, and not billing."""
    client = clickhouse_connect.get_client(dsn=billing.servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"])
    yield client
    client.close()


# Where the sums by hour are made, and how to have the engine take its time there.
SLOWED, SLOWLY = "usage_1h_from_events", " AS e WHERE sleepEachRow(0.05) = 0 GROUP"
OURS = "database = currentDatabase()"


def of_two_months(count, name="r"):
    now = time.time_ns() // 1000
    return [
        usage_event(f"{name}{number}", output_tokens=number % 40, at_us=now - number % 2 * 40 * DAY_US)
        for number in range(count)
    ]


def rows_and_hours(engine):
    """Returns how many rows there are, and of how many there are sums by hour."""
    counts = ", ".join(
        f"(SELECT {count} FROM {table} WHERE organization_id = 'org')"
        for table, count in (("usage_events", "count()"), ("usage_1h", "sum(rows)"))
    )
    (found,) = engine.query(f"SELECT {counts}").result_rows
    return found


def held(engine, organization="org"):
    """Returns rows and sums of each table."""
    found = {}
    for table in TABLES:
        count = "count()" if table == "usage_events" else "sum(rows)"
        sql = f"SELECT {count}, {SUMS} FROM {table} WHERE organization_id = {{of:String}}"
        (found[table],) = engine.query(sql, parameters={"of": organization}).result_rows
    return found


async def until(holds, seconds=180):
    """Asks again and again until a condition holds."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - on a server.
            await asyncio.sleep(0.02)


async def booked(client, engine, events):
    """Waits until all events are booked, and checks that all books have each of them once."""
    await client.ready()
    await client.booked(len(events))
    charged = sum(event.charge_pico for event in events)
    balance = await client.balance()
    assert balance.ledger_pico == balance.wallet_pico == FUNDS - charged
    asked = billing_pb2.QueryUsageRequest(filter=billing_pb2.UsageFilter(organization_id="org"))
    usage = await client.call("QueryUsage", asked)
    assert (usage.total.requests, usage.total.charge_pico) == (len(events), charged)
    found = held(engine)
    assert found["usage_events"][0] == len(events)
    assert found == dict.fromkeys(TABLES, found["usage_events"])


async def test_an_insert_of_two_months_that_ends_with_the_engine_in_the_middle(billing, engine, http_process):
    """Its rows are there when the engine is killed and their sums by hour are not; others may be, of either month."""
    events = of_two_months(240)
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events[:40])
    await booked(client, engine, events[:40])
    # Two seconds for a batch, which is as long as the engine can be held up: on most machines the middle is seen.
    (view,) = engine.query(f"SELECT as_select FROM system.tables WHERE name = '{SLOWED}' AND {OURS}").result_rows[0]
    engine.command(f"ALTER TABLE {SLOWED} MODIFY QUERY {view.replace(' AS e GROUP', SLOWLY)}")
    for total in range(80, len(events) + 1, 40):
        await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events[total - 40 : total])
        await until(lambda total=total: rows_and_hours(engine)[0] == total)
        http_process.kill()
        await asyncio.to_thread(http_process.start)
        found = rows_and_hours(engine)
        await booked(client, engine, events[:total])
        # Where who looks was slower than that, all of the batch was there: the next one is killed in the middle.
        if found != (total, total):
            break
    assert found == (total, total - 40)
    await client.close()
    assert billing.stop() == 0


def blocks(name, count, size):
    """Yields so many batches of another organization, each row of which says that it is of a batch of its own."""
    now = time.time_ns() // 1000
    bounds, one = rows(name, [usage_event(name, organization="another", at_us=now)], at_us=now)
    for number in range(count):
        columns = {column: [*values] * size for column, values in one.columns.items()}
        columns["batch"] = [f"{name}/{number}/{place}" for place in range(size)]
        yield Block(columns), f"{bounds.batch}/{number}"


async def test_a_batch_that_comes_after_its_token_is_forgotten_is_there_once(billing, engine):
    """The engine keeps five tokens, and so many batches come between that billing no longer counts on any."""
    events = of_two_months(40)
    billing.start("after_insert")
    client = billing.client()
    await client.grant(FUNDS)
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events)
    assert await billing.died() == -9
    clickhouse = ClickHouse(billing.servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"], retention=FOR_GOOD)
    store = ClickHouseUsageStore(clickhouse)
    for table in TABLES:
        await clickhouse.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {WINDOW}")
    now = time.time_ns() // 1000
    bounds, known = rows("known", [usage_event("known", organization="another", at_us=now)], at_us=now)
    for _ in range(2):
        await store.insert_usage(known, bounds.batch)
        assert await store.remembers(bounds)
        assert [found[0] for found in held(engine, "another").values()] == [1, 1, 1, 1]
    size = REPLICATED_WINDOW // 2 // WINDOW
    for block, token in blocks("others", WINDOW, size):
        await store.insert_usage(block, token)
    assert not await store.remembers(bounds)
    await store.insert_usage(known, bounds.batch)
    # Whoever sends a batch again now has it twice.
    assert [found[0] for found in held(engine, "another").values()] == [WINDOW * size + 2] * 4
    await clickhouse.close()
    billing.start()
    await booked(client, engine, events)
    await client.close()
    assert billing.stop() == 0
