"""Media jobs as callers see them."""

from typing import Any

from fastapi import Request

from tollgate.media.v1 import media_pb2 as media
from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.links import Owner
from tollgate_edge.api.rendering import render_time
from tollgate_edge.errors import from_wire
from tollgate_rating import format_decimal


def asset_link(context: HttpContext, request: Request, asset_id: str, owner: Owner) -> str:
    """Returns a signed address of an asset that works for a while without a key."""
    return f"{context.base_url(request)}/v1/media/assets/{asset_id}?{context.links.query(asset_id, owner)}"


def render_job(context: HttpContext, request: Request, job: media.Job) -> dict[str, Any]:
    """Returns a job as callers see it."""
    owner = Owner(job.tenant.organization_id, job.tenant.project_id)
    state = media.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()
    content: dict[str, Any] = {
        "id": job.id,
        "object": "media.job",
        "kind": media.JobKind.Name(job.kind).removeprefix("JOB_KIND_").lower(),
        "state": state,
        "model": job.model,
        "prompt": job.image.prompt,
        "size": job.image.size or None,
        "quality": job.image.quality or None,
        "n": job.image.count,
        "created_at": render_time(job.created_at_us),
        "ended_at": render_time(job.ended_at_us),
        "request_id": job.request_id,
        "charge": format_decimal(job.charge_pico) if job.state == media.JOB_STATE_SUCCEEDED else "0",
        "charge_pico": job.charge_pico,
        "currency": job.currency or None,
        "assets": [
            {
                "id": asset.id,
                "content_type": asset.content_type,
                "size_bytes": asset.size_bytes,
                "width": asset.width,
                "height": asset.height,
                "sha256": asset.sha256,
                "url": asset_link(context, request, asset.id, owner),
            }
            for asset in sorted(job.assets, key=lambda asset: asset.index)
        ],
        "error": None,
    }
    if job.error.kind:
        error = from_wire(job.error)
        content["error"] = {"code": error.code, "message": error.message, "param": error.param or None}
    return content
