"""Servers that answer too late, stop or refuse to write: booking waits, and nothing is lost or counted twice."""

import asyncio
import contextlib
import resource
import time
import uuid
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.conftest import FOR_GOOD
from services.billing.tests.integration.databases import new_clickhouse_database
from services.billing.tests.integration.running import BillingProcess, send, servers_of
from services.billing.tests.integration.test_usage_store import rows

from tollgate.billing.v1 import billing_pb2
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.errors import LedgerUnavailable, UsageStoreUnavailable
from tollgate_billing.ports import Grant
from tollgate_kit.sql import Database

pytestmark = pytest.mark.integration

FUNDS = 10**13
DUPLICATES = "SELECT sum(value) AS blocks FROM system.events WHERE event = 'DuplicatedInsertedBlocks'"


class DeafProxy:
    """Takes what clients send to a server; while `cutting`, closes the connection in place of its answer."""

    def __init__(self, host, port):
        self._behind = (host, port)
        self.cutting = False
        self.cut = 0
        self._server = None
        self._open = []

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def close(self):
        self._server.close()
        for writer in self._open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader, writer):
        there, back = await asyncio.open_connection(*self._behind)
        self._open += (writer, back)
        await asyncio.gather(self._pass(reader, back), self._answer(there, writer, back), return_exceptions=True)

    async def _pass(self, reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answer(self, reader, writer, back):
        # The server has done what it was asked when it answers.
        while data := await reader.read(65_536):
            if self.cutting:
                self.cut += 1
                back.close()
                break
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def proxied(clickhouse_server):
    """A proxy, and the usage store behind it."""
    dsn = new_clickhouse_database(clickhouse_server)
    parts = urlsplit(dsn)
    proxy = DeafProxy(parts.hostname, parts.port)
    port = await proxy.start()
    clickhouse = ClickHouse(dsn.replace(f":{parts.port}", f":{port}"), retention=FOR_GOOD)
    yield proxy, clickhouse
    await clickhouse.close()
    await proxy.close()


async def test_an_insert_whose_answer_is_lost_is_repeated_and_counted_once(proxied):
    proxy, clickhouse = proxied
    await clickhouse.migrate()
    store = ClickHouseUsageStore(clickhouse)
    epoch = uuid.uuid4().hex
    bounds, made = rows(epoch, [usage_event(f"{epoch}-{number}") for number in range(5)])
    proxy.cutting = True
    with pytest.raises(UsageStoreUnavailable):
        await store.insert_usage(made, bounds.batch)
    assert proxy.cut
    proxy.cutting = False
    # It failed for want of an answer only: what the engine gets now is the second of the same.
    assert len(await store.present(bounds)) == 5
    (before,) = await clickhouse.rows(DUPLICATES, {})
    await store.insert_usage(made, bounds.batch)
    (after,) = await clickhouse.rows(DUPLICATES, {})
    assert after["blocks"] > before["blocks"]
    assert len(await store.present(bounds)) == 5
    for table in ("usage_events", "usage_1m", "usage_1h", "usage_1d"):
        count = "count()" if table == "usage_events" else "sum(rows)"
        sql = f"SELECT {count} AS rows, sum(charge) AS charge FROM {table} WHERE organization_id = {{of:String}}"
        (found,) = await clickhouse.rows(sql, {"of": "org"})
        assert found == {"rows": 5, "charge": Decimal("0.0003")}, table


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_ledger_that_takes_no_writes_is_waited_for(request, tmp_path, kind):
    """A disk that was mounted again read-only, or a standby after a failover: unavailable, so booking waits."""
    if kind == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
        read_only = f"sqlite:///file:{tmp_path}/ledger.sqlite?mode=ro&uri=true"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
        read_only = f"{url}{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
    database = Database(url, migrations="tollgate_billing:migrations")
    await database.migrate()
    fenced = Database(read_only, migrations="tollgate_billing:migrations")
    grant = Grant("org", "USD", 5, "key", "test", 1)
    with pytest.raises(LedgerUnavailable):
        await SqlLedger(fenced).grant(grant)
    assert await SqlLedger(database).grant(grant) == 5
    fenced.close()
    database.close()


def events_now(count):
    now = time.time_ns() // 1000
    return [usage_event(f"r{number}", output_tokens=number % 40, at_us=now) for number in range(count)]


async def all_booked(client, events):
    """Waits until all events are rows, and checks that each was charged once."""
    await client.booked(len(events))
    charged = sum(event.charge_pico for event in events)
    total, balance = await client.total(), await client.balance()
    assert (total.requests, total.charge_pico) == (len(events), charged)
    assert balance.ledger_pico == balance.wallet_pico == FUNDS - charged


async def test_broker_and_store_stop_under_load_and_come_back(request, tmp_path, valkey):
    """The short form of an outage: what comes meanwhile waits, and is booked once when they are back."""
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of("cluster", request, tmp_path, valkey))
    broker, engine = request.getfixturevalue("fresh_kafka"), request.getfixturevalue("http_process")
    url, events = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events_now(300)
    try:
        billing.start()
        client = billing.client()
        await client.grant(FUNDS)
        await send(url, events[:100])
        engine.kill()
        await send(url, events[100:200])
        await asyncio.to_thread(engine.start)
        await client.booked(150)
        broker.kill()
        await asyncio.to_thread(broker.start)
        await send(url, events[200:])
        await all_booked(client, events)
        await client.close()
        assert billing.stop() == 0
    finally:
        billing.clean()


async def test_a_usage_store_that_takes_no_writes_is_waited_for(request, tmp_path, valkey):
    """The store's user may only read, as after a wrong grant or on a replica without its Keeper: events wait."""
    valkey.clear()
    engine = request.getfixturevalue("http_process")
    servers = servers_of("embedded", request, tmp_path, valkey)
    servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"] = new_clickhouse_database(engine.dsn)
    billing = BillingProcess(tmp_path, servers)
    url, events = servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events_now(120)
    try:
        billing.start()
        client = billing.client()
        await client.grant(FUNDS)
        await send(url, events[:30])
        await client.booked(30)
        engine.read_only(on=True)
        await send(url, events[30:])
        reason = await client.unready("booking waits: usage store")
        assert "readonly mode" in reason
        # What is there can be asked for, and what is not there is counted as waiting.
        status = await client.call("GetStatus", billing_pb2.GetStatusRequest())
        assert (status.rows, status.poison, (await client.total()).requests) == (30, 0, 30)
        assert status.lag_ms > 0
        assert "booking waits: usage store" in status.problem
        engine.read_only(on=False)
        await all_booked(client, events)
        while (await client.call("GetStatus", billing_pb2.GetStatusRequest())).problem:  # noqa: ASYNC110 - of a process.
            await asyncio.sleep(0.1)
        await client.close()
        assert billing.stop() == 0
    finally:
        engine.read_only(on=False)
        billing.clean()


async def test_a_full_disk_under_billing_is_waited_for(request, tmp_path, valkey):
    """No file of billing can grow: neither its usage store, nor its ledger, nor its place in the log."""
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of("embedded", request, tmp_path, valkey))
    url, events = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events_now(120)
    try:
        billing.start()
        client = billing.client()
        await client.grant(FUNDS)
        await send(url, events[:30])
        await client.booked(30)
        pid = billing.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        await send(url, events[30:])
        await client.unready("booking waits")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        await all_booked(client, events)
        assert billing.process.pid == pid
        await client.close()
        assert billing.stop() == 0
    finally:
        billing.clean()
