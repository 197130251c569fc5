"""The connection to this service's SQL, whose absence is an error of this service."""

from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from tollgate_kit import sql
from tollgate_kit.sql import SqlUnavailable, Work
from tollgate_media_jobs.errors import StoreUnavailable

T = TypeVar("T")


class Database:
    """Runs functions over a connection in threads. Raises StoreUnavailable when SQL cannot be reached."""

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self._database = sql.Database(url, migrations="tollgate_media_jobs:migrations")

    async def read(self, work: Work[T]) -> T:
        """Returns what `work` returns; it sees one moment of the database."""
        try:
            return await self._database.read(work)
        except SqlUnavailable as error:
            raise StoreUnavailable(str(error)) from error

    async def write(self, work: Work[T]) -> T:
        """Returns what `work` returns; what it writes is kept as a whole or not at all."""
        try:
            return await self._database.write(work)
        except SqlUnavailable as error:
            raise StoreUnavailable(str(error)) from error

    async def migrate(self) -> None:
        """Brings the schema up to date; processes that start together take turns."""
        try:
            await self._database.migrate()
        except SqlUnavailable as error:
            raise StoreUnavailable(str(error)) from error

    def close(self) -> None:
        """Closes the connections."""
        self._database.close()
