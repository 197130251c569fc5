"""Copies a job's results to our own storage, checked and hashed, and ends the job."""

import hashlib
import logging
from dataclasses import dataclass, replace

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.clock import Clock
from tollgate_kit.ids import Ids
from tollgate_media_jobs.domain.images import ImageFacts, inspect_image
from tollgate_media_jobs.domain.job import Asset, Attempt, Billing, Job, Move, Output, moved
from tollgate_media_jobs.domain.pricing import drawn_as
from tollgate_media_jobs.domain.states import Trigger
from tollgate_media_jobs.errors import BlobsUnavailable, Failure, FetchFailed, FetchRefused, NotAnImage
from tollgate_media_jobs.ports import Blobs, Books, Failpoints, Fetcher, Jobs, Queue, Versions
from tollgate_media_jobs.telemetry import Metrics
from tollgate_media_jobs.use_cases.moves import Moves
from tollgate_media_jobs.use_cases.usage_event import Picture, bill, usage_message

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 30


class _Unusable(Exception):  # noqa: N818
    """A result that no further try will make usable."""


@dataclass(frozen=True, slots=True)
class _Stored:
    asset: Asset
    picture: Picture


class IngestJob:
    def __init__(
        self,
        *,
        owner: str,
        jobs: Jobs,
        queue: Queue,
        books: Books,
        versions: Versions,
        moves: Moves,
        blobs: Blobs,
        fetcher: Fetcher,
        clock: Clock,
        ids: Ids,
        metrics: Metrics,
        failpoints: Failpoints,
        max_tries: int,
        max_pixels: int,
        max_asset_bytes: int,
    ) -> None:
        self._owner = owner
        self._jobs = jobs
        self._queue = queue
        self._books = books
        self._versions = versions
        self._moves = moves
        self._blobs = blobs
        self._fetcher = fetcher
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._failpoints = failpoints
        self._max_tries = max_tries
        self._max_pixels = max_pixels
        self._max_asset_bytes = max_asset_bytes

    async def __call__(self, job: Job) -> None:
        """Takes an INGESTING job. Results that can be used are delivered and charged, even when others cannot."""
        attempt = await self._jobs.attempt(job.id, job.attempt)
        stored: list[_Stored] = []
        problems: list[str] = []
        for output in attempt.outputs if attempt else ():
            try:
                stored.append(await self._store(job, attempt, output))
            except (FetchFailed, BlobsUnavailable) as error:
                if job.ingest_tries + 1 < self._max_tries:
                    await self._later(job, error)
                    return
                problems.append(str(error))
            except (FetchRefused, NotAnImage, _Unusable) as error:
                problems.append(str(error))
        if problems:
            log.warning("results cannot be used", extra={"fields": {"job": job.id, "problems": "; ".join(problems)}})
        self._failpoints.reach("after_assets")
        if attempt is None or not stored:
            await self._unusable(job, attempt, problems)
        else:
            await self._succeed(job, attempt, stored, problems)

    async def _later(self, job: Job, error: Exception) -> None:
        pause = min(2**job.ingest_tries, _LONGEST_PAUSE_SECONDS)
        fields = {"job": job.id, "error": str(error), "pause_seconds": pause}
        log.warning("results cannot be copied yet", extra={"fields": fields})
        due = self._clock.now_us() + pause * 1_000_000
        await self._queue.let_go(self._owner, job.id, due, ingest_failed=True)

    async def _store(self, job: Job, attempt: Attempt | None, output: Output) -> _Stored:
        assert attempt is not None
        data = await self._bytes_of(attempt, output)
        if len(data) > self._max_asset_bytes:
            raise _Unusable(f"a result of {len(data)} bytes is larger than {self._max_asset_bytes}")
        facts = inspect_image(data, max_pixels=self._max_pixels)
        digest = hashlib.sha256(data).hexdigest()
        key = asset_key(job.tenant.organization_id, digest, facts)
        await self._blobs.put(key, data, facts.content_type)
        self._failpoints.reach("after_asset")
        asset = Asset(
            id=self._ids.new("asset"),
            job_id=job.id,
            index=output.index,
            sha256=digest,
            content_type=facts.content_type,
            size_bytes=len(data),
            width=facts.width,
            height=facts.height,
            storage_key=key,
        )
        return _Stored(asset, Picture(*drawn_as(job.image, attempt.reported, facts.width, facts.height)))

    async def _bytes_of(self, attempt: Attempt, output: Output) -> bytes:
        if output.url:
            return await self._fetcher.fetch(output.url, private_network=attempt.private_network)
        data = await self._blobs.get(output.staged_key)
        if data is None:
            raise _Unusable("a staged result is gone")
        return data

    async def _unusable(self, job: Job, attempt: Attempt | None, problems: list[str]) -> None:
        failure = Failure(
            errors.ERROR_KIND_UPSTREAM_PROTOCOL,
            "The provider answered, but its images could not be used; nothing is charged.",
            code="asset_invalid",
        )
        closed = None
        if attempt is not None:
            closed = replace(attempt, error_kind=failure.kind, detail="; ".join(problems)[:500], outputs=())
        await self._moves.fail(
            job, Trigger.UNUSABLE, failure, reason="unusable", outcome=wire.OUTCOME_UPSTREAM_ERROR, attempt=closed
        )

    async def _succeed(self, job: Job, attempt: Attempt, stored: list[_Stored], problems: list[str]) -> None:
        now = self._clock.now_us()
        book = await self._books.find(job.price_digest) if job.price_digest else None
        version = self._versions.current()
        cost = None if version is None else version.costs.get(attempt.channel)
        charged = bill(job, book, [one.picture for one in stored], attempt.reported, cost)
        after = moved(
            job, Trigger.STORED, charge_pico=charged.charge_pico, billing=Billing.SETTLED, ended_at_us=now, failure=None
        )
        # Where the results came from is of no use any more, and may be signed.
        closed = replace(attempt, outputs=(), detail="; ".join(problems)[:500])
        event = usage_message(
            after,
            closed,
            charged,
            outcome=wire.OUTCOME_OK,
            final=True,
            ended_at_us=now,
            sample_ratio=self._moves.trace_sample_ratio,
        )
        assets = [one.asset for one in stored]
        done = await self._moves.make(Move(job, after, now, "stored", attempt=closed, assets=assets, messages=(event,)))
        if done is not None:
            self._metrics.assets_bytes.inc(sum(asset.size_bytes for asset in assets))
            if charged.unpriced:
                self._metrics.unpriced.inc()
                log.error("the job has no price", extra={"fields": {"job": job.id, "model": job.model}})


def asset_key(organization_id: str, digest: str, facts: ImageFacts) -> str:
    """Returns the content-addressed key of a result; tenants share no keys."""
    return f"assets/{organization_id}/{digest[:2]}/{digest}.{facts.extension}"
