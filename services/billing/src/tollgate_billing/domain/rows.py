"""Rows of the usage store: what a judged event, its adjustment, a mismatch and a poisonous record look like at rest.

Amounts are `Decimal` with twelve places, made from pico-units without rounding. Times are microseconds since the epoch.
"""

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from itertools import compress
from typing import Any, Final, overload

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.event import ESTIMATE, Event, repeated_id
from tollgate_billing.domain.fields import TOKEN_FIELDS, Columns, columns_of
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked, Judged, LogPlace

Row = dict[str, Any]

NO_EVENT: Final = uuid.UUID(int=0)
# Any constant will do; it must never change, since an adjustment is recognised by its id.
_ADJUSTMENTS: Final = uuid.UUID("b4a0c2f5-6d1e-4b60-9a53-0d7d1c2f8e11")
_STATUS: Final[Mapping[int, str]] = {
    events.EVENT_STATUS_CONFIRMED: "confirmed",
    events.EVENT_STATUS_UNCONFIRMED: "unconfirmed",
    events.EVENT_STATUS_WITNESS: "witness",
    events.EVENT_STATUS_SETTLED: "settled",
    events.EVENT_STATUS_REPEATED: "repeated",
}
_SOURCE: Final[Mapping[int, str]] = {
    events.EVENT_SOURCE_ROUTER: "router",
    events.EVENT_SOURCE_WITNESS: "witness",
    events.EVENT_SOURCE_BILLING: "billing",
}
IDS: Final = ("event_id", "corrects_event_id")
AMOUNTS: Final = ("charge", "cost", "loss", "list_charge", "provider_cost", "hold")
REPEATED: Final = "repeated"
SETTLED: Final = "settled"
STATUS_RANKS: Final = {REPEATED: -2, SETTLED: ESTIMATE, "witness": 0, "unconfirmed": 1, "confirmed": 2}
_PLACES: Final = -12
_NO_UNITS: Final[Mapping[str, int]] = {}


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
    `ready` is what the usage store has made of them beforehand.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns
        self.ready: object = None

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


def rows_of(judged: Sequence[Judged], bounds: Bounds, ingested_us: int, fields: Columns | None = None) -> Block:
    """Returns the rows of a batch: each event's, then the adjustments that they cause.

    `fields` are those of the same events by column, where they are known.
    """
    columns = _usage_columns(judged, bounds, ingested_us, fields or columns_of([one.event.fields for one in judged]))
    adjustments = [
        _adjustment_row(one.corrects, one.event, bounds, ingested_us) for one in judged if one.corrects is not None
    ]
    if adjustments:
        columns = {name: [*values, *(row[name] for row in adjustments)] for name, values in columns.items()}
    return Block(columns)


def _conversion_columns(columns: dict[str, Sequence[Any]], judged: Sequence[Judged]) -> None:
    """Adds what amounts were before they were converted: the same where nothing was."""
    same = {
        "list_currency": "currency",
        "list_charge": "charge",
        "provider_currency": "currency",
        "provider_cost": "cost",
    }
    columns["rate_digest"] = [""] * len(judged)
    for name, source in same.items():
        columns[name] = columns[source]
    converted = [(place, one) for place, one in enumerate(judged) if one.event.converted is not None]
    if not converted:
        return
    changed: dict[str, list[Any]] = {name: list(columns[name]) for name in ("rate_digest", *same)}
    for place, one in converted:
        found = one.event.converted
        assert found is not None
        changed["rate_digest"][place] = found.rate_digest
        changed["list_currency"][place] = found.list_currency
        changed["list_charge"][place] = 0 if one.lost else found.list_charge_pico
        changed["provider_currency"][place] = found.provider_currency
        changed["provider_cost"][place] = found.provider_cost_pico
    columns |= changed


def _usage_columns(
    judged: Sequence[Judged], bounds: Bounds, ingested_us: int, fields: Columns
) -> dict[str, Sequence[Any]]:
    count = len(judged)
    events_of = [one.event for one in judged]
    columns = dict(fields)
    del columns["own_currency"], columns["counted"]
    take = columns.pop
    tokens = list(zip(*take("tokens"), strict=True)) or [()] * len(TOKEN_FIELDS)
    columns |= dict(zip(TOKEN_FIELDS, tokens, strict=True))
    lost = [one.lost for one in judged]
    charges, costs = take("charge_pico"), take("cost_pico")
    counted = [event.counted for event in events_of]
    plain = not any(counted)
    columns |= {
        "kind": ["usage"] * count,
        "corrects_event_id": [NO_EVENT.bytes] * count,
        "try": take("number_of_try"),
        "source": _mapped(take("source"), _SOURCE.__getitem__),
        "status": _mapped(take("status"), _STATUS.__getitem__),
        "superseded": lost,
        "trace_id": [trace_id_of(value) for value in take("traceparent")],
        "started_at": take("started_at_us"),
        "ended_at": take("ended_at_us"),
        "logged_at": [event.at_us for event in events_of],
        "ingested_at": [ingested_us] * count,
        "dialect": _mapped(take("dialect"), functools.partial(_name, wire.Dialect, "DIALECT_")),
        "operation": _mapped(take("operation"), functools.partial(_name, wire.Operation, "OPERATION_")),
        "outcome": _mapped(take("outcome"), functools.partial(_name, wire.Outcome, "OUTCOME_")),
        "upstream_status": _mapped(take("upstream_status"), lambda value: min(value, 65_535)),
        "images": [0] * count if plain else [0 if one is None else one.images for one in counted],
        "extra_units": [_NO_UNITS] * count if plain else [_NO_UNITS if one is None else one.extra for one in counted],
        "charge": [one.charge_pico for one in judged] if any(lost) else charges,
        "cost": costs,
        "loss": [cost if gone else 0 for cost, gone in zip(costs, lost, strict=True)] if any(lost) else [0] * count,
        "hold": take("hold_pico"),
        "batch": [bounds.batch] * count,
        "src_epoch": [bounds.epoch] * count,
        "src_topic": [bounds.topic] * count,
        "src_partition": [bounds.partition] * count,
        "src_offset": [event.offset for event in events_of],
        "src_index": [0] * count,
    }
    _conversion_columns(columns, judged)
    return columns


def _mapped(values: Sequence[Any], change: Callable[[Any], Any]) -> Sequence[Any]:
    """Returns the change of each value, computed once for each that there is."""
    known = {value: change(value) for value in set(values)}
    return [known[value] for value in values]


def _adjustment_row(booked: Booked, cause: Event, bounds: Bounds, ingested_us: int) -> Row:
    """Takes a booked final's charge back and moves its cost to loss; it repeats the rest, so that sums can subtract.

    Of a final that is rated later, or that is there twice, the cost is no loss. What takes a second row of one event
    back is named by the event that does it, since the first row stands. Its values are those of a block's columns.
    """
    before: Any = booked.row
    cost, paid = (to_pico(before[name]) if cause.restates else 0 for name in ("cost", "provider_cost"))
    return dict(before) | {
        "event_id": adjustment_id(booked.event_id).bytes,
        "kind": "adjustment",
        "status": REPEATED if cause.event_id == booked.event_id else before["status"],
        "corrects_event_id": booked.event_id,
        "charge": -to_pico(before["charge"]),
        "cost": -cost,
        "loss": 0 if cause.restates else to_pico(before["cost"]),
        "list_charge": -to_pico(before["list_charge"]),
        "provider_cost": -paid,
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
    corrected = {row["corrects_event_id"].bytes for row in rows if row["kind"] == "adjustment"}
    found: dict[str, list[Booked]] = {}
    # Where an event has rows of several places, its own adjustment is of one of them, the first that nothing else took.
    taken: dict[bytes, LogPlace] = {}
    for row in rows:
        if row["kind"] != "usage":
            continue
        event_id, place = row["event_id"].bytes, log_place(row)
        superseded = bool(row["superseded"])
        if corrected and not superseded:
            superseded = repeated_id(event_id, place) in corrected
            if not superseded and event_id in corrected:
                superseded = taken.setdefault(event_id, place) == place
        found.setdefault(row["request_id"], []).append(
            Booked(
                event_id=event_id,
                request_id=row["request_id"],
                final=bool(row["final"]),
                superseded=superseded,
                rank=(STATUS_RANKS[row["status"]], row["try"]),
                row=row,
                place=place,
            )
        )
    return found


def log_place(row: Mapping[str, Any]) -> LogPlace:
    """Returns where in the log a row's event was: epoch, topic, partition, offset."""
    return row["src_epoch"], row["src_topic"], row["src_partition"], row["src_offset"]


def trace_id_of(traceparent: str) -> str:
    """Returns the 32 hex digits of a traceparent's trace id, or an empty string."""
    if not traceparent:
        return ""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else ""


def _name(kind: Any, prefix: str, value: int) -> str:
    """Returns the enum's name in lower case; a value of a newer release keeps its number."""
    try:
        return str(kind.Name(value)).removeprefix(prefix).lower()
    except ValueError:
        return str(value)
