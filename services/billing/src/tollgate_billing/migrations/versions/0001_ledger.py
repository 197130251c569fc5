"""The ledger, its positions, grants and price books.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.String(256), primary_key=True),
        sa.Column("currency", sa.String(3), nullable=False),
    )
    op.create_table(
        "accounts",
        sa.Column("organization_id", sa.String(256), primary_key=True),
        sa.Column("account", sa.String(32), primary_key=True),
        sa.Column("currency", sa.String(3), primary_key=True),
        sa.Column("balance_pico", sa.BigInteger, nullable=False),
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "transfers",
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
        sa.UniqueConstraint(
            *("batch", "organization_id", "project_id", "model", "price_digest", "currency", "debit", "credit"),
            name="transfers_once",
        ),
    )
    op.create_table(
        "sources",
        sa.Column("source", sa.String(512), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("high", sa.BigInteger, nullable=False),
        sa.Column("batch", sa.String(512), nullable=False),
        sa.Column("effects", sa.Text, nullable=False),
    )
    op.create_table(
        "open_exceptions",
        sa.Column("request_id", sa.String(256), primary_key=True),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("number_of_try", sa.Integer, nullable=False),
        sa.Column("logged_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_open_exceptions_logged_us", "open_exceptions", ["logged_us"])
    op.create_table(
        "grants",
        sa.Column("idempotency_key", sa.String(256), primary_key=True),
        sa.Column("organization_id", sa.String(256), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_pico", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "price_books",
        sa.Column("digest", sa.String(128), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
