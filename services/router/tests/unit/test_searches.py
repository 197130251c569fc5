"""Searches of the web that providers make on their own: counted as the vendor charges for them, streamed and not."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, NAMES, OPENAI, RESPONSE, target

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import load_catalogue
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.quirks.wire import WireQuirks

pytestmark = pytest.mark.unit
BODIES = {
    OPENAI: {"messages": [{"role": "user", "content": "hi"}]},
    ANTHROPIC: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    GEMINI: {"contents": [{"parts": [{"text": "hi"}]}]},
    RESPONSE: {"input": "hi"},
}
callers = pytest.mark.parametrize("caller", BODIES, ids=[NAMES[caller] for caller in BODIES])


def used(caller, upstream, *, whole=None, stream=None):
    """Returns the units and what the caller gets, of a provider's reply to a caller of any dialect."""
    one = upstream if not isinstance(upstream, int) else target(upstream)
    text = json.dumps({"model": "asked", **BODIES[caller]}).encode()
    opened = wire.Open(
        dialect=caller, operation=wire.OPERATION_CHAT, model="asked", stream=stream is not None, usage_wanted=True
    )
    sent = sending(opened, read_body(text), one, text)
    if stream is None:
        usage, said = sent.read(json.dumps(whole).encode())
        return dict(usage.units), said
    said = sent.filter.feed(stream) + sent.filter.finish()
    assert sent.filter.complete
    return dict(sent.filter.usage.units), said


def message(**usage):
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "ab"}], "usage": {"input_tokens": 7, "output_tokens": 3, **usage},
    }  # fmt: skip


def events(*frames):
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in frames)


def messages_stream(**usage):
    begun = message() | {"content": [], "stop_reason": None}
    text = {"index": 0, "type": "content_block_delta", "delta": {"type": "text_delta", "text": "ab"}}
    return events(
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        text,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3, **usage}},
        {"type": "message_stop"},
    )


@callers
@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({"web_search_requests": 3, "web_fetch_requests": 5}, 3),
        ({"web_search_requests": 0}, 0),
        ({"web_search_requests": -1}, 0),
        ({"web_search_requests": True}, 0),
        ({"web_search_requests": 10**9}, 0),
        ({}, 0),
        (None, 0),
        ("x", 0),
    ],
)
def test_claudes_searches(caller, said, count):
    expected = {"input": 7, "output": 3} | ({"search": count} if count else {})
    assert used(caller, ANTHROPIC, whole=message(server_tool_use=said))[0] == expected
    assert used(caller, ANTHROPIC, stream=messages_stream(server_tool_use=said))[0] == expected


def chunk(*queries, model="gemini-3.5-flash", finished=False):
    candidate = {"content": {"role": "model", "parts": [{"text": "a"}]}, "index": 0}
    if finished:
        candidate["finishReason"] = "STOP"
    if queries:
        candidate["groundingMetadata"] = {"webSearchQueries": list(queries)}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "r"}


def chunks(*found):
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in found)


@callers
@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("gemini-3.5-flash", 2), ("gemini-4-argon", 2), ("models/gemini-3-pro", 2), ("some-day", 2),
        ("gemini-2.5-flash", 1), ("gemini-2.0-flash-001", 1), ("models/gemini-1.5-pro", 1), ("gemini-20-x", 2),
    ],
)  # fmt: skip
def test_geminis_searches(caller, model, count):
    """Up to Gemini 2.5 a grounded answer is charged, from Gemini 3 on each query."""
    expected = {"input": 7, "output": 3, "search": count}
    assert used(caller, GEMINI, whole=chunk("q", "r", "", model=model, finished=True))[0] == expected
    repeated = chunks(chunk("q", model=model), chunk("q", "r", model=model), chunk(model=model, finished=True))
    assert used(caller, GEMINI, stream=repeated)[0] == expected
    added = chunks(chunk("q", model=model), chunk("r", model=model, finished=True))
    assert used(caller, GEMINI, stream=added)[0] == expected


@pytest.mark.parametrize("said", [None, "x", {"webSearchQueries": None}, {"webSearchQueries": "q"}, {}, [1]])
def test_grounding_without_queries_is_no_search(said):
    body = chunk(finished=True)
    body["candidates"][0]["groundingMetadata"] = said
    assert used(GEMINI, GEMINI, whole=body)[0] == {"input": 7, "output": 3}
    assert used(GEMINI, GEMINI, stream=chunks(body))[0] == {"input": 7, "output": 3}


@callers
@pytest.mark.parametrize(
    ("grounding", "units"),
    [
        ({"groundingChunks": [{"maps": {"uri": "https://maps.example/1", "title": "a"}}, {"maps": {"uri": "x"}}]},
         {"tool_call:google_maps": 1}),
        ({"groundingChunks": [{"web": {"uri": "https://a.example"}}, {"maps": {"uri": "x"}}],
          "webSearchQueries": ["q"]},
         {"search": 1, "tool_call:google_maps": 1}),
        ({"groundingChunks": [{"web": {"uri": "https://a.example"}}, "x", {"maps": {}}]}, {}),
        ({"groundingChunks": {"maps": {"uri": "x"}}}, {}),
    ],
)  # fmt: skip
def test_an_answer_from_maps_is_counted_once(caller, grounding, units):
    body = chunk(finished=True)
    body["candidates"][0]["groundingMetadata"] = grounding
    expected = {"input": 7, "output": 3, **units}
    assert used(caller, GEMINI, whole=body)[0] == expected
    begun = chunk()
    begun["candidates"][0]["groundingMetadata"] = grounding
    assert used(caller, GEMINI, stream=chunks(begun, body))[0] == expected


TOKENS = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
PERPLEXITY = {"input_tokens_cost": 0.1, "total_cost": 0.2}


@callers
@pytest.mark.parametrize("mended", [True, False])
@pytest.mark.parametrize(
    ("said", "units"),
    [
        (
            {
                "num_search_queries": 54, "citation_tokens": 8014, "reasoning_tokens": 92431,
                "cost": {"search_queries_cost": 0.27, "citation_tokens_cost": 0.016, "reasoning_tokens_cost": 0.27},
            },
            {"input": 8021, "reasoning": 92431, "search": 54},
        ),
        ({"num_search_queries": 5, "citation_tokens": -1, "reasoning_tokens": "x",
          "cost": {"citation_tokens_cost": 0.016, "reasoning_tokens_cost": 0.27}}, {"search": 5}),
        ({"reasoning_tokens": 2, "citation_tokens": 3}, {}),
        ({"search_context_size": "low", "cost": {**PERPLEXITY, "request_cost": 0.005}}, {"search": 1}),
        ({"search_context_size": "medium", "cost": {"request_cost": 0.008}}, {"search:medium": 1}),
        ({"num_search_queries": 2, "search_context_size": "high", "cost": {"request_cost": 1}}, {"search:high": 1}),
        ({"search_context_size": "high"}, {"search:high": 1}),
        ({"search_context_size": "huge"}, {"search": 1}),
        ({"num_search_queries": 0}, {}),
        ({"num_search_queries": "many", "cost": 3}, {}),
        ({"num_search_queries": -4, "server_side_tool_usage_details": "x"}, {}),
        (
            {"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 24, "mcp_calls": 1}},
            {"search": 2, "tool_call:x_search": 24},
        ),
        ({"server_side_tool_usage_details": {"web_search_calls": 0}}, {}),
    ],
)  # fmt: skip
def test_what_perplexity_and_xai_report(caller, mended, said, units):
    one = replace(target(OPENAI), conforming=not mended)
    usage = {**TOKENS, **said}
    expected = {"input": 7, "output": 3, **units}
    head = {"id": "c", "created": 1, "model": "m"}
    choice = {"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}
    whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
    assert used(caller, one, whole=whole)[0] == expected
    piece = {**head, "object": "chat.completion.chunk"}
    deltas = [
        {**piece, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "ab"}, "finish_reason": None}]},
        {**piece, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**piece, "choices": [], "usage": usage},
    ]
    assert used(caller, one, stream=chunks(*deltas) + b"data: [DONE]\n\n")[0] == expected


def test_tokens_that_had_to_be_mended_come_with_their_searches():
    usage = {**TOKENS, "prompt_tokens": 7.0, "num_search_queries": 3, "prompt_tokens_details": {"cached_tokens": "x"}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}
    found, _ = used(OPENAI, OPENAI, whole={"id": "c", "choices": [choice], "usage": usage})
    assert found == {"input": 7, "output": 3, "search": 3}


def test_what_xai_counts_of_a_response_goes_before_what_shows():
    one = replace(target(OPENAI), responses=True)
    searched = {"type": "web_search_call", "action": {"type": "search"}}
    usage = {
        "input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
        "server_side_tool_usage_details": {"web_search_calls": 5, "x_search_calls": 1},
    }  # fmt: skip
    body = {"id": "resp_1", "status": "completed", "error": None, "output": [searched], "usage": usage}
    assert used(RESPONSE, one, whole=body)[0] == {"input": 7, "output": 3, "search": 5, "tool_call:x_search": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_a_messages_caller_is_told_how_often_was_searched(stream):
    if stream:
        found = chunks(chunk("q", "r", finished=True))
        said = used(ANTHROPIC, GEMINI, stream=found)[1]
        usage = next(json.loads(line[6:])["usage"] for line in said.split(b"\n") if b'"message_delta"' in line[6:])
    else:
        usage = json.loads(used(ANTHROPIC, GEMINI, whole=chunk("q", "r", finished=True))[1])["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 2}


@pytest.mark.parametrize(
    ("provider", "model", "searches"),
    [
        ("openai", "gpt-5-search-api", True),
        ("openai", "gpt-5-search-api-2025-10-14", True),
        ("openai", "gpt-4o-mini-search-preview", True),
        ("openai", "gpt-5-mini", False),
        ("groq", "gpt-5-search-api", False),
    ],
)
def test_models_of_chat_that_search_for_every_answer(provider, model, searches):
    """No reply says so: OpenAI's own data does."""
    assert WireQuirks(load_catalogue().providers[provider].all_quirks).searches(model) == searches
