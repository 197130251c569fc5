"""Jobs, attempts, events, assets, outbox and price books."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes all tables."""
    op.create_table(
        "media_jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False, unique=True),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("api_key_id", sa.Text, nullable=False),
        sa.Column("price_group", sa.Text, nullable=False),
        sa.Column("route_group", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("image", sa.JSON, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("tried", sa.JSON, nullable=False),
        sa.Column("ingest_tries", sa.Integer, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("request_hash", sa.Text, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("span_id", sa.Text, nullable=False),
        sa.Column("config_digest", sa.Text, nullable=False),
        sa.Column("price_digest", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("hold_pico", sa.BigInteger, nullable=False),
        sa.Column("charge_pico", sa.BigInteger, nullable=False),
        sa.Column("billing", sa.Text, nullable=False),
        sa.Column("failure", sa.JSON),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("deadline_at_us", sa.BigInteger, nullable=False),
        sa.Column("next_at_us", sa.BigInteger, nullable=False),
        sa.Column("ended_at_us", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.Text, nullable=False),
        sa.Column("lease_until_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("organization_id", "idempotency_key", name="media_jobs_idempotency"),
        sa.CheckConstraint(
            "(state = 5 AND billing = 'settled') OR (state = 6 AND billing = 'released' AND charge_pico = 0) "
            "OR (state NOT IN (5, 6) AND billing = 'held' AND charge_pico = 0)",
            name="media_jobs_settled_or_released",
        ),
    )
    live = sa.text("state NOT IN (5, 6)")
    op.create_index("media_jobs_live", "media_jobs", ["next_at_us"], postgresql_where=live, sqlite_where=live)
    op.create_index("media_jobs_of_project", "media_jobs", ["organization_id", "project_id", "created_at_us", "id"])
    _create_details()
    _create_outbox()


def _create_details() -> None:
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.Text, sa.ForeignKey("media_jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("upstream_model", sa.Text, nullable=False),
        sa.Column("private_network", sa.Boolean, nullable=False),
        sa.Column("span_id", sa.Text, nullable=False),
        sa.Column("started_at_us", sa.BigInteger, nullable=False),
        sa.Column("ended_at_us", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error_kind", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("outputs", sa.JSON, nullable=False),
        sa.Column("reported", sa.JSON, nullable=False),
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Text, sa.ForeignKey("media_jobs.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("from_state", sa.SmallInteger, nullable=False),
        sa.Column("to_state", sa.SmallInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "assets",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.Text, sa.ForeignKey("media_jobs.id"), nullable=False),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("output_index", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("storage_key", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("job_id", "output_index", name="assets_output"),
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("taken_until_us", sa.BigInteger, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "price_books",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
