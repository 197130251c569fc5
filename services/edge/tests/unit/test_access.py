"""Keys with lists of endpoints and addresses, an expiry, and the address that a request came from."""

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate_edge.domain.access import access_of, client_address, network_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("peer", "forwarded", "hops", "address"),
    [
        ("192.0.2.7", "", 0, "192.0.2.7"),
        ("192.0.2.7", "203.0.113.9", 0, "192.0.2.7"),
        ("10.0.0.1", "203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9,10.0.0.2", 2, "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9", 2, ""),
        ("10.0.0.1", "", 1, ""),
        ("10.0.0.1", "nonsense", 1, ""),
        ("10.0.0.1", "203.0.113.9:5000", 1, "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:5000", 1, "2001:db8::9"),
        ("10.0.0.1", "2001:DB8:0::9", 1, "2001:db8::9"),
        ("::ffff:192.0.2.7", "", 0, "192.0.2.7"),
        ("fe80::1%eth0", "", 0, "fe80::1"),
        ("", "", 0, ""),
    ],
)
def test_the_address_is_the_one_that_the_outermost_trusted_proxy_saw(peer, forwarded, hops, address):
    assert client_address(peer, forwarded, hops) == address


@pytest.mark.parametrize(
    ("cidrs", "address", "allowed"),
    [
        (["203.0.113.0/24"], "203.0.113.9", True),
        (["203.0.113.0/24"], "203.0.114.9", False),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::9", True),
        (["10.0.0.0/8"], "2001:db8::9", False),
        (["0.0.0.0/0", "::/0"], "", False),
        ([], "203.0.113.9", False),
    ],
)
def test_an_address_is_let_in_when_a_network_holds_it(cidrs, address, allowed):
    problem = access_of(None, cidrs).problem("chat", address)
    assert (problem is None) is allowed
    assert allowed or problem[0] == "address_not_allowed"


def test_a_key_without_lists_has_nothing_to_check():
    assert access_of(None, None) is None
    assert network_of(" 192.0.2.7 ") == "192.0.2.7/32"


async def make(world, **fields):
    reply = await world.client.post("/api/v1/keys", json=fields, headers=world.operator)
    assert reply.status_code == 201, reply.text
    return reply.json()


async def test_a_key_for_other_endpoints_is_told_what_it_is_for(world):
    made = await make(world, endpoints=["chat", "media"])
    headers = {"authorization": f"Bearer {made['key']}"}
    image = {"model": "vendor/pic", "prompt": "a cat"}
    refused = await world.client.post("/v1/images/generations", json=image, headers=headers)
    check_error(refused, 403, "endpoint_not_allowed")
    assert "chat, media" in refused.json()["error"]["message"]
    assert (await world.client.get("/v1/media/jobs", headers=headers)).status_code == 200
    assert (await world.client.get("/v1/models", headers=headers)).status_code == 200
    assert world.media.created == []


async def test_a_key_for_other_addresses_is_refused_everywhere(world):
    # The client of these tests comes from 127.0.0.1.
    near = await make(world, cidrs=["127.0.0.0/8", "203.0.113.9"])
    far = await make(world, cidrs=["203.0.113.0/24"])
    for path in ("/v1/models", "/v1/media/jobs", "/api/v1/whoami", "/api/v1/usage"):
        refused = await world.client.get(path, headers={"x-api-key": far["key"], "x-forwarded-for": "203.0.113.9"})
        check_error(refused, 403, "address_not_allowed")
        assert "127.0.0.1" in refused.json()["error"]["message"]
    who = (await world.client.get("/api/v1/whoami", headers={"x-api-key": near["key"]})).json()
    assert (who["cidrs"], who["endpoints"]) == (["127.0.0.0/8", "203.0.113.9/32"], None)


async def test_keys_are_listed_with_what_they_may(world):
    fields = {
        "models": ["gpt"],
        "endpoints": ["chat"],
        "cidrs": ["2001:db8::/32"],
        "expires_at": "2099-01-01T00:00:00.000+00:00",
    }
    made = await make(world, **fields)
    listed = (await world.client.get("/api/v1/keys", headers=world.operator)).json()["items"]
    assert listed[0] == {name: value for name, value in made.items() if name != "key"}
    assert {name: listed[0][name] for name in fields} == fields
    assert (listed[-1]["endpoints"], listed[-1]["cidrs"], listed[-1]["expires_at"]) == (None, None, None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoints": ["chat", "cha"]}, "endpoints"),
        ({"endpoints": "chat"}, "endpoints"),
        ({"endpoints": [7]}, "endpoints"),
        ({"cidrs": ["203.0.113.9/24"]}, "cidrs"),
        ({"cidrs": ["example.com"]}, "cidrs"),
        ({"cidrs": {"a": 1}}, "cidrs"),
        ({"cidrs": ["10.0.0.0/8"] * 101}, "cidrs"),
        ({"expires_at": "1999-01-01"}, "expires_at"),
        ({"expires_at": "30d"}, "expires_at"),
    ],
)
async def test_lists_that_make_no_sense_make_no_key(world, fields, param):
    before = len(world.memory.keys)
    reply = await world.client.post("/api/v1/keys", json=fields, headers=world.operator)
    check_error(reply, 400, "invalid_request", param)
    assert len(world.memory.keys) == before


async def test_a_key_is_refused_once_its_time_is_over(world):
    at_us = world.clock.now_us() + 10_000_000
    _, key = await world.create_key(world.project, "short", expires_at_us=at_us)
    headers = {"x-api-key": key.reveal()}
    assert (await world.client.get("/v1/models", headers=headers)).status_code == 200
    world.clock.advance(10)
    refused = await world.client.get("/v1/models", headers=headers)
    check_error(refused, 401, "invalid_api_key")
    assert "expired" in refused.text
