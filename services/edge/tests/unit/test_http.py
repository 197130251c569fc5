"""Edge's HTTP without inference: over ASGI, with fakes behind the ports."""

import base64
import json
from types import SimpleNamespace

import httpx
import pytest
from services.edge.tests.fakes.services import FakeBilling, FakeMedia, FakeRouters
from services.edge.tests.fakes.stores import FakeKeyStore, FakeLimitStore, FakeTenantStore, Memory

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import router_pb2 as router
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.http import create_http_app
from tollgate_edge.api.links import LinkSigner
from tollgate_edge.api.reading import BodyReader
from tollgate_edge.domain.keys import TOKEN_PREFIX, keyed_hash, new_key, pepper_of
from tollgate_edge.errors import public_error
from tollgate_edge.ports import EdgeModel, EdgeVersion
from tollgate_edge.use_cases.authenticate import KeyAuthenticator
from tollgate_edge.use_cases.create_key import CreateKey
from tollgate_edge.use_cases.create_tenant import CreateTenant
from tollgate_edge.use_cases.give_credit import GiveCredit
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds
from tollgate_kit.tracing import NoTracing
from tollgate_rating import PriceTable

pytestmark = pytest.mark.unit

PEPPER = pepper_of(b"p" * 32)
MODELS = {
    "default": {
        "gpt": EdgeModel("gpt", "chat", "openai", 7),
        "vendor/pic": EdgeModel("vendor/pic", "image", "openai", 0),
        "mine": EdgeModel("mine", "", "me", 0),
    }
}
OPENAI_ERROR = {"message", "type", "param", "code"}


class World:
    """An app on fakes, with one key and one operator's token."""


@pytest.fixture
async def world():
    made = World()
    made.clock, made.memory = ManualClock(), Memory()
    made.keys, made.tenants = FakeKeyStore(made.memory), FakeTenantStore(made.memory)
    made.billing, made.media, made.routers = FakeBilling(), FakeMedia(), FakeRouters()
    made.numbers = iter(range(1, 1000))
    made.version = EdgeVersion("sha256:x", 1, PriceTable([]), MODELS)
    made.missing, made.notes = [], []
    randoms = iter(range(1, 1000))

    def random_bytes(count):
        return next(randoms).to_bytes(count, "big")

    made.authenticator = KeyAuthenticator(
        KeyLookups(made.keys, pause_seconds=0), [PEPPER], made.clock, max_keys=100, max_unknown=100
    )
    ids = CountingIds()
    create_key = CreateKey(made.keys, PEPPER, made.clock, ids, random_bytes)
    made.app = create_http_app(
        HttpContext(
            authenticator=made.authenticator,
            version=SimpleNamespace(current=lambda: made.version),
            keys=made.keys,
            tenants=made.tenants,
            limits=FakeLimitStore(made.memory),
            create_key=create_key,
            create_tenant=CreateTenant(made.tenants, made.clock, ids),
            give_credit=GiveCredit(made.billing, ids),
            billing=made.billing,
            media=made.media,
            routers=made.routers,
            links=LinkSigner(PEPPER.value, made.clock, 60),
            bodies=BodyReader(10_000, 16),
            clock=made.clock,
            tracing=NoTracing(),
            missing=lambda: made.missing,
            notes=lambda: made.notes,
            state=lambda: "ready",
            new_request_id=lambda: f"req_{next(made.numbers)}",
        )
    )
    project = await made.tenants.ensure_project("org_1", "demo", "USD", "proj_1", "default", 1)
    record, key = await create_key(project, "first")
    made.key_id, made.key = record.id, key.reveal()
    token = new_key(TOKEN_PREFIX, random_bytes)
    await made.keys.add_token("pat_1", "t", "abcd", keyed_hash(token.reveal().encode(), PEPPER), PEPPER.id, 1)
    other = await made.tenants.ensure_project("org_2", "other", "USD", "proj_2", "default", 1)
    made.other_key = (await create_key(other, "second"))[1].reveal()
    made.create_key, made.project = create_key, project
    made.bearer = {"authorization": f"Bearer {made.key}"}
    made.operator = {"authorization": f"Bearer {token.reveal()}"}
    transport = httpx.ASGITransport(made.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge.test") as client:
        made.client = client
        yield made


def check_error(reply, status, code, param=None):
    assert reply.status_code == status, reply.text
    assert reply.headers["x-request-id"].startswith("req_")
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == OPENAI_ERROR
    assert body["error"]["message"]
    assert body["error"]["code"] == code
    assert body["error"]["param"] == param


async def test_health_says_that_the_process_lives_and_readiness_what_is_missing(world):
    assert (await world.client.get("/healthz")).json() == {"state": "ready"}
    assert (await world.client.get("/readyz")).json() == {"ready": True, "missing": [], "notes": []}
    world.missing = ["no router is connected"]
    reply = await world.client.get("/readyz")
    assert (reply.status_code, reply.json()["missing"]) == (503, ["no router is connected"])


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-goog-api-key", "api-key", "?key"])
async def test_a_key_is_taken_from_wherever_clients_put_it(world, path, header):
    if header == "?key":
        reply = await world.client.get(path, params={"key": world.key})
    else:
        value = f"bearer {world.key}" if header == "authorization" else world.key
        reply = await world.client.get(path, headers={header: value})
    assert reply.status_code == 200


async def test_models_are_listed_without_nulls(world):
    body = (await world.client.get("/v1/models", headers=world.bearer)).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["gpt", "vendor/pic", "mine"]
    assert body["data"][0] == {
        "id": "gpt",
        "object": "model",
        "created": 7,
        "owned_by": "openai",
        "supported_endpoint_types": ["openai"],
    }
    assert "null" not in json.dumps(body)


async def test_one_model_is_found_by_a_name_with_slashes(world):
    reply = await world.client.get("/v1/models/vendor/pic", headers=world.bearer)
    assert reply.json()["id"] == "vendor/pic"
    check_error(await world.client.get("/models/none", headers=world.bearer), 404, "model_not_found", "model")


async def test_a_key_with_a_list_sees_only_its_models(world):
    _, key = await world.create_key(world.project, "narrow", models=("gpt",))
    headers = {"x-api-key": key.reveal()}
    assert [m["id"] for m in (await world.client.get("/v1/models", headers=headers)).json()["data"]] == ["gpt"]
    check_error(await world.client.get("/v1/models/mine", headers=headers), 404, "model_not_found", "model")


async def test_keys_that_are_no_good_are_refused_without_being_repeated(world):
    check_error(await world.client.get("/v1/models"), 401, "invalid_api_key")
    for bad in ("sk-tg-" + "x" * 39, "x" * 2000, world.key[:-1] + "?", "sk-tg-ä"):
        reply = await world.client.get("/v1/models", headers={"x-api-key": bad.encode("latin-1")})
        check_error(reply, 401, "invalid_api_key")
        assert bad not in reply.text


async def test_a_revoked_key_and_an_away_store_are_told_apart(world):
    world.memory.away = True
    check_error(await world.client.get("/v1/models", headers=world.bearer), 503, "service_unavailable")
    world.memory.away = False
    assert (await world.client.get("/v1/models", headers=world.bearer)).status_code == 200
    await world.client.post(f"/api/v1/keys/{world.key_id}/revoke", headers=world.operator)
    world.authenticator.apply(await world.keys.changes_since(0))
    reply = await world.client.get("/v1/models", headers=world.bearer)
    check_error(reply, 401, "invalid_api_key")
    assert "revoked" in reply.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/embeddings", 405, "method_not_allowed"),
        ("PUT", "/v1/images/generations", 405, "method_not_allowed"),
    ],
)
async def test_wrong_paths_and_methods_are_answered_in_the_dialect(world, method, path, status, code):
    reply = await world.client.request(method, path, headers=world.bearer)
    check_error(reply, status, code)
    if status == 405:
        assert "allow" in reply.headers


IMAGE = {"model": "vendor/pic", "prompt": "a cat"}


@pytest.mark.parametrize("path", ["/v1/images/generations", "/images/generations"])
async def test_images_are_made_and_come_back_as_base64(world, path):
    reply = await world.client.post(path, json=IMAGE | {"n": 2, "size": "auto"}, headers=world.bearer)
    assert reply.status_code == 200, reply.text
    data = [base64.b64decode(one["b64_json"]) for one in reply.json()["data"]]
    assert data == [b"png a cat 0", b"png a cat 1"]
    asked = world.media.created[0]
    assert asked.tenant.organization_id == "org_1"
    assert asked.request_id == reply.headers["x-request-id"]
    assert asked.image.size == ""
    assert asked.traceparent.startswith("00-")


async def test_a_link_opens_without_a_key_for_a_while_and_only_its_own_asset(world):
    body = IMAGE | {"response_format": "url", "n": 2}
    reply = await world.client.post("/v1/images/generations", json=body, headers=world.bearer)
    first, second = (one["url"] for one in reply.json()["data"])
    fetched = await world.client.get(first)
    assert (fetched.status_code, fetched.content) == (200, b"png a cat 0")
    assert fetched.headers["content-type"] == "image/png"
    assert fetched.headers["x-content-type-options"] == "nosniff"
    check_error(await world.client.get(first.split("?")[0] + "?" + second.split("?")[1]), 403, "invalid_link")
    check_error(await world.client.get(first.replace("exp=1", "exp=2")), 403, "invalid_link")
    check_error(await world.client.get(first[:-2]), 403, "invalid_link")
    for broken in ("exp=x&sig=y", "sig=.", "exp=1&sig=%C3%A4.%00", "exp=" + "9" * 5000 + "&sig=a.b"):
        check_error(await world.client.get(first.split("?")[0] + "?" + broken), 403, "invalid_link")
    world.clock.advance(61)
    check_error(await world.client.get(first), 403, "invalid_link")


async def test_an_asset_and_a_job_are_for_their_owner(world):
    created = await world.client.post("/v1/media/jobs", json=IMAGE, headers=world.bearer)
    assert created.status_code == 202
    job = created.json()
    assert (job["state"], job["assets"], job["error"]) == ("queued", [], None)
    await world.client.post("/v1/images/generations", json=IMAGE, headers=world.bearer)
    asset = next(iter(world.media.assets))
    other = {"x-api-key": world.other_key}
    assert (await world.client.get(f"/v1/media/assets/{asset}", headers=world.bearer)).status_code == 200
    check_error(await world.client.get(f"/v1/media/assets/{asset}", headers=other), 404, "not_found")
    check_error(await world.client.get(f"/v1/media/assets/{asset}"), 401, "invalid_api_key")
    assert (await world.client.get(f"/media/jobs/{job['id']}", headers=world.bearer)).json()["id"] == job["id"]
    check_error(await world.client.get(f"/v1/media/jobs/{job['id']}", headers=other), 404, "not_found")
    assert len((await world.client.get("/v1/media/jobs", headers=world.bearer)).json()["items"]) == 2
    assert (await world.client.get("/v1/media/jobs", headers=other)).json() == {"items": [], "next": None}


async def test_a_job_that_fails_or_is_refused_says_why(world):
    world.media.fail = errors.Error(
        kind=errors.ERROR_KIND_CONTENT_POLICY, message="Refused.", code="moderation_blocked"
    )
    check_error(
        await world.client.post("/v1/images/generations", json=IMAGE, headers=world.bearer), 400, "moderation_blocked"
    )
    world.media.refuse = public_error(errors.ERROR_KIND_INSUFFICIENT_QUOTA)
    reply = await world.client.post("/v1/images/generations", json=IMAGE, headers=world.bearer)
    check_error(reply, 429, "insufficient_quota")
    assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x"}, "model"),
        ({"model": 7, "prompt": "x"}, "model"),
        ({"model": "vendor/pic"}, "prompt"),
        ({"model": "vendor/pic", "prompt": ""}, "prompt"),
        (IMAGE | {"n": 0}, "n"),
        (IMAGE | {"n": 11}, "n"),
        (IMAGE | {"n": True}, "n"),
        (IMAGE | {"n": "1"}, "n"),
        (IMAGE | {"size": 5}, "size"),
        (IMAGE | {"response_format": "jpg"}, "response_format"),
        (IMAGE | {"response_format": ["url"]}, "response_format"),
        (IMAGE | {"output_format": "gif"}, "output_format"),
        (IMAGE | {"stream": True}, "stream"),
        (IMAGE | {"background": "transparent"}, "background"),
        (IMAGE | {"model": "gpt"}, "model"),
        (IMAGE | {"prompt": "\ud800"}, "prompt"),
    ],
)
async def test_fields_that_are_wrong_are_named(world, body, param):
    headers = world.bearer | {"content-type": "application/json"}
    reply = await world.client.post("/v1/images/generations", content=json.dumps(body), headers=headers)
    check_error(reply, 400, "invalid_request", param)
    assert world.media.created == []


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "invalid_request"),
        (b"{", "application/json", 400, "invalid_request"),
        (b"[]", "application/json", 400, "invalid_request"),
        (b"\xff\xfe", "application/json", 400, "invalid_request"),
        (b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", "application/json", 400, "invalid_request"),
        (b"[" * 9000, "application/json", 400, "invalid_request"),
        (b'{"a": ' + b"9" * 6000 + b"}", "application/json", 400, "invalid_request"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b'{"a":"' + b"x" * 10_000 + b'"}', "application/json", 413, "payload_too_large"),
    ],
    ids=["empty", "cut", "list", "no text", "deep", "very deep", "long number", "not json", "large"],
)
async def test_bodies_that_are_wrong_are_refused(world, content, kind, status, code):
    headers = world.bearer | {"content-type": kind}
    check_error(await world.client.post("/v1/images/generations", content=content, headers=headers), status, code)


async def test_a_body_of_unknown_length_is_cut_off_at_the_limit(world):
    async def endless():
        for _ in range(100):
            yield b"x" * 1000

    headers = world.bearer | {"content-type": "application/json"}
    reply = await world.client.post("/v1/images/generations", content=endless(), headers=headers)
    check_error(reply, 413, "payload_too_large")


async def test_query_parameters_that_are_wrong_are_named(world):
    check_error(await world.client.get("/v1/media/jobs?limit=x", headers=world.bearer), 422, "invalid_request", "limit")


async def test_browsers_may_call_models_but_not_the_console(world):
    origin = {"origin": "https://app.example"}
    for reply in (
        await world.client.get("/v1/models", headers=world.bearer | origin),
        await world.client.get("/v1/models", headers=origin),
        await world.client.get("/nothing", headers=origin),
    ):
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in reply.headers["access-control-expose-headers"]
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for path in ("/v1/chat/completions", "/embeddings", "/v1/images/generations"):
        reply = await world.client.options(path, headers=origin | asked)
        assert reply.status_code == 204
        assert reply.headers["access-control-allow-headers"] == "authorization"
        assert "POST" in reply.headers["access-control-allow-methods"]
    for reply in (
        await world.client.get("/api/v1/whoami", headers=world.operator | origin),
        await world.client.options("/api/v1/keys", headers=origin | asked),
    ):
        assert "access-control-allow-origin" not in reply.headers


async def test_what_nobody_expected_is_a_500_without_detail(world, caplog):
    async def fail(request):
        raise RuntimeError("secret detail")

    world.media.list = fail
    reply = await world.client.get("/v1/media/jobs", headers=world.bearer | {"origin": "https://a.example"})
    check_error(reply, 500, "internal_error")
    assert "secret detail" not in reply.text
    assert reply.headers["x-request-id"] in reply.text
    assert reply.headers["access-control-allow-origin"] == "*"


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
    check_error(
        await world.client.get("/api/v1/usage?group_by=color", headers=world.bearer), 400, "invalid_request", "group_by"
    )
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
    assert asked.operation == wire.OPERATION_CHAT


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
