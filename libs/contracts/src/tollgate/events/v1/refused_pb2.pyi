from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RequestRefused(_message.Message):
    __slots__ = ("request_id", "refused_at_us", "trace_id", "organization_id", "project_id", "api_key_id", "route", "operation", "model", "stream", "status", "code", "message", "request_bytes", "total_us", "left_out", "tags", "member")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REFUSED_AT_US_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    refused_at_us: int
    trace_id: str
    organization_id: str
    project_id: str
    api_key_id: str
    route: str
    operation: str
    model: str
    stream: bool
    status: int
    code: str
    message: str
    request_bytes: int
    total_us: int
    left_out: int
    tags: str
    member: str
    def __init__(self, request_id: _Optional[str] = ..., refused_at_us: _Optional[int] = ..., trace_id: _Optional[str] = ..., organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., api_key_id: _Optional[str] = ..., route: _Optional[str] = ..., operation: _Optional[str] = ..., model: _Optional[str] = ..., stream: _Optional[bool] = ..., status: _Optional[int] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., request_bytes: _Optional[int] = ..., total_us: _Optional[int] = ..., left_out: _Optional[int] = ..., tags: _Optional[str] = ..., member: _Optional[str] = ...) -> None: ...

class RequestsRefused(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RequestRefused]
    def __init__(self, requests: _Optional[_Iterable[_Union[RequestRefused, _Mapping]]] = ...) -> None: ...
