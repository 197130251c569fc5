"""Reads jobs and assets for their owner, and waits for a job's end."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_kit.clock import Clock
from tollgate_media_jobs.domain.job import Asset, Job
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import MediaError
from tollgate_media_jobs.ports import Blobs, Jobs
from tollgate_media_jobs.use_cases.notices import Notices

_DEFAULT_PAGE = 20
_LARGEST_PAGE = 100


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its results. `reported_tokens` are the provider's, of a single job that succeeded."""

    job: Job
    assets: Sequence[Asset]
    reported_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    jobs: Sequence[JobView]
    next_cursor: str


class ReadJobs:
    def __init__(
        self, jobs: Jobs, blobs: Blobs, notices: Notices, clock: Clock, *, poll_seconds: float, max_wait_seconds: float
    ) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._notices = notices
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._max_wait_seconds = max_wait_seconds

    async def get(self, organization_id: str, project_id: str, job_id: str) -> JobView:
        """Returns the job. Raises MediaError NOT_FOUND, for another tenant's too."""
        job = await self._jobs.get(_owner(organization_id), project_id, job_id)
        if job is None:
            raise MediaError(errors.ERROR_KIND_NOT_FOUND, f"There is no job {job_id[:64]!r}.")
        view = (await self._views([job]))[0]
        if job.state is not JobState.SUCCEEDED:
            return view
        attempt = await self._jobs.attempt(job.id, job.attempt)
        return replace(view, reported_tokens=attempt.reported.tokens) if attempt is not None else view

    async def wait(self, organization_id: str, project_id: str, job_id: str, timeout_ms: int) -> JobView:
        """Returns the job once it ended, or as it is when the time is over."""
        until = self._clock.monotonic() + min(timeout_ms / 1000, self._max_wait_seconds)
        event = self._notices.register(job_id)
        try:
            while True:
                view = await self.get(organization_id, project_id, job_id)
                left = until - self._clock.monotonic()
                if view.job.ended or left <= 0:
                    return view
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(left, self._poll_seconds))
                event.clear()
        finally:
            self._notices.forget(job_id, event)

    async def page(self, organization_id: str, project_id: str, limit: int, cursor: str) -> Page:
        """Returns jobs, newest first. A limit of 0 is the default; more than 100 becomes 100."""
        size = min(limit or _DEFAULT_PAGE, _LARGEST_PAGE)
        jobs = await self._jobs.list(_owner(organization_id), project_id, size + 1, _position(cursor))
        more = len(jobs) > size
        shown = jobs[:size]
        return Page(await self._views(shown), f"{shown[-1].created_at_us}.{shown[-1].id}" if more else "")

    async def asset(self, organization_id: str, project_id: str, asset_id: str) -> tuple[Asset, AsyncIterator[bytes]]:
        """Returns the asset and its bytes in pieces of 64 KiB. Raises MediaError NOT_FOUND, for others' too."""
        asset = await self._jobs.find_asset(_owner(organization_id), project_id, asset_id)
        if asset is None:
            raise MediaError(errors.ERROR_KIND_NOT_FOUND, f"There is no asset {asset_id[:64]!r}.")
        return asset, self._blobs.read(asset.storage_key)

    async def _views(self, jobs: Sequence[Job]) -> list[JobView]:
        by_job: defaultdict[str, list[Asset]] = defaultdict(list)
        for asset in await self._jobs.assets_of([job.id for job in jobs if job.ended]):
            by_job[asset.job_id].append(asset)
        return [JobView(job, by_job[job.id]) for job in jobs]


def _owner(organization_id: str) -> str:
    if not organization_id:
        raise MediaError(errors.ERROR_KIND_FORBIDDEN, "The request names no organization.")
    return organization_id


def _position(cursor: str) -> tuple[int, str] | None:
    if not cursor:
        return None
    at, _, job_id = cursor.partition(".")
    if not (at.isascii() and at.isdigit() and len(at) < 19 and job_id):
        raise MediaError(errors.ERROR_KIND_INVALID_REQUEST, "The cursor is none that a list has given.", param="cursor")
    return int(at), job_id
