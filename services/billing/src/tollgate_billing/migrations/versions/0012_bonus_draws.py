"""What bonus credit paid of the charges of a batch.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a table; what was booked before comes back as paid money where it is taken back."""
    op.create_table(
        "bonus_draws",
        sa.Column("batch", sa.String(512), primary_key=True),
        sa.Column("organization_id", sa.String(256), primary_key=True),
        sa.Column("charged_pico", sa.BigInteger, nullable=False),
        sa.Column("draws", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_bonus_draws_created_us", "bonus_draws", ["created_us"])
