"""Several answers to one request between chat and Gemini, whole and streamed, and who refuses them by which name."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, OPENAI, RESPONSE, target, translated

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import Quirks
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
FLASH = replace(target(GEMINI), upstream_model="gemini-2.5-flash")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 2}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": 2}}
COUNTS = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
UNITS = {"input": 3, "output": 4}
CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}


def candidate(number, *parts, reason=None, **more):
    found = {"content": {"role": "model", "parts": list(parts)}, "index": number, **more}
    return found | ({"finishReason": reason} if reason else {})


def contents(*candidates):
    return {"candidates": list(candidates), "usageMetadata": COUNTS, "modelVersion": "up", "responseId": "r1"}


def choice(number, delta=None, reason=None, **more):
    return {"index": number, "delta": delta or {}, "finish_reason": reason, **more}


def chunk(*choices, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": list(choices), **more}  # fmt: skip


def frames(*found):
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in found)


CANDIDATES = frames(
    contents(candidate(0, {"text": "Hm.", "thought": True})),
    contents(candidate(1, {"text": "B"}), candidate(0, {"text": "A"})),
    contents(candidate(1, CALL, reason="STOP")),
    contents(candidate(0, {"text": "a"}, reason="MAX_TOKENS", groundingMetadata={"webSearchQueries": ["q"]})),
)
CHOICES = frames(
    chunk(choice(0, {"role": "assistant", "content": ""})),
    chunk(choice(1, {"role": "assistant", "content": ""})),
    chunk(choice(1, {"content": "B"}), choice(0, {"content": "A"})),
    chunk(choice(0, {"tool_calls": [{"index": 0, "id": "c1", "type": "function",
                                     "function": {"name": "f", "arguments": "{}"}}]})),
    chunk(choice(1, {}, "length")),
    chunk(choice(0, {}, "tool_calls")),
    chunk(usage=USAGE),
) + b"data: [DONE]\n\n"  # fmt: skip


def of_answer(stream, member, number):
    """Returns the stream as it would be if this answer were the only one."""
    out = []
    for frame in stream.split(b"\n\n")[:-1]:
        data = frame.removeprefix(b"data: ")
        if data == b"[DONE]":
            out.append(frame)
            continue
        found = json.loads(data)
        own = [one for one in found[member] if one["index"] == number]
        if own or not found[member]:
            out.append(b"data: %b" % json.dumps(found | {member: [one | {"index": 0} for one in own]}).encode())
    return b"".join(frame + b"\n\n" for frame in out)


def passed(sent, stream, cut):
    return sent.filter.feed(stream[:cut]) + sent.filter.feed(stream[cut:]) + sent.filter.finish()


def test_geminis_candidates_become_choices_of_chat():
    sent = translated(OPENAI, FLASH, CHAT)
    assert json.loads(sent.body)["generationConfig"] == {"candidateCount": 2}
    assert sent.dropped == ()
    whole = contents(candidate(1, CALL, reason="STOP"), candidate(0, {"text": "A"}, reason="STOP"))
    usage, body = sent.read(json.dumps(whole).encode())
    reply = json.loads(body)
    assert usage.units == UNITS
    assert reply["usage"]["completion_tokens"] == 4
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in reply["choices"]] == [
        (0, "A", "stop"),
        (1, None, "tool_calls"),
    ]
    expected = None
    for cut in range(0, len(CANDIDATES), 5):
        sent = translated(OPENAI, FLASH, CHAT, stream=True)
        out = passed(sent, CANDIDATES, cut)
        assert expected in {None, out}
        expected = out
    assert (sent.filter.complete, sent.filter.usage.units) == (True, UNITS | {"search": 1})
    first = check_chat(of_answer(out, "choices", 0), usage=True)
    second = check_chat(of_answer(out, "choices", 1), usage=True)
    assert (first["thought"], first["text"], first["reason"]) == ("Hm.", "Aa", "length")
    assert (second["text"], second["reason"]) == ("B", "tool_calls")
    assert [call[1:] for call in second["calls"].values()] == [["f", '{"a":1}']]
    # One usage and one end for all of them.
    assert (out.count(b'"usage"'), out.count(b"[DONE]")) == (1, 1)


@pytest.mark.parametrize("mended", [False, True])
def test_choices_of_chat_become_candidates(mended):
    upstream = target(OPENAI) if not mended else replace(target(OPENAI), conforming=False)
    sent = translated(GEMINI, upstream, CONTENTS)
    assert json.loads(sent.body)["n"] == 2
    assert sent.dropped == ()
    choices = [{"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
               for number, text in enumerate("AB")]  # fmt: skip
    usage, body = sent.read(json.dumps({"id": "x", "model": "up", "choices": choices, "usage": USAGE}).encode())
    reply = json.loads(body)
    assert usage.units == UNITS
    assert [(one["index"], one["content"]["parts"]) for one in reply["candidates"]] == [
        (0, [{"text": "A"}]),
        (1, [{"text": "B"}]),
    ]
    for cut in range(0, len(CHOICES), 5):
        sent = translated(GEMINI, upstream, CONTENTS, stream=True)
        out = passed(sent, CHOICES, cut)
        assert (sent.filter.complete, sent.filter.usage.units) == (True, UNITS)
        first = check_contents(of_answer(out, "candidates", 0))
        second = check_contents(of_answer(out, "candidates", 1))
        assert (first["text"], first["calls"], first["reason"]) == ("A", [("f", {})], "STOP")
        assert (second["text"], second["calls"], second["reason"]) == ("B", [], "MAX_TOKENS")


def test_an_answer_that_is_missing_makes_the_stream_a_broken_one():
    sent = translated(OPENAI, FLASH, CHAT, stream=True)
    out = sent.filter.feed(frames(contents(candidate(0, {"text": "A"}, reason="STOP")))) + sent.filter.finish()
    assert not sent.filter.complete
    assert b"[DONE]" not in out
    # The number of one that nobody asked for is passed over.
    sent = translated(OPENAI, FLASH, CHAT, stream=True)
    sent.filter.feed(frames(contents(candidate(7, {"text": "A"}, reason="STOP"))))
    assert sent.filter.frames == 0


@pytest.mark.parametrize("rubbish", [b"data: {\n\n", frames({"error": {"code": 429, "message": "x"}}), b"data: []\n\n"])
def test_errors(rubbish):
    sent = translated(OPENAI, FLASH, CHAT, stream=True)
    sent.filter.feed(frames(contents(candidate(0, {"text": "A"}))) + rubbish)
    assert sent.filter.problem is not None
    assert sent.filter.finish() == b""
    found = translated(OPENAI, FLASH, CHAT).read(b'{"error": {"code": 503, "message": "x"}}')
    assert isinstance(found, UpstreamProblem)
    assert found.kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (ANTHROPIC, {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
        (RESPONSE, {"model": "m", "input": "hi"}),
        # Of a response on the path of chat.
        (OPENAI, {"model": "m", "input": [{"role": "user", "content": "hi"}]}),
    ],
)
def test_a_dialect_that_knows_one_answer_has_the_members_named(dialect, body, stream):
    odd = {"n": 2, "logprobs": True}
    for upstream in (target(OPENAI), FLASH):
        if dialect != OPENAI or upstream is FLASH:
            sent = translated(dialect, upstream, body | odd, stream=stream)
            assert {"n", "logprobs"} <= set(sent.dropped)
            assert not {"n", "logprobs"} & json.loads(sent.body).keys()
            assert not {"candidateCount", "responseLogprobs"} & json.loads(sent.body).get("generationConfig", {}).keys()


CLAUDE = replace(target(ANTHROPIC), wire=WIRE_BEDROCK, upstream_model="anthropic.claude-haiku-4-5")
SINGLE = replace(target(OPENAI), quirks=WireQuirks(Quirks.model_validate({"request": {"refuse": ["n"]}})))
RESPONSES = replace(target(OPENAI), upstream_model="gpt-5.6", responses=True, tools_by_responses=True)
TOOLS = {"tools": [{"functionDeclarations": [{"name": "f"}]}]}


@pytest.mark.parametrize(
    ("dialect", "upstream", "body", "param"),
    [
        (OPENAI, target(GEMINI), CHAT, "n"),
        (OPENAI, FLASH, CHAT | {"n": 9}, "n"),
        (OPENAI, target(ANTHROPIC), CHAT, "n"),
        (OPENAI, CLAUDE, CHAT, "n"),
        (GEMINI, target(ANTHROPIC), CONTENTS, "candidateCount"),
        (GEMINI, CLAUDE, CONTENTS, "candidateCount"),
        (GEMINI, SINGLE, CONTENTS, "candidateCount"),
        (GEMINI, RESPONSES, CONTENTS | TOOLS, "candidateCount"),
    ],
)
def test_who_gives_one_answer_refuses_more_by_the_callers_name(dialect, upstream, body, param):
    with pytest.raises(Refused) as caught:
        translated(dialect, upstream, body)
    assert caught.value.param == param
    assert param in caught.value.message
