from tollgate.exchange.v1 import exchange_pb2 as _exchange_pb2
from tollgate.routing.v1 import explanation_pb2 as _explanation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChannelMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_MODE_UNSPECIFIED: _ClassVar[ChannelMode]
    CHANNEL_MODE_ENABLED: _ClassVar[ChannelMode]
    CHANNEL_MODE_DRAINING: _ClassVar[ChannelMode]
    CHANNEL_MODE_DISABLED: _ClassVar[ChannelMode]
CHANNEL_MODE_UNSPECIFIED: ChannelMode
CHANNEL_MODE_ENABLED: ChannelMode
CHANNEL_MODE_DRAINING: ChannelMode
CHANNEL_MODE_DISABLED: ChannelMode

class DescribeRouterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChannelState(_message.Message):
    __slots__ = ("channel", "provider", "route_groups", "models", "usable", "reason", "open_requests", "attempts", "failures", "mode", "mode_reason", "hindrances", "extra_attempts")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    ROUTE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    USABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_REASON_FIELD_NUMBER: _ClassVar[int]
    HINDRANCES_FIELD_NUMBER: _ClassVar[int]
    EXTRA_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    channel: str
    provider: str
    route_groups: _containers.RepeatedScalarFieldContainer[str]
    models: int
    usable: bool
    reason: str
    open_requests: int
    attempts: int
    failures: int
    mode: ChannelMode
    mode_reason: str
    hindrances: _containers.RepeatedCompositeFieldContainer[Hindrance]
    extra_attempts: int
    def __init__(self, channel: _Optional[str] = ..., provider: _Optional[str] = ..., route_groups: _Optional[_Iterable[str]] = ..., models: _Optional[int] = ..., usable: _Optional[bool] = ..., reason: _Optional[str] = ..., open_requests: _Optional[int] = ..., attempts: _Optional[int] = ..., failures: _Optional[int] = ..., mode: _Optional[_Union[ChannelMode, str]] = ..., mode_reason: _Optional[str] = ..., hindrances: _Optional[_Iterable[_Union[Hindrance, _Mapping]]] = ..., extra_attempts: _Optional[int] = ...) -> None: ...

class Hindrance(_message.Message):
    __slots__ = ("subject", "obstacle", "detail", "wait_ms")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OBSTACLE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    subject: str
    obstacle: str
    detail: str
    wait_ms: int
    def __init__(self, subject: _Optional[str] = ..., obstacle: _Optional[str] = ..., detail: _Optional[str] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class ExplainRouteRequest(_message.Message):
    __slots__ = ("model", "route_group", "project_id", "api_key_id", "operation", "dialect", "body", "headers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTE_GROUP_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    model: str
    route_group: str
    project_id: str
    api_key_id: str
    operation: _exchange_pb2.Operation
    dialect: _exchange_pb2.Dialect
    body: bytes
    headers: _containers.RepeatedCompositeFieldContainer[_exchange_pb2.Header]
    def __init__(self, model: _Optional[str] = ..., route_group: _Optional[str] = ..., project_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., operation: _Optional[_Union[_exchange_pb2.Operation, str]] = ..., dialect: _Optional[_Union[_exchange_pb2.Dialect, str]] = ..., body: _Optional[bytes] = ..., headers: _Optional[_Iterable[_Union[_exchange_pb2.Header, _Mapping]]] = ...) -> None: ...

class ExplainRouteResponse(_message.Message):
    __slots__ = ("explanation",)
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    explanation: _explanation_pb2.Explanation
    def __init__(self, explanation: _Optional[_Union[_explanation_pb2.Explanation, _Mapping]] = ...) -> None: ...

class SetChannelModeRequest(_message.Message):
    __slots__ = ("channel", "mode", "reason")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    channel: str
    mode: ChannelMode
    reason: str
    def __init__(self, channel: _Optional[str] = ..., mode: _Optional[_Union[ChannelMode, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SetChannelModeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeRouterResponse(_message.Message):
    __slots__ = ("config_digest", "channels", "open_requests", "spool_records", "spool_bytes", "spool_limit_bytes", "spool_problem")
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_RECORDS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    config_digest: str
    channels: _containers.RepeatedCompositeFieldContainer[ChannelState]
    open_requests: int
    spool_records: int
    spool_bytes: int
    spool_limit_bytes: int
    spool_problem: str
    def __init__(self, config_digest: _Optional[str] = ..., channels: _Optional[_Iterable[_Union[ChannelState, _Mapping]]] = ..., open_requests: _Optional[int] = ..., spool_records: _Optional[int] = ..., spool_bytes: _Optional[int] = ..., spool_limit_bytes: _Optional[int] = ..., spool_problem: _Optional[str] = ...) -> None: ...
