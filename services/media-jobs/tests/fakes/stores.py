"""Jobs, queue, outbox and price books in memory, with the rules of the SQL ones."""

from collections import defaultdict
from dataclasses import replace

from tollgate_media_jobs.domain.states import TERMINAL
from tollgate_media_jobs.errors import StoreUnavailable
from tollgate_media_jobs.ports import Created, Parcel


class Memory:
    def __init__(self):
        self.jobs, self.leases, self.attempts, self.assets = {}, {}, {}, {}
        self.events = defaultdict(list)
        self.parcels, self.taken = {}, {}
        self.books = {}
        self.away = False

    def check(self):
        if self.away:
            raise StoreUnavailable("switched off")


class FakeJobs:
    def __init__(self, memory):
        self.memory = memory

    async def create(self, job):
        self.memory.check()
        earlier = await self.find_earlier(job.tenant.organization_id, job.request_id, job.idempotency_key)
        if earlier is not None:
            return Created(earlier, is_new=False)
        self.memory.jobs[job.id] = job
        self.memory.leases[job.id] = ("", 0)
        self.memory.events[job.id].append((job.version, 0, int(job.state), "created"))
        return Created(job, is_new=True)

    async def find_earlier(self, organization_id, request_id, idempotency_key):
        self.memory.check()
        own = [job for job in self.memory.jobs.values() if job.tenant.organization_id == organization_id]
        same = [job for job in own if job.request_id == request_id]
        if idempotency_key:
            same += [job for job in own if job.idempotency_key == idempotency_key]
        return same[0] if same else None

    async def get(self, organization_id, project_id, job_id):
        self.memory.check()
        job = self.memory.jobs.get(job_id)
        return job if job is not None and _owns(job.tenant, organization_id, project_id) else None

    async def list(self, organization_id, project_id, limit, before):
        self.memory.check()
        own = [job for job in self.memory.jobs.values() if _owns(job.tenant, organization_id, project_id)]
        own.sort(key=lambda job: (job.created_at_us, job.id), reverse=True)
        return [job for job in own if before is None or (job.created_at_us, job.id) < before][:limit]

    async def assets_of(self, job_ids):
        found = [asset for asset in self.memory.assets.values() if asset.job_id in job_ids]
        return sorted(found, key=lambda asset: (asset.job_id, asset.index))

    async def find_asset(self, organization_id, project_id, asset_id):
        asset = self.memory.assets.get(asset_id)
        owned = asset is not None and _owns(self.memory.jobs[asset.job_id].tenant, organization_id, project_id)
        return asset if owned else None

    async def attempt(self, job_id, number):
        return self.memory.attempts.get((job_id, number))

    async def move(self, move):
        self.memory.check()
        current = self.memory.jobs.get(move.before.id)
        if current is None or (current.state, current.version) != (move.before.state, move.before.version):
            return False
        self.memory.jobs[current.id] = move.after
        if not move.keep_lease:
            self.memory.leases[current.id] = ("", 0)
        self.memory.events[current.id].append(
            (move.after.version, int(current.state), int(move.after.state), move.reason)
        )
        if move.attempt is not None:
            self.memory.attempts[current.id, move.attempt.number] = move.attempt
        for asset in move.assets:
            self.memory.assets[asset.id] = asset
        for message in move.messages:
            number = max(self.memory.parcels, default=0) + 1
            self.memory.parcels[number] = Parcel(number, message, 0)
        return True

    async def note_late_answer(self, job, at_us, detail):
        current = self.memory.jobs[job.id]
        self.memory.jobs[job.id] = replace(current, version=current.version + 1)
        state = int(current.state)
        self.memory.events[job.id].append((current.version + 1, state, state, "late_answer"))


class FakeQueue:
    def __init__(self, memory):
        self.memory = memory

    async def claim(self, owner, limit, now_us, until_us):
        self.memory.check()
        free = [
            job
            for job in self.memory.jobs.values()
            if job.state not in TERMINAL and job.next_at_us <= now_us and self.memory.leases[job.id][1] <= now_us
        ]
        free.sort(key=lambda job: (job.created_at_us, job.id))
        turns = defaultdict(int)
        ranked = []
        for job in free:
            turns[job.tenant.organization_id] += 1
            ranked.append((turns[job.tenant.organization_id], job.created_at_us, job.id))
        claimed = [self.memory.jobs[job_id] for _, _, job_id in sorted(ranked)[:limit]]
        for job in claimed:
            self.memory.leases[job.id] = (owner, until_us)
        return claimed

    async def renew(self, owner, job_ids, until_us):
        for job_id in job_ids:
            if self.memory.leases.get(job_id, ("", 0))[0] == owner:
                self.memory.leases[job_id] = (owner, until_us)

    async def let_go(self, owner, job_id, due_at_us, *, ingest_failed):
        job = self.memory.jobs[job_id]
        if self.memory.leases[job_id][0] == owner and job.state not in TERMINAL:
            self.memory.leases[job_id] = ("", 0)
            tries = job.ingest_tries + int(ingest_failed)
            self.memory.jobs[job_id] = replace(job, next_at_us=due_at_us, ingest_tries=tries)

    async def waiting(self):
        return sorted((job for job in self.memory.jobs.values() if not job.ended), key=lambda job: job.id)

    async def counts(self):
        counts = defaultdict(int)
        for job in await self.waiting():
            counts[int(job.state)] += 1
        return dict(counts)


class FakeOutbox:
    def __init__(self, memory):
        self.memory = memory

    async def take(self, limit, now_us, until_us):
        self.memory.check()
        free = [number for number in sorted(self.memory.parcels) if self.memory.taken.get(number, 0) <= now_us][:limit]
        found = [self.memory.parcels[number] for number in free]
        for parcel in found:
            self.memory.parcels[parcel.id] = replace(parcel, tries=parcel.tries + 1)
            self.memory.taken[parcel.id] = until_us
        return found

    async def remove(self, ids):
        for number in ids:
            self.memory.parcels.pop(number, None)

    async def depth(self):
        return len(self.memory.parcels)


class FakeBooks:
    def __init__(self, memory):
        self.memory = memory

    async def keep(self, book):
        self.memory.books[book.digest] = book

    async def find(self, digest):
        return self.memory.books.get(digest)


def _owns(tenant, organization_id, project_id):
    return tenant.organization_id == organization_id and project_id in {"", tenant.project_id}
