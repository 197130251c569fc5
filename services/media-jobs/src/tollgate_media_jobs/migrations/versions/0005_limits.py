"""What a job was admitted within, and what it counts as there.

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
    """Adds columns; what an older release writes stays valid."""
    op.add_column("media_jobs", sa.Column("limits", sa.JSON, nullable=False, server_default="[]"))
    for name in ("counted_tokens", "counted_second"):
        op.add_column("media_jobs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
