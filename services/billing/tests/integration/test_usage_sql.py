"""An operator's SQL: what it can ask, what takes too much, and everything that would leave the usage store."""

import uuid

import pytest
from services.billing.tests.fakes.events import NOW_US
from services.billing.tests.fakes.month import book, random_events
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate.events.v1.refused_pb2 import RequestRefused, RequestsRefused
from tollgate_billing.adapters.request_log import ClickHouseRequestLog
from tollgate_billing.adapters.usage_sql import ClickHouseUsageSql
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.adapters.usage_views import all_views
from tollgate_billing.domain import request_log
from tollgate_billing.domain.isolation import GRANTED, isolation_statements
from tollgate_billing.domain.refused import refused_rows
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import SqlLimits

pytestmark = pytest.mark.integration


@pytest.fixture(params=["chdb", "http"])
async def fenced(request, open_clickhouse):
    """SQL over a store, and the store."""
    clickhouse, _ = await open_clickhouse(request.param)
    dsn = request.getfixturevalue("chdb_dsn" if request.param == "chdb" else "clickhouse_server")
    # Time enough for whatever may be asked, on any machine, and little for what is to be ended.
    seconds = 5 if request.node.originalname == "test_what_takes_too_much_is_ended" else 60
    made = ClickHouseUsageSql(dsn, SqlLimits(seconds=seconds, memory_bytes=300_000_000, rows=1_000))
    yield made, clickhouse
    await made.close()
    await clickhouse.close()


async def test_a_select_is_answered_from_rows_rollups_and_views(fenced):
    sql, clickhouse = fenced
    tag = uuid.uuid4().hex[:8]
    reference = FakeUsageStore()
    await book(
        random_events(9, 40, NOW_US, tag), reference, [ClickHouseUsageStore(clickhouse)], tag, size=40, now_us=NOW_US
    )
    charge = sum(row["charge"] for row in reference.usage)
    for table in ("usage_events", "usage_1m", "usage_1h", "usage_1d"):
        found = await sql.run(f"select sum(charge) from {table} where organization_id like '{tag}%'", 10)
        assert found.rows[0][0] == charge, table
    asked = f"since = '2025-01-01 00:00:00', until = '2026-01-01 00:00:00', organization = '{tag}-org-a'"
    found = await sql.run(f"SELECT sum(charge) AS s FROM spend_by_model_v1({asked})", 10)
    assert found.rows[0][0] == sum(row["charge"] for row in reference.usage if row["organization_id"] == f"{tag}-org-a")
    windowed = f"""
        -- a comment; and 'text'
        with per as (select model, sum(requests) as n from usage_1d where startsWith(organization_id, '{tag}')
                     group by model having n > 0 /* also */ )
        select model, n, round(n / sum(n) over (), 3) as share, row_number() over (order by n desc, model) as place,
               if(n in (select max(n) from per), 'most', 'less') as word
        from per order by place limit 5
    """
    found = await sql.run(windowed, 10)
    assert [name for name, _ in found.columns] == ["model", "n", "share", "place", "word"]
    assert [row[3] for row in found.rows] == list(range(1, len(found.rows) + 1))
    assert found.rows[0][4] == "most"
    # One row more than was asked for says that there are more.
    assert len((await sql.run("select arrayJoin(range(50))", 10)).rows) == 11
    assert (await sql.run("select model from usage_1d where 0", 10)).columns[0][0] == "model"


HOSTILE = [
    "select file('/etc/passwd')",
    "select FILE('/etc/passwd')",
    "select `file`('/etc/passwd')",
    "select \"file\"('/etc/passwd')",
    "select file /* x */ ('/etc/passwd')",
    "select * from file('/etc/passwd', 'LineAsString')",
    "select * from url('http://127.0.0.1:9/', 'LineAsString')",
    "select * from s3('http://127.0.0.1:9/x', 'CSV')",
    "select * from remote('127.0.0.1', 'system', 'one')",
    "select * from executable('id', 'TSV', 'x String')",
    "select * from merge('default', '.*')",
    "select * from sqlite('/tmp/x', 'y')",
    "select * from python('x')",
    "select * from '/etc/passwd'",
    "select * from `/etc/passwd`",
    "select * from `passwd.csv`",
    "select 1 into outfile 'HERE'",
    "select 1 into outfile 'HERE' truncate format CSV",
    "select 1 format CSV",
    "select 1 settings readonly = 0",
    "select * from (select 1 settings max_execution_time = 0)",
    "select * from system.tables",
    "select * from `system`.tables",
    "select * from SYSTEM.tables",
    "select * from `system.tables`",
    "select * from information_schema.tables",
    "select * from default.usage_migrations",
    "select 1 in system.tables",
    "select 1 where 1 in (select 1 from system.one)",
    "select row_number() over (partition by file('/etc/passwd')) from usage_1d",
    "select row_number() over (order by (select count() from system.tables)) from usage_1d",
    "select * apply(x -> file('/etc/passwd')) from usage_1d",
    "select arrayMap(x -> file(x), ['/etc/passwd'])",
    "with file('/etc/passwd') as x select x",
    "with x as (select file('/etc/passwd')) select * from x",
    "select 1 union all select 1 from url('http://127.0.0.1:9/', 'CSV')",
    "select 1 order by file('/etc/passwd')",
    "select 1 limit length(file('/etc/passwd'))",
    "select 1 from usage_1d final prewhere file('/etc/passwd') = ''",
    "select 1 group by file('/etc/passwd')",
    "select dictGet('a', 'b', 1)",
    "select joinGet('a', 'b', 1)",
    "select getSetting('readonly')",
    "select getServerSetting('max_thread_pool_size')",
    "select @@version",
    "select hostName()",
    "select sleep(3)",
    "select throwIf(1)",
    "select aiGenerate('x')",
    "select catboostEvaluate('/etc/passwd', 1)",
    "select * from numbers(10)",
    "select 1; select 2",
    "select 1; drop table usage_1d",
    "drop table usage_1d",
    "insert into usage_1d select * from usage_1d",
    "insert into function file('/tmp/x') select 1",
    "create table x (a Int8) engine = Memory",
    "create view x as select 1",
    "alter table usage_1d delete where 1",
    "set readonly = 0",
    "use system",
    "system flush logs",
    "kill query where 1",
    "attach table x",
    "explain select 1",
    "explain ast select 1",
    "show tables",
    "describe usage_1d",
    "backup table usage_1d to File('/tmp/x')",
    "select {x:String}",
    "select $1",
    "",
    "   ",
    "-- nothing",
    "select",
    "select 'open",
    "select \x00",
    "select '" + "x" * 20_000 + "'",
    "select " + "(" * 500 + "1" + ")" * 500,
    "select 1 as `a.b`",
    "select 1 as `a\nTableIdentifier b`",
    "select nothing from usage_1d",
    "select * from nowhere",
]


@pytest.mark.parametrize("profile", ["both"])
async def test_whatever_leaves_the_usage_store_is_refused(profile, fenced, tmp_path):
    sql, clickhouse = fenced
    outfile = tmp_path / "out.csv"
    before = (await clickhouse.rows("SELECT count() AS n FROM usage_1d", {}))[0]["n"]
    for text in HOSTILE:
        with pytest.raises(InvalidQuery) as refused:
            await sql.run(text.replace("HERE", str(outfile)), 10)
        assert "root:" not in str(refused.value), text
    assert not outfile.exists()
    # It still answers, and nothing has changed.
    assert (await sql.run("select count() from usage_1d", 10)).rows[0][0] == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("select arraySum(range(100000000))", "memory limit|exceeded|array"),
        (
            """select sum(sipHash64(x, y)) from (select arrayJoin(range(1000000)) as x) as a,
            (select arrayJoin(range(1000000)) as y) as b""",
            "Timeout|Limit|exceeded",
        ),
        ("select leftPad('x', 900000, 'y') from (select arrayJoin(range(100000)))", "exceeded"),
    ],
)
async def test_what_takes_too_much_is_ended(fenced, text, says):
    sql, _ = fenced
    with pytest.raises(InvalidQuery, match=says):
        await sql.run(text, 10)
    assert (await sql.run("select 1", 10)).rows == [(1,)]


@pytest.mark.parametrize("cluster", ["", "main", "{cluster}"])
async def test_the_engine_s_parser_takes_the_statements_of_isolation(fenced, cluster):
    _, clickhouse = fenced
    statements = isolation_statements("org_01abc-x", all_views(), cluster)
    for text in statements:
        (row,) = await clickhouse.rows("SELECT formatQuerySingleLine({sql:String}) AS f", {"sql": text})
        assert row["f"].startswith(
            ("CREATE ROLE", "GRANT", "CREATE ROW POLICY", "CREATE SETTINGS PROFILE", "CREATE QUOTA")
        )
        # What the engine writes when it has understood: on which cluster, or on none.
        assert row["f"].replace("`", "").replace("'", "").count(f"ON CLUSTER {cluster}") == bool(cluster), row["f"]
    policies = [one for one in statements if one.startswith("CREATE ROW POLICY")]
    assert len(policies) == 2 * len(GRANTED)
    assert sum("ON request_log" in one and "organization_id = 'org_01abc-x'" in one for one in policies) == 1
    granted = "\n".join(one for one in statements if one.startswith("GRANT"))
    for word in ("`cost`", "`loss`", "`channel`", "`provider`", "margin_by_provider", "request_v1", "usage_migrations"):
        assert word not in granted
    assert "SELECT ON spend_by_model_v1" in granted
    assert "`member`" in granted
    # What is granted is there.
    for table, columns in GRANTED.items():
        await clickhouse.rows(f"SELECT {', '.join(f'`{name}`' for name in columns)} FROM {table} LIMIT 0", {})


async def test_the_request_log_has_the_columns_that_the_page_says_and_answers_its_example(fenced):
    sql, clickhouse = fenced
    found = await clickhouse.rows(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {t:String} ORDER BY position",
        {"t": request_log.TABLE},
    )
    assert [row["name"] for row in found] == [*(column.name for column in request_log.COLUMNS), "kept_until"]
    key = f"key_{uuid.uuid4().hex[:8]}"
    at_us = 1_793_500_000_000_000
    one = RequestRefused(request_id=key, refused_at_us=at_us, api_key_id=key, status=429, code="insufficient_quota")
    log = ClickHouseRequestLog(clickhouse)
    rows = refused_rows(RequestsRefused(requests=[one]).SerializeToString(), at_us, 3650)
    for token in ("first", "again"):
        await log.insert(rows, f"{key}/{token}")
    mine = request_log.EXAMPLE.replace("WHERE", f"WHERE api_key_id = '{key}' AND")
    answer = await sql.run(mine, 10)
    assert [tuple(row) for row in answer.rows] == [(key, "insufficient_quota", 1, 0)]
