"""Inserts the usage rows of a batch once, whatever an earlier process, or another one meanwhile, has inserted of it."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.rows import Block
from tollgate_billing.ports import UsageStore

log = logging.getLogger(__name__)

# What was decided so long ago may be written by another process since, and its token forgotten.
_STILL_SECONDS: Final = 10.0


class _StoodStill(Exception):  # noqa: N818 - what it did.
    """The process, or its machine, did not run for a while."""


class InsertRows:
    """`boottime` is in seconds, and goes on while the machine sleeps."""

    def __init__(self, store: UsageStore, boottime: Callable[[], float]) -> None:
        self._store = store
        self._boottime = boottime

    async def __call__(self, bounds: Bounds, rows: Block, decided_at: float, *, resumed: bool) -> None:
        """Inserts rows that were decided at that boot time; what is there is asked for first where that is long ago.

        So it is of a batch that is `resumed`. A process that stood still may have lost the batch to another one, which
        wrote it, and the store may have forgotten that: so it looks at the clock in the last moment. It waits longer
        each time, so that it comes to an end where answers take long. Raises Unavailable.
        """
        patience = _STILL_SECONDS
        while rows:
            left, token = rows, bounds.batch
            if resumed:
                decided_at = self._boottime()
                left, token = await self._left_of(bounds, rows)
            try:
                if left:
                    await self._store.insert_usage(left, token, partial(self._check, decided_at + patience))
            except _StoodStill:
                resumed, patience = True, 2 * patience
            else:
                return

    def _check(self, until: float) -> None:
        if self._boottime() > until:
            raise _StoodStill

    async def _left_of(self, bounds: Bounds, rows: Block) -> tuple[Block, str]:
        """Returns what is to be inserted of a batch that may be there, and its token.

        As long as its token is remembered, that is the whole batch: a process that was killed in the middle may have
        left the rows and not the sums of a rollup, which knows its own tokens.
        """
        present = await self._store.present(bounds)
        if not present or await self._store.remembers(bounds):
            return rows, bounds.batch
        # Whoever ended in the middle of the insert may have left sums without it, which nothing makes good now.
        log.critical(
            "the token of a batch that has rows may be forgotten: sums may lack them, which `tollgate reconcile` names"
            " and `tollgate usage rebuild` makes again",
            extra={"fields": {"batch": bounds.batch}},
        )
        return rows.without(present), f"{bounds.batch}/rest"
