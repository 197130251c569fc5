"""Balances beyond int64.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PART = 4 * 10**18
_DIGITS = 10**9


def upgrade() -> None:
    """Adds a column and makes balances anew that need it, from their transfers.

    SQLite has gone on with a float where a balance was beyond int64; no transfer ever was. An older release goes on
    with balances of less than a part.
    """
    parts = sa.Column("balance_parts", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("accounts", parts)
    names = ("organization_id", "account", "currency")
    accounts = sa.table("accounts", *(sa.column(name) for name in (*names, "balance_pico", "balance_parts")))
    connection = op.get_bind()
    balance = accounts.c.balance_pico
    large = sa.select(*(accounts.c[name] for name in names)).where(sa.or_(balance >= _PART, balance <= -_PART))
    for key in connection.execute(large).all():
        total = _side(connection, "credit", *key) - _side(connection, "debit", *key)
        sign = 1 if total >= 0 else -1
        values = {"balance_parts": sign * (abs(total) // _PART), "balance_pico": sign * (abs(total) % _PART)}
        this = sa.and_(*(accounts.c[name] == value for name, value in zip(names, key, strict=True)))
        connection.execute(sa.update(accounts).where(this).values(values))


def _side(connection: sa.Connection, side: str, organization: str, account: str, currency: str) -> int:
    """Returns what moved on one side of an account; in two sums, since one may be beyond int64."""
    transfers = sa.table(
        "transfers",
        *(sa.column(name) for name in ("organization_id", "debit", "credit", "currency")),
        sa.column("amount_pico", sa.BigInteger),
    )
    amount = transfers.c.amount_pico
    query = sa.select(sa.func.sum(amount // _DIGITS), sa.func.sum(amount % _DIGITS)).where(
        transfers.c.organization_id == organization,
        transfers.c[side] == account,
        transfers.c.currency == currency,
    )
    high, low = connection.execute(query).one()
    return 0 if high is None else int(high) * _DIGITS + int(low)
