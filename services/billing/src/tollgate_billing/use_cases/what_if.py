"""What usage would have cost under a draft of a price book. Nothing is changed by asking."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tollgate_billing.errors import InvalidQuery
from tollgate_billing.report_ports import UsedRows, UsedUnits
from tollgate_rating import ModelPrice, PriceBook, RatingError

# About a minute of one core; a longer span is asked in parts.
MAX_ROWS: Final = 5_000_000


@dataclass(slots=True)
class ReratedRow:
    """What an organization's project paid for a model and would have paid, in pico-units, and for how many requests.

    `not_in_draft` and `unpriced` of them count as they were charged: the draft has no price for their model, or not for
    a unit of theirs.
    """

    requests: int = 0
    charged_pico: int = 0
    would_pico: int = 0
    not_in_draft: int = 0
    unpriced: int = 0

    def add(self, other: "ReratedRow") -> None:
        """Adds another row to this one."""
        self.requests += other.requests
        self.charged_pico += other.charged_pico
        self.would_pico += other.would_pico
        self.not_in_draft += other.not_in_draft
        self.unpriced += other.unpriced


@dataclass(frozen=True, slots=True)
class Rerated:
    """Rows by (organization, project, model), the greatest difference first."""

    rows: tuple[tuple[tuple[str, str, str], ReratedRow], ...]
    total: ReratedRow
    other_currency: int


class RateAgain:
    def __init__(self, used: UsedRows) -> None:
        self._used = used

    async def __call__(self, book: PriceBook, organization_id: str, from_us: int, to_us: int) -> Rerated:
        """Returns what the draft would have changed. Raises InvalidQuery or UsageStoreUnavailable."""
        if not 0 <= from_us < to_us:
            raise InvalidQuery("the time that is asked for begins before it ends")
        count = await self._used.count(organization_id, from_us, to_us)
        if count > MAX_ROWS:
            raise InvalidQuery(f"{count} requests are more than {MAX_ROWS}; ask for a shorter time or one organization")
        counted = _Counted(book)
        async for page in self._used.pages(organization_id, from_us, to_us):
            await asyncio.to_thread(counted.add, page)
        return counted.result()


class _Counted:
    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._prices: dict[tuple[str, str], ModelPrice | None] = {}
        self._rows: dict[tuple[str, str, str], ReratedRow] = {}
        self._other_currency = 0

    def add(self, page: Sequence[UsedUnits]) -> None:
        for one in page:
            if one.currency not in {"", self._book.currency}:
                self._other_currency += one.sign
                continue
            key = (one.organization_id, one.project_id, one.model)
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = ReratedRow()
            row.requests += one.sign
            row.charged_pico += one.charge_pico
            row.would_pico += self._would(one, row)

    def _would(self, one: UsedUnits, row: ReratedRow) -> int:
        """Returns the charge under the draft with the row's sign."""
        key = (one.model, one.price_group)
        if key not in self._prices:
            self._prices[key] = self._book.price(*key)
        price = self._prices[key]
        if price is None:
            row.not_in_draft += one.sign
            return one.charge_pico
        try:
            return one.sign * price.rate(one.units, one.started_us, one.service) if one.units else one.charge_pico
        except RatingError:
            row.unpriced += one.sign
            return one.charge_pico

    def result(self) -> Rerated:
        total = ReratedRow()
        for row in self._rows.values():
            total.add(row)
        ordered = sorted(
            self._rows.items(), key=lambda item: (-abs(item[1].would_pico - item[1].charged_pico), item[0])
        )
        return Rerated(tuple(ordered), total, self._other_currency)
