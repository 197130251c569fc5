"""Jobs with their attempts, events and assets over SQL. Every transition is one swap in one transaction."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tollgate_media_jobs.adapters.sql import tables as t
from tollgate_media_jobs.adapters.sql.database import Database
from tollgate_media_jobs.adapters.sql.rows import asset_of, attempt_of, attempt_values, job_of, job_values
from tollgate_media_jobs.domain.job import Asset, Attempt, Job, Move
from tollgate_media_jobs.ports import Created

_NO_LEASE = {"lease_owner": "", "lease_until_us": 0}


class SqlJobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, job: Job) -> Created:
        def work(connection: sa.Connection) -> None:
            connection.execute(t.media_jobs.insert().values(**job_values(job), **_NO_LEASE))
            _write_event(connection, job, 0, "created", "", job.created_at_us)

        try:
            await self._database.write(work)
        except sa.exc.IntegrityError:
            earlier = await self.find_earlier(job.tenant.organization_id, job.request_id, job.idempotency_key)
            if earlier is None:
                raise
            return Created(earlier, is_new=False)
        return Created(job, is_new=True)

    async def find_earlier(self, organization_id: str, request_id: str, idempotency_key: str) -> Job | None:
        same_request = t.media_jobs.c.request_id == request_id
        same = same_request | (t.media_jobs.c.idempotency_key == idempotency_key) if idempotency_key else same_request
        query = (
            sa.select(t.media_jobs)
            .where(t.media_jobs.c.organization_id == organization_id, same)
            .order_by(sa.case((same_request, 0), else_=1))
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return job_of(row) if row is not None else None

    async def get(self, organization_id: str, project_id: str, job_id: str) -> Job | None:
        query = _owned(sa.select(t.media_jobs), t.media_jobs, organization_id, project_id)
        query = query.where(t.media_jobs.c.id == job_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return job_of(row) if row is not None else None

    async def list(
        self, organization_id: str, project_id: str, limit: int, before: tuple[int, str] | None
    ) -> Sequence[Job]:
        columns = t.media_jobs.c
        query = _owned(sa.select(t.media_jobs), t.media_jobs, organization_id, project_id)
        if before is not None:
            at_us, job_id = before
            query = query.where(
                (columns.created_at_us < at_us) | ((columns.created_at_us == at_us) & (columns.id < job_id))
            )
        query = query.order_by(columns.created_at_us.desc(), columns.id.desc()).limit(limit)
        return await self._database.read(lambda connection: [job_of(row) for row in connection.execute(query)])

    async def assets_of(self, job_ids: Sequence[str]) -> Sequence[Asset]:
        if not job_ids:
            return ()
        query = sa.select(t.assets).where(t.assets.c.job_id.in_(job_ids))
        query = query.order_by(t.assets.c.job_id, t.assets.c.output_index)
        return await self._database.read(lambda connection: [asset_of(row) for row in connection.execute(query)])

    async def find_asset(self, organization_id: str, project_id: str, asset_id: str) -> Asset | None:
        query = _owned(sa.select(t.assets), t.assets, organization_id, project_id).where(t.assets.c.id == asset_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return asset_of(row) if row is not None else None

    async def attempt(self, job_id: str, number: int) -> Attempt | None:
        query = sa.select(t.job_attempts).where(t.job_attempts.c.job_id == job_id, t.job_attempts.c.number == number)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return attempt_of(row) if row is not None else None

    async def move(self, move: Move) -> bool:
        return await self._database.write(lambda connection: _move(connection, move))

    async def note_late_answer(self, job: Job, at_us: int, detail: str) -> None:
        def work(connection: sa.Connection) -> None:
            version = connection.execute(
                t.media_jobs.update()
                .where(t.media_jobs.c.id == job.id)
                .values(version=t.media_jobs.c.version + 1)
                .returning(t.media_jobs.c.version)
            ).scalar_one()
            values = {"from_state": int(job.state), "to_state": int(job.state), "reason": "late_answer"}
            connection.execute(
                t.job_events.insert().values(job_id=job.id, version=version, detail=detail, at_us=at_us, **values)
            )

        await self._database.write(work)


def _move(connection: sa.Connection, move: Move) -> bool:
    values = job_values(move.after)
    if not move.keep_lease:
        values.update(_NO_LEASE)
    swapped = connection.execute(
        t.media_jobs.update()
        .where(
            t.media_jobs.c.id == move.before.id,
            t.media_jobs.c.state == int(move.before.state),
            t.media_jobs.c.version == move.before.version,
        )
        .values(**values)
    )
    if swapped.rowcount != 1:
        return False
    detail = move.attempt.detail if move.attempt is not None else ""
    _write_event(connection, move.after, int(move.before.state), move.reason, detail, move.at_us)
    if move.attempt is not None:
        _write_attempt(connection, move.attempt)
    for asset in move.assets:
        connection.execute(t.assets.insert().values(**_asset_values(asset, move)))
    for message in move.messages:
        connection.execute(
            t.outbox.insert().values(
                topic=message.topic,
                key=message.key,
                payload=message.payload,
                traceparent=message.traceparent,
                tries=0,
                taken_until_us=0,
                created_at_us=move.at_us,
            )
        )
    return True


def _write_event(connection: sa.Connection, job: Job, from_state: int, reason: str, detail: str, at_us: int) -> None:
    connection.execute(
        t.job_events.insert().values(
            job_id=job.id,
            version=job.version,
            from_state=from_state,
            to_state=int(job.state),
            reason=reason,
            detail=detail,
            at_us=at_us,
        )
    )


def _write_attempt(connection: sa.Connection, attempt: Attempt) -> None:
    values = attempt_values(attempt)
    written = connection.execute(
        t.job_attempts.update()
        .where(t.job_attempts.c.job_id == attempt.job_id, t.job_attempts.c.number == attempt.number)
        .values(**values)
    )
    if not written.rowcount:
        connection.execute(t.job_attempts.insert().values(**values))


def _asset_values(asset: Asset, move: Move) -> dict[str, Any]:
    return {
        "id": asset.id,
        "job_id": asset.job_id,
        "organization_id": move.before.tenant.organization_id,
        "project_id": move.before.tenant.project_id,
        "output_index": asset.index,
        "sha256": asset.sha256,
        "content_type": asset.content_type,
        "size_bytes": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "storage_key": asset.storage_key,
        "created_at_us": move.at_us,
    }


def _owned(query: sa.Select[Any], table: sa.Table, organization_id: str, project_id: str) -> sa.Select[Any]:
    query = query.where(table.c.organization_id == organization_id)
    return query.where(table.c.project_id == project_id) if project_id else query
