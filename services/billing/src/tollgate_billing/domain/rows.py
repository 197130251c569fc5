"""Rows of the usage store: what a judged event, its adjustment, a mismatch and a poisonous record look like at rest.

Amounts are `Decimal` with twelve places, made from pico-units without rounding. Times are microseconds since the epoch.
"""

import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from google.protobuf.json_format import MessageToJson

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import TOKEN_FIELDS, Event
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked, Judged

Row = dict[str, Any]

NO_EVENT: Final = uuid.UUID(int=0)
# Any constant will do; it must never change, since an adjustment is recognised by its id.
_ADJUSTMENTS: Final = uuid.UUID("b4a0c2f5-6d1e-4b60-9a53-0d7d1c2f8e11")
_STATUS: Final = {
    events.EVENT_STATUS_CONFIRMED: "confirmed",
    events.EVENT_STATUS_UNCONFIRMED: "unconfirmed",
    events.EVENT_STATUS_WITNESS: "witness",
}
STATUS_RANKS: Final = {"witness": 0, "unconfirmed": 1, "confirmed": 2}
_PLACES: Final = -12


def to_decimal(pico: int) -> Decimal:
    """Returns pico-units as an amount of the currency, exactly."""
    sign, digits = (1, -pico) if pico < 0 else (0, pico)
    return Decimal((sign, tuple(map(int, str(digits))), _PLACES))


def to_pico(amount: Decimal) -> int:
    """Returns an amount with up to twelve places in pico-units. Raises ValueError when it has more."""
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or exponent < _PLACES:
        raise ValueError(f"{amount} has more than twelve places")
    value = int("".join(map(str, digits)) or "0") * int(10 ** (exponent - _PLACES))
    return -value if sign else value


def rows_of(judged: Sequence[Judged], bounds: Bounds, ingested_us: int) -> list[Row]:
    """Returns the rows of a batch: each event's, followed by the adjustment that it causes."""
    rows = []
    for one in judged:
        rows.append(_usage_row(one, bounds, ingested_us))
        if one.corrects is not None:
            rows.append(_adjustment_row(one.corrects, one.event, bounds, ingested_us))
    return rows


def _usage_row(judged: Judged, bounds: Bounds, ingested_us: int) -> Row:
    event, message = judged.event, judged.event.message
    usage, timings, tenant = message.usage, message.timings, message.tenant
    row: Row = {
        "event_id": uuid.UUID(bytes=message.event_id),
        "kind": "usage",
        "corrects_event_id": NO_EVENT,
        "request_id": message.request_id,
        "try": event.number_of_try,
        "attempt": message.attempt,
        "source": "witness" if message.source == events.EVENT_SOURCE_WITNESS else "router",
        "status": _STATUS[message.status],
        "replay": message.replay,
        "final": message.final,
        "superseded": judged.lost,
        "estimated": message.estimated,
        "trace_id": trace_id_of(message.traceparent),
        "trace_kept": message.trace_kept,
        "started_at": message.started_at_us,
        "ended_at": message.ended_at_us,
        "logged_at": event.at_us,
        "ingested_at": ingested_us,
        "organization_id": tenant.organization_id,
        "project_id": tenant.project_id,
        "api_key_id": tenant.api_key_id,
        "price_group": tenant.price_group,
        "model": message.model,
        "requested_model": message.requested_model,
        "fallback_reason": message.fallback_reason,
        "upstream_model": message.upstream_model,
        "provider": message.provider,
        "channel": message.channel,
        "dialect": _name(wire.Dialect, message.dialect, "DIALECT_"),
        "operation": _name(wire.Operation, message.operation, "OPERATION_"),
        "stream": message.stream,
        "outcome": _name(wire.Outcome, message.outcome, "OUTCOME_"),
        "upstream_status": min(message.upstream_status, 65_535),
        "error_kind": message.error_kind,
        "media_job_id": message.media_job_id,
        "routing": _routing(message),
        "requests": usage.requests,
        "images": sum(image.count for image in usage.images),
        "extra_units": {name: count for name, count in event.units.items() if name.startswith("image:")},
        "charge": to_decimal(judged.charge_pico),
        "cost": to_decimal(message.cost_pico),
        "loss": to_decimal(message.cost_pico if judged.lost else 0),
        "currency": message.currency,
        "unpriced": message.unpriced,
        "price_digest": message.price_digest,
        "config_digest": message.config_digest,
        "upstream_started_us": timings.upstream_started_us,
        "first_byte_us": timings.first_byte_us,
        "total_us": timings.total_us,
    }
    for name in TOKEN_FIELDS:
        row[name] = getattr(usage, name)
    return row | _lineage(bounds, event.offset, 0)


def _routing(message: events.UsageRecorded) -> str:
    """Returns the explanation of a request that fell back as JSON, or nothing."""
    if not message.HasField("routing"):
        return ""
    return str(MessageToJson(message.routing, preserving_proto_field_name=True, indent=None))


def _adjustment_row(booked: Booked, cause: Event, bounds: Bounds, ingested_us: int) -> Row:
    """Takes a booked final's charge back and moves its cost to loss; it repeats the rest, so that sums can subtract."""
    row = dict(booked.row)
    row.update(
        event_id=adjustment_id(booked.event_id),
        kind="adjustment",
        corrects_event_id=uuid.UUID(bytes=booked.event_id),
        charge=-booked.row["charge"],  # type: ignore[operator]
        cost=to_decimal(0),
        loss=booked.row["cost"],
        logged_at=cause.at_us,
        ingested_at=ingested_us,
    )
    return row | _lineage(bounds, cause.offset, 1)


def adjustment_id(event_id: bytes) -> uuid.UUID:
    """Returns the id of the one adjustment that an event can have."""
    return uuid.uuid5(_ADJUSTMENTS, event_id.hex())


def booked_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Booked]]:
    """Returns what rows of the usage store say about their requests."""
    corrected = {row["corrects_event_id"] for row in rows if row["kind"] == "adjustment"}
    found: dict[str, list[Booked]] = {}
    for row in rows:
        if row["kind"] != "usage":
            continue
        found.setdefault(row["request_id"], []).append(
            Booked(
                event_id=row["event_id"].bytes,
                request_id=row["request_id"],
                final=bool(row["final"]),
                superseded=bool(row["superseded"]) or row["event_id"] in corrected,
                rank=(STATUS_RANKS[row["status"]], row["try"]),
                row=row,
            )
        )
    return found


def trace_id_of(traceparent: str) -> str:
    """Returns the 32 hex digits of a traceparent's trace id, or an empty string."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else ""


def _lineage(bounds: Bounds, offset: int, index: int) -> Row:
    return {
        "batch": bounds.batch,
        "src_epoch": bounds.epoch,
        "src_topic": bounds.topic,
        "src_partition": bounds.partition,
        "src_offset": offset,
        "src_index": index,
    }


def _name(kind: Any, value: int, prefix: str) -> str:
    """Returns the enum's name in lower case; a value of a newer release keeps its number."""
    try:
        return str(kind.Name(value)).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
