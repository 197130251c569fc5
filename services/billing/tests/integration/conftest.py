"""Real servers behind billing's ports, and the fakes beside them: one suite for all."""

import pytest
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.request_log import FakeRequestLog
from services.billing.tests.fakes.usage_queries import FakeUsageQueries
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.fakes.wallets import FakeWallets
from services.billing.tests.integration.groups import forget_topics
from services.billing.tests.integration.money import opened_money
from services.billing.tests.integration.planted_books import opened_books
from tests.servers.notify import Receivers

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.request_log import ClickHouseRequestLog
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.usage_queries import ClickHouseUsageQueries
from tollgate_billing.adapters.usage_schema import Retention
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_holds.holds import Holds
from tollgate_kit.sql import Database

MIGRATIONS = "tollgate_billing:migrations"
# The rows of tests are of a fixed day, and nothing of it is to expire.
FOR_GOOD = Retention(raw_months=0, minute_days=0, hour_months=0, day_years=0)


@pytest.fixture
def receivers(tmp_path):
    """Webhooks and a mail server that note what billing sends."""
    running = Receivers(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def ledger(request, tmp_path):
    if request.param == "fake":
        yield FakeLedger()
        return
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    database = Database(url, migrations=MIGRATIONS)
    await database.migrate()
    made = SqlLedger(database)
    made.database = database
    yield made
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def money(request, tmp_path):
    """A ledger and the wallets that follow it; organizations are new for each test."""
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    async for made in opened_money(url, request.getfixturevalue("valkey").url):
        yield made


@pytest.fixture(scope="session")
def chdb_dsn(tmp_path_factory):
    """A process has one chDB directory, so all tests of a session share it."""
    return f"chdb:///{tmp_path_factory.mktemp('usage')}/tables"


@pytest.fixture(scope="session")
def http_process(tmp_path_factory):
    """The HTTP interface over chDB, in a process of its own."""
    from tests.servers.clickhouse import ClickHouseServer

    server = ClickHouseServer(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def clickhouse_server(http_process):
    return http_process.dsn


@pytest.fixture
def open_clickhouse(request):
    """Opens the usage store of a profile, migrated: `await open_clickhouse("chdb")`.

    Returns the store, and what ends the engine behind it and starts it again.
    """

    async def opened(profile):
        dsn = request.getfixturevalue("chdb_dsn" if profile == "chdb" else "clickhouse_server")
        clickhouse = ClickHouse(dsn, retention=FOR_GOOD)
        await clickhouse.migrate()

        async def again():
            await clickhouse.close()
            if profile == "http":
                request.getfixturevalue("http_process").kill()
                request.getfixturevalue("http_process").start()
            reopened = ClickHouse(dsn, retention=FOR_GOOD)
            await reopened.migrate()
            return reopened

        return clickhouse, again

    return opened


@pytest.fixture(params=["fake", "real"])
async def books(request, tmp_path):
    async for made in opened_books(request, tmp_path):
        yield made


@pytest.fixture(params=["fake", "chdb", "http"])
async def asked(request, open_clickhouse):
    """A usage store and the questions that are asked of it."""
    if request.param == "fake":
        store = FakeUsageStore()
        yield store, FakeUsageQueries(store)
        return
    clickhouse, _ = await open_clickhouse(request.param)
    yield ClickHouseUsageStore(clickhouse), ClickHouseUsageQueries(clickhouse)
    await clickhouse.close()


@pytest.fixture
def store(asked):
    return asked[0]


@pytest.fixture(params=["fake", "chdb", "http"])
async def request_log(request):
    """The request log; each test asks for organizations of its own."""
    if request.param == "fake":
        yield FakeRequestLog()
        return
    dsn = request.getfixturevalue("chdb_dsn" if request.param == "chdb" else "clickhouse_server")
    clickhouse = ClickHouse(dsn)
    await clickhouse.migrate()
    yield ClickHouseRequestLog(clickhouse)
    await clickhouse.close()


@pytest.fixture
async def holds(valkey):
    """What edge places and settles holds with."""
    made = Holds(valkey.url)
    await made.start()
    assert await made.wait_ready(60)
    yield made
    await made.close()


@pytest.fixture(params=["fake", "valkey"])
async def wallets(request):
    if request.param == "fake":
        yield FakeWallets()
        return
    holds = Holds(request.getfixturevalue("valkey").url)
    await holds.start()
    assert await holds.wait_ready(60)
    made = RedisWallets(holds)
    made.holds = holds
    yield made
    await holds.close()


@pytest.fixture
def fresh_kafka(kafka_broker):
    """The broker without a topic of ours: their names are fixed, and so is who reads them."""
    forget_topics(kafka_broker)
    yield kafka_broker
    forget_topics(kafka_broker)
