"""Billing's payments over gRPC; failures come out as public errors."""

from typing import Final

from tollgate.billing.v1 import payments_pb2 as payments
from tollgate.billing.v1 import payments_pb2_grpc
from tollgate_edge.adapters.grpc_clients import answer
from tollgate_kit.grpc_io import new_channel

_CALL_SECONDS: Final = 15.0


class PaymentClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = payments_pb2_grpc.PaymentServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def create_top_up(self, request: payments.CreateTopUpRequest) -> payments.CreateTopUpResponse:
        return await answer(self._stub.CreateTopUp(request, timeout=_CALL_SECONDS))

    async def record_payment(self, request: payments.RecordPaymentRequest) -> payments.RecordPaymentResponse:
        return await answer(self._stub.RecordPayment(request, timeout=_CALL_SECONDS))

    async def top_ups(self, request: payments.ListTopUpsRequest) -> payments.ListTopUpsResponse:
        return await answer(self._stub.ListTopUps(request, timeout=_CALL_SECONDS))
