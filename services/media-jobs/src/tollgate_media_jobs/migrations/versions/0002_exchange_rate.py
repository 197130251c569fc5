"""The exchange rate that a job is charged by.

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
    """Adds a column; what an older release writes stays valid."""
    op.add_column("media_jobs", sa.Column("exchange_rate", sa.Text, nullable=False, server_default=""))
