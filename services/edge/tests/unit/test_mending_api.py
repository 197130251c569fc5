"""Mending the usage store over the console API: what billing says as it goes, a line of JSON at a time."""

import json

import pytest
from services.edge.tests.fakes.http import check_error, http_world

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import mending_pb2 as mending
from tollgate.billing.v1 import reports_pb2 as reports
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import public_error

DAY_US = 24 * 3600 * 10**6
REFILL, REBUILD = "/api/v1/usage/rollups/refill", "/api/v1/usage/rebuild"
TAKE_BACK = "/api/v1/usage/take-back"


@pytest.fixture
async def world():
    async with http_world() as made:
        yield made


def lines(reply):
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in reply.text.splitlines()]


async def test_sums_are_made_again_slice_by_slice(world):
    world.mending.lines = [mending.RefillRollupsResponse(rollup="hour", from_us=10**6, to_us=DAY_US, differed=2)]
    body = {"rollup": "hour", "from": "2025-11-01", "to": "2025-11-02", "dry_run": True}
    (one,) = lines(await world.client.post(REFILL, headers=world.operator, json=body))
    assert one == {
        "rollup": "hour",
        "from": "1970-01-01T00:00:01.000+00:00",
        "to": "1970-01-02T00:00:00.000+00:00",
        "differed": 2,
    }
    asked = world.mending.asked[-1]
    assert (asked.rollup, asked.to_us - asked.from_us, asked.dry_run) == ("hour", DAY_US, True)
    lines(await world.client.post(REFILL, headers=world.operator, json={}))
    asked = world.mending.asked[-1]
    assert (asked.rollup, asked.to_us - asked.from_us, asked.dry_run) == ("", DAY_US, False)


async def test_a_rebuild_says_how_far_it_is_and_what_is_left(world):
    left = billing.BookDifference(kind="charge", batch="e/t/0/1-2", found_pico=1, expected_pico=3)
    world.mending.lines = [
        mending.RebuildUsageResponse(step="read", records=5),
        mending.RebuildUsageResponse(
            step="done",
            records=9,
            copies=2,
            missing=4,
            kept=[mending.KeptRecords(partition=2, offset=7, at_us=10**6)],
            not_rebuilt=[left],
            cut=3,
        ),
    ]
    first, last = lines(await world.client.post(REBUILD, headers=world.operator))
    assert (first["step"], first["records"], "kept" in first) == ("read", 5, False)
    assert (last["step"], last["copies"], last["missing"], last["cut"]) == ("done", 2, 4, 3)
    assert last["kept"] == [{"partition": 2, "offset": 7, "at": "1970-01-01T00:00:01.000+00:00"}]
    (one,) = last["not_rebuilt"]
    assert (one["kind"], one["found_pico"], one["expected_pico"]) == ("charge", 1, 3)
    asked = world.mending.asked[-1]
    assert (asked.to_us - asked.from_us, asked.dry_run) == (90 * DAY_US, False)


async def test_what_is_refused_at_once_is_a_status_and_what_breaks_off_is_a_line(world):
    world.mending.refused = public_error(errors.ERROR_KIND_UNAVAILABLE)
    check_error(await world.client.post(REBUILD, headers=world.operator, json={}), 503, "service_unavailable")
    world.mending.refused = None
    world.mending.lines = [
        mending.RebuildUsageResponse(step="read"),
        public_error(errors.ERROR_KIND_INVALID_REQUEST, "another one runs"),
    ]
    _, last = lines(await world.client.post(REBUILD, headers=world.operator, json={}))
    assert last["error"]["message"] == "another one runs"


@pytest.mark.parametrize("path", [REFILL, REBUILD])
async def test_bad_input_is_told_and_only_operators_are_let_in(world, path):
    check_error(await world.client.post(path, headers=world.bearer, json={}), 403, "forbidden")
    for body, param in (
        ({"from": "yesterday"}, "from"),
        ({"from": "2025-11-02", "to": "2025-11-01"}, "from"),
        ({"from": 5}, "from"),
        ({"dry_run": "yes"}, "dry_run"),
    ):
        check_error(await world.client.post(path, headers=world.operator, json=body), 400, "invalid_request", param)
    if path == REFILL:
        reply = await world.client.post(path, headers=world.operator, json={"rollup": "week"})
        check_error(reply, 400, "invalid_request", "rollup")
    assert world.mending.asked == []


async def test_second_charges_are_for_operators_and_taken_back_only_when_asked(world):
    row = reports.RepeatedFinal(request_id="req_1", organization_id="org_1", model="gpt", charge_pico=10**12)
    world.ledger.replies["take_back_repeated"] = reports.TakeBackRepeatedResponse(rows=[row], left_out={"too_old": 3})
    found = (await world.client.post(TAKE_BACK, headers=world.operator)).json()
    assert (found["applied"], found["sent"], found["more"], found["left_out"]) == (False, 0, False, {"too_old": 3})
    assert (found["rows"][0]["request_id"], found["rows"][0]["charge"]) == ("req_1", "1")
    more = {"from": "2025-11-01", "to": "2025-11-02", "organization_id": "org_1", "apply": True}
    assert (await world.client.post(TAKE_BACK, json=more, headers=world.operator)).status_code == 200
    (_, shown), (_, taken) = world.ledger.asked
    assert (shown.apply, shown.organization_id, shown.to_us - shown.from_us) == (False, "", 90 * DAY_US)
    assert (taken.apply, taken.organization_id, taken.to_us - taken.from_us) == (True, "org_1", DAY_US)
    check_error(await world.client.post(TAKE_BACK, json=more, headers=world.bearer), 403, "forbidden")
    check_error(
        await world.client.post(TAKE_BACK, json={"apply": "yes"}, headers=world.operator),
        400,
        "invalid_request",
        "apply",
    )
