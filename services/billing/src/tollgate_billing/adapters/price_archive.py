"""Price books and exchange rates by digest.

From versions in force, from the archive in SQL, or from edge for a version not seen yet.
"""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from grpc import aio

from tollgate.config.v1 import config_pb2, config_pb2_grpc
from tollgate_billing.adapters.sql_tables import EXCHANGE_RATES, PRICE_BOOKS
from tollgate_billing.adapters.sql_transfers import insert
from tollgate_billing.errors import LedgerUnavailable, Unavailable
from tollgate_kit.grpc_io import new_channel
from tollgate_kit.sql import Database, SqlUnavailable
from tollgate_rating import ChannelCost, ExchangeRate, ModelPrice, PriceBook, PriceTable
from tollgate_resources import VersionDocument, parse_version
from tollgate_resources.document import InvalidDocument

log = logging.getLogger(__name__)

_CALL_SECONDS: Final = 5.0


class PriceArchive:
    """Knows every price book and exchange rate that was ever in force here.

    Raises LedgerUnavailable while SQL is away.
    """

    def __init__(self, database: Database, config_addresses: Sequence[str]) -> None:
        self._database = database
        self._addresses = tuple(config_addresses)
        self._books: dict[str, PriceBook] = {}
        self._rates: dict[str, ExchangeRate] = {}
        self._prices: dict[tuple[str, str, str, str], ModelPrice | None] = {}
        self._unsaved: dict[str, PriceBook | ExchangeRate] = {}
        self._in_force: PriceTable | None = None
        self._costs: Mapping[str, ChannelCost] = {}

    def put_in_force(self, document: bytes) -> int:
        """Takes in the configuration version that is in force; returns how many books were new.

        Raises InvalidDocument.
        """
        parsed = parse_version(document)
        self._in_force = parsed.price_table()
        self._costs = {one.name: cost for one in parsed.channels if (cost := one.rated_cost()) is not None}
        return self._take(parsed)

    def in_force(self, model: str, group: str, at_us: int, currency: str) -> ModelPrice | None:
        return self._table().find(model, group, at_us, currency)

    def exchange(self, base: str, quote: str, at_us: int) -> ExchangeRate | None:
        return self._table().rates.find(base, quote, at_us)

    def cost(self, channel: str) -> ChannelCost | None:
        return self._costs.get(channel)

    async def named(self, digest: str) -> PriceBook | None:
        if digest not in self._books:
            await self.learn({digest: ""})
        return self._books.get(digest)

    def _table(self) -> PriceTable:
        if self._in_force is None:
            raise Unavailable("billing has no configuration yet")
        return self._in_force

    def add(self, document: bytes) -> int:
        """Takes the books and rates of a configuration version in; returns how many books were new.

        Raises InvalidDocument.
        """
        return self._take(parse_version(document))

    def _take(self, parsed: VersionDocument) -> int:
        books = [book.rated() for book in parsed.price_books]
        fresh = {book.digest: book for book in books if book.digest not in self._books}
        rates = [rate.rated() for rate in parsed.exchange_rates]
        fresh_rates = {rate.digest: rate for rate in rates if rate.digest not in self._rates}
        self._books.update(fresh)
        self._rates.update(fresh_rates)
        self._unsaved |= fresh
        self._unsaved |= fresh_rates
        return len(fresh)

    def knows(self, digest: str) -> bool:
        return digest in self._books or digest in self._rates

    def rate(self, digest: str) -> ExchangeRate | None:
        return self._rates.get(digest)

    def find(self, book: str, model: str, group: str, rate: str = "") -> ModelPrice | None:
        key = (book, model, group, rate)
        if key not in self._prices:
            known, exchange = self._books.get(book), self._rates.get(rate)
            if known is None or (rate and exchange is None):
                return None
            if len(self._prices) > 50_000:
                self._prices.clear()
            price = known.price(model, group)
            if price is not None and exchange is not None:
                price = price.converted(exchange) if exchange.base == price.currency else None
            self._prices[key] = price
        return self._prices[key]

    async def learn(self, wanted: Mapping[str, str]) -> None:
        await self.save()
        books, rates = await self._sql(functools.partial(_read, digests=list(wanted)))
        self._books |= {book.digest: book for book in map(PriceBook.from_canonical, books)}
        self._rates |= {rate.digest: rate for rate in map(ExchangeRate.from_canonical, rates)}
        for version in {version for digest, version in wanted.items() if version and not self.knows(digest)}:
            document_bytes = await self._ask_edge(version)
            if document_bytes is not None:
                self.add(document_bytes)
        await self.save()

    async def save(self) -> None:
        """Writes what is new to SQL, so that it outlives the version it came with."""
        if not self._unsaved:
            return
        found = dict(self._unsaved)
        await self._sql(functools.partial(_write, found=found))
        for digest in found:
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


def _read(connection: sa.Connection, digests: Iterable[str]) -> tuple[list[str], list[str]]:
    wanted = list(digests)
    books, rates = (
        list(connection.execute(sa.select(table.c.document).where(table.c.digest.in_(wanted))).scalars())
        for table in (PRICE_BOOKS, EXCHANGE_RATES)
    )
    return books, rates


def _write(connection: sa.Connection, found: Mapping[str, PriceBook | ExchangeRate]) -> None:
    for table, kind in ((PRICE_BOOKS, PriceBook), (EXCHANGE_RATES, ExchangeRate)):
        mine = {digest: one for digest, one in found.items() if isinstance(one, kind)}
        have = set(connection.execute(sa.select(table.c.digest).where(table.c.digest.in_(list(mine)))).scalars())
        rows = [
            {"digest": digest, "document": one.canonical().decode()}
            for digest, one in mine.items()
            if digest not in have
        ]
        if rows:
            # Another process, or another part of this one, may write the same just then.
            connection.execute(insert(connection, table).values(rows).on_conflict_do_nothing())
