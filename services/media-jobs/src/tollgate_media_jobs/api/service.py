"""MediaService over gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from grpc import aio

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate.media.v1 import media_pb2_grpc
from tollgate_kit.grpc_io import abort_with
from tollgate_media_jobs.api.messages import asset_message, command_of, job_message
from tollgate_media_jobs.domain.job import Asset
from tollgate_media_jobs.errors import MediaError, Unavailable
from tollgate_media_jobs.use_cases.create_job import CreateJob
from tollgate_media_jobs.use_cases.read_jobs import ReadJobs

Context = aio.ServicerContext[Any, Any]
T = TypeVar("T")


class MediaService(media_pb2_grpc.MediaServiceServicer):
    def __init__(self, create: CreateJob, read: ReadJobs) -> None:
        self._create = create
        self._read = read

    async def CreateJob(self, request: media.CreateJobRequest, context: Context) -> media.CreateJobResponse:  # noqa: N802
        async def work() -> media.CreateJobResponse:
            admission = await self._create(command_of(request))
            reply = media.CreateJobResponse()
            if admission.verdict:
                reply.admission.verdict.extend(admission.verdict)
                reply.admission.tokens = admission.tokens
            if (job := admission.job) is not None:
                view = await self._read.get(job.tenant.organization_id, job.tenant.project_id, job.id)
                reply.job.CopyFrom(job_message(view))
            return reply

        return await _answer(context, work)

    async def GetJob(self, request: media.GetJobRequest, context: Context) -> media.GetJobResponse:  # noqa: N802
        async def work() -> media.GetJobResponse:
            view = await self._read.get(request.organization_id, request.project_id, request.job_id)
            return media.GetJobResponse(job=job_message(view))

        return await _answer(context, work)

    async def WaitJob(self, request: media.WaitJobRequest, context: Context) -> media.WaitJobResponse:  # noqa: N802
        async def work() -> media.WaitJobResponse:
            view = await self._read.wait(
                request.organization_id, request.project_id, request.job_id, request.timeout_ms
            )
            return media.WaitJobResponse(job=job_message(view))

        return await _answer(context, work)

    async def ListJobs(self, request: media.ListJobsRequest, context: Context) -> media.ListJobsResponse:  # noqa: N802
        async def work() -> media.ListJobsResponse:
            page = await self._read.page(request.organization_id, request.project_id, request.limit, request.cursor)
            return media.ListJobsResponse(jobs=[job_message(view) for view in page.jobs], next_cursor=page.next_cursor)

        return await _answer(context, work)

    async def ReadAsset(  # noqa: N802
        self, request: media.ReadAssetRequest, context: Context
    ) -> AsyncIterator[media.ReadAssetResponse]:
        async def work() -> tuple[Asset, AsyncIterator[bytes]]:
            return await self._read.asset(request.organization_id, request.project_id, request.asset_id)

        asset, pieces = await _answer(context, work)
        yield media.ReadAssetResponse(asset=asset_message(asset))
        try:
            async for piece in pieces:
                yield media.ReadAssetResponse(data=piece)
        except Unavailable:
            await abort_with(context, _away())


def _away() -> errors.Error:
    return errors.Error(
        kind=errors.ERROR_KIND_UNAVAILABLE, message="Media jobs are not available now; try again shortly."
    )


async def _answer(context: Context, work: Callable[[], Awaitable[T]]) -> T:
    """Returns what `work` returns; its typed errors end the call."""
    try:
        return await work()
    except MediaError as error:
        failure = errors.Error(
            kind=error.kind,  # type: ignore[arg-type]  # A number for an enum.
            message=error.message,
            param=error.param,
            code=error.code,
        )
    except Unavailable:
        failure = _away()
    await abort_with(context, failure)
    raise AssertionError("abort_with always raises")
