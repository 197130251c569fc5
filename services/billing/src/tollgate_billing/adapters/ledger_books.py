"""The ledger as whoever compares the books needs it: what batches moved, how far it is, and whether it adds up."""

import functools
from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.sql_tables import ACCOUNTS, SOURCES, TRANSFERS, whole_balance
from tollgate_billing.domain.books import BatchLine
from tollgate_billing.errors import LedgerUnavailable
from tollgate_billing.ports import Account
from tollgate_kit.sql import Database, SqlUnavailable

_USAGE: Final = "usage"
_NAMES_A_QUERY: Final = 500
_PART: Final = 10**9

Moved = tuple[BatchLine, str, str, int]


class SqlLedgerBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def heights(self) -> dict[str, int]:
        return dict(await self._read(_heights))

    async def transfers_of(self, batches: Collection[str]) -> list[Moved]:
        names = sorted(batches)
        found: list[Moved] = []
        for first in range(0, len(names), _NAMES_A_QUERY):
            condition = TRANSFERS.c.batch.in_(names[first : first + _NAMES_A_QUERY])
            found += await self._read(functools.partial(_moved, condition=condition))
        return found

    async def transfers_between(self, from_us: int, to_us: int) -> list[Moved]:
        return list(await self._read(functools.partial(_moved_between, from_us=from_us, to_us=to_us)))

    async def first_us(self) -> int:
        return int(await self._read(_first_us))

    async def batches_of(self, source: str, since_us: int) -> list[str]:
        return list(await self._read(functools.partial(_batches_of, source=source, since_us=since_us)))

    async def unbalanced(self) -> list[Account]:
        return list(await self._read(_unbalanced))

    async def _read(self, work: Any) -> Any:
        try:
            return await self._database.read(work)
        except SqlUnavailable as error:
            raise LedgerUnavailable(f"ledger: {error}") from error


def _heights(connection: sa.Connection) -> dict[str, int]:
    return {row.source: row.high for row in connection.execute(sa.select(SOURCES.c.source, SOURCES.c.high))}


def _moved(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[Moved]:
    query = sa.select(TRANSFERS).where(condition, TRANSFERS.c.reason == _USAGE)
    return [
        (
            BatchLine(row.batch, row.organization_id, row.project_id, row.model, row.price_digest, row.currency),
            row.debit,
            row.credit,
            row.amount_pico,
        )
        for row in connection.execute(query)
    ]


def _first_us(connection: sa.Connection) -> int:
    query = sa.select(TRANSFERS.c.created_us).order_by(TRANSFERS.c.transfer_id).limit(1)
    return connection.execute(query).scalar() or 0


def _batches_of(connection: sa.Connection, source: str, since_us: int) -> list[str]:
    first = _first_since(connection, since_us)
    if first is None:
        return []
    named = TRANSFERS.c.batch.startswith(f"{source}/", autoescape=True)
    query = sa.select(TRANSFERS.c.batch).where(TRANSFERS.c.transfer_id >= first, named, TRANSFERS.c.reason == _USAGE)
    return list(connection.execute(query.distinct()).scalars())


def _moved_between(connection: sa.Connection, from_us: int, to_us: int) -> list[Moved]:
    first = _first_since(connection, from_us)
    if first is None:
        return []
    times = sa.and_(TRANSFERS.c.created_us >= from_us, TRANSFERS.c.created_us < to_us)
    return _moved(connection, sa.and_(TRANSFERS.c.transfer_id >= first, times))


def _first_since(connection: sa.Connection, from_us: int) -> int | None:
    """Returns the first transfer of a time or after it, the last one where there is none.

    Ids grow with time, so it is found by halving: there is no index of times.
    """
    ends = sa.select(sa.func.min(TRANSFERS.c.transfer_id), sa.func.max(TRANSFERS.c.transfer_id))
    low: int | None
    low, high = connection.execute(ends).one()
    if low is None:
        return None
    while low < high:
        middle = (low + high) // 2
        query = sa.select(TRANSFERS.c.created_us).where(TRANSFERS.c.transfer_id >= middle)
        at_us = connection.execute(query.order_by(TRANSFERS.c.transfer_id).limit(1)).scalar_one()
        low, high = (low, middle) if at_us >= from_us else (middle + 1, high)
    return low


def _unbalanced(connection: sa.Connection) -> list[Account]:
    """Compares accounts with the sums of their transfers, in two parts: what moved in all years may be beyond int64."""
    sums: dict[tuple[str, str, str], int] = {}
    amount = TRANSFERS.c.amount_pico
    parts = (sa.func.sum(amount // _PART), sa.func.sum(amount % _PART))
    for side, sign in (("debit", -1), ("credit", 1)):
        names = (TRANSFERS.c.organization_id, TRANSFERS.c[side], TRANSFERS.c.currency)
        for organization, account, currency, high, low in connection.execute(
            sa.select(*names, *parts).group_by(*names)
        ):
            key = (organization, account, currency)
            sums[key] = sums.get(key, 0) + sign * (int(high) * _PART + int(low))
    balances = {
        (row.organization_id, row.account, row.currency): whole_balance(row)
        for row in connection.execute(sa.select(ACCOUNTS))
    }
    return [
        Account(*key, balances.get(key, 0), sums.get(key, 0))
        for key in sorted({*sums, *balances})
        if balances.get(key, 0) != sums.get(key, 0)
    ]
