"""What an exchange takes from its request's head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tollgate.exchange.v1 import exchange_pb2 as wire

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange
    from tollgate_edge.inference.gateway import InferenceGateway

_KEY_HEADERS: Final = (b"x-api-key", b"x-goog-api-key", b"api-key")
# A body up to this length is taken before anybody looks at the key, and dropped after a refusal to keep the connection.
SHORT_BYTES: Final = 64 * 1024


def read_head(
    exchange: "InferenceExchange", headers: Sequence[tuple[bytes, bytes]], query: bytes, gateway: "InferenceGateway"
) -> None:
    """Fills in the fields; names of `headers` are in lower case."""
    found = dict(headers)
    authorization = found.get(b"authorization")
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        exchange.presented = authorization[7:].strip()
    else:
        for name in _KEY_HEADERS:
            if name in found:
                exchange.presented = found[name].strip()
                break
        else:
            if query:
                exchange.presented = gateway.key_of_query(query)
    exchange.host = found.get(b"host", b"")
    exchange.content_type = found.get(b"content-type")
    exchange.traceparent = found.get(b"traceparent")
    exchange.cors = b"origin" in found
    names = (*gateway.passed_headers, *exchange.face.passed_headers)
    if names:
        exchange.passed = [wire.Header(name=name, value=found[name]) for name in names if name in found]
    if gateway.settings.trusted_hops:
        exchange.forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    length = found.get(b"content-length")
    # Without a length or chunks there is no body.
    exchange.content_length = int(length) if length is not None else -1 if b"transfer-encoding" in found else 0


def has_long_body(exchange: "InferenceExchange") -> bool:
    """Tells whether the body is longer than a short one, or may be: chunks do not say how many will come."""
    return exchange.content_length < 0 or exchange.content_length > SHORT_BYTES
