"""The ledger's tables. Transfers are never changed; `accounts` keeps their sums, written in the same transaction."""

from typing import Any, Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()

# An organization has one currency, that of its first transfer.
ORGANIZATIONS: Final = sa.Table(
    "organizations",
    METADATA,
    sa.Column("organization_id", sa.String(256), primary_key=True),
    sa.Column("currency", sa.String(3), nullable=False),
    # How far below zero its money may go.
    sa.Column("credit_line_pico", sa.BigInteger, nullable=False, server_default="0"),
)

# Revenue and funding only grow, beyond int64 in the end: SQLite would go on with a float and PostgreSQL refuse. A
# balance is therefore `balance_parts` of these pico-units and `balance_pico`, which is always nearer to 0 than one
# part, so that adding two of them stays within int64. It is larger than nearly all balances, which need no parts.
PART_PICO: Final = 4 * 10**18

# `balance_pico` is credits less debits, less what is in `balance_parts`.
ACCOUNTS: Final = sa.Table(
    "accounts",
    METADATA,
    sa.Column("organization_id", sa.String(256), primary_key=True),
    sa.Column("account", sa.String(32), primary_key=True),
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("balance_pico", sa.BigInteger, nullable=False),
    sa.Column("balance_parts", sa.BigInteger, nullable=False, server_default="0"),
)


def whole_balance(row: Any) -> int:
    """Returns the balance of a row of `accounts`, in pico-units."""
    return int(row.balance_parts) * PART_PICO + int(row.balance_pico)


def parts_of(balance: int) -> dict[str, int]:
    """Returns a balance, or a change of one, as its columns."""
    parts, rest = divmod(abs(balance), PART_PICO)
    return (
        {"balance_parts": parts, "balance_pico": rest}
        if balance >= 0
        else {
            "balance_parts": -parts,
            "balance_pico": -rest,
        }
    )


TRANSFERS: Final = sa.Table(
    "transfers",
    METADATA,
    sa.Column("transfer_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("batch", sa.String(512), nullable=False),
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("project_id", sa.String(256), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("price_digest", sa.String(128), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("debit", sa.String(32), nullable=False),
    sa.Column("credit", sa.String(32), nullable=False),
    sa.Column("amount_pico", sa.BigInteger, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("reason", sa.String(256), nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    # The exchange rate that requests were converted by; empty for all other money.
    sa.Column("rate_digest", sa.String(128), nullable=False, server_default=""),
    sa.CheckConstraint("amount_pico > 0", name="transfers_amount"),
    sa.CheckConstraint("debit <> credit", name="transfers_accounts"),
    sa.UniqueConstraint(
        *("batch", "organization_id", "project_id", "model", "price_digest", "currency", "debit", "credit"),
        "rate_digest",
        name="transfers_once",
    ),
    sa.Index("ix_transfers_organization", "organization_id", "transfer_id"),
)

# The last batch of each partition of the event log, and what it does to wallets.
SOURCES: Final = sa.Table(
    "sources",
    METADATA,
    sa.Column("source", sa.String(512), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("high", sa.BigInteger, nullable=False),
    sa.Column("batch", sa.String(512), nullable=False),
    sa.Column("effects", sa.Text, nullable=False),
)

# Finals that nobody confirmed, for as long as a better one may come.
EXCEPTIONS: Final = sa.Table(
    "open_exceptions",
    METADATA,
    sa.Column("request_id", sa.String(256), primary_key=True),
    sa.Column("event_id", sa.String(32), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("number_of_try", sa.Integer, nullable=False),
    sa.Column("logged_us", sa.BigInteger, nullable=False, index=True),
)

# Finals that were compared with others, by event, for as long as one may be sent again: whatever becomes of its row,
# none is booked twice.
FINALS: Final = sa.Table(
    "kept_finals",
    METADATA,
    sa.Column("event_id", sa.String(32), primary_key=True),
    sa.Column("request_id", sa.String(256), nullable=False, index=True),
    sa.Column("source", sa.String(512), nullable=False),
    sa.Column("src_offset", sa.BigInteger, nullable=False),
    sa.Column("started_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("stands", sa.Boolean, nullable=False),
)

GRANTS: Final = sa.Table(
    "grants",
    METADATA,
    sa.Column("idempotency_key", sa.String(256), primary_key=True),
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount_pico", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.String(256), nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)

# What was done under an idempotency key; `content` is JSON.
OPERATIONS: Final = sa.Table(
    "operations",
    METADATA,
    sa.Column("idempotency_key", sa.String(256), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)

# Grants of bonus credit and what is left of each; `expires_us` 0 is never. They add up to the account `bonus`.
BONUSES: Final = sa.Table(
    "bonuses",
    METADATA,
    sa.Column("idempotency_key", sa.String(256), primary_key=True),
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount_pico", sa.BigInteger, nullable=False),
    sa.Column("remaining_pico", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.String(256), nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.CheckConstraint("remaining_pico >= 0 AND remaining_pico <= amount_pico", name="bonuses_remaining"),
    sa.Index("ix_bonuses_left", "organization_id", "remaining_pico"),
)

# What bonus credit paid of an organization's charges in a batch, so that it can come back with them: `charged_pico` is
# less what was taken back since; `draws` is JSON, key and pico-units of each grant, in the order in which it was spent.
BONUS_DRAWS: Final = sa.Table(
    "bonus_draws",
    METADATA,
    sa.Column("batch", sa.String(512), primary_key=True),
    sa.Column("organization_id", sa.String(256), primary_key=True),
    sa.Column("charged_pico", sa.BigInteger, nullable=False),
    sa.Column("draws", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False, index=True),
)

# A code itself is never kept; zeros are never.
CODES: Final = sa.Table(
    "redemption_codes",
    METADATA,
    sa.Column("code_hash", sa.String(64), primary_key=True),
    sa.Column("code_id", sa.String(64), nullable=False, unique=True),
    sa.Column("label", sa.String(256), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount_pico", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("valid_days", sa.Integer, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("expires_us", sa.BigInteger, nullable=False),
    sa.Column("revoked_us", sa.BigInteger, nullable=False),
    sa.Column("redeemed_us", sa.BigInteger, nullable=False),
    sa.Column("redeemed_by", sa.String(256), nullable=False),
)

# How many wrong codes an organization named since a moment.
GUESSES: Final = sa.Table(
    "code_guesses",
    METADATA,
    sa.Column("organization_id", sa.String(256), primary_key=True),
    sa.Column("since_us", sa.BigInteger, nullable=False),
    sa.Column("wrong", sa.Integer, nullable=False),
)

# Money paid in through a provider; `state` is open, paid, failed or refunded.
PAYMENTS: Final = sa.Table(
    "payments",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("idempotency_key", sa.String(256), nullable=False, unique=True),
    sa.Column("organization_id", sa.String(256), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("amount_pico", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("checkout_url", sa.Text, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("changed_us", sa.BigInteger, nullable=False),
    sa.Index("ix_payments_organization", "organization_id", "id"),
)

# A provider's messages that were taken, so that each counts once.
PAYMENT_MESSAGES: Final = sa.Table(
    "payment_messages",
    METADATA,
    sa.Column("webhook_id", sa.String(256), primary_key=True),
    sa.Column("payment_id", sa.String(256), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
)

# Every price book that was ever in force, so that old events can be rated again.
PRICE_BOOKS: Final = sa.Table(
    "price_books",
    METADATA,
    sa.Column("digest", sa.String(128), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)

# The same of exchange rates.
EXCHANGE_RATES: Final = sa.Table(
    "exchange_rates",
    METADATA,
    sa.Column("digest", sa.String(128), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)
