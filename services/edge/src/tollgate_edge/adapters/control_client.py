"""Billing's budgets, destinations and anomalies over gRPC; failures come out as public errors."""

from typing import Final

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import controls_pb2_grpc
from tollgate_edge.adapters.grpc_clients import answer
from tollgate_kit.grpc_io import new_channel

_CALL_SECONDS: Final = 15.0
# A test waits for the other side, which billing gives 15 s.
_TEST_SECONDS: Final = 40.0
_CONTROLS_SECONDS: Final = 5.0


class ControlClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = controls_pb2_grpc.ControlServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def create_budget(self, request: wire.CreateBudgetRequest) -> wire.CreateBudgetResponse:
        return await answer(self._stub.CreateBudget(request, timeout=_CALL_SECONDS))

    async def budgets(self, request: wire.ListBudgetsRequest) -> wire.ListBudgetsResponse:
        return await answer(self._stub.ListBudgets(request, timeout=_CALL_SECONDS))

    async def budget(self, request: wire.GetBudgetRequest) -> wire.GetBudgetResponse:
        return await answer(self._stub.GetBudget(request, timeout=_CALL_SECONDS))

    async def delete_budget(self, request: wire.DeleteBudgetRequest) -> wire.DeleteBudgetResponse:
        return await answer(self._stub.DeleteBudget(request, timeout=_CALL_SECONDS))

    async def forecast(self, request: wire.GetForecastRequest) -> wire.GetForecastResponse:
        return await answer(self._stub.GetForecast(request, timeout=_CALL_SECONDS))

    async def controls(self, request: wire.GetControlsRequest) -> wire.GetControlsResponse:
        return await answer(self._stub.GetControls(request, timeout=_CONTROLS_SECONDS))

    async def report_spools(self, request: wire.ReportSpoolsRequest) -> wire.ReportSpoolsResponse:
        return await answer(self._stub.ReportSpools(request, timeout=_CONTROLS_SECONDS))

    async def create_destination(self, request: wire.CreateDestinationRequest) -> wire.CreateDestinationResponse:
        return await answer(self._stub.CreateDestination(request, timeout=_CALL_SECONDS))

    async def destinations(self, request: wire.ListDestinationsRequest) -> wire.ListDestinationsResponse:
        return await answer(self._stub.ListDestinations(request, timeout=_CALL_SECONDS))

    async def delete_destination(self, request: wire.DeleteDestinationRequest) -> wire.DeleteDestinationResponse:
        return await answer(self._stub.DeleteDestination(request, timeout=_CALL_SECONDS))

    async def test_destination(self, request: wire.TestDestinationRequest) -> wire.TestDestinationResponse:
        return await answer(self._stub.TestDestination(request, timeout=_TEST_SECONDS))

    async def notices(self, request: wire.ListNoticesRequest) -> wire.ListNoticesResponse:
        return await answer(self._stub.ListNotices(request, timeout=_CALL_SECONDS))

    async def anomalies(self, request: wire.ListAnomaliesRequest) -> wire.ListAnomaliesResponse:
        return await answer(self._stub.ListAnomalies(request, timeout=_CALL_SECONDS))
