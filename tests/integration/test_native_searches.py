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
SEARCHING = {"input": 125 * 10**4, "output": 10**7}
PAGES = ("https://gates.example/tolls", "https://rivers.example/road?way=1")
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


@pytest.mark.proves("messages", "messages", "search")
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


@pytest.mark.proves("contents", "contents", "search")
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


@pytest.mark.proves("chat", "chat", "search")
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
    check_row(product, raw.headers["x-request-id"], 1, 10**10, SEARCHING)
    # The package has a class for them in a message, and none in a delta.
    _check_halves(
        *[note["url_citation"] if isinstance(note, dict) else note.url_citation.model_dump() for note in notes]
    )


def _check_halves(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert (first["start_index"], first["end_index"]) == (0, second["start_index"])
    assert second["start_index"] < second["end_index"]
    assert (first["url"], second["url"]) == PAGES


@pytest.mark.proves("messages", "chat", "search")
@streamed
def test_claudes_package_is_told_where_gpt_found_it(product: Product, *, stream: bool) -> None:
    asked: dict[str, Any] = {"model": "gpt-5-search-api", "max_tokens": 99}
    asked["messages"] = [{"role": "user", "content": "Say hello"}]
    http = anthropic.DefaultHttpxClient(trust_env=False)
    with anthropic.Anthropic(base_url=product.url, api_key=product.api_key, http_client=http, max_retries=0) as client:
        if stream:
            with client.messages.stream(**asked) as events:
                reply = events.get_final_message()
                request_id = events.response.headers["x-request-id"]
        else:
            raw = client.messages.with_raw_response.create(**asked)
            reply, request_id = raw.parse(), raw.headers["x-request-id"]
    (block,) = reply.content
    assert block.type == "text"
    assert block.text.startswith("[simulated]")
    cited = [one for one in block.citations or () if one.type == "web_search_result_location"]
    assert tuple(one.url for one in cited) == PAGES
    check_row(product, request_id, 1, 10**10, SEARCHING)


@pytest.mark.proves("contents", "chat", "search")
@streamed
def test_geminis_package_is_told_where_gpt_found_it(product: Product, *, stream: bool) -> None:
    ids: list[str] = []
    hooks = {"response": [lambda reply: ids.append(reply.headers["x-request-id"])]}
    asked: dict[str, Any] = {"model": "gpt-5-search-api", "contents": "Sag grüß dich"}
    with httpx.Client(trust_env=False, event_hooks=hooks, timeout=60) as http:
        options = types.HttpOptions(base_url=product.url, httpx_client=http)
        client = genai.Client(api_key=product.api_key, http_options=options)
        if stream:
            chunks = list(client.models.generate_content_stream(**asked))
        else:
            chunks = [client.models.generate_content(**asked)]
    said = "".join(chunk.text or "" for chunk in chunks).encode()
    (candidate,) = chunks[-1].candidates or ()
    found = candidate.grounding_metadata
    assert found is not None
    assert tuple(one.web.uri for one in found.grounding_chunks or () if one.web) == PAGES
    segments = [one.segment for one in found.grounding_supports or () if one.segment]
    assert b"".join(said[one.start_index : one.end_index] for one in segments) == said
    check_row(product, ids[-1], 1, 10**10, SEARCHING)


def _notes(said: Any) -> list[Any]:
    return list(getattr(said, "annotations", None) or ())
