"""Price books by digest: from versions in force, from the archive in SQL, or from edge for a version not seen yet."""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from grpc import aio

from tollgate.config.v1 import config_pb2, config_pb2_grpc
from tollgate_billing.adapters.sql_tables import PRICE_BOOKS
from tollgate_billing.adapters.sql_transfers import insert
from tollgate_billing.errors import LedgerUnavailable
from tollgate_kit.grpc_io import new_channel
from tollgate_kit.sql import Database, SqlUnavailable
from tollgate_rating import ModelPrice, PriceBook
from tollgate_resources import parse_version
from tollgate_resources.document import InvalidDocument

log = logging.getLogger(__name__)

_CALL_SECONDS: Final = 5.0


class PriceArchive:
    """Knows every price book that was ever in force here. Raises LedgerUnavailable while SQL is away."""

    def __init__(self, database: Database, config_addresses: Sequence[str]) -> None:
        self._database = database
        self._addresses = tuple(config_addresses)
        self._books: dict[str, PriceBook] = {}
        self._prices: dict[tuple[str, str, str], ModelPrice | None] = {}
        self._unsaved: dict[str, PriceBook] = {}

    def add(self, document: bytes) -> int:
        """Takes the books of a configuration version in; returns how many were new. Raises InvalidDocument."""
        books = [book.rated() for book in parse_version(document).price_books]
        fresh = {book.digest: book for book in books if book.digest not in self._books}
        self._books.update(fresh)
        self._unsaved.update(fresh)
        return len(fresh)

    def knows(self, book: str) -> bool:
        return book in self._books

    def find(self, book: str, model: str, group: str) -> ModelPrice | None:
        key = (book, model, group)
        if key not in self._prices:
            known = self._books.get(book)
            if known is None:
                return None
            if len(self._prices) > 50_000:
                self._prices.clear()
            self._prices[key] = known.price(model, group)
        return self._prices[key]

    async def learn(self, wanted: Mapping[str, str]) -> None:
        await self.save()
        stored = await self._sql(functools.partial(_read, digests=list(wanted)))
        for document in stored:
            book = PriceBook.from_canonical(document)
            self._books[book.digest] = book
        for version in {version for book, version in wanted.items() if book not in self._books and version}:
            document_bytes = await self._ask_edge(version)
            if document_bytes is not None:
                self.add(document_bytes)
        await self.save()

    async def save(self) -> None:
        """Writes books that are new to SQL, so that they outlive the version they came with."""
        if not self._unsaved:
            return
        books = dict(self._unsaved)
        await self._sql(functools.partial(_write, books=books))
        for digest in books:
            self._unsaved.pop(digest, None)

    async def _sql(self, work: Any) -> Any:
        try:
            return await self._database.write(work)
        except SqlUnavailable as error:
            raise LedgerUnavailable(f"price archive: {error}") from error

    async def _ask_edge(self, version: str) -> bytes | None:
        for address in self._addresses:
            channel = new_channel(address)
            try:
                stub: Any = config_pb2_grpc.ConfigServiceStub(channel)  # type: ignore[no-untyped-call]
                request = config_pb2.GetVersionRequest(digest=version)
                return bytes((await stub.GetVersion(request, timeout=_CALL_SECONDS)).document)
            except (aio.AioRpcError, InvalidDocument) as error:
                log.warning("a configuration version cannot be had", extra={"fields": {"error": str(error)[:200]}})
            finally:
                await channel.close()
        return None


def _read(connection: sa.Connection, digests: Iterable[str]) -> list[str]:
    query = sa.select(PRICE_BOOKS.c.document).where(PRICE_BOOKS.c.digest.in_(list(digests)))
    return list(connection.execute(query).scalars())


def _write(connection: sa.Connection, books: Mapping[str, PriceBook]) -> None:
    have = set(
        connection.execute(sa.select(PRICE_BOOKS.c.digest).where(PRICE_BOOKS.c.digest.in_(list(books)))).scalars()
    )
    fresh = [book for digest, book in books.items() if digest not in have]
    rows = [{"digest": book.digest, "document": book.canonical().decode()} for book in fresh]
    if rows:
        # Another process, or another part of this one, may write the same books just then.
        connection.execute(insert(connection, PRICE_BOOKS).values(rows).on_conflict_do_nothing())
