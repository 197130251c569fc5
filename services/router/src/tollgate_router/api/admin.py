"""RouterAdminService: what the router knows of its channels, for operators."""

from collections.abc import Callable
from typing import Any

from tollgate.router.v1 import router_pb2, router_pb2_grpc
from tollgate_router.exchange.service import ExchangeDeps


class RouterAdmin(router_pb2_grpc.RouterAdminServiceServicer):
    def __init__(self, deps: ExchangeDeps, open_by_channel: Callable[[], dict[str, int]]) -> None:
        self._deps = deps
        self._open_by_channel = open_by_channel

    async def DescribeRouter(  # noqa: N802 - the name is the contract's.
        self, request: router_pb2.DescribeRouterRequest, context: Any
    ) -> router_pb2.DescribeRouterResponse:
        """Returns the snapshot in force and each channel's state."""
        del request, context
        snapshot, counters = self._deps.snapshot, self._deps.counters
        spool = self._deps.recorder.spool
        reply = router_pb2.DescribeRouterResponse(
            open_requests=self._deps.open_requests, spool_records=spool.records, spool_bytes=spool.bytes
        )
        if snapshot is None:
            return reply
        reply.config_digest = snapshot.digest
        open_by_channel = self._open_by_channel()
        for channel in snapshot.channels:
            reply.channels.add(
                channel=channel.name,
                provider=channel.provider,
                route_groups=channel.groups,
                models=channel.model_count,
                usable=not channel.problem,
                reason=channel.problem,
                open_requests=open_by_channel.get(channel.name, 0),
                attempts=counters.attempts[channel.name],
                failures=counters.failures[channel.name],
            )
        return reply
