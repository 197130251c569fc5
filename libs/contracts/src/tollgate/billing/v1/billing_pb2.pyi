from tollgate.exchange.v1 import exchange_pb2 as _exchange_pb2
from tollgate.routing.v1 import explanation_pb2 as _explanation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GrantRequest(_message.Message):
    __slots__ = ("organization_id", "currency", "amount_pico", "idempotency_key", "reason")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    currency: str
    amount_pico: int
    idempotency_key: str
    reason: str
    def __init__(self, organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class GrantResponse(_message.Message):
    __slots__ = ("balance_pico", "exact_pico")
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    EXACT_PICO_FIELD_NUMBER: _ClassVar[int]
    balance_pico: int
    exact_pico: str
    def __init__(self, balance_pico: _Optional[int] = ..., exact_pico: _Optional[str] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("organization_id",)
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ...) -> None: ...

class GetBalanceResponse(_message.Message):
    __slots__ = ("currency", "ledger_pico", "wallet_pico", "held_pico", "settled_unbooked_pico", "exact_ledger_pico")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LEDGER_PICO_FIELD_NUMBER: _ClassVar[int]
    WALLET_PICO_FIELD_NUMBER: _ClassVar[int]
    HELD_PICO_FIELD_NUMBER: _ClassVar[int]
    SETTLED_UNBOOKED_PICO_FIELD_NUMBER: _ClassVar[int]
    EXACT_LEDGER_PICO_FIELD_NUMBER: _ClassVar[int]
    currency: str
    ledger_pico: int
    wallet_pico: int
    held_pico: int
    settled_unbooked_pico: int
    exact_ledger_pico: str
    def __init__(self, currency: _Optional[str] = ..., ledger_pico: _Optional[int] = ..., wallet_pico: _Optional[int] = ..., held_pico: _Optional[int] = ..., settled_unbooked_pico: _Optional[int] = ..., exact_ledger_pico: _Optional[str] = ...) -> None: ...

class RebuildWalletRequest(_message.Message):
    __slots__ = ("organization_id",)
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ...) -> None: ...

class RebuildWalletResponse(_message.Message):
    __slots__ = ("wallet_pico", "changed")
    WALLET_PICO_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    wallet_pico: int
    changed: bool
    def __init__(self, wallet_pico: _Optional[int] = ..., changed: _Optional[bool] = ...) -> None: ...

class UsageFilter(_message.Message):
    __slots__ = ("organization_id", "project_id", "api_key_id", "model", "from_us", "to_us", "member", "tag")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    api_key_id: str
    model: str
    from_us: int
    to_us: int
    member: str
    tag: str
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., model: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., member: _Optional[str] = ..., tag: _Optional[str] = ...) -> None: ...

class QueryUsageRequest(_message.Message):
    __slots__ = ("filter", "group_by", "limit")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    filter: UsageFilter
    group_by: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    def __init__(self, filter: _Optional[_Union[UsageFilter, _Mapping]] = ..., group_by: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ...) -> None: ...

class UsageRow(_message.Message):
    __slots__ = ("group", "requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "images", "charge_pico", "cost_pico", "unpriced", "errors", "currency")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    COST_PICO_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    group: _containers.RepeatedScalarFieldContainer[str]
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    images: int
    charge_pico: int
    cost_pico: int
    unpriced: int
    errors: int
    currency: str
    def __init__(self, group: _Optional[_Iterable[str]] = ..., requests: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_tokens: _Optional[int] = ..., cache_write_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., images: _Optional[int] = ..., charge_pico: _Optional[int] = ..., cost_pico: _Optional[int] = ..., unpriced: _Optional[int] = ..., errors: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class QueryUsageResponse(_message.Message):
    __slots__ = ("rows", "total", "totals")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[UsageRow]
    total: UsageRow
    totals: _containers.RepeatedCompositeFieldContainer[UsageRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[UsageRow, _Mapping]]] = ..., total: _Optional[_Union[UsageRow, _Mapping]] = ..., totals: _Optional[_Iterable[_Union[UsageRow, _Mapping]]] = ...) -> None: ...

class ListRequestsRequest(_message.Message):
    __slots__ = ("filter", "request_id", "limit", "cursor", "trace_id", "outcome", "status", "error", "http_status", "kind")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    filter: UsageFilter
    request_id: str
    limit: int
    cursor: str
    trace_id: str
    outcome: str
    status: str
    error: str
    http_status: int
    kind: str
    def __init__(self, filter: _Optional[_Union[UsageFilter, _Mapping]] = ..., request_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., trace_id: _Optional[str] = ..., outcome: _Optional[str] = ..., status: _Optional[str] = ..., error: _Optional[str] = ..., http_status: _Optional[int] = ..., kind: _Optional[str] = ...) -> None: ...

class RequestRow(_message.Message):
    __slots__ = ("request_id", "event_id", "trace_id", "started_at_us", "organization_id", "project_id", "api_key_id", "model", "upstream_model", "provider", "channel", "operation", "outcome", "error_kind", "status", "final", "estimated", "unpriced", "stream", "attempt", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "images", "charge_pico", "cost_pico", "currency", "price_digest", "config_digest", "first_byte_us", "total_us", "kind", "media_job_id", "requested_model", "fallback_reason", "routing", "http_status", "message", "route", "left_out", "price_group", "batch", "upstream_status", "superseded", "replay", "source", "corrects_event_id", "rate_digest", "list_currency", "list_charge_pico", "provider_currency", "provider_cost_pico", "hold_pico", "limits", "member", "tags", "units")
    class UnitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    COST_PICO_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEDIA_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    PRICE_GROUP_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_STATUS_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CORRECTS_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LIST_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIST_CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_COST_PICO_FIELD_NUMBER: _ClassVar[int]
    HOLD_PICO_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    event_id: str
    trace_id: str
    started_at_us: int
    organization_id: str
    project_id: str
    api_key_id: str
    model: str
    upstream_model: str
    provider: str
    channel: str
    operation: str
    outcome: str
    error_kind: str
    status: str
    final: bool
    estimated: bool
    unpriced: bool
    stream: bool
    attempt: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    images: int
    charge_pico: int
    cost_pico: int
    currency: str
    price_digest: str
    config_digest: str
    first_byte_us: int
    total_us: int
    kind: str
    media_job_id: str
    requested_model: str
    fallback_reason: str
    routing: _explanation_pb2.Explanation
    http_status: int
    message: str
    route: str
    left_out: int
    price_group: str
    batch: str
    upstream_status: int
    superseded: bool
    replay: bool
    source: str
    corrects_event_id: str
    rate_digest: str
    list_currency: str
    list_charge_pico: int
    provider_currency: str
    provider_cost_pico: int
    hold_pico: int
    limits: _containers.RepeatedCompositeFieldContainer[_exchange_pb2.Limit]
    member: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    units: _containers.ScalarMap[str, int]
    def __init__(self, request_id: _Optional[str] = ..., event_id: _Optional[str] = ..., trace_id: _Optional[str] = ..., started_at_us: _Optional[int] = ..., organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., model: _Optional[str] = ..., upstream_model: _Optional[str] = ..., provider: _Optional[str] = ..., channel: _Optional[str] = ..., operation: _Optional[str] = ..., outcome: _Optional[str] = ..., error_kind: _Optional[str] = ..., status: _Optional[str] = ..., final: _Optional[bool] = ..., estimated: _Optional[bool] = ..., unpriced: _Optional[bool] = ..., stream: _Optional[bool] = ..., attempt: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_tokens: _Optional[int] = ..., cache_write_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., images: _Optional[int] = ..., charge_pico: _Optional[int] = ..., cost_pico: _Optional[int] = ..., currency: _Optional[str] = ..., price_digest: _Optional[str] = ..., config_digest: _Optional[str] = ..., first_byte_us: _Optional[int] = ..., total_us: _Optional[int] = ..., kind: _Optional[str] = ..., media_job_id: _Optional[str] = ..., requested_model: _Optional[str] = ..., fallback_reason: _Optional[str] = ..., routing: _Optional[_Union[_explanation_pb2.Explanation, _Mapping]] = ..., http_status: _Optional[int] = ..., message: _Optional[str] = ..., route: _Optional[str] = ..., left_out: _Optional[int] = ..., price_group: _Optional[str] = ..., batch: _Optional[str] = ..., upstream_status: _Optional[int] = ..., superseded: _Optional[bool] = ..., replay: _Optional[bool] = ..., source: _Optional[str] = ..., corrects_event_id: _Optional[str] = ..., rate_digest: _Optional[str] = ..., list_currency: _Optional[str] = ..., list_charge_pico: _Optional[int] = ..., provider_currency: _Optional[str] = ..., provider_cost_pico: _Optional[int] = ..., hold_pico: _Optional[int] = ..., limits: _Optional[_Iterable[_Union[_exchange_pb2.Limit, _Mapping]]] = ..., member: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., units: _Optional[_Mapping[str, int]] = ..., **kwargs) -> None: ...

class GetEvidenceRequest(_message.Message):
    __slots__ = ("request_id", "organization_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    organization_id: str
    def __init__(self, request_id: _Optional[str] = ..., organization_id: _Optional[str] = ...) -> None: ...

class RatedLine(_message.Message):
    __slots__ = ("unit", "quantity", "price", "per", "amount_pico")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    PER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    unit: str
    quantity: int
    price: str
    per: int
    amount_pico: int
    def __init__(self, unit: _Optional[str] = ..., quantity: _Optional[int] = ..., price: _Optional[str] = ..., per: _Optional[int] = ..., amount_pico: _Optional[int] = ...) -> None: ...

class Rerating(_message.Message):
    __slots__ = ("event_id", "price_book", "price_digest", "price_group", "currency", "lines", "charged_pico", "rated_pico", "problem", "rate_digest", "exchange_rate", "list_currency", "list_pico")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_BOOK_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRICE_GROUP_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    CHARGED_PICO_FIELD_NUMBER: _ClassVar[int]
    RATED_PICO_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    RATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_RATE_FIELD_NUMBER: _ClassVar[int]
    LIST_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIST_PICO_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    price_book: str
    price_digest: str
    price_group: str
    currency: str
    lines: _containers.RepeatedCompositeFieldContainer[RatedLine]
    charged_pico: int
    rated_pico: int
    problem: str
    rate_digest: str
    exchange_rate: str
    list_currency: str
    list_pico: int
    def __init__(self, event_id: _Optional[str] = ..., price_book: _Optional[str] = ..., price_digest: _Optional[str] = ..., price_group: _Optional[str] = ..., currency: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[RatedLine, _Mapping]]] = ..., charged_pico: _Optional[int] = ..., rated_pico: _Optional[int] = ..., problem: _Optional[str] = ..., rate_digest: _Optional[str] = ..., exchange_rate: _Optional[str] = ..., list_currency: _Optional[str] = ..., list_pico: _Optional[int] = ...) -> None: ...

class HoldState(_message.Message):
    __slots__ = ("state", "amount_pico", "at_us")
    STATE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    state: str
    amount_pico: int
    at_us: int
    def __init__(self, state: _Optional[str] = ..., amount_pico: _Optional[int] = ..., at_us: _Optional[int] = ...) -> None: ...

class LedgerLine(_message.Message):
    __slots__ = ("batch", "debit", "credit", "currency", "amount_pico", "events", "created_us")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    DEBIT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    batch: str
    debit: str
    credit: str
    currency: str
    amount_pico: int
    events: int
    created_us: int
    def __init__(self, batch: _Optional[str] = ..., debit: _Optional[str] = ..., credit: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., events: _Optional[int] = ..., created_us: _Optional[int] = ...) -> None: ...

class RatingMismatch(_message.Message):
    __slots__ = ("event_id", "reason", "detail", "found_pico", "expected_pico", "found_at_us")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FOUND_PICO_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PICO_FIELD_NUMBER: _ClassVar[int]
    FOUND_AT_US_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    reason: str
    detail: str
    found_pico: int
    expected_pico: int
    found_at_us: int
    def __init__(self, event_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., found_pico: _Optional[int] = ..., expected_pico: _Optional[int] = ..., found_at_us: _Optional[int] = ...) -> None: ...

class GetEvidenceResponse(_message.Message):
    __slots__ = ("rows", "ratings", "hold", "ledger", "mismatches", "charge_pico", "currency")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    RATINGS_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RequestRow]
    ratings: _containers.RepeatedCompositeFieldContainer[Rerating]
    hold: HoldState
    ledger: _containers.RepeatedCompositeFieldContainer[LedgerLine]
    mismatches: _containers.RepeatedCompositeFieldContainer[RatingMismatch]
    charge_pico: int
    currency: str
    def __init__(self, rows: _Optional[_Iterable[_Union[RequestRow, _Mapping]]] = ..., ratings: _Optional[_Iterable[_Union[Rerating, _Mapping]]] = ..., hold: _Optional[_Union[HoldState, _Mapping]] = ..., ledger: _Optional[_Iterable[_Union[LedgerLine, _Mapping]]] = ..., mismatches: _Optional[_Iterable[_Union[RatingMismatch, _Mapping]]] = ..., charge_pico: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class ListRequestsResponse(_message.Message):
    __slots__ = ("rows", "next_cursor")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RequestRow]
    next_cursor: str
    def __init__(self, rows: _Optional[_Iterable[_Union[RequestRow, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class CompareBooksRequest(_message.Message):
    __slots__ = ("from_us", "to_us")
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    from_us: int
    to_us: int
    def __init__(self, from_us: _Optional[int] = ..., to_us: _Optional[int] = ...) -> None: ...

class BookDifference(_message.Message):
    __slots__ = ("kind", "detail", "organization_id", "batch", "request_ids", "found_pico", "expected_pico", "project_id", "model", "rollup", "bucket_us", "next_step")
    KIND_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    FOUND_PICO_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PICO_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLLUP_FIELD_NUMBER: _ClassVar[int]
    BUCKET_US_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    kind: str
    detail: str
    organization_id: str
    batch: str
    request_ids: _containers.RepeatedScalarFieldContainer[str]
    found_pico: int
    expected_pico: int
    project_id: str
    model: str
    rollup: str
    bucket_us: int
    next_step: str
    def __init__(self, kind: _Optional[str] = ..., detail: _Optional[str] = ..., organization_id: _Optional[str] = ..., batch: _Optional[str] = ..., request_ids: _Optional[_Iterable[str]] = ..., found_pico: _Optional[int] = ..., expected_pico: _Optional[int] = ..., project_id: _Optional[str] = ..., model: _Optional[str] = ..., rollup: _Optional[str] = ..., bucket_us: _Optional[int] = ..., next_step: _Optional[str] = ...) -> None: ...

class CompareBooksResponse(_message.Message):
    __slots__ = ("from_us", "to_us", "batches", "rows", "organizations", "holds", "differences", "cut", "lag_events", "lag_ms")
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATIONS_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    from_us: int
    to_us: int
    batches: int
    rows: int
    organizations: int
    holds: int
    differences: _containers.RepeatedCompositeFieldContainer[BookDifference]
    cut: int
    lag_events: int
    lag_ms: int
    def __init__(self, from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., batches: _Optional[int] = ..., rows: _Optional[int] = ..., organizations: _Optional[int] = ..., holds: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[BookDifference, _Mapping]]] = ..., cut: _Optional[int] = ..., lag_events: _Optional[int] = ..., lag_ms: _Optional[int] = ...) -> None: ...

class CompareProviderCostsRequest(_message.Message):
    __slots__ = ("provider", "content")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    provider: str
    content: bytes
    def __init__(self, provider: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class ProviderCost(_message.Message):
    __slots__ = ("day", "model", "currency", "theirs_pico", "ours_pico")
    DAY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    THEIRS_PICO_FIELD_NUMBER: _ClassVar[int]
    OURS_PICO_FIELD_NUMBER: _ClassVar[int]
    day: str
    model: str
    currency: str
    theirs_pico: int
    ours_pico: int
    def __init__(self, day: _Optional[str] = ..., model: _Optional[str] = ..., currency: _Optional[str] = ..., theirs_pico: _Optional[int] = ..., ours_pico: _Optional[int] = ...) -> None: ...

class CompareProviderCostsResponse(_message.Message):
    __slots__ = ("costs",)
    COSTS_FIELD_NUMBER: _ClassVar[int]
    costs: _containers.RepeatedCompositeFieldContainer[ProviderCost]
    def __init__(self, costs: _Optional[_Iterable[_Union[ProviderCost, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("lag_events", "lag_ms", "rows", "poison", "mismatches", "open_exceptions", "problem")
    LAG_EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    POISON_FIELD_NUMBER: _ClassVar[int]
    MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    OPEN_EXCEPTIONS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    lag_events: int
    lag_ms: int
    rows: int
    poison: int
    mismatches: int
    open_exceptions: int
    problem: str
    def __init__(self, lag_events: _Optional[int] = ..., lag_ms: _Optional[int] = ..., rows: _Optional[int] = ..., poison: _Optional[int] = ..., mismatches: _Optional[int] = ..., open_exceptions: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class ListViewsRequest(_message.Message):
    __slots__ = ("operator",)
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    operator: bool
    def __init__(self, operator: _Optional[bool] = ...) -> None: ...

class ViewParameter(_message.Message):
    __slots__ = ("name", "type", "default", "meaning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    default: str
    meaning: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., default: _Optional[str] = ..., meaning: _Optional[str] = ...) -> None: ...

class ViewColumn(_message.Message):
    __slots__ = ("name", "unit", "meaning", "operators_only", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_ONLY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    meaning: str
    operators_only: bool
    type: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., meaning: _Optional[str] = ..., operators_only: _Optional[bool] = ..., type: _Optional[str] = ...) -> None: ...

class View(_message.Message):
    __slots__ = ("name", "version", "question", "operators_only", "parameters", "columns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_ONLY_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    question: str
    operators_only: bool
    parameters: _containers.RepeatedCompositeFieldContainer[ViewParameter]
    columns: _containers.RepeatedCompositeFieldContainer[ViewColumn]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., question: _Optional[str] = ..., operators_only: _Optional[bool] = ..., parameters: _Optional[_Iterable[_Union[ViewParameter, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[ViewColumn, _Mapping]]] = ...) -> None: ...

class ListViewsResponse(_message.Message):
    __slots__ = ("views",)
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    views: _containers.RepeatedCompositeFieldContainer[View]
    def __init__(self, views: _Optional[_Iterable[_Union[View, _Mapping]]] = ...) -> None: ...

class QueryViewRequest(_message.Message):
    __slots__ = ("name", "parameters", "organization_id", "operator", "limit")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    parameters: _containers.ScalarMap[str, str]
    organization_id: str
    operator: bool
    limit: int
    def __init__(self, name: _Optional[str] = ..., parameters: _Optional[_Mapping[str, str]] = ..., organization_id: _Optional[str] = ..., operator: _Optional[bool] = ..., limit: _Optional[int] = ...) -> None: ...

class QueryViewResponse(_message.Message):
    __slots__ = ("columns", "rows_json", "truncated")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_JSON_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[ViewColumn]
    rows_json: _containers.RepeatedScalarFieldContainer[str]
    truncated: bool
    def __init__(self, columns: _Optional[_Iterable[_Union[ViewColumn, _Mapping]]] = ..., rows_json: _Optional[_Iterable[str]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class RunSqlRequest(_message.Message):
    __slots__ = ("sql", "limit")
    SQL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    sql: str
    limit: int
    def __init__(self, sql: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class RunSqlResponse(_message.Message):
    __slots__ = ("columns", "rows_json", "truncated")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_JSON_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[ViewColumn]
    rows_json: _containers.RepeatedScalarFieldContainer[str]
    truncated: bool
    def __init__(self, columns: _Optional[_Iterable[_Union[ViewColumn, _Mapping]]] = ..., rows_json: _Optional[_Iterable[str]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class ExportUsageRequest(_message.Message):
    __slots__ = ("organization_id", "month", "operator")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    MONTH_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    month: str
    operator: bool
    def __init__(self, organization_id: _Optional[str] = ..., month: _Optional[str] = ..., operator: _Optional[bool] = ...) -> None: ...

class ExportUsageResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class DescribeIsolationRequest(_message.Message):
    __slots__ = ("organization_id",)
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ...) -> None: ...

class DescribeIsolationResponse(_message.Message):
    __slots__ = ("statements",)
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    statements: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, statements: _Optional[_Iterable[str]] = ...) -> None: ...
