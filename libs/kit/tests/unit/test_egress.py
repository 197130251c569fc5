"""The egress guard's rules, by example: each special range, and every way to hide an IPv4 address in an IPv6 one."""

import pytest

from tollgate_kit.egress import refusal

pytestmark = pytest.mark.unit

PUBLIC = ("8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "2606:4700:4700::1111")
PRIVATE = (
    *("127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("::1", "fc00::1", "fdff::1"),
)
NEVER = (
    # Metadata of clouds, and what is local to a link.
    *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0"),
    # Nobody's, everybody's, and what has been set aside.
    *("0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "240.0.0.1", "::", "ff02::1"),
    # Documentation and benchmarks.
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1"),
)
# How an IPv4 address is written into an IPv6 one: mapped, NAT64 (both prefixes), 6to4, compatible.
WRAPPED = (
    lambda a, b, c, d: f"::ffff:{a}.{b}.{c}.{d}",
    lambda a, b, c, d: f"64:ff9b::{a:02x}{b:02x}:{c:02x}{d:02x}",
    lambda a, b, c, d: f"64:ff9b:1::{a:02x}{b:02x}:{c:02x}{d:02x}",
    lambda a, b, c, d: f"2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1",
    lambda a, b, c, d: f"::{a:02x}{b:02x}:{c:02x}{d:02x}",
)


@pytest.mark.parametrize("private_network", [False, True])
@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_reached(address, private_network):
    assert refusal(address, private_network=private_network) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_reached_only_when_the_channel_says_so(address):
    assert refusal(address, private_network=True) is None
    reason = refusal(address, private_network=False)
    assert reason is not None
    assert "private_network" in reason


@pytest.mark.parametrize("private_network", [False, True])
@pytest.mark.parametrize("address", [*NEVER, "", "localhost", "127.1", "0x7f000001", "2130706433", "1.2.3.4.5", "::g"])
def test_special_addresses_and_what_is_none_may_never_be_reached(address, private_network):
    assert refusal(address, private_network=private_network) is not None


@pytest.mark.parametrize("wrap", WRAPPED, ids=["mapped", "nat64", "nat64-local", "6to4", "compatible"])
@pytest.mark.parametrize(
    ("inner", "public", "with_private_network"),
    [
        ((8, 8, 8, 8), True, True),
        ((127, 0, 0, 1), False, True),
        ((10, 1, 2, 3), False, True),
        ((169, 254, 169, 254), False, False),
        ((224, 0, 0, 1), False, False),
    ],
)
def test_an_address_inside_an_address_is_judged_as_itself(wrap, inner, public, with_private_network):
    address = wrap(*inner)
    assert (refusal(address, private_network=False) is None) == public
    assert (refusal(address, private_network=True) is None) == with_private_network


def test_a_teredo_address_is_judged_by_the_client_behind_it():
    # The client's address is written with every bit turned over.
    hidden = "2001:0:0808:0808::" + ":".join(f"{0xFFFF ^ part:x}" for part in (0x7F00, 0x0001))
    assert refusal(hidden, private_network=False) is not None
