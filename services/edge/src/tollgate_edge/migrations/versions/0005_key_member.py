"""Whose a key is, by which usage is counted in budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; keys that are there have nobody."""
    op.add_column("api_keys", sa.Column("member", sa.String(100), nullable=False, server_default=""))


def downgrade() -> None:
    """Drops the column."""
    op.drop_column("api_keys", "member")
