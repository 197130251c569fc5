"""What budgets count a job by, and the model that one turned it from.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns; what an older release writes stays valid."""
    for name in ("tags", "member", "requested_model"):
        op.add_column("media_jobs", sa.Column(name, sa.Text, nullable=False, server_default=""))
