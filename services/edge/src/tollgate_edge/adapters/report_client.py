"""Billing's reports over gRPC; failures come out as public errors."""

from typing import Final

from tollgate.billing.v1 import reports_pb2 as reports
from tollgate.billing.v1 import reports_pb2_grpc
from tollgate_edge.adapters.grpc_clients import answer
from tollgate_kit.grpc_io import new_channel

_CALL_SECONDS: Final = 30.0
# Millions of requests are rated again.
_LONG_SECONDS: Final = 300.0


class ReportClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = reports_pb2_grpc.ReportServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def statement(self, request: reports.GetStatementRequest) -> reports.GetStatementResponse:
        return await answer(self._stub.GetStatement(request, timeout=_CALL_SECONDS))

    async def what_if(self, request: reports.WhatIfRequest) -> reports.WhatIfResponse:
        return await answer(self._stub.WhatIf(request, timeout=_LONG_SECONDS))

    async def rerate_unpriced(self, request: reports.RerateUnpricedRequest) -> reports.RerateUnpricedResponse:
        return await answer(self._stub.RerateUnpriced(request, timeout=_LONG_SECONDS))

    async def take_back_repeated(self, request: reports.TakeBackRepeatedRequest) -> reports.TakeBackRepeatedResponse:
        return await answer(self._stub.TakeBackRepeated(request, timeout=_LONG_SECONDS))
