"""Responses that run in the background."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds how far a response is, and until when its process is believed to run it."""
    op.add_column("responses", sa.Column("status", sa.Text, nullable=False, server_default=""))
    op.add_column("responses", sa.Column("running_until_us", sa.BigInteger, nullable=False, server_default="0"))
