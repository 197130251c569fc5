"""The usage event of an attempt: what billing charges by, written into the outbox with the transition it belongs to."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.ids import event_id
from tollgate_kit.tracing import format_traceparent, is_sampled, parse_traceparent
from tollgate_media_jobs.domain.job import Attempt, Job, Message, Reported
from tollgate_rating import (
    REQUEST,
    AmountOutOfRange,
    ChannelCost,
    ExchangeRate,
    ModelPrice,
    PriceBook,
    Unpriced,
    billed_tokens,
    counts_pictures,
    image_unit,
)

USAGE_TOPIC = "usage.recorded.v1"
_TRY = 1
_UINT32_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Picture:
    """The size and quality that one stored picture is priced by."""

    size: str
    quality: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What a job used and costs. `unpriced`: charge 0 for want of a price."""

    usage: wire.Usage
    charge_pico: int = 0
    cost_pico: int = 0
    unpriced: bool = False
    # Set where the amounts were converted into the organization's currency.
    conversion: events.Conversion | None = None


def no_bill() -> Bill:
    """Returns the bill of what came to nothing."""
    return Bill(wire.Usage())


def bill(
    job: Job, book: PriceBook | None, pictures: Sequence[Picture], reported: Reported, cost: ChannelCost | None = None
) -> Bill:
    """Returns the bill by the book in force when the job was created.

    `cost` is what the channel's account pays where it declares it; else the list price, as for a unit without one.
    """
    price, listed = _price(job, book, job.tenant.price_group), _price(job, book, "")
    usage = _usage(price, pictures, reported)
    paid = listed if cost is None else cost.price(job.model, listed)
    if price is None:
        return Bill(usage, unpriced=True)
    try:
        charge = price.rate(units_of(usage), job.created_at_us)
        # An account may pay for a picture where its caller pays for tokens, and the other way round.
        spent, paid = next(_costs(job, (paid, listed, price), pictures, reported))
    except (Unpriced, AmountOutOfRange):
        return Bill(usage, unpriced=True)
    conversion = None
    # What could be rated after a conversion can be before it.
    if price.exchange is not None:
        conversion = events.Conversion(
            rate_digest=price.rate_digest,
            list_currency=price.unconverted.currency,
            list_charge_pico=price.unconverted.rate(units_of(usage), job.created_at_us),
            provider_currency=paid.unconverted.currency,
            provider_cost_pico=paid.unconverted.rate(units_of(_usage(paid, pictures, reported)), job.created_at_us),
        )
    return Bill(usage, charge, spent, conversion=conversion)


def _costs(
    job: Job, prices: Sequence[ModelPrice | None], pictures: Sequence[Picture], reported: Reported
) -> Iterator[tuple[int, ModelPrice]]:
    """Yields what each of these prices that knows all of its units says, and that price."""
    for price in prices:
        if price is not None:
            with contextlib.suppress(Unpriced, AmountOutOfRange):
                yield price.rate(units_of(_usage(price, pictures, reported)), job.created_at_us), price


def _usage(price: ModelPrice | None, pictures: Sequence[Picture], reported: Reported) -> wire.Usage:
    """Returns what is paid for by this price."""
    usage = wire.Usage(requests=1)
    tokens = reported.tokens
    by_picture = counts_pictures(price, tokens, {image_unit(one.size, one.quality) for one in pictures})
    for unit, quantity in billed_tokens(price, tokens, by_picture=by_picture).items():
        setattr(usage, f"{unit}_tokens", quantity)
    if by_picture:
        for picture in sorted(set(pictures), key=lambda one: (one.size, one.quality)):
            usage.images.add(size=picture.size, quality=picture.quality, count=pictures.count(picture))
    return usage


def _price(job: Job, book: PriceBook | None, group: str) -> ModelPrice | None:
    price = book.price(job.model, group) if book else None
    if price is None or not job.exchange_rate:
        return price
    return price.converted(ExchangeRate.from_canonical(job.exchange_rate))


def units_of(usage: wire.Usage) -> dict[str, int]:
    """Returns what is priced: token fields without their ending, the request, and pictures by size and quality."""
    units = {
        field.name.removesuffix("_tokens"): int(value)
        for field, value in usage.ListFields()
        if field.name.endswith("_tokens")
    }
    if usage.requests:
        units[REQUEST] = usage.requests
    for image in usage.images:
        unit = image_unit(image.size, image.quality)
        units[unit] = units.get(unit, 0) + image.count
    return units


def tenant_message(job: Job) -> wire.Tenant:
    """Returns who pays, as it travels."""
    tenant = job.tenant
    return wire.Tenant(
        organization_id=tenant.organization_id,
        project_id=tenant.project_id,
        api_key_id=tenant.api_key_id,
        price_group=tenant.price_group,
        route_group=tenant.route_group,
        currency=job.currency,
        tags=tenant.tags,
        member=tenant.member,
        limits=[
            wire.Limit(
                kind=scope.kind,
                id=scope.id,
                requests_per_minute=scope.requests,
                tokens_per_minute=scope.tokens,
                concurrency=scope.slots,
                budget_pico=scope.budget_pico,
                budget_window=scope.budget_window if scope.budget_pico else "",
            )
            for scope in tenant.limits
        ],
    )


def job_traceparent(job: Job) -> str:
    """Returns the trace context that the job's own span stands for; empty without a trace."""
    parent = parse_traceparent(job.traceparent)
    return format_traceparent(parent[0], job.span_id, sampled=True) if parent else ""


def keeps_trace(job: Job, sample_ratio: float) -> bool:
    """Says whether a job's trace is kept: of failed jobs and of those with a second call always, of others a share."""
    parent = parse_traceparent(job.traceparent)
    if parent is None:
        return False
    return job.failure is not None or job.attempt > 1 or is_sampled(parent[0], sample_ratio)


def usage_message(
    job: Job,
    attempt: Attempt | None,
    charged: Bill,
    *,
    outcome: wire.Outcome,
    final: bool,
    ended_at_us: int,
    sample_ratio: float,
) -> Message:
    """Returns the event for the outbox. Exactly one of a job is final; it alone carries a charge."""
    # A job that ends without a call of its own gets the number that its next call would have had.
    number = attempt.number if attempt else job.attempt + 1
    event = events.UsageRecorded(
        event_id=event_id(job.request_id, _TRY, number, events.EVENT_SOURCE_ROUTER),
        request_id=job.request_id,
        attempt=number,
        source=events.EVENT_SOURCE_ROUTER,
        final=final,
        status=events.EVENT_STATUS_CONFIRMED,
        started_at_us=job.created_at_us,
        # Another process may have made the job, by another clock. Billing takes none that ended long before its start.
        ended_at_us=max(ended_at_us, job.created_at_us),
        tenant=tenant_message(job),
        model=job.model,
        requested_model=job.requested_model,
        fallback_reason="budget" if job.requested_model else "",
        operation=wire.OPERATION_IMAGE,
        outcome=outcome,
        usage=charged.usage,
        cost_pico=charged.cost_pico,
        charge_pico=charged.charge_pico if final else 0,
        currency=job.currency,
        price_digest=job.price_digest,
        unpriced=charged.unpriced,
        config_digest=job.config_digest,
        traceparent=job_traceparent(job),
        trace_kept=keeps_trace(job, sample_ratio),
        media_job_id=job.id,
        client_network=job.client_network,
        prompt_hash=int(job.prompt_hash or "0", 16),
    )
    if charged.conversion is not None:
        event.conversion.CopyFrom(charged.conversion)
        event.conversion.list_charge_pico *= final
    if final:
        event.hold_pico = job.hold_pico
    # Its name is a word of the language.
    setattr(event, "try", _TRY)
    event.timings.total_us = _clamped(ended_at_us - job.created_at_us)
    if attempt is not None:
        event.upstream_model, event.provider, event.channel = attempt.upstream_model, attempt.provider, attempt.channel
        event.upstream_status = attempt.status
        event.timings.upstream_started_us = _clamped(attempt.started_at_us - job.created_at_us)
    kind = attempt.error_kind if attempt is not None and not final else job.failure.kind if job.failure else 0
    if kind:
        event.error_kind = kind_name(kind)
    traceparent = event.traceparent if event.trace_kept else ""
    return Message(USAGE_TOPIC, job.request_id.encode(), event.SerializeToString(), traceparent)


def kind_name(kind: int) -> str:
    """Returns an ErrorKind's name without its prefix, in lower case."""
    return errors.ErrorKind.Name(kind).removeprefix("ERROR_KIND_").lower()


def _clamped(microseconds: int) -> int:
    return min(max(microseconds, 0), _UINT32_MAX)
