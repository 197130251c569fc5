"""Rates an event again and says where router and billing do not agree.

That is its charge, and the charge before a conversion. What it cost us is by what the account of a channel pays, which
no price book says and which the configuration may say otherwise by now: it is taken as the event has it, and compared
with what the provider bills (`provider_costs`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final, Protocol

from tollgate_billing.domain.event import TOKEN_UNITS, Event
from tollgate_billing.domain.fields import Columns
from tollgate_rating import ModelPrice, RatingError, Unpriced


class KnownPrices(Protocol):
    def find(self, book: str, model: str, group: str, rate: str = "") -> ModelPrice | None:
        """Returns the price of a model for a group in the book with this digest, None when that has none.

        With `rate` it is converted by the exchange rate with this digest; None too when that is not here.
        """
        ...

    def knows(self, digest: str) -> bool:
        """Tells whether the book or exchange rate with this digest is here."""
        ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The event says `found`, billing computes `expected` (pico-units); `reason` is a word for people and counters."""

    event: Event
    reason: str
    found_pico: int
    expected_pico: int
    detail: str = ""


# Of a unit without a price: no sum with it is a charge.
_NO_PRICE: Final = -(1 << 512)
_Plain = tuple[int, int, tuple[int, ...]]


def verify_all(judged: Sequence[Event], columns: Columns, prices: KnownPrices) -> list[Mismatch]:
    """Returns the mismatches among events, whose fields `columns` has.

    Nearly all charges are a sum of tokens times their prices; whatever that does not confirm is rated by `verify`.
    """
    doubtful = _not_confirmed(judged, columns, prices)
    return [found for event in doubtful if (found := verify(event, prices)) is not None]


def _not_confirmed(judged: Sequence[Event], columns: Columns, prices: KnownPrices) -> Iterator[Event]:
    known: dict[tuple[str, ...], _Plain | None] = {}
    names = ("price_digest", "model", "price_group", "currency", "own_currency", "service_tier")
    rows = zip(
        judged,
        zip(*(columns[name] for name in names), strict=True),
        *(columns[name] for name in ("charge_pico", "tokens", "requests", "unpriced")),
        strict=True,
    )
    for event, key, charge, tokens, requests, unpriced in rows:
        if key not in known:
            known[key] = _plain(key, prices)
        plain = known[key]
        if plain is None or unpriced or event.counted is not None or event.converted is not None:
            yield event
            continue
        denominator, fee, numerators = plain
        if sum(map(mul, numerators, tokens)) + fee * requests != charge * denominator:
            yield event


def _plain(key: tuple[str, ...], prices: KnownPrices) -> _Plain | None:
    """Returns a denominator, and numerators of the fee and of each kind of token; None where more than these counts."""
    digest, model, group, currency, own, service = key
    price = prices.find(digest, model, group)
    if price is None or price.currency != currency or own not in {"", currency}:
        return None
    plain = price.plain(("request", *TOKEN_UNITS), service)
    if plain is None:
        return None
    fee, *numerators = (_NO_PRICE if one is None else one for one in plain[1])
    return plain[0], fee, tuple(numerators)


def verify(event: Event, prices: KnownPrices) -> Mismatch | None:
    """Returns how the event's charge differs from what its units cost by its price book, or None."""
    fields = event.fields
    if not fields.final:
        return None
    if fields.unpriced:
        return _verify_unpriced(event, prices)
    if not fields.price_digest:
        # Where nothing was used, nothing had to be priced; what a hold was settled with billing itself says without.
        charged = fields.charge_pico and not event.settled
        return Mismatch(event, "no_price_named", fields.charge_pico, 0) if event.units or charged else None
    price = _find(event, prices)
    if price is None:
        rate = event.rate_digest
        reason = missing(prices, fields.price_digest, rate)
        return Mismatch(event, reason, fields.charge_pico, 0, rate if "rate" in reason else fields.price_digest)
    return _compare(event, price)


def missing(prices: KnownPrices, book: str, rate: str) -> str:
    """Returns why there is no price: a word for people and counters."""
    if not prices.knows(book):
        return "unknown_price_book"
    return "unknown_exchange_rate" if rate and not prices.knows(rate) else "model_not_in_book"


def _find(event: Event, prices: KnownPrices) -> ModelPrice | None:
    fields = event.fields
    return prices.find(fields.price_digest, fields.model, fields.price_group, event.rate_digest)


def _compare(event: Event, price: ModelPrice) -> Mismatch | None:
    found, currency = event.fields.charge_pico, event.fields.currency
    # Whoever is older than exchange rates says nothing of the tenant's.
    own = event.fields.own_currency or currency
    if not price.currency == currency == own:
        return Mismatch(event, "currency", found, 0, f"{currency}, not {price.currency if own == currency else own}")
    listed = unconverted = 0
    try:
        expected = _rated(event, price) if event.units else 0
        if price.exchange is not None:
            listed = event.converted.list_charge_pico if event.converted is not None else 0
            unconverted = _rated(event, price.unconverted) if event.units else 0
    except RatingError as error:
        return Mismatch(event, "cannot_be_rated", found, 0, str(error))
    if unconverted != listed:
        return Mismatch(event, "list_charge", listed, unconverted)
    return Mismatch(event, "charge", found, expected) if expected != found else None


def _verify_unpriced(event: Event, prices: KnownPrices) -> Mismatch | None:
    """An event without price is flagged anyway; it is a mismatch when its book has all the prices after all."""
    price = _find(event, prices)
    if price is None:
        return None
    try:
        return Mismatch(event, "priced_after_all", 0, _rated(event, price))
    except Unpriced:
        return None
    except RatingError as error:
        return Mismatch(event, "cannot_be_rated", 0, 0, str(error))


def _rated(event: Event, price: ModelPrice) -> int:
    fields = event.fields
    return price.rate(event.units, fields.started_at_us, fields.service_tier)
