"""Keys of another gateway over the console API: all of a list, or none."""

import hashlib

import pytest
from services.edge.tests.fakes.http import check_error, http_world

from tollgate_edge.domain.keys import IMPORTED

pytestmark = pytest.mark.unit

PATH = "/api/v1/keys/import"
KEYS = [b"sk-one-of-theirs-1", b"sk-one-of-theirs-2"]
GOOD = {"sha256": hashlib.sha256(KEYS[0]).hexdigest(), "name": "shop", "last_four": "rs-1", "models": ["m"]}
OTHER = {"sha256": hashlib.sha256(KEYS[1]).hexdigest().upper()}
BAD = {
    "sha256: no field": ({}, "sha256"),
    "sha256: short": ({"sha256": "ab" * 31}, "sha256"),
    "sha256: a number": ({"sha256": 7}, "sha256"),
    "last_four": ({**OTHER, "last_four": "abcde"}, "last_four"),
    "name": ({**OTHER, "name": "x" * 101}, "name"),
    "endpoints": ({**OTHER, "endpoints": ["everything"]}, "endpoints"),
    "cidrs": ({**OTHER, "cidrs": ["10.0.0.0/99"]}, "cidrs"),
    "expires_at": ({**OTHER, "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    "limits": ({**OTHER, "limits": {"requests": 1}}, "requests"),
    "another field": ({**OTHER, "key": "sk-in-the-clear-12"}, "key"),
    "the same key twice": (GOOD, "sha256"),
    "no object": ("sk-in-the-clear-12", ""),
}


@pytest.fixture
async def world():
    async with http_world() as made:
        yield made


async def post(world, body, headers=None):
    return await world.client.post(PATH, json=body, headers=headers or world.operator)


async def test_keys_are_taken_over_and_known_with_what_they_may_do(world):
    reply = await post(world, {"keys": [GOOD, OTHER], "project_id": "proj_1"})
    assert reply.status_code == 201
    assert reply.json()["imported"] == 2
    ids = [one["id"] for one in reply.json()["items"]]
    assert IMPORTED in world.memory.marks
    records = {record.id: record for record in world.memory.keys.values()}
    first, second = (records[one] for one in ids)
    assert (first.name, first.last_four, first.models, first.project_id) == ("shop", "rs-1", ("m",), "proj_1")
    assert (second.name, second.last_four, second.models) == ("imported key", "", None)
    again = await post(world, {"keys": [OTHER, GOOD]})
    assert again.json() == {"imported": 0, "items": [{"id": one, "imported": False} for one in reversed(ids)]}


@pytest.mark.parametrize(("bad", "param"), BAD.values(), ids=BAD)
async def test_one_bad_key_is_named_and_none_is_stored(world, bad, param):
    before = dict(world.memory.keys)
    check_error(await post(world, {"keys": [GOOD, bad]}), 400, "invalid_request", f"keys[1].{param}")
    assert world.memory.keys == before
    assert IMPORTED not in world.memory.marks
    checked = await post(world, {"keys": [bad, GOOD, OTHER], "check": True})
    assert checked.status_code == 200
    assert checked.json()["refused"][0]["index"] == (1 if bad is GOOD else 0)
    assert checked.json()["valid"] == 2
    assert world.memory.keys == before


@pytest.mark.parametrize("body", [{}, {"keys": []}, {"keys": {}}, {"keys": [GOOD] * 10_001}])
async def test_a_list_that_is_none_or_too_long_is_refused(world, body):
    reply = await post(world, body)
    assert reply.status_code in {400, 413}
    assert reply.json()["error"]["code"] in {"invalid_request", "payload_too_large"}


async def test_only_an_operator_imports_into_a_project_that_is_there(world):
    assert (await post(world, {"keys": [GOOD]}, world.bearer)).status_code == 403
    check_error(await post(world, {"keys": [GOOD], "project_id": "proj_9"}), 404, "not_found", "project_id")
