from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatementRequest(_message.Message):
    __slots__ = ("organization_id", "from_us", "to_us")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    from_us: int
    to_us: int
    def __init__(self, organization_id: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ...) -> None: ...

class StatementLine(_message.Message):
    __slots__ = ("project_id", "model", "price_digest", "requests", "charged_pico", "taken_back_requests", "taken_back_pico", "rate_digest", "exchange_rate")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_PICO_FIELD_NUMBER: _ClassVar[int]
    TAKEN_BACK_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TAKEN_BACK_PICO_FIELD_NUMBER: _ClassVar[int]
    RATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_RATE_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    model: str
    price_digest: str
    requests: int
    charged_pico: int
    taken_back_requests: int
    taken_back_pico: int
    rate_digest: str
    exchange_rate: str
    def __init__(self, project_id: _Optional[str] = ..., model: _Optional[str] = ..., price_digest: _Optional[str] = ..., requests: _Optional[int] = ..., charged_pico: _Optional[int] = ..., taken_back_requests: _Optional[int] = ..., taken_back_pico: _Optional[int] = ..., rate_digest: _Optional[str] = ..., exchange_rate: _Optional[str] = ...) -> None: ...

class StatementMovement(_message.Message):
    __slots__ = ("at_us", "kind", "reason", "amount_pico")
    AT_US_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    at_us: int
    kind: str
    reason: str
    amount_pico: int
    def __init__(self, at_us: _Optional[int] = ..., kind: _Optional[str] = ..., reason: _Optional[str] = ..., amount_pico: _Optional[int] = ...) -> None: ...

class GetStatementResponse(_message.Message):
    __slots__ = ("currency", "opening_pico", "closing_pico", "lines", "movements", "shortened")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    OPENING_PICO_FIELD_NUMBER: _ClassVar[int]
    CLOSING_PICO_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    MOVEMENTS_FIELD_NUMBER: _ClassVar[int]
    SHORTENED_FIELD_NUMBER: _ClassVar[int]
    currency: str
    opening_pico: int
    closing_pico: int
    lines: _containers.RepeatedCompositeFieldContainer[StatementLine]
    movements: _containers.RepeatedCompositeFieldContainer[StatementMovement]
    shortened: bool
    def __init__(self, currency: _Optional[str] = ..., opening_pico: _Optional[int] = ..., closing_pico: _Optional[int] = ..., lines: _Optional[_Iterable[_Union[StatementLine, _Mapping]]] = ..., movements: _Optional[_Iterable[_Union[StatementMovement, _Mapping]]] = ..., shortened: _Optional[bool] = ...) -> None: ...

class WhatIfRequest(_message.Message):
    __slots__ = ("book", "from_us", "to_us", "organization_id")
    BOOK_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    book: str
    from_us: int
    to_us: int
    organization_id: str
    def __init__(self, book: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., organization_id: _Optional[str] = ...) -> None: ...

class WhatIfRow(_message.Message):
    __slots__ = ("organization_id", "project_id", "model", "requests", "charged_pico", "would_pico", "not_in_draft", "unpriced")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_PICO_FIELD_NUMBER: _ClassVar[int]
    WOULD_PICO_FIELD_NUMBER: _ClassVar[int]
    NOT_IN_DRAFT_FIELD_NUMBER: _ClassVar[int]
    UNPRICED_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    model: str
    requests: int
    charged_pico: int
    would_pico: int
    not_in_draft: int
    unpriced: int
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., model: _Optional[str] = ..., requests: _Optional[int] = ..., charged_pico: _Optional[int] = ..., would_pico: _Optional[int] = ..., not_in_draft: _Optional[int] = ..., unpriced: _Optional[int] = ...) -> None: ...

class WhatIfResponse(_message.Message):
    __slots__ = ("rows", "total", "digest", "currency", "other_currency")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    OTHER_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[WhatIfRow]
    total: WhatIfRow
    digest: str
    currency: str
    other_currency: int
    def __init__(self, rows: _Optional[_Iterable[_Union[WhatIfRow, _Mapping]]] = ..., total: _Optional[_Union[WhatIfRow, _Mapping]] = ..., digest: _Optional[str] = ..., currency: _Optional[str] = ..., other_currency: _Optional[int] = ...) -> None: ...

class RerateUnpricedRequest(_message.Message):
    __slots__ = ("from_us", "to_us", "organization_id", "model", "price_digest", "apply")
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    from_us: int
    to_us: int
    organization_id: str
    model: str
    price_digest: str
    apply: bool
    def __init__(self, from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., organization_id: _Optional[str] = ..., model: _Optional[str] = ..., price_digest: _Optional[str] = ..., apply: _Optional[bool] = ...) -> None: ...

class RerateUnpricedRow(_message.Message):
    __slots__ = ("organization_id", "project_id", "model", "price_digest", "currency", "requests", "charge_pico", "cost_pico")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    COST_PICO_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    model: str
    price_digest: str
    currency: str
    requests: int
    charge_pico: int
    cost_pico: int
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., model: _Optional[str] = ..., price_digest: _Optional[str] = ..., currency: _Optional[str] = ..., requests: _Optional[int] = ..., charge_pico: _Optional[int] = ..., cost_pico: _Optional[int] = ...) -> None: ...

class RerateUnpricedResponse(_message.Message):
    __slots__ = ("rows", "sent", "left_out", "shortened")
    class LeftOutEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    SHORTENED_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RerateUnpricedRow]
    sent: int
    left_out: _containers.ScalarMap[str, int]
    shortened: bool
    def __init__(self, rows: _Optional[_Iterable[_Union[RerateUnpricedRow, _Mapping]]] = ..., sent: _Optional[int] = ..., left_out: _Optional[_Mapping[str, int]] = ..., shortened: _Optional[bool] = ...) -> None: ...

class TakeBackRepeatedRequest(_message.Message):
    __slots__ = ("from_us", "to_us", "organization_id", "apply")
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    from_us: int
    to_us: int
    organization_id: str
    apply: bool
    def __init__(self, from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., organization_id: _Optional[str] = ..., apply: _Optional[bool] = ...) -> None: ...

class RepeatedFinal(_message.Message):
    __slots__ = ("request_id", "organization_id", "project_id", "model", "currency", "charge_pico", "cost_pico")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    COST_PICO_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    organization_id: str
    project_id: str
    model: str
    currency: str
    charge_pico: int
    cost_pico: int
    def __init__(self, request_id: _Optional[str] = ..., organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., model: _Optional[str] = ..., currency: _Optional[str] = ..., charge_pico: _Optional[int] = ..., cost_pico: _Optional[int] = ...) -> None: ...

class TakeBackRepeatedResponse(_message.Message):
    __slots__ = ("rows", "sent", "left_out", "more")
    class LeftOutEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RepeatedFinal]
    sent: int
    left_out: _containers.ScalarMap[str, int]
    more: bool
    def __init__(self, rows: _Optional[_Iterable[_Union[RepeatedFinal, _Mapping]]] = ..., sent: _Optional[int] = ..., left_out: _Optional[_Mapping[str, int]] = ..., more: _Optional[bool] = ...) -> None: ...
