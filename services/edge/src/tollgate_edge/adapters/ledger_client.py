"""Billing's ledger over gRPC; failures come out as public errors."""

from typing import Final

from tollgate.billing.v1 import ledger_pb2 as ledger
from tollgate.billing.v1 import ledger_pb2_grpc
from tollgate_edge.adapters.grpc_clients import answer
from tollgate_kit.grpc_io import new_channel

_CALL_SECONDS: Final = 15.0
# All organizations are gone through, one after the other.
_LONG_SECONDS: Final = 300.0


class LedgerClient:
    def __init__(self, address: str) -> None:
        self._channel = new_channel(address)
        self._stub = ledger_pb2_grpc.LedgerServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def grant_bonus(self, request: ledger.GrantBonusRequest) -> ledger.GrantBonusResponse:
        return await answer(self._stub.GrantBonus(request, timeout=_CALL_SECONDS))

    async def refund(self, request: ledger.RefundRequest) -> ledger.RefundResponse:
        return await answer(self._stub.Refund(request, timeout=_CALL_SECONDS))

    async def correct(self, request: ledger.CorrectRequest) -> ledger.CorrectResponse:
        return await answer(self._stub.Correct(request, timeout=_CALL_SECONDS))

    async def transfer(self, request: ledger.TransferMoneyRequest) -> ledger.TransferMoneyResponse:
        return await answer(self._stub.TransferMoney(request, timeout=_CALL_SECONDS))

    async def set_credit_line(self, request: ledger.SetCreditLineRequest) -> ledger.SetCreditLineResponse:
        return await answer(self._stub.SetCreditLine(request, timeout=_CALL_SECONDS))

    async def accounts(self, request: ledger.GetAccountsRequest) -> ledger.GetAccountsResponse:
        return await answer(self._stub.GetAccounts(request, timeout=_CALL_SECONDS))

    async def transfers(self, request: ledger.ListTransfersRequest) -> ledger.ListTransfersResponse:
        return await answer(self._stub.ListTransfers(request, timeout=_CALL_SECONDS))

    async def create_codes(self, request: ledger.CreateCodesRequest) -> ledger.CreateCodesResponse:
        return await answer(self._stub.CreateCodes(request, timeout=_CALL_SECONDS))

    async def redeem(self, request: ledger.RedeemCodeRequest) -> ledger.RedeemCodeResponse:
        return await answer(self._stub.RedeemCode(request, timeout=_CALL_SECONDS))

    async def codes(self, request: ledger.ListCodesRequest) -> ledger.ListCodesResponse:
        return await answer(self._stub.ListCodes(request, timeout=_CALL_SECONDS))

    async def revoke_code(self, request: ledger.RevokeCodeRequest) -> ledger.RevokeCodeResponse:
        return await answer(self._stub.RevokeCode(request, timeout=_CALL_SECONDS))

    async def rebuild_wallets(self, request: ledger.RebuildWalletsRequest) -> ledger.RebuildWalletsResponse:
        return await answer(self._stub.RebuildWallets(request, timeout=_LONG_SECONDS))
