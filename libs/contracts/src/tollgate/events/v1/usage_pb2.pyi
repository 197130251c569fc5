from tollgate.exchange.v1 import exchange_pb2 as _exchange_pb2
from tollgate.routing.v1 import explanation_pb2 as _explanation_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_SOURCE_UNSPECIFIED: _ClassVar[EventSource]
    EVENT_SOURCE_ROUTER: _ClassVar[EventSource]
    EVENT_SOURCE_WITNESS: _ClassVar[EventSource]
    EVENT_SOURCE_BILLING: _ClassVar[EventSource]

class EventStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_STATUS_UNSPECIFIED: _ClassVar[EventStatus]
    EVENT_STATUS_CONFIRMED: _ClassVar[EventStatus]
    EVENT_STATUS_UNCONFIRMED: _ClassVar[EventStatus]
    EVENT_STATUS_WITNESS: _ClassVar[EventStatus]
    EVENT_STATUS_SETTLED: _ClassVar[EventStatus]
    EVENT_STATUS_REPEATED: _ClassVar[EventStatus]
EVENT_SOURCE_UNSPECIFIED: EventSource
EVENT_SOURCE_ROUTER: EventSource
EVENT_SOURCE_WITNESS: EventSource
EVENT_SOURCE_BILLING: EventSource
EVENT_STATUS_UNSPECIFIED: EventStatus
EVENT_STATUS_CONFIRMED: EventStatus
EVENT_STATUS_UNCONFIRMED: EventStatus
EVENT_STATUS_WITNESS: EventStatus
EVENT_STATUS_SETTLED: EventStatus
EVENT_STATUS_REPEATED: EventStatus

class Conversion(_message.Message):
    __slots__ = ("rate_digest", "list_currency", "list_charge_pico", "provider_currency", "provider_cost_pico")
    RATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LIST_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIST_CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_COST_PICO_FIELD_NUMBER: _ClassVar[int]
    rate_digest: str
    list_currency: str
    list_charge_pico: int
    provider_currency: str
    provider_cost_pico: int
    def __init__(self, rate_digest: _Optional[str] = ..., list_currency: _Optional[str] = ..., list_charge_pico: _Optional[int] = ..., provider_currency: _Optional[str] = ..., provider_cost_pico: _Optional[int] = ...) -> None: ...

class UsageRecorded(_message.Message):
    __slots__ = ("event_id", "request_id", "attempt", "source", "final", "status", "replay", "estimated", "started_at_us", "ended_at_us", "tenant", "model", "upstream_model", "provider", "channel", "dialect", "operation", "stream", "outcome", "upstream_status", "error_kind", "requested_model", "fallback_reason", "routing", "usage", "cost_pico", "charge_pico", "currency", "price_digest", "unpriced", "config_digest", "conversion", "hold_pico", "traceparent", "trace_kept", "timings", "media_job_id", "client_network", "prompt_hash")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_US_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_KIND_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_PICO_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONVERSION_FIELD_NUMBER: _ClassVar[int]
    HOLD_PICO_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACE_KEPT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NETWORK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    event_id: bytes
    request_id: str
    attempt: int
    source: EventSource
    final: bool
    status: EventStatus
    replay: bool
    estimated: bool
    started_at_us: int
    ended_at_us: int
    tenant: _exchange_pb2.Tenant
    model: str
    upstream_model: str
    provider: str
    channel: str
    dialect: _exchange_pb2.Dialect
    operation: _exchange_pb2.Operation
    stream: bool
    outcome: _exchange_pb2.Outcome
    upstream_status: int
    error_kind: str
    requested_model: str
    fallback_reason: str
    routing: _explanation_pb2.Explanation
    usage: _exchange_pb2.Usage
    cost_pico: int
    charge_pico: int
    currency: str
    price_digest: str
    unpriced: bool
    config_digest: str
    conversion: Conversion
    hold_pico: int
    traceparent: str
    trace_kept: bool
    timings: _exchange_pb2.Timings
    media_job_id: str
    client_network: str
    prompt_hash: int
    def __init__(self, event_id: _Optional[bytes] = ..., request_id: _Optional[str] = ..., attempt: _Optional[int] = ..., source: _Optional[_Union[EventSource, str]] = ..., final: _Optional[bool] = ..., status: _Optional[_Union[EventStatus, str]] = ..., replay: _Optional[bool] = ..., estimated: _Optional[bool] = ..., started_at_us: _Optional[int] = ..., ended_at_us: _Optional[int] = ..., tenant: _Optional[_Union[_exchange_pb2.Tenant, _Mapping]] = ..., model: _Optional[str] = ..., upstream_model: _Optional[str] = ..., provider: _Optional[str] = ..., channel: _Optional[str] = ..., dialect: _Optional[_Union[_exchange_pb2.Dialect, str]] = ..., operation: _Optional[_Union[_exchange_pb2.Operation, str]] = ..., stream: _Optional[bool] = ..., outcome: _Optional[_Union[_exchange_pb2.Outcome, str]] = ..., upstream_status: _Optional[int] = ..., error_kind: _Optional[str] = ..., requested_model: _Optional[str] = ..., fallback_reason: _Optional[str] = ..., routing: _Optional[_Union[_explanation_pb2.Explanation, _Mapping]] = ..., usage: _Optional[_Union[_exchange_pb2.Usage, _Mapping]] = ..., cost_pico: _Optional[int] = ..., charge_pico: _Optional[int] = ..., currency: _Optional[str] = ..., price_digest: _Optional[str] = ..., unpriced: _Optional[bool] = ..., config_digest: _Optional[str] = ..., conversion: _Optional[_Union[Conversion, _Mapping]] = ..., hold_pico: _Optional[int] = ..., traceparent: _Optional[str] = ..., trace_kept: _Optional[bool] = ..., timings: _Optional[_Union[_exchange_pb2.Timings, _Mapping]] = ..., media_job_id: _Optional[str] = ..., client_network: _Optional[str] = ..., prompt_hash: _Optional[int] = ..., **kwargs) -> None: ...
