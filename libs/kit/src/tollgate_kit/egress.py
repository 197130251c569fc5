"""The egress guard: which ports and addresses a channel may reach. Ask it about the address that is connected to."""

import ipaddress
from typing import Final

DEFAULT_PORTS: Final = "80,443,3128,8080,8443"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_V4_COMPATIBLE = ipaddress.ip_network("::/96")
_UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
# Metadata services of clouds that are not at a link-local address.
_METADATA = frozenset({ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254")})
_PRIVATE_V4 = tuple(
    ipaddress.ip_network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


class Ports:
    """The ports that may be reached: numbers and ranges, such as `443,8000-8999`, which `setting` lists."""

    def __init__(self, listed: str, setting: str) -> None:
        """Raises ValueError for what is no such list."""
        self._setting = setting
        self._ranges = [_range(part.strip()) for part in listed.split(",")]

    def refusal(self, port: int, *, private_network: bool) -> str | None:
        """Returns why `port` may not be reached, or None when it may; with `private_network` each may."""
        if private_network or any(port in one for one in self._ranges):
            return None
        return f"port {port} is not among those that {self._setting} lists; private_network would allow any"


def checked_ports(listed: str) -> str:
    """Returns a list of ports as it is. Raises ValueError for what is none."""
    Ports(listed, "")
    return listed


def _range(part: str) -> range:
    first, dash, last = part.partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        raise ValueError(f"ports and ranges of ports, such as 443,8000-8999, not {part!r}")
    found = range(int(ends[0]), int(ends[1]) + 1)
    if not found or found[0] < 1 or found[-1] > 65535:
        raise ValueError(f"ports are 1 to 65535, the smaller one of a range first, not {part!r}")
    return found


def refusal(address: str, *, private_network: bool) -> str | None:
    """Returns why `address` (as getaddrinfo gives it) may not be reached, or None when it may.

    Public unicast addresses always may; loopback, private, carrier-grade NAT and unique local ones only with
    `private_network`. Link-local ones (cloud metadata lives there), multicast, unspecified and reserved ones never
    may. An IPv4 address inside an IPv6 one is judged as itself.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is not an address"
    judged = _embedded(parsed)
    if judged.is_multicast or judged.is_unspecified or judged.is_link_local or judged in _METADATA:
        return f"{address} is a special address"
    if judged.is_loopback or _is_private(judged):
        return None if private_network else f"{address} is private and the channel does not say private_network"
    # Site-local addresses are what unique local ones were before; the library takes them for public ones.
    if not judged.is_global or judged.is_reserved or (judged.version == 6 and judged.is_site_local):
        return f"{address} is a special address"
    return None


def _embedded(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address) or address == ipaddress.IPv6Address("::1"):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _NAT64_LOCAL or (address in _V4_COMPATIBLE and int(address) > 0xFFFF):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_private(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _PRIVATE_V4)
    return address in _UNIQUE_LOCAL
