"""What looked wrong in the use of keys.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds tables."""
    op.create_table(
        "anomalies",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("fact_key", sa.String(700), nullable=False, unique=True),
        sa.Column("organization_id", sa.String(256), nullable=False),
        sa.Column("project_id", sa.String(256), nullable=False),
        sa.Column("api_key_id", sa.String(256), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("numbers", sa.Text, nullable=False),
        sa.Column("hour_us", sa.BigInteger, nullable=False),
        sa.Column("found_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_anomalies_organization_id", "anomalies", ["organization_id"])
