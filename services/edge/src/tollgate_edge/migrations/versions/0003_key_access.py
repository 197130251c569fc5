"""What a key may be used for, and from where."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; null is no list, so that every key goes on as before."""
    op.add_column("api_keys", sa.Column("endpoints", sa.JSON, nullable=True))
    op.add_column("api_keys", sa.Column("cidrs", sa.JSON, nullable=True))


def downgrade() -> None:
    """Drops the columns."""
    op.drop_column("api_keys", "cidrs")
    op.drop_column("api_keys", "endpoints")
