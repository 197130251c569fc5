"""The connection test: what is wrong is named with what to do, and the stream tells when each piece was sent."""

import json

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.ports import EdgeVersion
from tollgate_rating import PICO, PriceBook, PriceTable

pytestmark = pytest.mark.unit


@pytest.fixture
def configured(world):
    book = PriceBook(name="public", effective_us=0, currency="USD", models={"gpt": {"input": "1"}})
    world.version = EdgeVersion("sha256:1", 1, PriceTable([book]), world.version.models)
    has(world, 5)
    return world


def has(world, units):
    async def balance(_request):
        return billing.GetBalanceResponse(currency="USD", wallet_pico=units * PICO)

    world.billing.balance = balance


async def ask(world, headers=None, model="gpt", path="/v1/connection"):
    reply = await world.client.get(path, headers=headers, params={"model": model} if model else None)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    checks = {one["check"]: one for one in found["checks"]}
    assert set(checks) == {"key", "model", "balance"}
    assert found["ok"] is all(one["state"] != "failed" for one in checks.values())
    for one in checks.values():
        assert one["found"]
        assert one["state"] != "failed" or one["advice"]
    return found, checks


async def test_all_is_well(configured):
    found, checks = await ask(configured, configured.bearer, path="/connection")
    assert found["ok"] is True
    assert [one["state"] for one in checks.values()] == ["ok", "ok", "ok"]
    assert checks["balance"]["found"] == "5 USD are left"
    assert found["arrived"]["base_url"] == "http://edge.test/v1"
    assert (await ask(configured, configured.bearer, model=""))[1]["model"]["state"] == "skipped"


@pytest.mark.parametrize(
    ("key", "code", "word"),
    [
        ("", "invalid_api_key", "was given"),
        ("sk-tg-nobody", "invalid_api_key", "copied whole"),
        ("sk-ant-abc", "invalid_api_key", "key of Anthropic"),
        ("AIzaSyA", "invalid_api_key", "key of Google"),
        ("'sk-tg-quoted'", "invalid_api_key", "without"),
        ("OPERATOR", "forbidden", "access token"),
    ],
)
async def test_a_key_that_is_refused_is_told_what_it_is(configured, key, code, word):
    headers = {"authorization": f"Bearer {key}"} if key else None
    if key == "OPERATOR":
        headers = configured.operator
    _, checks = await ask(configured, headers)
    assert (checks["key"]["state"], checks["key"]["code"]) == ("failed", code)
    assert word in checks["key"]["found"] + checks["key"]["advice"]
    assert checks["key"]["link"] == f"http://edge.test/docs/errors#{code}"
    assert checks["model"]["state"] == checks["balance"]["state"] == "skipped"


@pytest.mark.parametrize(
    ("model", "code"), [("nothing", "model_not_found"), ("mine", "model_not_priced"), ("gpt\u0000", "model_not_found")]
)
async def test_a_model_that_cannot_be_used_is_told_why(configured, model, code):
    _, checks = await ask(configured, configured.bearer, model)
    assert (checks["model"]["state"], checks["model"]["code"]) == ("failed", code)


async def test_no_money_and_no_models_and_no_billing(configured):
    has(configured, 0)
    _, checks = await ask(configured, configured.bearer)
    assert (checks["balance"]["code"], checks["balance"]["found"]) == ("insufficient_quota", "0 USD are left.")
    configured.billing.away = 5
    has(configured, 1)
    _, checks = await ask(configured, configured.bearer)
    assert checks["balance"]["code"] == "service_unavailable"
    configured.version = EdgeVersion("sha256:2", 2, PriceTable([]), {})
    _, checks = await ask(configured, configured.bearer)
    assert checks["model"]["found"] == "this key may use no model"


async def test_the_stream_says_when_each_piece_was_sent(world):
    reply = await world.client.get("/v1/connection/stream?pieces=3")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert (reply.headers["cache-control"], reply.headers["x-accel-buffering"]) == ("no-cache", "no")
    lines = [line for line in reply.text.split("\n\n") if line]
    assert lines.count(": keep-alive") == 2
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    assert [json.loads(one)["sent_ms"] for one in data] == [0, 300, 600]
    for wrong in ("0", "21", "x"):
        reply = await world.client.get(f"/v1/connection/stream?pieces={wrong}")
        check_error(reply, 422, "invalid_request", "pieces")


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v1/v1/chat/completions", "ends in a version"),
        ("/v1beta/v1/models", "ends in a version"),
        ("/v1//chat/completions", "ends in a slash"),
        ("/v1/chat/completions/chat/completions", "whole path"),
        ("/nothing", "There is nothing at"),
    ],
)
async def test_a_path_that_is_not_there_says_what_is_wrong_with_the_base_url(world, path, word):
    reply = await world.client.post(path, headers=world.bearer, json={})
    assert reply.status_code == 404
    assert word in reply.json()["error"]["message"]
    assert ("base URL" in reply.text) == (path != "/nothing")
