"""Turns between the billing processes of one ledger: whoever changes a wallet has them, one at a time.

PostgreSQL: an advisory lock of a session that is kept for nothing else; a pooler has to leave sessions whole. SQLite: a
transaction on an empty file beside the ledger. Both are given back by the system when the process dies.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import sqlalchemy as sa

from tollgate_billing.errors import LedgerUnavailable

log = logging.getLogger(__name__)

# Any number will do, as long as every release takes the same.
_LOCK: Final = 0x746F6C6C67617465
_MEMORY: Final = ("", ":memory:")


class SqlTurns:
    """`async with` it. Raises LedgerUnavailable when others have the turn for `wait_seconds`, or SQL is away."""

    def __init__(self, url: str, *, wait_seconds: float = 30.0) -> None:
        parsed = sa.make_url(url)
        self._wait = wait_seconds
        if parsed.get_backend_name() == "sqlite":
            self._take_sql, self._give_sql = "BEGIN EXCLUSIVE", "ROLLBACK"
            alone = (parsed.database or "") in _MEMORY
            parsed = parsed.set(database=None if alone else f"{parsed.database}-turns")
            arguments: dict[str, float | str] = {"timeout": wait_seconds}
        else:
            self._take_sql, self._give_sql = f"SELECT pg_advisory_lock({_LOCK})", f"SELECT pg_advisory_unlock({_LOCK})"
            arguments = {"connect_timeout": 5, "options": f"-c lock_timeout={round(wait_seconds * 1000)}"}
        self._engine = sa.create_engine(
            parsed, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
        )
        # One thread: what it is told is done in that order, also after a caller has given up.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="turns")
        self._own = asyncio.Lock()
        self._connection: sa.Connection | None = None
        self._taken = False

    async def __aenter__(self) -> None:
        await self._own.acquire()
        try:
            await self._run(self._take)
        except asyncio.CancelledError:
            self._threads.submit(self._give)
            self._own.release()
            raise
        except BaseException:
            self._own.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.shield(self._run(self._give))
        finally:
            self._own.release()

    def close(self) -> None:
        """Gives back what is held and closes the connection."""
        self._threads.submit(self._close).result()
        self._threads.shutdown()

    async def _run(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _take(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            self._connection.exec_driver_sql(self._take_sql)
        except sa.exc.SQLAlchemyError as error:
            self._close()
            raise LedgerUnavailable(
                f"another billing process changed wallets for {self._wait:g} s, or SQL is away: {error}"
            ) from error
        self._taken = True

    def _give(self) -> None:
        if not self._taken or self._connection is None:
            return
        try:
            self._connection.exec_driver_sql(self._give_sql)
            self._taken = False
        except sa.exc.SQLAlchemyError as error:
            # The session is gone, and the lock with it.
            log.warning("the turn to change wallets was lost before its end", extra={"fields": {"error": str(error)}})
            self._close()

    def _close(self) -> None:
        connection, self._connection, self._taken = self._connection, None, False
        if connection is not None:
            connection.invalidate()
            connection.close()
