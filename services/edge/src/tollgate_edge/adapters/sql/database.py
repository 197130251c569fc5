"""Edge's database; what it cannot do is said in the words of edge's ports."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from tollgate_edge.errors import StoreUnavailable
from tollgate_kit import sql

_MIGRATIONS: Final = "tollgate_edge:migrations"
# The thread of a read stays with a host that has died until TCP gives that up after 10 s, and 5 s more where no other
# can be reached. With less than that, who asks again and again would hold all threads there; so each holds one.
_ANSWER_SECONDS: Final = 15.0

T = TypeVar("T")
Work = Callable[[sa.Connection], T]


class Database:
    """Functions over a connection, run in threads. Raises StoreUnavailable when SQL cannot be reached.

    A read that has not ended after `answer_seconds` is given up, so that whoever reads in turns has another turn.
    """

    def __init__(self, url: str, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
        self._database = sql.Database(url, migrations=_MIGRATIONS)
        self._answer_seconds = answer_seconds

    async def read(self, work: Work[T]) -> T:
        """Returns what `work` returns; it sees one moment of the database."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await _answer(self._database.read(work))
        except TimeoutError as error:
            raise StoreUnavailable(f"the database has not answered for {self._answer_seconds:g} s") from error

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
