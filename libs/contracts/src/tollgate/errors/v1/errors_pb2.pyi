from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_KIND_UNSPECIFIED: _ClassVar[ErrorKind]
    ERROR_KIND_INVALID_REQUEST: _ClassVar[ErrorKind]
    ERROR_KIND_UNAUTHENTICATED: _ClassVar[ErrorKind]
    ERROR_KIND_FORBIDDEN: _ClassVar[ErrorKind]
    ERROR_KIND_NOT_FOUND: _ClassVar[ErrorKind]
    ERROR_KIND_MODEL_NOT_FOUND: _ClassVar[ErrorKind]
    ERROR_KIND_CONTEXT_LENGTH: _ClassVar[ErrorKind]
    ERROR_KIND_CONTENT_POLICY: _ClassVar[ErrorKind]
    ERROR_KIND_PAYLOAD_TOO_LARGE: _ClassVar[ErrorKind]
    ERROR_KIND_CONFLICT: _ClassVar[ErrorKind]
    ERROR_KIND_RATE_LIMITED: _ClassVar[ErrorKind]
    ERROR_KIND_INSUFFICIENT_QUOTA: _ClassVar[ErrorKind]
    ERROR_KIND_UPSTREAM_UNAVAILABLE: _ClassVar[ErrorKind]
    ERROR_KIND_UPSTREAM_TIMEOUT: _ClassVar[ErrorKind]
    ERROR_KIND_UPSTREAM_PROTOCOL: _ClassVar[ErrorKind]
    ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS: _ClassVar[ErrorKind]
    ERROR_KIND_UPSTREAM_CUT: _ClassVar[ErrorKind]
    ERROR_KIND_UPSTREAM_RATE_LIMITED: _ClassVar[ErrorKind]
    ERROR_KIND_UNAVAILABLE: _ClassVar[ErrorKind]
    ERROR_KIND_INTERNAL: _ClassVar[ErrorKind]
    ERROR_KIND_DEADLINE: _ClassVar[ErrorKind]
    ERROR_KIND_CANCELLED: _ClassVar[ErrorKind]
ERROR_KIND_UNSPECIFIED: ErrorKind
ERROR_KIND_INVALID_REQUEST: ErrorKind
ERROR_KIND_UNAUTHENTICATED: ErrorKind
ERROR_KIND_FORBIDDEN: ErrorKind
ERROR_KIND_NOT_FOUND: ErrorKind
ERROR_KIND_MODEL_NOT_FOUND: ErrorKind
ERROR_KIND_CONTEXT_LENGTH: ErrorKind
ERROR_KIND_CONTENT_POLICY: ErrorKind
ERROR_KIND_PAYLOAD_TOO_LARGE: ErrorKind
ERROR_KIND_CONFLICT: ErrorKind
ERROR_KIND_RATE_LIMITED: ErrorKind
ERROR_KIND_INSUFFICIENT_QUOTA: ErrorKind
ERROR_KIND_UPSTREAM_UNAVAILABLE: ErrorKind
ERROR_KIND_UPSTREAM_TIMEOUT: ErrorKind
ERROR_KIND_UPSTREAM_PROTOCOL: ErrorKind
ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS: ErrorKind
ERROR_KIND_UPSTREAM_CUT: ErrorKind
ERROR_KIND_UPSTREAM_RATE_LIMITED: ErrorKind
ERROR_KIND_UNAVAILABLE: ErrorKind
ERROR_KIND_INTERNAL: ErrorKind
ERROR_KIND_DEADLINE: ErrorKind
ERROR_KIND_CANCELLED: ErrorKind

class Error(_message.Message):
    __slots__ = ("kind", "message", "param", "code", "retry_after_ms")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PARAM_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    kind: ErrorKind
    message: str
    param: str
    code: str
    retry_after_ms: int
    def __init__(self, kind: _Optional[_Union[ErrorKind, str]] = ..., message: _Optional[str] = ..., param: _Optional[str] = ..., code: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
