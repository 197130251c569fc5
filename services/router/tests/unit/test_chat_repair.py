"""Streams and replies that break clients, and what becomes of them: each row is one way in which providers deviate."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services.router.tests.fakes.dialects import check_chat

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import Quirks
from tollgate_router.domain.chat_repair import RepairedStream
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks
from tollgate_router.domain.upstream_errors import UpstreamProblem

pytestmark = pytest.mark.unit
GIVEN = {"id": "chatcmpl-given", "created": 5, "model": "given"}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "up"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
OTHER = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}


def chunk(delta=None, finish=None, head=HEAD, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: %b\n\n" % json.dumps({**head, "choices": choices, **more}).encode()


def stream(*deltas, finish="stop", **more):
    return b"".join((chunk({"role": "assistant", "content": ""}), *(chunk(delta, **more) for delta in deltas),
                     chunk({}, finish), b"data: [DONE]\n\n"))  # fmt: skip


HI = ({"content": "Grüße"}, {"content": ' "role" [DONE]'})
DONE = b"data: [DONE]\n\n"
TEXT = 'Grüße "role" [DONE]'
GOOD = stream(*HI)
BAD = {
    "nothing amiss": GOOD,
    "event lines": GOOD.replace(b"data: {", b"event: chunk\ndata: {"),
    "an event without data": b"event: open\n\n" + GOOD,
    "id and retry lines": GOOD.replace(b"data: {", b"id: 4\nretry: 9\ndata: {"),
    "CRLF": GOOD.replace(b"\n", b"\r\n"),
    "no blank behind data": GOOD.replace(b"data: ", b"data:"),
    "comments": b": ping\n\n" + GOOD.replace(b"data: [DONE]", b": ping\n\ndata: [DONE]"),
    "a ping without choices": GOOD.replace(b"data: [DONE]", b'data: {"type": "ping"}\n\ndata: [DONE]'),
    "choices that are null": GOOD.replace(DONE, b'data: {"id": "", "choices": null, "usage": null}\n\n' + DONE),
    "a role on each chunk": stream(*({"role": "assistant", **delta} for delta in HI)),
    "no role at all": b"".join((chunk(HI[0]), chunk(HI[1]), chunk({}, "stop"), DONE)),
    "no reason to finish": GOOD.replace(chunk({}, "stop"), b""),
    "an empty reason on each chunk": GOOD.replace(b'"finish_reason": null', b'"finish_reason": ""'),
    "the reason twice": GOOD.replace(DONE, chunk({}, "stop") + DONE),
    "an unknown reason": stream(*HI, finish="eos_token"),
    "no end": GOOD.removesuffix(DONE),
    "an error that is null": stream(*HI, error=None),
    "a message beside the delta": GOOD.replace(b'"delta"', b'"message": {"content": "Gr"}, "delta"'),
    "no id, no date and no object": GOOD.replace(json.dumps(HEAD)[1:-1].encode() + b", ", b""),
    "no index": GOOD.replace(b'"index": 0, ', b""),
    "content in pieces": stream({"content": [{"type": "text", "text": HI[0]["content"]}]}, HI[1]),
    "usage with every chunk": stream(*HI, usage=USAGE),
    "usage with the last chunk": GOOD.replace(chunk({}, "stop"), chunk({}, "stop", usage=USAGE)),
    "usage in a chunk of its own": GOOD.replace(DONE, chunk(None, usage=USAGE) + DONE),
}


def repaired(*, quirks=NO_QUIRKS, usage=False):
    return RepairedStream(quirks, GIVEN, usage_wanted=usage)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("usage", [False, True])
def test_what_breaks_clients_is_mended(name, usage):
    sent = BAD[name]
    reports = b"prompt_tokens" in sent
    for at in range(0, len(sent) + 1, 3):
        found = repaired(usage=usage)
        out = found.feed(sent[:at]) + found.feed(sent[at:]) + found.finish()
        # Comments keep a connection alive; one of them ends the batch for a client that knows it.
        assert b": ping" not in out
        said = check_chat(out.replace(b": keep-alive\n\n", b""), usage=usage and reports)
        assert (said["text"], said["reason"], found.problem, found.complete) == (TEXT, "stop", None, True)
        assert (found.usage is not None) == reports


def test_what_is_right_goes_on_byte_for_byte():
    words = ({"content": "a"}, {"content": 'b "role"'}, {"content": "c"})
    assert b"".join(map(chunk, words)) in repaired().feed(stream(*words))


PREFIX, _, SUFFIX = chunk({"content": "|"}).partition(b"|")


def passed(parts, **more):
    """Returns what a stream in these parts becomes, and its problem."""
    found = repaired(**more)
    out = b"".join([*map(found.feed, parts), found.finish()])
    return out, found.problem


def is_json(frame):
    try:
        json.loads(frame.removeprefix(b"data: "))
    except ValueError:
        return False
    return True


BROKEN_WORDS = [b"a\n\nb", b"a\nb", b"a\rb", b'a"b', b'a","b":"c', b"\n\n", b'"\\"']


@pytest.mark.parametrize("words", BROKEN_WORDS)
@pytest.mark.parametrize("behind", [b"", PREFIX + b"c" + SUFFIX])
def test_a_broken_frame_among_good_ones_is_found_however_they_are_cut(words, behind):
    good = 2 * (PREFIX + b"a" + SUFFIX)
    sent = chunk({"role": "assistant", "content": ""}) + good + PREFIX + words + SUFFIX + behind + DONE
    for at in range(len(sent) + 1):
        out, found = passed((sent[:at], sent[at:]))
        assert good in out
        assert all(map(is_json, out.removesuffix(DONE).removesuffix(b"\n\n").split(b"\n\n")))
        assert found is not None or words == b'a","b":"c'


@pytest.mark.parametrize("index", [[], {}, None, "0", 0.0, True])
def test_an_index_that_is_none_is_no_reason_to_fail(index):
    odd = chunk({"content": "b"}).replace(b'"index": 0', b'"index": ' + json.dumps(index).encode())
    sent = chunk({"role": "assistant", "content": "a"}) + odd + chunk({}, "stop") + DONE
    out, found = passed([sent])
    assert found is None
    assert b'"b"' in out


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(st.sampled_from('a ,:{}[]"\\\n\r\0é😀\ud83d') | st.characters(), max_size=5), max_size=8),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_words_go_on_byte_for_byte_however_they_are_written_and_cut(words, ascii_only, source):
    def frame(text):
        written = json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        return PREFIX.removesuffix(b'"') + written + SUFFIX.removeprefix(b'"')

    opening, frames = chunk({"role": "assistant", "content": ""}), b"".join(map(frame, words))
    sent = opening + frames + chunk({}, "stop") + DONE
    at = sorted(source.randrange(len(sent) + 1) for _ in range(source.randrange(4)))
    parts = [sent[start:end] for start, end in zip([0, *at], [*at, len(sent)], strict=True)]
    if any(0xD800 <= ord(letter) < 0xE000 for letter in "".join(words)):
        # Half a letter: it is passed on, or is no JSON; the same however it is cut.
        assert passed(parts) == passed([sent])
        return
    out, found = passed(parts)
    assert found is None
    assert frames in out
    assert out.count(b"\n\n") == len(words) + 3


CALLS = {
    "as they should be": ([{"tool_calls": [CALL]}, {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
                           {"tool_calls": [OTHER]}], "tool_calls"),
    "named again and again": ([{"tool_calls": [CALL]},
                               {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a":1}'}}]},
                               {"tool_calls": [OTHER]}], "tool_calls"),
    "two in one chunk": ([{"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a":1}'}}, OTHER]}],
                         "tool_calls"),
    "no index": ([{"tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": ""}}]},
                  {"tool_calls": [{"function": {"arguments": '{"a":1}'}}]},
                  {"tool_calls": [{"id": "call_2", "function": {"name": "g", "arguments": "{}"}}]}], "tool_calls"),
    "arguments that are an object": ([{"tool_calls": [{**CALL, "function": {"name": "f", "arguments": {"a": 1}}}]},
                                      {"tool_calls": [OTHER]}], "tool_calls"),
    "stop instead of tool_calls": ([{"tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a":1}'}}]},
                                    {"tool_calls": [OTHER]}], "stop"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls_have_a_number_and_are_named_once(name):
    deltas, finish = CALLS[name]
    said = check_chat(repaired().feed(stream(*deltas, finish=finish)), usage=False)
    assert said["calls"] == {0: ["call_1", "f", '{"a":1}'], 1: ["call_2", "g", "{}"]}
    assert said["reason"] == "tool_calls"


def test_a_call_and_its_end_in_one_chunk_without_an_id():
    bare = {"function": {"name": "f", "arguments": "{}"}}
    said = check_chat(repaired().feed(chunk({"role": "assistant", "tool_calls": [bare]}, "stop") + DONE), usage=False)
    assert (said["calls"], said["reason"]) == ({0: ["call_chatcmplgiven_0", "f", "{}"]}, "tool_calls")


def test_thoughts_under_another_name():
    said = check_chat(repaired().feed(stream({"reasoning": "Hm"}, *HI)), usage=False)
    assert (said["thought"], said["text"]) == ("Hm", TEXT)
    both = check_chat(repaired().feed(stream({"reasoning": "Hm", "reasoning_content": "Hm"}, *HI)), usage=False)
    assert both["thought"] == "Hm"


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"<!doctype html>\n\n", errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (b'{"error": {"message": "x", "code": "rate_limit_exceeded"}}\n\n', errors.ERROR_KIND_UPSTREAM_RATE_LIMITED),
        (b'data: {"error": {"message": "x", "code": 503}}\n\n', errors.ERROR_KIND_UPSTREAM_UNAVAILABLE),
        (b"data: [DONE]\n\n", errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (chunk({"content": "a"}) + b'data: {"choices": [{"del\n\n', errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (chunk({"content": "a"}) + chunk({}, "error", error={"message": "x", "code": 429}),
         errors.ERROR_KIND_UPSTREAM_RATE_LIMITED),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_problem(sent, kind):
    found = repaired()
    found.feed(sent)
    found.finish()
    assert found.problem is not None
    assert (found.problem.kind, found.complete) == (kind, False)


def test_a_stream_that_breaks_off_is_not_made_whole():
    found = repaired()
    out = found.feed(stream(*HI).partition(chunk({}, "stop"))[0]) + found.finish()
    assert b"[DONE]\n\n" not in out.removesuffix(b'[DONE]"}, "finish_reason": null}]}\n\n')
    assert not found.complete


def whole(message, quirks=NO_QUIRKS, finish="stop", **more):
    reply = {**HEAD, "choices": [{"message": message, "finish_reason": finish}], "usage": USAGE, **more}
    found = quirks.whole(json.dumps(reply).encode(), chat=True)
    return found if isinstance(found, UpstreamProblem) else json.loads(found)


def test_whole_replies():
    found = whole({"content": [{"type": "text", "text": "Hi"}], "reasoning": "Hm"}, error=None)
    assert found["choices"] == [
        {
            "message": {"content": "Hi", "role": "assistant", "reasoning_content": "Hm"},
            "finish_reason": "stop",
            "index": 0,
        }
    ]
    assert "error" not in found
    calls = whole({"role": "assistant", "tool_calls": [{**CALL}]})
    assert (calls["choices"][0]["finish_reason"], calls["choices"][0]["message"]["content"]) == ("tool_calls", None)
    body = json.dumps({**HEAD, "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"},
                                            "finish_reason": "stop"}]}).encode()  # fmt: skip
    assert NO_QUIRKS.whole(body, chat=True) is body


def test_usage_and_errors_where_the_data_says():
    quirks = WireQuirks(
        Quirks.model_validate(
            {
                "reply": {"usage": ["x.usage"], "finish_reasons": {"sensitive": "content_filter", "broken": "error"}},
                "error": {"at": ["status"], "message": ["words"], "code": ["number"], "fine": [0]},
                "errors": [{"means": "invalid_parameter", "words": ["bad {param} value"]}],
            }
        )
    )
    fine = {"status": {"number": 0, "words": "ok"}}
    found = whole({"role": "assistant", "content": "Hi"}, quirks, "sensitive", usage=None, x={"usage": USAGE}, **fine)
    assert (found["usage"], found["choices"][0]["finish_reason"]) == (USAGE, "content_filter")
    problem = whole({"content": ""}, quirks, status={"number": 5, "words": "A bad top_p value."})
    assert (problem.kind, problem.param) == (errors.ERROR_KIND_INVALID_REQUEST, "top_p")
    assert whole({"content": "x"}, quirks, "broken").kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE
    one = repaired(quirks=quirks, usage=True)
    sent = stream(*HI, **fine).replace(chunk({}, "stop"), chunk({}, "sensitive", x={"usage": USAGE}))
    said = check_chat(one.feed(sent), usage=True)
    assert (said["reason"], said["usage"]) == ("content_filter", USAGE)
