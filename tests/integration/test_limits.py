"""Limits through the whole product: set by command, held by Redis, told by headers and by the 429."""

import json
from typing import Any

import httpx
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration

MODEL = "gpt-5-mini"


def ask(product: Product, key: str, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 20, **more}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{product.base_url}/chat/completions", json=body, headers=headers, trust_env=False, timeout=60)


def limited_key(product: Product, *flags: str) -> dict[str, Any]:
    made = product.cli("keys", "create", "limited", *flags, "--json")
    assert made.returncode == 0, made.stderr
    return dict(json.loads(made.stdout))


def test_a_key_is_refused_beyond_its_requests_per_minute_and_says_when_to_come_back(product: Product) -> None:
    key = limited_key(product, "--requests-per-minute", "2")
    assert key["limits"]["requests_per_minute"] == 2
    first, second, refused = (ask(product, key["key"]) for _ in range(3))
    assert (first.status_code, second.status_code, refused.status_code) == (200, 200, 429), refused.text
    rests = [reply.headers["x-ratelimit-remaining-requests"] for reply in (first, second, refused)]
    assert rests == ["1", "0", "0"]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert "x-ratelimit-limit-tokens" not in first.headers
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("rate_limit_exceeded", None)
    assert f"requests per minute of key {key['id']}: limit 2, used 2" in error["message"]
    wait = int(refused.headers["retry-after"])
    assert 0 < wait <= 60
    assert -(-int(refused.headers["retry-after-ms"]) // 1000) == wait
    assert f"try again in {wait}s" in error["message"]


def test_limits_of_project_and_organization_hold_within_a_second(product: Product) -> None:
    key = limited_key(product)
    assert "x-ratelimit-limit-requests" not in ask(product, key["key"]).headers
    for owner, limit in ((key["project_id"], 1000), (key["organization_id"], 900)):
        done = product.cli("limits", "set", owner, "--requests-per-minute", str(limit), "--json")
        assert json.loads(done.stdout)["limits"]["requests_per_minute"] == limit
    try:
        product.wait(
            lambda: ask(product, key["key"]).headers.get("x-ratelimit-limit-requests") == "900", "the limits to hold"
        )
        listed = product.cli("limits", "list").stdout
        assert key["project_id"] in listed
        assert key["organization_id"] in listed
    finally:
        for owner in (key["project_id"], key["organization_id"]):
            assert product.cli("limits", "set", owner, "--requests-per-minute", "0").returncode == 0
    product.wait(lambda: "x-ratelimit-limit-requests" not in ask(product, key["key"]).headers, "the limits to go")


def test_tokens_and_open_requests_of_a_key(product: Product) -> None:
    key = limited_key(product, "--tokens-per-minute", "100000", "--concurrency", "3")
    first = ask(product, key["key"], max_completion_tokens=90_000)
    assert first.status_code == 200
    assert 0 < int(first.headers["x-ratelimit-remaining-tokens"]) < 10_000
    # There is room for a second one of that size only because the first one used less.
    product.wait(
        lambda: ask(product, key["key"], max_completion_tokens=90_000).status_code == 200, "the tokens to be corrected"
    )
    shown = json.loads(product.cli("limits", "show", key["id"], "--json").stdout)
    assert shown["limits"] == {
        "requests_per_minute": None,
        "tokens_per_minute": 100_000,
        "concurrency": 3,
        "budget": None,
    }
    assert product.cli("limits", "show", "key_nobody").returncode == 1
    assert product.cli("limits", "set", key["id"]).returncode == 1


def test_a_budget_is_spent_to_its_end_and_says_when_it_begins_anew(product: Product) -> None:
    key = limited_key(product, "--budget", "0.0002", "--budget-window", "day")
    assert key["limits"]["budget"] == {"amount": "0.0002", "window": "day"}
    replies = [ask(product, key["key"])]
    while replies[-1].status_code == 200 and len(replies) < 100:
        replies.append(ask(product, key["key"]))
    refused = replies[-1]
    assert len(replies) > 1
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert f"budget of key {key['id']} has too little left for this request: 0.0002 a day" in refused.text
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    product.cli("limits", "set", key["id"], "--budget", "1")
    product.wait(lambda: ask(product, key["key"]).status_code == 200, "the larger budget")
    product.wait_settled()
    assert product.cli("limits", "set", key["id"], "--budget-window", "day").returncode == 1


def test_who_pays_later_needs_no_money(product: Product) -> None:
    key = limited_key(product)
    organization = key["organization_id"]
    before = product.wait_settled()
    done = product.cli("limits", "set", organization, "--payment", "postpaid", "--json")
    assert json.loads(done.stdout)["payment"] == "postpaid"
    try:
        product.wait(lambda: ask(product, key["key"]).status_code == 200, "an answer")
        product.wait(lambda: product.usage(api_key_id=key["id"])["requests"] >= 1, "the request in the usage")
    finally:
        assert product.cli("limits", "set", organization, "--payment", "prepaid").returncode == 0
    # It is charged all the same.
    assert int(product.wait_settled()["ledger_pico"]) < int(before["ledger_pico"])
