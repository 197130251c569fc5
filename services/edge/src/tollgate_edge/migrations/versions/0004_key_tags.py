"""Tags of keys, by which usage is counted in budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; keys that are there have none."""
    op.add_column("api_keys", sa.Column("tags", sa.String(400), nullable=False, server_default=""))


def downgrade() -> None:
    """Drops the column."""
    op.drop_column("api_keys", "tags")
