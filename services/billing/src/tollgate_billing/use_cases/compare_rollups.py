"""Compares the sums by minute, hour and day with the rows that they are of, and names what differs.

Rows and sums come with one insert and not at one moment, so a difference is looked at again between two inserts: one
that is the same then is one. What is gone since its time was over is none.
"""

from collections.abc import Sequence
from typing import Final

from tollgate_billing.domain.books import Difference
from tollgate_billing.domain.rollups import DAY_US, HOUR_US, ROLLUPS, Rollup, SumDifference, ceil, floor, slices_of
from tollgate_billing.mending_ports import UsageRollups

_NAMES: Final = 10


class CompareRollups:
    def __init__(self, rollups: UsageRollups) -> None:
        self._rollups = rollups

    async def __call__(self, from_us: int, to_us: int, most: int) -> tuple[list[Difference], int]:
        """Compares the sums of what began or came in this time; returns up to `most`, and how many more there are.

        Raises UsageStoreUnavailable.
        """
        hours = await self._rollups.hours(from_us, to_us)
        found: list[Difference] = []
        cut = 0
        for rollup in ROLLUPS.values():
            for one in await self.differing(rollup, hours, most + 1):
                if len(found) < most:
                    found.append(await self._explain(one))
                else:
                    cut += 1
        return found, cut

    async def differing(
        self, rollup: Rollup, hours: Sequence[int], most: int, *, doubtful: bool = False
    ) -> list[SumDifference]:
        """Returns up to `most` differences of a rollup in these hours (microseconds) in each slice of time.

        `doubtful` ones are what one look shows beside inserts, all that differs and more.
        """
        kept_from = await self._rollups.kept_from(rollup)
        days = sorted({floor(hour, DAY_US) for hour in hours})
        rows = await self._rollups.rows_of_hours([hour for day in days for hour in range(day, day + DAY_US, HOUR_US)])
        found: list[SumDifference] = []
        for begin, until in slices_of(rollup, hours, rows):
            # Whole buckets, and none that time has taken rows or sums of.
            first = max(floor(begin, rollup.bucket_us), kept_from)
            end = ceil(until, rollup.bucket_us)
            if first < end:
                look = self._rollups.differences if doubtful else self._sure
                found += await look(rollup, first, end, most)
        return found

    async def _sure(self, rollup: Rollup, from_us: int, to_us: int, most: int) -> list[SumDifference]:
        found = await self._rollups.differences(rollup, from_us, to_us, most)
        if not found:
            return []
        doubtful = {one.key: one.by for one in found}
        # Nothing is booked while it is looked at again, so no more is asked than has to be.
        organizations = {one.names["organization_id"] for one in found}
        again = await self._rollups.differences(
            rollup, from_us, to_us, most, between_inserts=True, organizations=organizations
        )
        return [one for one in again if doubtful.get(one.key) == one.by]

    async def _explain(self, one: SumDifference) -> Difference:
        """Names the requests that a difference comes from: those that are just as much, else all of the line."""
        rows = await self._rollups.rows_of(one)
        by = one.money_by
        both = (by, tuple(-amount for amount in by)) if any(by) else ()
        exact = [row.request_id for row in rows if tuple(row.amounts) in both]
        names = exact or [row.request_id for row in rows]
        found, expected = one.money
        return Difference(
            one.rollup.kind,
            one.describe(),
            one.names["organization_id"],
            "",
            tuple(dict.fromkeys(names))[:_NAMES],
            found,
            expected,
            project_id=one.names["project_id"],
            model=one.names["model"],
            rollup=one.rollup.table,
            bucket_us=one.bucket_us,
        )
