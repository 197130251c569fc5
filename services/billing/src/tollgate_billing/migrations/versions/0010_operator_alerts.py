"""What operators were told of the books.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "operator_alerts",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("subject", sa.String(200), primary_key=True),
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("told_us", sa.BigInteger, nullable=False),
        sa.Column("present", sa.Boolean, nullable=False),
    )
