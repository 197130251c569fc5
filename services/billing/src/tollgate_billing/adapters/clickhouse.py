"""One way to ClickHouse for all: chDB in this process (`chdb:///DIR`) or a server by HTTP, through clickhouse-connect.

Calls run in four threads: for what books, for what nobody waits for, for questions, and for budgets, so that nothing
holds booking up and no question keeps a budget open.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tollgate_billing.adapters.usage_schema import Cluster, Retention, keep_for, migrate
from tollgate_billing.domain.table import Table
from tollgate_billing.errors import UsageStoreUnavailable

T = TypeVar("T")


class Lane:
    """A client that one thread uses, opened when first needed and again after a failure."""

    def __init__(
        self,
        dsn: str,
        name: str,
        settings: Mapping[str, Any],
        database: str = "",
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._dsn = dsn
        self._prepare = prepare
        self._settings = dict(settings)
        # A session would hold a token on to the statements after it.
        self._options: dict[str, Any] = {} if dsn.startswith("chdb:") else {"autogenerate_session_id": False}
        if database:
            self._options["database"] = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"clickhouse-{name}")
        self._client: Any = None

    async def run(self, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, functools.partial(self._work, work))

    async def close(self) -> None:
        """Lets what runs end, and closes the client."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _work(self, work: Callable[[Any], T]) -> T:
        # Loading the engine takes seconds and a lot of memory: not before it is needed.
        import clickhouse_connect
        import pyarrow as pa
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            if self._client is None:
                # Arrow's own pool keeps 9 MB that the system's gives back while nothing is booked.
                pa.set_memory_pool(pa.system_memory_pool())
                if self._prepare is not None:
                    self._prepare()
                self._client = clickhouse_connect.get_client(dsn=self._dsn, settings=self._settings, **self._options)
            return work(self._client)
        except (ClickHouseError, OSError) as error:
            client, self._client = self._client, None
            if client is not None:
                client.close()
            raise UsageStoreUnavailable(f"usage store: {str(error).partition(chr(10))[0][:300]}") from error


class ClickHouse:
    """Raises UsageStoreUnavailable from every method, whatever the engine says."""

    def __init__(self, dsn: str, *, cluster: Cluster | None = None, retention: Retention | None = None) -> None:
        self._cluster = cluster
        self.retention = retention or Retention()
        self._writing = Lane(dsn, "write", {})
        self._aside = Lane(dsn, "aside", {})
        self._watching = Lane(dsn, "watch", {})
        self._asking = Lane(dsn, "ask", {"max_execution_time": 30, "readonly": 2} if "chdb" not in dsn else {})

    async def migrate(self) -> None:
        """Brings the tables up to date and has them keep rows as long as said; each step can be repeated."""
        await self._writing.run(lambda client: migrate(client, self._cluster))
        await self._writing.run(lambda client: keep_for(client, self.retention, self._cluster))

    async def insert(self, table: str, made: Callable[[], Any], token: str, *, aside: bool = False) -> None:
        """Adds the `pyarrow.Table` that `made` returns as one block, once per token.

        `aside` inserts on a lane of its own, which booking does not wait for.
        """
        settings = insert_settings(token)
        if self._cluster is not None:
            # One after the other: reads below see what a quorum has only of such.
            settings |= {"insert_quorum": "auto", "insert_quorum_parallel": 0}
        await (self._aside if aside else self._writing).run(
            lambda client: client.insert_arrow(table, made(), settings=known(client, settings))
        )

    async def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any],
        *,
        booking: bool = False,
        aside: bool = False,
        watching: bool = False,
    ) -> list[dict[str, Any]]:
        """Returns the rows of a query, by column; `booking` asks on the lane of what books, the others on their own."""
        lane = self._writing if booking else self._aside if aside else self._watching if watching else self._asking
        # What was inserted through one replica is not on all at once; booking asks none that has not got it.
        settings = {"select_sequential_consistency": 1} if booking and self._cluster is not None else None
        result = await lane.run(lambda client: client.query(sql, parameters=dict(parameters), settings=settings))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    @property
    def replicated(self) -> bool:
        """Tells whether the tables are those of a cluster."""
        return self._cluster is not None

    async def command(self, statement: str) -> None:
        """Has the engine do something that answers with nothing, such as to merge."""
        await self._writing.run(lambda client: client.command(statement))

    async def change(self, work: Callable[[Any], T]) -> T:
        """Returns what the work does with a client; nothing of this process is inserted meanwhile."""
        return await self._writing.run(work)

    async def table(self, sql: str, parameters: Mapping[str, Any]) -> Table:
        """Returns the rows of a question with the names and types of its columns."""
        return await self._asking.run(lambda client: read_table(client, sql, parameters))

    async def arrow(self, sql: str, parameters: Mapping[str, Any]) -> Any:
        """Returns the rows of a question as a `pyarrow.Table`."""
        return await self._asking.run(lambda client: client.query_arrow(sql, parameters=dict(parameters)))

    async def close(self) -> None:
        """Closes all clients."""
        await self._asking.close()
        await self._watching.close()
        await self._aside.close()
        await self._writing.close()


def known(client: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings without `deduplicate_insert` where the server is older than it: there the other one decides."""
    if "deduplicate_insert" in client.server_settings:
        return dict(settings)
    return {name: value for name, value in settings.items() if name != "deduplicate_insert"}


def insert_settings(token: str) -> dict[str, Any]:
    """Returns the settings under which rows are added once per token, to a table and to each of its rollups."""
    # A single block, whatever the server's profile says: its token is what makes a repetition harmless.
    return {
        "insert_deduplication_token": token,
        "insert_deduplicate": 1,
        "deduplicate_insert": "enable",
        # Each rollup by its own: one that has the batch takes nothing, one that a kill left without it takes it.
        "deduplicate_blocks_in_dependent_materialized_views": 1,
        "materialized_views_ignore_errors": 0,
        # All rollups at once, on whatever processors are free.
        "parallel_view_processing": 1,
        "async_insert": 0,
        "max_insert_block_size": 1_048_576,
        "min_insert_block_size_rows": 0,
        "min_insert_block_size_bytes": 0,
    }


def read_table(client: Any, sql: str, parameters: Mapping[str, Any]) -> Table:
    """Returns what a client's query found, with its columns even where there are no rows."""
    result = client.query(sql, parameters=dict(parameters))
    if result.column_names:
        types = [kind.name for kind in result.column_types]
        return Table(list(zip(result.column_names, types, strict=True)), result.result_rows)
    described = client.query(f"DESCRIBE ({sql})", parameters=dict(parameters)).result_rows
    return Table([(row[0], row[1]) for row in described], [])
