"""What a job's usage is recognised by: where it was asked for from, and the hash of what was asked.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns; what an older release writes stays valid."""
    for name in ("client_network", "prompt_hash"):
        op.add_column("media_jobs", sa.Column(name, sa.Text, nullable=False, server_default=""))
