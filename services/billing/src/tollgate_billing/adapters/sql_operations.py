"""Money that moves without a request, in SQLite or PostgreSQL: one transaction each, once per idempotency key."""

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.sql_ledger import balance_of, known
from tollgate_billing.adapters.sql_tables import ACCOUNTS, BONUSES, OPERATIONS, ORGANIZATIONS, TRANSFERS, whole_balance
from tollgate_billing.adapters.sql_transfers import SPENDING_ORDER, balances, insert, lock, transfer
from tollgate_billing.domain.postings import ADJUSTMENT, BONUS, CLEARING, FUNDING, WALLET, Line, Transfer
from tollgate_billing.errors import InvalidMove, KeyReused
from tollgate_billing.ledger_ports import Accounts, Bonus, BonusGrant, Move, Moved, TransferRow
from tollgate_kit.sql import Database
from tollgate_rating import INT64_MAX, format_decimal

_MAX_NAME: Final = 256
_EXPIRED_AT_ONCE: Final = 1_000


class SqlOperations:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def grant_bonus(self, grant: BonusGrant) -> Moved:
        return await known(self._database.write(functools.partial(grant_bonus, grant=grant)))

    async def refund(self, move: Move) -> Moved:
        return await known(self._database.write(functools.partial(_refund, move=move)))

    async def correct(self, move: Move) -> Moved:
        return await known(self._database.write(functools.partial(_correct, move=move)))

    async def transfer(self, move: Move, to_organization_id: str, to_currency: str) -> tuple[Moved, int]:
        work = functools.partial(_transfer, move=move, to=to_organization_id, to_currency=to_currency)
        return await known(self._database.write(work))

    async def set_credit_line(self, move: Move) -> Moved:
        return await known(self._database.write(functools.partial(_set_credit_line, move=move)))

    async def was_done(self, key: str) -> bool:
        query = sa.select(OPERATIONS.c.content).where(OPERATIONS.c.idempotency_key == key)
        return await known(self._database.read(lambda connection: connection.execute(query).first() is not None))

    async def expire(self, now_us: int) -> dict[str, int]:
        return await known(self._database.write(functools.partial(_expire, now_us=now_us)))

    async def accounts(self, organization_id: str) -> Accounts:
        return await known(self._database.read(functools.partial(_accounts, organization=organization_id)))

    async def transfers(self, organization_id: str, limit: int, before_id: int) -> list[TransferRow]:
        work = functools.partial(_transfers, organization=organization_id, limit=limit, before=before_id)
        return await known(self._database.read(work))


def grant_bonus(connection: sa.Connection, grant: BonusGrant) -> Moved:
    """Adds bonus credit once per key. Raises InvalidMove or KeyReused."""
    move = grant.move
    _check(move)
    if grant.expires_us and grant.expires_us <= move.now_us:
        raise InvalidMove("the credit would have expired already")
    more = {"priority": grant.priority, "expires_us": grant.expires_us}
    if not _first(connection, "bonus", move, more):
        return _repeated(connection, move)
    _own_currency(connection, move.organization_id, move.currency)
    values = {
        "idempotency_key": move.key,
        "organization_id": move.organization_id,
        "currency": move.currency,
        "amount_pico": move.amount_pico,
        "remaining_pico": move.amount_pico,
        "reason": move.reason[:_MAX_NAME],
        "created_us": move.now_us,
    }
    connection.execute(sa.insert(BONUSES).values(values | more))
    return _book(connection, move, "bonus", ADJUSTMENT, BONUS)


def _refund(connection: sa.Connection, move: Move) -> Moved:
    _check(move)
    if not _first(connection, "refund", move):
        return _repeated(connection, move)
    _take(connection, move)
    return _book(connection, move, "refund", WALLET, FUNDING)


def _correct(connection: sa.Connection, move: Move) -> Moved:
    size = abs(move.amount_pico)
    _check(move, size)
    if not _first(connection, "correction", move):
        return _repeated(connection, move)
    _own_currency(connection, move.organization_id, move.currency)
    debit, credit = (ADJUSTMENT, WALLET) if move.amount_pico > 0 else (WALLET, ADJUSTMENT)
    return _book(connection, move, "correction", debit, credit, size)


def _transfer(connection: sa.Connection, move: Move, to: str, to_currency: str) -> tuple[Moved, int]:
    _check(move)
    if move.organization_id == to or not 0 < len(to) <= _MAX_NAME:
        raise InvalidMove("money is transferred to another organization")
    if not _first(connection, "transfer", move, {"to": to}):
        return _repeated(connection, move), balance_of(connection, to)[1]
    pairs = ((move.organization_id, move.currency), (to, to_currency))
    currencies = lock(connection, pairs)
    if currencies[to] != currencies[move.organization_id]:
        raise InvalidMove(f"the other organization pays in {currencies[to]}, not in {currencies[move.organization_id]}")
    _take(connection, move)
    balance = balance_of(connection, to)[1]
    check_range(balance, balance + move.amount_pico)
    transfers = [
        Transfer(Line(move.organization_id, "", "", "", move.currency, WALLET, CLEARING), move.amount_pico, 1),
        Transfer(Line(to, "", "", "", move.currency, CLEARING, WALLET), move.amount_pico, 1),
    ]
    transfer(connection, transfers, f"transfer/{move.key}", move.reason, move.now_us)
    left = balance_of(connection, move.organization_id)[1]
    return Moved(left, repeated=False), balance + move.amount_pico


def _set_credit_line(connection: sa.Connection, move: Move) -> Moved:
    if not 0 <= move.amount_pico <= INT64_MAX:
        raise InvalidMove("a credit line is 0 or above")
    _own_currency(connection, move.organization_id, move.currency)
    this = ORGANIZATIONS.c.organization_id == move.organization_id
    before = connection.execute(sa.select(ORGANIZATIONS.c.credit_line_pico).where(this)).scalar_one()
    balance_before = balance_of(connection, move.organization_id)[1]
    balance = balance_before - before + move.amount_pico
    check_range(balance_before, balance)
    connection.execute(sa.update(ORGANIZATIONS).where(this).values(credit_line_pico=move.amount_pico))
    return Moved(balance, repeated=before == move.amount_pico)


def _expire(connection: sa.Connection, now_us: int) -> dict[str, int]:
    due = sa.select(BONUSES).where(
        BONUSES.c.remaining_pico > 0, BONUSES.c.expires_us > 0, BONUSES.c.expires_us <= now_us
    )
    due = due.order_by(BONUSES.c.expires_us).limit(_EXPIRED_AT_ONCE)
    found = {(row.organization_id, row.currency) for row in connection.execute(due)}
    lock(connection, found)
    # Read again: what was spent before the lock was there is gone.
    for row in connection.execute(due).all():
        if (row.organization_id, row.currency) not in found:
            continue
        this = BONUSES.c.idempotency_key == row.idempotency_key
        connection.execute(sa.update(BONUSES).where(this).values(remaining_pico=0))
        line = Line(row.organization_id, "", "", "", row.currency, BONUS, ADJUSTMENT)
        # A grant may expire more than once: what it paid of a charge may come back when its time is over.
        batch = f"expiry/{row.idempotency_key}/{now_us}"
        transfer(connection, [Transfer(line, row.remaining_pico, 1)], batch, "expired", now_us)
    return {organization: balance_of(connection, organization)[1] for organization, _ in found}


def _accounts(connection: sa.Connection, organization: str) -> Accounts:
    this = ORGANIZATIONS.c.organization_id == organization
    line = connection.execute(sa.select(ORGANIZATIONS.c.credit_line_pico).where(this)).scalar_one_or_none()
    currency, balance = balance_of(connection, organization)
    query = sa.select(ACCOUNTS).where(ACCOUNTS.c.organization_id == organization)
    rows = connection.execute(query.order_by(ACCOUNTS.c.account, ACCOUNTS.c.currency))
    left = sa.select(BONUSES).where(BONUSES.c.organization_id == organization, BONUSES.c.remaining_pico > 0)
    bonuses = connection.execute(left.order_by(*SPENDING_ORDER))
    return Accounts(
        currency=currency,
        credit_line_pico=line or 0,
        balance_pico=balance,
        accounts=tuple((row.account, row.currency, whole_balance(row)) for row in rows),
        bonuses=tuple(
            Bonus(
                key=row.idempotency_key,
                amount_pico=row.amount_pico,
                remaining_pico=row.remaining_pico,
                priority=row.priority,
                expires_us=row.expires_us,
                created_us=row.created_us,
                reason=row.reason,
            )
            for row in bonuses
        ),
    )


def _transfers(connection: sa.Connection, organization: str, limit: int, before: int) -> list[TransferRow]:
    query = sa.select(TRANSFERS).where(TRANSFERS.c.organization_id == organization)
    if before:
        query = query.where(TRANSFERS.c.transfer_id < before)
    rows = connection.execute(query.order_by(TRANSFERS.c.transfer_id.desc()).limit(limit))
    names = [name for name in TransferRow.__slots__ if name != "id"]
    return [TransferRow(id=row.transfer_id, **{name: getattr(row, name) for name in names}) for row in rows]


def _check(move: Move, size: int | None = None) -> None:
    amount = move.amount_pico if size is None else size
    if not 0 < amount <= INT64_MAX:
        raise InvalidMove(f"an amount is above 0 and at most {format_decimal(INT64_MAX)}")
    if not 0 < len(move.key) <= _MAX_NAME or not 0 < len(move.organization_id) <= _MAX_NAME:
        raise InvalidMove(f"an organization and an idempotency key have 1 to {_MAX_NAME} characters")


def _first(connection: sa.Connection, kind: str, move: Move, more: Mapping[str, Any] | None = None) -> bool:
    """Takes the key; returns False when it was used for the same before. Raises KeyReused."""
    content = {"kind": kind, "organization": move.organization_id, "amount_pico": move.amount_pico, **(more or {})}
    text = json.dumps(content, sort_keys=True)
    values = {"idempotency_key": move.key, "content": text, "created_us": move.now_us}
    statement = insert(connection, OPERATIONS).values(values).on_conflict_do_nothing()
    if connection.execute(statement.returning(OPERATIONS.c.idempotency_key)).first() is not None:
        return True
    this = OPERATIONS.c.idempotency_key == move.key
    if connection.execute(sa.select(OPERATIONS.c.content).where(this)).scalar_one() != text:
        raise KeyReused("the idempotency key was used for something else; take another one")
    return False


def _repeated(connection: sa.Connection, move: Move) -> Moved:
    return Moved(balance_of(connection, move.organization_id)[1], repeated=True)


def _own_currency(connection: sa.Connection, organization: str, currency: str) -> None:
    """Locks the organization. Raises InvalidMove when it pays in another currency."""
    if len(currency) != 3 or not currency.isupper():
        raise InvalidMove(f"a currency is three capital letters, found {currency!r}")
    own = lock(connection, [(organization, currency)])[organization]
    if own != currency:
        raise InvalidMove(f"the organization pays in {own}, not in {currency}")


def _take(connection: sa.Connection, move: Move) -> None:
    """Locks the organization. Raises InvalidMove when its wallet has less paid money than is to go."""
    own = lock(connection, [(move.organization_id, move.currency)])[move.organization_id]
    found = balances(connection, [move.organization_id], [WALLET]).get((move.organization_id, WALLET, own), 0)
    if own != move.currency or found < move.amount_pico:
        raise InvalidMove(f"there are {format_decimal(max(found, 0))} {own} of paid money; bonus credit does not count")


def _book(connection: sa.Connection, move: Move, kind: str, debit: str, credit: str, size: int = 0) -> Moved:
    amount = size or move.amount_pico
    before = balance_of(connection, move.organization_id)[1]
    line = Line(move.organization_id, "", "", "", move.currency, debit, credit)
    transfer(connection, [Transfer(line, amount, 1)], f"{kind}/{move.key}", move.reason, move.now_us)
    balance = balance_of(connection, move.organization_id)[1]
    check_range(before, balance)
    return Moved(balance, repeated=False)


def check_range(before: int, after: int) -> None:
    """Raises InvalidMove where a balance goes beyond int64, or further beyond it; the way back is open."""
    if abs(after) > INT64_MAX and abs(after) > abs(before):
        sign = "-" if after < 0 else ""
        raise InvalidMove(f"the balance would be beyond {sign}{format_decimal(INT64_MAX)}")
