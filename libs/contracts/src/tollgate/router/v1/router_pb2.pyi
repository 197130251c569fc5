from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRouterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChannelState(_message.Message):
    __slots__ = ("channel", "provider", "route_groups", "models", "usable", "reason", "open_requests", "attempts", "failures")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    ROUTE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    USABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    channel: str
    provider: str
    route_groups: _containers.RepeatedScalarFieldContainer[str]
    models: int
    usable: bool
    reason: str
    open_requests: int
    attempts: int
    failures: int
    def __init__(self, channel: _Optional[str] = ..., provider: _Optional[str] = ..., route_groups: _Optional[_Iterable[str]] = ..., models: _Optional[int] = ..., usable: _Optional[bool] = ..., reason: _Optional[str] = ..., open_requests: _Optional[int] = ..., attempts: _Optional[int] = ..., failures: _Optional[int] = ...) -> None: ...

class DescribeRouterResponse(_message.Message):
    __slots__ = ("config_digest", "channels", "open_requests", "spool_records", "spool_bytes")
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_RECORDS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    config_digest: str
    channels: _containers.RepeatedCompositeFieldContainer[ChannelState]
    open_requests: int
    spool_records: int
    spool_bytes: int
    def __init__(self, config_digest: _Optional[str] = ..., channels: _Optional[_Iterable[_Union[ChannelState, _Mapping]]] = ..., open_requests: _Optional[int] = ..., spool_records: _Optional[int] = ..., spool_bytes: _Optional[int] = ...) -> None: ...
