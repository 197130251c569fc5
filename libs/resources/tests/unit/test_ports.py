"""Which ports may be reached, over those that attacks on gateways have gone to."""

import pytest

from tollgate_resources.ports import DEFAULT_PORTS, Ports, checked_ports

pytestmark = pytest.mark.unit

# Where attacks on gateways have gone: mail, shells, databases, caches, container engines, and other services' metrics.
BAD_PORTS = [
    0,
    1,
    21,
    22,
    23,
    25,
    53,
    110,
    445,
    465,
    587,
    2375,
    2379,
    3306,
    5432,
    6379,
    9200,
    10250,
    11211,
    27017,
    65535,
]


@pytest.mark.parametrize("port", BAD_PORTS)
def test_ports_need_to_be_listed(port):
    found = Ports(DEFAULT_PORTS, "THE_PORTS").refusal(port, private_network=False)
    assert found is not None
    # It says where to list it, and what allows any.
    assert (f"port {port} " in found, "THE_PORTS" in found, "private_network" in found) == (True, True, True)
    assert Ports(DEFAULT_PORTS, "THE_PORTS").refusal(port, private_network=True) is None


@pytest.mark.parametrize("port", [80, 443, 3128, 8080, 8443])
def test_the_usual_ports_are_listed(port):
    assert Ports(DEFAULT_PORTS, "").refusal(port, private_network=False) is None


def test_ranges_are_listed_with_their_ends():
    ports = Ports("443, 8000-8002", "")
    reached = [port for port in range(65_536) if ports.refusal(port, private_network=False) is None]
    assert reached == [443, 8000, 8001, 8002]


@pytest.mark.parametrize(
    "listed", ["", "443,", "http", "0", "65536", "8002-8000", "1-", "-1", "443;80", "４４３", "1e3"]
)
def test_what_is_no_list_of_ports_is_refused(listed):
    with pytest.raises(ValueError, match="ports"):
        checked_ports(listed)
