"""What a key may be used for and from where, and the address that a request came from."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
IMAGES: Final = "images"
MEDIA: Final = "media"
# What a key's list may name. Lists of models and the key's own usage are open to every key.
ENDPOINTS: Final = (CHAT, EMBEDDINGS, IMAGES, MEDIA)

# Codes of what the lists refuse.
ADDRESS_NOT_ALLOWED: Final = "address_not_allowed"
ENDPOINT_NOT_ALLOWED: Final = "endpoint_not_allowed"

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Access:
    """The lists of a key; None is everything or everywhere."""

    endpoints: tuple[str, ...] | None = None
    networks: tuple[_Network, ...] | None = None

    def problem(self, endpoint: str, address: str) -> tuple[str, str] | None:
        """Returns code and words for a request that the lists leave out, or None. Empty `endpoint`: open to all.

        `address` is as `client_address` gives it.
        """
        if self.networks is not None and not _is_within(address, self.networks):
            return ADDRESS_NOT_ALLOWED, f"This key may not be used from {address or 'an unknown address'}."
        if endpoint and self.endpoints is not None and endpoint not in self.endpoints:
            allowed = ", ".join(self.endpoints) or "nothing"
            return ENDPOINT_NOT_ALLOWED, f"This key may not be used for {endpoint}; it is for: {allowed}."
        return None


def access_of(endpoints: Sequence[str] | None, cidrs: Sequence[str] | None) -> Access | None:
    """Returns what the lists of a key allow; None: everything. Raises ValueError for what is no network."""
    if endpoints is None and cidrs is None:
        return None
    networks = None if cidrs is None else tuple(ipaddress.ip_network(one) for one in cidrs)
    return Access(None if endpoints is None else tuple(endpoints), networks)


def network_of(text: str) -> str:
    """Returns a network or a single address as CIDR. Raises ValueError, also where bits behind the prefix are set."""
    return str(ipaddress.ip_network(text.strip()))


def client_address(peer: str, forwarded: str, trusted_hops: int) -> str:
    """Returns the address of the client, or an empty string where it cannot be known.

    `peer` is the other end of the connection, `forwarded` the fields of X-Forwarded-For, joined with commas. Each of
    our proxies adds the address of who called it at the end, so that `trusted_hops` entries from there can be trusted.
    """
    if trusted_hops > 0:
        entries = forwarded.split(",")
        if len(entries) < trusted_hops:
            return ""
        peer = _without_port(entries[-trusted_hops].strip())
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _without_port(entry: str) -> str:
    """Some proxies write `192.0.2.1:5000` or `[2001:db8::1]:5000`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_within(address: str, networks: Sequence[_Network]) -> bool:
    if not address:
        return False
    found = ipaddress.ip_address(address)
    return any(found in network for network in networks)
