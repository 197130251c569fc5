"""Budgets, what they have taken, and the thresholds that were told.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds tables."""
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organization_id", sa.String(256), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("scope_id", sa.String(256), nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("amount_pico", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("thresholds", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("organization_id", "name", name="budgets_name"),
    )
    op.create_table(
        "budget_states",
        sa.Column("budget_id", sa.String(64), primary_key=True),
        sa.Column("window_name", sa.String(16), nullable=False),
        sa.Column("begin_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("spent_pico", sa.BigInteger, nullable=False),
        sa.Column("reached_percent", sa.Integer, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("opens_us", sa.BigInteger, nullable=False),
        sa.Column("evaluated_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_budget_states_evaluated_us", "budget_states", ["evaluated_us"])
    op.create_table(
        "budget_crossings",
        sa.Column("budget_id", sa.String(64), primary_key=True),
        sa.Column("window_name", sa.String(16), primary_key=True),
        sa.Column("percent", sa.Integer, primary_key=True),
        sa.Column("action", sa.String(16), primary_key=True),
        sa.Column("crossed_us", sa.BigInteger, nullable=False),
    )
