"""ControlService over gRPC: decode, ask one use case, encode."""

import hashlib
from typing import Any, Final
from urllib.parse import urlsplit

from grpc import aio

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import controls_pb2_grpc
from tollgate_billing.api.ledger_service import answered
from tollgate_billing.control_ports import Budgets, BudgetWithState, Notice, SpoolState
from tollgate_billing.domain.anomalies import Anomaly
from tollgate_billing.domain.books import nearest
from tollgate_billing.domain.budgets import Budget, State, Threshold
from tollgate_billing.domain.control_checks import addresses_of, parse_quiet
from tollgate_billing.domain.delivery import Destination, Quiet
from tollgate_billing.domain.forecast import Forecast
from tollgate_billing.domain.notices import explain, next_step, title
from tollgate_billing.use_cases.deliver_notices import DeliverNotices
from tollgate_billing.use_cases.keep_budgets import KeepBudgets
from tollgate_billing.use_cases.watch_alerts import WatchAlerts
from tollgate_billing.use_cases.watch_anomalies import WatchAnomalies
from tollgate_kit.clock import Clock

_MAX_ROWS: Final = 1_000
_DEFAULT_ROWS: Final = 100
_MOST_NAME: Final = 200
_BUDGET: Final = (
    *("id", "organization_id", "name", "scope", "scope_id", "period", "days", "time_zone", "amount_pico", "currency"),
    "created_us",
)
_DESTINATION: Final = ("id", "organization_id", "name", "kind", "language", "time_zone", "digest_minutes", "created_us")
_NOTICE: Final = (
    *("id", "destination_id", "organization_id", "about", "state", "attempts", "created_us", "due_us", "sent_us"),
    "problem",
)
_ANOMALY: Final = ("id", "organization_id", "project_id", "api_key_id", "kind", "subject", "hour_us", "found_us")
Context = aio.ServicerContext[Any, Any]


class ControlService(controls_pb2_grpc.ControlServiceServicer):
    """Errors leave as typed kinds; UNAVAILABLE while something behind billing is away."""

    def __init__(
        self,
        keep: KeepBudgets,
        budgets: Budgets,
        deliver: DeliverNotices,
        anomalies: WatchAnomalies,
        alerts: WatchAlerts,
        clock: Clock,
    ) -> None:
        self._keep = keep
        self._budgets = budgets
        self._deliver = deliver
        self._anomalies = anomalies
        self._alerts = alerts
        self._clock = clock

    async def CreateBudget(self, request: wire.CreateBudgetRequest, context: Context) -> wire.CreateBudgetResponse:  # noqa: N802
        asked = request.budget
        budget = Budget(
            **{name: getattr(asked, name) for name in _BUDGET},
            thresholds=tuple(Threshold(one.percent, one.action, one.model) for one in asked.thresholds),
        )
        return wire.CreateBudgetResponse(budget=_budget(await answered(context, self._keep.create(budget))))

    async def ListBudgets(self, request: wire.ListBudgetsRequest, context: Context) -> wire.ListBudgetsResponse:  # noqa: N802
        limit = _rows(request.limit)
        found = await answered(context, self._keep.list(request.organization_id, limit + 1, request.cursor))
        return wire.ListBudgetsResponse(
            budgets=[_with_state(one) for one in found[:limit]],
            next_cursor=found[limit - 1].budget.id if len(found) > limit else "",
        )

    async def GetBudget(self, request: wire.GetBudgetRequest, context: Context) -> wire.GetBudgetResponse:  # noqa: N802
        shown = await answered(context, self._keep.show(request.id, request.organization_id))
        both = _with_state(shown.found)
        return wire.GetBudgetResponse(
            budget=both.budget,
            state=both.state,
            forecast=_forecast(shown.forecast),
            wallet=_forecast(shown.wallet),
            balance_pico=nearest(shown.balance_pico),
        )

    async def DeleteBudget(self, request: wire.DeleteBudgetRequest, context: Context) -> wire.DeleteBudgetResponse:  # noqa: N802
        await answered(context, self._keep.delete(request.id))
        return wire.DeleteBudgetResponse()

    async def GetForecast(self, request: wire.GetForecastRequest, context: Context) -> wire.GetForecastResponse:  # noqa: N802
        ahead, balance, currency = await answered(context, self._keep.wallet(request.organization_id))
        return wire.GetForecastResponse(forecast=_forecast(ahead), balance_pico=nearest(balance), currency=currency)

    async def GetControls(self, request: wire.GetControlsRequest, context: Context) -> wire.GetControlsResponse:  # noqa: N802
        found = await answered(context, self._budgets.holding(self._clock.now_us()))
        reply = wire.GetControlsResponse(controls=[_control(one) for one in found], changed=True)
        version = hashlib.sha256(reply.SerializeToString(deterministic=True)).hexdigest()
        if version == request.version:
            return wire.GetControlsResponse(version=version)
        reply.version = version
        return reply

    async def ReportSpools(self, request: wire.ReportSpoolsRequest, _context: Context) -> wire.ReportSpoolsResponse:  # noqa: N802
        self._alerts.spools(
            SpoolState(one.process[:_MOST_NAME], one.records, one.size_bytes, one.limit_bytes, one.problem[:_MOST_NAME])
            for one in request.spools
        )
        return wire.ReportSpoolsResponse()

    async def CreateDestination(  # noqa: N802
        self, request: wire.CreateDestinationRequest, context: Context
    ) -> wire.CreateDestinationResponse:
        made = await answered(context, self._add(request))
        return wire.CreateDestinationResponse(destination=_destination(made))

    async def _add(self, request: wire.CreateDestinationRequest) -> Destination:
        asked = request.destination
        return await self._deliver.add(
            Destination(
                id="",
                organization_id=asked.organization_id,
                name=asked.name,
                kind=asked.kind,
                target=request.target.strip(),
                secret=request.secret.strip(),
                language=asked.language or "en",
                time_zone=asked.time_zone or "UTC",
                quiet=parse_quiet(asked.quiet.begin, asked.quiet.end),
                digest_minutes=asked.digest_minutes,
                about=tuple(asked.about),
            )
        )

    async def ListDestinations(  # noqa: N802
        self, _request: wire.ListDestinationsRequest, context: Context
    ) -> wire.ListDestinationsResponse:
        found = await answered(context, self._deliver.list_destinations())
        return wire.ListDestinationsResponse(destinations=[_destination(one) for one in found])

    async def DeleteDestination(  # noqa: N802
        self, request: wire.DeleteDestinationRequest, context: Context
    ) -> wire.DeleteDestinationResponse:
        await answered(context, self._deliver.delete(request.id))
        return wire.DeleteDestinationResponse()

    async def TestDestination(  # noqa: N802
        self, request: wire.TestDestinationRequest, context: Context
    ) -> wire.TestDestinationResponse:
        return wire.TestDestinationResponse(problem=(await answered(context, self._deliver.test(request.id))).problem)

    async def ListNotices(self, request: wire.ListNoticesRequest, context: Context) -> wire.ListNoticesResponse:  # noqa: N802
        limit = _rows(request.limit)
        found = await answered(context, self._deliver.list_notices(limit + 1, request.cursor))
        return wire.ListNoticesResponse(
            notices=[_notice(one) for one in found[:limit]],
            next_cursor=found[limit - 1].id if len(found) > limit else "",
        )

    async def ListAnomalies(self, request: wire.ListAnomaliesRequest, context: Context) -> wire.ListAnomaliesResponse:  # noqa: N802
        limit = _rows(request.limit)
        found = await answered(context, self._anomalies.list(request.organization_id, limit + 1, request.cursor))
        return wire.ListAnomaliesResponse(
            anomalies=[_anomaly(one) for one in found[:limit]],
            next_cursor=found[limit - 1].id if len(found) > limit else "",
        )


def _rows(asked: int) -> int:
    return min(asked or _DEFAULT_ROWS, _MAX_ROWS)


def _budget(one: Budget) -> wire.Budget:
    thresholds = [wire.Threshold(percent=each.percent, action=each.action, model=each.model) for each in one.thresholds]
    return wire.Budget(**{name: getattr(one, name) for name in _BUDGET}, thresholds=thresholds)


def _with_state(one: BudgetWithState) -> wire.BudgetWithState:
    state = _state(one.state) if one.state is not None else None
    return wire.BudgetWithState(budget=_budget(one.budget), state=state)


def _state(one: State) -> wire.BudgetState:
    return wire.BudgetState(
        window="" if one.window.name == "total" else one.window.name,
        begin_us=one.window.begin_us,
        end_us=one.window.end_us,
        spent_pico=nearest(one.spent_pico),
        reached_percent=one.reached_percent,
        action=one.action,
        model=one.model,
        opens_us=one.opens_us,
        evaluated_us=one.evaluated_us,
    )


def _forecast(one: Forecast) -> wire.Forecast:
    return wire.Forecast(per_day_pico=nearest(one.per_day_pico), runs_out_us=one.runs_out_us, hours=one.hours)


def _control(one: BudgetWithState) -> wire.Control:
    budget, state = one.budget, one.state
    assert state is not None
    return wire.Control(
        budget_id=budget.id,
        budget_name=budget.name,
        organization_id=budget.organization_id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        action=state.action,
        model=state.model,
        opens_us=state.opens_us,
    )


def _destination(one: Destination) -> wire.Destination:
    address = ", ".join(addresses_of(one.target)) if one.kind == "mail" else urlsplit(one.target).hostname or ""
    quiet = None if one.quiet == Quiet() else wire.QuietHours(begin=_clock(one.quiet.begin), end=_clock(one.quiet.end))
    return wire.Destination(
        **{name: getattr(one, name) for name in _DESTINATION},
        address=address,
        quiet=quiet,
        about=one.about,
        has_secret=bool(one.secret),
    )


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _notice(one: Notice) -> wire.Notice:
    return wire.Notice(**{name: getattr(one, name) for name in _NOTICE}, text=title([one.content], "en"))


def _anomaly(one: Anomaly) -> wire.Anomaly:
    return wire.Anomaly(
        **{name: getattr(one, name) for name in _ANOMALY},
        explanation=explain(one.kind, one.subject, one.numbers),
        next_step=next_step(one.kind, one.api_key_id, project_id=one.project_id, model=one.subject),
    )
