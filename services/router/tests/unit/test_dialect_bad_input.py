"""Bad input of every dialect that is translated: refused with the name of the field, or carried; never anything else.

The cases are made from bodies that use every member of a dialect: each member in turn has every other kind of value.
"""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.router.tests.fakes.dialect_bodies import PNG, at, places, replaced
from services.router.tests.fakes.translating import (
    ANTHROPIC,
    BODIES,
    GEMINI,
    OPENAI,
    PAIRS,
    RESPONSE,
    target,
    translated,
)

from tollgate_router.errors import InvalidBody, Refused

pytestmark = pytest.mark.unit
TARGETS = {upstream: target(upstream) for upstream in (OPENAI, ANTHROPIC, GEMINI)}
pairs = pytest.mark.parametrize(("dialect", "upstream"), PAIRS.values(), ids=PAIRS)
WRONG = [True, 7, -1.5, 10**40, "x", "", [], [7], [None], {}, {"a": 1}]
# Members that also take another kind, by their names: text for a list of parts, one for a list of one.
ALSO = {
    "content": (str, list),
    "contents": (str, dict),
    "input": (str,),
    "output": (str, list),
    "stop": (str,),
    "system": (str,),
    "systemInstruction": (str,),
}


def kind(value):
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def carried(dialect, upstream, body, **more):
    """Returns what is sent, or None where it was refused; raises anything else."""
    try:
        return translated(dialect, TARGETS[upstream], body, **more)
    except Refused as refused:
        said = refused.message
    assert said.strip()
    return None


def names_of(place):
    return [name for name in place if isinstance(name, str)]


@pairs
def test_another_kind_of_value_is_refused_by_the_name_of_its_field(dialect, upstream):
    body = BODIES[dialect]
    assert translated(dialect, TARGETS[upstream], body).body
    wrong = []
    for place in places(body):
        # Which model it is, edge has read.
        if place == ("model",):
            continue
        for value in WRONG:
            usual, name = at(body, place), names_of(place)[-1]
            same = kind(value) in {kind(usual), *(ALSO.get(name, ()) if not isinstance(place[-1], int) else ())}
            try:
                translated(dialect, TARGETS[upstream], replaced(body, place, value))
            except Refused as refused:
                if name not in refused.message and place[0] not in refused.message:
                    wrong.append((place, value, "is not named", refused.message))
            else:
                if not same:
                    wrong.append((place, value, "was carried"))
    assert wrong == []


@pairs
def test_a_member_that_is_null_or_not_there_is_refused_or_does_without(dialect, upstream):
    body = BODIES[dialect]
    for place in places(body):
        outer = at(body, place[:-1])
        without = [one for one in outer if one is not outer[place[-1]]] if isinstance(outer, list) else dict(outer)
        if isinstance(without, dict):
            del without[place[-1]]
        for changed in (replaced(body, place, None), replaced(body, place[:-1], without)):
            carried(dialect, upstream, changed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
# What stands anywhere in these bodies, so that members get the values of other members.
known_values = st.sampled_from([at(body, place) for body in BODIES.values() for place in places(body)])


@pairs
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_json_is_carried_or_refused(dialect, upstream, data):
    body: Any = BODIES[dialect]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(body)) or [()]))
        body = replaced(body, place, data.draw(json_values | known_values))
    stream = data.draw(st.booleans())
    sent = carried(dialect, upstream, body, stream=stream)
    assert sent is None or isinstance(json.loads(sent.body), dict)


# What a field may not say.


def chat_part(part):
    return OPENAI, {"messages": [{"role": "user", "content": [part]}]}


def block(one):
    return ANTHROPIC, {"max_tokens": 9, "messages": [{"role": "user", "content": [one]}]}


def gemini_part(part):
    return GEMINI, {"contents": [{"role": "user", "parts": [part]}]}


def item_part(part):
    return RESPONSE, {"input": [{"role": "user", "content": [part]}]}


def pictures(url):
    """A picture by an address, in every dialect that has them, and the field that is at fault."""
    return [
        (chat_part({"type": "image_url", "image_url": {"url": url}}), "messages[0].content[0].image_url.url"),
        (block({"type": "image", "source": {"type": "url", "url": url}}), "messages.0.content.0.source.url"),
        (
            gemini_part({"fileData": {"mimeType": "image/png", "fileUri": url}}),
            "contents[0].parts[0].fileData.fileUri",
        ),
        (item_part({"type": "input_image", "image_url": url}), "input[0].content[0].image_url"),
    ]


def inline(data):
    return [
        (
            chat_part({"type": "image_url", "image_url": f"data:image/png;base64,{data}"}),
            "messages[0].content[0].image_url",
        ),
        (chat_part({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{data}"}}), "file_data"),
        (chat_part({"type": "input_audio", "input_audio": {"format": "wav", "data": data}}), "input_audio.data"),
        (
            block({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}),
            "messages.0.content.0.source.data",
        ),
        (gemini_part({"inlineData": {"mimeType": "image/png", "data": data}}), "contents[0].parts[0].inlineData.data"),
        (item_part({"type": "input_image", "image_url": f"data:image/png;base64,{data}"}), "input[0].content[0]"),
        (item_part({"type": "input_audio", "input_audio": {"format": "wav", "data": data}}), "input_audio.data"),
    ]


def refusal(asked, upstream=None):
    dialect, body = asked
    wire = upstream or (OPENAI if dialect != OPENAI else ANTHROPIC)
    with pytest.raises(Refused) as caught:
        translated(dialect, TARGETS[wire], body)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png", "http://127.1/a", "http://2130706433/a", "http://0x7f.0.0.1/a", "http://[::1]/a",
        "http://[::ffff:10.0.0.1]/a", "http://169.254.169.254/latest/meta-data", "https://10.1.2.3/a",
        "https://localhost/a", "https://db.internal/a", "https://printer.local./a", "https://router/a", "http://[fd00::1]/",
        "http://[2002:7f00:1::]/", "http://224.0.0.1/", "ftp://files.example/a", "file:///etc/passwd", "gs://bucket/a",
        "//host.example/a", "https://", "https://host.example:99999/", "https://host.example/a b", "x", "",
        "http://[::1", "data:image/png,raw",
    ],
)  # fmt: skip
def test_an_address_that_nobody_outside_may_fetch(url):
    for asked, field in pictures(url):
        refused = refusal(asked)
        # Gemini's data has a member of its own.
        assert field in refused.message


def test_an_address_of_the_public_is_carried():
    for asked, _ in pictures("https://pictures.example:8443/a.png?size=1#x"):
        dialect, body = asked
        assert (
            b"pictures.example" in translated(dialect, TARGETS[OPENAI if dialect != OPENAI else ANTHROPIC], body).body
        )


@pytest.mark.parametrize("data", ["%%%%", "aGk=aGk=", "a", "aGk é", "\u0661\u0661", "=", "", "a,b?"])
def test_broken_base64(data):
    for asked, field in inline(data):
        refused = refusal(asked)
        assert field in refused.message
        assert refused.param in {"messages", "contents", "input"}


def test_base64_of_addresses_without_padding_or_in_lines_is_mended():
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n\xfb\xff\xfe" + b"0" * 11).decode()
    for odd in (data.replace("+", "-").replace("/", "_"), data.rstrip("="), data[:8] + "\r\n" + data[8:]):
        sent = translated(*_with(GEMINI, OPENAI, gemini_part({"inlineData": {"mimeType": "image/png", "data": odd}})))
        (turn,) = json.loads(sent.body)["messages"]
        assert turn["content"][0]["image_url"]["url"] == f"data:image/png;base64,{data}"


def _with(dialect, upstream, asked):
    assert asked[0] == dialect
    return dialect, TARGETS[upstream], asked[1]


def tools_of(dialect, count):
    if dialect == OPENAI:
        return {"tools": [{"type": "function", "function": {"name": f"f{one}"}} for one in range(count)]}
    if dialect == GEMINI:
        return {"tools": [{"functionDeclarations": [{"name": f"f{one}"} for one in range(count)]}]}
    if dialect == ANTHROPIC:
        return {"tools": [{"name": f"f{one}", "input_schema": {}} for one in range(count)]}
    inner = [{"type": "function", "name": f"f{one}"} for one in range(count)]
    return {"tools": [{"type": "namespace", "name": "s", "tools": inner}]}


PLAIN = {
    OPENAI: {"messages": [{"role": "user", "content": "hi"}]},
    ANTHROPIC: {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    GEMINI: {"contents": [{"parts": [{"text": "hi"}]}]},
    RESPONSE: {"input": "hi"},
}


@pairs
def test_five_thousand_tools(dialect, upstream):
    refused = refusal((dialect, PLAIN[dialect] | tools_of(dialect, 5000)), upstream)
    assert refused.param == "tools"
    assert "5000" in refused.message
    assert translated(dialect, TARGETS[upstream], PLAIN[dialect] | tools_of(dialect, 1000)).body


@pairs
def test_schemas_that_nest_ever_deeper(dialect, upstream):
    tools = json.dumps(tools_of(dialect, 1)["tools"])
    place = {OPENAI: "parameters", ANTHROPIC: "input_schema", GEMINI: "parametersJsonSchema", RESPONSE: "parameters"}
    for depth in (60, 900, 5000, 100_000):
        deep = '{"properties":' * depth + "{}" + "}" * depth
        text = tools.replace('"f0"', f'"f0","{place[dialect]}":{deep}')
        text = text.replace(', "input_schema": {}', "")
        body = json.dumps(PLAIN[dialect])[:-1] + ',"tools":' + text + "}"
        try:
            assert depth in json_depths(translated(dialect, TARGETS[upstream], body.encode()).body)
        except (Refused, InvalidBody):
            # Edge lets at most 64 levels in; what is deeper may fail here, but only so.
            assert depth > 60


def json_depths(body):
    return range(body.count(b"{") - 12, body.count(b"{"))


@pairs
@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 5000, "1" + "0" * 40, "NaN", "Infinity"])
def test_numbers_beyond_every_range(dialect, upstream, number):
    name = {OPENAI: "max_tokens", ANTHROPIC: "top_k", RESPONSE: "max_output_tokens"}.get(dialect)
    more = f'"generationConfig":{{"seed":{number}}}' if name is None else f'"{name}":{number}'
    body = json.dumps(PLAIN[dialect])[:-1] + f",{more}}}"
    with pytest.raises((Refused, InvalidBody)) as caught:
        translated(dialect, TARGETS[upstream], body.encode())
    if isinstance(caught.value, Refused):
        assert (name or "generationConfig") in caught.value.message


@pytest.mark.parametrize(
    ("value", "name"),
    [("temperature", 2.1), ("temperature", -0.1), ("top_p", 1.1), ("presence_penalty", 3), ("frequency_penalty", -3)],
)
def test_numbers_out_of_the_range_of_their_field(value, name):
    assert refusal((OPENAI, PLAIN[OPENAI] | {value: name})).param == value


@pairs
@pytest.mark.parametrize("twice", ["top", "inner", "escaped"])
def test_a_name_that_stands_twice(dialect, upstream, twice):
    body = json.dumps(BODIES[dialect])
    if twice == "top":
        name = json.loads(body).popitem()[0]
        body, field = body[:-1] + f',"{name}":1}}', name
    else:
        field = "role"
        other = field if twice == "inner" else "r\\u006fle"
        body = body.replace('"role"', f'"{other}": "user", "role"', 1)
    refused = refusal((dialect, body.encode()), upstream)
    assert field in refused.message
    assert "twice" in refused.message
    assert refused.param == field


def test_names_that_only_look_alike_stand_once():
    schema = {"properties": {'a"': {}, "a\\": {}, "a": {}, "a\\\\": {}, 'a\\"': {}, "\x00": {}, "\x01": {}, '"': {}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"messages": [{"role": "user", "content": 'say: "role": "x", \\"'}], "tools": [tool, tool]}
    sent = translated(OPENAI, TARGETS[ANTHROPIC], body)
    assert json.loads(sent.body)["tools"][0]["input_schema"]["properties"] == schema["properties"]


@pairs
def test_names_that_a_header_cannot_carry_are_told_without_what_it_cannot(dialect, upstream):
    odd = {"a\r\nset-cookie: x": 2, "é": 2, "": 2, "long" * 1000: 2, **{f"n{one}": 2 for one in range(100)}}
    dropped = translated(dialect, TARGETS[upstream], PLAIN[dialect] | odd).dropped
    assert dropped[:3] == ("a__set-cookie__x", "_", "_")
    assert len(", ".join(dropped)) < 1000
    assert dropped[-1] == "..."


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ((OPENAI, {"messages": [{"role": "robot", "content": "x"}]}), "messages[0].role"),
        ((ANTHROPIC, {"max_tokens": 9, "messages": [{"role": "robot", "content": "x"}]}), "messages.0.role"),
        ((GEMINI, {"contents": [{"role": "robot", "parts": []}]}), "contents[0].role"),
        ((RESPONSE, {"input": [{"role": "robot", "content": "x"}]}), "input[0].role"),
        (chat_part({"type": "hologram"}), "messages[0].content[0].type"),
        (block({"type": "hologram"}), "messages.0.content.0.type"),
        (gemini_part({"hologram": {}}), "contents[0].parts[0]"),
        (item_part({"type": "hologram"}), "input[0].content[0].type"),
        ((RESPONSE, {"input": [{"type": "hologram"}]}), "input[0].type"),
        ((OPENAI, {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}), "messages[0]"),
        (block({"type": "tool_result", "tool_use_id": "c"}), "messages.0.content.0"),
        (gemini_part({"functionResponse": {"name": "f", "response": {}}}), "contents[0].parts[0].functionResponse"),
        ((RESPONSE, {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}), "input[0]"),
        ((OPENAI, {"messages": [{"role": "user", "content": PNG, "tool_calls": 7}]}), "messages[0].tool_calls"),
    ],
)
def test_what_is_unknown_or_answers_nothing(asked, field):
    assert field in refusal(asked).message
