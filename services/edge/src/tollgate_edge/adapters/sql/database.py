"""Edge's database; what it cannot do is said in the words of edge's ports."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from tollgate_edge.errors import StoreUnavailable
from tollgate_kit import sql

_MIGRATIONS: Final = "tollgate_edge:migrations"

T = TypeVar("T")
Work = Callable[[sa.Connection], T]


class Database:
    """Functions over a connection, run in threads. Raises StoreUnavailable when SQL cannot be reached."""

    def __init__(self, url: str) -> None:
        self._database = sql.Database(url, migrations=_MIGRATIONS)

    async def read(self, work: Work[T]) -> T:
        """Returns what `work` returns; it sees one moment of the database."""
        return await _answer(self._database.read(work))

    async def write(self, work: Work[T]) -> T:
        """Returns what `work` returns; what it writes is kept as a whole or not at all."""
        return await _answer(self._database.write(work))

    async def migrate(self) -> None:
        """Brings the schema up to date; processes that start together take turns."""
        await _answer(self._database.migrate())

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()


async def _answer(work: Awaitable[T]) -> T:
    try:
        return await work
    except sql.SqlUnavailable as error:
        raise StoreUnavailable(str(error)) from error
