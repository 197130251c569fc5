"""The tables that edge owns. Times are microseconds since the epoch, 0 is never."""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _limits() -> list[sa.Column[Any]]:
    # 0 is no limit.
    names = ("requests_per_minute", "tokens_per_minute", "concurrency", "budget_pico")
    numbers = [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in names]
    return [*numbers, sa.Column("budget_window", sa.String(8), nullable=False, server_default="month")]


organizations = sa.Table(
    "organizations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    # False: no wallet is asked, the bill comes later.
    sa.Column("prepaid", sa.Boolean, nullable=False, server_default=sa.true()),
    *_limits(),
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("organization_id", sa.String(64), sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("price_group", sa.String(64), nullable=False),
    sa.Column("route_group", sa.String(64), nullable=False),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    *_limits(),
    sa.UniqueConstraint("organization_id", "name"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("organization_id", sa.String(64), sa.ForeignKey("organizations.id"), nullable=False, index=True),
    sa.Column("project_id", sa.String(64), sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    # HMAC-SHA256 in hex of the key or, of an imported one, of its SHA-256; the key itself is nowhere.
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("pepper_id", sa.String(16), nullable=False),
    sa.Column("last_four", sa.String(4), nullable=False),
    # A JSON list of models, or null for all.
    sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
    # JSON lists of endpoints and networks, or null for no list.
    sa.Column("endpoints", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("cidrs", sa.JSON(none_as_null=True), nullable=True),
    # Words in alphabetic order, divided by commas, as they travel with each request.
    sa.Column("tags", sa.String(400), nullable=False, server_default=""),
    # Whose it is; budgets count by it.
    sa.Column("member", sa.String(100), nullable=False, server_default=""),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    sa.Column("revoked_at_us", sa.BigInteger, nullable=False),
    sa.Column("expires_at_us", sa.BigInteger, nullable=False),
    *_limits(),
)

access_tokens = sa.Table(
    "access_tokens",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("pepper_id", sa.String(16), nullable=False),
    sa.Column("last_four", sa.String(4), nullable=False),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
    sa.Column("revoked_at_us", sa.BigInteger, nullable=False),
)

declared = sa.Table(
    "declared",
    metadata,
    sa.Column("owner", sa.String(300), primary_key=True),
    sa.Column("resources", sa.LargeBinary, nullable=False),
    sa.Column("updated_at_us", sa.BigInteger, nullable=False),
)

config_documents = sa.Table(
    "config_documents",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("created_at_us", sa.BigInteger, nullable=False),
)

config_versions = sa.Table(
    "config_versions",
    metadata,
    # The change that put it in force.
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(71), sa.ForeignKey("config_documents.digest"), nullable=False),
    sa.Column("published_at_us", sa.BigInteger, nullable=False),
)

# One row that every change updates, so that sequences become visible in their order.
change_counter = sa.Table(
    "change_counter",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    # key, version, tenant (one was made), or project or organization (its limits changed).
    sa.Column("kind", sa.String(16), nullable=False),
    # Of a key; the id of a project or an organization.
    sa.Column("key_hash", sa.String(64), nullable=False),
    sa.Column("changed_at_us", sa.BigInteger, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("done_at_us", sa.BigInteger, nullable=False),
)
