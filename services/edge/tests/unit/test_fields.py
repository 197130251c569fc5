"""What edge reads from a request, and what it says to requests that cannot be read."""

import json

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.fields import BadRequest, check_depth, decode, is_json

pytestmark = pytest.mark.unit

CHAT = wire.OPERATION_CHAT
OPENAI, ANTHROPIC, GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI
MESSAGES = [{"role": "user", "content": "hi"}]


def asked(**fields):
    return decode(CHAT, OPENAI, json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode(), 128)


def test_the_fields_acted_on_are_found_among_others():
    found = asked(stream=True, stream_options={"include_usage": True}, max_tokens=5, n=2, temperature=0.1, extra=[{}])
    assert (found.model, found.stream, found.usage_wanted, found.max_output_tokens, found.choices) == (
        "m", True, True, 5, 2,
    )  # fmt: skip


def test_the_newer_token_limit_wins():
    assert asked(max_tokens=5, max_completion_tokens=7).max_output_tokens == 7


def test_nulls_are_as_good_as_nothing():
    found = asked(stream=None, stream_options=None, max_tokens=None, n=None)
    assert (found.stream, found.usage_wanted, found.max_output_tokens, found.choices) == (False, False, None, 1)


@pytest.mark.parametrize(
    ("fields", "units"),
    [
        ({}, ()),
        ({"tools": [{"type": "function", "name": "web_search"}], "max_tool_calls": 3}, ()),
        ({"tools": {"type": "web_search"}}, ()),
        ({"tools": [{"type": "x_search"}], "max_tool_calls": 3}, (("tool_call:x_search", 3),)),
        ({"tools": [{"type": "x_search"}, {"type": "web_search"}]}, (("search", 10), ("tool_call:x_search", 10))),
        ({"tools": [{"type": "web_search"}]}, (("search", 10),)),
        ({"tools": [{"type": "web_search_preview"}], "max_tool_calls": 40}, (("search", 40),)),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": -1}, (("search", 0),)),
        ({"tools": [{"type": "code_interpreter"}], "max_tool_calls": 3}, (("tool_call:code_interpreter", 3),)),
        ({"tools": [{"type": "file_search", "max_num_results": 2}]}, (("tool_call:file_search", 10),)),
        ({"tools": [{"type": "image_generation"}]}, (("tool_call:image_generation", 10),)),
        ({"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, (("tool_call:shell", 10),)),
        # It runs at the caller.
        ({"tools": [{"type": "shell", "environment": {"type": "local"}}]}, ()),
        ({"tools": [{"type": "mcp", "server_label": "shell"}, {"type": "local_shell"}]}, ()),
    ],
)
def test_what_providers_charge_a_response_for_beside_tokens_is_held_for(fields, units):
    body = json.dumps({"model": "m", "input": "hi", **fields}).encode()
    assert decode(CHAT, wire.DIALECT_OPENAI_RESPONSES, body, 128).units == units
    assert decode(CHAT, OPENAI, body, 128).units == ()


def test_a_duplicated_field_means_its_last_value():
    body = b'{"model":"a","messages":[],"model":"b"}'
    assert decode(CHAT, OPENAI, body, 128).model == "b"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", "", "not valid JSON"),
        (b"{", "", "not valid JSON"),
        (b"hello", "", "not valid JSON"),
        (b'{"model":"m","messages":[]} x', "", "not valid JSON"),
        (b'{"model":"\xff","messages":[]}', "", "not valid JSON"),
        (b'{"model":"m","messages":["\xff"]}', "", "not valid JSON"),
        (b"[]", "", "must be a JSON object"),
        (b'"text"', "", "must be a JSON object"),
        (b"null", "", "must be a JSON object"),
        (b'{"messages":[]}', "model", "no 'model'"),
        (b'{"model":"m"}', "messages", "no 'messages'"),
        (b'{"model":7,"messages":[]}', "model", "expected str, got int"),
        (b'{"model":"","messages":[]}', "model", "1 to 200 characters"),
        (b'{"model":"m","messages":[],"stream":"yes"}', "stream", "expected bool"),
        (b'{"model":"m","messages":[],"n":0}', "n", "between 1 and 128"),
        (b'{"model":"m","messages":[],"n":1000000}', "n", "between 1 and 128"),
        (b'{"model":"m","messages":[],"max_tokens":-1}', "max_tokens", "between 0"),
        (b'{"model":"m","messages":[],"stream_options":{"include_usage":3}}', "stream_options", "expected bool"),
    ],
)
def test_bad_bodies_are_named(body, param, words):
    with pytest.raises(BadRequest) as caught:
        decode(CHAT, OPENAI, body, 128)
    assert caught.value.param == param
    assert words in caught.value.message


@pytest.mark.parametrize("depth", [127, 128])
def test_nesting_up_to_the_limit_passes(depth):
    inner = b"[" * (depth - 1) + b"]" * (depth - 1)
    decode(CHAT, OPENAI, b'{"model":"m","messages":[],"x":' + inner + b"}", 128)


@pytest.mark.parametrize("depth", [129, 5_000, 200_000])
def test_nesting_beyond_the_limit_is_refused(depth):
    inner = b"[" * (depth - 1) + b"]" * (depth - 1)
    with pytest.raises(BadRequest, match="nested"):
        decode(CHAT, OPENAI, b'{"model":"m","messages":[],"x":' + inner + b"}", 128)


def test_brackets_inside_text_do_not_count():
    check_depth(json.dumps({"a": "[" * 500 + '"{' * 100}).encode(), 5)


@pytest.mark.parametrize("text", ["\\", '\\"', '"\\\\"[', '[\\\\"[', 'a\\\\\\"[["', "\n[{"])
def test_escapes_do_not_hide_or_make_brackets(text):
    flat = json.dumps({"a": [text, text], "b": text}).encode()
    check_depth(flat, 2)
    with pytest.raises(BadRequest, match="nested"):
        check_depth(flat, 1)


def test_long_flat_conversations_are_not_deep():
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}] * 500
    assert decode(CHAT, OPENAI, json.dumps({"model": "m", "messages": messages}).encode(), 8).model == "m"


def test_embeddings_need_an_input_and_hold_no_output():
    assert decode(wire.OPERATION_EMBEDDINGS, OPENAI, b'{"model":"e","input":"hi"}', 128).max_output_tokens == 0
    with pytest.raises(BadRequest, match="no 'input'"):
        decode(wire.OPERATION_EMBEDDINGS, OPENAI, b'{"model":"e"}', 128)


@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        (None, True),
        (b"application/json", True),
        (b"application/json; charset=utf-8", True),
        (b"Application/JSON", True),
        (b"application/vnd.api+json", True),
        (b"text/plain", False),
        (b"multipart/form-data; boundary=x", False),
        (b"application/x-www-form-urlencoded", False),
    ],
)
def test_content_types(content_type, good):
    assert is_json(content_type) is good


SEARCHING = {"type": "web_search_20250305", "name": "web_search"}
TEXTS = [{"parts": [{"text": "hi"}]}]


@pytest.mark.parametrize(
    ("dialect", "body", "units"),
    [
        (OPENAI, {"messages": MESSAGES, "web_search_options": {}}, (("search", 1),)),
        (OPENAI, {"messages": MESSAGES, "web_search_options": None}, ()),
        (ANTHROPIC, {"tools": [SEARCHING | {"max_uses": 3}]}, (("search", 3),)),
        (ANTHROPIC, {"tools": [{"name": "f"}, SEARCHING, SEARCHING | {"max_uses": 2}]}, (("search", 12),)),
        (ANTHROPIC, {"tools": [SEARCHING | {"max_uses": -3}]}, (("search", 0),)),
        (ANTHROPIC, {"tools": [SEARCHING | {"max_uses": "x"}]}, (("search", 10),)),
        (ANTHROPIC, {"tools": {"type": "web_search_20250305"}}, ()),
        (ANTHROPIC, {"tools": [{"name": "web_search"}]}, ()),
        (ANTHROPIC, {}, ()),
        (GEMINI, {"tools": [{"functionDeclarations": [{"name": "googleSearch"}]}]}, ()),
        (GEMINI, {"tools": "googleSearch"}, ()),
        (GEMINI, {"tools": [{"googleSearch": {}}]}, (("search", 10),)),
        (GEMINI, {"tools": [{"google_search": {}}]}, (("search", 10),)),
        (GEMINI, {"tools": [{"googleSearchRetrieval": {}}]}, (("search", 10),)),
        (GEMINI, {"tools": [{"googleMaps": {}}]}, (("tool_call:google_maps", 10),)),
        (
            GEMINI,
            {"tools": [{"google_maps": {}}, {"googleSearch": {}, "googleMaps": {}}]},
            (("search", 10), ("tool_call:google_maps", 10)),
        ),
        (GEMINI, {"tools": [{"codeExecution": {}}]}, ()),
        (GEMINI, {}, ()),
    ],
)
def test_searches_that_a_model_may_make_on_its_own_are_held_for(dialect, body, units):
    if dialect == GEMINI:
        found = decode(CHAT, dialect, json.dumps({"contents": TEXTS, **body}).encode(), 128, ("m", False))
    else:
        more = {"messages": MESSAGES, "max_tokens": 9} if dialect == ANTHROPIC else {}
        found = decode(CHAT, dialect, json.dumps({"model": "m", **more, **body}).encode(), 128)
    assert found.units == units


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (ANTHROPIC, r'{"model": "m", "messages": [], "max_tokens": 9, "tools": [{"type": "web\u005fsearch_1"}]}'),
        (wire.DIALECT_OPENAI_RESPONSES, r'{"model": "m", "input": "hi", "tools": [{"type": "\u0077eb_search"}]}'),
        (GEMINI, r'{"contents": [], "tools": [{"google\u0053earch": {}}]}'),
    ],
)
def test_an_escaped_letter_hides_no_search(dialect, body):
    named = ("m", False) if dialect == GEMINI else None
    assert decode(CHAT, dialect, body.encode(), 128, named).units == (("search", 10),)
