"""Editing a request's body by member, and reading the usage of a whole reply."""

import json

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.openai_chat import ChatStream, ReplyUsage, read_body, read_reply, write_body, write_parts
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import InvalidBody

pytestmark = pytest.mark.unit

BIG = b'{"n": 123456789012345678901234567890, "f": 1e400, "s": "\\ud83d\\ude00 \\u0000"}'


@pytest.mark.parametrize(
    ("body", "stream", "edited"),
    [
        (b'{"model":"a","messages":[]}', False, b'{"model":"up","messages":[]}'),
        (b'{"messages":[]}', False, b'{"messages":[],"model":"up"}'),
        (b'{"model":"a","model":"b"}', False, b'{"model":"up"}'),
        (b'{"x":1,"model":"a","x":2}', False, b'{"x":2,"model":"up"}'),
        (b'{"model":"a","x": ' + BIG + b"}", False, b'{"model":"up","x":' + BIG + b"}"),
        (b'{"model":"a","stream":true}', False, b'{"model":"up","stream":true}'),
        (
            b'{"model":"a","stream":true}',
            True,
            b'{"model":"up","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream_options":{"include_usage":false,"more":[1]},"model":"a"}',
            True,
            b'{"stream_options":{"include_usage":true,"more":[1]},"model":"up"}',
        ),
        (b'{"stream_options":null,"model":"a"}', True, b'{"stream_options":{"include_usage":true},"model":"up"}'),
        (b'{"stream_options":[1],"model":"a"}', True, b'{"stream_options":[1],"model":"up"}'),
        (b'{"stream_options":{"include_usage":false},"model":"a"}', False, None),
    ],
)
def test_a_body_is_edited_by_member(body, stream, edited):
    wanted = edited if edited is not None else body.replace(b'"a"', b'"up"')
    assert write_body(read_body(body), "up", stream=stream) == wanted
    assert b"".join(write_parts(read_body(bytearray(body)), "up", stream=stream)) == wanted


def test_a_body_is_written_for_each_attempt():
    members = read_body(b'{"model":"a","stream_options":{"more":1}}')
    written = [write_body(members, name, stream=True) for name in ("up", "other")]
    assert [json.loads(one) for one in written] == [
        {"model": name, "stream_options": {"more": 1, "include_usage": True}} for name in ("up", "other")
    ]


def test_a_model_name_is_encoded():
    assert json.loads(write_body(read_body(b'{"model":"a"}'), 'na"me/\\ü', stream=False)) == {"model": 'na"me/\\ü'}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"x"', b"{", b'{"a":}', b'{"a":1}x', b"<html>", b'{"model":"a"', b"\xff\xfe"]
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(InvalidBody):
        read_body(body)


def reply(usage, more="") -> bytes:
    return f'{{"id":"1","choices":[{{"index":0}}]{more},"usage":{usage}}}'.encode()


SIMPLE = '{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}'


@pytest.mark.parametrize(
    ("usage", "units", "estimated"),
    [
        (SIMPLE, {"input": 12, "output": 3}, False),
        ('{"prompt_tokens":12,"completion_tokens":3}', {"input": 12, "output": 3}, False),
        ('{"prompt_tokens":12,"completion_tokens":0}', {"input": 12}, False),
        ('{"prompt_tokens":12,"completion_tokens":3,"total_tokens":99}', {"input": 12, "output": 3}, True),
        (
            (
                '{"prompt_tokens":12,"completion_tokens":3,"total_tokens":22,"completion_tokens_details":'
                '{"reasoning_tokens":7}}'
            ),
            {"input": 12, "reasoning": 7, "output": 3},
            False,
        ),
        (
            (
                '{"prompt_tokens":12,"completion_tokens":9,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":5,'
                '"audio_tokens":2},"completion_tokens_details":{"reasoning_tokens":4}}'
            ),
            {"cache_read": 5, "audio_input": 2, "input": 5, "reasoning": 4, "output": 5},
            False,
        ),
        (
            '{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":50}}',
            {"cache_read": 12, "output": 3},
            True,
        ),
        (
            '{"prompt_tokens":12,"completion_tokens":3,"prompt_cache_hit_tokens":4}',
            {"cache_read": 4, "input": 8, "output": 3},
            False,
        ),
        ('{"prompt_tokens":12.0,"completion_tokens":3}', {"input": 12, "output": 3}, True),
        (
            '{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":"none"}',
            {"input": 12, "output": 3},
            True,
        ),
        # A count where an object belongs once ended the request with an error of ours.
        ('{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":0}', {"input": 12, "output": 3}, True),
        (
            '{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":null}',
            {"input": 12, "output": 3},
            False,
        ),
    ],
)
def test_usage_becomes_exclusive_units(usage, units, estimated):
    found = read_reply(reply(usage))
    assert isinstance(found, ReplyUsage)
    assert dict(found.units) == units
    assert found.estimated == estimated


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[]}',
        reply("null"),
        reply('{"prompt_tokens":-1,"completion_tokens":3}'),
        reply('{"prompt_tokens":12}'),
        reply('{"completion_tokens":3}'),
        reply('{"prompt_tokens":"many","completion_tokens":3}'),
        reply('{"prompt_tokens":99999999999,"completion_tokens":3}'),
        reply("[]"),
        reply('"12"'),
        reply("{}"),
    ],
)
def test_usage_that_says_nothing_or_cannot_be_true_is_none(body):
    assert read_reply(body) is None


def test_embeddings_need_no_completion():
    found = read_reply(b'{"object":"list","data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}')
    assert isinstance(found, ReplyUsage)
    assert dict(found.units) == {"input": 8}
    assert not found.estimated


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"null",
        b"[]",
        b"{}",
        b'{"usage":' + SIMPLE.encode() + b"}",
        reply(SIMPLE)[:-1],
        b'{"choices":{}}',
        b'{"choices":null,"data":null}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_reply_is_a_problem(body):
    found = read_reply(body)
    assert isinstance(found, UpstreamProblem)
    assert found.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL


def test_an_error_object_with_status_200_is_a_problem_whatever_is_beside_it():
    for more in (b"", b',"choices":[{"index":0}],"usage":' + SIMPLE.encode()):
        found = read_reply(b'{"error":{"message":"overloaded","type":"server_error"}' + more + b"}")
        assert isinstance(found, UpstreamProblem)


def test_an_error_of_null_is_none():
    found = read_reply(reply(SIMPLE, ',"error":null'))
    assert isinstance(found, ReplyUsage)


@pytest.mark.parametrize(
    ("said", "service"),
    [
        ('"flex"', "flex"),
        ('"Priority"', "priority"),
        ('"default"', ""),
        ('"auto"', ""),
        ("null", ""),
        ("7", ""),
        ('"no such word!"', ""),
        (f'"{"x" * 33}"', ""),
    ],
)
def test_the_tier_of_service_is_read_with_the_usage(said, service):
    usage = '"usage":{"prompt_tokens":3,"completion_tokens":2}'
    whole = read_reply(f'{{"choices":[{{}}],{usage},"service_tier":{said}}}'.encode())
    # A choice that is no list of objects makes the reply be read member by member.
    odd = usage.replace(":3", ":3.0")
    mended = read_reply(f'{{"choices":[{{}}],{odd},"service_tier":{said}}}'.encode())
    stream = ChatStream(usage_wanted=True)
    stream.feed(f'data: {{"choices":[],{usage},"service_tier":{said}}}\n\n'.encode())
    stream.finish()
    assert [found.service for found in (whole, mended, stream.usage)] == [service] * 3
    assert whole.units == stream.usage.units == {"input": 3, "output": 2}
