"""SQL for a service: one engine, a few threads, transactions as functions, migrations at the start.

SQLite runs with WAL, `synchronous=FULL` and foreign keys; writers take their lock when they begin, so that what they
read stays true. PostgreSQL is reached through psycopg. Functions get a `sqlalchemy.Connection` and do all their work
with it; what one wrote is kept as a whole or not at all.
"""

import asyncio
import functools
import sqlite3
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any, Final, TypeVar

import sqlalchemy as sa

_BUSY_SECONDS: Final = 10.0
_BUSY_PAUSE_SECONDS: Final = 0.02
_READ_ONLY: Final = "tollgate_read_only"
# What PostgreSQL says to a write in a transaction that may only read.
_READ_ONLY_STATE: Final = "25006"

T = TypeVar("T")
Work = Callable[[sa.Connection], T]


class SqlUnavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """The database cannot be reached, is locked for too long, or broke off; whether a write was kept is not known."""


class Database:
    """`migrations` is `package:folder` of Alembic revisions. Methods ending in `_here` run in the calling thread."""

    def __init__(self, url: str, *, migrations: str, threads: int = 4) -> None:
        self._engine = _new_engine(url, threads)
        self._migrations = migrations
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sql")

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    async def read(self, work: Work[T]) -> T:
        """Returns what `work` returns; it sees one moment of the database. Raises SqlUnavailable."""
        return await self._run(functools.partial(self.read_here, work))

    async def write(self, work: Work[T]) -> T:
        """Returns what `work` returns, once that is durable. Raises SqlUnavailable."""
        return await self._run(functools.partial(self.write_here, work))

    async def migrate(self) -> None:
        """Brings the schema up to date; processes that start together take turns. Raises SqlUnavailable."""
        await self._run(functools.partial(self.write_here, self._migrate))

    def read_here(self, work: Work[T]) -> T:
        """`read`, in the calling thread."""
        options: dict[str, Any] = {_READ_ONLY: True}
        if self.dialect == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        return self._work(work, options)

    def write_here(self, work: Work[T]) -> T:
        """`write`, in the calling thread."""
        return self._work(work, {_READ_ONLY: False})

    def migrate_here(self) -> None:
        """`migrate`, in the calling thread."""
        self.write_here(self._migrate)

    def close(self) -> None:
        """Closes the connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _work(self, work: Work[T], options: dict[str, Any]) -> T:
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                return work(connection)
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            raise SqlUnavailable(f"{type(error).__name__}: {error.args[0] if error.args else ''}") from error
        except sa.exc.InternalError as error:
            # A standby, after a failover that its clients have not noticed yet.
            if getattr(error.orig, "sqlstate", "") != _READ_ONLY_STATE:
                raise
            raise SqlUnavailable(f"the database takes no writes now: {error.args[0]}") from error

    def _migrate(self, connection: sa.Connection) -> None:
        package, _, folder = self._migrations.partition(":")
        numbers = [path.name[:4] for path in files(package).joinpath(folder, "versions").iterdir()]
        if _version(connection) == max(number for number in numbers if number.isdecimal()):
            return
        # Alembic costs memory and start-up time, so only the migration itself loads it.
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory

        if connection.dialect.name == "postgresql":
            lock = zlib.crc32(self._migrations.encode())
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
        config = Config()
        config.set_main_option("script_location", self._migrations)
        script = ScriptDirectory.from_config(config)

        def steps(revision: Any, _context: Any) -> Any:
            return script._upgrade_revs("head", revision)  # noqa: SLF001 - alembic's own command does the same.

        with EnvironmentContext(config, script, fn=steps) as environment:
            environment.configure(connection=connection, transactional_ddl=True)
            environment.run_migrations()


def _version(connection: sa.Connection) -> str | None:
    """Returns the number of the last migration, with which the name of its file begins."""
    known = sa.inspect(connection).has_table("alembic_version")
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() if known else None


def _new_engine(url: str, threads: int) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        # A host that dies without a word is given up 10 s after what it was sent, and 25 s after it last spoke.
        limits = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
        limits |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        pool: dict[str, Any] = {"max_overflow": 2, "pool_pre_ping": True, "pool_timeout": 10}
        return sa.create_engine(parsed, pool_size=threads, connect_args=limits, **pool)
    engine = sa.create_engine(parsed, pool_size=threads, max_overflow=2, connect_args={"timeout": _BUSY_SECONDS})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions begin too late to be serialised: we begin them.
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    cursor.executescript("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON")


def _use_wal(cursor: Any) -> None:
    """Sets the journal mode. SQLite does not wait here for others that open a new file at the same time."""
    for left in reversed(range(round(_BUSY_SECONDS / _BUSY_PAUSE_SECONDS))):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if not left:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(_READ_ONLY) else "BEGIN IMMEDIATE")
