"""How a call to an upstream can fail below HTTP semantics."""

import enum
from dataclasses import dataclass


class FailureKind(enum.Enum):
    REFUSED = "refused"
    """No connection: refused, unreachable, or the name does not resolve."""
    DENIED = "denied"
    """The address is one that this channel may not reach."""
    BUSY = "busy"
    """Every connection to the origin is taken and the queue for one is full."""
    CONNECT_TIMEOUT = "connect_timeout"
    """No free connection in time."""
    TLS = "tls"
    """Handshake or certificate."""
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    """No head of the reply in time."""
    IDLE_TIMEOUT = "idle_timeout"
    """The reply stalled."""
    TOTAL_TIMEOUT = "total_timeout"
    """The whole call took too long."""
    CUT = "cut"
    """The connection closed before the reply was whole."""
    NO_PROOF = "no_proof"
    """There is no access token to ask with; nothing was sent."""
    PROTOCOL = "protocol"
    """The reply breaks the rules of HTTP/1.1, or a limit."""


@dataclass(frozen=True, slots=True)
class UpstreamFailure:
    kind: FailureKind
    sent: bool
    """Bytes of the request may have been acted on by the upstream."""
    detail: str = ""
    """For logs; never for callers: it may name addresses."""
