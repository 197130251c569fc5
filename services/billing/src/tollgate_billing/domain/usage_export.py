"""What an export of usage rows holds."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tollgate_billing.errors import InvalidQuery

_MONTH: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
OPERATORS_COLUMNS: Final = frozenset(
    {"provider", "channel", "upstream_model", "upstream_status", "cost", "loss", "routing", "config_digest"}
    | {"provider_currency", "provider_cost"}
)
COLUMNS: Final = (
    *("event_id", "kind", "corrects_event_id", "request_id", "try", "attempt", "source", "status", "final"),
    *("superseded", "estimated", "trace_id", "started_at", "ended_at", "organization_id", "project_id", "api_key_id"),
    *("tags", "member"),
    *("price_group", "model", "requested_model", "fallback_reason", "upstream_model", "provider", "channel"),
    *("dialect", "operation", "stream", "outcome", "upstream_status", "error_kind", "media_job_id", "routing"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens"),
    *("requests", "images", "extra_units", "charge", "cost", "loss", "currency", "unpriced", "price_digest"),
    *("config_digest", "first_byte_us", "total_us", "rate_digest", "list_currency", "list_charge"),
    *("provider_currency", "provider_cost", "hold"),
)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in UTC."""

    begin: datetime

    @property
    def end(self) -> datetime:
        return (self.begin + timedelta(days=32)).replace(day=1)

    def days(self) -> list[tuple[datetime, datetime]]:
        """Returns begin and end of each day."""
        count = (self.end - self.begin).days
        return [(self.begin + timedelta(days=day), self.begin + timedelta(days=day + 1)) for day in range(count)]


def read_month(text: str) -> Month:
    """Returns the month that is written as 2026-11. Raises InvalidQuery."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise InvalidQuery(f"'month' is a month such as 2026-11, not '{text[:40]}'")
    return Month(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))


def exported_columns(*, operator: bool) -> list[str]:
    """Returns what an export holds; what says how we buy is for operators."""
    return [name for name in COLUMNS if operator or name not in OPERATORS_COLUMNS]
