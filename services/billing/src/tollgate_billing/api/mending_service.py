"""MendingService over gRPC: decode, run one use case, encode what it says as it goes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from grpc import aio

from tollgate.billing.v1 import mending_pb2 as wire
from tollgate.billing.v1 import mending_pb2_grpc
from tollgate_billing.api.books_reply import difference_reply
from tollgate_billing.api.ledger_service import answered
from tollgate_billing.use_cases.rebuild_usage import RebuildUsage, Rebuilt
from tollgate_billing.use_cases.refill_rollups import Refilled, RefillRollups

_COUNTS: Final = ("step", "records", "batches", "copies", "missing", "unfit", "sums", "letters", "mismatches", "cut")
Context = aio.ServicerContext[Any, Any]
T = TypeVar("T")
M = TypeVar("M", bound=Message)


class MendingService(mending_pb2_grpc.MendingServiceServicer):
    """Errors leave as typed kinds; UNAVAILABLE while something behind billing is away."""

    def __init__(self, refill: RefillRollups, rebuild: RebuildUsage) -> None:
        self._refill = refill
        self._rebuild = rebuild

    async def RefillRollups(  # noqa: N802
        self, request: wire.RefillRollupsRequest, context: Context
    ) -> AsyncIterator[wire.RefillRollupsResponse]:
        work = self._refill(request.rollup, request.from_us, request.to_us, dry_run=request.dry_run)
        async for reply in _said(context, work, _refilled):
            yield reply

    async def RebuildUsage(  # noqa: N802
        self, request: wire.RebuildUsageRequest, context: Context
    ) -> AsyncIterator[wire.RebuildUsageResponse]:
        work = self._rebuild(request.from_us, request.to_us, dry_run=request.dry_run)
        async for reply in _said(context, work, _rebuilt):
            yield reply


async def _said(context: Context, work: AsyncGenerator[T, None], encode: Callable[[T], M]) -> AsyncIterator[M]:
    """Yields what a use case says. Who is no longer listened to is ended in good order."""
    async with aclosing(work):
        while (one := await answered(context, anext(work, None))) is not None:
            yield encode(one)


def _refilled(one: Refilled) -> wire.RefillRollupsResponse:
    return wire.RefillRollupsResponse(rollup=one.rollup, from_us=one.from_us, to_us=one.to_us, differed=one.differed)


def _rebuilt(one: Rebuilt) -> wire.RebuildUsageResponse:
    return wire.RebuildUsageResponse(
        kept=[wire.KeptRecords(partition=of.partition, offset=of.offset, at_us=of.at_us) for of in one.kept],
        not_rebuilt=map(difference_reply, one.not_rebuilt),
        **{name: getattr(one, name) for name in _COUNTS},
    )
