"""A store of responses in memory, which answers when the test lets it."""

import asyncio

from msgspec import structs

from tollgate_router.errors import StoreUnavailable


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

    async def renew(self, keys, begun, now_us, until_us):
        await self._answer()
        running = {key for key in keys if key in self.rows and self.rows[key].running_until_us}
        for key in running:
            one = self.rows[key]
            until = until_us if one.running_until_us <= (now_us + until_us) // 2 else one.running_until_us
            status = "in_progress" if key in begun else one.status
            self.rows[key] = structs.replace(one, running_until_us=until, status=status)
        return running

    async def finish(self, one, *, lost_at_us=None):
        await self._answer()
        found = self.rows.get((one.project_id, one.id))
        if found is None:
            return ""
        if found.running_until_us and (lost_at_us is None or found.running_until_us <= lost_at_us):
            self.rows[one.project_id, one.id] = structs.replace(
                found, status=one.status, response=one.response, running_until_us=0
            )
            return one.status
        return found.status

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
