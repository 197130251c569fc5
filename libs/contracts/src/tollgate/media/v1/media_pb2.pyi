from tollgate.errors.v1 import errors_pb2 as _errors_pb2
from tollgate.exchange.v1 import exchange_pb2 as _exchange_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_KIND_UNSPECIFIED: _ClassVar[JobKind]
    JOB_KIND_TEXT_TO_IMAGE: _ClassVar[JobKind]
    JOB_KIND_IMAGE_EDIT: _ClassVar[JobKind]
    JOB_KIND_IMAGE_VARIATION: _ClassVar[JobKind]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_SUBMITTING: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_INGESTING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
    JOB_STATE_SUBMIT_UNKNOWN: _ClassVar[JobState]
JOB_KIND_UNSPECIFIED: JobKind
JOB_KIND_TEXT_TO_IMAGE: JobKind
JOB_KIND_IMAGE_EDIT: JobKind
JOB_KIND_IMAGE_VARIATION: JobKind
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_SUBMITTING: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_INGESTING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
JOB_STATE_SUBMIT_UNKNOWN: JobState

class ImageParameters(_message.Message):
    __slots__ = ("prompt", "size", "quality", "count", "output_format", "user")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    size: str
    quality: str
    count: int
    output_format: str
    user: str
    def __init__(self, prompt: _Optional[str] = ..., size: _Optional[str] = ..., quality: _Optional[str] = ..., count: _Optional[int] = ..., output_format: _Optional[str] = ..., user: _Optional[str] = ...) -> None: ...

class ImageSource(_message.Message):
    __slots__ = ("name", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Asset(_message.Message):
    __slots__ = ("id", "sha256", "content_type", "size_bytes", "width", "height", "index")
    ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    id: str
    sha256: str
    content_type: str
    size_bytes: int
    width: int
    height: int
    index: int
    def __init__(self, id: _Optional[str] = ..., sha256: _Optional[str] = ..., content_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "kind", "state", "tenant", "model", "image", "assets", "error", "created_at_us", "ended_at_us", "charge_pico", "currency", "request_id", "traceparent", "reported_tokens")
    class ReportedTokensEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_US_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_US_FIELD_NUMBER: _ClassVar[int]
    CHARGE_PICO_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    REPORTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: JobKind
    state: JobState
    tenant: _exchange_pb2.Tenant
    model: str
    image: ImageParameters
    assets: _containers.RepeatedCompositeFieldContainer[Asset]
    error: _errors_pb2.Error
    created_at_us: int
    ended_at_us: int
    charge_pico: int
    currency: str
    request_id: str
    traceparent: str
    reported_tokens: _containers.ScalarMap[str, int]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[JobKind, str]] = ..., state: _Optional[_Union[JobState, str]] = ..., tenant: _Optional[_Union[_exchange_pb2.Tenant, _Mapping]] = ..., model: _Optional[str] = ..., image: _Optional[_Union[ImageParameters, _Mapping]] = ..., assets: _Optional[_Iterable[_Union[Asset, _Mapping]]] = ..., error: _Optional[_Union[_errors_pb2.Error, _Mapping]] = ..., created_at_us: _Optional[int] = ..., ended_at_us: _Optional[int] = ..., charge_pico: _Optional[int] = ..., currency: _Optional[str] = ..., request_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., reported_tokens: _Optional[_Mapping[str, int]] = ...) -> None: ...

class CreateJobRequest(_message.Message):
    __slots__ = ("tenant", "kind", "model", "image", "idempotency_key", "request_id", "traceparent", "sources", "requested_model", "client_network", "prompt_hash", "within_limits", "postpaid", "money_told")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NETWORK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_HASH_FIELD_NUMBER: _ClassVar[int]
    WITHIN_LIMITS_FIELD_NUMBER: _ClassVar[int]
    POSTPAID_FIELD_NUMBER: _ClassVar[int]
    MONEY_TOLD_FIELD_NUMBER: _ClassVar[int]
    tenant: _exchange_pb2.Tenant
    kind: JobKind
    model: str
    image: ImageParameters
    idempotency_key: str
    request_id: str
    traceparent: str
    sources: _containers.RepeatedCompositeFieldContainer[ImageSource]
    requested_model: str
    client_network: str
    prompt_hash: int
    within_limits: bool
    postpaid: bool
    money_told: bool
    def __init__(self, tenant: _Optional[_Union[_exchange_pb2.Tenant, _Mapping]] = ..., kind: _Optional[_Union[JobKind, str]] = ..., model: _Optional[str] = ..., image: _Optional[_Union[ImageParameters, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., request_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[ImageSource, _Mapping]]] = ..., requested_model: _Optional[str] = ..., client_network: _Optional[str] = ..., prompt_hash: _Optional[int] = ..., within_limits: _Optional[bool] = ..., postpaid: _Optional[bool] = ..., money_told: _Optional[bool] = ...) -> None: ...

class Admission(_message.Message):
    __slots__ = ("verdict", "tokens")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    verdict: _containers.RepeatedScalarFieldContainer[int]
    tokens: int
    def __init__(self, verdict: _Optional[_Iterable[int]] = ..., tokens: _Optional[int] = ...) -> None: ...

class CreateJobResponse(_message.Message):
    __slots__ = ("job", "admission")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    job: Job
    admission: Admission
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., admission: _Optional[_Union[Admission, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("organization_id", "project_id", "job_id")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    job_id: str
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., job_id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class WaitJobRequest(_message.Message):
    __slots__ = ("organization_id", "project_id", "job_id", "timeout_ms")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    job_id: str
    timeout_ms: int
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., job_id: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class WaitJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("organization_id", "project_id", "limit", "cursor")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    limit: int
    cursor: str
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_cursor")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_cursor: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class ReadAssetRequest(_message.Message):
    __slots__ = ("organization_id", "project_id", "asset_id")
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    organization_id: str
    project_id: str
    asset_id: str
    def __init__(self, organization_id: _Optional[str] = ..., project_id: _Optional[str] = ..., asset_id: _Optional[str] = ...) -> None: ...

class ReadAssetResponse(_message.Message):
    __slots__ = ("asset", "data")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    asset: Asset
    data: bytes
    def __init__(self, asset: _Optional[_Union[Asset, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
