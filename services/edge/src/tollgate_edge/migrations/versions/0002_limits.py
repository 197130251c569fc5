"""Limits of keys, projects and organizations, and who pays later."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = ("organizations", "projects", "api_keys")
_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency", "budget_pico")


def upgrade() -> None:
    """Adds the columns; nobody has a limit yet, and everybody pays ahead."""
    for table in _TABLES:
        for limit in _LIMITS:
            op.add_column(table, sa.Column(limit, sa.BigInteger, nullable=False, server_default="0"))
        op.add_column(table, sa.Column("budget_window", sa.String(8), nullable=False, server_default="month"))
    op.add_column("organizations", sa.Column("prepaid", sa.Boolean, nullable=False, server_default=sa.true()))


def downgrade() -> None:
    """Drops the columns."""
    op.drop_column("organizations", "prepaid")
    for table in _TABLES:
        for column in (*_LIMITS, "budget_window"):
            op.drop_column(table, column)
