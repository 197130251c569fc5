"""The connection to SQL: one engine, a few threads, migrations at the start."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from tollgate_edge.ports import StoreUnavailable

_THREADS: Final = 4
_BUSY_MS: Final = 10_000
# Any number that no other user of the same PostgreSQL database locks.
_MIGRATION_LOCK: Final = 0x746F6C6C67617465
_READ_ONLY: Final = "tollgate_read_only"

T = TypeVar("T")


class Database:
    """Runs functions over a connection in threads of its own. Raises StoreUnavailable when SQL cannot be reached."""

    def __init__(self, url: str) -> None:
        self._engine = _new_engine(url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sql")

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Returns what `work` returns; it sees one moment of the database."""
        return await self._run(functools.partial(self._work, work, read_only=True))

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Returns what `work` returns; what it writes is kept as a whole or not at all."""
        return await self._run(functools.partial(self._work, work, read_only=False))

    async def migrate(self) -> None:
        """Brings the schema up to date; processes that start together take turns."""
        await self.write(_migrate)

    def close(self) -> None:
        """Closes the connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _work(self, work: Callable[[sa.Connection], T], *, read_only: bool) -> T:
        options = {_READ_ONLY: read_only}
        if self._engine.dialect.name == "postgresql" and read_only:
            options["isolation_level"] = "REPEATABLE READ"  # type: ignore[assignment]
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                return work(connection)
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            raise StoreUnavailable(type(error).__name__) from error


def _new_engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(
            parsed,
            pool_size=_THREADS,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=10,
            connect_args={"connect_timeout": 5},
        )
    engine = sa.create_engine(parsed, pool_size=_THREADS, max_overflow=0, connect_args={"timeout": _BUSY_MS / 1000})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions begin too late to be serialised: we begin them.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _migrate(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    config = Config()
    config.set_main_option("script_location", "tollgate_edge:migrations")
    script = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - alembic's own command does the same.

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
