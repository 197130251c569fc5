"""Administration over edge's HTTP, as operators see it: over ASGI, with fakes behind the ports."""

import json

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import router_pb2 as router
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_edge.errors import public_error

pytestmark = pytest.mark.unit


async def test_an_operator_makes_lists_and_revokes_keys(world):
    made = await world.client.post("/api/v1/keys", json={"name": " ci ", "models": ["gpt"]}, headers=world.operator)
    assert made.status_code == 201
    body = made.json()
    assert body["key"].startswith("sk-tg-")
    assert (body["name"], body["last_four"], body["models"]) == ("ci", body["key"][-4:], ["gpt"])
    assert (await world.client.get("/v1/models", headers={"api-key": body["key"]})).status_code == 200
    listed = (await world.client.get("/api/v1/keys?limit=2", headers=world.operator)).json()
    assert len(listed["items"]) == 2
    rest = (await world.client.get(f"/api/v1/keys?cursor={listed['next']}", headers=world.operator)).json()
    assert len(rest["items"]) == 1
    assert rest["next"] is None
    assert body["key"] not in json.dumps([listed, rest])
    revoked = await world.client.delete(f"/api/v1/keys/{body['id']}", headers=world.operator)
    assert revoked.json()["revoked_at"]
    check_error(await world.client.delete("/api/v1/keys/none", headers=world.operator), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"name": "x" * 101}, 400, "name"),
        ({"name": "a\nb"}, 400, "name"),
        ({"models": "gpt"}, 400, "models"),
        ({"models": [1]}, 400, "models"),
        ({"expires_at": "soon"}, 400, "expires_at"),
        ({"project_id": "none"}, 404, "project_id"),
        ({"organization_id": "org_2", "project_id": "proj_1"}, 404, "project_id"),
    ],
)
async def test_keys_with_wrong_fields_are_not_made(world, body, status, param):
    before = len(world.memory.keys)
    reply = await world.client.post("/api/v1/keys", json=body, headers=world.operator)
    check_error(reply, status, "invalid_request" if status == 400 else "not_found", param)
    assert len(world.memory.keys) == before


async def test_limits_are_set_on_a_new_key_and_changed_by_id(world):
    body = {"name": "ci", "limits": {"requests_per_minute": 60, "concurrency": None}}
    made = (await world.client.post("/api/v1/keys", json=body, headers=world.operator)).json()
    nothing = {"tokens_per_minute": None, "concurrency": None, "budget": None}
    assert made["limits"] == {"requests_per_minute": 60, **nothing}
    path = f"/api/v1/limits/{made['id']}"
    changed = await world.client.patch(
        path, json={"concurrency": 2, "requests_per_minute": None}, headers=world.operator
    )
    assert changed.json()["limits"] == {
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "concurrency": 2,
        "budget": None,
    }
    shown = (await world.client.get(path, headers=world.operator)).json()
    assert shown == changed.json()
    assert (shown["kind"], shown["name"], shown["organization_id"]) == ("key", "ci", "org_1")
    assert "payment" not in shown
    set_later = {"payment": "postpaid", "tokens_per_minute": 10**12}
    later = (await world.client.patch("/api/v1/limits/org_1", json=set_later, headers=world.operator)).json()
    assert (later["payment"], later["limits"]["tokens_per_minute"]) == ("postpaid", 10**12)
    listed = (await world.client.get("/api/v1/limits", headers=world.operator)).json()
    assert [one["id"] for one in listed["items"]] == [made["id"], "org_1"]
    budget = {"amount": "12.50", "window": "day"}
    spent = await world.client.patch("/api/v1/limits/proj_1", json={"budget": budget}, headers=world.operator)
    assert spent.json()["limits"]["budget"] == {"amount": "12.5", "window": "day"}
    spent = await world.client.patch("/api/v1/limits/proj_1", json={"budget": None}, headers=world.operator)
    assert spent.json()["limits"]["budget"] is None
    again = await world.client.patch("/api/v1/limits/org_1", json={"payment": "prepaid"}, headers=world.operator)
    assert again.json()["payment"] == "prepaid"
    assert again.json()["limits"]["tokens_per_minute"] == 10**12


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"tokens_per_minute": 10**12 + 1}, "tokens_per_minute"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": "3"}, "concurrency"),
        ({"requests_per_second": 1}, "requests_per_second"),
        ({"budget": 25}, "budget"),
        ({"budget": {"amount": 25}}, "budget"),
        ({"budget": {"amount": "-1"}}, "budget"),
        ({"budget": {"amount": "10000000"}}, "budget"),
        ({"budget": {"amount": "1", "window": "week"}}, "window"),
        ({"budget": {"amount": "1", "size": 1}}, "budget"),
        ({"payment": "later"}, "payment"),
        ({"payment": "prepaid"}, "payment"),
    ],
)
async def test_limits_that_are_wrong_change_nothing(world, body, param):
    reply = await world.client.patch(f"/api/v1/limits/{world.key_id}", json=body, headers=world.operator)
    check_error(reply, 400, "invalid_request", param)
    if param != "payment":
        reply = await world.client.post("/api/v1/keys", json={"limits": body}, headers=world.operator)
        check_error(reply, 400, "invalid_request", param)
    reply = await world.client.post("/api/v1/keys", json={"limits": [1]}, headers=world.operator)
    check_error(reply, 400, "invalid_request", "limits")
    listed = (await world.client.get("/api/v1/limits", headers=world.operator)).json()
    assert listed == {"items": [], "next": None}


async def test_limits_are_an_operators_business(world):
    for method, path in (("GET", "/api/v1/limits"), ("GET", "/api/v1/limits/org_1"), ("PATCH", "/api/v1/limits/org_1")):
        check_error(await world.client.request(method, path, json={}, headers=world.bearer), 403, "forbidden")
    missing = await world.client.patch("/api/v1/limits/org_9", json={"concurrency": 1}, headers=world.operator)
    check_error(missing, 404, "not_found")
    check_error(await world.client.get("/api/v1/limits/org_9", headers=world.operator), 404, "not_found")


async def post(world, path, body, **headers):
    return await world.client.post(f"/api/v1/{path}", json=body, headers=world.operator | headers)


async def test_an_organization_pays_in_one_of_the_currencies_from_its_beginning(world):
    made = (await post(world, "organizations", {"name": "yuan", "currency": "CNY"})).json()
    assert made["currency"] == "CNY"
    check_error(
        await post(world, "organizations", {"name": "x", "currency": "EUR"}), 400, "invalid_request", "currency"
    )
    found = await world.client.get(f"/api/v1/ledger?organization_id={made['id']}", headers=world.operator)
    assert found.json()["currency"] == "CNY"


async def test_sums_in_two_currencies_have_no_total_of_money(world):
    totals = [billing.UsageRow(requests=1, charge_pico=5, currency=one) for one in ("CNY", "USD")]
    world.billing.usage_reply = billing.QueryUsageResponse(
        rows=totals, total=billing.UsageRow(requests=2), totals=totals
    )
    found = (await world.client.get("/api/v1/usage", headers=world.operator)).json()
    assert (found["total"]["requests"], found["total"]["charge"], found["total"]["cost"]) == (2, None, None)
    assert [(one["currency"], one["charge_pico"]) for one in found["totals"]] == [("CNY", 5), ("USD", 5)]


async def test_an_operator_makes_an_organization_a_project_credit_and_a_key(world):
    organization = await post(world, "organizations", {"name": " Acme "})
    assert organization.status_code == 201
    acme = organization.json()
    assert (acme["name"], acme["currency"]) == ("Acme", "USD")
    body = {"name": "web", "organization_id": acme["id"], "price_group": "partner", "route_group": "eu"}
    project = (await post(world, "projects", body)).json()
    assert {name: project[name] for name in body} == body
    given = await post(world, f"organizations/{acme['id']}/credit", {"amount": "12.5", "reason": "invoice 7"})
    assert given.status_code == 201
    assert given.json() == {
        "organization_id": acme["id"], "currency": "USD",
        "amount": "12.5", "amount_pico": 125 * 10**11, "balance": "12.5", "balance_pico": 125 * 10**11,
    }  # fmt: skip
    (grant,) = world.billing.grants.values()
    assert (grant.organization_id, grant.currency, grant.reason) == (acme["id"], "USD", "invoice 7")
    key = (await post(world, "keys", {"name": "ci", "project_id": project["id"]})).json()
    who = (await world.client.get("/api/v1/whoami", headers={"api-key": key["key"]})).json()
    found = (who["organization_id"], who["project_id"], who["price_group"], who["route_group"])
    assert found == (acme["id"], project["id"], "partner", "eu")


async def test_organizations_and_projects_are_listed_by_page_and_found_by_name(world):
    listed = (await world.client.get("/api/v1/organizations?limit=1", headers=world.operator)).json()
    rest = (await world.client.get(f"/api/v1/organizations?cursor={listed['next']}", headers=world.operator)).json()
    assert [one["name"] for one in listed["items"] + rest["items"]] == ["other", "demo"]
    assert rest["next"] is None
    named = (await world.client.get("/api/v1/organizations?name=demo", headers=world.operator)).json()
    assert [one["id"] for one in named["items"]] == ["org_1"]
    await post(world, "projects", {"name": "web", "organization_id": "org_1"})
    mine = (await world.client.get("/api/v1/projects?organization_id=org_1", headers=world.operator)).json()
    assert {one["name"] for one in mine["items"]} == {"default", "web"}
    both = (await world.client.get("/api/v1/projects?name=default", headers=world.operator)).json()
    assert {one["id"] for one in both["items"]} == {"proj_1", "proj_2"}


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("organizations", {}, 400, "invalid_request", "name"),
        ("organizations", {"name": "a\nb"}, 400, "invalid_request", "name"),
        ("organizations", {"name": "demo"}, 409, "conflict", "name"),
        ("projects", {"name": "x"}, 400, "invalid_request", "organization_id"),
        ("projects", {"name": "x", "organization_id": "org_9"}, 404, "not_found", "organization_id"),
        ("projects", {"name": "default", "organization_id": "org_1"}, 409, "conflict", "name"),
        ("projects", {"name": "x", "organization_id": "org_1", "price_group": "No"}, 400, "invalid_request", None),
        ("projects", {"name": "x" * 101, "organization_id": "org_1"}, 400, "invalid_request", None),
        ("organizations/org_9/credit", {"amount": "1"}, 404, "not_found", "organization_id"),
        ("organizations/org_1/credit", {}, 400, "invalid_request", "amount"),
        ("organizations/org_1/credit", {"amount": 100}, 400, "invalid_request", "amount"),
        ("organizations/org_1/credit", {"amount": "0"}, 400, "invalid_request", "amount"),
        ("organizations/org_1/credit", {"amount": "-5"}, 400, "invalid_request", "amount"),
        ("organizations/org_1/credit", {"amount": "1e3"}, 400, "invalid_request", "amount"),
        ("organizations/org_1/credit", {"amount": "9999999"}, 400, "invalid_request", "amount"),
    ],
)
async def test_tenants_with_wrong_fields_are_not_made(world, path, body, status, code, param):
    check_error(await post(world, path, body), status, code, param)
    assert len(world.memory.organizations) == len(world.memory.projects) == 2
    assert not world.billing.grants


async def test_credit_is_given_once_per_idempotency_key(world):
    for _ in range(2):
        once = {"idempotency-key": "invoice-7"}
        assert (await post(world, "organizations/org_1/credit", {"amount": "5"}, **once)).json()["balance"] == "5"
    # The same key of another organization is another key, and without one every request counts.
    assert (await post(world, "organizations/org_2/credit", {"amount": "5"}, **once)).json()["balance"] == "5"
    assert (await post(world, "organizations/org_1/credit", {"amount": "5"})).json()["balance"] == "10"
    assert (await post(world, "organizations/org_1/credit", {"amount": "5"})).json()["balance"] == "15"
    long = {"idempotency-key": "x" * 129}
    check_error(await post(world, "organizations/org_1/credit", {"amount": "5"}, **long), 400, "invalid_request")


async def test_without_any_tenant_every_refusal_says_what_to_do(world):
    world.memory.organizations.clear()
    world.memory.projects.clear()
    missing = {"keys": "tollgate projects create", "projects": "tollgate organizations create"}
    for path, advice in missing.items():
        reply = await post(world, path, {"name": "x"})
        check_error(reply, 404, "not_found", "project_id" if path == "keys" else "organization_id")
        assert advice in reply.json()["error"]["message"]
    reply = await world.client.get("/api/v1/balance", headers=world.operator)
    check_error(reply, 404, "not_found", "organization_id")
    assert "tollgate organizations create" in reply.json()["error"]["message"]
    # The only one need not be named.
    await post(world, "organizations", {"name": "acme"})
    assert (await post(world, "projects", {"name": "web"})).status_code == 201
    assert (await post(world, "keys", {"name": "x"})).status_code == 201


async def test_a_key_manages_nothing_and_a_token_calls_no_models(world):
    managed = ("POST keys", "GET keys", "GET router", "POST organizations", "GET organizations", "POST projects")
    managed += ("GET projects", "POST organizations/org_1/credit")
    for method, _, name in (one.partition(" ") for one in managed):
        path = f"/api/v1/{name}"
        check_error(await world.client.request(method, path, headers=world.bearer), 403, "forbidden")
    check_error(await world.client.get("/v1/models", headers=world.operator), 403, "forbidden")
    who = (await world.client.get("/api/v1/whoami", headers=world.bearer)).json()
    assert (who["kind"], who["organization_id"]) == ("api_key", "org_1")
    assert (await world.client.get("/api/v1/whoami", headers=world.operator)).json()["kind"] == "operator"


async def test_usage_and_requests_of_a_key_are_those_of_its_organization(world):
    world.billing.usage_reply = billing.QueryUsageResponse(
        rows=[billing.UsageRow(group=["gpt", "2026-11-24"], requests=2, charge_pico=15 * 10**11)],
        total=billing.UsageRow(requests=2, charge_pico=15 * 10**11),
    )
    reply = await world.client.get("/api/v1/usage?group_by=model,day&from=2026-11-01", headers=world.bearer)
    body = reply.json()
    assert body["requests"] == 2
    assert body["rows"][0]["model"] == "gpt"
    assert (body["rows"][0]["charge"], body["rows"][0]["charge_pico"]) == ("1.5", 15 * 10**11)
    assert world.billing.asked[-1].filter.organization_id == "org_1"
    assert world.billing.asked[-1].filter.from_us == 1_793_491_200_000_000
    row = billing.RequestRow(request_id="r", organization_id="org_1", channel="c", cost_pico=5, charge_pico=2**60)
    world.billing.requests_reply = billing.ListRequestsResponse(rows=[row], next_cursor="n")
    mine = (await world.client.get("/api/v1/requests?model=gpt", headers=world.bearer)).json()
    assert mine["next"] == "n"
    assert mine["items"][0]["charge_pico"] == 2**60
    assert not {"channel", "cost_pico", "provider"} & set(mine["items"][0])
    assert world.billing.asked[-1].filter.organization_id == "org_1"
    all_of = (await world.client.get("/api/v1/requests", headers=world.operator)).json()
    assert all_of["items"][0]["channel"] == "c"
    assert world.billing.asked[-1].filter.organization_id == ""
    for path in ("usage", "requests", "balance"):
        found = await world.client.get(f"/api/v1/{path}?organization_id=org_2", headers=world.bearer)
        check_error(found, 403, "forbidden")
    await world.client.get("/api/v1/usage?group_by=tag&tag=search&member=ada@example.com", headers=world.bearer)
    asked = world.billing.asked[-1]
    assert (list(asked.group_by), asked.filter.tag, asked.filter.member) == (["tag"], "search", "ada@example.com")
    for hidden in ("channel", "provider", "day,channel"):
        found = await world.client.get(f"/api/v1/usage?group_by={hidden}", headers=world.bearer)
        check_error(found, 403, "forbidden", "group_by")
        found = await world.client.get(f"/api/v1/usage?group_by={hidden}", headers=world.operator)
        assert found.status_code == 200
    await world.client.get("/api/v1/requests?tag=search&member=ada@example.com", headers=world.operator)
    assert (world.billing.asked[-1].filter.tag, world.billing.asked[-1].filter.member) == ("search", "ada@example.com")
    check_error(await world.client.get("/api/v1/usage?to=x", headers=world.bearer), 400, "invalid_request", "to")


async def test_the_balance_is_that_of_the_oldest_organization_unless_asked_otherwise(world):
    await world.billing.grant(billing.GrantRequest(organization_id="org_1", amount_pico=10**14, idempotency_key="a"))
    body = (await world.client.get("/api/v1/balance", headers=world.operator)).json()
    assert (body["organization_id"], body["ledger"], body["wallet_pico"]) == ("org_1", "100", 10**14)
    other = (await world.client.get("/api/v1/balance?organization_id=org_2", headers=world.operator)).json()
    assert other["ledger_pico"] == 0
    world.billing.away = 1
    check_error(await world.client.get("/api/v1/balance", headers=world.operator), 503, "service_unavailable")


async def test_routers_are_described_and_those_away_are_named(world):
    world.routers.states = [
        ("unix:a", router.DescribeRouterResponse(config_digest="sha256:x", spool_records=2**33)),
        ("unix:b", None),
    ]
    found = (await world.client.get("/api/v1/router", headers=world.operator)).json()["routers"]
    assert (found[0]["reachable"], found[0]["config_digest"], found[0]["spool_records"]) == (True, "sha256:x", 2**33)
    assert found[1] == {"address": "unix:b", "reachable": False}


EXPLANATION = routing.Explanation(
    model="gpt",
    strategy="weighted",
    targets=[
        routing.ConsideredTarget(channel="a", level=1, verdict=routing.VERDICT_OUT, reason="benched", wait_ms=9000),
        routing.ConsideredTarget(channel="b", level=2, verdict=routing.VERDICT_TAKEN),
    ],
)


async def test_a_route_is_explained_for_a_key(world):
    world.routers.explanations = [
        ("unix:a", router.ExplainRouteResponse(explanation=EXPLANATION)),
        ("unix:b", None),
    ]
    body = {
        "model": "gpt",
        "key_id": world.key_id,
        "request": {"messages": [], "user": "ü"},
        "headers": {"X-Session": "1"},
    }
    reply = await world.client.post("/api/v1/routes/explain", json=body, headers=world.operator)
    found = reply.json()
    assert (reply.status_code, found["refusal"], found["route_group"]) == (200, None, "default")
    assert found["routers"][0]["explanation"]["taken"]["channel"] == "b"
    assert [one["verdict"] for one in found["routers"][0]["explanation"]["targets"]] == ["out", "taken"]
    assert found["routers"][1] == {"address": "unix:b", "reachable": False, "explanation": None}
    (asked,) = world.routers.asked
    assert (asked.model, asked.route_group, asked.project_id, asked.api_key_id) == (
        "gpt", "default", "proj_1", world.key_id,
    )  # fmt: skip
    assert json.loads(asked.body) == {"messages": [], "user": "ü", "model": "gpt"}
    assert [(header.name, header.value) for header in asked.headers] == [(b"x-session", b"1")]
    assert (asked.operation, asked.dialect) == (wire.OPERATION_CHAT, wire.DIALECT_OPENAI_CHAT)
    assert (found["operation"], found["dialect"]) == ("chat", "openai-chat")


@pytest.mark.parametrize(
    ("question", "operation", "dialect"),
    [
        ({}, "chat", "openai-chat"),
        ({"dialect": "openai-responses"}, "chat", "openai-responses"),
        ({"dialect": "anthropic", "request": {"messages": []}}, "chat", "anthropic"),
        ({"dialect": "gemini"}, "chat", "gemini"),
        # What only one dialect has says which it is.
        ({"request": {"input": "hello"}}, "chat", "openai-responses"),
        ({"request": {"contents": []}}, "chat", "gemini"),
        ({"request": {"messages": []}}, "chat", "openai-chat"),
        ({"request": {"input": "hello"}, "operation": "embeddings"}, "embeddings", "openai-chat"),
        ({"operation": "embeddings", "dialect": "gemini"}, "embeddings", "gemini"),
        ({"operation": "rerank", "request": {"query": "q"}}, "rerank", "openai-chat"),
        ({"operation": "transcriptions"}, "transcriptions", "openai-chat"),
    ],
)
async def test_a_route_is_explained_for_the_dialect_of_its_request(world, question, operation, dialect):
    world.routers.explanations = [("unix:a", router.ExplainRouteResponse(explanation=EXPLANATION))]
    body = {"model": "gpt"} | question
    reply = await world.client.post("/api/v1/routes/explain", json=body, headers=world.operator)
    assert (reply.json()["operation"], reply.json()["dialect"]) == (operation, dialect), reply.text
    (asked,) = world.routers.asked
    assert wire.Dialect.Name(asked.dialect) == "DIALECT_" + dialect.upper().replace("-", "_")
    assert wire.Operation.Name(asked.operation) == "OPERATION_" + {
        "rerank": "RERANK", "chat": "CHAT", "embeddings": "EMBEDDINGS", "transcriptions": "TRANSCRIPTION"
    }[operation]  # fmt: skip


async def test_what_edge_itself_would_refuse_is_said(world):
    async def refusal(**body):
        reply = await world.client.post("/api/v1/routes/explain", json=body, headers=world.operator)
        return reply.json()["refusal"]

    assert await refusal(model="gpt") is None
    assert await refusal(model="none") == "No channel serves the model 'none' for the route group 'default'."
    assert "'research'" in await refusal(model="gpt", route_group="research")
    record, _ = await world.create_key(world.project, "narrow", models=("mine",))
    assert await refusal(model="gpt", key_id=record.id) == "The key may not use this model."
    await world.keys.revoke_key("", record.id, 1)
    assert await refusal(model="mine", key_id=record.id) == "The key is revoked."


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "model"),
        ({"model": "gpt", "key_id": "nobody"}, 404, "key_id"),
        ({"model": "gpt", "request": []}, 400, "request"),
        ({"model": "gpt", "headers": {"a": 1}}, 400, "headers"),
        ({"model": "gpt", "operation": "images"}, 400, "operation"),
        ({"model": "gpt", "dialect": "openai"}, 400, "dialect"),
        ({"model": "gpt", "dialect": ["gemini"]}, 400, "dialect"),
        ({"model": "gpt", "operation": "embeddings", "dialect": "anthropic"}, 400, "dialect"),
        ({"model": "gpt", "operation": "rerank", "dialect": "gemini"}, 400, "dialect"),
        ({"model": "gpt", "operation": "translations", "request": {}}, 400, "request"),
    ],
)
async def test_questions_that_are_wrong_are_refused(world, body, status, param):
    reply = await world.client.post("/api/v1/routes/explain", json=body, headers=world.operator)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    assert world.routers.asked == []


async def test_an_operator_drains_a_channel(world):
    path, body = "/api/v1/channels/main/mode", {"mode": "draining", "reason": "moving"}
    check_error(await world.client.post(path, json=body, headers=world.bearer), 403, "forbidden")
    check_error(await world.client.post(path, json={}, headers=world.operator), 400, "invalid_request", "mode")
    check_error(await world.client.post(path, json=body, headers=world.operator), 503, "service_unavailable")
    world.routers.states = [("unix:a", router.DescribeRouterResponse()), ("unix:b", None)]
    reply = await world.client.post(path, json=body, headers=world.operator)
    assert reply.json() == {
        "channel": "main",
        "mode": "draining",
        "routers": [{"address": "unix:a", "reachable": True}, {"address": "unix:b", "reachable": False}],
    }
    asked = world.routers.asked[-1]
    assert (asked.channel, asked.mode, asked.reason) == ("main", router.CHANNEL_MODE_DRAINING, "moving")
    world.routers.refuse = public_error(errors.ERROR_KIND_NOT_FOUND)
    check_error(await world.client.post(path, json=body, headers=world.operator), 404, "not_found")
