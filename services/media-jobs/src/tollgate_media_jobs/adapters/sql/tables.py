"""The tables of media-jobs, written by nobody else. Times are microseconds since the epoch, money is pico-units."""

from typing import Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()

_LIVE: Final = "state NOT IN (5, 6)"

media_jobs: Final = sa.Table(
    "media_jobs",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False, unique=True),
    sa.Column("organization_id", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("api_key_id", sa.Text, nullable=False),
    sa.Column("price_group", sa.Text, nullable=False),
    sa.Column("route_group", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False, server_default=""),
    sa.Column("member", sa.Text, nullable=False, server_default=""),
    sa.Column("limits", sa.JSON, nullable=False, server_default="[]"),
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
    sa.Column("exchange_rate", sa.Text, nullable=False, server_default=""),
    sa.Column("requested_model", sa.Text, nullable=False, server_default=""),
    sa.Column("client_network", sa.Text, nullable=False, server_default=""),
    sa.Column("prompt_hash", sa.Text, nullable=False, server_default=""),
    sa.Column("hold_pico", sa.BigInteger, nullable=False),
    sa.Column("counted_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("counted_second", sa.BigInteger, nullable=False, server_default="0"),
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
    sa.Index("media_jobs_live", "next_at_us", postgresql_where=sa.text(_LIVE), sqlite_where=sa.text(_LIVE)),
    sa.Index("media_jobs_of_project", "organization_id", "project_id", "created_at_us", "id"),
)

job_attempts: Final = sa.Table(
    "job_attempts",
    METADATA,
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

job_events: Final = sa.Table(
    "job_events",
    METADATA,
    sa.Column("job_id", sa.Text, sa.ForeignKey("media_jobs.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("from_state", sa.SmallInteger, nullable=False),
    sa.Column("to_state", sa.SmallInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("at_us", sa.BigInteger, nullable=False),
)

assets: Final = sa.Table(
    "assets",
    METADATA,
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

outbox: Final = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("traceparent", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("taken_until_us", sa.BigInteger, nullable=False),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
)

price_books: Final = sa.Table(
    "price_books",
    METADATA,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
