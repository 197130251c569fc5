from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateTopUpRequest(_message.Message):
    __slots__ = ("organization_id", "currency", "amount_pico", "idempotency_key")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    currency: str
    amount_pico: int
    idempotency_key: str
    def __init__(self, organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class TopUp(_message.Message):
    __slots__ = ("id", "organization_id", "currency", "amount_pico", "state", "checkout_url", "created_us", "changed_us")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHECKOUT_URL_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    CHANGED_US_FIELD_NUMBER: _ClassVar[int]
    id: str
    organization_id: str
    currency: str
    amount_pico: int
    state: str
    checkout_url: str
    created_us: int
    changed_us: int
    def __init__(self, id: _Optional[str] = ..., organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., state: _Optional[str] = ..., checkout_url: _Optional[str] = ..., created_us: _Optional[int] = ..., changed_us: _Optional[int] = ...) -> None: ...

class CreateTopUpResponse(_message.Message):
    __slots__ = ("top_up",)
    TOP_UP_FIELD_NUMBER: _ClassVar[int]
    top_up: TopUp
    def __init__(self, top_up: _Optional[_Union[TopUp, _Mapping]] = ...) -> None: ...

class RecordPaymentRequest(_message.Message):
    __slots__ = ("webhook_id", "timestamp", "signature", "body")
    WEBHOOK_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    webhook_id: str
    timestamp: str
    signature: str
    body: bytes
    def __init__(self, webhook_id: _Optional[str] = ..., timestamp: _Optional[str] = ..., signature: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class RecordPaymentResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: str
    def __init__(self, result: _Optional[str] = ...) -> None: ...

class ListTopUpsRequest(_message.Message):
    __slots__ = ("organization_id", "limit", "cursor")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    limit: int
    cursor: str
    def __init__(self, organization_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListTopUpsResponse(_message.Message):
    __slots__ = ("top_ups", "next_cursor")
    TOP_UPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    top_ups: _containers.RepeatedCompositeFieldContainer[TopUp]
    next_cursor: str
    def __init__(self, top_ups: _Optional[_Iterable[_Union[TopUp, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...
