from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Threshold(_message.Message):
    __slots__ = ("percent", "action", "model")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    percent: int
    action: str
    model: str
    def __init__(self, percent: _Optional[int] = ..., action: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("id", "organization_id", "name", "scope", "scope_id", "period", "days", "time_zone", "amount_pico", "currency", "thresholds", "created_us")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_ID_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    name: str
    scope: str
    scope_id: str
    period: str
    days: int
    time_zone: str
    amount_pico: int
    currency: str
    thresholds: _containers.RepeatedCompositeFieldContainer[Threshold]
    created_us: int
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ..., name: _Optional[str] = ..., scope: _Optional[str] = ..., scope_id: _Optional[str] = ..., period: _Optional[str] = ..., days: _Optional[int] = ..., time_zone: _Optional[str] = ..., amount_pico: _Optional[int] = ..., currency: _Optional[str] = ..., thresholds: _Optional[_Iterable[_Union[Threshold, _Mapping]]] = ..., created_us: _Optional[int] = ...) -> None: ...

class BudgetState(_message.Message):
    __slots__ = ("window", "begin_us", "end_us", "spent_pico", "reached_percent", "action", "model", "opens_us", "evaluated_us")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    BEGIN_US_FIELD_NUMBER: _ClassVar[int]
    END_US_FIELD_NUMBER: _ClassVar[int]
    SPENT_PICO_FIELD_NUMBER: _ClassVar[int]
    REACHED_PERCENT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OPENS_US_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_US_FIELD_NUMBER: _ClassVar[int]
    window: str
    begin_us: int
    end_us: int
    spent_pico: int
    reached_percent: int
    action: str
    model: str
    opens_us: int
    evaluated_us: int
    def __init__(self, window: _Optional[str] = ..., begin_us: _Optional[int] = ..., end_us: _Optional[int] = ..., spent_pico: _Optional[int] = ..., reached_percent: _Optional[int] = ..., action: _Optional[str] = ..., model: _Optional[str] = ..., opens_us: _Optional[int] = ..., evaluated_us: _Optional[int] = ...) -> None: ...

class Forecast(_message.Message):
    __slots__ = ("per_day_pico", "runs_out_us", "hours")
    PER_DAY_PICO_FIELD_NUMBER: _ClassVar[int]
    RUNS_OUT_US_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    per_day_pico: int
    runs_out_us: int
    hours: int
    def __init__(self, per_day_pico: _Optional[int] = ..., runs_out_us: _Optional[int] = ..., hours: _Optional[int] = ...) -> None: ...

class CreateBudgetRequest(_message.Message):
    __slots__ = ("budget",)
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    budget: Budget
    def __init__(self, budget: _Optional[_Union[Budget, _Mapping]] = ...) -> None: ...

class CreateBudgetResponse(_message.Message):
    __slots__ = ("budget",)
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    budget: Budget
    def __init__(self, budget: _Optional[_Union[Budget, _Mapping]] = ...) -> None: ...

class ListBudgetsRequest(_message.Message):
    __slots__ = ("organization_id", "limit", "cursor")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    limit: int
    cursor: str
    def __init__(self, organization_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListBudgetsResponse(_message.Message):
    __slots__ = ("budgets", "next_cursor")
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetWithState]
    next_cursor: str
    def __init__(self, budgets: _Optional[_Iterable[_Union[BudgetWithState, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class BudgetWithState(_message.Message):
    __slots__ = ("budget", "state")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    budget: Budget
    state: BudgetState
    def __init__(self, budget: _Optional[_Union[Budget, _Mapping]] = ..., state: _Optional[_Union[BudgetState, _Mapping]] = ...) -> None: ...

class GetBudgetRequest(_message.Message):
    __slots__ = ("id", "organization_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ...) -> None: ...

class GetBudgetResponse(_message.Message):
    __slots__ = ("budget", "state", "forecast", "wallet", "balance_pico")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    WALLET_FIELD_NUMBER: _ClassVar[int]
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    budget: Budget
    state: BudgetState
    forecast: Forecast
    wallet: Forecast
    balance_pico: int
    def __init__(self, budget: _Optional[_Union[Budget, _Mapping]] = ..., state: _Optional[_Union[BudgetState, _Mapping]] = ..., forecast: _Optional[_Union[Forecast, _Mapping]] = ..., wallet: _Optional[_Union[Forecast, _Mapping]] = ..., balance_pico: _Optional[int] = ...) -> None: ...

class DeleteBudgetRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteBudgetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetForecastRequest(_message.Message):
    __slots__ = ("organization_id",)
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ...) -> None: ...

class GetForecastResponse(_message.Message):
    __slots__ = ("forecast", "balance_pico", "currency")
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    forecast: Forecast
    balance_pico: int
    currency: str
    def __init__(self, forecast: _Optional[_Union[Forecast, _Mapping]] = ..., balance_pico: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class GetControlsRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class GetControlsResponse(_message.Message):
    __slots__ = ("version", "changed", "controls")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    version: str
    changed: bool
    controls: _containers.RepeatedCompositeFieldContainer[Control]
    def __init__(self, version: _Optional[str] = ..., changed: _Optional[bool] = ..., controls: _Optional[_Iterable[_Union[Control, _Mapping]]] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("budget_id", "budget_name", "organization_id", "scope", "scope_id", "action", "model", "opens_us")
    BUDGET_ID_FIELD_NUMBER: _ClassVar[int]
    BUDGET_NAME_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OPENS_US_FIELD_NUMBER: _ClassVar[int]
    budget_id: str
    budget_name: str
    organization_id: str
    scope: str
    scope_id: str
    action: str
    model: str
    opens_us: int
    def __init__(self, budget_id: _Optional[str] = ..., budget_name: _Optional[str] = ..., organization_id: _Optional[str] = ..., scope: _Optional[str] = ..., scope_id: _Optional[str] = ..., action: _Optional[str] = ..., model: _Optional[str] = ..., opens_us: _Optional[int] = ...) -> None: ...

class Spool(_message.Message):
    __slots__ = ("process", "records", "size_bytes", "limit_bytes", "problem")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    process: str
    records: int
    size_bytes: int
    limit_bytes: int
    problem: str
    def __init__(self, process: _Optional[str] = ..., records: _Optional[int] = ..., size_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ReportSpoolsRequest(_message.Message):
    __slots__ = ("spools",)
    SPOOLS_FIELD_NUMBER: _ClassVar[int]
    spools: _containers.RepeatedCompositeFieldContainer[Spool]
    def __init__(self, spools: _Optional[_Iterable[_Union[Spool, _Mapping]]] = ...) -> None: ...

class ReportSpoolsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QuietHours(_message.Message):
    __slots__ = ("begin", "end")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    begin: str
    end: str
    def __init__(self, begin: _Optional[str] = ..., end: _Optional[str] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("id", "organization_id", "name", "kind", "address", "language", "time_zone", "quiet", "digest_minutes", "about", "has_secret", "created_us")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    QUIET_FIELD_NUMBER: _ClassVar[int]
    DIGEST_MINUTES_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    HAS_SECRET_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    name: str
    kind: str
    address: str
    language: str
    time_zone: str
    quiet: QuietHours
    digest_minutes: int
    about: _containers.RepeatedScalarFieldContainer[str]
    has_secret: bool
    created_us: int
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., address: _Optional[str] = ..., language: _Optional[str] = ..., time_zone: _Optional[str] = ..., quiet: _Optional[_Union[QuietHours, _Mapping]] = ..., digest_minutes: _Optional[int] = ..., about: _Optional[_Iterable[str]] = ..., has_secret: _Optional[bool] = ..., created_us: _Optional[int] = ...) -> None: ...

class CreateDestinationRequest(_message.Message):
    __slots__ = ("destination", "target", "secret")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    destination: Destination
    target: str
    secret: str
    def __init__(self, destination: _Optional[_Union[Destination, _Mapping]] = ..., target: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class CreateDestinationResponse(_message.Message):
    __slots__ = ("destination",)
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    destination: Destination
    def __init__(self, destination: _Optional[_Union[Destination, _Mapping]] = ...) -> None: ...

class ListDestinationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDestinationsResponse(_message.Message):
    __slots__ = ("destinations",)
    DESTINATIONS_FIELD_NUMBER: _ClassVar[int]
    destinations: _containers.RepeatedCompositeFieldContainer[Destination]
    def __init__(self, destinations: _Optional[_Iterable[_Union[Destination, _Mapping]]] = ...) -> None: ...

class DeleteDestinationRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteDestinationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TestDestinationRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class TestDestinationResponse(_message.Message):
    __slots__ = ("problem",)
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    problem: str
    def __init__(self, problem: _Optional[str] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("id", "destination_id", "organization_id", "about", "state", "text", "attempts", "created_us", "due_us", "sent_us", "problem")
    ID_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    DUE_US_FIELD_NUMBER: _ClassVar[int]
    SENT_US_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    id: str
    destination_id: str
    organization_id: str
    about: str
    state: str
    text: str
    attempts: int
    created_us: int
    due_us: int
    sent_us: int
    problem: str
    def __init__(self, id: _Optional[str] = ..., destination_id: _Optional[str] = ..., organization_id: _Optional[str] = ..., about: _Optional[str] = ..., state: _Optional[str] = ..., text: _Optional[str] = ..., attempts: _Optional[int] = ..., created_us: _Optional[int] = ..., due_us: _Optional[int] = ..., sent_us: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ListNoticesRequest(_message.Message):
    __slots__ = ("limit", "cursor")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    limit: int
    cursor: str
    def __init__(self, limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListNoticesResponse(_message.Message):
    __slots__ = ("notices", "next_cursor")
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    next_cursor: str
    def __init__(self, notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class Anomaly(_message.Message):
    __slots__ = ("id", "organization_id", "project_id", "api_key_id", "kind", "subject", "explanation", "next_step", "hour_us", "found_us")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    HOUR_US_FIELD_NUMBER: _ClassVar[int]
    FOUND_US_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    project_id: str
    api_key_id: str
    kind: str
    subject: str
    explanation: str
    next_step: str
    hour_us: int
    found_us: int
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., kind: _Optional[str] = ..., subject: _Optional[str] = ..., explanation: _Optional[str] = ..., next_step: _Optional[str] = ..., hour_us: _Optional[int] = ..., found_us: _Optional[int] = ...) -> None: ...

class ListAnomaliesRequest(_message.Message):
    __slots__ = ("organization_id", "limit", "cursor")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    limit: int
    cursor: str
    def __init__(self, organization_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListAnomaliesResponse(_message.Message):
    __slots__ = ("anomalies", "next_cursor")
    ANOMALIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    anomalies: _containers.RepeatedCompositeFieldContainer[Anomaly]
    next_cursor: str
    def __init__(self, anomalies: _Optional[_Iterable[_Union[Anomaly, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...
