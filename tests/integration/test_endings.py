"""How a stream of chat ends whose provider stops at any point: with one `[DONE]`, and an error only where it is due."""

import json
from typing import Any

import httpx
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration

# A wire that passes as it is, one that is mended and one that is translated.
MODELS = ("gpt-4o-mini", "deepseek-chat", "claude-sonnet-4-5")


def events_of(product: Product, model: str, fault: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns what came before the last event, which is `[DONE]` and comes once, and the usage row."""
    question = {"role": "user", "content": f"[[sim:chunks=2,{fault}]] x"}
    reply = httpx.post(
        f"{product.base_url}/chat/completions",
        headers={"authorization": f"Bearer {product.api_key}"},
        json={"model": model, "stream": True, "messages": [question]},
        timeout=60,
        trust_env=False,
    )
    assert reply.status_code == 200, reply.text
    found = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    assert found.count("[DONE]") == 1, found
    assert found[-1] == "[DONE]"
    return [json.loads(event) for event in found[:-1]], product.wait_row(reply.headers["x-request-id"])


def reasons(events: list[dict[str, Any]]) -> list[str]:
    chunks = [event["choices"][0] for event in events if event.get("choices")]
    return [chunk["finish_reason"] for chunk in chunks if chunk.get("finish_reason")]


@pytest.mark.parametrize("model", MODELS)
def test_a_provider_that_never_says_done(product: Product, model: str) -> None:
    events, row = events_of(product, model, "no-done")
    assert reasons(events) == ["stop"]
    assert not any("error" in event for event in events)
    assert (row["outcome"], row["estimated"]) == ("ok", False)


@pytest.mark.parametrize("model", MODELS)
def test_a_connection_cut_after_any_event(product: Product, model: str) -> None:
    """A caller who has the reason to finish has the answer; an error behind it would make it ask again."""
    seen = set()
    for cut in range(2, 10):
        events, row = events_of(product, model, f"cut={cut}")
        errors = [event["error"]["code"] for event in events if "error" in event]
        finished = reasons(events) == ["stop"]
        seen.add(finished)
        assert errors == ([] if finished else ["upstream_cut"]), cut
        assert row["outcome"] == ("ok" if finished else "upstream_cut"), cut
        assert int(row["charge_pico"]) > 0
    assert seen == {True, False}
