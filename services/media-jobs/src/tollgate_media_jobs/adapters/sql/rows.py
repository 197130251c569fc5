"""Values to rows and back."""

from dataclasses import asdict, fields, replace
from typing import Any

import sqlalchemy as sa

from tollgate_holds import Scope
from tollgate_media_jobs.domain.job import Asset, Attempt, Billing, ImageRequest, Job, Output, Reported, Source, Tenant
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import Failure
from tollgate_rating import PriceBook

_PLAIN = (
    "id", "request_id", "model", "version", "attempt", "ingest_tries", "request_hash", "traceparent", "span_id",
    "config_digest", "price_digest", "currency", "exchange_rate", "requested_model", "client_network",
    "prompt_hash", "hold_pico", "counted_tokens", "counted_second", "charge_pico", "created_at_us",
    "deadline_at_us", "next_at_us", "ended_at_us",
)  # fmt: skip
_ATTEMPT_PLAIN = (
    "job_id", "number", "channel", "provider", "upstream_model", "private_network", "span_id", "started_at_us",
    "ended_at_us", "outcome", "status", "error_kind", "detail",
)  # fmt: skip


def job_values(job: Job) -> dict[str, Any]:
    """Returns the columns of a job, leases left out."""
    return {
        **{name: getattr(job, name) for name in _PLAIN},
        **asdict(job.tenant),
        "image": asdict(job.image),
        "state": int(job.state),
        "tried": list(job.tried),
        "idempotency_key": job.idempotency_key or None,
        "billing": job.billing.value,
        "failure": asdict(job.failure) if job.failure else sa.null(),
    }


def job_of(row: sa.Row[Any]) -> Job:
    """Returns the job of a row of media_jobs."""
    return Job(
        **{name: getattr(row, name) for name in _PLAIN},
        tenant=_tenant_of(row),
        image=_image_of(row.image),
        state=JobState(row.state),
        tried=tuple(row.tried),
        idempotency_key=row.idempotency_key or "",
        billing=Billing(row.billing),
        failure=Failure(**row.failure) if row.failure else None,
    )


def _tenant_of(row: sa.Row[Any]) -> Tenant:
    found = Tenant(**{one.name: getattr(row, one.name) for one in fields(Tenant)})
    return replace(found, limits=tuple(Scope(**scope) for scope in row.limits))


def _image_of(kept: dict[str, Any]) -> ImageRequest:
    # Rows of earlier releases know no sources.
    sources = tuple(Source(**source) for source in kept.get("sources", ()))
    return ImageRequest(**{**kept, "sources": sources})


def attempt_values(attempt: Attempt) -> dict[str, Any]:
    """Returns the columns of an attempt."""
    return {
        **{name: getattr(attempt, name) for name in _ATTEMPT_PLAIN},
        "outputs": [asdict(output) for output in attempt.outputs],
        "reported": asdict(attempt.reported),
    }


def attempt_of(row: sa.Row[Any]) -> Attempt:
    """Returns the attempt of a row of job_attempts."""
    return Attempt(
        **{name: getattr(row, name) for name in _ATTEMPT_PLAIN},
        outputs=tuple(Output(**output) for output in row.outputs),
        reported=Reported(**row.reported),
    )


def asset_of(row: sa.Row[Any]) -> Asset:
    """Returns the asset of a row of assets."""
    return Asset(
        id=row.id,
        job_id=row.job_id,
        index=row.output_index,
        sha256=row.sha256,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        storage_key=row.storage_key,
    )


def book_of(document: bytes) -> PriceBook:
    """Returns the price book of its canonical form."""
    return PriceBook.from_canonical(document)
