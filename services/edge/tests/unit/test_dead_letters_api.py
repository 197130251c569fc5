"""Dead letters over edge's HTTP: who may ask, what is shown, and what bad input is told."""

import base64

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import dead_letters_pb2 as letters
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import public_error

pytestmark = pytest.mark.unit

PATH = "/api/v1/dead-letters"
LETTER = letters.DeadLetter(
    id="1764000000000000-0-17",
    topic="usage.recorded.v1",
    offset=17,
    logged_at_us=1_764_000_000_000_000,
    reason="early",
    state="ready",
    request_id="req_1",
    size_bytes=3,
)


async def test_operators_list_show_and_replay(world):
    world.ledger.replies |= {
        "dead_letters": letters.ListDeadLettersResponse(letters=[LETTER], next_cursor=LETTER.id),
        "dead_letter": letters.GetDeadLetterResponse(
            letter=LETTER, key=b"k", value=b"\x00\xff", event_json='{"request_id": "req_1"}'
        ),
        "replay": letters.ReplayDeadLettersResponse(letters=[LETTER], sent=1),
    }
    page = (await world.client.get(f"{PATH}?limit=1000", headers=world.operator)).json()
    assert world.ledger.asked[-1][1].limit == 100
    (one,) = page["items"]
    assert (page["next"], one["offset"], one["state"], one["problem"]) == (LETTER.id, 17, "ready", None)
    assert one["logged_at"].startswith("2025-11-24T")
    shown = (await world.client.get(f"{PATH}/{LETTER.id}", headers=world.operator)).json()
    assert base64.b64decode(shown["value_base64"]) == b"\x00\xff"
    assert shown["event"] == {"request_id": "req_1"}
    for body, asked in (
        ({"ids": [LETTER.id]}, letters.ReplayDeadLettersRequest(ids=[LETTER.id])),
        ({"all": True}, letters.ReplayDeadLettersRequest(all=True)),
    ):
        reply = await world.client.post(f"{PATH}/replay", headers=world.operator, json=body)
        assert (reply.status_code, reply.json()["sent"]) == (200, 1)
        assert world.ledger.asked[-1] == ("replay", asked)


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"ids": []}, {"ids": ["a"], "all": True}, {"all": 1}, {"ids": "a"}, {"ids": [1]}, {"ids": [""]}),
        *({"ids": ["a" * 65]}, {"ids": ["a"] * 101}, {"ids": ["é"]}, {"all": False}),
    ],
)
async def test_a_replay_of_nothing_or_of_nonsense_is_refused(world, body):
    reply = await world.client.post(f"{PATH}/replay", headers=world.operator, json=body)
    check_error(reply, 400, "invalid_request", "all" if body == {"all": 1} else "ids")
    assert world.ledger.asked == []


async def test_others_than_operators_are_refused_and_errors_pass(world):
    for headers, status in ((world.bearer, 403), ({}, 401)):
        for path in (PATH, f"{PATH}/1-2-3"):
            assert (await world.client.get(path, headers=headers)).status_code == status
        reply = await world.client.post(f"{PATH}/replay", headers=headers, json={"all": True})
        assert reply.status_code == status
    world.ledger.replies["dead_letter"] = public_error(errors.ERROR_KIND_NOT_FOUND)
    check_error(await world.client.get(f"{PATH}/1-2-3", headers=world.operator), 404, "not_found")
