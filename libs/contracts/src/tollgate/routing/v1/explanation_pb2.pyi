from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_TAKEN: _ClassVar[Verdict]
    VERDICT_POSSIBLE: _ClassVar[Verdict]
    VERDICT_OUT: _ClassVar[Verdict]
    VERDICT_FAILED: _ClassVar[Verdict]
VERDICT_UNSPECIFIED: Verdict
VERDICT_TAKEN: Verdict
VERDICT_POSSIBLE: Verdict
VERDICT_OUT: Verdict
VERDICT_FAILED: Verdict

class ConsideredTarget(_message.Message):
    __slots__ = ("model", "level", "channel", "key", "upstream_model", "weight", "verdict", "reason", "detail", "wait_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    level: int
    channel: str
    key: int
    upstream_model: str
    weight: int
    verdict: Verdict
    reason: str
    detail: str
    wait_ms: int
    def __init__(self, model: _Optional[str] = ..., level: _Optional[int] = ..., channel: _Optional[str] = ..., key: _Optional[int] = ..., upstream_model: _Optional[str] = ..., weight: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("model", "route_group", "config_digest", "strategy", "affinity", "bound", "canary", "needs", "unmet", "prompt_tokens", "targets", "omitted", "fallback_model", "fallback_reason", "refusal", "retry_after_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROUTE_GROUP_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    UNMET_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    OMITTED_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    route_group: str
    config_digest: str
    strategy: str
    affinity: str
    bound: bool
    canary: bool
    needs: _containers.RepeatedScalarFieldContainer[str]
    unmet: _containers.RepeatedScalarFieldContainer[str]
    prompt_tokens: int
    targets: _containers.RepeatedCompositeFieldContainer[ConsideredTarget]
    omitted: int
    fallback_model: str
    fallback_reason: str
    refusal: str
    retry_after_ms: int
    def __init__(self, model: _Optional[str] = ..., route_group: _Optional[str] = ..., config_digest: _Optional[str] = ..., strategy: _Optional[str] = ..., affinity: _Optional[str] = ..., bound: _Optional[bool] = ..., canary: _Optional[bool] = ..., needs: _Optional[_Iterable[str]] = ..., unmet: _Optional[_Iterable[str]] = ..., prompt_tokens: _Optional[int] = ..., targets: _Optional[_Iterable[_Union[ConsideredTarget, _Mapping]]] = ..., omitted: _Optional[int] = ..., fallback_model: _Optional[str] = ..., fallback_reason: _Optional[str] = ..., refusal: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
