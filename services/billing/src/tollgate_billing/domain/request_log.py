"""The table of refused requests as analysts read it: its columns with units and meaning, and an example."""

from typing import Final

from tollgate_billing.domain.usage_view import Column

TABLE: Final = "request_log"


def _column(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, unit, operators_only=False, meaning=meaning)


# `kept_until` is left out: when a row goes is nobody's question.
COLUMNS: Final = (
    _column("event_id", "id of the refusal; two rows with the same one are one refusal"),
    _column("request_id", "from the header `x-request-id` of the answer"),
    _column("refused_at", "when it was answered", "UTC"),
    _column("trace_id", "32 digits; empty where the request had none"),
    _column("organization_id", "whose key it was; empty where no key of this gateway was presented"),
    _column("project_id", "the project of the key"),
    _column("api_key_id", "id of the key, never the key itself"),
    _column("tags", "of the key, in alphabetic order, divided by commas"),
    _column("member", "whose key it is, as the operator named them"),
    _column("route", "the path as the API describes it; empty for any other path"),
    _column("operation", "`chat`, `embeddings` and so on; empty where it is none for a model"),
    _column("model", "as the caller wrote it, cut after 256 characters"),
    _column("stream", "1 where a stream was asked for", "0/1"),
    _column("http_status", "of the answer; 499 where the caller went away first"),
    _column("code", "stable code of the error, such as `insufficient_quota`"),
    _column("message", "what the caller was told, cut after 500 characters"),
    _column("request_bytes", "size of the body", "bytes"),
    _column("total_us", "from the last byte of the request to the answer", "µs"),
    _column("left_out", "refusals before this one that were left out of the log", "requests"),
)
EXAMPLE: Final = (
    "SELECT api_key_id, code, count(DISTINCT event_id) AS refused, sum(left_out) AS left_out FROM request_log "
    "WHERE refused_at >= '2026-11-01 00:00:00' GROUP BY api_key_id, code ORDER BY refused DESC, code LIMIT 20"
)
