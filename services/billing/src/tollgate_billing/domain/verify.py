"""Rates an event again and says where router and billing do not agree."""

from dataclasses import dataclass
from typing import Protocol

from tollgate_billing.domain.event import Event
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


def verify(event: Event, prices: KnownPrices) -> Mismatch | None:
    """Returns how the event's charge differs from what its units cost by its price book, or None."""
    fields = event.fields
    if not fields.final:
        return None
    if fields.unpriced:
        return _verify_unpriced(event, prices)
    if not fields.price_digest:
        # Where nothing was used, nothing had to be priced.
        return Mismatch(event, "no_price_named", fields.charge_pico, 0) if event.units else None
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
    own = event.message.tenant.currency or currency
    if not price.currency == currency == own:
        return Mismatch(event, "currency", found, 0, f"{currency}, not {price.currency if own == currency else own}")
    listed = unconverted = 0
    try:
        expected = _rated(event, price) if event.units else 0
        if price.exchange is not None:
            listed = event.message.conversion.list_charge_pico
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
