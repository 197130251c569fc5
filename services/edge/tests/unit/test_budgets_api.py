"""Budgets, destinations and anomalies over HTTP: who may, what billing is asked, what is shown."""

import pytest
from services.edge.tests.fakes.http import check_error, http_world

from tollgate.billing.v1 import controls_pb2 as wire

BUDGET = wire.Budget(
    id="bud_1",
    organization_id="org_1",
    name="b",
    scope="organization",
    period="month",
    time_zone="UTC",
    amount_pico=25 * 10**12,
    currency="USD",
    thresholds=[wire.Threshold(percent=90, action="downgrade", model="gpt")],
)


@pytest.fixture
async def world():
    async with http_world() as made:
        yield made


async def test_a_budget_is_made_for_the_organization_in_its_currency(world):
    world.ledger.replies["create_budget"] = wire.CreateBudgetResponse(budget=BUDGET)
    body = {
        "organization_id": world.project.organization_id,
        "name": "b",
        "amount": "25",
        "scope": "key",
        "scope_id": world.key_id,
        "thresholds": [{"percent": 90, "action": "downgrade", "model": "gpt"}],
    }
    reply = await world.client.post("/api/v1/budgets", json=body, headers=world.operator)
    assert reply.status_code == 201
    assert reply.json()["amount"] == "25"
    assert reply.json()["thresholds"] == [{"percent": 90, "action": "downgrade", "model": "gpt"}]
    _, asked = world.ledger.asked[-1]
    assert (asked.budget.currency, asked.budget.scope_id, asked.budget.time_zone) == ("USD", world.key_id, "UTC")
    check_error(await world.client.post("/api/v1/budgets", json=body, headers=world.bearer), 403, "forbidden")
    other = await world.client.post("/api/v1/budgets", json=body | {"scope": "project"}, headers=world.operator)
    check_error(other, 404, "not_found", "scope_id")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"amount": 5}, "amount"),
        ({"thresholds": {}}, "thresholds"),
        ({"thresholds": [{"percent": 5, "colour": 1}]}, "thresholds"),
        ({"thresholds": [{"percent": "5"}]}, "percent"),
        ({"thresholds": [{"percent": 50, "action": "explode"}]}, "action"),
        ({"period": 7}, "period"),
        ({"name": ""}, "name"),
        ({"extra": 1}, "extra"),
    ],
)
async def test_what_is_no_budget_is_refused_here(world, change, param):
    body = {"organization_id": world.project.organization_id, "name": "b", "amount": "5"} | change
    reply = await world.client.post("/api/v1/budgets", json=body, headers=world.operator)
    check_error(reply, 400, "invalid_request", param)
    assert world.ledger.asked == []


async def test_a_key_sees_budgets_forecast_and_anomalies_of_its_organization_only(world):
    own = world.project.organization_id
    for path, name in (("budgets", "budgets"), ("forecast", "forecast"), ("anomalies", "anomalies")):
        reply = await world.client.get(f"/api/v1/{path}", headers=world.bearer)
        assert reply.status_code == 200
        assert world.ledger.asked[-1][0] == name
        assert world.ledger.asked[-1][1].organization_id == own
        other = await world.client.get(f"/api/v1/{path}?organization_id=org_2", headers=world.bearer)
        check_error(other, 403, "forbidden")
    world.ledger.replies["budget"] = wire.GetBudgetResponse(
        budget=BUDGET,
        state=wire.BudgetState(window="2026-11-01", spent_pico=5, evaluated_us=7, action="block"),
        forecast=wire.Forecast(per_day_pico=10**12, hours=24),
        wallet=wire.Forecast(per_day_pico=10**12, hours=24, runs_out_us=1_764_000_000_000_000),
        balance_pico=10**12,
    )
    shown = (await world.client.get("/api/v1/budgets/bud_1", headers=world.bearer)).json()
    assert world.ledger.asked[-1][1] == wire.GetBudgetRequest(id="bud_1", organization_id=own)
    assert (shown["state"]["action"], shown["forecast"]["per_day"], shown["forecast"]["runs_out_at"]) == (
        "block",
        "1",
        None,
    )
    assert (shown["wallet"]["balance"], shown["wallet"]["runs_out_at"][:10]) == ("1", "2025-11-24")
    await world.client.get("/api/v1/budgets/bud_1", headers=world.operator)
    assert world.ledger.asked[-1][1].organization_id == ""
    check_error(await world.client.delete("/api/v1/budgets/bud_1", headers=world.bearer), 403, "forbidden")
    done = await world.client.delete("/api/v1/budgets/bud_1", headers=world.operator)
    assert done.json() == {"id": "bud_1", "deleted": True}


async def test_an_anomaly_names_the_key_that_it_is_about(world):
    one = wire.Anomaly(id="anm_1", organization_id="org", api_key_id=world.key_id, kind="spend", next_step="ask")
    gone = wire.Anomaly(id="anm_0", organization_id="org", api_key_id="key_gone", kind="spend")
    world.ledger.replies["anomalies"] = wire.ListAnomaliesResponse(anomalies=[one, gone])
    items = (await world.client.get("/api/v1/anomalies", headers=world.operator)).json()["items"]
    assert [(item["key_name"], item["next_step"]) for item in items] == [("first", "ask"), (None, "")]


async def test_destinations_are_for_operators_and_show_no_secret(world):
    secret, target = "whsec_verysecret", "https://example.com/token"
    shown = wire.Destination(id="dst_1", name="d", kind="webhook", address="example.com", has_secret=True)
    world.ledger.replies["create_destination"] = wire.CreateDestinationResponse(destination=shown)
    body = {
        "name": "d",
        "kind": "webhook",
        "target": target,
        "secret": secret,
        "quiet": {"begin": "22:00", "end": "07:00"},
    }
    reply = await world.client.post("/api/v1/destinations", json=body, headers=world.operator)
    assert reply.status_code == 201
    assert secret not in reply.text
    assert target not in reply.text
    _, asked = world.ledger.asked[-1]
    assert (asked.secret, asked.target, asked.destination.quiet.begin) == (secret, target, "22:00")
    for method, path in (
        ("POST", "destinations"),
        ("GET", "destinations"),
        ("DELETE", "destinations/dst_1"),
        ("POST", "destinations/dst_1/test"),
        ("GET", "notices"),
    ):
        check_error(
            await world.client.request(method, f"/api/v1/{path}", headers=world.bearer, json={}), 403, "forbidden"
        )
        assert (
            await world.client.request(method, f"/api/v1/{path}", headers=world.operator, json=body)
        ).status_code < 300
    world.ledger.replies["test_destination"] = wire.TestDestinationResponse(problem="answered 404")
    done = await world.client.post("/api/v1/destinations/dst_1/test", headers=world.operator)
    assert done.json() == {"id": "dst_1", "delivered": False, "problem": "answered 404"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"kind": "pigeon"}, "kind"),
        ({"target": ""}, "target"),
        ({"quiet": {"begin": "22:00"}}, "quiet"),
        ({"about": ["weather"]}, "about"),
        ({"about": "budget"}, "about"),
        ({"digest_minutes": -1}, "digest_minutes"),
        ({"organization_id": "org_none"}, "organization_id"),
        ({"extra": 1}, "extra"),
    ],
)
async def test_what_is_no_destination_is_refused_here(world, change, param):
    body = {"name": "d", "kind": "slack", "target": "https://example.com/x"} | change
    reply = await world.client.post("/api/v1/destinations", json=body, headers=world.operator)
    assert reply.status_code in {400, 404}
    assert reply.json()["error"]["param"] == param
    assert world.ledger.asked == []


async def test_a_destination_may_be_about_the_books_which_are_of_no_organization(world):
    body = {"name": "d", "kind": "slack", "target": "https://example.com/x", "about": ["books"]}
    assert (await world.client.post("/api/v1/destinations", json=body, headers=world.operator)).status_code == 201
    _, asked = world.ledger.asked[-1]
    assert list(asked.destination.about) == ["books"]
    listed = [wire.Destination(id="a", name="a"), wire.Destination(id="b", name="b", organization_id="org_1")]
    world.ledger.replies["destinations"] = wire.ListDestinationsResponse(destinations=listed)
    found = (await world.client.get("/api/v1/destinations", headers=world.operator)).json()["items"]
    assert [one["about"] for one in found] == [["budget", "anomaly", "books"], ["budget", "anomaly"]]
