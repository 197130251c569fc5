"""LedgerService over gRPC: decode, ask one use case, encode."""

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from grpc import aio

from tollgate.billing.v1 import ledger_pb2 as wire
from tollgate.billing.v1 import ledger_pb2_grpc
from tollgate.errors.v1 import errors_pb2
from tollgate_billing.domain.books import nearest
from tollgate_billing.errors import (
    BillingError,
    InvalidControl,
    InvalidMove,
    InvalidQuery,
    KeyReused,
    NameTaken,
    NotFound,
    TooManyGuesses,
    Unsigned,
)
from tollgate_billing.ledger_ports import BonusGrant, Code, CodeTerms, Move, Moved
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.move_money import MoveMoney
from tollgate_kit.clock import Clock
from tollgate_kit.grpc_io import abort_with

_MAX_ROWS: Final = 1_000
_DEFAULT_ROWS: Final = 100
_KINDS: Final = (
    (InvalidMove, errors_pb2.ERROR_KIND_INVALID_REQUEST),
    (InvalidControl, errors_pb2.ERROR_KIND_INVALID_REQUEST),
    (InvalidQuery, errors_pb2.ERROR_KIND_INVALID_REQUEST),
    (KeyReused, errors_pb2.ERROR_KIND_CONFLICT),
    (NameTaken, errors_pb2.ERROR_KIND_CONFLICT),
    (Unsigned, errors_pb2.ERROR_KIND_UNAUTHENTICATED),
    (NotFound, errors_pb2.ERROR_KIND_NOT_FOUND),
    (TooManyGuesses, errors_pb2.ERROR_KIND_RATE_LIMITED),
)
_BONUS: Final = ("key", "amount_pico", "remaining_pico", "priority", "expires_us", "created_us", "reason")
_TRANSFER: Final = (
    *("id", "batch", "project_id", "model", "price_digest", "currency", "debit", "credit", "amount_pico", "events"),
    *("reason", "created_us", "rate_digest"),
)

T = TypeVar("T")
Context = aio.ServicerContext[Any, Any]


class LedgerService(ledger_pb2_grpc.LedgerServiceServicer):
    """Errors leave as typed kinds; UNAVAILABLE while something behind billing is away."""

    def __init__(self, money: MoveMoney, wallets: KeepWallets, clock: Clock) -> None:
        self._money = money
        self._wallets = wallets
        self._clock = clock

    async def GrantBonus(self, request: wire.GrantBonusRequest, context: Context) -> wire.GrantBonusResponse:  # noqa: N802
        grant = BonusGrant(self._move(request, request.currency), request.priority, request.expires_us)
        return wire.GrantBonusResponse(moved=_moved(await answered(context, self._money.grant_bonus(grant))))

    async def Refund(self, request: wire.RefundRequest, context: Context) -> wire.RefundResponse:  # noqa: N802
        currency = request.currency or await self._currency(context, request.organization_id)
        return wire.RefundResponse(
            moved=_moved(await answered(context, self._money.refund(self._move(request, currency))))
        )

    async def Correct(self, request: wire.CorrectRequest, context: Context) -> wire.CorrectResponse:  # noqa: N802
        return wire.CorrectResponse(
            moved=_moved(await answered(context, self._money.correct(self._move(request, request.currency))))
        )

    async def TransferMoney(self, request: wire.TransferMoneyRequest, context: Context) -> wire.TransferMoneyResponse:  # noqa: N802
        move = self._move(request, request.currency or await self._currency(context, request.organization_id))
        work = self._money.transfer(move, request.to_organization_id, request.to_currency)
        return wire.TransferMoneyResponse(moved=_moved(await answered(context, work)))

    async def SetCreditLine(self, request: wire.SetCreditLineRequest, context: Context) -> wire.SetCreditLineResponse:  # noqa: N802
        organization, now_us = request.organization_id, self._clock.now_us()
        move = Move(organization, request.currency, request.amount_pico, "", "", now_us)
        return wire.SetCreditLineResponse(moved=_moved(await answered(context, self._money.set_credit_line(move))))

    async def GetAccounts(self, request: wire.GetAccountsRequest, context: Context) -> wire.GetAccountsResponse:  # noqa: N802
        found = await answered(context, self._money.accounts(request.organization_id))
        return wire.GetAccountsResponse(
            currency=found.currency,
            credit_line_pico=found.credit_line_pico,
            balance_pico=nearest(found.balance_pico),
            exact_pico=str(found.balance_pico),
            accounts=[
                wire.Account(account=account, currency=currency, balance_pico=nearest(balance), exact_pico=str(balance))
                for account, currency, balance in found.accounts
            ],
            bonuses=[wire.Bonus(**{name: getattr(one, name) for name in _BONUS}) for one in found.bonuses],
        )

    async def ListTransfers(self, request: wire.ListTransfersRequest, context: Context) -> wire.ListTransfersResponse:  # noqa: N802
        limit = min(request.limit or _DEFAULT_ROWS, _MAX_ROWS)
        if request.cursor and not (request.cursor.isascii() and request.cursor.isdecimal()):
            await answered(context, _refuse(InvalidQuery("the cursor is none that was given out")))
        before = int(request.cursor[:18] or 0)
        rows = await answered(context, self._money.transfers(request.organization_id, limit + 1, before))
        page = rows[:limit]
        return wire.ListTransfersResponse(
            rows=[wire.TransferRow(**{name: getattr(row, name) for name in _TRANSFER}) for row in page],
            next_cursor=str(page[-1].id) if len(rows) > limit else "",
        )

    async def CreateCodes(self, request: wire.CreateCodesRequest, context: Context) -> wire.CreateCodesResponse:  # noqa: N802
        terms = CodeTerms(
            label=request.label[:256],
            currency=request.currency,
            amount_pico=request.amount_pico,
            priority=request.priority,
            valid_days=request.valid_days,
            expires_us=request.expires_us,
        )
        made = await answered(context, self._money.create_codes(request.count, terms, self._clock.now_us()))
        return wire.CreateCodesResponse(codes=[_code(record, text) for text, record in made])

    async def RedeemCode(self, request: wire.RedeemCodeRequest, context: Context) -> wire.RedeemCodeResponse:  # noqa: N802
        work = self._money.redeem(request.code, request.organization_id, request.currency, self._clock.now_us())
        found = await answered(context, work)
        return wire.RedeemCodeResponse(
            amount_pico=found.amount_pico,
            balance_pico=nearest(found.balance_pico),
            expires_us=found.expires_us,
            repeated=found.repeated,
        )

    async def ListCodes(self, request: wire.ListCodesRequest, context: Context) -> wire.ListCodesResponse:  # noqa: N802
        limit = min(request.limit or _DEFAULT_ROWS, _MAX_ROWS)
        found = await answered(context, self._money.codes(limit + 1, request.cursor))
        page = found[:limit]
        return wire.ListCodesResponse(
            codes=[_code(one) for one in page], next_cursor=page[-1].id if len(found) > limit else ""
        )

    async def RevokeCode(self, request: wire.RevokeCodeRequest, context: Context) -> wire.RevokeCodeResponse:  # noqa: N802
        return wire.RevokeCodeResponse(
            code=_code(await answered(context, self._money.revoke_code(request.id, self._clock.now_us())))
        )

    async def RebuildWallets(  # noqa: N802
        self, request: wire.RebuildWalletsRequest, context: Context
    ) -> wire.RebuildWalletsResponse:
        found = await answered(context, self._wallets.rebuild_all(request.organization_id))
        return wire.RebuildWalletsResponse(
            wallets=[
                wire.RebuiltWallet(
                    organization_id=one.organization_id,
                    before_pico=one.before,
                    wallet_pico=one.wallet,
                    changed=one.changed,
                    currency=one.currency,
                )
                for one in found
            ]
        )

    def _move(self, request: Any, currency: str) -> Move:
        return Move(
            organization_id=request.organization_id,
            currency=currency,
            amount_pico=request.amount_pico,
            key=request.idempotency_key,
            reason=request.reason,
            now_us=self._clock.now_us(),
        )

    async def _currency(self, context: Context, organization_id: str) -> str:
        return (await answered(context, self._money.accounts(organization_id))).currency or "USD"


async def answered(context: Context, work: Awaitable[T]) -> T:
    """Returns what the work returns; ends the call with a typed error when it refuses."""
    try:
        return await work
    except BillingError as error:
        kind = next((kind for one, kind in _KINDS if isinstance(error, one)), errors_pb2.ERROR_KIND_UNAVAILABLE)
        said = "Billing waits for something behind it." if kind == errors_pb2.ERROR_KIND_UNAVAILABLE else _said(error)
        found = errors_pb2.Error(kind=kind, message=said)
        if isinstance(error, Unsigned):
            found.code = "invalid_signature"
        if isinstance(error, TooManyGuesses):
            found.retry_after_ms = max(1, error.retry_after_us // 1000)
        await abort_with(context, found)
        raise


async def _refuse(error: BillingError) -> None:
    raise error


def _said(error: BillingError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _moved(moved: Moved) -> wire.Moved:
    balance = moved.balance_pico
    return wire.Moved(balance_pico=nearest(balance), repeated=moved.repeated, exact_pico=str(balance))


def _code(record: Code, text: str = "") -> wire.Code:
    terms = record.terms
    return wire.Code(
        id=record.id,
        label=terms.label,
        currency=terms.currency,
        amount_pico=terms.amount_pico,
        created_us=record.created_us,
        expires_us=terms.expires_us,
        redeemed_us=record.redeemed_us,
        redeemed_by=record.redeemed_by,
        revoked_us=record.revoked_us,
        valid_days=terms.valid_days,
        code=text,
    )
