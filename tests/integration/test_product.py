"""A first request through everything, and what it leaves behind."""

import httpx
import pytest
from tests.integration.audit import wait_at_rest
from tests.integration.product import Product

pytestmark = pytest.mark.integration


def test_a_request_is_answered_metered_and_billed(product: Product) -> None:
    wait_at_rest(product)
    before, accepted = product.balance(), product.simulator_summary()["requests"]
    booked = product.usage()["requests"]
    reply = httpx.post(
        f"{product.base_url}/chat/completions",
        headers={"authorization": f"Bearer {product.api_key}"},
        json={"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]},
        timeout=60,
        trust_env=False,
    )
    assert reply.status_code == 200, reply.text
    assert product.wait_booked(booked + 1)["requests"] == booked + 1
    (row,) = product.requests(request_id=reply.headers["x-request-id"])
    usage = reply.json()["usage"]
    assert (int(row["input_tokens"]), int(row["output_tokens"])) == (usage["prompt_tokens"], usage["completion_tokens"])
    spent = int(before["ledger_pico"]) - int(product.balance()["ledger_pico"])
    assert spent == int(row["charge_pico"]) > 0
    assert product.simulator_summary()["requests"] == accepted + 1


@pytest.mark.parametrize(("model", "stream"), [("gpt-4.1", False), ("gpt-4o", True)], ids=["whole", "stream"])
def test_a_provider_that_asks_to_wait_is_heard_by_the_caller(product: Product, model: str, *, stream: bool) -> None:
    """The wait reaches the client, and the provider was told the request by the id that the client sees."""
    reply = httpx.post(
        f"{product.base_url}/chat/completions",
        headers={"authorization": f"Bearer {product.api_key}"},
        json={
            # The channel rests for this model afterwards.
            "model": model,
            "messages": [{"role": "user", "content": "[[sim:status=429,retry_after=7]]"}],
            "stream": stream,
        },
        timeout=60,
        trust_env=False,
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "upstream_rate_limited")
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("7", "7000")
    told = [entry["status"] for entry in product.simulator_ledger() if entry["x_request_id"] == request_id_of(reply)]
    assert told == [429]


def request_id_of(reply: httpx.Response) -> str:
    """Returns the id that the gateway gave to a request."""
    return reply.headers["x-request-id"]
