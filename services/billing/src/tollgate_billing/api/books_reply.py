"""Comparisons of the books and of providers' costs on the wire."""

from collections.abc import Sequence

from tollgate.billing.v1 import billing_pb2 as wire
from tollgate_billing.domain.books import Difference, Report, nearest
from tollgate_billing.domain.provider_costs import Compared


def books_reply(report: Report, *, lag_events: int, lag_ms: int) -> wire.CompareBooksResponse:
    """Returns what was compared and every difference."""
    return wire.CompareBooksResponse(
        from_us=report.from_us,
        to_us=report.to_us,
        batches=report.batches,
        rows=report.rows,
        organizations=report.organizations,
        holds=report.holds,
        cut=report.cut,
        lag_events=lag_events,
        lag_ms=lag_ms,
        differences=map(difference_reply, report.differences),
    )


def difference_reply(one: Difference) -> wire.BookDifference:
    """Returns one difference."""
    return wire.BookDifference(
        kind=one.kind,
        detail=one.detail,
        organization_id=one.organization_id,
        batch=one.batch,
        request_ids=one.request_ids,
        found_pico=nearest(one.found_pico),
        expected_pico=nearest(one.expected_pico),
        project_id=one.project_id,
        model=one.model,
        rollup=one.rollup,
        bucket_us=one.bucket_us,
        next_step=one.next_step,
    )


def provider_costs_reply(found: Sequence[Compared]) -> wire.CompareProviderCostsResponse:
    """Returns both sides of each day and model."""
    return wire.CompareProviderCostsResponse(
        costs=[
            wire.ProviderCost(
                day=one.day,
                model=one.model,
                currency=one.currency,
                theirs_pico=one.theirs_pico,
                ours_pico=one.ours_pico,
            )
            for one in found
        ]
    )
