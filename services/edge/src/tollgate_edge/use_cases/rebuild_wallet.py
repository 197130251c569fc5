"""Has billing put back a wallet that Redis lost."""

import asyncio
import logging
from typing import Final

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.errors import PublicError
from tollgate_edge.ports import BillingPort

log = logging.getLogger(__name__)

_MOST: Final = 1_000
_REST_SECONDS: Final = 0.5


class RebuildWallet:
    """Asks once at a time for each organization, however many requests find no wallet."""

    def __init__(self, port: BillingPort) -> None:
        self._port = port
        self._asking: dict[str, asyncio.Task[None]] = {}

    def __call__(self, organization_id: str) -> None:
        """Begins to ask, in the running loop."""
        if organization_id in self._asking or len(self._asking) >= _MOST:
            return
        task = self._asking[organization_id] = asyncio.create_task(self._ask(organization_id))
        task.add_done_callback(lambda _: self._asking.pop(organization_id, None))

    async def _ask(self, organization_id: str) -> None:
        try:
            await self._port.rebuild_wallet(billing.RebuildWalletRequest(organization_id=organization_id))
        except PublicError as error:
            log.warning("a wallet is missing and billing is away", extra={"fields": {"error": str(error)}})
            await asyncio.sleep(_REST_SECONDS)
