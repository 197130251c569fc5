"""Money that moves without a request: credit lines, bonus grants, redemption codes and what was done under which key.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds tables, a column and an index; what an older release writes stays valid."""
    op.add_column("organizations", sa.Column("credit_line_pico", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("ix_transfers_organization", "transfers", ["organization_id", "transfer_id"])
    op.create_table(
        "operations",
        sa.Column("idempotency_key", sa.String(256), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "bonuses",
        sa.Column("idempotency_key", sa.String(256), primary_key=True),
        sa.Column("organization_id", sa.String(256), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_pico", sa.BigInteger, nullable=False),
        sa.Column("remaining_pico", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.CheckConstraint("remaining_pico >= 0 AND remaining_pico <= amount_pico", name="bonuses_remaining"),
    )
    op.create_index("ix_bonuses_left", "bonuses", ["organization_id", "remaining_pico"])
    op.create_table(
        "redemption_codes",
        sa.Column("code_hash", sa.String(64), primary_key=True),
        sa.Column("code_id", sa.String(64), nullable=False, unique=True),
        sa.Column("label", sa.String(256), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_pico", sa.BigInteger, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("valid_days", sa.Integer, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.Column("revoked_us", sa.BigInteger, nullable=False),
        sa.Column("redeemed_us", sa.BigInteger, nullable=False),
        sa.Column("redeemed_by", sa.String(256), nullable=False),
    )
    op.create_table(
        "code_guesses",
        sa.Column("organization_id", sa.String(256), primary_key=True),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("wrong", sa.Integer, nullable=False),
    )
