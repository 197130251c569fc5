"""Questions about usage over HTTP: who may ask which, and how tables and files come back."""

import json

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import billing_pb2 as billing

pytestmark = pytest.mark.unit

ANSWER = billing.QueryViewResponse(
    columns=[billing.ViewColumn(name="model", type="String"), billing.ViewColumn(name="charge", unit="currency")],
    rows_json=['["m","0.000000000001"]', '["é",null]'],
    truncated=True,
)


async def test_a_view_is_asked_for_the_caller_s_own_organization(world):
    world.billing.view_reply = ANSWER
    path = "/api/v1/usage/views/spend_by_model?since=7d&limit=5&organization=org_2"
    reply = await world.client.get(path, headers=world.bearer)
    assert reply.status_code == 200
    assert reply.json() == {
        "view": "spend_by_model",
        "columns": [
            {"name": "model", "type": "String", "unit": None, "meaning": None},
            {"name": "charge", "type": "", "unit": "currency", "meaning": None},
        ],
        "rows": [["m", "0.000000000001"], ["é", None]],
        "truncated": True,
    }
    asked = world.billing.asked[-1]
    assert (asked.organization_id, asked.operator, asked.limit) == ("org_1", False, 5)
    assert dict(asked.parameters) == {"since": "7d"}
    other = await world.client.get("/api/v1/usage/views/x?organization_id=org_2", headers=world.bearer)
    check_error(other, 403, "forbidden")
    await world.client.get("/api/v1/usage/views/x?organization_id=org_2", headers=world.operator)
    assert (world.billing.asked[-1].organization_id, world.billing.asked[-1].operator) == ("org_2", True)
    await world.client.get("/api/v1/usage/views/x", headers=world.operator)
    assert world.billing.asked[-1].organization_id == ""


@pytest.mark.parametrize("path", ["views/x", "export?month=2026-10", "isolation"])
async def test_an_organization_that_is_not_there_is_not_one_that_used_nothing(world, path):
    url = f"/api/v1/usage/{path}{'&' if '?' in path else '?'}organization_id=acme"
    check_error(await world.client.get(url, headers=world.operator), 404, "not_found", "organization_id")
    assert not world.billing.asked


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=10001", "limit=x", "since=" + "x" * 201, "&".join(f"a{n}=1" for n in range(21))]
)
async def test_a_view_s_query_has_limits(world, query):
    reply = await world.client.get(f"/api/v1/usage/views/x?{query}", headers=world.bearer)
    assert reply.status_code in {400, 422}
    assert not world.billing.asked


async def test_the_list_of_views_says_who_asks(world):
    found = (await world.client.get("/api/v1/usage/views", headers=world.bearer)).json()
    assert found["items"][0]["name"] == "spend_by_model"
    assert world.billing.asked[-1].operator is False
    await world.client.get("/api/v1/usage/views", headers=world.operator)
    assert world.billing.asked[-1].operator is True
    check_error(await world.client.get("/api/v1/usage/views"), 401, "invalid_api_key")


async def test_sql_and_isolation_are_for_operators(world):
    world.billing.sql_reply = billing.RunSqlResponse(columns=[billing.ViewColumn(name="n")], rows_json=["[1]"])
    body = {"sql": "select 1", "limit": 7}
    check_error(await world.client.post("/api/v1/usage/sql", json=body, headers=world.bearer), 403, "forbidden")
    check_error(
        await world.client.get("/api/v1/usage/isolation?organization_id=org_1", headers=world.bearer), 403, "forbidden"
    )
    assert not world.billing.asked
    found = (await world.client.post("/api/v1/usage/sql", json=body, headers=world.operator)).json()
    assert (found["rows"], found["truncated"], found["columns"][0]["name"]) == ([[1]], False, "n")
    assert (world.billing.asked[-1].sql, world.billing.asked[-1].limit) == ("select 1", 7)
    for wrong in ({}, {"sql": ""}, {"sql": 5}, {"sql": "x", "limit": 0}, {"sql": "\ud800"}):
        reply = await world.client.post("/api/v1/usage/sql", content=json.dumps(wrong), headers=world.operator)
        check_error(reply, 400, "invalid_request", "limit" if "limit" in wrong else "sql")
    found = await world.client.get("/api/v1/usage/isolation?organization_id=org_1", headers=world.operator)
    assert found.json() == {"statements": ["CREATE ROLE x"], "run": False}
    world.billing.away = 1
    away = await world.client.post("/api/v1/usage/sql", json=body, headers=world.operator)
    check_error(away, 503, "service_unavailable")


async def test_an_export_is_a_file(world):
    reply = await world.client.get("/api/v1/usage/export?month=2026-10", headers=world.bearer)
    assert (reply.status_code, reply.content) == (200, b"PAR1PAR1")
    assert reply.headers["content-type"] == "application/vnd.apache.parquet"
    asked = world.billing.asked[-1]
    assert (asked.organization_id, asked.month, asked.operator) == ("org_1", "2026-10", False)
    check_error(
        await world.client.get("/api/v1/usage/export?month=2026-10", headers=world.operator),
        400, "invalid_request", "organization_id",
    )  # fmt: skip
    check_error(
        await world.client.get("/api/v1/usage/export?month=2026-10&organization_id=org_2", headers=world.bearer),
        403, "forbidden",
    )  # fmt: skip
    assert (await world.client.get("/api/v1/usage/export", headers=world.bearer)).status_code == 422
