from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VersionRef(_message.Message):
    __slots__ = ("digest", "sequence")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    sequence: int
    def __init__(self, digest: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class GetCurrentVersionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCurrentVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: VersionRef
    def __init__(self, version: _Optional[_Union[VersionRef, _Mapping]] = ...) -> None: ...

class GetVersionRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class GetVersionResponse(_message.Message):
    __slots__ = ("version", "document")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    version: VersionRef
    document: bytes
    def __init__(self, version: _Optional[_Union[VersionRef, _Mapping]] = ..., document: _Optional[bytes] = ...) -> None: ...

class WatchVersionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchVersionsResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: VersionRef
    def __init__(self, version: _Optional[_Union[VersionRef, _Mapping]] = ...) -> None: ...
