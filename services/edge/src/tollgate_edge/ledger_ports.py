"""Money that moves without a request, as edge asks billing for it."""

from collections.abc import AsyncIterator
from typing import Protocol

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import dead_letters_pb2 as letters
from tollgate.billing.v1 import ledger_pb2 as ledger
from tollgate.billing.v1 import mending_pb2 as mending
from tollgate.billing.v1 import payments_pb2 as payments
from tollgate.billing.v1 import reports_pb2 as reports


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


class DeadLetterPort(Protocol):
    """Billing's dead letters over gRPC. All raise PublicError."""

    async def dead_letters(self, request: letters.ListDeadLettersRequest) -> letters.ListDeadLettersResponse:
        """Usage events that could not be booked, newest first."""
        ...

    async def dead_letter(self, request: letters.GetDeadLetterRequest) -> letters.GetDeadLetterResponse:
        """One of them with its bytes."""
        ...

    async def replay(self, request: letters.ReplayDeadLettersRequest) -> letters.ReplayDeadLettersResponse:
        """Sends those that can be booked now to where they came from."""
        ...


class MendingPort(Protocol):
    """Billing's mending of the usage store over gRPC. Both raise PublicError, also while replies are read."""

    async def refill(self, request: mending.RefillRollupsRequest) -> AsyncIterator[mending.RefillRollupsResponse]:
        """Makes sums again from usage rows; returns each slice of time that is done."""
        ...

    async def rebuild(self, request: mending.RebuildUsageRequest) -> AsyncIterator[mending.RebuildUsageResponse]:
        """Writes missing usage rows again from the event log; returns how far it is."""
        ...


class ReportPort(Protocol):
    """Billing's reports over gRPC. All raise PublicError."""

    async def statement(self, request: reports.GetStatementRequest) -> reports.GetStatementResponse:
        """An organization's month."""
        ...

    async def what_if(self, request: reports.WhatIfRequest) -> reports.WhatIfResponse:
        """What usage would have cost under a draft."""
        ...

    async def rerate_unpriced(self, request: reports.RerateUnpricedRequest) -> reports.RerateUnpricedResponse:
        """What requests without a price come to now; charges them where it is asked to."""
        ...

    async def take_back_repeated(self, request: reports.TakeBackRepeatedRequest) -> reports.TakeBackRepeatedResponse:
        """What requests were charged beside their one charge; takes it back where it is asked to."""
        ...


class PaymentPort(Protocol):
    """Billing's payments over gRPC. All raise PublicError."""

    async def create_top_up(self, request: payments.CreateTopUpRequest) -> payments.CreateTopUpResponse:
        """Begins a payment."""
        ...

    async def record_payment(self, request: payments.RecordPaymentRequest) -> payments.RecordPaymentResponse:
        """Takes a provider's message."""
        ...

    async def top_ups(self, request: payments.ListTopUpsRequest) -> payments.ListTopUpsResponse:
        """Payments, newest first."""
        ...


class ControlPort(Protocol):
    """Billing's budgets, destinations and anomalies over gRPC. All raise PublicError."""

    async def create_budget(self, request: wire.CreateBudgetRequest) -> wire.CreateBudgetResponse:
        """A new budget."""
        ...

    async def budgets(self, request: wire.ListBudgetsRequest) -> wire.ListBudgetsResponse:
        """Budgets as they were last evaluated, newest first."""
        ...

    async def budget(self, request: wire.GetBudgetRequest) -> wire.GetBudgetResponse:
        """A budget as it stands now, with forecasts."""
        ...

    async def delete_budget(self, request: wire.DeleteBudgetRequest) -> wire.DeleteBudgetResponse:
        """Removes a budget."""
        ...

    async def forecast(self, request: wire.GetForecastRequest) -> wire.GetForecastResponse:
        """When an organization's money is gone."""
        ...

    async def controls(self, request: wire.GetControlsRequest) -> wire.GetControlsResponse:
        """What budgets refuse or turn to another model now."""
        ...

    async def report_spools(self, request: wire.ReportSpoolsRequest) -> wire.ReportSpoolsResponse:
        """Says what waits on the disks of processes."""
        ...

    async def create_destination(self, request: wire.CreateDestinationRequest) -> wire.CreateDestinationResponse:
        """A new destination of notices."""
        ...

    async def destinations(self, request: wire.ListDestinationsRequest) -> wire.ListDestinationsResponse:
        """All destinations, without what is secret."""
        ...

    async def delete_destination(self, request: wire.DeleteDestinationRequest) -> wire.DeleteDestinationResponse:
        """Removes a destination."""
        ...

    async def test_destination(self, request: wire.TestDestinationRequest) -> wire.TestDestinationResponse:
        """Sends a message now."""
        ...

    async def notices(self, request: wire.ListNoticesRequest) -> wire.ListNoticesResponse:
        """Notices and what became of them, newest first."""
        ...

    async def anomalies(self, request: wire.ListAnomaliesRequest) -> wire.ListAnomaliesResponse:
        """Anomalies, newest first."""
        ...
