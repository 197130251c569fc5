"""A usage event, decoded and checked. What does not pass is poison: kept with its bytes, never guessed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Final

from google.protobuf.message import DecodeError

from tollgate.events.v1 import usage_pb2 as events
from tollgate_billing.domain.fields import TOKEN_FIELDS, Fields, fields_of
from tollgate_rating import MAX_CHARGE_PICO

DAY_US: Final = 24 * 3600 * 1_000_000
_MAX_AGE_US: Final = 90 * DAY_US
_MAX_AHEAD_US: Final = 3600 * 1_000_000
MAX_AMOUNT_PICO: Final = MAX_CHARGE_PICO
MAX_BATCH_EVENTS: Final = 50_000
_MAX_UNITS: Final = 2**40
_MAX_NAME: Final = 256
_TOKEN_UNITS: Final = tuple(name.removesuffix("_tokens") for name in TOKEN_FIELDS)
_SOURCES: Final[frozenset[int]] = frozenset({events.EVENT_SOURCE_ROUTER, events.EVENT_SOURCE_WITNESS})
_STATUS_RANKS: Final[Mapping[int, int]] = {
    events.EVENT_STATUS_CONFIRMED: 2,
    events.EVENT_STATUS_UNCONFIRMED: 1,
    events.EVENT_STATUS_WITNESS: 0,
}


class Poison(ValueError):  # noqa: N818 - what it is called everywhere else.
    """The record is no usage event that can be booked; the message says why."""


@dataclass(slots=True)
class Event:
    """A decoded event and where in the log it is. `units` are exclusive quantities by the rating's names.

    `exceptional`: earlier events of the request have to be looked up before this one is booked. `fields` has what of
    the message is a plain value, and what few messages have is asked for once: a part of a message is made anew each
    time. `counted`: it has images or units of other names than those of tokens. `converted`: by an exchange rate.
    """

    message: events.UsageRecorded
    fields: Fields
    units: dict[str, int]
    offset: int
    at_us: int
    exceptional: bool
    counted: bool
    converted: bool

    @property
    def event_id(self) -> bytes:
        return self.fields.event_id

    @property
    def request_id(self) -> str:
        return self.fields.request_id

    @property
    def number_of_try(self) -> int:
        return self.fields.number_of_try

    @property
    def final(self) -> bool:
        return self.fields.final

    @property
    def rate_digest(self) -> str:
        """The address of the exchange rate that the charge was converted by; empty where it was not."""
        return self.message.conversion.rate_digest if self.converted else ""

    @property
    def rank(self) -> tuple[int, int]:
        """What decides between two finals of a request: the greater one carries the charge."""
        return _STATUS_RANKS[self.fields.status], self.fields.number_of_try


def decode(value: bytes, offset: int, at_us: int) -> Event:
    """Returns the event of a record that was appended at `at_us`. Raises Poison."""
    try:
        message = events.UsageRecorded.FromString(value)
    except DecodeError as error:
        raise Poison(f"not a UsageRecorded message: {error}") from error
    fields = fields_of(message)
    _check_identity(fields)
    _check_time(fields, at_us)
    _check_money(fields)
    if converted := message.HasField("conversion"):
        _check_conversion(message)
    exceptional = fields.number_of_try > 1 or fields.replay or fields.status != events.EVENT_STATUS_CONFIRMED
    units, counted = units_of(message, fields)
    return Event(message, fields, units, offset, at_us, exceptional, counted, converted)


def units_of(message: events.UsageRecorded, fields: Fields) -> tuple[dict[str, int], bool]:
    """Returns the used quantities by the rating's names, and whether there are others than tokens and requests.

    Names are `input`, `cache_read`, `image:1024x1024:high` and so on.
    """
    tokens = fields.tokens
    units = dict(zip(compress(_TOKEN_UNITS, tokens), filter(None, tokens), strict=True))
    if fields.requests:
        units["request"] = fields.requests
    usage = message.usage
    images, others = usage.images, usage.units
    # Most have neither, and asking costs less than going through nothing.
    counted = bool(images or others)
    if counted:
        for image in images:
            name = ":".join(part for part in ("image", image.size, image.quality) if part)
            units[name] = units.get(name, 0) + image.count
        for name, quantity in others.items():
            if quantity:
                units[name] = units.get(name, 0) + quantity
    if units and max(units.values()) > _MAX_UNITS:
        name, quantity = max(units.items(), key=lambda unit: unit[1])
        raise Poison(f"{quantity} of {name} is more than one request can use")
    return units, counted


def _check_identity(fields: Fields) -> None:
    if len(fields.event_id) != 16:
        raise Poison(f"event_id has {len(fields.event_id)} bytes, not 16")
    if not (0 < len(fields.request_id) <= _MAX_NAME and 0 < len(fields.organization_id) <= _MAX_NAME):
        names = {"request_id": fields.request_id, "organization_id": fields.organization_id}
        name, value = next((name, value) for name, value in names.items() if not 0 < len(value) <= _MAX_NAME)
        raise Poison(f"{name} has {len(value)} characters, not 1 to {_MAX_NAME}")
    if fields.status not in _STATUS_RANKS:
        raise Poison(f"status is {fields.status}, which is none that is known")
    if fields.source not in _SOURCES:
        raise Poison(f"source is {fields.source}, which is none that is known")
    if not 0 < fields.number_of_try < 256 or fields.attempt > 255:
        raise Poison(f"try {fields.number_of_try}, attempt {fields.attempt}: not in 1 to 255 and 0 to 255")


def _check_time(fields: Fields, at_us: int) -> None:
    started, ended = fields.started_at_us, fields.ended_at_us
    if not at_us - _MAX_AGE_US <= started <= at_us + _MAX_AHEAD_US:
        raise Poison(f"started_at_us {started} is more than 90 days before or an hour after {at_us}")
    if not started - _MAX_AHEAD_US <= ended <= at_us + _MAX_AHEAD_US:
        raise Poison(f"ended_at_us {ended} does not fit between its start and {at_us}")


def _check_money(fields: Fields) -> None:
    charge, cost = fields.charge_pico, fields.cost_pico
    if not (0 <= charge <= MAX_AMOUNT_PICO and 0 <= cost <= MAX_AMOUNT_PICO):
        amounts = {"charge_pico": charge, "cost_pico": cost}
        name, amount = next((name, one) for name, one in amounts.items() if not 0 <= one <= MAX_AMOUNT_PICO)
        raise Poison(f"{name} is {amount}, not in 0 to {MAX_AMOUNT_PICO}")
    if fields.hold_pico < 0:
        raise Poison(f"hold_pico is {fields.hold_pico}, below 0")
    if charge and not fields.final:
        raise Poison("an attempt that is not final has no charge")
    if (charge or cost) and not fields.currency:
        raise Poison("an amount has a currency")
    if charge and fields.unpriced:
        raise Poison("what has no price has no charge")


def _check_conversion(message: events.UsageRecorded) -> None:
    converted = message.conversion
    for name, amount in (("list", converted.list_charge_pico), ("provider", converted.provider_cost_pico)):
        if not 0 <= amount <= MAX_AMOUNT_PICO:
            raise Poison(f"the amount before its conversion ({name}) is {amount}, not in 0 to {MAX_AMOUNT_PICO}")
    if not converted.list_currency or not converted.provider_currency:
        raise Poison("an amount that was converted has a currency")
