from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GrantBonusRequest(_message.Message):
    __slots__ = ("organization_id", "currency", "amount_pico", "idempotency_key", "reason", "expires_us", "priority")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    currency: str
    amount_pico: int
    idempotency_key: str
    reason: str
    expires_us: int
    priority: int
    def __init__(self, organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., reason: _Optional[str] = ..., expires_us: _Optional[int] = ..., priority: _Optional[int] = ...) -> None: ...

class RefundRequest(_message.Message):
    __slots__ = ("organization_id", "amount_pico", "idempotency_key", "reason", "currency")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    amount_pico: int
    idempotency_key: str
    reason: str
    currency: str
    def __init__(self, organization_id: _Optional[str] = ..., amount_pico: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., reason: _Optional[str] = ..., currency: _Optional[str] = ...) -> None: ...

class CorrectRequest(_message.Message):
    __slots__ = ("organization_id", "currency", "amount_pico", "idempotency_key", "reason")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    currency: str
    amount_pico: int
    idempotency_key: str
    reason: str
    def __init__(self, organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class TransferMoneyRequest(_message.Message):
    __slots__ = ("organization_id", "to_organization_id", "to_currency", "amount_pico", "idempotency_key", "reason", "currency")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    TO_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    to_organization_id: str
    to_currency: str
    amount_pico: int
    idempotency_key: str
    reason: str
    currency: str
    def __init__(self, organization_id: _Optional[str] = ..., to_organization_id: _Optional[str] = ..., to_currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., reason: _Optional[str] = ..., currency: _Optional[str] = ...) -> None: ...

class SetCreditLineRequest(_message.Message):
    __slots__ = ("organization_id", "currency", "amount_pico")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    currency: str
    amount_pico: int
    def __init__(self, organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ...) -> None: ...

class Moved(_message.Message):
    __slots__ = ("balance_pico", "repeated", "exact_pico")
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    EXACT_PICO_FIELD_NUMBER: _ClassVar[int]
    balance_pico: int
    repeated: bool
    exact_pico: str
    def __init__(self, balance_pico: _Optional[int] = ..., repeated: _Optional[bool] = ..., exact_pico: _Optional[str] = ...) -> None: ...

class GrantBonusResponse(_message.Message):
    __slots__ = ("moved",)
    MOVED_FIELD_NUMBER: _ClassVar[int]
    moved: Moved
    def __init__(self, moved: _Optional[_Union[Moved, _Mapping]] = ...) -> None: ...

class RefundResponse(_message.Message):
    __slots__ = ("moved",)
    MOVED_FIELD_NUMBER: _ClassVar[int]
    moved: Moved
    def __init__(self, moved: _Optional[_Union[Moved, _Mapping]] = ...) -> None: ...

class CorrectResponse(_message.Message):
    __slots__ = ("moved",)
    MOVED_FIELD_NUMBER: _ClassVar[int]
    moved: Moved
    def __init__(self, moved: _Optional[_Union[Moved, _Mapping]] = ...) -> None: ...

class TransferMoneyResponse(_message.Message):
    __slots__ = ("moved",)
    MOVED_FIELD_NUMBER: _ClassVar[int]
    moved: Moved
    def __init__(self, moved: _Optional[_Union[Moved, _Mapping]] = ...) -> None: ...

class SetCreditLineResponse(_message.Message):
    __slots__ = ("moved",)
    MOVED_FIELD_NUMBER: _ClassVar[int]
    moved: Moved
    def __init__(self, moved: _Optional[_Union[Moved, _Mapping]] = ...) -> None: ...

class GetAccountsRequest(_message.Message):
    __slots__ = ("organization_id",)
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("account", "currency", "balance_pico", "exact_pico")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    EXACT_PICO_FIELD_NUMBER: _ClassVar[int]
    account: str
    currency: str
    balance_pico: int
    exact_pico: str
    def __init__(self, account: _Optional[str] = ..., currency: _Optional[str] = ..., balance_pico: _Optional[int] = ..., exact_pico: _Optional[str] = ...) -> None: ...

class Bonus(_message.Message):
    __slots__ = ("key", "amount_pico", "remaining_pico", "priority", "expires_us", "created_us", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    REMAINING_PICO_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: str
    amount_pico: int
    remaining_pico: int
    priority: int
    expires_us: int
    created_us: int
    reason: str
    def __init__(self, key: _Optional[str] = ..., amount_pico: _Optional[int] = ..., remaining_pico: _Optional[int] = ..., priority: _Optional[int] = ..., expires_us: _Optional[int] = ..., created_us: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class GetAccountsResponse(_message.Message):
    __slots__ = ("currency", "credit_line_pico", "balance_pico", "accounts", "bonuses", "exact_pico")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    CREDIT_LINE_PICO_FIELD_NUMBER: _ClassVar[int]
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    BONUSES_FIELD_NUMBER: _ClassVar[int]
    EXACT_PICO_FIELD_NUMBER: _ClassVar[int]
    currency: str
    credit_line_pico: int
    balance_pico: int
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    bonuses: _containers.RepeatedCompositeFieldContainer[Bonus]
    exact_pico: str
    def __init__(self, currency: _Optional[str] = ..., credit_line_pico: _Optional[int] = ..., balance_pico: _Optional[int] = ..., accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., bonuses: _Optional[_Iterable[_Union[Bonus, _Mapping]]] = ..., exact_pico: _Optional[str] = ...) -> None: ...

class ListTransfersRequest(_message.Message):
    __slots__ = ("organization_id", "limit", "cursor")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    limit: int
    cursor: str
    def __init__(self, organization_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class TransferRow(_message.Message):
    __slots__ = ("id", "batch", "project_id", "model", "price_digest", "currency", "debit", "credit", "amount_pico", "events", "reason", "created_us", "rate_digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    DEBIT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    RATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: int
    batch: str
    project_id: str
    model: str
    price_digest: str
    currency: str
    debit: str
    credit: str
    amount_pico: int
    events: int
    reason: str
    created_us: int
    rate_digest: str
    def __init__(self, id: _Optional[int] = ..., batch: _Optional[str] = ..., project_id: _Optional[str] = ..., model: _Optional[str] = ..., price_digest: _Optional[str] = ..., currency: _Optional[str] = ..., debit: _Optional[str] = ..., credit: _Optional[str] = ..., amount_pico: _Optional[int] = ..., events: _Optional[int] = ..., reason: _Optional[str] = ..., created_us: _Optional[int] = ..., rate_digest: _Optional[str] = ...) -> None: ...

class ListTransfersResponse(_message.Message):
    __slots__ = ("rows", "next_cursor")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[TransferRow]
    next_cursor: str
    def __init__(self, rows: _Optional[_Iterable[_Union[TransferRow, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class CreateCodesRequest(_message.Message):
    __slots__ = ("count", "currency", "amount_pico", "label", "expires_us", "valid_days", "priority")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    VALID_DAYS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    count: int
    currency: str
    amount_pico: int
    label: str
    expires_us: int
    valid_days: int
    priority: int
    def __init__(self, count: _Optional[int] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., label: _Optional[str] = ..., expires_us: _Optional[int] = ..., valid_days: _Optional[int] = ..., priority: _Optional[int] = ...) -> None: ...

class Code(_message.Message):
    __slots__ = ("id", "label", "currency", "amount_pico", "created_us", "expires_us", "redeemed_us", "redeemed_by", "revoked_us", "valid_days", "code")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    REDEEMED_US_FIELD_NUMBER: _ClassVar[int]
    REDEEMED_BY_FIELD_NUMBER: _ClassVar[int]
    REVOKED_US_FIELD_NUMBER: _ClassVar[int]
    VALID_DAYS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    label: str
    currency: str
    amount_pico: int
    created_us: int
    expires_us: int
    redeemed_us: int
    redeemed_by: str
    revoked_us: int
    valid_days: int
    code: str
    def __init__(self, id: _Optional[str] = ..., label: _Optional[str] = ..., currency: _Optional[str] = ..., amount_pico: _Optional[int] = ..., created_us: _Optional[int] = ..., expires_us: _Optional[int] = ..., redeemed_us: _Optional[int] = ..., redeemed_by: _Optional[str] = ..., revoked_us: _Optional[int] = ..., valid_days: _Optional[int] = ..., code: _Optional[str] = ...) -> None: ...

class CreateCodesResponse(_message.Message):
    __slots__ = ("codes",)
    CODES_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.RepeatedCompositeFieldContainer[Code]
    def __init__(self, codes: _Optional[_Iterable[_Union[Code, _Mapping]]] = ...) -> None: ...

class RedeemCodeRequest(_message.Message):
    __slots__ = ("organization_id", "currency", "code")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    currency: str
    code: str
    def __init__(self, organization_id: _Optional[str] = ..., currency: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class RedeemCodeResponse(_message.Message):
    __slots__ = ("amount_pico", "balance_pico", "expires_us", "repeated")
    AMOUNT_PICO_FIELD_NUMBER: _ClassVar[int]
    BALANCE_PICO_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    amount_pico: int
    balance_pico: int
    expires_us: int
    repeated: bool
    def __init__(self, amount_pico: _Optional[int] = ..., balance_pico: _Optional[int] = ..., expires_us: _Optional[int] = ..., repeated: _Optional[bool] = ...) -> None: ...

class ListCodesRequest(_message.Message):
    __slots__ = ("limit", "cursor")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    limit: int
    cursor: str
    def __init__(self, limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListCodesResponse(_message.Message):
    __slots__ = ("codes", "next_cursor")
    CODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    codes: _containers.RepeatedCompositeFieldContainer[Code]
    next_cursor: str
    def __init__(self, codes: _Optional[_Iterable[_Union[Code, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class RevokeCodeRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RevokeCodeResponse(_message.Message):
    __slots__ = ("code",)
    CODE_FIELD_NUMBER: _ClassVar[int]
    code: Code
    def __init__(self, code: _Optional[_Union[Code, _Mapping]] = ...) -> None: ...

class RebuildWalletsRequest(_message.Message):
    __slots__ = ("organization_id",)
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    def __init__(self, organization_id: _Optional[str] = ...) -> None: ...

class RebuiltWallet(_message.Message):
    __slots__ = ("organization_id", "before_pico", "wallet_pico", "changed", "currency")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_PICO_FIELD_NUMBER: _ClassVar[int]
    WALLET_PICO_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    before_pico: int
    wallet_pico: int
    changed: bool
    currency: str
    def __init__(self, organization_id: _Optional[str] = ..., before_pico: _Optional[int] = ..., wallet_pico: _Optional[int] = ..., changed: _Optional[bool] = ..., currency: _Optional[str] = ...) -> None: ...

class RebuildWalletsResponse(_message.Message):
    __slots__ = ("wallets",)
    WALLETS_FIELD_NUMBER: _ClassVar[int]
    wallets: _containers.RepeatedCompositeFieldContainer[RebuiltWallet]
    def __init__(self, wallets: _Optional[_Iterable[_Union[RebuiltWallet, _Mapping]]] = ...) -> None: ...
