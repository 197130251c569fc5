"""How an origin is reached: who must prove what in TLS, and through which proxy."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Tls:
    """What a channel asks of TLS; paths of PEM files. Verification itself cannot be switched off."""

    ca_file: str = ""
    """Certificates that the server's must descend from, instead of the system's and the router's."""
    certificate_file: str = ""
    """Our certificate, and its key where `key_file` is empty."""
    key_file: str = ""
    server_name: str = ""
    """The name that the server must prove, and that it is told, instead of the host's."""


ORDINARY_TLS: Final = Tls()


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that opens tunnels by CONNECT."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """Value of Proxy-Authorization; empty for none."""
    private_network: bool = False
    """Its address may be a private or loopback one."""
    resolves: bool = False
    """It is handed names; otherwise names are resolved here, and it is handed the address that the guard allowed."""
