"""The queue over SQL."""

from collections.abc import Sequence

import sqlalchemy as sa

from tollgate_media_jobs.adapters.sql import tables as t
from tollgate_media_jobs.adapters.sql.database import Database
from tollgate_media_jobs.adapters.sql.rows import job_of
from tollgate_media_jobs.domain.job import Job
from tollgate_media_jobs.domain.states import TERMINAL

_TERMINAL = [int(state) for state in TERMINAL]


class SqlQueue:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, owner: str, limit: int, now_us: int, until_us: int) -> Sequence[Job]:
        columns = t.media_jobs.c
        free = columns.state.not_in(_TERMINAL) & (columns.next_at_us <= now_us) & (columns.lease_until_us <= now_us)
        oldest = (columns.created_at_us, columns.id)
        turn = sa.func.row_number().over(partition_by=columns.organization_id, order_by=oldest)
        due = sa.select(columns.id, columns.created_at_us, turn.label("turn")).where(free).subquery()
        candidates = sa.select(due.c.id).order_by(due.c.turn, due.c.created_at_us, due.c.id).limit(limit)

        def work(connection: sa.Connection) -> list[Job]:
            claimed = []
            for job_id in connection.execute(candidates).scalars().all():
                row = connection.execute(
                    t.media_jobs.update()
                    .where(columns.id == job_id, free)
                    .values(lease_owner=owner, lease_until_us=until_us)
                    .returning(t.media_jobs)
                ).one_or_none()
                if row is not None:
                    claimed.append(job_of(row))
            return claimed

        # Most looks find nothing, and a look alone needs no writer's lock.
        if await self._database.read(lambda connection: connection.execute(candidates).first()) is None:
            return ()
        return await self._database.write(work)

    async def renew(self, owner: str, job_ids: Sequence[str], until_us: int) -> None:
        if not job_ids:
            return
        columns = t.media_jobs.c
        statement = (
            t.media_jobs.update()
            .where(columns.lease_owner == owner, columns.id.in_(job_ids))
            .values(lease_until_us=until_us)
        )
        await self._database.write(lambda connection: connection.execute(statement))

    async def let_go(self, owner: str, job_id: str, due_at_us: int, *, ingest_failed: bool) -> None:
        columns = t.media_jobs.c
        statement = (
            t.media_jobs.update()
            .where(columns.id == job_id, columns.lease_owner == owner, columns.state.not_in(_TERMINAL))
            .values(
                lease_owner="",
                lease_until_us=0,
                next_at_us=due_at_us,
                ingest_tries=columns.ingest_tries + (1 if ingest_failed else 0),
            )
        )
        await self._database.write(lambda connection: connection.execute(statement))

    async def waiting(self) -> Sequence[Job]:
        query = sa.select(t.media_jobs).where(t.media_jobs.c.state.not_in(_TERMINAL)).order_by(t.media_jobs.c.id)
        return await self._database.read(lambda connection: [job_of(row) for row in connection.execute(query)])

    async def counts(self) -> dict[int, int]:
        query = (
            sa.select(t.media_jobs.c.state, sa.func.count())
            .where(t.media_jobs.c.state.not_in(_TERMINAL))
            .group_by(t.media_jobs.c.state)
        )
        return await self._database.read(lambda connection: {row[0]: row[1] for row in connection.execute(query)})
