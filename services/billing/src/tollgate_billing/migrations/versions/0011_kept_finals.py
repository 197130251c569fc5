"""Finals that were compared with others, by event.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a table; what was booked before is known from usage rows only."""
    op.create_table(
        "kept_finals",
        sa.Column("event_id", sa.String(32), primary_key=True),
        sa.Column("request_id", sa.String(256), nullable=False),
        sa.Column("source", sa.String(512), nullable=False),
        sa.Column("src_offset", sa.BigInteger, nullable=False),
        sa.Column("started_us", sa.BigInteger, nullable=False),
        sa.Column("stands", sa.Boolean, nullable=False),
    )
    op.create_index("ix_kept_finals_request_id", "kept_finals", ["request_id"])
    op.create_index("ix_kept_finals_started_us", "kept_finals", ["started_us"])
