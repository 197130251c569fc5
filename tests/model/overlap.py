"""Booking as it is, with as much as may be before anything else: a batch is written when the next is prepared."""

import asyncio

from tollgate_billing.use_cases.record_batch import RecordBatch


class Overlapping(RecordBatch):
    """Fakes answer at once, so that without this the next batch would be prepared after the one before it."""

    _prepared = None

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
        # The task that prepares begins here.
        await asyncio.sleep(0)
        if self._prepared is not None:
            await self._prepared.wait()
        await super().write(batch)


class TooEarly(Overlapping):
    """Does not leave what needs the rows of the batch before it for later."""

    def _ahead(self):
        return False
