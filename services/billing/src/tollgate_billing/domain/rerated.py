"""The event that gives a final without a price its charge: the same usage, by a price book that has all its prices.

It goes through the log as every event does, so that what it corrects is taken back by the one kind of adjustment that
there is, and money moves once, whoever is killed on the way.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import Parse

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.routing.v1.explanation_pb2 import Explanation
from tollgate_billing.domain.event import TOKEN_UNITS, rerated_id
from tollgate_billing.domain.rows import Row, to_pico
from tollgate_billing.domain.used_units import units_of_row
from tollgate_rating import (
    REQUEST,
    ChannelCost,
    ModelPrice,
    RatingError,
    Unpriced,
    billed_tokens,
    counts_pictures,
)

_IMAGE: Final = "image"
_WITNESS: Final = "witness"
_SAME: Final = (
    *("request_id", "attempt", "estimated", "started_at_us", "ended_at_us", "model", "requested_model"),
    *("fallback_reason", "upstream_model", "provider", "channel", "stream", "upstream_status", "error_kind"),
    *("media_job_id", "client_network", "prompt_hash", "config_digest", "trace_kept", "final"),
)
_OF_TENANT: Final = ("organization_id", "project_id", "api_key_id", "price_group", "tags", "member")
_OF_TIMINGS: Final = ("upstream_started_us", "first_byte_us", "total_us")


@dataclass(frozen=True, slots=True)
class Rated:
    """What a row comes to by `price`, in pico-units of its currency; `paid` is the price that the cost is of.

    None where nobody knows what it cost.
    """

    price: ModelPrice
    units: Mapping[str, int]
    charge_pico: int
    cost_pico: int
    paid: ModelPrice | None


def rate_row(row: Row, price: ModelPrice, listed: ModelPrice | None, cost: ChannelCost | None) -> Rated:
    """Returns what a row's usage is charged and costs, as whoever wrote the event would have said. Raises RatingError.

    `cost` is what the channel's account pays where it does not pay the list price.
    """
    units = _units(row, price)
    charge = _rate(row, price)
    if row["source"] == _WITNESS:
        # Edge does not know who was called.
        return Rated(price, units, charge, 0, None)
    account = listed if cost is None else cost.price(row["model"], listed)
    for paid in (account, listed):
        if paid is None or paid is price:
            continue
        try:
            return Rated(price, units, charge, _rate(row, paid), paid)
        except RatingError:
            continue
    return Rated(price, units, charge, charge, price)


def rerated_event(row: Row, rated: Rated) -> events.UsageRecorded:
    """Returns the event that takes the place of a row's."""
    price = rated.price
    event = events.UsageRecorded(
        event_id=rerated_id(row["event_id"].bytes),
        source=events.EVENT_SOURCE_BILLING,
        status=_value(events.EventStatus, "EVENT_STATUS_", row["status"]),
        replay=True,
        dialect=_value(wire.Dialect, "DIALECT_", row["dialect"]),
        operation=_value(wire.Operation, "OPERATION_", row["operation"]),
        outcome=_value(wire.Outcome, "OUTCOME_", row["outcome"]),
        tenant=wire.Tenant(
            currency=price.currency,
            limits=[wire.Limit(**limit) for limit in json.loads(row["limits"] or "[]")],
            **{name: row[name] for name in _OF_TENANT},
        ),
        usage=_usage(rated.units, row["service_tier"]),
        charge_pico=rated.charge_pico,
        cost_pico=rated.cost_pico,
        currency=price.currency,
        price_digest=price.digest,
        hold_pico=to_pico(row["hold"]),
        # The trace, and no span of it: nobody called a provider again.
        traceparent=f"00-{row['trace_id']}-{'0' * 16}-00" if row["trace_id"] else "",
        timings=wire.Timings(**{name: row[name] for name in _OF_TIMINGS}),
        **{name: row[name] for name in _SAME},
        **{"try": row["try"]},
    )
    if price.exchange is not None:
        event.conversion.CopyFrom(_conversion(row, rated))
    if row["routing"]:
        event.routing.CopyFrom(Parse(row["routing"], Explanation(), ignore_unknown_fields=True))
    return event


def _rate(row: Row, price: ModelPrice) -> int:
    return price.rate(_units(row, price), row["started_at_us"], row["service_tier"])


def _units(row: Row, price: ModelPrice) -> dict[str, int]:
    """Returns what of a row is paid by this price: of pictures either themselves or their tokens."""
    units = units_of_row(row)
    if row["operation"] != _IMAGE:
        return units
    tokens = {unit: count for unit, count in units.items() if unit in TOKEN_UNITS}
    pictures = {unit: count for unit, count in units.items() if unit not in tokens and unit != REQUEST}
    by_picture = counts_pictures(price, tokens, pictures)
    found = dict(billed_tokens(price, tokens, by_picture=by_picture)) | (pictures if by_picture else {})
    if not found:
        raise Unpriced(row["model"], next(iter(pictures), _IMAGE))
    return found | ({REQUEST: units[REQUEST]} if REQUEST in units else {})


def _usage(units: Mapping[str, int], service: str) -> wire.Usage:
    usage = wire.Usage(service_tier=service)
    for unit, count in units.items():
        name, _, rest = unit.partition(":")
        if unit in TOKEN_UNITS:
            setattr(usage, f"{unit}_tokens", count)
        elif unit == REQUEST:
            usage.requests = count
        elif name == _IMAGE:
            size, _, quality = rest.partition(":")
            usage.images.add(size=size, quality=quality, count=count)
        else:
            usage.units[unit] = count
    return usage


def _conversion(row: Row, rated: Rated) -> events.Conversion:
    listed = rated.price.unconverted
    paid = listed if rated.paid is None else rated.paid.unconverted
    return events.Conversion(
        rate_digest=rated.price.rate_digest,
        list_currency=listed.currency,
        list_charge_pico=_rate(row, listed),
        provider_currency=paid.currency,
        provider_cost_pico=0 if rated.paid is None else _rate(row, paid),
    )


def _value(kind: Any, prefix: str, name: str) -> Any:
    """Returns the number of a row's word; what a newer release wrote is its number already."""
    return int(name) if name.isdecimal() else kind.Value(prefix + name.upper())
