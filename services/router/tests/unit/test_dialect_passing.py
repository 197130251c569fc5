"""Bodies that are passed on in their own dialect: what is refused all the same, and what is left to the provider."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.translating import ANTHROPIC, BODIES, GEMINI, OPENAI, RESPONSE, target, translated
from services.router.tests.unit.test_dialect_bad_input import PLAIN, pictures, tools_of

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
TARGETS = {
    OPENAI: target(OPENAI),
    ANTHROPIC: target(ANTHROPIC),
    GEMINI: target(GEMINI),
    RESPONSE: replace(target(OPENAI), responses=True),
}
dialects = pytest.mark.parametrize("dialect", TARGETS, ids=("chat", "messages", "contents", "responses"))
INSIDE = [
    "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/a.png", "https://localhost/a", "http://[::1]/a",
    "http:\\/\\/10.0.0.1\\/a", "\\u0068ttp://10.0.0.1/a", "HTTP://10.0.0.1/a", " http://10.0.0.1/a", "http:10.0.0.1",
    "file:///etc/passwd", "ftp://10.0.0.1/a", "/srv/pictures/a.png", "../a.png", "//10.0.0.1/a.png",
    "http://10.0.0.1\\\\@pictures.example/a", "http://10.0.0.\\uff11/a", "http://10.0.0\\uff0e1/a",
    "http://10.0.0.%31/a", "https://router/a",
]  # fmt: skip


def passed(dialect, body):
    return translated(dialect, TARGETS[dialect], body)


def refused(dialect, body):
    with pytest.raises(Refused) as caught:
        passed(dialect, body)
    return caught.value


def asked(*parts):
    """Returns a chat of these parts, as they are written in JSON."""
    return f'{{"model":"m","messages":[{{"role":"user","content":[{",".join(parts)}]}}]}}'


def pictured(said):
    """Returns a body with a picture by an address in each dialect, as it is written in JSON."""
    return [(dialect, json.dumps(body).replace("ADDRESS", said).encode()) for (dialect, body), _ in pictures("ADDRESS")]


@pytest.mark.parametrize("said", INSIDE)
def test_an_address_that_no_outsider_may_fetch(said):
    for dialect, body in pictured(said):
        problem = refused(dialect, body)
        assert problem.param in {"messages", "contents", "input"}
        assert problem.message.startswith(problem.param)


@pytest.mark.parametrize("said", ["https://pictures.example:8443/a.png?size=1#x", "https://b\\u00fccher.example/a"])
def test_an_address_of_the_public_goes_as_it_came(said):
    for dialect, body in pictured(said):
        assert b".example" in passed(dialect, body).body


@pytest.mark.parametrize(
    "said", ["data:image/png;base64,iVBO.", "iVBORw0KGgo=", "/9j/4AAQSkZJRg==", "gs://bucket/a.png"]
)
def test_data_and_what_a_cloud_keeps_go_as_they_came(said):
    for dialect, body in pictured(said):
        assert said.encode() in passed(dialect, body).body


@pytest.mark.parametrize(
    "name", ["im\\u0061ge_url", "Image_URL", "image_\\u0075rl", "video_url", "audio_url", "file_url"]
)
def test_a_name_in_another_spelling(name):
    part = '{"type":"NAME","NAME":{"url":"http://10.0.0.1/a"}}'.replace("NAME", name)
    body = asked(part)
    assert refused(OPENAI, body.encode()).param == "messages"
    assert refused(OPENAI, body.replace('"url"', '"u\\u0072l"').encode()).param == "messages"
    assert refused(OPENAI, body.replace('"messages":', '"messages":[],"Messages":').encode()).param == "Messages"


@pytest.mark.parametrize("name", ["im\\u0061ge_url", "Image_URL", "image_\\u0075rl", "image_url"])
def test_a_name_in_another_spelling_in_a_long_body_to_a_server_within(name):
    part = '{"type":"image_url","NAME":"http://10.0.0.1/a"}'.replace("NAME", name)
    body = asked(json.dumps({"type": "text", "text": "a" * 9999}), part)
    within = replace(TARGETS[OPENAI], origin=replace(TARGETS[OPENAI].origin, private_network=True))
    with pytest.raises(Refused):
        translated(OPENAI, within, body.encode())
    if name == "image_url":
        refused(OPENAI, body.encode())


@pytest.mark.parametrize("name", ["Image_URL", "image_\\u0075rl"])
def test_no_place_in_a_long_body_hides_a_name(name):
    part = '{"type":"image_url","NAME":"http://10.0.0.1/a"}'.replace("NAME", name)
    within = replace(TARGETS[OPENAI], origin=replace(TARGETS[OPENAI].origin, private_network=True))
    for more in range(8100, 8200):
        body = asked(json.dumps({"type": "text", "text": "a" * more}), part)
        with pytest.raises(Refused):
            translated(OPENAI, within, body.encode())


def test_of_two_addresses_neither_is_taken():
    two = '{"type":"image_url","image_url":{"url":"http://10.0.0.1/a","url":"SECOND"}}'
    for second in ("https://pictures.example/a", "data:image/png;base64,AAAA"):
        assert "twice" in refused(OPENAI, asked(two.replace("SECOND", second)).encode()).message
    one = '{"type":"image_url","image_url":{"url":"ADDRESS"}}'
    many = asked(one.replace("ADDRESS", "https://pictures.example/a"), one.replace("ADDRESS", "http://10.0.0.1/a"))
    assert "content[1]" in refused(OPENAI, many.encode()).message


def test_servers_of_tools_within():
    assert refused(RESPONSE, PLAIN[RESPONSE] | {"tools": [{"type": "mcp", "server_url": "http://10.0.0.1/"}]}).param
    assert refused(ANTHROPIC, PLAIN[ANTHROPIC] | {"mcp_servers": [{"type": "url", "url": "http://10.0.0.1/"}]}).param
    assert passed(ANTHROPIC, PLAIN[ANTHROPIC] | {"mcp_servers": [{"type": "url", "url": "https://mcp.example/"}]})


WITHIN = "http://localhost:3000/"


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OPENAI, {"messages": [{"role": "user", "content": f"What is {WITHIN}?"}]}),
        (OPENAI, {"messages": [{"role": "user", "content": json.dumps({"url": WITHIN})}]}),
        (OPENAI, {"messages": [{"role": "assistant", "content": "a", "annotations": [{"url": WITHIN}]}]}),
        (
            ANTHROPIC,
            {
                "max_tokens": 9,
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"url": WITHIN}}],
                    }
                ],
            },
        ),
        (GEMINI, {"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"url": WITHIN}}}]}]}),
        (GEMINI, {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {"url": WITHIN}}}]}]}),
        (RESPONSE, {"input": [{"type": "web_search_call", "action": {"type": "open", "url": WITHIN}}]}),
    ],
)
def test_what_a_program_or_a_person_says_of_an_address_is_no_picture(dialect, body):
    assert b"localhost" in passed(dialect, body).body


def test_a_tool_with_an_address_for_an_argument():
    schema = {"type": "object", "properties": {"url": {"type": "string", "default": WITHIN}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert b"localhost" in passed(OPENAI, PLAIN[OPENAI] | {"tools": [tool]}).body


@dialects
def test_a_body_with_every_member_passes(dialect):
    assert passed(dialect, BODIES[dialect]).body


@dialects
def test_a_field_of_another_kind_is_refused_by_its_name(dialect):
    found = set()
    for name, usual in BODIES[dialect].items():
        for value in (True, 7, "x", [], {}):
            if type(value) is type(usual) or name in {"model", "input", "contents"}:
                continue
            try:
                passed(dialect, BODIES[dialect] | {name: value})
            except Refused as problem:
                found.add((name, problem.param, problem.message.startswith(name)))
    wanted = {
        OPENAI: {"messages", "temperature", "top_p", "stop", "tools", "tool_choice", "response_format", "seed"},
        ANTHROPIC: {"messages", "temperature", "top_p", "system", "tools", "tool_choice", "stop_sequences"},
        GEMINI: {"tools", "toolConfig", "safetySettings"},
        RESPONSE: {"instructions", "temperature", "top_p", "tools", "tool_choice", "text", "reasoning"},
    }
    assert {(name, name, True) for name in wanted[dialect]} <= found
    assert all(name == param and named for name, param, named in found)


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        (OPENAI, {"messages": "x"}),
        (OPENAI, {"temperature": []}),
        (ANTHROPIC, {"messages": {}}),
        (GEMINI, {"contents": 7}),
        (RESPONSE, {"input": {}}),
    ],
)
def test_fields_of_wrong_kinds(dialect, more):
    (name,) = more
    assert refused(dialect, PLAIN[dialect] | more).param == name


@dialects
def test_null_and_fields_of_a_provider_of_its_own_go_as_they_came(dialect):
    more = {"temperature": None, "tools": None, "min_p": [], "guided_json": 7}
    sent = json.loads(passed(dialect, PLAIN[dialect] | more).body)
    assert more.items() <= sent.items()


@dialects
def test_five_thousand_tools(dialect):
    assert "5000" in refused(dialect, PLAIN[dialect] | tools_of(dialect, 5000)).message
    assert passed(dialect, PLAIN[dialect] | tools_of(dialect, 1024)).body


@pytest.mark.parametrize(
    "config",
    [
        '"generationConfig":{"maxOutputTokens":9,"maxOutputTokens":10}',
        '"generationConfig":{"maxOutputTokens":9},"generation_config":{"maxOutputTokens":10}',
    ],
)
def test_a_limit_that_can_be_read_in_two_ways(config):
    body = json.dumps(PLAIN[GEMINI])[:-1] + f",{config}}}"
    assert refused(GEMINI, body.encode()).message


def test_of_a_name_that_stands_twice_the_last_one_goes():
    sent = passed(OPENAI, b'{"messages":[],"n":1,"n":2}')
    assert sent.body.count(b'"n"') == 1
    assert json.loads(sent.body)["n"] == 2


@pytest.mark.parametrize(
    ("operation", "body", "param"),
    [
        (wire.OPERATION_MODERATION, {"input": 7}, "input"),
        (
            wire.OPERATION_MODERATION,
            {"input": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]},
            "input",
        ),
        (wire.OPERATION_COMPLETION, {"prompt": "x", "temperature": "hot"}, "temperature"),
        (wire.OPERATION_RERANK, {"query": "x", "documents": ["y"], "top_n": "x"}, "top_n"),
        (wire.OPERATION_RERANK, {"query": "x", "documents": [{"image_url": "http://10.0.0.1/"}]}, "documents"),
        (wire.OPERATION_EMBEDDINGS, {"input": 7}, "input"),
        (wire.OPERATION_EMBEDDINGS, {"input": [{"image_url": "http://10.0.0.1/"}]}, "input"),
    ],
)
def test_other_endpoints(operation, body, param):
    found = replace(TARGETS[OPENAI], operations=frozenset({operation}))
    text = json.dumps(body).encode()
    opened = wire.Open(dialect=OPENAI, operation=operation, model="asked")
    with pytest.raises(Refused) as caught:
        sending(opened, read_body(text), found, text)
    assert caught.value.param == param


def test_what_is_told_of_a_document_is_no_address_to_fetch():
    found = replace(TARGETS[OPENAI], operations=frozenset({wire.OPERATION_RERANK}))
    text = json.dumps({"query": "x", "documents": [{"text": "a", "url": WITHIN}]}).encode()
    opened = wire.Open(dialect=OPENAI, operation=wire.OPERATION_RERANK, model="asked")
    assert sending(opened, read_body(text), found, text).body
