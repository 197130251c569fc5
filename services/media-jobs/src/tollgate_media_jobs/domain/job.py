"""A job and what belongs to it, as plain values. Times are microseconds since the epoch, money is pico-units."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tollgate_holds import Scope
from tollgate_media_jobs.domain.states import TERMINAL, JobState, Trigger, next_state
from tollgate_media_jobs.errors import Failure


class Billing(enum.Enum):
    """What becomes of the hold: exactly one of SETTLED and RELEASED, when the job ends."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Tenant:
    organization_id: str
    project_id: str
    api_key_id: str = ""
    price_group: str = ""
    route_group: str = ""
    # Of the key: what usage is counted by in budgets.
    tags: str = ""
    member: str = ""
    # What the job was admitted within.
    limits: tuple[Scope, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A picture that came with a request; `name` is image or mask, `key` where its bytes wait."""

    name: str
    content_type: str
    extension: str
    sha256: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What to draw. An empty size, quality or format is the model's default.

    With `sources` it is an edit of these, or a `variation`, which has no prompt.
    """

    prompt: str
    size: str = ""
    quality: str = ""
    count: int = 1
    output_format: str = ""
    user: str = ""
    sources: tuple[Source, ...] = ()
    variation: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    id: str
    request_id: str
    tenant: Tenant
    model: str
    image: ImageRequest
    created_at_us: int
    deadline_at_us: int
    next_at_us: int
    state: JobState = JobState.QUEUED
    version: int = 1
    # Number of the latest attempt; 0 before the first.
    attempt: int = 0
    # Channels that refused, in order.
    tried: tuple[str, ...] = ()
    ingest_tries: int = 0
    idempotency_key: str = ""
    request_hash: str = ""
    # The caller's trace context, and the span that stands for the job in it.
    traceparent: str = ""
    span_id: str = ""
    config_digest: str = ""
    # What the caller named, where a budget turned the job to `model`.
    requested_model: str = ""
    # What its usage is recognised by; the hash in 16 hex digits, empty where there is none.
    client_network: str = ""
    prompt_hash: str = ""
    price_digest: str = ""
    currency: str = ""
    # In canonical form, where the organization pays in another currency than the price book's.
    exchange_rate: str = ""
    hold_pico: int = 0
    # What the job counts as among the tokens of a minute until its end, and the second it was counted in, by Redis.
    counted_tokens: int = 0
    counted_second: int = 0
    charge_pico: int = 0
    billing: Billing = Billing.HELD
    failure: Failure | None = None
    ended_at_us: int = 0

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Output:
    """One result as the provider gave it: either a key of ours where its bytes wait, or its address."""

    index: int
    staged_key: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """What the provider says it did: tokens by unit name in exclusive buckets, and what it drew; empty: not said."""

    tokens: Mapping[str, int] = field(default_factory=dict)
    size: str = ""
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to a provider. `outcome` is `open` until it ended."""

    job_id: str
    number: int
    channel: str
    provider: str
    upstream_model: str
    private_network: bool
    span_id: str
    started_at_us: int
    ended_at_us: int = 0
    outcome: str = "open"
    status: int = 0
    error_kind: int = 0
    # For operators; never shown to callers.
    detail: str = ""
    outputs: tuple[Output, ...] = ()
    reported: Reported = Reported()


@dataclass(frozen=True, slots=True)
class Asset:
    """A stored result."""

    id: str
    job_id: str
    index: int
    sha256: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    storage_key: str


@dataclass(frozen=True, slots=True)
class Message:
    """Something that leaves through the outbox."""

    topic: str
    key: bytes
    payload: bytes
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """One transition with all that is written in its transaction. `before` is the job as it was read."""

    before: Job
    after: Job
    at_us: int
    reason: str
    # Inserted, or written over the attempt of the same number.
    attempt: Attempt | None = None
    assets: Sequence[Asset] = ()
    messages: Sequence[Message] = ()
    # The worker goes on with the job.
    keep_lease: bool = False


def moved(job: Job, trigger: Trigger, **changes: Any) -> Job:
    """Returns the job after a transition. Raises NotAllowed."""
    return replace(job, state=next_state(job.state, trigger), version=job.version + 1, **changes)
