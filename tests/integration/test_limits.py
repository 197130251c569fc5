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
