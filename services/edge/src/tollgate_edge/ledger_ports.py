"""Money that moves without a request, as edge asks billing for it."""

from typing import Protocol

from tollgate.billing.v1 import ledger_pb2 as ledger


class LedgerPort(Protocol):
    """Billing's ledger over gRPC. All raise PublicError."""

    async def grant_bonus(self, request: ledger.GrantBonusRequest) -> ledger.GrantBonusResponse:
        """Adds credit that is spent before paid money."""
        ...

    async def refund(self, request: ledger.RefundRequest) -> ledger.RefundResponse:
        """Gives paid money back."""
        ...

    async def correct(self, request: ledger.CorrectRequest) -> ledger.CorrectResponse:
        """Puts a mistake right."""
        ...

    async def transfer(self, request: ledger.TransferMoneyRequest) -> ledger.TransferMoneyResponse:
        """Moves paid money to another organization."""
        ...

    async def set_credit_line(self, request: ledger.SetCreditLineRequest) -> ledger.SetCreditLineResponse:
        """Sets how far below zero money may go."""
        ...

    async def accounts(self, request: ledger.GetAccountsRequest) -> ledger.GetAccountsResponse:
        """The accounts of an organization."""
        ...

    async def transfers(self, request: ledger.ListTransfersRequest) -> ledger.ListTransfersResponse:
        """Transfers, newest first."""
        ...

    async def create_codes(self, request: ledger.CreateCodesRequest) -> ledger.CreateCodesResponse:
        """New redemption codes."""
        ...

    async def redeem(self, request: ledger.RedeemCodeRequest) -> ledger.RedeemCodeResponse:
        """Credits a code's worth."""
        ...

    async def codes(self, request: ledger.ListCodesRequest) -> ledger.ListCodesResponse:
        """Codes, newest first, without themselves."""
        ...

    async def revoke_code(self, request: ledger.RevokeCodeRequest) -> ledger.RevokeCodeResponse:
        """Withdraws a code."""
        ...

    async def rebuild_wallets(self, request: ledger.RebuildWalletsRequest) -> ledger.RebuildWalletsResponse:
        """Makes wallets again from the ledger."""
        ...
