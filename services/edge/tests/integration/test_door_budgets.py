"""Requests of an organization whose budget is used up, at the door."""

import dataclasses
import json

import pytest
from services.edge.tests.fakes.inference import MODEL, chat

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_rating import PriceBook, PriceTable

pytestmark = pytest.mark.integration

CHEAP = "cheap"


def control(action, organization="org_1", **more):
    named = {"budget_id": f"bud_{action}", "budget_name": "b", "scope": "organization"}
    return wire.Control(organization_id=organization, action=action, **(named | more))


@pytest.fixture
def budgets(bench):
    book = PriceBook(
        name="public", effective_us=0, currency="USD", models={MODEL: {"output": "10"}, CHEAP: {"output": "1"}}
    )
    models = {name: EdgeModel(name, "chat", "tests", 0, max_output=1000) for name in (MODEL, CHEAP)}
    models["vectors"] = EdgeModel("vectors", "embedding", "tests", 0)
    bench.version = EdgeVersion("sha256:1", 1, PriceTable([book]), {"default": models})
    return lambda *controls: bench.gateway.controls.replace("1", controls)


async def test_a_blocked_request_is_refused_before_anything_is_held(bench, budgets):
    budgets(control("block"))
    client = await bench.client()
    client.send(chat())
    status, headers, body = await client.reply()
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (429, "insufficient_quota")
    assert "(bud_block)" in error["message"]
    assert headers[b"x-tollgate-budget"] == b"bud_block"
    assert bench.admission.held == []
    budgets(control("block", "org_2"))
    client.send(chat())
    frame = await bench.stream.next()
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


async def test_a_downgraded_request_asks_and_holds_for_the_cheaper_model_and_says_so(bench, budgets):
    client = await bench.client()
    for controls, asked, told in (
        ((), (MODEL, ""), None),
        ((control("downgrade", model=CHEAP),), (CHEAP, MODEL), b"cheap; budget=bud_downgrade"),
        # What cannot answer such a request changes nothing.
        ((control("downgrade", model="vectors"),), (MODEL, ""), None),
        ((control("downgrade", model="nobody"),), (MODEL, ""), None),
        ((control("downgrade", model=MODEL),), (MODEL, ""), None),
    ):
        budgets(*controls)
        client.send(chat())
        frame = await bench.stream.next()
        assert (frame.model, frame.requested_model) == asked
        bench.stream.reply(frame.id, b"{}")
        status, headers, _ = await client.reply()
        assert (status, headers.get(b"x-tollgate-downgraded")) == (200, told)
    first, second, *_ = bench.admission.amounts
    assert 0 < second < first


async def test_a_downgrade_to_a_model_whose_own_budget_is_used_up_is_refused(bench, budgets):
    budgets(control("downgrade", model=CHEAP), control("block", scope="model", scope_id=CHEAP))
    client = await bench.client()
    client.send(chat())
    status, headers, _ = await client.reply()
    assert (status, headers[b"x-tollgate-budget"]) == (429, b"bud_block")
    assert b"x-tollgate-downgraded" not in headers


async def test_tags_and_member_of_a_key_travel_with_its_requests(bench):
    bench.keys.principal = dataclasses.replace(bench.keys.principal, tags="batch,search", member="ada")
    client = await bench.client()
    client.send(chat())
    frame = await bench.stream.next()
    assert (frame.tenant.tags, frame.tenant.member) == ("batch,search", "ada")
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200


async def test_a_key_that_may_not_ask_for_the_cheaper_model_is_served_as_it_asked(bench, budgets):
    bench.keys.principal = dataclasses.replace(bench.keys.principal, models=frozenset({MODEL}))
    budgets(control("downgrade", model=CHEAP))
    client = await bench.client()
    client.send(chat())
    frame = await bench.stream.next()
    assert (frame.model, frame.requested_model) == (MODEL, "")
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
