"""A store of responses in memory, which answers when the test lets it."""

import asyncio

from tollgate_router.ports import StoreUnavailable


class MemoryResponses:
    """`away` is the reason why it cannot be reached; while `gate` is not set, it does not answer."""

    def __init__(self):
        self.rows = {}
        self.away = ""
        self.gate = asyncio.Event()
        self.gate.set()

    async def migrate(self):
        await self._answer()

    async def add(self, one):
        await self._answer()
        self.rows[one.project_id, one.id] = one

    async def get(self, project_id, response_id, now_us):
        await self._answer()
        found = self.rows.get((project_id, response_id))
        return found if found is not None and found.expires_at_us > now_us else None

    async def chain(self, project_id, response_id, now_us):
        turns = []
        while response_id:
            found = await self.get(project_id, response_id, now_us)
            if found is None:
                return []
            turns.append(found)
            response_id = found.previous_id
        return turns[::-1]

    async def delete(self, project_id, response_id):
        await self._answer()
        return self.rows.pop((project_id, response_id), None) is not None

    async def purge(self, now_us):
        await self._answer()
        old = [key for key, one in self.rows.items() if one.expires_at_us <= now_us]
        for key in old:
            del self.rows[key]
        return len(old)

    async def _answer(self):
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable(self.away)
