"""Routes, failover and health through the whole product, with two providers whose faults the test plants."""

import json
import time

import httpx
import pytest
from tests.integration.product import Product
from tests.integration.simulators import Simulator
from tests.servers.process import wait_until

pytestmark = pytest.mark.integration

LEVELS, STREAMED, SPREAD = "gpt-5-mini", "gpt-5.1", "gpt-4.1-mini"
LIMITED, LONG, CONTENT, OTHER = "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5.6"
BOUND, PROBED = "gpt-5.5", "gpt-5.4"
ALONE, BENCHED, BROKEN = "o3", "gpt-6-sol", "gpt-4o"
SHARED, CAPPED = "gpt-5-nano", "gpt-5.4-mini"
SPOKEN = "gpt-4o-mini-tts"
SEEN = "gpt-5.2"
HELD_SECONDS = 2
SETTINGS = {
    "TOLLGATE_ROUTER_BENCH_SECONDS": str(HELD_SECONDS),
    "TOLLGATE_ROUTER_BREAKER_SECONDS": str(HELD_SECONDS),
    # So many faults are planted that budgets would end some of the retries.
    "TOLLGATE_ROUTER_RETRY_FLOOR": "1000",
}


def levels(model, *names, **more):
    return {"model": model, "levels": [{"targets": [{"channel": name}]} for name in names], **more}


@pytest.fixture(scope="module")
def providers(tmp_path_factory):
    """Five of them by name: a and b are the usual two, c is benched, d breaks, e is probed."""
    folder = tmp_path_factory.mktemp("providers")
    found = {name: Simulator(folder, name) for name in "abcde"}
    try:
        yield {name: one.start() for name, one in found.items()}
    finally:
        for one in found.values():
            one.stop()


@pytest.fixture(scope="module")
def product(providers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("failover")
    usual = [LEVELS, STREAMED, SPREAD, LIMITED, LONG, CONTENT, OTHER, BOUND, SPOKEN]
    channels = [
        providers["a"].channel(*usual, ALONE, {"name": SEEN, "abilities": ["tools"]}),
        providers["b"].channel(*usual, BENCHED, BROKEN, SHARED, SEEN),
        providers["c"].channel(BENCHED),
        providers["d"].channel(BROKEN),
        providers["e"].channel(PROBED, probe={"interval_seconds": 5, "model": PROBED}),
        {**providers["d"].channel(SHARED, CAPPED), "name": "small", "limits": {"requests_per_minute": 1}},
    ]
    routes = [
        levels(LEVELS, "a", "b"),
        levels(STREAMED, "a", "b"),
        levels(LIMITED, "a", fallbacks={"rate_limit": [OTHER]}),
        levels(LONG, "a", fallbacks={"context_length": [OTHER], "error": [LEVELS]}),
        levels(CONTENT, "a", "b", fallbacks={"content_policy": [OTHER]}),
        levels(BENCHED, "c", "b"),
        levels(BROKEN, "d", "b"),
        levels(SHARED, "small", "b"),
        levels(SPOKEN, "a", "b"),
        levels(SEEN, "a", "b"),
        {
            "model": BOUND,
            "levels": [{"targets": [{"channel": "a"}, {"channel": "b"}]}],
            "affinity": "header:X-Session",
        },
    ]
    config = folder / "tollgate.yaml"
    config.write_text(json.dumps({"channels": channels, "routes": routes}))
    running = Product(folder, ["--config", str(config)], SETTINGS)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def fresh(providers):
    for one in providers.values():
        one.clear()


def chat(product, model, headers=(), **more):
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    headers = {"authorization": f"Bearer {product.api_key}", **dict(headers)}
    return httpx.post(f"{product.base_url}/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)


def attempts(product, reply):
    """Returns (channel, model, outcome, final) of each attempt of a request, in their order."""
    request_id = reply.headers["x-request-id"]
    product.wait_row(request_id)
    product.wait(lambda: any(row["final"] for row in product.requests(request_id=request_id)), "the final row")
    rows = sorted(product.requests(request_id=request_id), key=lambda row: row["attempt"])
    return [(row["channel"], row["model"], row["outcome"], row["final"]) for row in rows]


@pytest.mark.parametrize("fault", ["status=503", "status=429", "drop", "html", "malformed", "slow-headers=0.1,drop"])
def test_a_failure_before_the_first_byte_goes_to_the_next_level(product, providers, fault):
    providers["a"].plant(fault)
    reply = chat(product, LEVELS)
    assert reply.status_code == 200, reply.text
    assert attempts(product, reply) == [
        ("a", LEVELS, "upstream_error", False),
        ("b", LEVELS, "ok", True),
    ]
    # The second attempt is what is paid for, once.
    (final,) = [row for row in product.requests(request_id=reply.headers["x-request-id"]) if int(row["charge_pico"])]
    assert final["channel"] == "b"


@pytest.mark.parametrize("fault", ["status=500", "drop", "cut=0", "mid-error=0"])
def test_a_stream_that_fails_before_its_first_chunk_is_whole(product, providers, fault):
    providers["a"].plant(fault)
    reply = chat(product, STREAMED, stream=True)
    assert reply.status_code == 200
    assert reply.text.endswith("data: [DONE]\n\n")
    assert '"error"' not in reply.text
    assert [where for where, *_ in attempts(product, reply)] == ["a", "b"]


def test_a_stream_that_has_begun_is_not_begun_again(product, providers):
    providers["a"].plant("cut=2")
    reply = chat(product, STREAMED, stream=True)
    assert '"upstream_cut"' in reply.text
    assert attempts(product, reply) == [("a", STREAMED, "upstream_cut", True)]
    assert providers["b"].seen() == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("status=429", None),
        ("status=503", (503, "server_is_overloaded")),
        ("drop", (502, "provider_outcome_unknown")),
    ],
)
def test_speech_is_asked_of_nobody_else_once_it_may_have_been_made(product, providers, fault, told):
    providers["a"].plant(fault)
    reply = httpx.post(
        f"{product.base_url}/audio/speech",
        json={"model": SPOKEN, "input": "hello", "voice": "alloy"},
        headers={"authorization": f"Bearer {product.api_key}"},
        timeout=60,
        trust_env=False,
    )
    if told is None:
        # It was refused, so nobody is paid twice.
        assert reply.status_code == 200, reply.text
        assert attempts(product, reply) == [("a", SPOKEN, "upstream_error", False), ("b", SPOKEN, "ok", True)]
    else:
        assert (reply.status_code, reply.json()["error"]["code"]) == told
        assert attempts(product, reply) == [("a", SPOKEN, "upstream_error", True)]
        assert providers["b"].seen() == []
        assert [int(row["charge_pico"]) for row in product.requests(request_id=reply.headers["x-request-id"])] == [0]


FALLBACKS = {
    "a rate limit": (LIMITED, "status=429", OTHER, "rate_limit"),
    "the context": (LONG, "status=400,code=context_length_exceeded", OTHER, "context_length"),
    "an error": (LONG, "status=503", LEVELS, "error"),
    "the content": (CONTENT, "status=400,code=content_filter", OTHER, "content_policy"),
}


@pytest.mark.parametrize(("model", "fault", "answered", "reason"), FALLBACKS.values(), ids=FALLBACKS.keys())
def test_another_model_answers_by_reason(product, providers, model, fault, answered, reason):
    providers["a"].plant(fault)
    reply = chat(product, model)
    assert reply.status_code == 200, reply.text
    found = attempts(product, reply)
    assert found[0] == ("a", model, "upstream_error", False)
    assert found[1][1:] == (answered, "ok", True)
    # The request names what answered; what was asked for is not told as a charge of that model.
    assert reply.json()["model"] == answered
    rows = product.requests(request_id=reply.headers["x-request-id"])
    assert {row["model"] for row in rows if int(row["charge_pico"])} == {answered}
    final = next(row for row in rows if row["final"])
    assert (final["requested_model"], final["routing"]["fallback_model"]) == (model, answered)
    assert final["fallback_reason"] == final["routing"]["fallback_reason"] == reason
    verdicts = {(one["channel"], one["model"]): one["verdict"] for one in final["routing"]["targets"]}
    assert verdicts["a", model] == "failed"
    assert list(verdicts.values()).count("taken") == 1


def test_what_the_caller_did_wrong_is_told_and_tried_nowhere_else(product, providers):
    providers["a"].plant("status=400")
    reply = chat(product, CONTENT)
    assert reply.status_code == 400
    assert providers["b"].seen() == []


def probes_since(began):
    """Returns how many probes may have gone out since then: after two seconds, and after twice as long each time.

    None on an idle machine; a busy one may take so long for a few requests.
    """
    passed = time.monotonic() - began
    return sum(passed >= HELD_SECONDS * (2**number - 1) for number in range(1, 10))


def test_retry_after_is_told_and_kept(product, providers):
    providers["a"].plant("status=429,retry_after=10")
    first = chat(product, ALONE)
    assert (first.status_code, first.headers["retry-after"]) == (429, "10")
    assert providers["a"].seen() == ["refused"]
    second = chat(product, ALONE)
    assert second.status_code == 429
    assert 1 <= int(second.headers["retry-after"]) <= 10
    # Nobody asked the provider before its time.
    assert providers["a"].seen() == []
    assert attempts(product, second)[-1][2:] == ("refused", True)
    wait_until(lambda: chat(product, ALONE).status_code == 200, "the provider's limit to end")


def test_a_refused_credential_rests_and_a_probe_puts_it_back(product, providers):
    providers["c"].plant("status=401", 1000)
    began = time.monotonic()
    for _ in range(4):
        assert chat(product, BENCHED).status_code == 200
    refused = providers["c"].seen()
    assert set(refused) == {"refused"}
    assert len(refused) <= 1 + probes_since(began)
    assert providers["b"].seen() == ["completed"] * 4
    # A probe is refused, too, and the next one is not.
    providers["c"].clear()
    providers["c"].plant("status=401")

    def probed_and_back():
        assert chat(product, BENCHED).status_code == 200
        return "completed" in providers["c"].seen()

    wait_until(probed_and_back, "the credential to be accepted again")


def test_a_breaker_opens_and_a_probe_closes_it(product, providers):
    providers["d"].plant("status=500", 1000)
    for _ in range(10):
        began = time.monotonic()
        assert chat(product, BROKEN).status_code == 200
    assert providers["d"].seen() == ["refused"] * 10
    for _ in range(5):
        assert chat(product, BROKEN).status_code == 200
    # Ten failures in a row, and no request more for as long as the breaker is open: only a probe when that is over.
    refused = providers["d"].seen()
    assert len(refused) <= probes_since(began)
    assert set(refused) <= {"refused"}
    providers["d"].clear()

    def closed():
        assert chat(product, BROKEN).status_code == 200
        return "completed" in providers["d"].seen()

    wait_until(closed, "the breaker to close")


def test_requests_are_spread(product, providers):
    for _ in range(30):
        assert chat(product, SPREAD).status_code == 200
    assert len(providers["a"].seen()) > 3
    assert len(providers["b"].seen()) > 3


def test_a_session_stays_where_it_is(product, providers):
    places = {}
    for number in range(8):
        for _ in range(3):
            assert chat(product, BOUND, {"x-session": f"s{number}"}).status_code == 200
            seen = {name: len(providers[name].seen()) for name in "ab"}
            places.setdefault(number, set()).add(max(seen, key=seen.get))
    assert all(len(found) == 1 for found in places.values())
    assert set.union(*places.values()) == {"a", "b"}


def explained(product, *arguments):
    found = product.cli("route", "explain", *arguments, "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    (router,) = json.loads(found.stdout)["routers"]
    return {(one["level"], one["channel"]): one["verdict"] for one in router["explanation"]["targets"]}, router


def test_a_route_is_explained_by_the_command(product, providers):
    key = product.create_key("explained")
    verdicts, router = explained(product, LEVELS, "--key", key["id"])
    assert verdicts == {(1, "a"): "taken", (2, "b"): "possible"}
    assert router["explanation"]["route_group"] == "default"
    refused = product.cli("route", "explain", "no-such-model")
    assert (refused.returncode, "No channel serves" in refused.stderr) == (1, True)
    assert providers["a"].seen() == []


@pytest.mark.parametrize("said", [["--dialect", "openai-responses"], []], ids=["said", "told by the body"])
def test_a_request_of_the_responses_api_is_explained_as_it_goes(product, providers, tmp_path, said):
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    request = {"input": [{"role": "user", "content": [{"type": "input_text", "text": "what is it?"}, image]}]}
    body = tmp_path / "request.json"
    body.write_text(json.dumps(request))
    verdicts, router = explained(product, SEEN, "--body", str(body), *said)
    assert verdicts == {(1, "a"): "out", (2, "b"): "taken"}
    assert router["explanation"]["targets"][0]["reason"] == "image_input"
    reply = httpx.post(
        f"{product.base_url}/responses",
        json=request | {"model": SEEN, "store": False},
        headers={"authorization": f"Bearer {product.api_key}"},
        timeout=60,
        trust_env=False,
    )
    assert reply.status_code == 200, reply.text
    assert (providers["a"].seen(), providers["b"].seen()) == ([], ["completed"])
    refused = product.cli("route", "explain", SEEN, "--dialect", "openai")
    assert refused.returncode == 1
    assert "'dialect' must be one of: openai-chat, openai-responses, anthropic, gemini." in refused.stderr


def test_a_channel_gets_no_more_than_its_account_allows(product, providers):
    reply = chat(product, CAPPED)
    assert reply.status_code == 200, reply.text
    verdicts, router = explained(product, SHARED)
    assert verdicts == {(1, "small"): "out", (2, "b"): "taken"}
    assert router["explanation"]["targets"][0]["detail"] == "1 requests per minute"
    assert attempts(product, chat(product, SHARED)) == [("b", SHARED, "ok", True)]
    refused = chat(product, CAPPED)
    assert refused.status_code == 429, refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert (providers["d"].seen(), providers["b"].seen()) == (["completed"], ["completed"])


def test_an_operator_drains_and_enables_a_channel(product, providers):
    try:
        assert product.cli("channels", "drain", "a", "--reason", "moving house").returncode == 0
        verdicts, router = explained(product, LEVELS)
        assert verdicts == {(1, "a"): "out", (2, "b"): "taken"}
        assert router["explanation"]["targets"][0]["detail"] == "moving house"
        assert chat(product, LEVELS).status_code == 200
        assert (providers["a"].seen(), providers["b"].seen()) == ([], ["completed"])
        # Nothing else serves this one.
        refused = chat(product, ALONE)
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_unavailable")
        (shown,) = [one for one in product.get("router")["routers"][0]["channels"] if one["channel"] == "a"]
        assert (shown["mode"], shown["mode_reason"], shown["usable"]) == (
            "CHANNEL_MODE_DRAINING",
            "moving house",
            False,
        )
        assert "moving house" in product.cli("channels", "list").stdout
    finally:
        assert product.cli("channels", "enable", "a").returncode == 0
    assert chat(product, ALONE).status_code == 200
    assert product.cli("channels", "drain", "nobody").returncode == 1


@pytest.mark.parametrize("word", ["drain", "disable"])
def test_what_is_open_when_an_operator_holds_a_channel_back_goes_on(product, providers, word):
    providers["a"].plant("chunks=20,hold=5")
    body = {"model": LEVELS, "messages": [{"role": "user", "content": "hello"}], "stream": True}
    headers = {"authorization": f"Bearer {product.api_key}"}
    address = f"{product.base_url}/chat/completions"
    try:
        with (
            httpx.Client(headers=headers, timeout=60, trust_env=False) as client,
            client.stream("POST", address, json=body) as open_one,
        ):
            lines = open_one.iter_lines()
            first = next(lines)
            assert product.cli("channels", word, "a", "--reason", "moving house").returncode == 0
            assert chat(product, LEVELS).status_code == 200
            assert (providers["a"].seen(), providers["b"].seen()) == ([], ["completed"])
            # The command is over first, however busy the machine.
            providers["a"].release()
            text = "\n".join([first, *lines])
        assert '"error"' not in text
        assert text.rstrip().endswith("data: [DONE]")
        wait_until(lambda: providers["a"].seen() == ["completed"], "the stream to be whole")
        refused = chat(product, ALONE)
        assert (refused.status_code, "retry-after" in refused.headers) == (502, False)
    finally:
        assert product.cli("channels", "enable", "a").returncode == 0
    assert chat(product, ALONE).status_code == 200


def test_billing_computes_the_same_charges_for_what_fell_back(product):
    product.wait_settled()
    assert product.get("billing/status")["mismatches"] == 0


def test_a_channel_is_probed_and_nobody_pays_for_it(product, providers):
    # Answers pile up until they are asked for, those of probes before this test among them.
    wait_until(lambda: "completed" in providers["e"].seen(), "a probe")
    providers["e"].plant("status=401")
    wait_until(lambda: "refused" in providers["e"].seen(), "a probe that is refused")

    def reasons():
        (channel,) = [one for one in product.get("router")["routers"][0]["channels"] if one["channel"] == "e"]
        return [(one["subject"], one["obstacle"], one["detail"]) for one in channel["hindrances"]]

    wait_until(lambda: reasons() or "completed" in providers["e"].seen(), "the bench or its end")
    wait_until(lambda: not reasons(), "a probe to put the credential back")
    assert chat(product, PROBED).status_code == 200
    product.wait_settled()
    assert len([row for row in product.requests() if row["channel"] == "e"]) == 1
