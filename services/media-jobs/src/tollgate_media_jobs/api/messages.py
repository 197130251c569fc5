"""Values to messages of tollgate.media.v1 and back."""

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.media.v1 import media_pb2 as media
from tollgate_holds import Scope
from tollgate_media_jobs.domain.job import Asset, ImageRequest, Tenant
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import MediaError
from tollgate_media_jobs.use_cases.create_job import CreateCommand
from tollgate_media_jobs.use_cases.read_jobs import JobView
from tollgate_media_jobs.use_cases.usage_event import tenant_message

_KINDS = frozenset({media.JOB_KIND_TEXT_TO_IMAGE, media.JOB_KIND_IMAGE_EDIT, media.JOB_KIND_IMAGE_VARIATION})


def _kind_of(image: ImageRequest) -> media.JobKind:
    if image.variation:
        return media.JOB_KIND_IMAGE_VARIATION
    return media.JOB_KIND_IMAGE_EDIT if image.sources else media.JOB_KIND_TEXT_TO_IMAGE


def command_of(request: media.CreateJobRequest) -> CreateCommand:
    """Returns what is asked for. Raises MediaError for a kind that is not made."""
    if request.kind not in _KINDS or bool(request.sources) != (request.kind != media.JOB_KIND_TEXT_TO_IMAGE):
        raise MediaError(
            errors.ERROR_KIND_INVALID_REQUEST,
            "This kind of job is not known; allowed: text_to_image, and image_edit and image_variation of pictures.",
            param="kind",
        )
    image, tenant = request.image, request.tenant
    return CreateCommand(
        tenant=Tenant(
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            api_key_id=tenant.api_key_id,
            price_group=tenant.price_group,
            route_group=tenant.route_group,
            tags=tenant.tags,
            member=tenant.member,
            limits=tuple(map(_scope_of, tenant.limits)) if request.within_limits else (),
        ),
        model=request.model,
        # A count that was left out is one picture.
        image=ImageRequest(
            image.prompt,
            image.size,
            image.quality,
            image.count or 1,
            image.output_format,
            image.user,
            variation=request.kind == media.JOB_KIND_IMAGE_VARIATION,
        ),
        files=tuple((source.name, source.data) for source in request.sources),
        request_id=request.request_id,
        currency=tenant.currency,
        money_told=request.money_told,
        idempotency_key=request.idempotency_key,
        traceparent=request.traceparent,
        requested_model=request.requested_model,
        client_network=request.client_network,
        prompt_hash=request.prompt_hash,
        prepaid=not request.postpaid,
    )


def _scope_of(limit: wire.Limit) -> Scope:
    return Scope(
        limit.kind,
        limit.id,
        limit.requests_per_minute,
        limit.tokens_per_minute,
        limit.concurrency,
        limit.budget_pico,
        limit.budget_window or "month",
    )


def job_message(view: JobView) -> media.Job:
    """Returns a job as callers see it."""
    job = view.job
    message = media.Job(
        id=job.id,
        kind=_kind_of(job.image),
        state=int(job.state),  # type: ignore[arg-type]  # A number for an enum.
        tenant=tenant_message(job),
        model=job.model,
        image=media.ImageParameters(
            prompt=job.image.prompt,
            size=job.image.size,
            quality=job.image.quality,
            count=job.image.count,
            output_format=job.image.output_format,
            user=job.image.user,
        ),
        assets=[asset_message(asset) for asset in view.assets],
        created_at_us=job.created_at_us,
        ended_at_us=job.ended_at_us,
        charge_pico=job.charge_pico,
        currency=job.currency,
        request_id=job.request_id,
        traceparent=job.traceparent,
        reported_tokens=view.reported_tokens,
    )
    if job.failure is not None and job.state is JobState.FAILED:
        message.error.kind = job.failure.kind  # type: ignore[assignment]  # A number for an enum.
        message.error.message = job.failure.message
        message.error.param = job.failure.param
        message.error.code = job.failure.code
    return message


def asset_message(asset: Asset) -> media.Asset:
    """Returns an asset as callers see it."""
    return media.Asset(
        id=asset.id,
        sha256=asset.sha256,
        content_type=asset.content_type,
        size_bytes=asset.size_bytes,
        width=asset.width,
        height=asset.height,
        index=asset.index,
    )
