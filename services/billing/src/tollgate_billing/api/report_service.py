"""ReportService over gRPC: decode, ask one use case, encode."""

from collections.abc import Collection
from typing import Any

from grpc import aio

from tollgate.billing.v1 import reports_pb2 as wire
from tollgate.billing.v1 import reports_pb2_grpc
from tollgate_billing.api.ledger_service import answered
from tollgate_billing.domain.books import nearest
from tollgate_billing.domain.judge import Booked
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import UsageFilter
from tollgate_billing.report_ports import ExchangeRates, Statement, Statements
from tollgate_billing.use_cases.rerate_unpriced import MAX_LINES, RerateUnpriced
from tollgate_billing.use_cases.take_back_repeated import TakeBackRepeated
from tollgate_billing.use_cases.what_if import RateAgain, Rerated, ReratedRow
from tollgate_rating import INT64_MAX, InvalidPrice, PriceBook, format_decimal

_LINE = (
    *("project_id", "model", "price_digest", "requests", "charged_pico"),
    *("taken_back_requests", "taken_back_pico", "rate_digest"),
)
_MOVEMENT = ("at_us", "kind", "reason", "amount_pico")
_ABOUT = ("organization_id", "project_id", "model", "price_digest", "currency")
_SUMS = ("requests", "charged_pico", "would_pico", "not_in_draft", "unpriced")
Context = aio.ServicerContext[Any, Any]


class ReportService(reports_pb2_grpc.ReportServiceServicer):
    """Errors leave as typed kinds; UNAVAILABLE while something behind billing is away."""

    def __init__(
        self,
        statements: Statements,
        rate_again: RateAgain,
        rerate: RerateUnpriced,
        take_back: TakeBackRepeated,
        exchange_rates: ExchangeRates,
    ) -> None:
        self._exchange_rates = exchange_rates
        self._statements = statements
        self._rate_again = rate_again
        self._rerate = rerate
        self._take_back = take_back

    async def GetStatement(self, request: wire.GetStatementRequest, context: Context) -> wire.GetStatementResponse:  # noqa: N802
        found = await answered(context, self._statement(request))
        rates = await answered(context, self._rates({line.rate_digest for line in found.lines} - {""}))
        return wire.GetStatementResponse(
            currency=found.currency,
            opening_pico=found.opening_pico,
            closing_pico=found.closing_pico,
            lines=[
                wire.StatementLine(
                    **{name: getattr(one, name) for name in _LINE}, exchange_rate=rates.get(one.rate_digest, "")
                )
                for one in found.lines
            ],
            movements=[
                wire.StatementMovement(**{name: getattr(one, name) for name in _MOVEMENT}) for one in found.movements
            ],
            shortened=found.shortened,
        )

    async def _statement(self, request: wire.GetStatementRequest) -> Statement:
        """Raises InvalidQuery where an amount is beyond what the answer can say: it is never cut."""
        found = await self._statements.statement(request.organization_id, request.from_us, request.to_us)
        amounts = [found.opening_pico, found.closing_pico, *(one.amount_pico for one in found.movements)]
        amounts += [amount for line in found.lines for amount in (line.charged_pico, line.taken_back_pico)]
        if max(map(abs, amounts)) > INT64_MAX:
            raise InvalidQuery(
                f"the statement has an amount beyond {format_decimal(INT64_MAX)} {found.currency}, the most that one"
                " can say; the view invoice_lines has no such limit"
            )
        return found

    async def _rates(self, digests: Collection[str]) -> dict[str, str]:
        """Returns exchange rates as decimal strings; what is no longer known is left out."""
        if unknown := [digest for digest in digests if self._exchange_rates.rate(digest) is None]:
            await self._exchange_rates.learn(dict.fromkeys(unknown, ""))
        found = {digest: self._exchange_rates.rate(digest) for digest in digests}
        return {digest: format_decimal(rate.rate) for digest, rate in found.items() if rate is not None}

    async def WhatIf(self, request: wire.WhatIfRequest, context: Context) -> wire.WhatIfResponse:  # noqa: N802
        book, found = await answered(context, self._what_if(request))
        rows = [
            wire.WhatIfRow(organization_id=key[0], project_id=key[1], model=key[2], **_sums(row))
            for key, row in found.rows
        ]
        return wire.WhatIfResponse(
            rows=rows,
            total=wire.WhatIfRow(**_sums(found.total)),
            digest=book.digest,
            currency=book.currency,
            other_currency=found.other_currency,
        )

    async def _what_if(self, request: wire.WhatIfRequest) -> tuple[PriceBook, Rerated]:
        try:
            book = PriceBook.from_canonical(request.book)
        except (InvalidPrice, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidQuery(f"the draft cannot be used: {error}") from error
        return book, await self._rate_again(book, request.organization_id, request.from_us, request.to_us)

    async def RerateUnpriced(  # noqa: N802
        self, request: wire.RerateUnpricedRequest, context: Context
    ) -> wire.RerateUnpricedResponse:
        where = UsageFilter(
            organization_id=request.organization_id, model=request.model, from_us=request.from_us, to_us=request.to_us
        )
        found = await answered(context, self._rerate(where, request.price_digest, apply=request.apply))
        lines = sorted(found.lines.items())
        return wire.RerateUnpricedResponse(
            rows=[
                wire.RerateUnpricedRow(
                    **dict(zip(_ABOUT, key, strict=True)),
                    requests=line.requests,
                    charge_pico=nearest(line.charge_pico),
                    cost_pico=nearest(line.cost_pico),
                )
                for key, line in lines[:MAX_LINES]
            ],
            sent=found.sent,
            left_out=dict(found.left_out),
            shortened=len(lines) > MAX_LINES,
        )

    async def TakeBackRepeated(  # noqa: N802
        self, request: wire.TakeBackRepeatedRequest, context: Context
    ) -> wire.TakeBackRepeatedResponse:
        work = self._take_back(request.from_us, request.to_us, request.organization_id, apply=request.apply)
        found = await answered(context, work)
        return wire.TakeBackRepeatedResponse(
            rows=[_repeated(one) for one in found.seconds],
            sent=found.sent,
            left_out=dict(found.left_out),
            more=found.more,
        )


def _repeated(one: Booked) -> wire.RepeatedFinal:
    row: Any = one.row
    names = ("request_id", "organization_id", "project_id", "model", "currency")
    about = {name: row[name] for name in names}
    return wire.RepeatedFinal(charge_pico=to_pico(row["charge"]), cost_pico=to_pico(row["cost"]), **about)


def _sums(row: ReratedRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _SUMS}
