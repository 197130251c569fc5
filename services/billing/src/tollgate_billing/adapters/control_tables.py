"""Tables of budgets, of who is told, of what looked wrong, and of alerts.

Times are microseconds since the epoch, 0 is never.
"""

from typing import Final

import sqlalchemy as sa

from tollgate_billing.adapters.sql_tables import METADATA

BUDGETS: Final = sa.Table(
    "budgets",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("scope_id", sa.String(256), nullable=False),
    sa.Column("period", sa.String(16), nullable=False),
    sa.Column("days", sa.Integer, nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),
    sa.Column("amount_pico", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    # A JSON list of [percent, action, model].
    sa.Column("thresholds", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("organization_id", "name", name="budgets_name"),
)

# What a budget had taken when it was last evaluated; it can be computed again at any time.
BUDGET_STATES: Final = sa.Table(
    "budget_states",
    METADATA,
    sa.Column("budget_id", sa.String(64), primary_key=True),
    sa.Column("window_name", sa.String(16), nullable=False),
    sa.Column("begin_us", sa.BigInteger, nullable=False),
    sa.Column("end_us", sa.BigInteger, nullable=False),
    sa.Column("spent_pico", sa.BigInteger, nullable=False),
    sa.Column("reached_percent", sa.Integer, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("opens_us", sa.BigInteger, nullable=False),
    sa.Column("evaluated_us", sa.BigInteger, nullable=False, index=True),
)

# Each threshold of a window is told once.
BUDGET_CROSSINGS: Final = sa.Table(
    "budget_crossings",
    METADATA,
    sa.Column("budget_id", sa.String(64), primary_key=True),
    sa.Column("window_name", sa.String(16), primary_key=True),
    sa.Column("percent", sa.Integer, primary_key=True),
    sa.Column("action", sa.String(16), primary_key=True),
    sa.Column("crossed_us", sa.BigInteger, nullable=False),
)

DESTINATIONS: Final = sa.Table(
    "notify_destinations",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    # Empty: of operators, for what concerns any organization.
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    # Empty since what they held is sealed, both as one JSON object; a release before that wrote them.
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("sealed", sa.Text, nullable=False, server_default=""),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),
    sa.Column("quiet_begin", sa.Integer, nullable=False),
    sa.Column("quiet_end", sa.Integer, nullable=False),
    sa.Column("digest_minutes", sa.Integer, nullable=False),
    # A JSON list.
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)

NOTICES: Final = sa.Table(
    "notices",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("destination_id", sa.String(64), nullable=False),
    # What it is told once under.
    sa.Column("fact_key", sa.String(512), nullable=False),
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("about", sa.String(16), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # Of the message that it travels in; empty before the first attempt.
    sa.Column("message_id", sa.String(64), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("due_us", sa.BigInteger, nullable=False),
    # Until when somebody is sending it.
    sa.Column("leased_us", sa.BigInteger, nullable=False),
    sa.Column("sent_us", sa.BigInteger, nullable=False),
    sa.Column("problem", sa.String(500), nullable=False),
    sa.UniqueConstraint("destination_id", "fact_key", name="notices_once"),
    sa.Index("ix_notices_due", "state", "due_us"),
)

ANOMALIES: Final = sa.Table(
    "anomalies",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    # Kind, key, subject and day.
    sa.Column("fact_key", sa.String(700), nullable=False, unique=True),
    sa.Column("organization_id", sa.String(256), nullable=False, index=True),
    sa.Column("project_id", sa.String(256), nullable=False),
    sa.Column("api_key_id", sa.String(256), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(256), nullable=False),
    # A JSON object.
    sa.Column("numbers", sa.Text, nullable=False),
    sa.Column("hour_us", sa.BigInteger, nullable=False),
    sa.Column("found_us", sa.BigInteger, nullable=False),
)

# What is or was wrong with the books, and when operators were told.
OPERATOR_ALERTS: Final = sa.Table(
    "operator_alerts",
    METADATA,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("subject", sa.String(200), primary_key=True),
    sa.Column("mark", sa.String(64), nullable=False),
    sa.Column("told_us", sa.BigInteger, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
)
