"""Billing's mending of the usage store over gRPC; failures come out as public errors."""

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

from grpc import aio

from tollgate.billing.v1 import mending_pb2 as mending
from tollgate.billing.v1 import mending_pb2_grpc
from tollgate_edge.errors import from_wire
from tollgate_kit.grpc_io import error_from, new_channel

# All that the event log keeps is read.
_SECONDS: Final = 12 * 3600.0
R = TypeVar("R")


class MendingClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = mending_pb2_grpc.MendingServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def refill(self, request: mending.RefillRollupsRequest) -> AsyncIterator[mending.RefillRollupsResponse]:
        return await _begun(self._stub.RefillRollups(request, timeout=_SECONDS))

    async def rebuild(self, request: mending.RebuildUsageRequest) -> AsyncIterator[mending.RebuildUsageResponse]:
        return await _begun(self._stub.RebuildUsage(request, timeout=_SECONDS))


async def _begun(call: Any) -> AsyncIterator[Any]:
    """Returns the replies of a call once there is a first one; what is refused at once is raised here."""
    replies = _understood(call)
    first = await anext(replies, None)

    async def all_of_them() -> AsyncIterator[Any]:
        try:
            if first is not None:
                yield first
                async for reply in replies:
                    yield reply
        finally:
            # Whoever is no longer listened to does not go on.
            call.cancel()

    return all_of_them()


async def _understood(call: Any) -> AsyncIterator[Any]:
    try:
        async for reply in call:
            yield reply
    except aio.AioRpcError as failure:
        raise from_wire(error_from(failure)) from None
