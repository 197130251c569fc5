"""The ledger in SQLite or PostgreSQL: one transaction for everything that a batch or a grant writes."""

import functools
import json
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Final, TypeVar

import sqlalchemy as sa

from tollgate_billing.adapters.sql_tables import (
    ACCOUNTS,
    BONUS_DRAWS,
    EXCEPTIONS,
    FINALS,
    GRANTS,
    ORGANIZATIONS,
    SOURCES,
    TRANSFERS,
    whole_balance,
)
from tollgate_billing.adapters.sql_transfers import insert, transfer
from tollgate_billing.domain.event import DAY_US, MAX_EVENT_DAYS
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import KeptFinals
from tollgate_billing.domain.postings import FUNDING, SPENDABLE, WALLET, Line, Transfer, WalletEffect
from tollgate_billing.domain.rows import SETTLED
from tollgate_billing.errors import InvalidGrant, LedgerRefused, LedgerUnavailable
from tollgate_billing.ports import Effect, Grant, PostedTransfer, Posting, Unfinished
from tollgate_kit.event_log import OwnershipLost
from tollgate_kit.sql import Database, SqlUnavailable
from tollgate_rating import INT64_MAX

T = TypeVar("T")

_REASON_USAGE: Final = "usage"
_NAMES_A_QUERY: Final = 500
# PostgreSQL's class of states for what is too long for an index or too complex; its driver has them as it has a lost
# connection.
_LIMIT_EXCEEDED: Final = "54"
# No event that began earlier is booked; a day more for clocks.
_KEPT_US: Final = (MAX_EVENT_DAYS + 1) * DAY_US


class SqlLedger:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, source: str, owner: str) -> None:
        await known(self._database.write(functools.partial(_claim, source=source, owner=owner)))

    async def claimed(self) -> list[str]:
        return await known(self._database.read(_claimed))

    async def post(self, posting: Posting) -> tuple[Effect, ...]:
        try:
            return await known(self._database.write(functools.partial(_post, posting=posting)))
        except (sa.exc.DataError, sa.exc.IntegrityError) as error:
            # Whoever posts holds the lock of the source, and what is in common is locked or inserted on conflict: no
            # race ends here.
            raise LedgerRefused(_first_line(error.orig)) from error
        except OverflowError as error:
            # SQLite's driver takes no greater numbers.
            raise LedgerRefused(_first_line(error)) from error
        except LedgerUnavailable as error:
            reason = error.__cause__.__cause__ if error.__cause__ is not None else None
            refused = reason.orig if isinstance(reason, sa.exc.OperationalError) else None
            if not str(getattr(refused, "sqlstate", "")).startswith(_LIMIT_EXCEEDED):
                raise
            raise LedgerRefused(_first_line(refused)) from error

    async def unfinished(self, applied: Mapping[str, str]) -> list[Unfinished]:
        return await known(self._database.read(functools.partial(_unfinished, applied=dict(applied))))

    async def open_requests(self, since_us: int) -> frozenset[str]:
        return await known(self._database.write(functools.partial(_open_requests, since_us=since_us)))

    async def finals(self, requests: Collection[str], before: Bounds | None = None) -> KeptFinals:
        return await known(self._database.read(functools.partial(_finals, names=sorted(requests), before=before)))

    async def grant(self, grant: Grant) -> int:
        return await known(self._database.write(functools.partial(_grant, grant=grant)))

    async def balance(self, organization_id: str) -> tuple[str, int]:
        return await known(self._database.read(functools.partial(balance_of, organization_id=organization_id)))

    async def balances(self) -> dict[str, int]:
        return await known(self._database.read(_balances))

    async def posted(
        self, batch: str, organization_id: str, project_id: str, model: str, price_digest: str, rate_digest: str
    ) -> list[PostedTransfer]:
        names = {
            "batch": batch,
            "organization_id": organization_id,
            "project_id": project_id,
            "model": model,
            "price_digest": price_digest,
            "rate_digest": rate_digest,
        }
        return await known(self._database.read(functools.partial(_transfers_of, names=names)))


async def known(work: Awaitable[T]) -> T:
    """Returns what the work returns. Raises LedgerUnavailable."""
    try:
        return await work
    except SqlUnavailable as error:
        raise LedgerUnavailable(f"ledger: {error}") from error


def _first_line(reason: object) -> str:
    return str(reason).partition("\n")[0]


def _claim(connection: sa.Connection, source: str, owner: str) -> None:
    row = {"source": source, "owner": owner, "high": 0, "batch": "", "effects": "[]"}
    statement = insert(connection, SOURCES).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_={"owner": owner}))


def _claimed(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(SOURCES.c.source)).scalars())


def _post(connection: sa.Connection, posting: Posting) -> tuple[Effect, ...]:
    bounds = posting.bounds
    query = sa.select(SOURCES.c.owner, SOURCES.c.high, SOURCES.c.batch, SOURCES.c.effects)
    row = connection.execute(query.where(SOURCES.c.source == bounds.source).with_for_update()).one_or_none()
    if row is None or row.owner != posting.owner:
        raise OwnershipLost(f"{bounds.source} is booked by another process")
    if row.high >= bounds.high:
        return _read_effects(row.effects) if row.batch == bounds.batch else ()
    transfer(connection, posting.transfers, bounds.batch, _REASON_USAGE, posting.now_us, posting.taken_back)
    effects = _in_currency(connection, posting.effects)
    connection.execute(
        sa.update(SOURCES)
        .where(SOURCES.c.source == bounds.source)
        .values(high=bounds.high, batch=bounds.batch, effects=_write_effects(effects))
    )
    _note_exceptions(connection, posting)
    _keep_finals(connection, posting)
    return effects


def _in_currency(connection: sa.Connection, effects: Sequence[WalletEffect]) -> tuple[Effect, ...]:
    """Returns effects in the wallets' own currencies; an amount in another one frees its hold and moves no wallet."""
    query = sa.select(ORGANIZATIONS).where(
        ORGANIZATIONS.c.organization_id.in_([effect.organization_id for effect in effects])
    )
    currency_of = {row.organization_id: row.currency for row in connection.execute(query)}
    found = []
    for effect in effects:
        own = currency_of.get(effect.organization_id, "")
        charges = {hold_id: charge for (hold_id, currency), charge in effect.charges.items() if currency == own}
        if len(charges) < len(effect.charges):
            charges = dict.fromkeys((hold_id for hold_id, _ in effect.charges), 0) | charges
        found.append(Effect(effect.organization_id, tuple(charges.items()), effect.credits.get(own, 0)))
    return tuple(found)


def _note_exceptions(connection: sa.Connection, posting: Posting) -> None:
    if posting.closed:
        connection.execute(sa.delete(EXCEPTIONS).where(EXCEPTIONS.c.request_id.in_(posting.closed)))
    rows = [
        {
            "request_id": one.request_id,
            "event_id": one.event_id.hex(),
            "status": one.status,
            "number_of_try": one.number_of_try,
            "logged_us": one.at_us,
        }
        for one in posting.opened
    ]
    if rows:
        statement = insert(connection, EXCEPTIONS)
        fresh = {name: statement.excluded[name] for name in rows[0]}
        connection.execute(statement.on_conflict_do_update(index_elements=["request_id"], set_=fresh), rows)


def _keep_finals(connection: sa.Connection, posting: Posting) -> None:
    if posting.corrected:
        corrected = FINALS.c.event_id.in_([event_id.hex() for event_id in posting.corrected])
        connection.execute(sa.update(FINALS).where(corrected).values(stands=False))
    rows = [
        {
            "event_id": one.event_id.hex(),
            "request_id": one.request_id,
            "source": posting.bounds.source,
            "src_offset": one.offset,
            "started_us": one.started_at_us,
            "stands": one.stands,
        }
        for one in posting.finals
    ]
    if rows:
        connection.execute(insert(connection, FINALS).on_conflict_do_nothing(), rows)


def _finals(connection: sa.Connection, names: Sequence[str], before: Bounds | None) -> KeptFinals:
    earlier: sa.ColumnElement[bool] = sa.true()
    if before is not None:
        earlier = sa.or_(FINALS.c.source != before.source, FINALS.c.src_offset < before.low)
    found: dict[str, dict[bytes, bool]] = {}
    for first in range(0, len(names), _NAMES_A_QUERY):
        of_these = FINALS.c.request_id.in_(names[first : first + _NAMES_A_QUERY])
        for row in connection.execute(sa.select(FINALS).where(of_these, earlier)):
            found.setdefault(row.request_id, {})[bytes.fromhex(row.event_id)] = row.stands
    return found


def _open_requests(connection: sa.Connection, since_us: int) -> frozenset[str]:
    connection.execute(sa.delete(FINALS).where(FINALS.c.started_us < since_us - _KEPT_US))
    connection.execute(sa.delete(BONUS_DRAWS).where(BONUS_DRAWS.c.created_us < since_us - _KEPT_US))
    # Whose event never came may have one as long as events are taken at all: a router may have been cut off.
    kept = sa.and_(EXCEPTIONS.c.status == SETTLED, EXCEPTIONS.c.logged_us >= since_us - _KEPT_US)
    connection.execute(sa.delete(EXCEPTIONS).where(EXCEPTIONS.c.logged_us < since_us, sa.not_(kept)))
    return frozenset(connection.execute(sa.select(EXCEPTIONS.c.request_id)).scalars())


def _unfinished(connection: sa.Connection, applied: Mapping[str, str]) -> list[Unfinished]:
    last = connection.execute(sa.select(SOURCES.c.source, SOURCES.c.batch).where(SOURCES.c.batch != ""))
    # Effects are long: only those are read that are needed.
    wanted = [row.source for row in last if applied.get(row.source) != row.batch]
    if not wanted:
        return []
    rows = connection.execute(sa.select(SOURCES).where(SOURCES.c.source.in_(wanted)).order_by(SOURCES.c.source))
    return [Unfinished(row.source, row.batch, _read_effects(row.effects)) for row in rows]


def _grant(connection: sa.Connection, grant: Grant) -> int:
    if not 0 < grant.amount_pico <= INT64_MAX:
        raise InvalidGrant(f"a grant is above 0 and at most {INT64_MAX} pico-units, found {grant.amount_pico}")
    if len(grant.currency) != 3 or not grant.currency.isupper():
        raise InvalidGrant(f"a currency is three capital letters, found {grant.currency!r}")
    if not 0 < len(grant.key) <= 256 or not 0 < len(grant.organization_id) <= 256:
        raise InvalidGrant("a grant names an organization and has an idempotency key of 1 to 256 characters")
    key = {"idempotency_key": grant.key}
    values = {
        "organization_id": grant.organization_id,
        "currency": grant.currency,
        "amount_pico": grant.amount_pico,
        "reason": grant.reason[:256],
        "created_us": grant.now_us,
    }
    statement = insert(connection, GRANTS).values(key | values).on_conflict_do_nothing()
    if connection.execute(statement.returning(GRANTS.c.idempotency_key)).first() is None:
        before = connection.execute(sa.select(GRANTS).where(GRANTS.c.idempotency_key == grant.key)).one()
        if (before.organization_id, before.currency, before.amount_pico) != (
            *(grant.organization_id, grant.currency, grant.amount_pico),
        ):
            raise InvalidGrant(f"key {grant.key!r} was used for another grant")
        return balance_of(connection, grant.organization_id)[1]
    currency, balance = balance_of(connection, grant.organization_id)
    if currency and currency != grant.currency:
        raise InvalidGrant(f"the organization pays in {currency}, not in {grant.currency}")
    if balance + grant.amount_pico > INT64_MAX:
        raise InvalidGrant(f"the balance would be beyond {INT64_MAX} pico-units")
    line = Line(grant.organization_id, "", "", "", grant.currency, FUNDING, WALLET)
    transfer(connection, [Transfer(line, grant.amount_pico, 1)], f"grant/{grant.key}", grant.reason, grant.now_us)
    return balance + grant.amount_pico


def balance_of(connection: sa.Connection, organization_id: str) -> tuple[str, int]:
    """Returns the currency ("" when there is none) and what may be spent, in pico-units."""
    found = _spendable(connection, ORGANIZATIONS.c.organization_id == organization_id)
    return found.get(organization_id, ("", 0))


def _balances(connection: sa.Connection) -> dict[str, int]:
    return {organization: amount for organization, (_, amount) in _spendable(connection, sa.true()).items()}


def _transfers_of(connection: sa.Connection, names: dict[str, str]) -> list[PostedTransfer]:
    query = sa.select(TRANSFERS).where(*(TRANSFERS.c[name] == value for name, value in names.items()))
    return [
        PostedTransfer(row.batch, row.debit, row.credit, row.currency, row.amount_pico, row.events, row.created_us)
        for row in connection.execute(query.order_by(TRANSFERS.c.transfer_id))
    ]


def _spendable(connection: sa.Connection, which: sa.ColumnElement[bool]) -> dict[str, tuple[str, int]]:
    """Returns currency and what may be spent by organization; added up here, since a sum may be beyond int64."""
    same = sa.and_(
        ACCOUNTS.c.organization_id == ORGANIZATIONS.c.organization_id,
        ACCOUNTS.c.currency == ORGANIZATIONS.c.currency,
        ACCOUNTS.c.account.in_(SPENDABLE),
    )
    query = sa.select(ORGANIZATIONS, ACCOUNTS.c.balance_parts, ACCOUNTS.c.balance_pico)
    found: dict[str, tuple[str, int]] = {}
    for row in connection.execute(query.select_from(ORGANIZATIONS.outerjoin(ACCOUNTS, same)).where(which)):
        _, amount = found.get(row.organization_id, (row.currency, row.credit_line_pico))
        found[row.organization_id] = row.currency, amount + (0 if row.balance_pico is None else whole_balance(row))
    return found


def _write_effects(effects: Sequence[Effect]) -> str:
    plain = [[one.organization_id, one.charges, one.credit_pico] for one in effects]
    return json.dumps(plain, separators=(",", ":"))


def _read_effects(text: str) -> tuple[Effect, ...]:
    return tuple(
        Effect(organization, tuple((hold_id, charge) for hold_id, charge in charges), credit)
        for organization, charges, credit in json.loads(text)
    )
