"""Limits through the whole product: set by command, held by Redis, told by headers and by the 429."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration

MODEL = "gpt-5-mini"


def ask(product: Product, key: str, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 20, **more}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{product.base_url}/chat/completions", json=body, headers=headers, trust_env=False, timeout=60)


def run(product: Product, *arguments: str) -> dict[str, Any]:
    done = product.cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def limited_key(product: Product, *flags: str) -> dict[str, Any]:
    return run(product, "keys", "create", "limited", *flags)


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


PICTURE = {"model": "gpt-image-2", "prompt": "a red kite", "size": "1024x1024"}


@contextlib.contextmanager
def openai_client(product: Product, key: str) -> Iterator[openai.OpenAI]:
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=key, http_client=http, timeout=60, max_retries=0) as client:
        yield client


def test_images_share_the_limits_of_chat_and_say_so_to_its_client(product: Product) -> None:
    key = limited_key(product, "--requests-per-minute", "2", "--tokens-per-minute", "1000000")
    with openai_client(product, key["key"]) as client:
        made = client.images.with_raw_response.generate(**PICTURE)
        assert len(made.parse().data or []) == 1
        assert (made.headers["x-ratelimit-limit-requests"], made.headers["x-ratelimit-remaining-requests"]) == (
            "2",
            "1",
        )
        counted = 1_000_000 - int(made.headers["x-ratelimit-remaining-tokens"])
        # The most that a picture of this model was seen to take, until its end says what it took.
        assert counted == 16_384 + len(PICTURE["prompt"]) // 4 + 1
        reply = ask(product, key["key"])
        assert (reply.status_code, reply.headers["x-ratelimit-remaining-requests"]) == (200, "0")
        assert 1_000_000 - int(reply.headers["x-ratelimit-remaining-tokens"]) < counted
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(**PICTURE)
    assert refused.value.code == "rate_limit_exceeded"
    assert f"requests per minute of key {key['id']}: limit 2, used 2" in refused.value.message
    wait = int(refused.value.response.headers["retry-after"])
    assert 0 < wait <= 60
    assert f"try again in {wait}s" in refused.value.message
    # Nothing of it reached media-jobs' queue, and the money of the first is booked once.
    product.wait_settled()
    assert len(product.requests(api_key_id=key["id"], model=PICTURE["model"])) == 1


def test_a_job_is_open_until_it_ends_though_nobody_waits_for_it(product: Product) -> None:
    key = limited_key(product, "--concurrency", "1")
    headers = {"authorization": f"Bearer {key['key']}"}
    with httpx.Client(base_url=product.base_url, headers=headers, trust_env=False, timeout=60) as client:
        # The provider keeps the job open until the next ones have come.
        product.plant("hold=0")
        job = client.post("/media/jobs", json=PICTURE)
        assert job.status_code == 202, job.text
        for path, body in (("/media/jobs", PICTURE), ("/images/generations", PICTURE)):
            refused = client.post(path, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded"), refused.text
            assert f"concurrent requests of key {key['id']}: limit 1, open 1" in refused.text
            assert refused.headers["retry-after"] == "1"
        assert ask(product, key["key"]).status_code == 429

        def ended() -> bool:
            # The provider may not have been asked yet.
            product.release()
            return bool(client.get(f"/media/jobs/{job.json()['id']}").json()["state"] == "succeeded")

        product.wait(ended, "the job to end")
        product.wait(lambda: ask(product, key["key"]).status_code == 200, "the place")


def test_a_budget_covers_images_and_gives_back_what_they_did_not_cost(product: Product) -> None:
    key = limited_key(product, "--budget", "1.5", "--budget-window", "day")
    with openai_client(product, key["key"]) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(**{**PICTURE, "n": 10})
        assert refused.value.code == "insufficient_quota"
        assert f"budget of key {key['id']} has too little left" in refused.value.message
        assert refused.value.response.headers["x-should-retry"] == "false"
        # Each of these holds a good part of it: all of them fit since the rest comes back.
        for _ in range(4):
            client.images.generate(**PICTURE)
    product.wait_settled()


def test_who_pays_later_needs_no_money_for_images(product: Product) -> None:
    organization = run(product, "organizations", "create", "pays-later")["id"]
    run(product, "projects", "create", "pictures", "--organization", organization)
    key = run(product, "keys", "create", "later", "--organization", organization, "--project", "pictures")["key"]
    with openai_client(product, key) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            client.images.generate(**PICTURE)
        assert refused.value.status_code in {429, 503}
        run(product, "limits", "set", organization, "--payment", "postpaid")

        def drawn() -> bool:
            with contextlib.suppress(openai.APIStatusError):
                return bool(client.images.generate(**PICTURE).data)
            return False

        product.wait(drawn, "a picture")
    product.wait(lambda: int(product.balance(organization)["ledger_pico"]) < 0, "its charge in the ledger")
