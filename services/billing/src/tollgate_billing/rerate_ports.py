"""What rating later needs from outside: rows without a price, and the prices that there are now."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tollgate_billing.domain.rows import Row
from tollgate_billing.ports import UsageFilter
from tollgate_rating import ChannelCost, ExchangeRate, ModelPrice, PriceBook


class UnpricedRows(Protocol):
    """Finals without a price that nothing has replaced. Raises UsageStoreUnavailable."""

    async def count(self, where: UsageFilter) -> int:
        """Returns how many rows `pages` would give."""
        ...

    def pages(self, where: UsageFilter) -> AsyncIterator[Sequence[Row]]:
        """Yields whole rows, by the start of the request; times are named with `_us`."""
        ...


class PricesInForce(Protocol):
    """The price books of the configuration in force, and of all before it. Raises LedgerUnavailable."""

    def in_force(self, model: str, group: str, at_us: int, currency: str) -> ModelPrice | None:
        """Returns the price that the configuration has for a moment, in a currency. Raises NoRate, and Unavailable."""
        ...

    def exchange(self, base: str, quote: str, at_us: int) -> ExchangeRate | None:
        """Returns the rate that the configuration has for a moment. Raises Unavailable before it has come."""
        ...

    def cost(self, channel: str) -> ChannelCost | None:
        """Returns what a channel's account pays where it does not pay the list price."""
        ...

    async def named(self, digest: str) -> PriceBook | None:
        """Returns the book with this digest, whenever it was in force."""
        ...

    async def save(self) -> None:
        """Keeps what is new of books and rates, so that every process that books finds it."""
        ...
