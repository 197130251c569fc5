"""Where a request can go: an origin to connect to, and a target that knows what to send there."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import urlsplit

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_rating import ChannelCost
from tollgate_router.domain.abilities import EVERYTHING
from tollgate_router.domain.health.channel import loose_seat
from tollgate_router.domain.health.seat import Seat
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks
from tollgate_router.domain.reaching import ORDINARY_TLS, Proxy, Tls
from tollgate_router.domain.signing import Signer

# A wire that no caller speaks, which is why it is none of tollgate.exchange.v1.Dialect.
WIRE_BEDROCK: Final = -1

# What decides whether a request can be written for a target: those of the same refuse the same.
Wording = tuple[str, str, int, str, bool, bool, int, str, frozenset[int] | None]

JSON_LINE: Final = b"content-type: application/json\r\n"


@dataclass(frozen=True, slots=True)
class Origin:
    """What connections are pooled by."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    private_network: bool = False
    """The address may be a private or loopback one."""
    tls: Tls = ORDINARY_TLS
    proxy: Proxy | None = None
    _begins: dict[tuple[bytes, bytes, str, str], bytes] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def begin(self, method: bytes, path: bytes, base_path: str, query: str) -> bytes:
        """Returns request line and Host, made once for all channels that lead here."""
        known = self._begins.get((method, path, base_path, query))
        if known is None:
            line = b"%b %b%b%b HTTP/1.1\r\n" % (method, base_path.encode(), path, query.encode())
            known = line + b"host: %b\r\n" % self.authority.encode()
            self._begins[method, path, base_path, query] = known
        return known

    @property
    def authority(self) -> str:
        """The value of Host: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def split_base_url(
    base_url: str, *, private_network: bool, tls: Tls = ORDINARY_TLS, proxy: Proxy | None = None
) -> tuple[Origin, str]:
    """Returns the origin and the path prefix of `https://host[:port][/prefix]`. Raises ValueError for anything else."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a base URL is http:// or https://, a host and perhaps a path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL holds no user and no password")
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    path = parts.path.rstrip("/")
    if not path.isascii() or any(character <= " " for character in path):
        raise ValueError("the path of a base URL is percent-encoded ASCII")
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    port = parts.port or (443 if scheme == "https" else 80)
    return Origin(scheme, host, port, private_network, tls, proxy), path


# Targets of a model are made together, so that a few are enough.
@lru_cache(maxsize=1024)
def _kept_once(wording: Wording) -> Wording:
    """Returns the same for all that are alike: of a thousand channels each would keep its own."""
    return wording


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One credential of one channel, asked for one upstream model. Compared by identity within a snapshot."""

    channel: str
    key_index: int
    provider: str
    origin: Origin
    base_path: str
    upstream_model: str
    conforming: bool
    weight: int
    header_block: bytes = field(repr=False)
    """Header lines that every request carries, the credential among them; each ends in CRLF."""
    seat: Seat = field(default_factory=loose_seat, repr=False)
    """What is known of its health; shared by every target of this channel, credential and upstream model."""
    can: int = EVERYTHING
    """What it is known to be able to do, as bits of `abilities`; everything where nothing is known."""
    context_tokens: int = 0
    """What prompt and answer may share; 0 where it is not known."""
    dialects: frozenset[int] = frozenset((wire.DIALECT_OPENAI_CHAT,))
    """What callers may speak to it; values of tollgate.exchange.v1.Dialect."""
    responses: bool = False
    """It speaks the Responses API beside its wire."""
    wire: int = wire.DIALECT_OPENAI_CHAT
    """What it speaks itself, which may be WIRE_BEDROCK; other dialects are translated."""
    platform: str = ""
    """The cloud that it is at, where that has ways of its own: azure, bedrock, vertex."""
    query: str = ""
    """What stands behind every path."""
    body_version: str = ""
    """Of Claude at a cloud: the version of its wire that the body says, while the path names the model."""
    signer: Signer | None = field(default=None, repr=False)
    """What proves who asks, where the headers above do not."""
    max_output_tokens: int = 0
    """The longest answer of the model; 0 where it is not known."""
    max_tokens_name: str = "max_tokens"
    """What an OpenAI-compatible provider calls the limit of an answer."""
    operations: frozenset[int] | None = None
    """What its provider serves, of tollgate.exchange.v1.Operation; None where that is not known."""
    quirks: WireQuirks = field(default=NO_QUIRKS, repr=False)
    """In what the provider differs from OpenAI's wire; shared by every target of a channel."""
    rerank: str = ""
    """Whose shape its rerank has, cohere or jina; empty where that is not known."""
    region: str = ""
    tools_by_responses: bool = False
    """With tools, its chat refuses to think: what is translated goes by its Responses API."""
    searches: bool = False
    """The model searches the web for every answer to a chat, which costs beside what the provider reports."""
    cost: "ChannelCost | None" = None
    """What the channel's account pays where that is not the list price."""
    wording: Wording = field(init=False, repr=False)
    """What decides whether a request can be written for it; its quirks are its provider's."""

    def __post_init__(self) -> None:
        found = (
            self.provider, self.upstream_model, self.wire, self.platform, self.responses, self.origin.private_network,
            self.max_output_tokens, self.rerank, self.operations,
        )  # fmt: skip
        object.__setattr__(self, "wording", _kept_once(found))

    def full_path(self, path: bytes) -> bytes:
        """Returns a path as it is sent."""
        return b"%b%b%b" % (self.base_path.encode(), path, self.query.encode())

    def serves(self, operation: int) -> bool:
        """Tells whether its provider is known to serve an operation, or nothing is known of it."""
        return self.operations is None or operation in self.operations

    @property
    def completes(self) -> bool:
        """Tells whether legacy completions are asked of it as they are; else they become chats."""
        return self.wire == wire.DIALECT_OPENAI_CHAT and self.serves(wire.OPERATION_COMPLETION)

    def request_head(self, method: bytes, path: bytes, content_type: bytes = b"") -> bytes:
        """Returns request line and headers up to the value of Content-Length.

        What differs between targets is joined each time, 0.1 µs: kept whole for each of many it would come from memory.
        `content_type` is that of a body that is no JSON.
        """
        headers = self.header_block
        if content_type:
            headers = headers.replace(JSON_LINE, b"content-type: %b\r\n" % content_type, 1)
        return b"%b%bcontent-length: " % (self.origin.begin(method, path, self.base_path, self.query), headers)
