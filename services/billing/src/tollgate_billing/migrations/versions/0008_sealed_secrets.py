"""Secrets of destinations, sealed.

The keys are not where SQL is, so that billing itself seals what is there, at its start.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column."""
    op.add_column("notify_destinations", sa.Column("sealed", sa.Text, nullable=False, server_default=""))
