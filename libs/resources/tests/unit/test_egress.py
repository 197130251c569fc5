"""The egress guard, over addresses that attacks on gateways have used: as numbers, and inside of other addresses."""

import pytest

from tollgate_resources.egress import refusal

pytestmark = pytest.mark.unit

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "::127.0.0.1",
    # Teredo keeps the address inverted: this one holds 192.168.0.1.
    "2001:0:4136:e378:8000:63bf:3f57:fffe",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::c0a8:1",
    # A network may have 127.0.0.1 and 169.254.169.254 here, whatever the last bits say.
    "64:ff9b:1:7f00:0:100:808:808",
    "64:ff9b:1:a9fe:a9:fe00:808:808",
    "64:ff9b:1::808:808",
    "2002:a9fe:a9fe::",
    "::169.254.169.254",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:100.100.100.200",
]
NO_ADDRESS = ["", "localhost", "127.1", "0x7f000001", "2130706433", "127.0.0.1.", "[::1]", "1.1.1.1:80", "01.1.1.1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_reached(address):
    assert refusal(address, private_network=False) is None
    assert refusal(address, private_network=True) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_the_channel_to_say_so(address):
    assert "private_network" in str(refusal(address, private_network=False))
    assert refusal(address, private_network=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_special_addresses_are_never_reached(address):
    assert refusal(address, private_network=False) is not None
    assert refusal(address, private_network=True) is not None


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_plain_address_is_never_reached(address):
    """Other spellings of an address are for the resolver, whose answer is judged."""
    assert refusal(address, private_network=True) is not None
