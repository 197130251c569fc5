"""The outbox and the price books over SQL."""

import contextlib
from collections.abc import Sequence

import sqlalchemy as sa

from tollgate_media_jobs.adapters.sql import tables as t
from tollgate_media_jobs.adapters.sql.database import Database
from tollgate_media_jobs.adapters.sql.rows import book_of
from tollgate_media_jobs.domain.job import Message
from tollgate_media_jobs.ports import Parcel
from tollgate_rating import PriceBook

_MOST_BOOKS = 64


class SqlOutbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, limit: int, now_us: int, until_us: int) -> Sequence[Parcel]:
        columns = t.outbox.c
        ids = sa.select(columns.id).where(columns.taken_until_us <= now_us).order_by(columns.id).limit(limit)

        def work(connection: sa.Connection) -> list[Parcel]:
            found = connection.execute(ids.with_for_update(skip_locked=True)).scalars().all()
            rows = connection.execute(
                t.outbox.update()
                .where(columns.id.in_(found))
                .values(tries=columns.tries + 1, taken_until_us=until_us)
                .returning(t.outbox)
            ).all()
            parcels = [
                Parcel(row.id, Message(row.topic, row.key, row.payload, row.traceparent), row.tries - 1) for row in rows
            ]
            return sorted(parcels, key=lambda parcel: parcel.id)

        if await self._database.read(lambda connection: connection.execute(ids).first()) is None:
            return ()
        return await self._database.write(work)

    async def remove(self, ids: Sequence[int]) -> None:
        statement = t.outbox.delete().where(t.outbox.c.id.in_(ids))
        await self._database.write(lambda connection: connection.execute(statement))

    async def depth(self) -> int:
        query = sa.select(sa.func.count()).select_from(t.outbox)
        return await self._database.read(lambda connection: int(connection.execute(query).scalar_one()))


class SqlBooks:
    """Remembers what it has kept, since jobs come by the thousand and books by the month."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, PriceBook] = {}

    async def keep(self, book: PriceBook) -> None:
        if book.digest in self._known:
            return

        def work(connection: sa.Connection) -> None:
            query = sa.select(t.price_books.c.digest).where(t.price_books.c.digest == book.digest)
            if connection.execute(query).first() is None:
                connection.execute(t.price_books.insert().values(digest=book.digest, document=book.canonical()))

        # Another process may keep the same book at the same moment.
        with contextlib.suppress(sa.exc.IntegrityError):
            await self._database.write(work)
        self._remember(book)

    async def find(self, digest: str) -> PriceBook | None:
        book = self._known.get(digest)
        if book is None:
            query = sa.select(t.price_books.c.document).where(t.price_books.c.digest == digest)
            document = await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())
            if document is None:
                return None
            book = book_of(document)
            self._remember(book)
        return book

    def _remember(self, book: PriceBook) -> None:
        if len(self._known) >= _MOST_BOOKS:
            self._known.clear()
        self._known[book.digest] = book
