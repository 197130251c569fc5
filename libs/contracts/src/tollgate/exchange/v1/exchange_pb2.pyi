from tollgate.errors.v1 import errors_pb2 as _errors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Dialect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIALECT_UNSPECIFIED: _ClassVar[Dialect]
    DIALECT_OPENAI_CHAT: _ClassVar[Dialect]
    DIALECT_OPENAI_RESPONSES: _ClassVar[Dialect]
    DIALECT_ANTHROPIC: _ClassVar[Dialect]
    DIALECT_GEMINI: _ClassVar[Dialect]

class Operation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_UNSPECIFIED: _ClassVar[Operation]
    OPERATION_CHAT: _ClassVar[Operation]
    OPERATION_EMBEDDINGS: _ClassVar[Operation]
    OPERATION_IMAGE: _ClassVar[Operation]
    OPERATION_COMPLETION: _ClassVar[Operation]
    OPERATION_MODERATION: _ClassVar[Operation]
    OPERATION_RERANK: _ClassVar[Operation]
    OPERATION_SPEECH: _ClassVar[Operation]
    OPERATION_TRANSCRIPTION: _ClassVar[Operation]
    OPERATION_TRANSLATION: _ClassVar[Operation]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_OK: _ClassVar[Outcome]
    OUTCOME_UPSTREAM_ERROR: _ClassVar[Outcome]
    OUTCOME_UPSTREAM_CUT: _ClassVar[Outcome]
    OUTCOME_CANCELLED: _ClassVar[Outcome]
    OUTCOME_TIMEOUT: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]
    OUTCOME_ROUTER_LOST: _ClassVar[Outcome]

class CancelReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_REASON_UNSPECIFIED: _ClassVar[CancelReason]
    CANCEL_REASON_CLIENT_GONE: _ClassVar[CancelReason]
    CANCEL_REASON_DEADLINE: _ClassVar[CancelReason]
    CANCEL_REASON_DRAINING: _ClassVar[CancelReason]
    CANCEL_REASON_BODY_BROKEN: _ClassVar[CancelReason]
DIALECT_UNSPECIFIED: Dialect
DIALECT_OPENAI_CHAT: Dialect
DIALECT_OPENAI_RESPONSES: Dialect
DIALECT_ANTHROPIC: Dialect
DIALECT_GEMINI: Dialect
OPERATION_UNSPECIFIED: Operation
OPERATION_CHAT: Operation
OPERATION_EMBEDDINGS: Operation
OPERATION_IMAGE: Operation
OPERATION_COMPLETION: Operation
OPERATION_MODERATION: Operation
OPERATION_RERANK: Operation
OPERATION_SPEECH: Operation
OPERATION_TRANSCRIPTION: Operation
OPERATION_TRANSLATION: Operation
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_OK: Outcome
OUTCOME_UPSTREAM_ERROR: Outcome
OUTCOME_UPSTREAM_CUT: Outcome
OUTCOME_CANCELLED: Outcome
OUTCOME_TIMEOUT: Outcome
OUTCOME_REFUSED: Outcome
OUTCOME_ROUTER_LOST: Outcome
CANCEL_REASON_UNSPECIFIED: CancelReason
CANCEL_REASON_CLIENT_GONE: CancelReason
CANCEL_REASON_DEADLINE: CancelReason
CANCEL_REASON_DRAINING: CancelReason
CANCEL_REASON_BODY_BROKEN: CancelReason

class Header(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    value: bytes
    def __init__(self, name: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("kind", "id", "requests_per_minute", "tokens_per_minute", "concurrency", "budget_pico", "budget_window")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    BUDGET_PICO_FIELD_NUMBER: _ClassVar[int]
    BUDGET_WINDOW_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    requests_per_minute: int
    tokens_per_minute: int
    concurrency: int
    budget_pico: int
    budget_window: str
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., requests_per_minute: _Optional[int] = ..., tokens_per_minute: _Optional[int] = ..., concurrency: _Optional[int] = ..., budget_pico: _Optional[int] = ..., budget_window: _Optional[str] = ...) -> None: ...

class Tenant(_message.Message):
    __slots__ = ("organization_id", "project_id", "api_key_id", "price_group", "route_group", "currency", "limits", "tags", "member")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_GROUP_FIELD_NUMBER: _ClassVar[int]
    ROUTE_GROUP_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    api_key_id: str
    price_group: str
    route_group: str
    currency: str
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    tags: str
    member: str
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., price_group: _Optional[str] = ..., route_group: _Optional[str] = ..., currency: _Optional[str] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ..., tags: _Optional[str] = ..., member: _Optional[str] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("id", "request_id", "started_at_us", "dialect", "operation", "model", "stream", "usage_wanted", "tenant", "traceparent", "timeout_ms", "headers", "body", "body_length", "requested_model", "hold_pico", "client_network", "prompt_hash", "as_array", "api_version")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    USAGE_WANTED_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    BODY_LENGTH_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    HOLD_PICO_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NETWORK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    AS_ARRAY_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: int
    request_id: str
    started_at_us: int
    dialect: Dialect
    operation: Operation
    model: str
    stream: bool
    usage_wanted: bool
    tenant: Tenant
    traceparent: str
    timeout_ms: int
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    body: bytes
    body_length: int
    requested_model: str
    hold_pico: int
    client_network: str
    prompt_hash: int
    as_array: bool
    api_version: int
    def __init__(self, id: _Optional[int] = ..., request_id: _Optional[str] = ..., started_at_us: _Optional[int] = ..., dialect: _Optional[_Union[Dialect, str]] = ..., operation: _Optional[_Union[Operation, str]] = ..., model: _Optional[str] = ..., stream: _Optional[bool] = ..., usage_wanted: _Optional[bool] = ..., tenant: _Optional[_Union[Tenant, _Mapping]] = ..., traceparent: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., body: _Optional[bytes] = ..., body_length: _Optional[int] = ..., requested_model: _Optional[str] = ..., hold_pico: _Optional[int] = ..., client_network: _Optional[str] = ..., prompt_hash: _Optional[int] = ..., as_array: _Optional[bool] = ..., api_version: _Optional[int] = ..., **kwargs) -> None: ...

class Body(_message.Message):
    __slots__ = ("id", "data")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    id: int
    data: bytes
    def __init__(self, id: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("id", "bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    bytes: int
    def __init__(self, id: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("id", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: int
    reason: CancelReason
    def __init__(self, id: _Optional[int] = ..., reason: _Optional[_Union[CancelReason, str]] = ...) -> None: ...

class EdgeBatch(_message.Message):
    __slots__ = ("open", "body", "credit", "cancel", "ack", "ack_kept")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    ACK_KEPT_FIELD_NUMBER: _ClassVar[int]
    open: _containers.RepeatedCompositeFieldContainer[Open]
    body: _containers.RepeatedCompositeFieldContainer[Body]
    credit: _containers.RepeatedCompositeFieldContainer[Credit]
    cancel: _containers.RepeatedCompositeFieldContainer[Cancel]
    ack: _containers.RepeatedScalarFieldContainer[int]
    ack_kept: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, open: _Optional[_Iterable[_Union[Open, _Mapping]]] = ..., body: _Optional[_Iterable[_Union[Body, _Mapping]]] = ..., credit: _Optional[_Iterable[_Union[Credit, _Mapping]]] = ..., cancel: _Optional[_Iterable[_Union[Cancel, _Mapping]]] = ..., ack: _Optional[_Iterable[int]] = ..., ack_kept: _Optional[_Iterable[int]] = ...) -> None: ...

class Head(_message.Message):
    __slots__ = ("id", "status", "headers", "attempt", "detached")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    id: int
    status: int
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    attempt: int
    detached: bytes
    def __init__(self, id: _Optional[int] = ..., status: _Optional[int] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., attempt: _Optional[int] = ..., detached: _Optional[bytes] = ...) -> None: ...

class Data(_message.Message):
    __slots__ = ("id", "data")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    id: int
    data: bytes
    def __init__(self, id: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens", "images", "requests", "units", "service_tier")
    class UnitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_5M_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_1H_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIER_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    image_input_tokens: int
    image_output_tokens: int
    images: _containers.RepeatedCompositeFieldContainer[ImageCount]
    requests: int
    units: _containers.ScalarMap[str, int]
    service_tier: str
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_tokens: _Optional[int] = ..., cache_write_5m_tokens: _Optional[int] = ..., cache_write_1h_tokens: _Optional[int] = ..., reasoning_tokens: _Optional[int] = ..., audio_input_tokens: _Optional[int] = ..., audio_output_tokens: _Optional[int] = ..., image_input_tokens: _Optional[int] = ..., image_output_tokens: _Optional[int] = ..., images: _Optional[_Iterable[_Union[ImageCount, _Mapping]]] = ..., requests: _Optional[int] = ..., units: _Optional[_Mapping[str, int]] = ..., service_tier: _Optional[str] = ...) -> None: ...

class ImageCount(_message.Message):
    __slots__ = ("size", "quality", "count")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    size: str
    quality: str
    count: int
    def __init__(self, size: _Optional[str] = ..., quality: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("upstream_started_us", "first_byte_us", "total_us")
    UPSTREAM_STARTED_US_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    upstream_started_us: int
    first_byte_us: int
    total_us: int
    def __init__(self, upstream_started_us: _Optional[int] = ..., first_byte_us: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ("id", "outcome", "error", "usage", "charge_pico", "price_digest", "timings", "attempts", "trace_kept", "data", "channel", "unrecorded")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    TRACE_KEPT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    UNRECORDED_FIELD_NUMBER: _ClassVar[int]
    id: int
    outcome: Outcome
    error: _errors_pb2.Error
    usage: Usage
    charge_pico: int
    price_digest: str
    timings: Timings
    attempts: int
    trace_kept: bool
    data: bytes
    channel: str
    unrecorded: bool
    def __init__(self, id: _Optional[int] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., error: _Optional[_Union[_errors_pb2.Error, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., charge_pico: _Optional[int] = ..., price_digest: _Optional[str] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., attempts: _Optional[int] = ..., trace_kept: _Optional[bool] = ..., data: _Optional[bytes] = ..., channel: _Optional[str] = ..., unrecorded: _Optional[bool] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "stopping")
    REASON_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    reason: str
    stopping: bool
    def __init__(self, reason: _Optional[str] = ..., stopping: _Optional[bool] = ...) -> None: ...

class RouterBatch(_message.Message):
    __slots__ = ("head", "data", "end", "credit", "go_away", "open_requests")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    head: _containers.RepeatedCompositeFieldContainer[Head]
    data: _containers.RepeatedCompositeFieldContainer[Data]
    end: _containers.RepeatedCompositeFieldContainer[End]
    credit: _containers.RepeatedCompositeFieldContainer[Credit]
    go_away: GoAway
    open_requests: int
    def __init__(self, head: _Optional[_Iterable[_Union[Head, _Mapping]]] = ..., data: _Optional[_Iterable[_Union[Data, _Mapping]]] = ..., end: _Optional[_Iterable[_Union[End, _Mapping]]] = ..., credit: _Optional[_Iterable[_Union[Credit, _Mapping]]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ..., open_requests: _Optional[int] = ...) -> None: ...
