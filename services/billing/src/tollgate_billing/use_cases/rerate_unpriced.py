"""Rates requests that had no price, once a price book has one; charges them through the log, each once.

Nothing is noted about what was sent: a request that was rated later is no longer without a price, and an event that is
sent twice has the same id. So whoever is killed in the middle asks again. That is known from rows, and where some are
lost, from the finals that the ledger keeps: a request of which those know more than the rows is left out.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tollgate_billing.domain.event import DAY_US, MAX_EVENT_DAYS, rerated_id
from tollgate_billing.domain.judge import KeptFinals, without_row
from tollgate_billing.domain.rerated import Rated, rate_row, rerated_event
from tollgate_billing.domain.rows import Row
from tollgate_billing.errors import InvalidQuery, NotFound
from tollgate_billing.letter_ports import BookedEvents, UsageTopic
from tollgate_billing.ports import Ledger, UsageFilter
from tollgate_billing.rerate_ports import PricesInForce, UnpricedRows
from tollgate_kit.clock import Clock
from tollgate_rating import AmountOutOfRange, ModelPrice, NoRate, PriceBook, RatingError

# A minute or two of one core; a longer span is asked in parts.
MAX_ROWS: Final = 500_000
MAX_LINES: Final = 10_000
# Why a request stays as it is.
NO_PRICE: Final = "no_price"
NO_RATE: Final = "no_exchange_rate"
NO_CURRENCY: Final = "no_currency"
TOO_DEAR: Final = "too_dear"
TOO_OLD: Final = "too_old"
LOST_ROWS: Final = "lost_rows"
REASONS: Final = (NO_PRICE, NO_RATE, NO_CURRENCY, TOO_DEAR, TOO_OLD, LOST_ROWS)
_TOPIC: Final = "usage.recorded.v1"


@dataclass(slots=True)
class RatedLater:
    """How many requests have a price now, and what they come to, in pico-units."""

    requests: int = 0
    charge_pico: int = 0
    cost_pico: int = 0


@dataclass(slots=True)
class Rerating:
    """Sums by (organization, project, model, digest of the price book, currency); `left_out` counts by reason."""

    lines: dict[tuple[str, str, str, str, str], RatedLater] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    def add(self, row: Row, rated: Rated) -> None:
        """Takes a request in that has a price now."""
        price = rated.price
        key = (row["organization_id"], row["project_id"], row["model"], price.digest, price.currency)
        line = self.lines.setdefault(key, RatedLater())
        line.requests += 1
        line.charge_pico += rated.charge_pico
        line.cost_pico += rated.cost_pico


class RerateUnpriced:
    def __init__(
        self,
        rows: UnpricedRows,
        ledger: Ledger,
        prices: PricesInForce,
        topic: UsageTopic,
        clock: Clock,
        booked: BookedEvents,
    ) -> None:
        self._rows = rows
        self._ledger = ledger
        self._prices = prices
        self._topic = topic
        self._clock = clock
        self._booked = booked

    async def __call__(self, where: UsageFilter, price_digest: str, *, apply: bool) -> Rerating:
        """Returns what requests without a price come to; with `apply` they are charged that.

        Each is rated by the book that the configuration in force has for when it began, or by the book that is named.
        Raises InvalidQuery, NotFound or Unavailable.
        """
        if not 0 <= where.from_us < where.to_us:
            raise InvalidQuery("the time that is asked for begins before it ends")
        count = await self._rows.count(where)
        if count > MAX_ROWS:
            raise InvalidQuery(f"{count} requests are more than {MAX_ROWS}; ask for a shorter time or one organization")
        book = await self._prices.named(price_digest) if price_digest else None
        if price_digest and book is None:
            raise NotFound(f"no price book that was ever in force has the digest {price_digest[:80]}")
        # Whoever books what is sent has to know its books.
        await self._prices.save()
        found, currencies = Rerating(), dict[str, str]()
        async for page in self._rows.pages(where):
            await self._learn_currencies(page, currencies)
            standing = await self._standing(page, found)
            records = await asyncio.to_thread(self._rate, standing, currencies, book, found)
            if apply and records:
                await self._topic.send(_TOPIC, records)
                found.sent += len(records)
        return found

    def _oldest_us(self) -> int:
        """Returns the start of the oldest request that is taken: what is taken now is booked in a while."""
        return self._clock.now_us() - (MAX_EVENT_DAYS - 1) * DAY_US

    async def _standing(self, page: Sequence[Row], found: Rerating) -> list[Row]:
        """Returns the rows that nothing has replaced, also of what has no row any more, and counts the others."""
        requests = {row["request_id"] for row in page}
        # In this order: rows are there before the ledger keeps what they say.
        finals = await self._ledger.finals(requests)
        there = await self._booked.booked(finals.keys()) if finals else set()
        lost = without_row(finals, there)
        standing = []
        for row in page:
            if row["request_id"] in lost or _replaced(row, finals):
                # What was booked since the rows were read is charged, as it was to be.
                found.left_out[LOST_ROWS] += rerated_id(row["event_id"].bytes) not in there
            else:
                standing.append(row)
        return standing

    async def _learn_currencies(self, page: Sequence[Row], known: dict[str, str]) -> None:
        for name in {row["organization_id"] for row in page if not row["currency"]} - known.keys():
            known[name], _ = await self._ledger.balance(name)

    def _rate(
        self, page: Sequence[Row], currencies: dict[str, str], book: PriceBook | None, found: Rerating
    ) -> list[tuple[bytes, bytes]]:
        """Returns the records that charge the rows of a page, and adds what they come to."""
        records = []
        oldest_us = self._oldest_us()
        for row in page:
            currency = row["currency"] or currencies[row["organization_id"]]
            rated = TOO_OLD if row["started_at_us"] < oldest_us else self._rated(row, currency, book)
            if isinstance(rated, str):
                found.left_out[rated] += 1
                continue
            of_row, event = rated
            found.add(row, of_row)
            records.append((row["request_id"].encode(), event))
        return records

    def _rated(self, row: Row, currency: str, book: PriceBook | None) -> tuple[Rated, bytes] | str:
        """Returns what a row comes to and the event that charges it, or why it stays as it is."""
        if not currency:
            return NO_CURRENCY
        try:
            price = self._price(row, row["price_group"], currency, book)
            if price is None:
                return NO_PRICE
            listed = self._price(row, "", currency, book)
            rated = rate_row(row, price, listed, self._prices.cost(row["channel"]))
            # It says the amounts before they were converted, too, and those may be too much by themselves.
            return rated, rerated_event(row, rated).SerializeToString()
        except NoRate:
            return NO_RATE
        except AmountOutOfRange:
            return TOO_DEAR
        except RatingError:
            return NO_PRICE

    def _price(self, row: Row, group: str, currency: str, book: PriceBook | None) -> ModelPrice | None:
        """Returns the price in the organization's currency. Raises NoRate."""
        model, at_us = row["model"], row["started_at_us"]
        if book is None:
            return self._prices.in_force(model, group, at_us, currency)
        price = book.price(model, group)
        if price is None or price.currency == currency:
            return price
        exchange = self._prices.exchange(price.currency, currency, at_us)
        if exchange is None:
            raise NoRate(price.currency, currency)
        return price.converted(exchange)


def _replaced(row: Row, finals: KeptFinals) -> bool:
    """Tells whether the ledger knows what took the place of a row's event, or that something did."""
    kept, event_id = finals.get(row["request_id"], {}), row["event_id"].bytes
    return rerated_id(event_id) in kept or not kept.get(event_id, True)
