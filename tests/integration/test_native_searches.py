"""Searches of the web that a vendor's model makes on its own, asked for by the vendor's own package: on the bill.

The simulated vendors say how often they searched where the real ones do; their ledger says it for sure.
"""

from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types
from tests.integration.product import Product

pytestmark = pytest.mark.integration
streamed = pytest.mark.parametrize("stream", [False, True])
# Prices of the catalogue for a search, in pico-units.
SEARCH_PICO = {"claude-haiku-4-5": 10**10, "gemini-3.5-flash": 14 * 10**9, "gemini-2.5-flash": 35 * 10**9}


def check_row(product: Product, request_id: str, searches: int, search_pico: int, prices: dict[str, int]) -> None:
    """Checks that the row has what the provider counted, and that it was charged for: `prices` are for a million."""
    row = product.wait_row(request_id)
    (entry,) = [one for one in product.simulator_ledger() if one["x_request_id"] == request_id]
    assert entry["units"]["search"] == searches
    assert row["units"] == {"request": 1, "search": searches}
    assert not row["unpriced"]
    tokens = sum(count * prices[unit] for unit, count in entry["units"].items() if unit != "search")
    assert int(row["charge_pico"]) == tokens + searches * search_pico


@streamed
@pytest.mark.parametrize(("uses", "searches"), [(None, 2), (1, 1)])
def test_claude_searches(product: Product, *, stream: bool, uses: int | None, searches: int) -> None:
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
    tool |= {} if uses is None else {"max_uses": uses}
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 99, "tools": [tool]}
    asked["messages"] = [{"role": "user", "content": "Use web_search, please"}]
    http = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=product.url, api_key=product.api_key, http_client=http, max_retries=0) as client:
        if stream:
            with client.messages.stream(**asked) as events:
                reply = events.get_final_message()
                request_id = events.response.headers["x-request-id"]
        else:
            raw = client.messages.with_raw_response.create(**asked)
            reply, request_id = raw.parse(), raw.headers["x-request-id"]
    assert reply.usage.server_tool_use is not None
    assert reply.usage.server_tool_use.web_search_requests == searches
    check_row(product, request_id, searches, SEARCH_PICO["claude-haiku-4-5"], {"input": 10**6, "output": 5 * 10**6})


@streamed
@pytest.mark.parametrize(("model", "searches"), [("gemini-3.5-flash", 2), ("gemini-2.5-flash", 1)])
def test_gemini_searches(product: Product, *, stream: bool, model: str, searches: int) -> None:
    """The one is charged for each query, the other for the answer."""
    ids: list[str] = []
    hooks = {"response": [lambda reply: ids.append(reply.headers["x-request-id"])]}
    config = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])
    asked: dict[str, Any] = {"model": model, "contents": "Use google_search, please", "config": config}
    with httpx.Client(trust_env=False, event_hooks=hooks, timeout=60) as http:
        options = types.HttpOptions(base_url=product.url, httpx_client=http)
        client = genai.Client(api_key=product.api_key, http_options=options)
        if stream:
            *_, last = client.models.generate_content_stream(**asked)
        else:
            last = client.models.generate_content(**asked)
    (candidate,) = last.candidates or ()
    assert candidate.grounding_metadata is not None
    assert len(candidate.grounding_metadata.web_search_queries or ()) == 2
    prices = {
        "gemini-3.5-flash": {"input": 15 * 10**5, "output": 9 * 10**6},
        "gemini-2.5-flash": {"input": 3 * 10**5, "output": 25 * 10**5},
    }
    check_row(product, ids[-1], searches, SEARCH_PICO[model], prices[model])


@streamed
def test_a_model_of_chat_that_searches_for_every_answer(product: Product, *, stream: bool) -> None:
    """OpenAI says nothing of it in the reply."""
    asked: dict[str, Any] = {"model": "gpt-5-search-api", "messages": [{"role": "user", "content": "Say hello"}]}
    asked["web_search_options"] = {"search_context_size": "low"}
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=product.base_url, api_key=product.api_key, http_client=http, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(**asked, stream=stream)
        if stream:
            notes = [note for chunk in raw.parse() for one in chunk.choices for note in _notes(one.delta)]
        else:
            notes = _notes(raw.parse().choices[0].message)
    assert len(notes) == 2
    prices = {"input": 125 * 10**4, "output": 10**7}
    check_row(product, raw.headers["x-request-id"], 1, 10**10, prices)


def _notes(said: Any) -> list[Any]:
    return list(getattr(said, "annotations", None) or ())
