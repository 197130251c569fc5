"""Images and media jobs: decoded here, done by media-jobs."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from grpc import aio
from opentelemetry.trace import SpanKind
from starlette.responses import StreamingResponse

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.frame import request_id_of
from tollgate_edge.api.image_forms import read_pictures
from tollgate_edge.api.links import Owner
from tollgate_edge.api.media_view import asset_link, render_job
from tollgate_edge.api.reading import choice_field, text_field, whole_field
from tollgate_edge.domain.access import IMAGES, MEDIA
from tollgate_edge.domain.principal import Principal, tenant_message
from tollgate_edge.errors import PublicError, from_wire, public_error
from tollgate_edge.telemetry import SPAN_MEDIA
from tollgate_kit.tracing import (
    SpanRecord,
    format_traceparent,
    is_sampled,
    new_span_id,
    parse_traceparent,
)

_WAIT_MS: Final = 20_000
_MAX_IMAGES: Final = 10
_MAX_PROMPT: Final = 32_000
_FORMATS: Final = ("png", "jpeg", "webp")
_ENDED: Final = frozenset(
    {media.JOB_STATE_SUCCEEDED, media.JOB_STATE_FAILED, media.JOB_STATE_CANCELLED, media.JOB_STATE_SUBMIT_UNKNOWN}
)
# What OpenAI's wire has and we do not pass on yet; their neutral values ask for nothing.
_NOT_PASSED_ON: Final = {
    "background": ("auto",),
    "input_fidelity": ("low",),
    "moderation": ("auto",),
    "output_compression": (100,),
    "partial_images": (0,),
    "stream": (False,),
    "style": ("vivid",),
}
_MAX_LIST: Final = 100
# Of each picture that a job begins from, so much and its length are part of what it is recognised by.
_END_BYTES: Final = 1024


class _Span:
    """The span of a media request, recorded when it ends."""

    def __init__(self, context: HttpContext, request: Request) -> None:
        given = parse_traceparent(request.headers.get("traceparent", ""))
        trace_id = f"{context.random.getrandbits(128):032x}" if given is None else given[0]
        self.traceparent = format_traceparent(trace_id, new_span_id(context.random), sampled=True)
        self._context = context
        self._parent = "" if given is None else given[1]
        self._started_us = context.clock.now_us()
        self._sampled = is_sampled(trace_id, context.trace_sample_ratio)

    def end(self, request_id: str, model: str, error: str = "") -> None:
        """Records the span, where spans are recorded and this one is kept."""
        if self._context.tracing.enabled and (error or self._sampled):
            self._context.tracing.record(
                SpanRecord(
                    name=SPAN_MEDIA,
                    span=self.traceparent,
                    parent_span_id=self._parent,
                    start_us=self._started_us,
                    end_us=self._context.clock.now_us(),
                    kind=SpanKind.SERVER,
                    attributes={"tollgate.request_id": request_id, "gen_ai.request.model": model},
                    error=error,
                )
            )


def media_router(context: HttpContext) -> APIRouter:
    """Returns `images/generations` and `media/…`, with and without /v1."""
    router = APIRouter()

    @router.post("/v1/images/generations", summary="Makes images and waits for them")
    @router.post("/images/generations", include_in_schema=False)
    async def generate_images(request: Request) -> Response:
        principal = await context.caller(request, IMAGES)
        body = await context.bodies.read_object(request)
        answer = choice_field(body, "response_format", "b64_json", ("b64_json", "url"))
        span = _Span(context, request)
        asked = _asked(context, principal, body, request, span.traceparent)
        return await _drawn(context, request, principal, asked, answer, span)

    @router.post("/v1/images/edits", summary="Changes pictures as a prompt says, and waits for them")
    @router.post("/images/edits", include_in_schema=False)
    async def edit_images(request: Request) -> Response:
        return await _from_pictures(context, request, media.JOB_KIND_IMAGE_EDIT)

    @router.post("/v1/images/variations", summary="Makes pictures like another one, and waits for them")
    @router.post("/images/variations", include_in_schema=False)
    async def vary_image(request: Request) -> Response:
        return await _from_pictures(context, request, media.JOB_KIND_IMAGE_VARIATION)

    @router.post("/v1/media/jobs", status_code=202, summary="Creates a media job")
    @router.post("/media/jobs", status_code=202, include_in_schema=False)
    async def create_job(request: Request) -> Response:
        principal = await context.caller(request, MEDIA)
        body = await context.bodies.read_object(request)
        choice_field(body, "kind", "text_to_image", ("text_to_image",))
        span = _Span(context, request)
        asked = _asked(context, principal, body, request, span.traceparent)
        _mark(context, request, asked)
        job, headers = await _create(context, principal, asked, span)
        span.end(asked.request_id, asked.model)
        return _with(json_response(render_job(context, request, job), 202), headers)

    _add_jobs(router, context)
    _add_assets(router, context)
    return router


async def _drawn(
    context: HttpContext,
    request: Request,
    principal: Principal,
    asked: media.CreateJobRequest,
    answer: str,
    span: _Span,
) -> Response:
    """Creates the job and answers with its pictures. Raises PublicError."""
    _mark(context, request, asked)
    job, headers = await _create(context, principal, asked, span)
    try:
        content = await _images(context, request, await _wait(context, job), answer)
    except PublicError as error:
        span.end(asked.request_id, asked.model, error.code)
        raise error.with_headers(**headers) from None
    span.end(asked.request_id, asked.model)
    return _with(json_response(content), headers)


async def _from_pictures(context: HttpContext, request: Request, kind: media.JobKind) -> Response:
    principal = await context.caller(request, IMAGES)
    body, sources = await read_pictures(context.bodies, request)
    answer = choice_field(body, "response_format", "b64_json", ("b64_json", "url"))
    if kind == media.JOB_KIND_IMAGE_VARIATION and (len(sources) > 1 or body.get("prompt")):
        raise public_error(
            errors.ERROR_KIND_INVALID_REQUEST, "A variation is of one picture, and has no prompt.", "prompt"
        )
    span = _Span(context, request)
    asked = _asked(context, principal, body, request, span.traceparent, kind)
    asked.sources.extend(sources)
    return await _drawn(context, request, principal, asked, answer, span)


async def _create(
    context: HttpContext, principal: Principal, asked: media.CreateJobRequest, span: _Span
) -> tuple[media.Job, dict[str, str]]:
    """Returns what `_turned` does; a refusal ends the span, where there is room for it. Raises PublicError."""
    try:
        return await _turned(context, principal, asked)
    except PublicError as error:
        if context.tracing.enabled and context.room_for_span(principal, error.status):
            span.end(asked.request_id, asked.model, error.code)
        raise


async def _turned(
    context: HttpContext, principal: Principal, asked: media.CreateJobRequest
) -> tuple[media.Job, dict[str, str]]:
    """Returns the job, and the headers of its answer: limits, and whether a budget turns it to another model.

    A job that the other model cannot do goes on as it was asked for. Raises PublicError.
    """
    found = context.turned(principal, asked.model, lambda model: _model_problem(context, principal, model) is None)
    if isinstance(found, PublicError):
        raise found
    if found is None:
        return await _admitted(context, principal, asked)
    turned = media.CreateJobRequest()
    turned.CopyFrom(asked)
    turned.model, turned.requested_model = found.model, asked.model
    try:
        job, headers = await _admitted(context, principal, turned)
    except PublicError as error:
        if error.status not in {400, 404}:
            raise
    else:
        return job, {**headers, "x-tollgate-downgraded": found.told}
    return await _admitted(context, principal, asked)


async def _admitted(
    context: HttpContext, principal: Principal, asked: media.CreateJobRequest
) -> tuple[media.Job, dict[str, str]]:
    """Returns the job, and what its caller is told of limits. Raises PublicError, also where one has no room."""
    started_us = context.clock.now_us()
    reply = await context.media.create(asked)
    if principal.limits is None or not reply.HasField("admission"):
        return reply.job, {}
    admission = reply.admission
    headers, refusal = context.placed(principal.limits, admission.verdict, admission.tokens, started_us)
    if refusal is not None:
        raise refusal.with_headers(**headers)
    return reply.job, headers


def _with(response: Response, headers: Mapping[str, str]) -> Response:
    response.headers.update(headers)
    return response


def _add_jobs(router: APIRouter, context: HttpContext) -> None:
    @router.get("/v1/media/jobs", summary="Media jobs of the key's project, newest first")
    @router.get("/media/jobs", include_in_schema=False)
    async def list_jobs(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=_MAX_LIST)] = 20,
        cursor: Annotated[str, Query(max_length=1000)] = "",
    ) -> Response:
        principal = await context.caller(request, MEDIA)
        found = await context.media.list(
            media.ListJobsRequest(
                organization_id=principal.organization_id, project_id=principal.project_id, limit=limit, cursor=cursor
            )
        )
        items = [render_job(context, request, job) for job in found.jobs]
        return json_response({"items": items, "next": found.next_cursor or None})

    @router.get("/v1/media/jobs/{job_id}", summary="One media job")
    @router.get("/media/jobs/{job_id}", include_in_schema=False)
    async def get_job(request: Request, job_id: str) -> Response:
        principal = await context.caller(request, MEDIA)
        job = await context.media.get(
            media.GetJobRequest(
                organization_id=principal.organization_id, project_id=principal.project_id, job_id=job_id
            )
        )
        return json_response(render_job(context, request, job))


def _add_assets(router: APIRouter, context: HttpContext) -> None:
    @router.get("/v1/media/assets/{asset_id}", summary="The bytes of an asset, for its owner or a signed link")
    @router.get("/media/assets/{asset_id}", include_in_schema=False)
    async def read_asset(request: Request, asset_id: str) -> Response:
        asset, pieces = await context.media.read_asset(
            _asset_request(asset_id, await _asset_owner(context, request, asset_id))
        )
        headers = {
            "content-length": str(asset.size_bytes),
            "etag": f'"{asset.sha256}"',
            "cache-control": "private, max-age=3600",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox",
        }
        return StreamingResponse(_quiet(pieces), media_type=asset.content_type, headers=headers)


async def _quiet(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Ends a download that breaks off: its length says that it is not whole, and no error text is mixed in."""
    try:
        async for piece in pieces:
            yield piece
    except aio.AioRpcError:
        return


async def _asset_owner(context: HttpContext, request: Request, asset_id: str) -> Owner:
    signature = request.query_params.get("sig")
    if signature is None:
        principal = await context.caller(request, MEDIA)
        return Owner(principal.organization_id, principal.project_id)
    owner = context.links.owner(asset_id, request.query_params.get("exp", ""), signature)
    if owner is None:
        raise public_error(errors.ERROR_KIND_FORBIDDEN, "The link is not valid or has expired.", code="invalid_link")
    return owner


def _asset_request(asset_id: str, owner: Owner) -> media.ReadAssetRequest:
    return media.ReadAssetRequest(organization_id=owner.organization_id, project_id=owner.project_id, asset_id=asset_id)


def _asked(
    context: HttpContext,
    principal: Principal,
    body: dict[str, Any],
    request: Request,
    traceparent: str,
    kind: media.JobKind = media.JOB_KIND_TEXT_TO_IMAGE,
) -> media.CreateJobRequest:
    model = text_field(body, "model", required=True, longest=200)
    for name, neutral in _NOT_PASSED_ON.items():
        if body.get(name) is not None and body[name] not in neutral:
            raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"'{name}' is not supported here.", name)
    parameters = media.ImageParameters(
        prompt=text_field(body, "prompt", required=kind != media.JOB_KIND_IMAGE_VARIATION, longest=_MAX_PROMPT),
        size=_unless_auto(text_field(body, "size", longest=20)),
        quality=_unless_auto(text_field(body, "quality", longest=20)),
        count=whole_field(body, "n", 1, 1, _MAX_IMAGES),
        output_format=choice_field(body, "output_format", "", _FORMATS),
        user=text_field(body, "user", longest=200),
    )
    if (problem := _model_problem(context, principal, model)) is not None:
        raise problem
    return media.CreateJobRequest(
        tenant=tenant_message(principal),
        kind=kind,
        model=model,
        image=parameters,
        idempotency_key=_idempotency_key(request),
        request_id=request_id_of(request.scope),
        traceparent=traceparent,
        within_limits=True,
        money_told=True,
        postpaid=not principal.prepaid,
    )


def _mark(context: HttpContext, request: Request, asked: media.CreateJobRequest) -> None:
    """Adds what the job's usage is recognised by: as of other requests, but of what was understood of the body."""
    if context.marks is None:
        return
    ends = (b"%d" % len(one.data) + one.data[-_END_BYTES:] for one in asked.sources)
    body = b"\0".join((asked.model.encode(), asked.image.SerializeToString(deterministic=True), *ends))
    peer = request.client.host if request.client is not None else ""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).encode("latin-1")
    asked.client_network, asked.prompt_hash = context.marks(body, peer, forwarded)


def _unless_auto(value: str) -> str:
    return "" if value == "auto" else value


def _idempotency_key(request: Request) -> str:
    given = request.headers.get("idempotency-key", "")
    if len(given) > 200:
        raise public_error(errors.ERROR_KIND_INVALID_REQUEST, "Idempotency-Key is longer than 200 characters.")
    return given or request_id_of(request.scope)


def _model_problem(context: HttpContext, principal: Principal, model: str) -> PublicError | None:
    """Returns why images of this model may not be asked for, or None when they may."""
    version = context.version.current()
    if version is None:
        return public_error(errors.ERROR_KIND_UNAVAILABLE, retry_after_ms=1000)
    found = version.model(principal.route_group, model)
    if found is None or (principal.models is not None and model not in principal.models):
        return public_error(
            errors.ERROR_KIND_MODEL_NOT_FOUND,
            f"The model '{model}' does not exist or this key may not use it. GET /v1/models lists what it may.",
            "model",
        )
    if found.mode not in {"image", ""}:
        return public_error(
            errors.ERROR_KIND_INVALID_REQUEST, f"The model '{model}' is for {found.mode}, not for images.", "model"
        )
    return None


async def _wait(context: HttpContext, job: media.Job) -> media.Job:
    """Returns the job once it succeeded. Raises PublicError for every other end."""
    deadline = context.clock.monotonic() + context.media_timeout_seconds
    while job.state not in _ENDED:
        left_ms = round((deadline - context.clock.monotonic()) * 1000)
        if left_ms <= 0:
            raise public_error(
                errors.ERROR_KIND_DEADLINE, f"The job {job.id} goes on. Ask for it at /v1/media/jobs/{job.id}."
            )
        job = await context.media.wait(
            media.WaitJobRequest(
                organization_id=job.tenant.organization_id,
                project_id=job.tenant.project_id,
                job_id=job.id,
                timeout_ms=min(left_ms, _WAIT_MS),
            )
        )
    if job.state != media.JOB_STATE_SUCCEEDED:
        raise from_wire(job.error) if job.error.kind else public_error(errors.ERROR_KIND_UPSTREAM_UNAVAILABLE)
    return job


async def _images(context: HttpContext, request: Request, job: media.Job, answer: str) -> dict[str, Any]:
    owner = Owner(job.tenant.organization_id, job.tenant.project_id)
    assets = sorted(job.assets, key=lambda asset: asset.index)
    if answer == "url":
        data = [{"url": asset_link(context, request, asset.id, owner)} for asset in assets]
    else:
        data = []
        for asset in assets:
            _, pieces = await context.media.read_asset(_asset_request(asset.id, owner))
            data.append({"b64_json": base64.b64encode(await _whole(pieces, asset)).decode()})
    content: dict[str, Any] = {"created": job.created_at_us // 1_000_000, "data": data}
    if job.image.output_format:
        content["output_format"] = job.image.output_format
    if job.reported_tokens:
        content["usage"] = _usage(job.reported_tokens)
    return content


def _usage(tokens: Mapping[str, int]) -> dict[str, Any]:
    """Returns exclusive units as OpenAI's images report them: what was read from a cache counts as text."""
    text, pictures = tokens.get("input", 0) + tokens.get("cache_read", 0), tokens.get("image_input", 0)
    text_out, drawn = tokens.get("output", 0), tokens.get("image_output", 0)
    return {
        "input_tokens": text + pictures,
        "input_tokens_details": {"text_tokens": text, "image_tokens": pictures},
        "output_tokens": text_out + drawn,
        "output_tokens_details": {"text_tokens": text_out, "image_tokens": drawn},
        "total_tokens": text + pictures + text_out + drawn,
    }


async def _whole(pieces: AsyncIterator[bytes], asset: media.Asset) -> bytes:
    try:
        found = b"".join([piece async for piece in pieces])
    except aio.AioRpcError:
        raise public_error(errors.ERROR_KIND_UNAVAILABLE) from None
    if len(found) != asset.size_bytes:
        raise public_error(errors.ERROR_KIND_INTERNAL)
    return found
