"""A usage event, decoded and checked. What does not pass is poison: kept with its bytes, never guessed at."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from google.protobuf.message import DecodeError

from tollgate.events.v1 import usage_pb2 as events
from tollgate_rating import INT64_MAX

DAY_US: Final = 24 * 3600 * 1_000_000
_MAX_AGE_US: Final = 90 * DAY_US
_MAX_AHEAD_US: Final = 3600 * 1_000_000
# So that the sum over the largest batch fits a signed 64-bit number: 922 units of the currency for one event.
MAX_BATCH_EVENTS: Final = 10_000
MAX_AMOUNT_PICO: Final = INT64_MAX // MAX_BATCH_EVENTS
_MAX_UNITS: Final = 2**40
_MAX_NAME: Final = 256
_TOKEN_FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)
TOKEN_FIELDS = _TOKEN_FIELDS
_TOKEN_UNITS: Final = tuple(name.removesuffix("_tokens") for name in _TOKEN_FIELDS)
_TOKENS: Final = attrgetter(*_TOKEN_FIELDS)
_TRY: Final = attrgetter("try")
_SOURCES: Final = frozenset({events.EVENT_SOURCE_ROUTER, events.EVENT_SOURCE_WITNESS})
_STATUS_RANKS: Final = {
    events.EVENT_STATUS_CONFIRMED: 2,
    events.EVENT_STATUS_UNCONFIRMED: 1,
    events.EVENT_STATUS_WITNESS: 0,
}


class Poison(ValueError):  # noqa: N818 - what it is called everywhere else.
    """The record is no usage event that can be booked; the message says why."""


@dataclass(slots=True)
class Event:
    """A decoded event and where in the log it is. `units` are exclusive quantities by the rating's names.

    `exceptional`: earlier events of the request have to be looked up before this one is booked.
    """

    message: events.UsageRecorded
    units: dict[str, int]
    offset: int
    at_us: int
    # Read often: a field of a message is made anew each time that it is asked for.
    event_id: bytes
    request_id: str
    number_of_try: int
    final: bool
    exceptional: bool

    @property
    def rank(self) -> tuple[int, int]:
        """What decides between two finals of a request: the greater one carries the charge."""
        return _STATUS_RANKS[self.message.status], self.number_of_try


def decode(value: bytes, offset: int, at_us: int) -> Event:
    """Returns the event of a record that was appended at `at_us`. Raises Poison."""
    try:
        message = events.UsageRecorded.FromString(value)
    except DecodeError as error:
        raise Poison(f"not a UsageRecorded message: {error}") from error
    tried = _TRY(message)
    _check_identity(message, tried)
    _check_time(message, at_us)
    _check_money(message)
    exceptional = tried > 1 or message.replay or message.status != events.EVENT_STATUS_CONFIRMED
    units = units_of(message)
    return Event(message, units, offset, at_us, message.event_id, message.request_id, tried, message.final, exceptional)


def units_of(message: events.UsageRecorded) -> dict[str, int]:
    """Returns the used quantities by the rating's names: `input`, `cache_read`, `image:1024x1024:high` and so on."""
    usage = message.usage
    units = {name: quantity for name, quantity in zip(_TOKEN_UNITS, _TOKENS(usage), strict=True) if quantity}
    if usage.requests:
        units["request"] = usage.requests
    for image in usage.images:
        name = ":".join(part for part in ("image", image.size, image.quality) if part)
        units[name] = units.get(name, 0) + image.count
    for name, quantity in usage.units.items():
        if quantity:
            units[name] = units.get(name, 0) + quantity
    if units and max(units.values()) > _MAX_UNITS:
        name, quantity = max(units.items(), key=lambda unit: unit[1])
        raise Poison(f"{quantity} of {name} is more than one request can use")
    return units


def _check_identity(message: events.UsageRecorded, tried: int) -> None:
    if len(message.event_id) != 16:
        raise Poison(f"event_id has {len(message.event_id)} bytes, not 16")
    for name, value in (("request_id", message.request_id), ("organization_id", message.tenant.organization_id)):
        if not 0 < len(value) <= _MAX_NAME:
            raise Poison(f"{name} has {len(value)} characters, not 1 to {_MAX_NAME}")
    if message.status not in _STATUS_RANKS:
        raise Poison(f"status is {message.status}, which is none that is known")
    if message.source not in _SOURCES:
        raise Poison(f"source is {message.source}, which is none that is known")
    if not 0 < tried < 256 or message.attempt > 255:
        raise Poison(f"try {tried}, attempt {message.attempt}: not in 1 to 255 and 0 to 255")


def _check_time(message: events.UsageRecorded, at_us: int) -> None:
    started, ended = message.started_at_us, message.ended_at_us
    if not at_us - _MAX_AGE_US <= started <= at_us + _MAX_AHEAD_US:
        raise Poison(f"started_at_us {started} is more than 90 days before or an hour after {at_us}")
    if not started - _MAX_AHEAD_US <= ended <= at_us + _MAX_AHEAD_US:
        raise Poison(f"ended_at_us {ended} does not fit between its start and {at_us}")


def _check_money(message: events.UsageRecorded) -> None:
    charge, cost = message.charge_pico, message.cost_pico
    for name, amount in (("charge_pico", charge), ("cost_pico", cost)):
        if not 0 <= amount <= MAX_AMOUNT_PICO:
            raise Poison(f"{name} is {amount}, not in 0 to {MAX_AMOUNT_PICO}")
    _check_conversion(message)
    if message.hold_pico < 0:
        raise Poison(f"hold_pico is {message.hold_pico}, below 0")
    if charge and not message.final:
        raise Poison("an attempt that is not final has no charge")
    if (charge or cost) and not message.currency:
        raise Poison("an amount has a currency")
    if charge and message.unpriced:
        raise Poison("what has no price has no charge")


def rate_digest_of(message: events.UsageRecorded) -> str:
    """Returns the address of the exchange rate that a charge was converted by; empty where it was not."""
    # Most were not, and a message that is not there is costly to read.
    return message.conversion.rate_digest if message.HasField("conversion") else ""


def _check_conversion(message: events.UsageRecorded) -> None:
    if not message.HasField("conversion"):
        return
    converted = message.conversion
    for name, amount in (("list", converted.list_charge_pico), ("provider", converted.provider_cost_pico)):
        if not 0 <= amount <= MAX_AMOUNT_PICO:
            raise Poison(f"the amount before its conversion ({name}) is {amount}, not in 0 to {MAX_AMOUNT_PICO}")
    if not converted.list_currency or not converted.provider_currency:
        raise Poison("an amount that was converted has a currency")
