"""Lists of single requests and evidence, as operators, keys and links see them."""

from urllib.parse import urlsplit

import pytest
from services.edge.tests.fakes.http import check_error, http_world

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.router.v1 import router_pb2 as router
from tollgate.routing.v1 import explanation_pb2 as routing

START_US = 1_764_000_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
BOUGHT = {"channel", "provider", "upstream_model", "upstream_status", "cost", "cost_pico", "routing"}


@pytest.fixture
async def world():
    async with http_world() as made:
        yield made


def row(world, **fields):
    about = {
        "request_id": "req_a",
        "event_id": "e1",
        "organization_id": "org_1",
        "project_id": "proj_1",
        "api_key_id": world.key_id,
        "trace_id": TRACE,
        "started_at_us": START_US,
        "kind": "usage",
        "status": "confirmed",
        "outcome": "ok",
        "final": True,
        "channel": "secret-channel",
        "provider": "secret-provider",
        "upstream_model": "secret-model",
        "model": "gpt",
        "charge_pico": 30,
        "cost_pico": 20,
        "currency": "USD",
        "price_digest": "sha256:b",
        "price_group": "partner",
        "member": "ada@example.com",
        "tags": ["batch", "search"],
    }
    return billing.RequestRow(**(about | fields))


def evidence(world, **more):
    """A request that failed at one channel and was answered by another."""
    explained = routing.Explanation(
        model="gpt", targets=[routing.ConsideredTarget(channel="secret-channel", verdict=routing.VERDICT_FAILED)]
    )
    lines = [billing.RatedLine(unit="input", quantity=10, price="1", per=1_000_000, amount_pico=30)]
    found = {
        "rows": [
            row(world, event_id="e0", final=False, outcome="upstream_error", charge_pico=0),
            row(world, routing=explained, attempt=2),
        ],
        "ratings": [
            billing.Rerating(
                event_id="e1", price_book="public", price_digest="sha256:b", price_group="partner", currency="USD",
                lines=lines, charged_pico=30, rated_pico=30,
            )
        ],
        "hold": billing.HoldState(state="none"),
        "ledger": [
            billing.LedgerLine(batch="b/1-2", debit="wallet", credit="revenue", amount_pico=90, events=3),
            billing.LedgerLine(batch="b/1-2", debit="provider_cost", credit="payable", amount_pico=60, events=3),
        ],
        "mismatches": [billing.RatingMismatch(reason="charge", found_pico=30, expected_pico=31)],
        "charge_pico": 30,
        "currency": "USD",
    }  # fmt: skip
    return billing.GetEvidenceResponse(**(found | more))


async def get(world, path, headers=None, **query):
    return await world.client.get(path, headers=headers or {}, params=query or None)


async def test_an_operator_sees_the_whole_way_and_how_it_was_paid_for(world):
    world.billing.evidences["req_a"] = evidence(world)
    found = (await get(world, "/api/v1/requests/req_a", world.operator)).json()
    assert found["key"]["id"] == world.key_id
    assert (found["key"]["name"], found["organization"]["name"]) == ("first", "demo")
    assert (found["key"]["member"], found["key"]["tags"]) == ("ada@example.com", ["batch", "search"])
    assert (found["outcome"], found["price_group"], found["trace_id"]) == ("ok", "partner", TRACE)
    assert [one["outcome"] for one in found["attempts"]] == ["upstream_error", "ok"]
    assert found["attempts"][1]["channel"] == "secret-channel"
    assert found["routing"]["targets"][0]["verdict"] == "failed"
    (price,) = found["prices"]
    assert price["lines"] == [
        {"unit": "input", "quantity": 10, "price": "1", "per": 1_000_000, "amount": "0.00000000003", "amount_pico": 30}
    ]
    assert price["agrees"] is True
    assert found["hold"]["state"] == "none"
    assert [one["debit"] for one in found["ledger"]] == ["wallet", "provider_cost"]
    assert found["mismatches"][0]["reason"] == "charge"
    assert {one["kind"] for one in found["limits_now"]} == {"key", "project", "organization"}
    assert found["refused"] is None


async def test_a_charge_that_cannot_be_computed_again_says_so(world):
    other = billing.Rerating(charged_pico=30, rated_pico=0, problem="unknown_price_book")
    differs = billing.Rerating(charged_pico=30, rated_pico=31)
    world.billing.evidences["req_a"] = evidence(world, ratings=[other, differs])
    first, second = (await get(world, "/api/v1/requests/req_a", world.operator)).json()["prices"]
    assert (first["agrees"], first["computed_again_pico"], first["problem"]) == (False, None, "unknown_price_book")
    assert (second["agrees"], second["computed_again_pico"], second["problem"]) == (False, 31, None)


async def test_an_organization_sees_its_own_without_how_it_was_bought(world):
    world.billing.evidences["req_a"] = evidence(world)
    reply = await get(world, "/api/v1/requests/req_a", world.bearer)
    assert "secret-" not in reply.text
    found = reply.json()
    assert not BOUGHT & {*found, *found["attempts"][0]}
    assert [one["debit"] for one in found["ledger"]] == ["wallet"]
    assert "mismatches" not in found
    assert found["key"]["name"] == "first"
    assert world.billing.asked[-1].organization_id == "org_1"
    other = {"authorization": f"Bearer {world.other_key}"}
    check_error(await get(world, "/api/v1/requests/req_a", other), 404, "not_found")
    check_error(await world.client.post("/api/v1/requests/req_a/link", headers=other), 404, "not_found")


async def test_a_refused_request_says_what_it_was_told(world):
    refused = row(
        world, kind="refused", status="refused", outcome="refused", http_status=429, message="Too low.",
        error_kind="insufficient_quota", route="/v1/chat/completions", left_out=3,
    )  # fmt: skip
    world.billing.evidences["req_a"] = billing.GetEvidenceResponse(rows=[refused])
    found = (await get(world, "/api/v1/requests/req_a", world.bearer)).json()
    assert found["refused"] == {
        "http_status": 429, "message": "Too low.", "route": "/v1/chat/completions", "left_out": 3,
        "error_kind": "insufficient_quota",
    }  # fmt: skip
    assert (found["attempts"], found["hold"], found["prices"]) == ([], None, [])
    unknown = row(world, kind="refused", api_key_id="", organization_id="", project_id="")
    world.billing.evidences["req_b"] = billing.GetEvidenceResponse(rows=[unknown])
    found = (await get(world, "/api/v1/requests/req_b", world.operator)).json()
    assert found["key"] is None
    check_error(await get(world, "/api/v1/requests/req_b", world.bearer), 404, "not_found")


async def test_unknown_ids_and_no_key(world):
    for path in ("req_none", "x" * 300, "%00", "..%2f..%2fkeys"):
        check_error(await get(world, f"/api/v1/requests/{path}", world.operator), 404, "not_found")
    check_error(await get(world, "/api/v1/requests/req_a"), 401, "invalid_api_key")


async def test_a_link_shows_less_to_whoever_has_it_until_it_expires(world):
    world.billing.evidences["req_a"] = evidence(world)
    path = "/api/v1/requests/req_a/link"
    made = (await world.client.post(path, headers=world.bearer, json={"expires_in_seconds": 3600})).json()
    link = urlsplit(made["url"])
    shared = f"{link.path}?{link.query}"
    reply = await get(world, shared)
    assert reply.headers["cache-control"] == "no-store"
    assert not any(word in reply.text for word in ("secret-", "ada@example.com", "search"))
    found = reply.json()
    assert found["key"] == {"id": world.key_id, "last_four": found["key"]["last_four"]}
    assert "name" not in found["organization"]
    assert "limits_now" not in found
    assert found["charge_pico"] == 30
    assert world.billing.asked[-1].organization_id == "org_1"
    for wrong in (
        shared.replace("req_a", "req_b"),
        shared[:-4],
        shared.replace("exp=1", "exp=2"),
        link.path,
        f"{link.path}?exp=9&sig=x",
    ):
        check_error(await get(world, wrong), 403, "bad_link")
    world.clock.advance(3601)
    check_error(await get(world, shared), 403, "bad_link")
    for seconds in (59, 30 * 24 * 3600 + 1, "1h", True):
        body = {"expires_in_seconds": seconds}
        refused = await world.client.post(path, headers=world.operator, json=body)
        check_error(refused, 400, "invalid_request", "expires_in_seconds")


async def test_a_link_to_an_asset_is_none_to_evidence(world):
    world.billing.evidences["req_a"] = evidence(world)
    from tollgate_edge.api.links import LinkSigner, Owner

    other = LinkSigner(b"p" * 32, world.clock, 60).query("req_a", Owner("org_1", ""))
    check_error(await get(world, f"/api/v1/evidence/req_a?{other}"), 403, "bad_link")


async def test_filters_go_to_billing_and_wrong_ones_are_named(world):
    world.billing.requests_reply = billing.ListRequestsResponse(rows=[row(world, kind="refused", http_status=429)])
    asked = {"outcome": "refused", "status": "refused", "error": "e", "trace_id": TRACE, "kind": "refused"}
    items = (await get(world, "/api/v1/requests", world.bearer, http_status="429", **asked)).json()["items"]
    assert items[0]["http_status"] == 429
    sent = world.billing.asked[-1]
    assert {name: getattr(sent, name) for name in asked} == asked
    assert (sent.http_status, sent.filter.organization_id) == (429, "org_1")
    for name, value, status in (
        ("outcome", "fine", 400),
        ("status", "done", 400),
        ("kind", "all", 400),
        ("trace_id", "zz", 400),
        ("http_status", "x", 422),
        ("http_status", "600", 422),
        ("from", "yesterday", 400),
    ):
        reply = await get(world, "/api/v1/requests", world.bearer, **{name: value})
        check_error(reply, status, "invalid_request", name)


async def test_errors_go_to_the_request_log_with_their_route_and_no_secret(world):
    await get(world, "/api/v1/keys/not-a-key/nothing", world.operator)
    await get(world, "/api/v1/limits/org_9", world.operator)
    await get(world, "/api/v1/keys", world.bearer)
    await get(world, "/api/v1/keys")
    told = [(caller and caller.api_key_id, route, error.status) for _, caller, route, error in world.refused]
    assert told == [
        (None, "", 404),
        ("pat_1", "/api/v1/limits/{owner_id}", 404),
        (world.key_id, "/api/v1/keys", 403),
        (None, "/api/v1/keys", 401),
    ]
    before = len(world.refused)
    assert (await get(world, "/api/v1/whoami", world.bearer)).status_code == 200
    assert len(world.refused) == before


async def test_the_books_are_compared_for_operators(world):
    path = "/api/v1/reconciliation"
    world.billing.books_reply = billing.CompareBooksResponse(batches=3, rows=9, lag_events=1)
    found = (await get(world, path, world.operator)).json()
    assert (found["agree"], found["batches"], found["differences"], found["lag_events"]) == (True, 3, [], 1)
    asked = world.billing.asked[-1]
    assert asked.to_us - asked.from_us == 24 * 3600 * 10**6
    world.billing.books_reply.differences.append(
        billing.BookDifference(kind="charge", request_ids=["req_a"], batch="b", found_pico=2, expected_pico=1)
    )
    world.spool = (4, "Kafka is away")
    stuck = router.DescribeRouterResponse(spool_records=2, spool_problem="no brokers")
    world.routers.states = [("unix:r", stuck), ("unix:s", None)]
    found = (await get(world, path, world.operator, **{"from": "2025-11-01", "to": "2025-11-02"})).json()
    assert found["agree"] is False
    first, second, third = found["differences"]
    assert (first["kind"], first["request_ids"], first["found_pico"], first["expected"]) == (
        *("charge", ["req_a"], 2, "0.000000000001"),
    )
    assert (second["kind"], "Kafka is away" in second["detail"]) == ("spool", True)
    assert third["detail"] == "2 events wait in the spool of router unix:r: no brokers"
    assert [(one["service"], one["records"], one["reachable"]) for one in found["spools"]] == [
        ("edge", 4, True),
        ("router", 2, True),
        ("router", None, False),
    ]
    check_error(await get(world, path, world.bearer), 403, "forbidden")
    for wrong in ({"from": "2025-11-02", "to": "2025-11-01"}, {"from": "2020-01-01"}, {"from": "then"}):
        check_error(await get(world, path, world.operator, **wrong), 400, "invalid_request", "from")
    world.billing.away = 1
    check_error(await get(world, path, world.operator), 503, "service_unavailable")


async def test_a_providers_statement_is_compared_for_operators(world):
    path = "/api/v1/reconciliation/statements?provider=openai"
    world.billing.costs_reply.costs.add(day="2025-11-01", model="o3", currency="USD", theirs_pico=3, ours_pico=5)
    reply = await world.client.post(path, headers=world.operator, content=b"a,b")
    (one,) = reply.json()["items"]
    assert (one["day"], one["model"], one["theirs_pico"], one["difference_pico"]) == ("2025-11-01", "o3", 3, -2)
    assert world.billing.asked[-1] == billing.CompareProviderCostsRequest(provider="openai", content=b"a,b")
    check_error(await world.client.post(path, headers=world.bearer, content=b"a"), 403, "forbidden")
    check_error(await world.client.post(path, headers=world.operator), 400, "invalid_request")
    other = path.replace("openai", "azure")
    check_error(
        await world.client.post(other, headers=world.operator, content=b"a"), 400, "invalid_request", "provider"
    )
    large = await world.client.post(path, headers=world.operator, content=b"a" * 20_000)
    check_error(large, 413, "payload_too_large")
