"""PaymentService over gRPC: decode, ask one use case, encode."""

from typing import Any, Final

from grpc import aio

from tollgate.billing.v1 import payments_pb2 as wire
from tollgate.billing.v1 import payments_pb2_grpc
from tollgate_billing.api.ledger_service import answered
from tollgate_billing.payment_ports import TopUp
from tollgate_billing.use_cases.top_up import TopUps

_MAX_ROWS: Final = 1_000
_FIELDS: Final = (
    *("id", "organization_id", "currency", "amount_pico", "state", "checkout_url", "created_us", "changed_us"),
)
Context = aio.ServicerContext[Any, Any]


class PaymentService(payments_pb2_grpc.PaymentServiceServicer):
    """Errors leave as typed kinds; UNAUTHENTICATED for what nobody signed."""

    def __init__(self, top_ups: TopUps) -> None:
        self._top_ups = top_ups

    async def CreateTopUp(self, request: wire.CreateTopUpRequest, context: Context) -> wire.CreateTopUpResponse:  # noqa: N802
        work = self._top_ups.begin(
            request.organization_id, request.currency, request.amount_pico, request.idempotency_key
        )
        return wire.CreateTopUpResponse(top_up=_top_up(await answered(context, work)))

    async def RecordPayment(self, request: wire.RecordPaymentRequest, context: Context) -> wire.RecordPaymentResponse:  # noqa: N802
        work = self._top_ups.record(request.webhook_id, request.timestamp, request.signature, request.body)
        return wire.RecordPaymentResponse(result=await answered(context, work))

    async def ListTopUps(self, request: wire.ListTopUpsRequest, context: Context) -> wire.ListTopUpsResponse:  # noqa: N802
        limit = min(request.limit or 100, _MAX_ROWS)
        found = await answered(context, self._top_ups.list(request.organization_id, limit + 1, request.cursor))
        return wire.ListTopUpsResponse(
            top_ups=[_top_up(one) for one in found[:limit]],
            next_cursor=found[limit - 1].id if len(found) > limit else "",
        )


def _top_up(one: TopUp) -> wire.TopUp:
    return wire.TopUp(**{name: getattr(one, name) for name in _FIELDS})
