"""Payments in SQLite or PostgreSQL. A provider's messages may come twice, late, and in any order."""

import functools
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.sql_ledger import balance_of, known
from tollgate_billing.adapters.sql_operations import check_range
from tollgate_billing.adapters.sql_tables import PAYMENT_MESSAGES, PAYMENTS
from tollgate_billing.adapters.sql_transfers import insert, lock, transfer
from tollgate_billing.domain.postings import FUNDING, WALLET, Line, Transfer
from tollgate_billing.errors import InvalidMove, KeyReused, NotFound
from tollgate_billing.payment_ports import TopUp
from tollgate_kit.sql import Database

# What a message makes of a payment, whatever came before; what is not here changes nothing. A refund that overtakes the
# success it belongs to is final, and that success moves no money.
_MOVES: Final = {
    ("open", "paid"),
    ("failed", "paid"),
    ("open", "failed"),
    ("open", "refunded"),
    ("failed", "refunded"),
    ("paid", "refunded"),
}
_FIELDS: Final = (
    *("id", "organization_id", "currency", "amount_pico", "state", "checkout_url", "created_us", "changed_us"),
)


class SqlPayments:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, top_up: TopUp, key: str) -> TopUp:
        return await known(self._database.write(functools.partial(_begin, top_up=top_up, key=key)))

    async def record(
        self, webhook_id: str, payment_id: str, state: str, amount_pico: int, currency: str, now_us: int
    ) -> tuple[str, str, int]:
        work = functools.partial(
            _record,
            webhook_id=webhook_id,
            payment_id=payment_id,
            state=state,
            paid=(amount_pico, currency),
            now_us=now_us,
        )
        return await known(self._database.write(work))

    async def list(self, organization_id: str, limit: int, after_id: str) -> list[TopUp]:
        work = functools.partial(_list, organization=organization_id, limit=limit, after=after_id)
        return await known(self._database.read(work))


def _begin(connection: sa.Connection, top_up: TopUp, key: str) -> TopUp:
    values: dict[str, Any] = {name: getattr(top_up, name) for name in _FIELDS}
    statement = insert(connection, PAYMENTS).values({**values, "idempotency_key": key}).on_conflict_do_nothing()
    if connection.execute(statement.returning(PAYMENTS.c.id)).first() is not None:
        # Before anybody pays what could not be credited.
        balance = balance_of(connection, top_up.organization_id)[1]
        check_range(balance, balance + top_up.amount_pico)
    row = connection.execute(sa.select(PAYMENTS).where(PAYMENTS.c.idempotency_key == key)).one()
    asked = (top_up.organization_id, top_up.currency, top_up.amount_pico)
    if (row.organization_id, row.currency, row.amount_pico) != asked:
        raise KeyReused("the idempotency key was used for another top-up; take another one")
    return _top_up(row)


def _record(
    connection: sa.Connection, webhook_id: str, payment_id: str, state: str, paid: tuple[int, str], now_us: int
) -> tuple[str, str, int]:
    this = PAYMENTS.c.id == payment_id
    row = connection.execute(sa.select(PAYMENTS).where(this).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("there is no such payment")
    if paid != (row.amount_pico, row.currency):
        raise InvalidMove("amount or currency is not what was to be paid")
    organization = row.organization_id
    seen = {"webhook_id": webhook_id, "payment_id": payment_id, "state": state, "created_us": now_us}
    statement = insert(connection, PAYMENT_MESSAGES).values(seen).on_conflict_do_nothing()
    first = connection.execute(statement.returning(PAYMENT_MESSAGES.c.webhook_id)).first() is not None
    if not first or (row.state, state) not in _MOVES:
        return "", organization, balance_of(connection, organization)[1]
    connection.execute(sa.update(PAYMENTS).where(this).values(state=state, changed_us=now_us))
    own = lock(connection, [(organization, row.currency)])[organization]
    if own != row.currency:
        raise InvalidMove(f"the organization pays in {own}, not in {row.currency}")
    before = balance_of(connection, organization)[1]
    if state == "paid":
        check_range(before, before + row.amount_pico)
    if state == "paid" or (row.state, state) == ("paid", "refunded"):
        debit, credit = (FUNDING, WALLET) if state == "paid" else (WALLET, FUNDING)
        line = Line(organization, "", "", "", row.currency, debit, credit)
        moved = [Transfer(line, row.amount_pico, 1)]
        transfer(connection, moved, f"payment/{payment_id}/{state}", f"top-up {state}", now_us)
    return state, organization, balance_of(connection, organization)[1]


def _list(connection: sa.Connection, organization: str, limit: int, after: str) -> list[TopUp]:
    query = sa.select(PAYMENTS).where(PAYMENTS.c.organization_id == organization)
    if after:
        query = query.where(PAYMENTS.c.id < after)
    return [_top_up(row) for row in connection.execute(query.order_by(PAYMENTS.c.id.desc()).limit(limit))]


def _top_up(row: "sa.Row[Any]") -> TopUp:
    return TopUp(**{name: getattr(row, name) for name in _FIELDS})
