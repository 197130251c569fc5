"""Rows of the usage store: what a judged event, its adjustment, a mismatch and a poisonous record look like at rest.

Amounts are `Decimal` with twelve places, made from pico-units without rounding. Times are microseconds since the epoch.
"""

import functools
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import compress
from operator import attrgetter
from typing import Any, Final, overload

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
_SOURCE: Final = {events.EVENT_SOURCE_ROUTER: "router", events.EVENT_SOURCE_WITNESS: "witness"}
IDS: Final = ("event_id", "corrects_event_id")
AMOUNTS: Final = ("charge", "cost", "loss")
# Fields that are columns as they are.
_OF_EVENT: Final = (
    *("attempt", "replay", "final", "estimated", "trace_kept", "model", "requested_model", "fallback_reason"),
    *("upstream_model", "provider", "channel", "stream", "error_kind", "media_job_id", "currency", "unpriced"),
    *("price_digest", "config_digest"),
)
_OF_TENANT: Final = ("organization_id", "project_id", "api_key_id", "tags", "price_group")
_OF_TIMINGS: Final = ("upstream_started_us", "first_byte_us", "total_us")
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


class Block(Sequence[Row]):
    """Rows by column, as they are inserted; read one by one they are `Row`s.

    In `columns` amounts are integers in pico-units, ids 16 bytes, times microseconds; all columns have one length.
    """

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["event_id"])

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        row = {name: values[index] for name, values in self.columns.items()}
        for name in IDS:
            row[name] = uuid.UUID(bytes=row[name])
        for name in AMOUNTS:
            row[name] = to_decimal(row[name])
        return row

    def without(self, places: AbstractSet[tuple[int, int]]) -> "Block":
        """Returns the rows whose (offset, index) is none of `places`."""
        lineage = zip(self.columns["src_offset"], self.columns["src_index"], strict=True)
        kept = [place not in places for place in lineage]
        return Block({name: list(compress(values, kept)) for name, values in self.columns.items()})


def rows_of(judged: Sequence[Judged], bounds: Bounds, ingested_us: int) -> Block:
    """Returns the rows of a batch: each event's, then the adjustments that they cause."""
    columns = _usage_columns(judged, bounds, ingested_us)
    for one in judged:
        if one.corrects is not None:
            row = _adjustment_row(one.corrects, one.event, bounds, ingested_us)
            for name, values in columns.items():
                values.append(row[name])
    return Block(columns)


def _usage_columns(judged: Sequence[Judged], bounds: Bounds, ingested_us: int) -> dict[str, list[Any]]:
    """Returns a list of each column: a loop for one field costs a fifth of a dictionary for each row."""
    count = len(judged)
    events_of = [one.event for one in judged]
    messages = [event.message for event in events_of]
    usages = [message.usage for message in messages]
    timings = [message.timings for message in messages]
    tenants = [message.tenant for message in messages]
    columns: dict[str, list[Any]] = {
        "event_id": [event.event_id for event in events_of],
        "kind": ["usage"] * count,
        "corrects_event_id": [NO_EVENT.bytes] * count,
        "request_id": [event.request_id for event in events_of],
        "try": [event.number_of_try for event in events_of],
        "source": [_SOURCE[message.source] for message in messages],
        "status": [_STATUS[message.status] for message in messages],
        "superseded": [one.lost for one in judged],
        "trace_id": [trace_id_of(message.traceparent) for message in messages],
        "started_at": [message.started_at_us for message in messages],
        "ended_at": [message.ended_at_us for message in messages],
        "logged_at": [event.at_us for event in events_of],
        "ingested_at": [ingested_us] * count,
        "dialect": [_name(wire.Dialect, message.dialect, "DIALECT_") for message in messages],
        "operation": [_name(wire.Operation, message.operation, "OPERATION_") for message in messages],
        "outcome": [_name(wire.Outcome, message.outcome, "OUTCOME_") for message in messages],
        "upstream_status": [min(message.upstream_status, 65_535) for message in messages],
        "routing": [_routing(message) for message in messages],
        "images": [sum(image.count for image in usage.images) for usage in usages],
        "extra_units": [_extra_units(event) for event in events_of],
        "service_tier": [usage.service_tier for usage in usages],
        "charge": [one.charge_pico for one in judged],
        "cost": [message.cost_pico for message in messages],
        "loss": [one.event.message.cost_pico if one.lost else 0 for one in judged],
        "requests": [usage.requests for usage in usages],
        "batch": [bounds.batch] * count,
        "src_epoch": [bounds.epoch] * count,
        "src_topic": [bounds.topic] * count,
        "src_partition": [bounds.partition] * count,
        "src_offset": [event.offset for event in events_of],
        "src_index": [0] * count,
    }
    for names, parts in ((_OF_EVENT, messages), (_OF_TENANT, tenants), (_OF_TIMINGS, timings), (TOKEN_FIELDS, usages)):
        for name in names:
            columns[name] = list(map(attrgetter(name), parts))
    return columns


def _extra_units(event: Event) -> dict[str, int]:
    """Returns the units that have no column of their own."""
    usage = event.message.usage
    if not usage.images and not usage.units:
        return {}
    return {name: count for name, count in event.units.items() if ":" in name or name in usage.units}


def _routing(message: events.UsageRecorded) -> str:
    """Returns the explanation of a request that fell back as JSON, or nothing."""
    if not message.HasField("routing"):
        return ""
    return str(MessageToJson(message.routing, preserving_proto_field_name=True, indent=None))


def _adjustment_row(booked: Booked, cause: Event, bounds: Bounds, ingested_us: int) -> Row:
    """Takes a booked final's charge back and moves its cost to loss; it repeats the rest, so that sums can subtract.

    Its values are those of a block's columns.
    """
    before: Any = booked.row
    return dict(before) | {
        "event_id": adjustment_id(booked.event_id).bytes,
        "kind": "adjustment",
        "corrects_event_id": booked.event_id,
        "charge": -to_pico(before["charge"]),
        "cost": 0,
        "loss": to_pico(before["cost"]),
        "logged_at": cause.at_us,
        "ingested_at": ingested_us,
        "batch": bounds.batch,
        "src_epoch": bounds.epoch,
        "src_topic": bounds.topic,
        "src_partition": bounds.partition,
        "src_offset": cause.offset,
        "src_index": 1,
    }


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


@functools.lru_cache(maxsize=256)
def _name(kind: Any, value: int, prefix: str) -> str:
    """Returns the enum's name in lower case; a value of a newer release keeps its number."""
    try:
        return str(kind.Name(value)).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
