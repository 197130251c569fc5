"""Makes sums of a rollup again from usage rows, a slice of time after the other, between two batches each.

Every slice takes the place of the old one at once, so whoever breaks off leaves some slices made and none half; to do
it again ends the same.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from tollgate_billing.domain.rollups import DAY_US, ROLLUPS, Rollup, ceil, floor
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.mending_ports import BetweenBatches, UsageRollups

_MOST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Refilled:
    """A slice of time of a rollup that is done: how many of its lines were not what their rows say."""

    rollup: str
    from_us: int
    to_us: int
    differed: int


class RefillRollups:
    def __init__(self, rollups: UsageRollups, between_batches: BetweenBatches) -> None:
        self._rollups = rollups
        self._between_batches = between_batches

    async def __call__(self, name: str, from_us: int, to_us: int, *, dry_run: bool) -> AsyncGenerator[Refilled, None]:
        """Makes whole buckets of this time again and yields each slice that is done; of a dry run, that would be.

        What rows are gone of, since their time was over, is left alone. Raises InvalidQuery and Unavailable.
        """
        if name and name not in ROLLUPS:
            raise InvalidQuery(f"a rollup is one of {', '.join(ROLLUPS)}, not {name[:80]!r}")
        if not 0 < from_us < to_us:
            raise InvalidQuery("sums are made again from a time before another one, both after 1970")
        for rollup in [ROLLUPS[name]] if name else ROLLUPS.values():
            first = max(floor(from_us, rollup.bucket_us), await self._rollups.kept_from(rollup))
            end = ceil(to_us, rollup.bucket_us)
            if first < end:
                # Each of one day, and therefore of one partition; days without rows and sums are passed over.
                days = {floor(hour, DAY_US) for hour in await self._rollups.hours(first, end)}
                for day in sorted(days):
                    begin, until = max(day, first), min(day + DAY_US, end)
                    if begin < until:
                        yield await self._slice(rollup, begin, until, dry_run=dry_run)

    async def lacking(self, rollup: Rollup, from_us: int, to_us: int) -> int:
        """Makes those lines of a day again that rows are missing of; returns how many. Raises Unavailable."""
        return await self._between_batches(lambda: self._refill(rollup, from_us, to_us, lacking=True))

    async def _slice(self, rollup: Rollup, from_us: int, to_us: int, *, dry_run: bool) -> Refilled:
        if dry_run:
            count = len(await self._rollups.differences(rollup, from_us, to_us, _MOST))
        else:
            count = await self._between_batches(lambda: self._refill(rollup, from_us, to_us, lacking=False))
        return Refilled(rollup.name, from_us, to_us, count)

    async def _refill(self, rollup: Rollup, from_us: int, to_us: int, *, lacking: bool) -> int:
        found = await self._rollups.differences(rollup, from_us, to_us, _MOST, between_inserts=True)
        count = sum(one.lacking for one in found) if lacking else len(found)
        # Latencies are made again, too, where all of it is: nothing tells whether they differ.
        if count or not lacking:
            await self._rollups.refill(rollup, from_us, to_us, lacking=lacking)
        return count
