"""What a caller of the client implements, and what it may set."""

from dataclasses import dataclass
from typing import Protocol

from tollgate_router.domain.failure import UpstreamFailure


class UpstreamSink(Protocol):
    """Told what happens to a call, synchronously, from the connection's callbacks.

    `upstream_head` comes once, then any number of `upstream_data`, then `upstream_end`; or `upstream_failed` at any
    point instead, and nothing after it. Nothing comes after `UpstreamCall.cancel()`, nor before `send` returned.
    """

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Names are lower case; the final reply only, never an informational one."""
        ...

    def upstream_data(self, data: bytes) -> None:
        """Bytes of the body, without transfer framing and content encoding: what one read held, joined."""
        ...

    def upstream_end(self) -> None:
        """The reply is whole."""
        ...

    def upstream_failed(self, failure: UpstreamFailure) -> None:
        """The reply will not become whole."""
        ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds; each runs on its own."""

    connect: float = 5.0
    """Until a connection is there, queueing, name resolution and TLS included."""
    first_byte: float = 120.0
    """From the request's last byte handed to the kernel to the head of the reply; it also bounds how long the kernel
    may take nothing more of a long request. Stands still while the call is paused."""
    idle: float = 120.0
    """Between two reads of the reply; stands still while the call is paused."""
    total: float = 1800.0
    """From `send` to the end."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    connections_per_origin: int = 1024
    idle_per_origin: int = 256
    waiting_per_origin: int = 4096
    """Calls that may queue for a connection."""
    idle_age_seconds: float = 45.0
    """How long an unused connection is kept."""
    connection_age_seconds: float = 300.0
    """Age at which a connection serves no further call, give or take a quarter, so that moved names are followed."""
    header_bytes: int = 65536
    """Of a reply's head, of its trailers, and of framing between two bytes of body."""
    header_count: int = 256
    informational_replies: int = 8
    decoded_bytes_per_read: int = 8_388_608
    """What the compressed bytes of one read may unpack to."""
    address_delay_seconds: float = 0.25
    """How long an address of an origin may keep silent before the next one is tried beside it."""
    name_fresh_seconds: float = 10.0
    """How old what a name resolved to may be when a connection is opened."""
    name_stale_seconds: float = 600.0
    """How old it may be while the resolver fails."""
    sweep_seconds: float = 0.1
    """Timeouts are looked at this often, so they may be late by as much."""
