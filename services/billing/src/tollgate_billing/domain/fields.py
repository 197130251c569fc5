"""The plain values of a usage event, read from its message once and in few calls."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from google.protobuf.json_format import MessageToJson

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire

TOKEN_FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)


class Fields(NamedTuple):
    """Named as columns of the usage store where they are one; enumerations are their numbers.

    `tokens` are the quantities of TOKEN_FIELDS, in that order; `own_currency` is the tenant's. `routing` explains a
    request that fell back, and `limits` is what a request was admitted within, on its final event: JSON, or nothing.
    `counted`: other units than tokens and requests were used.
    """

    event_id: bytes
    request_id: str
    number_of_try: int
    attempt: int
    source: int
    status: int
    replay: bool
    final: bool
    estimated: bool
    trace_kept: bool
    traceparent: str
    started_at_us: int
    ended_at_us: int
    model: str
    requested_model: str
    fallback_reason: str
    upstream_model: str
    provider: str
    channel: str
    dialect: int
    operation: int
    stream: bool
    outcome: int
    upstream_status: int
    error_kind: str
    media_job_id: str
    client_network: str
    prompt_hash: int
    cost_pico: int
    charge_pico: int
    hold_pico: int
    currency: str
    unpriced: bool
    price_digest: str
    config_digest: str
    organization_id: str
    project_id: str
    api_key_id: str
    tags: str
    member: str
    price_group: str
    own_currency: str
    upstream_started_us: int
    first_byte_us: int
    total_us: int
    requests: int
    service_tier: str
    tokens: tuple[int, ...]
    routing: str
    limits: str
    counted: bool


Reader = Callable[[Any], tuple[Any, ...]]
_TENANT_AT: Final = Fields._fields.index("organization_id")
_TIMINGS_AT: Final = Fields._fields.index("upstream_started_us")
_USAGE_AT: Final = Fields._fields.index("requests")
# `try` is a word of the language.
_OF_MESSAGE: Final[Reader] = attrgetter(
    *("try" if one == "number_of_try" else one for one in Fields._fields[:_TENANT_AT])
)
_OF_TENANT: Final[Reader] = attrgetter(
    *("currency" if one == "own_currency" else one for one in Fields._fields[_TENANT_AT:_TIMINGS_AT])
)
_OF_TIMINGS: Final[Reader] = attrgetter(*Fields._fields[_TIMINGS_AT:_USAGE_AT])
_OF_USAGE: Final[Reader] = attrgetter("requests", "service_tier")
_TOKENS: Final[Reader] = attrgetter(*TOKEN_FIELDS)
# The values of each field of a batch, by its name.
Columns = Mapping[str, Sequence[Any]]


def fields_of(message: events.UsageRecorded) -> Fields:
    """Returns the plain values of a message."""
    tenant, usage = message.tenant, message.usage
    limits = tenant.limits
    return tuple.__new__(
        Fields,
        (
            *_OF_MESSAGE(message),
            *_OF_TENANT(tenant),
            *_OF_TIMINGS(message.timings),
            *_OF_USAGE(usage),
            _TOKENS(usage),
            _json_of(message.routing) if message.HasField("routing") else "",
            _limits_of(tuple(limit.SerializeToString() for limit in limits)) if limits and message.final else "",
            bool(usage.images or usage.units),
        ),
    )


def _json_of(message: Any) -> str:
    return str(MessageToJson(message, preserving_proto_field_name=True, indent=None))


@functools.lru_cache(maxsize=4096)
def _limits_of(limits: tuple[bytes, ...]) -> str:
    found = [wire.Limit.FromString(limit).ListFields() for limit in limits]
    plain = [{field.name: value for field, value in fields} for fields in found]
    return json.dumps(plain, separators=(",", ":"), sort_keys=True)


def columns_of(rows: Sequence[Fields]) -> Columns:
    """Returns the same values by field: turning all of them at once costs a fifth of a loop for each."""
    turned = list(zip(*rows, strict=True)) or [()] * len(Fields._fields)
    return dict(zip(Fields._fields, turned, strict=True))
