"""Edge's HTTP without inference, as callers see it: over ASGI, with fakes behind the ports."""

import base64
import json

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import controls_pb2 as controls
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate_edge.domain.limits import Limits
from tollgate_edge.errors import public_error

pytestmark = pytest.mark.unit


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
        "supported_endpoint_types": ["openai", "openai-response", "anthropic", "gemini"],
    }
    assert "null" not in json.dumps(body)


async def test_one_model_is_found_by_a_name_with_slashes(world):
    reply = await world.client.get("/v1/models/vendor/pic", headers=world.bearer)
    assert reply.json()["id"] == "vendor/pic"
    check_error(await world.client.get("/models/none", headers=world.bearer), 404, "model_not_found", "model")


async def test_what_is_wrong_with_models_is_said_in_the_dialect_that_they_are_listed_in(world):
    for path in ("/v1/models", "/v1/models/none", "/models/none"):
        claude = await world.client.get(path, headers={"anthropic-version": "2023-06-01", "x-api-key": "x"})
        assert (claude.json()["type"], claude.json()["error"]["type"]) == ("error", "authentication_error")
        google = await world.client.get(path, headers={"x-goog-api-key": "x"})
        assert google.json()["error"]["status"] == "UNAUTHENTICATED"
        check_error(await world.client.get(path), 401, "invalid_api_key")
    # A name with a colon is no call of Gemini's.
    check_error(await world.client.get("/v1/models/none:free", headers=world.bearer), 404, "model_not_found", "model")
    page = await world.client.get(
        "/v1/models", params={"limit": "x"}, headers=world.bearer | {"anthropic-version": "x"}
    )
    assert (page.status_code, page.json()["type"]) == (400, "error")


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


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/media/jobs", "GET, POST"),
        ("PATCH", "/api/v1/keys", "GET, POST"),
        ("PUT", "/api/v1/keys/key_1", "DELETE"),
        ("POST", "/v1/models/vendor/pic", "GET"),
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/v1/chat/completions", "POST"),
        # What is a path of its own is not taken for an id, nor a verb of Gemini's for a model.
        ("PUT", "/api/v1/keys/import", "POST"),
        ("PUT", "/api/v1/dead-letters/replay", "POST"),
        ("PUT", "/v1beta/models/gemini-3.5-flash:countTokens", "POST"),
        ("PUT", "/v1beta/models/gemini-3.5-flash:streamGenerateContent", "POST"),
    ],
)
async def test_a_wrong_method_is_told_all_right_ones(world, method, path, allowed):
    reply = await world.client.request(method, path, headers=world.operator)
    assert reply.status_code == 405
    assert reply.headers["allow"] == allowed


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


async def test_image_jobs_have_the_network_of_the_caller_and_a_hash_of_what_was_asked(world):
    headers = world.bearer | {"x-forwarded-for": "203.0.113.77"}
    for path, changes in (
        ("/v1/images/generations", {}),
        ("/v1/media/jobs", {"user": ""}),
        ("/v1/media/jobs", {"prompt": "a dog"}),
    ):
        reply = await world.client.post(path, json=IMAGE | changes, headers=headers)
        assert reply.status_code in {200, 202}, reply.text
    first, again, other = world.media.created
    assert {one.client_network for one in world.media.created} == {"203.0.113.0/24"}
    assert first.prompt_hash == again.prompt_hash != 0
    assert other.prompt_hash not in {0, first.prompt_hash}
    # Of pictures too: their ends and their length.
    for data in (
        b"\x89PNG" + b"a" * 5000,
        b"\x89PNG" + b"a" * 5000,
        b"\x89PNG" + b"a" * 5001,
        b"\x89PNG" + b"b" * 5000,
    ):
        form = {"files": {"image": ("a.png", data)}, "data": IMAGE}
        await world.client.post("/v1/images/edits", headers=headers, **form)
    one, same, longer, differs = [one.prompt_hash for one in world.media.created[3:]]
    assert one == same
    assert len({one, longer, differs, first.prompt_hash}) == 4


# As the script says it: admitted in second 77, the rest of requests and of tokens, and the key's budget begins here.
ADMITTED = (1, 77, 1, 4, 60_000, 1, 2757, 60_000, 1)
FULL = (5, 0, 1, 0, 30_000, 1, 2757, 60_000, 0)


async def limited(world):
    """Returns a key with limits, and how it is presented."""
    limits = Limits(requests_per_minute=5, tokens_per_minute=9000, concurrency=1, budget_pico=10**12)
    record, key = await world.create_key(world.project, "limited", limits=limits)
    return record.id, {"authorization": f"Bearer {key.reveal()}"}


async def test_images_say_what_is_left_of_their_limits_also_when_the_job_fails(world):
    key_id, bearer = await limited(world)
    world.media.admission = media.Admission(verdict=ADMITTED, tokens=6243)
    told = {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "9000",
        "x-ratelimit-remaining-tokens": "2757",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    for path, status in (("/v1/images/generations", 200), ("/v1/media/jobs", 202)):
        reply = await world.client.post(path, json=IMAGE, headers=bearer)
        assert reply.status_code == status, reply.text
        assert {name: value for name, value in reply.headers.items() if name.startswith("x-ratelimit")} == told
    asked = world.media.created[0]
    assert (asked.within_limits, asked.money_told, asked.postpaid) == (True, True, False)
    assert [(limit.kind, limit.id, limit.concurrency) for limit in asked.tenant.limits] == [("key", key_id, 1)]
    # Billing is asked what the budget took before.
    assert [(limits.scopes[place - 1].id, began) for limits, place, began in world.begun] == [
        (key_id, world.clock.now_us())
    ] * 2
    world.media.fail = errors.Error(kind=errors.ERROR_KIND_UPSTREAM_UNAVAILABLE)
    reply = await world.client.post("/v1/images/generations", json=IMAGE, headers=bearer)
    check_error(reply, 502, "upstream_unavailable")
    assert told.items() <= dict(reply.headers).items()
    # Without limits nothing is said.
    world.media.fail = world.media.admission = None
    reply = await world.client.post("/v1/images/generations", json=IMAGE, headers=world.bearer)
    assert not [name for name in reply.headers if name.startswith("x-ratelimit")]


REFUSED = {
    "requests": ((1, 1, 5, 30_000), "requests per minute of key {}: limit 5, used 5", {"retry-after": "30"}),
    "tokens": (
        (2, 1, 6243, 1500),
        "tokens per minute of key {}: limit 9000, used 6243, requested 6243",
        {"retry-after": "2", "retry-after-ms": "1500"},
    ),
    "too large": ((2, 1, 0, -1), "Request too large for tokens per minute of key {}", {"x-should-retry": "false"}),
    "concurrency": ((3, 1, 1, 0), "concurrent requests of key {}: limit 1, open 1", {"retry-after": "1"}),
}


@pytest.mark.parametrize(("refusal", "said", "headers"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/media/jobs"])
async def test_images_beyond_a_limit_are_refused_as_chat_is(world, path, refusal, said, headers):
    key_id, bearer = await limited(world)
    world.media.admission = media.Admission(verdict=FULL + refusal, tokens=6243)
    reply = await world.client.post(path, json=IMAGE, headers=bearer)
    check_error(reply, 429, "rate_limit_exceeded")
    assert said.format(key_id) in reply.json()["error"]["message"]
    assert headers.items() <= dict(reply.headers).items()
    assert reply.headers["x-ratelimit-remaining-requests"] == "0"
    assert world.media.created == []


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/media/jobs"])
async def test_images_that_are_not_paid_for_say_what_is_left_of_their_limits_as_chat_does(world, path):
    _, bearer = await limited(world)
    for result, status, code in ((0, 429, "insufficient_quota"), (2, 503, "service_unavailable")):
        world.media.admission = media.Admission(verdict=(result, *FULL[1:]), tokens=6243)
        reply = await world.client.post(path, json=IMAGE, headers=bearer)
        check_error(reply, status, code)
        assert reply.headers["x-ratelimit-limit-requests"] == "5"
        assert reply.headers["x-ratelimit-remaining-tokens"] == "2757"
    # Of a wallet that is missing, billing is asked.
    assert world.lost == ["org_1"]
    assert world.media.created == []


async def test_a_budget_turns_images_to_another_model_or_refuses_them(world):
    def hold(action, **more):
        named = {"budget_id": "bud_1", "budget_name": "b", "organization_id": "org_1", "scope": "organization"}
        world.budgets.replace("1", [controls.Control(action=action, **(named | more))])

    hold("downgrade", model="mine")
    reply = await world.client.post("/v1/images/generations", json=IMAGE, headers=world.bearer)
    assert (reply.status_code, reply.headers["x-tollgate-downgraded"]) == (200, "mine; budget=bud_1")
    reply = await world.client.post("/v1/media/jobs", json=IMAGE, headers=world.bearer)
    assert (reply.json()["model"], reply.headers["x-tollgate-downgraded"]) == ("mine", "mine; budget=bud_1")
    assert [(one.model, one.requested_model) for one in world.media.created] == [("mine", "vendor/pic")] * 2
    # What is for chat, is not there, or cannot do this job changes nothing.
    world.media.only = "vendor/pic"
    for model in ("gpt", "nobody", "mine"):
        hold("downgrade", model=model)
        reply = await world.client.post("/v1/media/jobs", json=IMAGE, headers=world.bearer)
        assert (reply.status_code, reply.json()["model"]) == (202, "vendor/pic")
        assert "x-tollgate-downgraded" not in reply.headers
    assert [one.requested_model for one in world.media.created[2:]] == [""] * 3
    hold("block")
    check_error(await world.client.post("/v1/media/jobs", json=IMAGE, headers=world.bearer), 429, "insufficient_quota")


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
