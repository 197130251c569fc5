"""What budgets refuse or turn to another model, as each process keeps it."""

import pytest
from services.edge.tests.fakes.services import FakeControls

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import public_error
from tollgate_edge.inference.controls import Controls, refusal
from tollgate_edge.ports import Downgrade
from tollgate_edge.use_cases.follow_controls import FollowControls

NOW = 1_764_000_000_000_000
PRINCIPAL = Principal("key_1", "org_1", "proj_1", tags="batch,search", member="ada@example.com")


def control(action="block", scope="organization", scope_id="", **more):
    values = {"budget_id": "bud_1", "budget_name": "b", "organization_id": "org_1", "opens_us": NOW + 90_500_000}
    return wire.Control(action=action, scope=scope, scope_id=scope_id, **(values | more))


def table(*controls):
    made = Controls()
    made.replace("1", controls)
    return made


@pytest.mark.parametrize(
    ("scope", "scope_id", "concerned"),
    [
        ("organization", "", True),
        ("project", "proj_1", True),
        ("project", "proj_2", False),
        ("key", "key_1", True),
        ("key", "key_2", False),
        ("model", "m", True),
        ("model", "n", False),
        ("member", "ada@example.com", True),
        ("member", "ada", False),
        ("member", "", False),
        ("tag", "search", True),
        ("tag", "batch", True),
        ("tag", "sea", False),
        ("tag", "", False),
    ],
)
def test_a_request_is_held_by_budgets_that_it_counts_in(scope, scope_id, concerned):
    made = table(control(scope=scope, scope_id=scope_id))
    assert (made.find(PRINCIPAL, "m", NOW) is not None) is concerned
    assert (made.blocked(PRINCIPAL, "m", NOW) is not None) is concerned
    assert made.find(Principal("key_1", "org_2", "proj_1"), "m", NOW) is None


def test_a_block_comes_before_a_downgrade_and_both_end_by_themselves():
    first = control("downgrade", budget_id="bud_2", model="small", opens_us=NOW + 10)
    made = table(first, control())
    assert made.find(PRINCIPAL, "m", NOW).action == "block"
    assert made.find(PRINCIPAL, "m", NOW + 90_500_000) is None
    made.replace("2", [first])
    assert made.find(PRINCIPAL, "m", NOW + 9).model == "small"
    assert made.blocked(PRINCIPAL, "m", NOW) is None
    assert made.find(PRINCIPAL, "m", NOW + 10) is None
    made.replace("3", [control(opens_us=0)])
    assert made.find(PRINCIPAL, "m", NOW * 10).action == "block"


def test_the_refusal_names_the_budget_and_when_it_opens():
    error = table(control(scope="key", scope_id="key_1", budget_name="team \u00e4")).blocked(PRINCIPAL, "m", NOW)
    assert (error.status, error.code, error.type) == (429, "insufficient_quota", "insufficient_quota")
    assert error.message == "The budget 'team ä' (bud_1) of key key_1 is used up. It opens at 2025-11-24T16:01:31Z."
    assert error.headers == {"x-should-retry": "false", "retry-after": "91", "x-tollgate-budget": "bud_1"}
    error = refusal(table(control(opens_us=0)).find(PRINCIPAL, "m", NOW), NOW)
    assert error.message.endswith("of the organization is used up. It opens when an operator deletes or replaces it.")
    assert "retry-after" not in error.headers


def test_a_request_is_turned_to_what_it_may_ask_for_and_no_other_budget_blocks():
    turning = control("downgrade", model="vendor/small")

    def decide(made, model="m", *, usable=True):
        return made.decide(PRINCIPAL, model, NOW, lambda name: usable and name == "vendor/small")

    assert decide(table(turning)) == Downgrade("vendor/small", "vendor/small; budget=bud_1")
    assert decide(table(turning), usable=False) is None
    assert decide(table(turning), "vendor/small") is None
    assert decide(table()) is None
    for blocks in (control(), control(scope="model", scope_id="vendor/small")):
        assert decide(table(turning, blocks)).status == 429


async def test_the_table_follows_billing_and_outlives_it():
    billing, made = FakeControls(), Controls()
    follow = FollowControls(billing, made)
    billing.replies["controls"] = wire.GetControlsResponse(version="7", changed=True, controls=[control()])
    await follow()
    assert (made.any, made.version) == (True, "7")
    billing.replies["controls"] = wire.GetControlsResponse(version="7")
    await follow()
    assert billing.asked[-1] == ("controls", wire.GetControlsRequest(version="7"))
    assert made.any
    billing.replies["controls"] = public_error(errors.ERROR_KIND_UNAVAILABLE)
    for _ in range(3):
        await follow()
    assert made.blocked(PRINCIPAL, "m", NOW) is not None
    billing.replies["controls"] = wire.GetControlsResponse(version="8", changed=True)
    await follow()
    assert (made.any, made.version) == (False, "8")
