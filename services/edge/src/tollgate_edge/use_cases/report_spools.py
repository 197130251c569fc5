"""Tells billing, which tells operators, what waits on the disks of this process and of the routers."""

from collections.abc import Callable
from contextlib import suppress

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate_edge.errors import PublicError
from tollgate_edge.ledger_ports import ControlPort
from tollgate_edge.ports import RouterPort


class ReportSpools:
    """`own` is the spool of this process as it is now."""

    def __init__(self, billing: ControlPort, routers: RouterPort, own: Callable[[], wire.Spool]) -> None:
        self._billing = billing
        self._routers = routers
        self._own = own

    async def __call__(self) -> None:
        """Reports once. While billing is away nobody is told, and the spools' metrics say it all the same."""
        routers = [
            wire.Spool(
                process=f"router {address}",
                records=state.spool_records,
                size_bytes=state.spool_bytes,
                limit_bytes=state.spool_limit_bytes,
                problem=state.spool_problem,
            )
            for address, state in await self._routers.describe()
            # A router of an older release does not say how much it may have.
            if state is not None and state.spool_limit_bytes
        ]
        with suppress(PublicError):
            await self._billing.report_spools(wire.ReportSpoolsRequest(spools=[self._own(), *routers]))
