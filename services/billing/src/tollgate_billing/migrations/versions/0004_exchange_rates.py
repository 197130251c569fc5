"""Exchange rates, and by which one a transfer was converted.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ONCE = ("batch", "organization_id", "project_id", "model", "price_digest", "currency", "debit", "credit")


def upgrade() -> None:
    """Adds a table and a column that is part of what a transfer is once; what an older release writes stays valid."""
    op.create_table(
        "exchange_rates",
        sa.Column("digest", sa.String(128), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    # SQLite cannot change a constraint: there the table is copied, and this says what it is.
    with op.batch_alter_table("transfers", copy_from=_transfers()) as transfers:
        transfers.add_column(sa.Column("rate_digest", sa.String(128), nullable=False, server_default=""))
        transfers.drop_constraint("transfers_once", type_="unique")
        transfers.create_unique_constraint("transfers_once", [*_ONCE, "rate_digest"])


def _transfers() -> sa.Table:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Table(
        "transfers",
        sa.MetaData(),
        sa.Column("transfer_id", number, primary_key=True, autoincrement=True),
        sa.Column("batch", sa.String(512), nullable=False),
        sa.Column("organization_id", sa.String(256), nullable=False),
        sa.Column("project_id", sa.String(256), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("price_digest", sa.String(128), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("debit", sa.String(32), nullable=False),
        sa.Column("credit", sa.String(32), nullable=False),
        sa.Column("amount_pico", sa.BigInteger, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.CheckConstraint("amount_pico > 0", name="transfers_amount"),
        sa.CheckConstraint("debit <> credit", name="transfers_accounts"),
        sa.UniqueConstraint(*_ONCE, name="transfers_once"),
        sa.Index("ix_transfers_organization", "organization_id", "transfer_id"),
    )
