"""Writing transfers: the rows, the balances that follow, and what covers a wallet that would be below zero.

Everything here runs in the caller's transaction. The organizations concerned are locked in the order of their ids, so
that what is read of their accounts stays true, and no two transactions wait for each other.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tollgate_billing.adapters.sql_tables import (
    ACCOUNTS,
    BONUS_DRAWS,
    BONUSES,
    ORGANIZATIONS,
    PART_PICO,
    TRANSFERS,
    parts_of,
    whole_balance,
)
from tollgate_billing.domain.postings import (
    BONUS,
    RECEIVABLE,
    REVENUE,
    SPENDABLE,
    WALLET,
    Line,
    TakenBack,
    Transfer,
)

_NEVER_LAST: Final = sa.case((BONUSES.c.expires_us == 0, 1), else_=0)
# What of an organization's bonus is spent first.
SPENDING_ORDER: Final = (
    BONUSES.c.priority,
    _NEVER_LAST,
    BONUSES.c.expires_us,
    BONUSES.c.created_us,
    BONUSES.c.idempotency_key,
)
_COVER: Final = "cover"


@dataclass(slots=True)
class _Owner:
    """An organization in its own currency: its accounts after the transfers, and what they charged it."""

    currency: str
    charged: int = 0
    wallet: int = 0
    bonus: int = 0
    receivable: int = 0


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Returns an insert that knows ON CONFLICT, which both dialects spell the same."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def transfer(
    connection: sa.Connection,
    transfers: Sequence[Transfer],
    batch: str,
    reason: str,
    now_us: int,
    taken_back: Sequence[TakenBack] = (),
) -> None:
    """Adds transfers and moves the balances with them.

    Bonus credit pays for what requests cost, as far as it goes; a wallet below zero is covered by `receivable`, and one
    above zero pays what is owed. `taken_back` says which charges the transfers take back: what bonus credit paid of
    them is bonus credit again before anything is paid anew.
    """
    if not transfers:
        return
    owners = lock(connection, ((one.line.organization_id, one.line.currency) for one in transfers))
    _write(connection, transfers, batch, reason, now_us)
    own = [one for one in taken_back if owners.get(one.organization_id) == one.currency]
    if own and (back := _give_back(connection, own)):
        _write(connection, back, batch, _COVER, now_us)
    touched: dict[str, _Owner] = {}
    for one in transfers:
        line = one.line
        if WALLET in {line.debit, line.credit} and owners[line.organization_id] == line.currency:
            owner = touched.setdefault(line.organization_id, _Owner(line.currency))
            owner.charged += one.amount_pico if (line.debit, line.credit) == (WALLET, REVENUE) else 0
    _cover(connection, touched, batch, now_us)


def lock(connection: sa.Connection, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Locks organizations until the transaction ends; returns the currency of each.

    `pairs` are ids and currencies: that of an organization's first transfer becomes its own.
    """
    first: dict[str, str] = {}
    for organization, currency in sorted(set(pairs)):
        first.setdefault(organization, currency)
    rows = [{"organization_id": organization, "currency": currency} for organization, currency in first.items()]
    if rows:
        connection.execute(insert(connection, ORGANIZATIONS).on_conflict_do_nothing(), rows)
    query = sa.select(ORGANIZATIONS.c.organization_id, ORGANIZATIONS.c.currency)
    query = query.where(ORGANIZATIONS.c.organization_id.in_(first)).order_by(ORGANIZATIONS.c.organization_id)
    return {row.organization_id: row.currency for row in connection.execute(query.with_for_update())}


def balances(
    connection: sa.Connection, organizations: Iterable[str], accounts: Iterable[str]
) -> dict[tuple[str, str, str], int]:
    """Returns balances in pico-units by organization, account and currency; those that never moved are left out."""
    query = sa.select(ACCOUNTS).where(
        ACCOUNTS.c.organization_id.in_(list(organizations)), ACCOUNTS.c.account.in_(list(accounts))
    )
    return {(row.organization_id, row.account, row.currency): whole_balance(row) for row in connection.execute(query)}


def _write(connection: sa.Connection, transfers: Sequence[Transfer], batch: str, reason: str, now_us: int) -> None:
    rows = [
        {
            **one.line._asdict(),
            "batch": batch,
            "amount_pico": one.amount_pico,
            "events": one.events,
            "reason": reason[:256],
            "created_us": now_us,
        }
        for one in transfers
    ]
    connection.execute(sa.insert(TRANSFERS), rows)
    changes: dict[tuple[str, str, str], int] = {}
    for one in transfers:
        for account, sign in ((one.line.debit, -1), (one.line.credit, 1)):
            key = (one.line.organization_id, account, one.line.currency)
            changes[key] = changes.get(key, 0) + sign * one.amount_pico
    names = ("organization_id", "account", "currency")
    statement = insert(connection, ACCOUNTS)
    connection.execute(
        statement.on_conflict_do_update(index_elements=names, set_=_added(statement.excluded)),
        [dict(zip(names, key, strict=True)) | parts_of(change) for key, change in sorted(changes.items())],
    )


def _added(change: Any) -> dict[str, Any]:
    """Returns the columns of a balance with a change of it; both databases divide towards 0."""
    rest = ACCOUNTS.c.balance_pico + change.balance_pico
    parts = ACCOUNTS.c.balance_parts + change.balance_parts
    return {"balance_parts": parts + rest // PART_PICO, "balance_pico": rest % PART_PICO}


def _cover(connection: sa.Connection, owners: Mapping[str, _Owner], batch: str, now_us: int) -> None:
    if not owners:
        return
    for (organization, account, currency), balance in balances(connection, owners, SPENDABLE).items():
        if currency == owners[organization].currency:
            setattr(owners[organization], account, balance)
    found: list[Transfer] = []
    for organization, owner in sorted(owners.items()):
        drawn = min(owner.bonus, max(owner.charged, -owner.wallet))
        if drawn > 0:
            _draw(connection, organization, owner, drawn, batch, now_us)
            found.append(_move(organization, owner.currency, BONUS, WALLET, drawn))
        left = owner.wallet + max(drawn, 0)
        if left < 0:
            found.append(_move(organization, owner.currency, RECEIVABLE, WALLET, -left))
        elif left > 0 > owner.receivable:
            found.append(_move(organization, owner.currency, WALLET, RECEIVABLE, min(left, -owner.receivable)))
    if found:
        _write(connection, found, batch, _COVER, now_us)


def _draw(connection: sa.Connection, organization: str, owner: _Owner, drawn: int, batch: str, now_us: int) -> None:
    """Spends bonus credit, and keeps what it paid of charges: they may be taken back."""
    draws = _spend(connection, organization, drawn)
    if owner.charged:
        values = {
            "batch": batch,
            "organization_id": organization,
            "charged_pico": owner.charged,
            "draws": json.dumps(draws),
            "created_us": now_us,
        }
        connection.execute(sa.insert(BONUS_DRAWS).values(values))


def _move(organization: str, currency: str, debit: str, credit: str, amount: int) -> Transfer:
    return Transfer(Line(organization, "", "", "", currency, debit, credit), amount, 1)


def _give_back(connection: sa.Connection, taken_back: Sequence[TakenBack]) -> list[Transfer]:
    """Gives grants what they paid of charges that are taken back, as if these had never been; returns the transfers.

    Bonus credit is spent first, so without them a batch would have drawn what its other charges are, at most. What was
    spent last of it comes back first, to the grant that it is of.
    """
    sums: dict[tuple[str, str], int] = {}
    for one in taken_back:
        this = sa.and_(BONUS_DRAWS.c.batch == one.batch, BONUS_DRAWS.c.organization_id == one.organization_id)
        row = connection.execute(sa.select(BONUS_DRAWS).where(this)).one_or_none()
        if row is None:
            continue
        charged = row.charged_pico - one.amount_pico
        draws: list[tuple[str, int]] = [(key, drawn) for key, drawn in json.loads(row.draws)]
        back = sum(drawn for _, drawn in draws) - max(charged, 0)
        while back > 0:
            key, drawn = draws.pop()
            part = min(back, drawn)
            left = BONUSES.c.remaining_pico + part
            connection.execute(sa.update(BONUSES).where(BONUSES.c.idempotency_key == key).values(remaining_pico=left))
            if part < drawn:
                draws.append((key, drawn - part))
            place = (one.organization_id, one.currency)
            sums[place] = sums.get(place, 0) + part
            back -= part
        values = {"charged_pico": charged, "draws": json.dumps(draws)}
        connection.execute(sa.update(BONUS_DRAWS).where(this).values(values))
    return [_move(organization, currency, WALLET, BONUS, back) for (organization, currency), back in sums.items()]


def _spend(connection: sa.Connection, organization: str, amount: int) -> list[tuple[str, int]]:
    """Takes an amount from what is left of grants, in their order; returns how much of each, by key."""
    draws: list[tuple[str, int]] = []
    query = sa.select(BONUSES.c.idempotency_key, BONUSES.c.remaining_pico)
    query = query.where(BONUSES.c.organization_id == organization, BONUSES.c.remaining_pico > 0)
    for key, remaining in connection.execute(query.order_by(*SPENDING_ORDER)).all():
        taken = min(amount, remaining)
        connection.execute(
            sa.update(BONUSES).where(BONUSES.c.idempotency_key == key).values(remaining_pico=remaining - taken)
        )
        draws.append((key, taken))
        amount -= taken
        if not amount:
            break
    return draws
