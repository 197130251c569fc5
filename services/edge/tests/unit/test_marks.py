"""By what a request is recognised later."""

import pytest

from tollgate_edge.inference.marks import Marks, client_network

PEPPER = b"p" * 32


@pytest.mark.parametrize(
    ("peer", "forwarded", "hops", "network"),
    [
        ("203.0.113.77", b"", 0, "203.0.113.0/24"),
        # What a caller writes counts only where proxies of ours add to it.
        ("203.0.113.77", b"198.51.100.1", 0, "203.0.113.0/24"),
        ("10.0.0.1", b"1.2.3.4, 198.51.100.9", 1, "198.51.100.0/24"),
        ("10.0.0.1", b"nonsense", 1, ""),
        ("10.0.0.1", b"", 1, ""),
        ("2001:db8:1:2::3", b"", 0, "2001:db8:1::/48"),
        ("fe80::1%eth0", b"", 0, "fe80::/48"),
        ("::ffff:203.0.113.77", b"", 0, "203.0.113.0/24"),
        ("", b"", 0, ""),
        ("/tmp/socket", b"", 0, ""),
    ],
)
def test_the_network_of_a_caller(peer, forwarded, hops, network):
    assert client_network(peer, forwarded, hops) == network
    assert Marks(PEPPER, hops).of(b"{}", peer, forwarded)[0] == network


def test_the_same_body_has_the_same_hash_under_the_same_pepper_only():
    marks, other = Marks(PEPPER, 0), Marks(b"q" * 32, 0)
    long = b"a" * 40_000
    bodies = [b"", b"{}", b'{"a": 1}', long, b"b" + long[1:], long[1:] + b"b", long + b"a"]
    hashes = [marks.of(body, "", b"")[1] for body in bodies]
    assert len(set(hashes)) == len(bodies)
    assert all(0 < one < 2**64 for one in hashes)
    assert [Marks(PEPPER, 0).of(body, "", b"")[1] for body in bodies] == hashes
    assert not set(hashes) & {other.of(body, "", b"")[1] for body in bodies}
