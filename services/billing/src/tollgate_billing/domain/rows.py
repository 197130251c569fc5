"""Rows of the usage store: what a judged event, its adjustment, a mismatch and a poisonous record look like at rest.

Amounts are `Decimal` with twelve places, made from pico-units without rounding. Times are microseconds since the epoch.
"""

import functools
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import compress
from typing import Any, Final, overload

from google.protobuf.json_format import MessageToJson

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import Event
from tollgate_billing.domain.fields import TOKEN_FIELDS, Fields
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked, Judged

Row = dict[str, Any]

NO_EVENT: Final = uuid.UUID(int=0)
# Any constant will do; it must never change, since an adjustment is recognised by its id.
_ADJUSTMENTS: Final = uuid.UUID("b4a0c2f5-6d1e-4b60-9a53-0d7d1c2f8e11")
_STATUS: Final[Mapping[int, str]] = {
    events.EVENT_STATUS_CONFIRMED: "confirmed",
    events.EVENT_STATUS_UNCONFIRMED: "unconfirmed",
    events.EVENT_STATUS_WITNESS: "witness",
}
_SOURCE: Final[Mapping[int, str]] = {events.EVENT_SOURCE_ROUTER: "router", events.EVENT_SOURCE_WITNESS: "witness"}
IDS: Final = ("event_id", "corrects_event_id")
AMOUNTS: Final = ("charge", "cost", "loss", "list_charge", "provider_cost", "hold")
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


def _conversion_columns(columns: dict[str, list[Any]], judged: Sequence[Judged]) -> None:
    """Adds what amounts were before they were converted: the same where nothing was."""
    columns["rate_digest"] = [""] * len(judged)
    for name, source in (
        ("list_currency", "currency"),
        ("list_charge", "charge"),
        ("provider_currency", "currency"),
        ("provider_cost", "cost"),
    ):
        columns[name] = list(columns[source])
    for place, one in enumerate(judged):
        if not one.event.converted:
            continue
        found = one.event.message.conversion
        columns["rate_digest"][place] = found.rate_digest
        columns["list_currency"][place] = found.list_currency
        columns["list_charge"][place] = 0 if one.lost else found.list_charge_pico
        columns["provider_currency"][place] = found.provider_currency
        columns["provider_cost"][place] = found.provider_cost_pico


def _limits(event: Event) -> str:
    """Returns what a request was admitted within, as JSON; empty where it had no limits, or this was not its end."""
    limits = event.message.tenant.limits if event.final else ()
    return _limits_of(tuple(limit.SerializeToString() for limit in limits)) if limits else ""


@functools.lru_cache(maxsize=4096)
def _limits_of(limits: tuple[bytes, ...]) -> str:
    found = [wire.Limit.FromString(limit).ListFields() for limit in limits]
    plain = [{field.name: value for field, value in fields} for fields in found]
    return json.dumps(plain, separators=(",", ":"), sort_keys=True)


def _usage_columns(judged: Sequence[Judged], bounds: Bounds, ingested_us: int) -> dict[str, list[Any]]:
    """Returns a list of each column: turning all fields at once costs a fifth of a loop for each of them."""
    count = len(judged)
    events_of = [one.event for one in judged]
    columns: dict[str, list[Any]] = dict(zip(Fields._fields, _turned(events_of), strict=True))
    tokens = zip(*columns.pop("tokens"), strict=True) if count else ([] for _ in TOKEN_FIELDS)
    columns |= {name: list(values) for name, values in zip(TOKEN_FIELDS, tokens, strict=True)}
    take = columns.pop
    columns |= {
        "kind": ["usage"] * count,
        "corrects_event_id": [NO_EVENT.bytes] * count,
        "try": take("number_of_try"),
        "source": [_SOURCE[value] for value in take("source")],
        "status": [_STATUS[value] for value in take("status")],
        "superseded": [one.lost for one in judged],
        "trace_id": [trace_id_of(value) for value in take("traceparent")],
        "started_at": take("started_at_us"),
        "ended_at": take("ended_at_us"),
        "logged_at": [event.at_us for event in events_of],
        "ingested_at": [ingested_us] * count,
        "dialect": [_name(wire.Dialect, value, "DIALECT_") for value in take("dialect")],
        "operation": [_name(wire.Operation, value, "OPERATION_") for value in take("operation")],
        "outcome": [_name(wire.Outcome, value, "OUTCOME_") for value in take("outcome")],
        "upstream_status": [min(value, 65_535) for value in take("upstream_status")],
        "routing": [_routing(event.message) for event in events_of],
        "images": [_images(event) for event in events_of],
        "extra_units": [_extra_units(event) for event in events_of],
        "charge": [one.charge_pico for one in judged],
        "cost": take("cost_pico"),
        "loss": [one.event.fields.cost_pico if one.lost else 0 for one in judged],
        "hold": take("hold_pico"),
        "limits": [_limits(event) for event in events_of],
        "batch": [bounds.batch] * count,
        "src_epoch": [bounds.epoch] * count,
        "src_topic": [bounds.topic] * count,
        "src_partition": [bounds.partition] * count,
        "src_offset": [event.offset for event in events_of],
        "src_index": [0] * count,
    }
    del columns["charge_pico"]
    _conversion_columns(columns, judged)
    return columns


def _turned(events_of: Sequence[Event]) -> Iterator[list[Any]]:
    """Yields the values of each field, in the order of `Fields`."""
    if events_of:
        return map(list, zip(*[event.fields for event in events_of], strict=True))
    return ([] for _ in Fields._fields)


def _images(event: Event) -> int:
    return sum(image.count for image in event.message.usage.images) if event.counted else 0


def _extra_units(event: Event) -> dict[str, int]:
    """Returns the units that have no column of their own."""
    if not event.counted:
        return {}
    usage = event.message.usage
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
        "list_charge": -to_pico(before["list_charge"]),
        "provider_cost": 0,
        "hold": 0,
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
    if not traceparent:
        return ""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else ""


@functools.lru_cache(maxsize=256)
def _name(kind: Any, value: int, prefix: str) -> str:
    """Returns the enum's name in lower case; a value of a newer release keeps its number."""
    try:
        return str(kind.Name(value)).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
