"""Redemption codes in SQLite or PostgreSQL. A code is known by its hash; the first who redeems it has it."""

import functools
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.sql_ledger import balance_of, known
from tollgate_billing.adapters.sql_operations import grant_bonus
from tollgate_billing.adapters.sql_tables import CODES, GUESSES
from tollgate_billing.adapters.sql_transfers import insert, lock
from tollgate_billing.errors import InvalidMove, NotFound, TooManyGuesses
from tollgate_billing.ledger_ports import BonusGrant, Code, CodeTerms, Move, NewCode, Redeemed
from tollgate_kit.sql import Database
from tollgate_rating import INT64_MAX

MAX_WRONG: Final = 10
WINDOW_US: Final = 10 * 60 * 1_000_000
_DAY_US: Final = 24 * 3600 * 1_000_000
_NOT_GOOD: Final = "the code is not known, used, expired or withdrawn"


class SqlCodes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, codes: Sequence[NewCode], terms: CodeTerms, now_us: int) -> None:
        await known(self._database.write(functools.partial(_add, codes=codes, terms=terms, now_us=now_us)))

    async def redeem(self, code_hash: str, organization_id: str, currency: str, now_us: int) -> Redeemed:
        work = functools.partial(_redeem, code_hash=code_hash, owner=(organization_id, currency), now_us=now_us)
        found = await known(self._database.write(work))
        # A wrong code has to be counted, so the transaction ends well.
        if isinstance(found, Exception):
            raise found
        return found

    async def revoke(self, code_id: str, now_us: int) -> Code:
        return await known(self._database.write(functools.partial(_revoke, code_id=code_id, now_us=now_us)))

    async def codes(self, limit: int, after_id: str) -> list[Code]:
        return await known(self._database.read(functools.partial(_codes, limit=limit, after_id=after_id)))


def _add(connection: sa.Connection, codes: Sequence[NewCode], terms: CodeTerms, now_us: int) -> None:
    if not 0 < terms.amount_pico <= INT64_MAX:
        raise InvalidMove("a code is worth more than 0")
    if terms.expires_us and terms.expires_us <= now_us:
        raise InvalidMove("the codes would have expired already")
    common = {
        "label": terms.label,
        "currency": terms.currency,
        "amount_pico": terms.amount_pico,
        "priority": terms.priority,
        "valid_days": terms.valid_days,
        "expires_us": terms.expires_us,
        "created_us": now_us,
        "revoked_us": 0,
        "redeemed_us": 0,
        "redeemed_by": "",
    }
    connection.execute(sa.insert(CODES), [common | {"code_hash": c.code_hash, "code_id": c.code_id} for c in codes])


def _redeem(
    connection: sa.Connection, code_hash: str, owner: tuple[str, str], now_us: int
) -> Redeemed | InvalidMove | TooManyGuesses:
    organization = owner[0]
    # Before guesses are read: those who guess at once are counted one after the other.
    own = lock(connection, [owner])[organization]
    guesses = connection.execute(sa.select(GUESSES).where(GUESSES.c.organization_id == organization)).one_or_none()
    since = guesses.since_us if guesses is not None and guesses.since_us + WINDOW_US > now_us else now_us
    wrong = guesses.wrong if guesses is not None and since == guesses.since_us else 0
    if wrong >= MAX_WRONG:
        return TooManyGuesses(since + WINDOW_US - now_us)
    row = connection.execute(sa.select(CODES).where(CODES.c.code_hash == code_hash)).one_or_none()
    if row is not None and row.redeemed_by == organization:
        return _credited(connection, row, organization, row.redeemed_us, repeated=True)
    if row is not None and not row.redeemed_us and row.currency != own:
        return InvalidMove(f"the code is worth {row.currency}, and the organization pays in {own}")
    good = sa.and_(
        CODES.c.code_hash == code_hash,
        CODES.c.redeemed_us == 0,
        CODES.c.revoked_us == 0,
        sa.or_(CODES.c.expires_us == 0, CODES.c.expires_us > now_us),
    )
    taken = sa.update(CODES).where(good).values(redeemed_us=now_us, redeemed_by=organization)
    if row is None or connection.execute(taken).rowcount != 1:
        values: dict[str, Any] = {"organization_id": organization, "since_us": since, "wrong": wrong + 1}
        statement = insert(connection, GUESSES).values(values)
        connection.execute(statement.on_conflict_do_update(index_elements=["organization_id"], set_=values))
        return InvalidMove(_NOT_GOOD)
    return _credited(connection, row, organization, now_us, repeated=False)


def _credited(
    connection: sa.Connection, row: "sa.Row[Any]", organization: str, redeemed_us: int, *, repeated: bool
) -> Redeemed:
    expires_us = redeemed_us + row.valid_days * _DAY_US if row.valid_days else 0
    if repeated:
        return Redeemed(row.amount_pico, balance_of(connection, organization)[1], expires_us, repeated=True)
    move = Move(organization, row.currency, row.amount_pico, f"code/{row.code_id}", row.label, redeemed_us)
    moved = grant_bonus(connection, BonusGrant(move, row.priority, expires_us))
    return Redeemed(row.amount_pico, moved.balance_pico, expires_us, repeated=False)


def _revoke(connection: sa.Connection, code_id: str, now_us: int) -> Code:
    this = CODES.c.code_id == code_id
    unused = sa.and_(this, CODES.c.redeemed_us == 0, CODES.c.revoked_us == 0)
    connection.execute(sa.update(CODES).where(unused).values(revoked_us=now_us))
    row = connection.execute(sa.select(CODES).where(this)).one_or_none()
    if row is None:
        raise NotFound("there is no such code")
    if row.redeemed_us:
        raise InvalidMove("the code is redeemed; take its credit back with a correction")
    return _code(row)


def _codes(connection: sa.Connection, limit: int, after_id: str) -> list[Code]:
    query = sa.select(CODES).order_by(CODES.c.code_id.desc()).limit(limit)
    if after_id:
        query = query.where(CODES.c.code_id < after_id)
    return [_code(row) for row in connection.execute(query)]


def _code(row: "sa.Row[Any]") -> Code:
    terms = CodeTerms(row.label, row.currency, row.amount_pico, row.priority, row.valid_days, row.expires_us)
    return Code(row.code_id, terms, row.created_us, row.revoked_us, row.redeemed_us, row.redeemed_by)
