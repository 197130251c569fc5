"""Compares what a provider says that we cost it with what usage rows say, by day and model."""

from datetime import UTC, datetime

from tollgate_billing.domain.event import DAY_US
from tollgate_billing.domain.provider_costs import Compared, Cost, compare_costs, read_statement
from tollgate_billing.ports import UsageBooks


class CompareProviderCosts:
    def __init__(self, books: UsageBooks) -> None:
        self._books = books

    async def __call__(self, provider: str, content: bytes) -> list[Compared]:
        """Returns both sides for the days of an export. Raises InvalidQuery or Unavailable."""
        theirs = read_statement(provider, content)
        days = sorted({cost.day for cost in theirs})
        first, last = _midnight_us(days[0]), _midnight_us(days[-1]) + DAY_US
        ours = await self._books.provider_costs(provider, first, last)
        return compare_costs(theirs, [Cost(*one) for one in ours])


def _midnight_us(day: str) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000_000
