"""An operator's own SELECT over the usage store: fenced, read-only, within limits of memory, time and rows."""

import re
from typing import Any, Final

from tollgate_billing.adapters.clickhouse import Lane, read_table
from tollgate_billing.adapters.usage_views import all_views
from tollgate_billing.domain.sql_fence import check_sql, check_tree, check_words
from tollgate_billing.domain.table import Table
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import SqlLimits

# chDB's own database also finds files by their name; in this one nothing is found but what is put there.
FENCED_DATABASE: Final = "usage_sql"
_TABLES: Final = """
SELECT name FROM system.tables
WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name != 'usage_migrations' ORDER BY name
"""
_VERSION: Final = re.compile(r"\s*\(version [\d.]+[^)]*\)\s*")


class ClickHouseUsageSql:
    """`limits` bind every query; raises InvalidQuery for what cannot be run and for what takes too much."""

    def __init__(self, dsn: str, limits: SqlLimits) -> None:
        self._dsn = dsn
        self._limits = limits
        self._embedded = dsn.startswith("chdb:")
        settings = {
            "max_execution_time": limits.seconds,
            "timeout_overflow_mode": "throw",
            "max_memory_usage": limits.memory_bytes,
            "max_result_bytes": limits.memory_bytes // 4,
            "max_rows_to_read": limits.read_rows,
            "max_ast_depth": 200,
            "max_ast_elements": 5_000,
            "max_subquery_depth": 20,
            # The one row over what is shown says that there are more.
            "limit": limits.rows + 1,
        }
        # The last of them: after it, no setting can be changed.
        settings["readonly"] = 1 if self._embedded else 2
        self._lane = Lane(dsn, "sql", settings, FENCED_DATABASE if self._embedded else "", self._prepare)

    async def run(self, sql: str, limit: int) -> Table:
        """Returns up to `limit` rows and one more where there are more."""
        check_sql(sql)
        found: Table = await self._lane.run(lambda client: _asked(client, sql))
        return Table(found.columns, found.rows[: limit + 1])

    async def close(self) -> None:
        """Closes the client."""
        await self._lane.close()

    def _prepare(self) -> None:
        """Puts our tables and views into the database that queries see, as they are now."""
        if not self._embedded:
            return
        import clickhouse_connect

        home = clickhouse_connect.get_client(dsn=self._dsn)
        try:
            home.command(f"CREATE DATABASE IF NOT EXISTS {FENCED_DATABASE} ENGINE = Atomic")
            database = home.query("SELECT currentDatabase()").result_rows[0][0]
            tables = [row[0] for row in home.query(_TABLES).result_rows]
        finally:
            home.close()
        fenced = clickhouse_connect.get_client(dsn=self._dsn, database=FENCED_DATABASE)
        try:
            for table in tables:
                statement = f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM {database}.{table}"  # noqa: S608 - the engine's.
                fenced.command(statement)
            for view in all_views():
                fenced.command(f"CREATE OR REPLACE VIEW {view.full_name} AS\n{view.sql}")
        finally:
            fenced.close()


def _asked(client: Any, sql: str) -> Table:
    from clickhouse_connect.driver.exceptions import DatabaseError

    try:
        parsed = client.query("SELECT formatQuery({sql:String})", parameters={"sql": sql}).result_rows[0][0]
        databases = [row[0] for row in client.query("SELECT name FROM system.databases").result_rows]
        check_words(parsed, {view.full_name for view in all_views()}, databases)
        # As text: a FORMAT at its end would belong to the query that is explained.
        tree = client.command(f"EXPLAIN AST {parsed}")
        check_tree((tree if isinstance(tree, str) else "\t".join(tree)).splitlines())
        return read_table(client, parsed, {})
    except DatabaseError as error:
        raise InvalidQuery(_said(str(error))) from None


def _said(message: str) -> str:
    """Returns the engine's first line without what only developers of the engine read."""
    first = _VERSION.sub(" ", message.strip().partition("\n")[0])
    return first.rpartition("DB::Exception: ")[2].partition(": In scope SELECT formatQuery(")[0].strip()[:500]
