"""The egress guard: which addresses a channel may reach. Ask it about the resolved address that is connected to."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Where it is used, only the network itself knows at which bits the IPv4 address stands (RFC 8215, RFC 6052).
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_V4_COMPATIBLE = ipaddress.ip_network("::/96")
_UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")
# Metadata services of clouds that are not at a link-local address.
_METADATA = frozenset({ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254")})
_PRIVATE_V4 = tuple(
    ipaddress.ip_network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


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
    if parsed in _NAT64_LOCAL:
        return f"{address} is a special address"
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
    if address in _NAT64 or (address in _V4_COMPATIBLE and int(address) > 0xFFFF):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_private(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _PRIVATE_V4)
    return address in _UNIQUE_LOCAL
