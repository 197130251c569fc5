"""What a provider's data does to a request and to an error: by table, without a vendor's name."""

import json

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import Quirks
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.quirks.places import Place
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import Bench, Hints
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
HI = [{"role": "user", "content": "hi"}]


def quirks(**data):
    return WireQuirks(Quirks.model_validate(data))


def sent(request, body, *, chat=True):
    members = read_body(json.dumps({"messages": HI, **body}).encode())
    dropped = quirks(request=request).request.edit(members, "messages" if chat else "")
    found = {name: json.loads(bytes(value)) for name, value in members.items()}
    return {name: value for name, value in found.items() if name != "messages" or value != HI}, dropped


@pytest.mark.parametrize(
    ("request_quirks", "body", "expected", "dropped"),
    [
        ({"drop": ["seed"]}, {"seed": 0, "n": 1}, {"n": 1}, ("seed",)),
        ({"drop": ["seed", "stop"]}, {"seed": None, "stop": []}, {}, ()),
        ({"refuse": ["n", "logprobs", "tools"]}, {"n": 1, "logprobs": False, "tools": []}, {}, ()),
        ({"rename": {"a": "b"}}, {"a": 1}, {"b": 1}, ()),
        ({"rename": {"a": "b"}}, {"a": 1, "b": 2}, {"b": 2}, ("a",)),
        ({"rename": {"a": "b"}}, {"a": 1, "b": None}, {"b": 1}, ()),
        ({"accept": {"response_format": ["json_object"]}}, {"response_format": {"type": "json_object"}},
         {"response_format": {"type": "json_object"}}, ()),
        ({"accept": {"response_format": ["json_object"]}}, {"response_format": {"type": "text"}}, {}, ()),
        ({"values": {"effort": {"low": "high"}}}, {"effort": "low"}, {"effort": "high"}, ()),
        ({"values": {"effort": {"low": {"type": "on"}}}}, {"effort": "low"}, {"effort": {"type": "on"}}, ()),
        ({"values": {"effort": {"low": "high"}}}, {"effort": 7}, {"effort": 7}, ()),
        ({"always": {"x": 1}, "default": {"y": 2, "z": 3}}, {"x": 5, "y": 6}, {"x": 1, "y": 6, "z": 3}, ()),
        ({"stream_options": False}, {"stream_options": {"include_usage": True}}, {}, ()),
    ],
)  # fmt: skip
def test_parameters(request_quirks, body, expected, dropped):
    assert sent(request_quirks, body) == (expected, dropped)


@pytest.mark.parametrize(
    ("request_quirks", "body", "param"),
    [
        ({"refuse": ["n"]}, {"n": 2}, "n"),
        ({"refuse": ["n"]}, {"n": "x"}, "n"),
        (
            {"accept": {"response_format": ["json_object"]}},
            {"response_format": {"type": "json_schema"}},
            "response_format",
        ),
        ({"accept": {"tool_choice": ["auto"]}}, {"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(request_quirks, body, param):
    with pytest.raises(Refused) as refused:
        sent(request_quirks, body)
    assert refused.value.param == param
    assert param in refused.value.message


def test_messages():
    given = [
        {"role": "developer", "content": 'say "name"'},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": "yes", "name": None},
        7,
    ]
    found, dropped = sent({"drop_in_messages": ["name"], "developer_role": "system"}, {"messages": given})
    assert dropped == ("messages.name",)
    assert found["messages"] == [
        {"role": "system", "content": 'say "name"'},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "yes"},
        7,
    ]
    # What is no chat has no messages, and nothing is added to it.
    assert sent({"always": {"x": 1}, "drop": ["user"]}, {"input": "a", "user": "u"}, chat=False) == (
        {"input": "a"}, ("user",),
    )  # fmt: skip


def test_thoughts_that_go_back_as_pieces():
    data = {"returns_reasoning": "welcome", "reasoning_pieces": {"details": {"type": "thought", "index": 0}}}
    own = [{"type": "thought", "text": "own", "id": "x"}]
    given = [
        {"role": "user", "content": '"reasoning_content"'},
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
        {"role": "assistant", "content": "b", "reasoning_content": "hm", "details": own},
        {"role": "assistant", "content": "c", "reasoning_content": None},
        {"role": "assistant", "content": "d"},
    ]
    found, dropped = sent(data, {"messages": given})
    assert dropped == ()
    assert found["messages"] == [
        given[0],
        {"role": "assistant", "content": "a", "details": [{"type": "thought", "index": 0, "text": "hm"}]},
        {"role": "assistant", "content": "b", "details": own},
        {"role": "assistant", "content": "c"},
        given[4],
    ]


def test_the_next_target_gets_what_the_caller_sent():
    raw = json.dumps({"model": "m", "messages": HI, "seed": 1}).encode()
    members = read_body(raw)
    target = Target(
        "c", 0, "acme", Origin("https", "h", 443), "/v1", "up", conforming=False, weight=1, header_block=b"",
        quirks=quirks(request={"drop": ["seed"]}, paths={"chat": "/say"}, query={"v": "2"}),
    )  # fmt: skip
    opened = wire.Open(dialect=wire.DIALECT_OPENAI_CHAT, operation=wire.OPERATION_CHAT, model="m", body_length=9)
    asked = sending(opened, members, target, raw)
    assert (asked.path, asked.dropped, json.loads(asked.body)) == (
        b"/say?v=2", ("seed",), {"model": "up", "messages": HI},
    )  # fmt: skip
    assert "seed" in members


@pytest.mark.parametrize(
    ("place", "found", "value", "text"),
    [
        ("a", {"a": "x"}, "x", "x"),
        ("a.b", {"a": {"b": "x"}}, "x", "x"),
        ("a.b", {"a": "x"}, None, ""),
        ("a[0].b", {"a": [{"b": "x"}, {"b": "y"}]}, "x", "x"),
        ("a[0].b", {"a": []}, None, ""),
        ("a[].b", {"a": [{"b": "x"}, {}, {"b": "y"}]}, ["x", None, "y"], "xy"),
        ("a[].b[].c", {"a": [{"b": [{"c": "x"}, {"c": "y"}]}, 7]}, ["x", "y", None], "xy"),
        ("a[].b", {"a": {"b": "x"}}, None, ""),
    ],
)
def test_places(place, found, value, text):
    assert Place(place).value(found) == value
    assert Place(place).text(found) == text


RULES = [
    {"means": "quota", "code": ["Arrears"]},
    {"means": "context_length", "status": [400], "words": ["too long"]},
    {"means": "invalid_parameter", "words": ["the {param} parameter", "bad {param}:"]},
    {"means": "overloaded", "status": [400]},
]


@pytest.mark.parametrize(
    ("status", "error", "kind", "param", "bench"),
    [
        (400, {"type": "ARREARS"}, errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, "", Bench.BALANCE),
        (400, {"message": "Prompt Too Long"}, errors.ERROR_KIND_CONTEXT_LENGTH, "", Bench.NONE),
        (422, {"message": "Prompt too long"}, errors.ERROR_KIND_INVALID_REQUEST, "", Bench.NONE),
        (422, {"message": "The `top_p` parameter is odd"}, errors.ERROR_KIND_INVALID_REQUEST, "top_p", Bench.NONE),
        (422, {"message": "bad messages.0: no", "param": "x"}, errors.ERROR_KIND_INVALID_REQUEST, "x", Bench.NONE),
        (400, {"message": "?"}, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "", Bench.NONE),
        (429, {"message": "?"}, errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, "", Bench.NONE),
    ],
)
def test_the_first_rule_that_fits_decides_and_else_the_usual_words(status, error, kind, param, bench):
    found = quirks(errors=RULES).errors.of_reply(status, json.dumps({"error": error}).encode(), Hints(5))
    assert (found.kind, found.param, found.bench, found.retry_after_ms) == (kind, param, bench, 5)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[[", b"<html>", b'{"error": 7}'])
def test_any_body_at_all_is_an_error_that_can_be_told(body):
    data = quirks(error={"at": ["a.b"], "message": ["c"], "param": ["d"]}, errors=RULES)
    for read in (data, NO_QUIRKS):
        assert read.errors.of_reply(503, body).kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE


def test_where_the_parameter_is_said_as_a_way_to_it():
    data = quirks(error={"message": ["message.detail[0].msg"], "param": ["message.detail[0].loc"]})
    detail = [{"loc": ["body", "messages", 0, "name"], "msg": "Extra inputs are not permitted"}]
    found = data.errors.of_reply(422, json.dumps({"message": {"detail": detail}}).encode())
    assert (found.param, found.message) == ("messages.0.name", "Extra inputs are not permitted")
