"""BillingService over gRPC: decode, ask one use case or query, encode."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from grpc import aio

from tollgate.billing.v1 import billing_pb2 as wire
from tollgate.billing.v1 import billing_pb2_grpc
from tollgate.errors.v1 import errors_pb2
from tollgate_billing.api.books_reply import books_reply, provider_costs_reply
from tollgate_billing.api.request_rows import evidence_reply, read_cursor, request_row
from tollgate_billing.api.usage_answers import sql_answer, view_answer, view_message
from tollgate_billing.domain.books import nearest
from tollgate_billing.domain.event import DAY_US
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.errors import BillingError, InvalidGrant, InvalidQuery, NotAllowed, UnknownView
from tollgate_billing.ports import Grant, RequestFilter, UsageFilter, UsageQueries
from tollgate_billing.use_cases.ask_usage import AskUsage
from tollgate_billing.use_cases.compare_books import CompareBooks
from tollgate_billing.use_cases.compare_provider_costs import CompareProviderCosts
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.look_at_requests import LookAtRequests
from tollgate_kit.clock import Clock
from tollgate_kit.grpc_io import abort_with
from tollgate_rating import INT64_MAX, format_decimal

_DEFAULT_ROWS: Final = 100
_MAX_ROWS: Final = 1_000
_MAX_VIEW_ROWS: Final = 10_000
# Below what a message may have.
_PIECE_BYTES: Final = 1 << 20
_REFUSED: Final = {
    InvalidGrant: errors_pb2.ERROR_KIND_INVALID_REQUEST,
    InvalidQuery: errors_pb2.ERROR_KIND_INVALID_REQUEST,
    UnknownView: errors_pb2.ERROR_KIND_NOT_FOUND,
    NotAllowed: errors_pb2.ERROR_KIND_FORBIDDEN,
}
_MOST_DAYS: Final = 90
_SUMS: Final = (
    *("requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("images", "unpriced", "errors"),
)
T = TypeVar("T")
Context = aio.ServicerContext[Any, Any]


class LagSource:
    """What GetStatus says about the way from the event log."""

    def __init__(
        self,
        events: Callable[[], int],
        ms: Callable[[], int],
        open_exceptions: Callable[[], int],
        problem: Callable[[], str],
    ) -> None:
        self.events = events
        self.ms = ms
        self.open_exceptions = open_exceptions
        self.problem = problem


class BillingService(billing_pb2_grpc.BillingServiceServicer):
    """Errors leave as typed kinds, see `_REFUSED`, and as UNAVAILABLE while something is away."""

    def __init__(
        self,
        wallets: KeepWallets,
        queries: UsageQueries,
        requests: LookAtRequests,
        ask: AskUsage,
        books: CompareBooks,
        provider_costs: CompareProviderCosts,
        lag: LagSource,
        clock: Clock,
    ) -> None:
        self._wallets = wallets
        self._ask = ask
        self._queries = queries
        self._requests = requests
        self._books = books
        self._provider_costs = provider_costs
        self._lag = lag
        self._clock = clock

    async def Grant(self, request: wire.GrantRequest, context: Context) -> wire.GrantResponse:  # noqa: N802
        grant = Grant(
            organization_id=request.organization_id,
            currency=request.currency,
            amount_pico=request.amount_pico,
            key=request.idempotency_key,
            reason=request.reason,
            now_us=self._clock.now_us(),
        )
        balance = await _answered(context, self._wallets.grant(grant))
        return wire.GrantResponse(balance_pico=nearest(balance), exact_pico=str(balance))

    async def GetBalance(self, request: wire.GetBalanceRequest, context: Context) -> wire.GetBalanceResponse:  # noqa: N802
        currency, ledger, state = await _answered(context, self._wallets.balance(request.organization_id))
        return wire.GetBalanceResponse(
            currency=currency,
            ledger_pico=nearest(ledger),
            wallet_pico=state.wallet,
            held_pico=nearest(state.held),
            settled_unbooked_pico=nearest(state.settled),
            exact_ledger_pico=str(ledger),
        )

    async def RebuildWallet(self, request: wire.RebuildWalletRequest, context: Context) -> wire.RebuildWalletResponse:  # noqa: N802
        wallet, changed = await _answered(context, self._wallets.rebuild(request.organization_id))
        return wire.RebuildWalletResponse(wallet_pico=wallet, changed=changed)

    async def QueryUsage(self, request: wire.QueryUsageRequest, context: Context) -> wire.QueryUsageResponse:  # noqa: N802
        where, groups = _filter(request.filter), list(request.group_by)
        rows = await _answered(context, self._queries.sums(where, groups, _limit(request.limit))) if groups else []
        totals = await _answered(context, self._queries.sums(where, [], _MAX_ROWS))
        return await _answered(context, _called(functools.partial(_usage_reply, rows, totals, len(groups))))

    async def ListRequests(self, request: wire.ListRequestsRequest, context: Context) -> wire.ListRequestsResponse:  # noqa: N802
        limit = _limit(request.limit)
        before = await _answered(context, _called(functools.partial(read_cursor, request.cursor)))
        rows, following = await _answered(
            context, self._requests.page(_request_filter(request), request.kind, limit, before)
        )
        cursor = f"{following[0]}.{following[1]}" if following is not None else ""
        return wire.ListRequestsResponse(rows=[request_row(kind, row) for kind, row in rows], next_cursor=cursor)

    async def GetEvidence(self, request: wire.GetEvidenceRequest, context: Context) -> wire.GetEvidenceResponse:  # noqa: N802
        found = await _answered(context, self._requests.evidence(request.request_id, request.organization_id))
        return evidence_reply(found)

    async def CompareBooks(self, request: wire.CompareBooksRequest, context: Context) -> wire.CompareBooksResponse:  # noqa: N802
        to_us = request.to_us or self._clock.now_us()
        await _answered(context, _called(functools.partial(_check_time, request.from_us, to_us)))
        report = await _answered(context, self._books(request.from_us, to_us))
        return books_reply(report, lag_events=self._lag.events(), lag_ms=self._lag.ms())

    async def CompareProviderCosts(  # noqa: N802
        self, request: wire.CompareProviderCostsRequest, context: Context
    ) -> wire.CompareProviderCostsResponse:
        found = await _answered(context, self._provider_costs(request.provider, request.content))
        return provider_costs_reply(found)

    async def GetStatus(self, request: wire.GetStatusRequest, context: Context) -> wire.GetStatusResponse:  # noqa: ARG002, N802 - gRPC hands it over.
        counts = await _answered(context, self._queries.counts())
        return wire.GetStatusResponse(
            lag_events=self._lag.events(),
            lag_ms=self._lag.ms(),
            rows=counts["rows"],
            poison=counts["poison"],
            mismatches=counts["mismatches"],
            open_exceptions=self._lag.open_exceptions(),
            problem=self._lag.problem(),
        )

    async def ListViews(self, request: wire.ListViewsRequest, context: Context) -> wire.ListViewsResponse:  # noqa: ARG002, N802 - gRPC hands it over.
        return wire.ListViewsResponse(views=map(view_message, self._ask.views(operator=request.operator)))

    async def QueryView(self, request: wire.QueryViewRequest, context: Context) -> wire.QueryViewResponse:  # noqa: N802
        asking = self._ask.view(
            request.name,
            dict(request.parameters),
            organization_id=request.organization_id,
            operator=request.operator,
            limit=_limit(request.limit, _MAX_VIEW_ROWS),
        )
        return view_answer(await _answered(context, asking))

    async def RunSql(self, request: wire.RunSqlRequest, context: Context) -> wire.RunSqlResponse:  # noqa: N802
        return sql_answer(await _answered(context, self._ask.sql(request.sql, request.limit)))

    async def ExportUsage(  # noqa: N802
        self, request: wire.ExportUsageRequest, context: Context
    ) -> AsyncIterator[wire.ExportUsageResponse]:
        asking = functools.partial(self._ask.export, request.organization_id, request.month, operator=request.operator)
        pieces = aiter(await _answered(context, _called(asking)))
        while True:
            piece = await _answered(context, anext(pieces, None))
            if piece is None:
                return
            for begin in range(0, len(piece), _PIECE_BYTES):
                yield wire.ExportUsageResponse(data=piece[begin : begin + _PIECE_BYTES])

    async def DescribeIsolation(  # noqa: N802
        self, request: wire.DescribeIsolationRequest, context: Context
    ) -> wire.DescribeIsolationResponse:
        asking = functools.partial(self._ask.isolation, request.organization_id)
        return wire.DescribeIsolationResponse(statements=await _answered(context, _called(asking)))


async def _answered(context: Context, work: Awaitable[T]) -> T:
    try:
        return await work
    except BillingError as error:
        kind = next((kind for type_, kind in _REFUSED.items() if isinstance(error, type_)), None)
        message = str(error) if kind is not None else "Billing waits for something behind it."
        kind = errors_pb2.ERROR_KIND_UNAVAILABLE if kind is None else kind
        await abort_with(context, errors_pb2.Error(kind=kind, message=message, param=getattr(error, "param", "")))
        raise


async def _called(work: Callable[[], T]) -> T:
    return work()


def _check_time(from_us: int, to_us: int) -> None:
    if not 0 < from_us < to_us or to_us - from_us > _MOST_DAYS * DAY_US:
        raise InvalidQuery(f"books are compared from a time before another one, at most {_MOST_DAYS} days")


def _filter(given: wire.UsageFilter) -> UsageFilter:
    return UsageFilter(**_named(given, UsageFilter))


def _request_filter(request: wire.ListRequestsRequest) -> RequestFilter:
    return RequestFilter(**_named(request.filter, UsageFilter), **_named(request, RequestFilter))


def _named(message: Any, shape: type[UsageFilter]) -> dict[str, Any]:
    """Returns the fields of a message that a filter adds to the one that it extends: they have the same names."""
    return {name: getattr(message, name) for name in shape.__slots__}


def _limit(asked: int, most: int = _MAX_ROWS) -> int:
    return min(asked or _DEFAULT_ROWS, most)


def _usage_reply(
    rows: Sequence[dict[str, Any]], totals: Sequence[dict[str, Any]], groups: int
) -> wire.QueryUsageResponse:
    """Returns the answer. Raises InvalidQuery where a sum is beyond what it can say: it is never cut."""
    for row in (*rows, *totals):
        if max(abs(to_pico(row[name])) for name in ("charge", "cost")) > INT64_MAX:
            raise InvalidQuery(
                f"a sum is beyond {format_decimal(INT64_MAX)} {row['currency']}, the most that an answer can say; ask"
                " for less time or one organization, or a view such as spend_by_model, which has no such limit"
            )
    # What had no price has no currency either, and no amount.
    priced = [_sums(row, 0) for row in totals if row["currency"]]
    return wire.QueryUsageResponse(
        rows=[_sums(row, groups) for row in rows],
        total=_total([_sums(row, 0) for row in totals], priced),
        totals=priced,
    )


def _sums(row: dict[str, Any], groups: int) -> wire.UsageRow:
    return wire.UsageRow(
        group=[str(row[f"group_{number}"]) for number in range(groups)],
        charge_pico=to_pico(row["charge"]),
        cost_pico=to_pico(row["cost"]),
        currency=row["currency"],
        **{name: max(0, row[name]) for name in _SUMS},
    )


def _total(all_of: Sequence[wire.UsageRow], priced: Sequence[wire.UsageRow]) -> wire.UsageRow:
    """Returns what rows add up to; amounts in two currencies add up to nothing."""
    found = wire.UsageRow(**{name: sum(getattr(row, name) for row in all_of) for name in _SUMS})
    if len(priced) == 1:
        (one,) = priced
        found.currency, found.charge_pico, found.cost_pico = one.currency, one.charge_pico, one.cost_pico
    return found
