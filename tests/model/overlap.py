"""Booking as it is, with as much as may be beside something else: fakes answer at once, so that nothing would be.

A batch is written when the next is prepared, and the one before it is booked before that or after it, in turns.
"""

import asyncio

from tollgate_billing.use_cases.record_batch import RecordBatch


class Overlapping(RecordBatch):
    _prepared = None
    _written = None
    _last = False

    async def prepare(self, batch, state, *, ahead=False):
        if not ahead:
            return await super().prepare(batch, state)
        self._prepared = asyncio.Event()
        try:
            return await super().prepare(batch, state, ahead=self._ahead())
        finally:
            self._prepared.set()

    def _ahead(self):
        return True

    async def write(self, batch):
        self._written = asyncio.Event()
        try:
            # The task that prepares begins here.
            await asyncio.sleep(0)
            if self._prepared is not None:
                await self._prepared.wait()
            await super().write(batch)
        finally:
            self._written.set()

    async def book(self, batch):
        self._last = not self._last
        if self._last and self._written is not None:
            await self._written.wait()
        await super().book(batch)


class TooEarly(Overlapping):
    """Does not leave what needs the rows of the batch before it for later."""

    def _ahead(self):
        return False
