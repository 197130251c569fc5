"""An organization's month, from the ledger's transfers."""

import functools
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.sql_ledger import known
from tollgate_billing.adapters.sql_tables import ORGANIZATIONS, TRANSFERS
from tollgate_billing.domain.postings import ADJUSTMENT, BONUS, CLEARING, FUNDING, REVENUE, SPENDABLE, WALLET
from tollgate_billing.report_ports import Movement, Statement, StatementLine
from tollgate_kit.sql import Database

MAX_MOVEMENTS: Final = 1_000
_USAGE: Final = "usage"
# What moved may add up to more than int64: it is added up in two parts.
_PART: Final = 10**9
_KINDS: Final = {
    (FUNDING, WALLET): "payment",
    (WALLET, FUNDING): "refund",
    (ADJUSTMENT, BONUS): "grant",
    (BONUS, ADJUSTMENT): "expiry",
    (ADJUSTMENT, WALLET): "correction",
    (WALLET, ADJUSTMENT): "correction",
    (WALLET, CLEARING): "transfer",
    (CLEARING, WALLET): "transfer",
}
_IN: Final = TRANSFERS.c.credit.in_(SPENDABLE)
_OUT: Final = TRANSFERS.c.debit.in_(SPENDABLE)
_CHANGE: Final = sa.case((sa.and_(_IN, sa.not_(_OUT)), 1), (sa.and_(_OUT, sa.not_(_IN)), -1), else_=0)


class SqlStatements:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def statement(self, organization_id: str, from_us: int, to_us: int) -> Statement:
        work = functools.partial(_statement, organization=organization_id, from_us=from_us, to_us=to_us)
        return await known(self._database.read(work))


def _statement(connection: sa.Connection, organization: str, from_us: int, to_us: int) -> Statement:
    this = ORGANIZATIONS.c.organization_id == organization
    currency = connection.execute(sa.select(ORGANIZATIONS.c.currency).where(this)).scalar_one_or_none()
    if currency is None:
        return Statement("", 0, 0)
    own = sa.and_(TRANSFERS.c.organization_id == organization, TRANSFERS.c.currency == currency)
    opening = _balance(connection, sa.and_(own, TRANSFERS.c.created_us < from_us))
    month = sa.and_(own, TRANSFERS.c.created_us >= from_us, TRANSFERS.c.created_us < to_us)
    movements, shortened = _movements(connection, month)
    return Statement(
        currency=currency,
        opening_pico=opening,
        closing_pico=opening + _balance(connection, month),
        lines=_lines(connection, month),
        movements=movements,
        shortened=shortened,
    )


def _balance(connection: sa.Connection, which: Any) -> int:
    high, low = connection.execute(sa.select(*_sums(_CHANGE)).where(which)).one()
    return _whole(high, low)


def _sums(sign: Any = 1) -> tuple[Any, Any]:
    """Returns the two sums that `_whole` makes an amount of."""
    amount = TRANSFERS.c.amount_pico
    return sa.func.sum(sign * (amount // _PART)).label("high"), sa.func.sum(sign * (amount % _PART)).label("low")


def _whole(high: int | None, low: int | None) -> int:
    return int(high or 0) * _PART + int(low or 0)


def _lines(connection: sa.Connection, month: Any) -> tuple[StatementLine, ...]:
    about = (TRANSFERS.c.project_id, TRANSFERS.c.model, TRANSFERS.c.price_digest, TRANSFERS.c.rate_digest)
    sums = (*_sums(), sa.func.sum(TRANSFERS.c.events).label("events"))
    pairs = sa.or_(
        sa.and_(TRANSFERS.c.debit == WALLET, TRANSFERS.c.credit == REVENUE),
        sa.and_(TRANSFERS.c.debit == ADJUSTMENT, TRANSFERS.c.credit == WALLET),
    )
    about_all = (*about, TRANSFERS.c.credit)
    query = sa.select(*about_all, *sums).where(month, pairs, TRANSFERS.c.reason == _USAGE).group_by(*about_all)
    found: dict[tuple[str, str, str, str], StatementLine] = {}
    for row in connection.execute(query):
        key = (row.project_id, row.model, row.price_digest, row.rate_digest)
        line = found.setdefault(key, StatementLine(*key))
        if row.credit == REVENUE:
            line.charged_pico, line.requests = _whole(row.high, row.low), int(row.events)
        else:
            line.taken_back_pico, line.taken_back_requests = _whole(row.high, row.low), int(row.events)
    return tuple(found[key] for key in sorted(found))


def _movements(connection: sa.Connection, month: Any) -> tuple[tuple[Movement, ...], bool]:
    which = sa.and_(month, TRANSFERS.c.reason != _USAGE, _CHANGE != 0)
    query = sa.select(TRANSFERS, _CHANGE.label("sign")).where(which).order_by(TRANSFERS.c.transfer_id)
    rows = connection.execute(query.limit(MAX_MOVEMENTS + 1)).all()
    found = [
        Movement(
            row.created_us, _KINDS.get((row.debit, row.credit), "other"), row.reason, int(row.sign) * row.amount_pico
        )
        for row in rows[:MAX_MOVEMENTS]
    ]
    if len(rows) <= MAX_MOVEMENTS:
        return tuple(found), False
    rest = _balance(connection, which) - sum(one.amount_pico for one in found)
    return (*found, Movement(found[-1].at_us, "other", "all that follow", rest)), True
