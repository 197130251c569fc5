"""Refused requests, as rows of the request log. What cannot be used is told apart and never guessed at."""

import uuid
from typing import Final

from google.protobuf.message import DecodeError

from tollgate.events.v1 import refused_pb2 as events
from tollgate_billing.domain.event import DAY_US
from tollgate_billing.domain.rows import Row
from tollgate_billing.errors import Poison

# Any constant will do; it must never change, since answers are paged by these ids.
_REFUSALS: Final = uuid.UUID("6e6b1a0c-1f0a-4d0e-8e52-9b7a3d1c5a44")
_HOUR_US: Final = 3600 * 1_000_000
_MAX_ROWS: Final = 10_000
_MAX_NAME: Final = 256
_MAX_TAGS: Final = 1_000
_MAX_MESSAGE: Final = 2_000
_TEXTS: Final = (
    *("request_id", "trace_id", "organization_id", "project_id", "api_key_id", "member", "route", "operation", "model"),
)
_COLUMNS: Final = (*_TEXTS, "tags", "stream", "code", "message", "request_bytes", "left_out")
_UINT32_MAX: Final = 2**32 - 1
_UINT63_MAX: Final = 2**63 - 1


def refused_id(request_id: str) -> uuid.UUID:
    """Returns the id of the one row that a refused request has."""
    return uuid.uuid5(_REFUSALS, request_id)


def refused_rows(value: bytes, at_us: int, days: int) -> list[Row]:
    """Returns the rows of a record that was appended at `at_us`, to be kept for so many days. Raises Poison."""
    try:
        message = events.RequestsRefused.FromString(value)
    except DecodeError as error:
        raise Poison(f"not a RequestsRefused message: {error}") from error
    if len(message.requests) > _MAX_ROWS:
        raise Poison(f"{len(message.requests)} requests in one record, more than {_MAX_ROWS}")
    for one in message.requests:
        _check(one, at_us)
    return [_row(one, days) for one in message.requests]


def _check(one: events.RequestRefused, at_us: int) -> None:
    if not one.request_id:
        raise Poison("a refused request has an id")
    for name in (*_TEXTS, "code"):
        if len(getattr(one, name)) > _MAX_NAME:
            raise Poison(f"{name} is longer than {_MAX_NAME} characters")
    if len(one.tags) > _MAX_TAGS:
        raise Poison(f"tags are longer than {_MAX_TAGS} characters")
    if len(one.message) > _MAX_MESSAGE:
        raise Poison(f"message is longer than {_MAX_MESSAGE} characters")
    # Days of the table are partitions, of which one block may have only so many.
    if not at_us - 8 * DAY_US <= one.refused_at_us <= at_us + _HOUR_US:
        raise Poison(f"refused_at_us {one.refused_at_us} is more than 8 days before or an hour after {at_us}")
    if not 400 <= one.status <= 599:
        raise Poison(f"status is {one.status}, which is none of an error")
    if max(one.request_bytes, one.left_out) > _UINT63_MAX:
        raise Poison("a count is beyond 63 bits")


def _row(one: events.RequestRefused, days: int) -> Row:
    return {name: getattr(one, name) for name in _COLUMNS} | {
        "event_id": refused_id(one.request_id).bytes,
        "refused_at": one.refused_at_us,
        "http_status": one.status,
        "total_us": min(one.total_us, _UINT32_MAX),
        "kept_until": (one.refused_at_us + days * DAY_US) // 1_000_000,
    }
