"""What a request is recognised by later: the network that it came from, and a keyed hash of its body.

By these billing notices a key that got into other hands, and a program that sends one request again and again.
"""

import functools
import hashlib
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from tollgate_edge.domain.access import client_address

NO_MARKS: Final = ("", 0)
# Of a long body its ends and its length: what differs in neither is the same request for this purpose.
_END_BYTES: Final = 8192
_BITS: Final = {4: 24, 6: 48}
_KNOWN: Final = 4096


class Marks:
    """`pepper` keys the hashes: without it nobody can find out what a prompt was by trying."""

    def __init__(self, pepper: bytes, trusted_hops: int) -> None:
        key = hashlib.blake2b(b"prompt hash", key=pepper[:64], digest_size=32).digest()
        # Each hash begins as a copy, which has taken the key already.
        self._keyed = hashlib.blake2b(key=key, digest_size=8)
        self._trusted_hops = trusted_hops
        self._network = functools.lru_cache(_KNOWN)(client_network)

    def of(self, body: bytes | bytearray, peer: str, forwarded: bytes) -> tuple[str, int]:
        """Returns the network of the caller, empty where it is not known, and the hash, which is never 0."""
        found = self._network(peer, forwarded if self._trusted_hops else b"", self._trusted_hops)
        hashed = self._keyed.copy()
        hashed.update(body[:_END_BYTES])
        if len(body) > _END_BYTES:
            hashed.update(body[-_END_BYTES:])
            hashed.update(len(body).to_bytes(8, "big"))
        return found, int.from_bytes(hashed.digest(), "big") or 1


def client_network(peer: str, forwarded: bytes, trusted_hops: int) -> str:
    """Returns the /24 or, of IPv6, /48 that a caller's address is in; empty where the address cannot be known."""
    text = client_address(peer, forwarded.decode("latin-1"), trusted_hops)
    if not text:
        return ""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ip_network((address, _BITS[address.version]), strict=False))
