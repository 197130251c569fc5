"""A usage event, decoded and checked. What does not pass is poison: kept with its bytes, never guessed at."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_, or_, sub
from typing import Final, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.domain.fields import TOKEN_FIELDS, Columns, Fields, columns_of, fields_of
from tollgate_billing.errors import Poison
from tollgate_rating import MAX_CHARGE_PICO

DAY_US: Final = 24 * 3600 * 1_000_000
# Of what began earlier nothing is booked any more.
MAX_EVENT_DAYS: Final = 90
_MAX_AGE_US: Final = MAX_EVENT_DAYS * DAY_US
_MAX_AHEAD_US: Final = 3600 * 1_000_000
MAX_AMOUNT_PICO: Final = MAX_CHARGE_PICO
MAX_BATCH_EVENTS: Final = 50_000
_MAX_UNITS: Final = 2**40
_MAX_NAME: Final = 256
_MAX_DIGEST: Final = 128
# What the ledger's columns take, in bytes: names together have to fit an entry of an index of PostgreSQL, 2,704 bytes.
# A model may have any letters, so its limit is in characters. SQLite takes all, which hides what is too long.
_TEXTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        ("request_id", "organization_id", "project_id", "api_key_id", "model", "client_network"), _MAX_NAME
    ),
    "price_digest": _MAX_DIGEST,
}
_SHARED_TEXTS: Final = tuple(name for name in _TEXTS if name != "request_id")
# An organization's first currency stays its own for good.
_CURRENCY: Final = re.compile(r"(?:[A-Z]{3})?")
TOKEN_UNITS: Final = tuple(name.removesuffix("_tokens") for name in TOKEN_FIELDS)
_SOURCES: Final[frozenset[int]] = frozenset(
    {events.EVENT_SOURCE_ROUTER, events.EVENT_SOURCE_WITNESS, events.EVENT_SOURCE_BILLING}
)
# Any constants will do; they must never change, since what billing wrote is recognised by its id.
_RERATED: Final = uuid.UUID("5c2f3c1e-2a4f-4f0e-8f0b-7d4f0e6a9b35")
_SETTLED: Final = uuid.UUID("0b1d6c0a-3f55-4c0e-9a52-4b8f6f0d2c71")
_REPEATED: Final = uuid.UUID("e7a9f3d4-92f1-4a7b-8f0c-1d5b7c3e6a28")
# What an estimate is among the statuses, of an event and of a row.
ESTIMATE: Final = -1
_STATUS_RANKS: Final[Mapping[int, int]] = {
    events.EVENT_STATUS_CONFIRMED: 2,
    events.EVENT_STATUS_UNCONFIRMED: 1,
    events.EVENT_STATUS_WITNESS: 0,
    events.EVENT_STATUS_SETTLED: ESTIMATE,
    events.EVENT_STATUS_REPEATED: -2,
}
# Of what billing writes.
_NOT_RERATED: Final = frozenset({events.EVENT_STATUS_SETTLED, events.EVENT_STATUS_REPEATED})


class Record(Protocol):
    """A record of the log: its bytes, its place and when it was appended, in microseconds since the epoch."""

    @property
    def offset(self) -> int: ...
    @property
    def at_us(self) -> int: ...
    @property
    def value(self) -> bytes: ...


class Converted(NamedTuple):
    """What amounts were before an exchange rate converted them, in pico-units."""

    rate_digest: str
    list_currency: str
    list_charge_pico: int
    provider_currency: str
    provider_cost_pico: int


class Counted(NamedTuple):
    """Used quantities by the rating's names, where there are others than tokens and requests.

    `extra` are those that have no column of their own.
    """

    units: dict[str, int]
    images: int
    extra: dict[str, int]


@dataclass(slots=True)
class Event:
    """A decoded event and where in the log it is.

    `exceptional`: earlier events of the request have to be looked up before this one is booked. `fields` has what of
    the message is a plain value, and what few messages have is asked for once.
    """

    fields: Fields
    value: bytes
    offset: int
    at_us: int
    exceptional: bool
    counted: Counted | None
    converted: Converted | None

    @property
    def message(self) -> events.UsageRecorded:
        """The whole message, decoded anew."""
        return events.UsageRecorded.FromString(self.value)

    @property
    def units(self) -> Mapping[str, int]:
        """Exclusive quantities by the rating's names; most events are rated without them."""
        return _units_of(self.fields) if self.counted is None else self.counted.units

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
    def rerated(self) -> bool:
        """Billing wrote it, for a final that had no price."""
        fields = self.fields
        return fields.source == events.EVENT_SOURCE_BILLING and fields.status not in _NOT_RERATED

    @property
    def settled(self) -> bool:
        """Billing wrote it, for a request whose event never came: it charges what a hold was settled with."""
        fields = self.fields
        return fields.source == events.EVENT_SOURCE_BILLING and fields.status == events.EVENT_STATUS_SETTLED

    @property
    def repeated(self) -> bool:
        """Billing wrote it, to take back a final that stands beside another one of its request."""
        return self.fields.status == events.EVENT_STATUS_REPEATED

    @property
    def restates(self) -> bool:
        """What it takes back is no loss: its cost is said anew by this event, or was said twice before."""
        return self.rerated or self.repeated

    @property
    def rate_digest(self) -> str:
        """The address of the exchange rate that the charge was converted by; empty where it was not."""
        return self.converted.rate_digest if self.converted is not None else ""

    @property
    def rank(self) -> tuple[int, int]:
        """What decides between two finals of a request, by `outranks`: the status, then the try."""
        return _STATUS_RANKS[self.fields.status], self.fields.number_of_try


def outranks(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tells whether a final of rank `one` carries the charge where another one of its request has rank `other`.

    With an estimate the try comes first: edge settled that try after it had given up those before it.
    """
    if ESTIMATE in (one[0], other[0]):
        return one[::-1] > other[::-1]
    return one > other


def rerated_id(event_id: bytes) -> bytes:
    """Returns the id of the one event that can give a final without a price its charge."""
    return uuid.uuid5(_RERATED, event_id.hex()).bytes


def settled_id(hold_id: str) -> bytes:
    """Returns the id of the one event that books a settled hold whose own event never came."""
    return uuid.uuid5(_SETTLED, hold_id).bytes


def repeated_id(event_id: bytes, place: tuple[str, str, int, int]) -> bytes:
    """Returns the id of the one event that takes back the row of an event at a place: epoch, topic, partition, offset.

    An event that was booked from two places has two rows with one id.
    """
    return uuid.uuid5(_REPEATED, "/".join(map(str, (event_id.hex(), *place)))).bytes


def decode(value: bytes, offset: int, at_us: int) -> Event:
    """Returns the event of a record that was appended at `at_us`. Raises Poison."""
    try:
        message = events.UsageRecorded.FromString(value)
    except DecodeError as error:
        raise Poison(f"not a UsageRecorded message: {error}") from error
    event = _read(message, value, offset, at_us)
    fields = event.fields
    _check_identity(fields)
    _check_texts(fields)
    _check_time(fields, at_us)
    _check_money(fields)
    _check_units(event.units)
    return event


def decode_all(records: Sequence[Record]) -> tuple[list[Event], Columns, list[tuple[int, str]]]:
    """Returns the events of records, their fields by column, and place and reason of each that is poison.

    What `decode` checks of one event is checked of all at once here, in a fifth of the time; only a batch that has
    something unusual is looked at event by event.
    """
    parse = events.UsageRecorded.FromString
    try:
        found = [_read(parse(record.value), record.value, record.offset, record.at_us) for record in records]
        columns = columns_of([event.fields for event in found])
        if not found or _all_sound(columns, [record.at_us for record in records]):
            return found, columns, []
    except (DecodeError, Poison):
        pass
    found, poison = [], []
    for place, record in enumerate(records):
        try:
            found.append(decode(record.value, record.offset, record.at_us))
        except Poison as error:
            poison.append((place, str(error)))
    return found, columns_of([event.fields for event in found]), poison


def _read(message: events.UsageRecorded, value: bytes, offset: int, at_us: int) -> Event:
    """Returns an event of which only what few have is checked."""
    fields = fields_of(message)
    counted = _counted(fields, message.usage) if fields.counted else None
    converted = _converted(message.conversion) if message.HasField("conversion") else None
    exceptional = fields.number_of_try > 1 or fields.replay or fields.status != events.EVENT_STATUS_CONFIRMED
    exceptional = exceptional or fields.source == events.EVENT_SOURCE_BILLING
    return Event(fields, value, offset, at_us, exceptional, counted, converted)


def _counted(fields: Fields, usage: wire.Usage) -> Counted:
    """Returns the used quantities; names are `input`, `cache_read`, `image:1024x1024:high` and so on."""
    units = _units_of(fields)
    for image in usage.images:
        name = ":".join(part for part in ("image", image.size, image.quality) if part)
        units[name] = units.get(name, 0) + image.count
    for name, quantity in usage.units.items():
        if quantity:
            units[name] = units.get(name, 0) + quantity
    _check_units(units)
    extra = {name: count for name, count in units.items() if ":" in name or name in usage.units}
    return Counted(units, sum(image.count for image in usage.images), extra)


def _units_of(fields: Fields) -> dict[str, int]:
    tokens = fields.tokens
    units = dict(zip(compress(TOKEN_UNITS, tokens), filter(None, tokens), strict=True))
    if fields.requests:
        units["request"] = fields.requests
    return units


def _check_units(units: Mapping[str, int]) -> None:
    if units and max(units.values()) > _MAX_UNITS:
        name, quantity = max(units.items(), key=lambda unit: unit[1])
        raise Poison(f"{quantity} of {name} is more than one request can use")


def _converted(found: events.Conversion) -> Converted:
    for name, amount in (("list", found.list_charge_pico), ("provider", found.provider_cost_pico)):
        if not 0 <= amount <= MAX_AMOUNT_PICO:
            raise Poison(f"the amount before its conversion ({name}) is {amount}, not in 0 to {MAX_AMOUNT_PICO}")
    # Witnesses of before said nothing of a cost that they did not know.
    if not found.list_currency or (found.provider_cost_pico and not found.provider_currency):
        raise Poison("an amount that was converted has a currency")
    _check_text("rate_digest", found.rate_digest, _MAX_DIGEST)
    return Converted(
        found.rate_digest,
        found.list_currency,
        found.list_charge_pico,
        found.provider_currency or found.list_currency,
        found.provider_cost_pico,
    )


def _all_sound(columns: Columns, at_us: Sequence[int]) -> bool:
    """Tells whether surely none of these is poison."""
    return (
        _sound_identities(columns)
        and _sound_texts(columns)
        and _sound_times(columns, at_us)
        and _sound_amounts(columns)
    )


def _sound_texts(columns: Columns) -> bool:
    requests = columns["request_id"]
    # Of these each row has its own. As bytes they are asked for one by one, where there are others than ours.
    joined, lengths = "".join(requests), {*map(len, requests)}
    return (
        0 < min(lengths) <= max(lengths) <= _MAX_NAME
        and joined.isascii()
        and "\0" not in joined
        and all({*columns["organization_id"]})
        and all(_fits(name, text) for name in _SHARED_TEXTS for text in {*columns[name]})
        and all(map(_CURRENCY.fullmatch, {*columns["currency"]}))
    )


def is_request_id(text: str) -> bool:
    """Tells whether a request that is called so may have been booked."""
    return text != "" and _fits("request_id", text)


def _fits(name: str, text: str) -> bool:
    return _size(name, text) <= _TEXTS[name] and "\0" not in text


def _size(name: str, text: str) -> int:
    return len(text) if name == "model" else len(text.encode())


def _sound_identities(columns: Columns) -> bool:
    tries = columns["number_of_try"]
    return (
        {*map(len, columns["event_id"])} == {16}
        and _STATUS_RANKS.keys() >= {*columns["status"]}
        and {*columns["source"]} <= _SOURCES
        and 0 < min(tries) <= max(tries) < 256
        and max(columns["attempt"]) <= 255
    )


def _sound_times(columns: Columns, at_us: Sequence[int]) -> bool:
    started, ended = columns["started_at_us"], columns["ended_at_us"]
    begun: list[int] = list(map(sub, started, at_us))
    took: list[int] = list(map(sub, ended, started))
    over: list[int] = list(map(sub, ended, at_us))
    return (
        -_MAX_AGE_US <= min(begun) <= max(begun) <= _MAX_AHEAD_US
        and min(took) >= -_MAX_AHEAD_US
        and max(over) <= _MAX_AHEAD_US
    )


def _sound_amounts(columns: Columns) -> bool:
    charges, costs, finals, currencies = (columns[name] for name in ("charge_pico", "cost_pico", "final", "currency"))
    return (
        0 <= min(charges) <= max(charges) <= MAX_AMOUNT_PICO
        and 0 <= min(costs) <= max(costs) <= MAX_AMOUNT_PICO
        and min(columns["hold_pico"]) >= 0
        and not any(compress(charges, map(not_, finals)))
        and not any(compress(charges, columns["unpriced"]))
        and not any(compress(map(or_, charges, costs), map(not_, currencies)))
        and max(columns["requests"]) <= _MAX_UNITS
        and max(map(max, columns["tokens"])) <= _MAX_UNITS
    )


def _check_identity(fields: Fields) -> None:
    if len(fields.event_id) != 16:
        raise Poison(f"event_id has {len(fields.event_id)} bytes, not 16")
    for name in ("request_id", "organization_id"):
        if not getattr(fields, name):
            raise Poison(f"{name} is empty")
    if fields.status not in _STATUS_RANKS:
        raise Poison(f"status is {fields.status}, which is none that is known")
    if fields.source not in _SOURCES:
        raise Poison(f"source is {fields.source}, which is none that is known")
    if not 0 < fields.number_of_try < 256 or fields.attempt > 255:
        raise Poison(f"try {fields.number_of_try}, attempt {fields.attempt}: not in 1 to 255 and 0 to 255")


def _check_texts(fields: Fields) -> None:
    for name, most in _TEXTS.items():
        _check_text(name, getattr(fields, name), most)
    if not _CURRENCY.fullmatch(fields.currency):
        raise Poison(f"currency is {fields.currency[:20]!r}, not three capital letters")


def _check_text(name: str, text: str, most: int) -> None:
    size = _size(name, text)
    if size > most:
        raise Poison(f"{name} has {size} {'characters' if name == 'model' else 'bytes'}, more than {most}")
    if "\0" in text:
        raise Poison(f"{name} has a NUL in it, which no database keeps alike")


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
