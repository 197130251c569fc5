"""Takes usage rows away that were inserted again, so that one place in the log has more than one of them.

The ledger booked such a place once: only rows and their sums are too many. Rows go first, all at once between two
batches, then the sums of each day. Which sums those are outlives a kill, so whoever is killed in between does it again.
"""

from collections.abc import Callable, Mapping
from functools import partial

from tollgate_billing.domain.rollups import DAY_US, ROLLUPS
from tollgate_billing.mending_ports import BetweenBatches, UsageCopies, UsageRollups


class DropCopies:
    """`reached` is told that rows are gone and sums are not, for tests that end the process there."""

    def __init__(
        self,
        copies: UsageCopies,
        rollups: UsageRollups,
        between_batches: BetweenBatches,
        reached: Callable[[str], None],
    ) -> None:
        self._copies = copies
        self._rollups = rollups
        self._between_batches = between_batches
        self._reached = reached

    async def rows(self, from_us: int, to_us: int, *, dry_run: bool) -> Mapping[str, int]:
        """Takes away what was logged in this time and is there again; returns how many rows by batch.

        A dry run only says. Times in microseconds. Raises InvalidQuery and Unavailable.
        """
        found = await self._copies.found(from_us, to_us)
        if found and not dry_run:
            await self._between_batches(lambda: self._copies.drop(from_us, to_us))
            self._reached("after_copies")
        return found

    async def sums(self) -> int:
        """Makes sums again without what was taken away, also by a run that was killed; returns how many lines.

        What rows are missing of has to be back before. Raises InvalidQuery and Unavailable.
        """
        made = 0
        days = await self._copies.days()
        for rollup in ROLLUPS.values():
            for day in days:
                made += await self._between_batches(partial(self._rollups.without_copies, rollup, day, day + DAY_US))
        if days:
            await self._copies.forget()
        return made
