from tollgate.billing.v1 import billing_pb2 as _billing_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RefillRollupsRequest(_message.Message):
    __slots__ = ("rollup", "from_us", "to_us", "dry_run")
    ROLLUP_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    rollup: str
    from_us: int
    to_us: int
    dry_run: bool
    def __init__(self, rollup: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class RefillRollupsResponse(_message.Message):
    __slots__ = ("rollup", "from_us", "to_us", "differed")
    ROLLUP_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    DIFFERED_FIELD_NUMBER: _ClassVar[int]
    rollup: str
    from_us: int
    to_us: int
    differed: int
    def __init__(self, rollup: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., differed: _Optional[int] = ...) -> None: ...

class RebuildUsageRequest(_message.Message):
    __slots__ = ("from_us", "to_us", "dry_run")
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    from_us: int
    to_us: int
    dry_run: bool
    def __init__(self, from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class KeptRecords(_message.Message):
    __slots__ = ("partition", "offset", "at_us")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    at_us: int
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ..., at_us: _Optional[int] = ...) -> None: ...

class RebuildUsageResponse(_message.Message):
    __slots__ = ("step", "records", "batches", "missing", "unfit", "sums", "letters", "mismatches", "kept", "not_rebuilt", "cut", "copies")
    STEP_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    UNFIT_FIELD_NUMBER: _ClassVar[int]
    SUMS_FIELD_NUMBER: _ClassVar[int]
    LETTERS_FIELD_NUMBER: _ClassVar[int]
    MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    NOT_REBUILT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    step: str
    records: int
    batches: int
    missing: int
    unfit: int
    sums: int
    letters: int
    mismatches: int
    kept: _containers.RepeatedCompositeFieldContainer[KeptRecords]
    not_rebuilt: _containers.RepeatedCompositeFieldContainer[_billing_pb2.BookDifference]
    cut: int
    copies: int
    def __init__(self, step: _Optional[str] = ..., records: _Optional[int] = ..., batches: _Optional[int] = ..., missing: _Optional[int] = ..., unfit: _Optional[int] = ..., sums: _Optional[int] = ..., letters: _Optional[int] = ..., mismatches: _Optional[int] = ..., kept: _Optional[_Iterable[_Union[KeptRecords, _Mapping]]] = ..., not_rebuilt: _Optional[_Iterable[_Union[_billing_pb2.BookDifference, _Mapping]]] = ..., cut: _Optional[int] = ..., copies: _Optional[int] = ...) -> None: ...
