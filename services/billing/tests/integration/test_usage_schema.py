"""The usage store's tables: filled rollups of an older store, retention by setting, the form for a cluster."""

import uuid

import clickhouse_connect
import pytest
from services.billing.tests.fakes.events import NOW_US, usage_event
from services.billing.tests.fakes.month import book, random_events
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate_billing.adapters.arrow import arrow_table
from tollgate_billing.adapters.clickhouse import insert_settings
from tollgate_billing.adapters.usage_schema import Cluster, Retention, keep_for, migrate, migrations, on_cluster
from tollgate_billing.adapters.usage_store import KINDS
from tollgate_billing.adapters.usage_views import all_views, view_statement
from tollgate_billing.domain.event import MAX_BATCH_EVENTS, decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rows import Block, rows_of

pytestmark = pytest.mark.integration

CLUSTER = Cluster("{cluster}", "/clickhouse/tables/{shard}/{database}/{table}")
ROLLUP_STEP = "0004_rollups.sql"
# Columns that came after the rollups.
LATER = ("rate_digest", "list_currency", "list_charge", "provider_currency", "provider_cost", "hold", "limits")
ROLLUPS = ("usage_1m", "usage_1h", "usage_1d")


@pytest.fixture
def client(chdb_dsn):
    """A client with a database of its own."""
    name = f"t{uuid.uuid4().hex[:10]}"
    first = clickhouse_connect.get_client(dsn=chdb_dsn)
    first.command(f"CREATE DATABASE {name} ENGINE = Atomic")
    made = clickhouse_connect.get_client(dsn=chdb_dsn, database=name)
    yield made
    made.close()
    first.command(f"DROP DATABASE {name}")
    first.close()


class Inserting:
    """The part of a usage store that adds rows, over one client and, where it has to be older, without some columns."""

    def __init__(self, client, without=()):
        self.client = client
        self.kinds = {name: kind for name, kind in KINDS.items() if name not in without}

    async def insert_usage(self, rows, token):
        table = arrow_table(rows.columns, self.kinds)
        self.client.insert_arrow("usage_events", table, settings={"insert_deduplication_token": token})


def older(client):
    """Makes the store as it was before there were rollups."""
    earlier = {name: statements for name, statements in migrations() if name < ROLLUP_STEP}
    for statements in earlier.values():
        for statement in statements:
            client.command(statement)
    client.command(
        "CREATE TABLE usage_migrations (name String, applied_at DateTime DEFAULT now())"
        " ENGINE = MergeTree ORDER BY name"
    )
    client.insert("usage_migrations", [[name] for name in earlier], column_names=["name"])


def sums(client, table):
    rows = "count()" if table == "usage_events" else "sum(rows)"
    return client.query(f"SELECT {rows}, sum(charge), sum(cost), sum(loss) FROM {table}").result_rows[0]


async def test_rows_of_an_older_store_are_filled_into_the_rollups_once(client):
    older(client)
    reference = FakeUsageStore()
    before = Inserting(client, without=(*LATER, "tags", "member", "client_network", "prompt_hash"))
    await book(random_events(3, 120, NOW_US, "old"), reference, [before], "old", size=40, now_us=NOW_US)
    raw = sums(client, "usage_events")
    assert raw[0] == len(reference.usage)
    # Cut off in the middle: the step begins anew when it was not recorded.
    steps = dict(migrations())[ROLLUP_STEP]
    for statement in steps[: len(steps) // 2]:
        if not statement.startswith("FILL"):
            client.command(statement)
    for _ in range(2):
        migrate(client, None)
        assert {table: sums(client, table) for table in ROLLUPS} == dict.fromkeys(ROLLUPS, raw)
    await book(random_events(4, 40, NOW_US, "new"), reference, [Inserting(client)], "new", size=40, now_us=NOW_US)
    now = sums(client, "usage_events")
    assert now[0] == len(reference.usage)
    # What was there before exchange rates was not converted.
    unlike = "charge != list_charge OR cost != provider_cost OR list_currency != currency OR rate_digest != ''"
    assert client.query(f"SELECT count() FROM usage_events WHERE {unlike}").result_rows == [(0,)]
    assert {table: sums(client, table) for table in ROLLUPS} == dict.fromkeys(ROLLUPS, now)


async def test_a_rollup_that_an_insert_did_not_reach_gets_it_when_it_is_sent_again(client):
    migrate(client, None)
    bounds = Bounds("cut", "topic", 0, 0, 1)
    judged = [Judged(decode(usage_event("cut").SerializeToString(), 0, NOW_US), exceptional=False)]
    made = arrow_table(rows_of(judged, bounds, NOW_US).columns, KINDS)
    # As after a kill: rows and some sums are there, those by hour are not.
    client.command("DETACH TABLE usage_1h_from_events")
    for attach in (False, True, False):
        if attach:
            client.command("ATTACH TABLE usage_1h_from_events")
        client.insert_arrow("usage_events", made, settings=insert_settings(bounds.batch))
    raw = sums(client, "usage_events")
    assert raw[0] == 1
    assert {table: sums(client, table) for table in ROLLUPS} == dict.fromkeys(ROLLUPS, raw)


def engine(client, table):
    return client.query(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        parameters={"t": table},
    ).result_rows[0][0]


def test_retention_is_applied_when_the_setting_changed_and_only_then(client):
    migrate(client, None)
    assert keep_for(client, Retention(), None) == ["usage_events", *ROLLUPS]
    assert "TTL toDateTime(started_at) + toIntervalMonth(25) SETTINGS" in engine(client, "usage_events")
    assert "ttl_only_drop_parts = 1" in engine(client, "usage_events")
    assert "TTL day + toIntervalYear(7) SETTINGS" in engine(client, "usage_1d")
    assert keep_for(client, Retention(), None) == []
    assert keep_for(client, Retention(raw_months=36, day_years=0), None) == ["usage_events", "usage_1d"]
    assert "toIntervalMonth(36)" in engine(client, "usage_events")
    assert "TTL" not in engine(client, "usage_1d")
    # The one volume that chDB has stands for the cold one.
    tiered = Retention(cold_days=90, cold_volume="default", storage_policy="default")
    assert keep_for(client, tiered, None) == ["usage_events", "usage_1d"]
    assert "toIntervalDay(90) TO VOLUME 'default'" in engine(client, "usage_events")
    assert keep_for(client, tiered, None) == []


async def test_whole_parts_go_when_their_time_is_over(client):
    migrate(client, None)
    store = Inserting(client)
    # A year old, and therefore over for minutes and hours, but not for raw rows and days.
    await book(random_events(5, 60, NOW_US, "past"), FakeUsageStore(), [store], "past", size=60, now_us=NOW_US)
    raw = sums(client, "usage_events")
    keep_for(client, Retention(raw_months=600, minute_days=14, hour_months=1, day_years=50), None)
    for table in ("usage_events", *ROLLUPS):
        client.command(f"ALTER TABLE {table} MATERIALIZE TTL", settings={"mutations_sync": 2})
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    assert [sums(client, table)[0] for table in ("usage_1m", "usage_1h")] == [0, 0]
    assert sums(client, "usage_events") == sums(client, "usage_1d") == raw


def replicated():
    """Every statement that a cluster is sent."""
    for _, statements in migrations():
        yield from (on_cluster(one, CLUSTER) for one in statements if not one.startswith("FILL"))
    yield from (on_cluster(view_statement(view), CLUSTER) for view in all_views())
    for table, lifetime in Retention().lifetimes().items():
        yield on_cluster(f"ALTER TABLE {table} MODIFY TTL {lifetime}", CLUSTER)


def test_the_form_for_a_cluster_is_what_the_engine_can_parse(client):
    statements = list(replicated())
    parsed = [
        client.query("SELECT formatQuerySingleLine({sql:String})", parameters={"sql": one}).result_rows[0][0]
        for one in statements
    ]
    assert all("ON CLUSTER `{cluster}`" in one or "ON CLUSTER '{cluster}'" in one for one in parsed), parsed
    tables = [one for one in parsed if one.startswith("CREATE TABLE")]
    # Rows, three sums of them, mismatches, poison and the request log.
    assert len(tables) == 7
    for one in tables:
        assert "ENGINE = Replicated" in one
        assert "('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')" in one
        assert "replicated_deduplication_window = 100000" in one
        assert "replicated_deduplication_window_seconds = 604800" in one
        assert "non_replicated" not in one


async def test_the_largest_batch_is_one_file_of_each_table(client):
    migrate(client, None)
    bounds = Bounds("epoch", "topic", 0, 0, MAX_BATCH_EVENTS)
    event = decode(usage_event("r").SerializeToString(), 0, NOW_US)
    one = rows_of([Judged(event, exceptional=False)], bounds, NOW_US)
    columns = {name: [*values] * MAX_BATCH_EVENTS for name, values in one.columns.items()}
    # As long as ids are, and each its own, so that no sum is of two rows.
    columns["request_id"] = columns["api_key_id"] = [f"req_{number:028}" for number in range(MAX_BATCH_EVENTS)]
    await Inserting(client).insert_usage(Block(columns), bounds.batch)
    parts = client.query(
        "SELECT table, part_type, rows FROM system.parts"
        " WHERE database = currentDatabase() AND active AND table IN ('usage_events', 'usage_1h', 'usage_1d')"
    ).result_rows
    assert sorted(parts) == [(name, "Compact", MAX_BATCH_EVENTS) for name in ("usage_1d", "usage_1h", "usage_events")]
