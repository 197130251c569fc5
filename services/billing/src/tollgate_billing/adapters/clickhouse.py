"""One way to ClickHouse for all: chDB in this process (`chdb:///DIR`) or a server by HTTP, through clickhouse-connect.

Calls run in three threads: for what books, for what nobody waits for, and for questions, so that nothing holds booking
up.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any, Final, TypeVar

from tollgate_billing.adapters.arrow import Kinds, arrow_table
from tollgate_billing.errors import UsageStoreUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_APPLIED: Final = """
CREATE TABLE IF NOT EXISTS usage_migrations (name String, applied_at DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY name SETTINGS non_replicated_deduplication_window = 1000
"""


class _Lane:
    """A client that one thread uses, opened when first needed and again after a failure."""

    def __init__(self, dsn: str, name: str, settings: Mapping[str, Any]) -> None:
        self._dsn = dsn
        self._settings = dict(settings)
        # A session would hold a token on to the statements after it.
        self._options: dict[str, Any] = {} if dsn.startswith("chdb:") else {"autogenerate_session_id": False}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"clickhouse-{name}")
        self._client: Any = None

    async def run(self, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, functools.partial(self._work, work))

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _work(self, work: Callable[[Any], T]) -> T:
        # Loading the engine takes seconds and a lot of memory: not before it is needed.
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            if self._client is None:
                self._client = clickhouse_connect.get_client(dsn=self._dsn, settings=self._settings, **self._options)
            return work(self._client)
        except (ClickHouseError, OSError) as error:
            client, self._client = self._client, None
            if client is not None:
                client.close()
            raise UsageStoreUnavailable(f"usage store: {str(error).partition(chr(10))[0][:300]}") from error


class ClickHouse:
    """Raises UsageStoreUnavailable from every method, whatever the engine says."""

    def __init__(self, dsn: str) -> None:
        self._writing = _Lane(dsn, "write", {})
        self._aside = _Lane(dsn, "aside", {})
        self._asking = _Lane(dsn, "ask", {"max_execution_time": 30, "readonly": 2} if "chdb" not in dsn else {})

    async def migrate(self) -> None:
        """Brings the tables up to date; each step can be repeated."""
        await self._writing.run(_migrate)

    async def insert(
        self, table: str, columns: Mapping[str, Sequence[Any]], kinds: Kinds, token: str, *, aside: bool = False
    ) -> None:
        """Adds rows as one block, once per token; `kinds` says how the values of each column are written.

        `aside` inserts on a lane of its own, which booking does not wait for.
        """
        # A single block, whatever the server's profile says: its token is what makes a repetition harmless.
        settings = {
            "insert_deduplication_token": token,
            "insert_deduplicate": 1,
            "async_insert": 0,
            "max_insert_block_size": 1_048_576,
            "min_insert_block_size_rows": 0,
            "min_insert_block_size_bytes": 0,
        }
        await (self._aside if aside else self._writing).run(
            lambda client: client.insert_arrow(table, arrow_table(columns, kinds), settings=settings)
        )

    async def rows(
        self, sql: str, parameters: Mapping[str, Any], *, booking: bool = False, aside: bool = False
    ) -> list[dict[str, Any]]:
        """Returns the rows of a query, by column; `booking` asks on the lane of what books, `aside` on its own."""
        lane = self._writing if booking else self._aside if aside else self._asking
        result = await lane.run(lambda client: client.query(sql, parameters=dict(parameters)))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    async def close(self) -> None:
        """Closes all clients."""
        await asyncio.to_thread(self._asking.close)
        await asyncio.to_thread(self._aside.close)
        await asyncio.to_thread(self._writing.close)


def _migrate(client: Any) -> None:
    client.command(_APPLIED)
    applied = {row[0] for row in client.query("SELECT name FROM usage_migrations").result_rows}
    folder = resources.files("tollgate_billing") / "migrations" / "usage"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if not file.name.endswith(".sql") or file.name in applied:
            continue
        for statement in file.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                client.command(statement)
        client.insert(
            "usage_migrations", [[file.name]], column_names=["name"], settings={"insert_deduplication_token": file.name}
        )
        log.info("migrated the usage store", extra={"fields": {"step": file.name}})
