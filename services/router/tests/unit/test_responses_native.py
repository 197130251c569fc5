"""The Responses API at a provider that speaks it: what is sent, what passes, and what is read on the way."""

import json
from dataclasses import replace

import pytest
from msgspec import Raw
from services.router.tests.fakes.dialects import check_chat, check_responses, frames
from services.router.tests.fakes.translating import OPENAI, RESPONSE, target
from services.router.tests.unit.test_dialect_streams import CHAT as CHAT_STREAM

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import Quirks
from tollgate_router.domain.dialects.responses_native_stream import NativeStream
from tollgate_router.domain.dialects.responses_request import sealed
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused

pytestmark = pytest.mark.unit
NATIVE = replace(target(OPENAI), responses=True)
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 16,
}
UNITS = {"input": 5, "cache_read": 4, "output": 2, "reasoning": 5}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ab"}]}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}
TOLD = {"id": b'"resp_ours"', "store": b"true", "previous_response_id": b'"resp_before"'}


def asked(one=NATIVE, *, stream=False, remembers=False, dialect=RESPONSE, **body):
    data = json.dumps({"model": "asked", "input": "hi", **body}).encode()
    opened = wire.Open(
        dialect=dialect, operation=wire.OPERATION_CHAT, model="asked", stream=stream, body_length=len(data),
        request_id="req_1", usage_wanted=True,
    )  # fmt: skip
    return sending(opened, read_body(data), one, data, remembers=remembers)


def sent(**body):
    return json.loads(asked(**body).body)


def response(status="completed", **more):
    return {"id": "resp_theirs", "object": "response", "status": status, "error": None, "output": [], **more}


def ended(**more):
    return response(output=[MESSAGE], usage=USAGE, **more)


def event(kind, number, **members):
    body = {"type": kind, "sequence_number": number, **members}
    return f"event: {kind}\ndata: {json.dumps(body)}\n\n".encode()


OPENING = event("response.created", 0, response=response("in_progress")) + event(
    "response.in_progress", 1, response=response("in_progress")
)
WHERE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
BEGUN = event("response.output_item.added", 2, output_index=0, item=MESSAGE | {"content": []})
SAID = (
    event("response.content_part.added", 3, **WHERE, part={"type": "output_text", "text": ""})
    + event("response.output_text.delta", 4, **WHERE, delta='a "response"')
    + event("response.output_text.delta", 5, **WHERE, delta='"error"')
    + event("response.output_text.done", 6, **WHERE, text='a "response""error"')
)
ANSWER = {**MESSAGE, "content": [{"type": "output_text", "text": 'a "response""error"'}]}
DONE = event("response.output_item.done", 7, output_index=0, item=ANSWER)
LAST = event("response.completed", 8, response=ended() | {"output": [ANSWER]})
STREAM = OPENING + BEGUN + SAID + DONE + LAST


# What is sent.


def test_a_body_goes_as_it_came_but_for_model_and_storing():
    body = {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "é", "odd": 1}]}],
        "tools": [{"type": "web_search"}, {"type": "function", "name": "f", "strict": True}],
        "metadata": {"a": "b"},
        "a_member_of_tomorrow": [1.50, None],
    }
    found = asked(**body)
    assert (found.path, found.dropped) == (b"/responses", ())
    assert json.loads(found.body) == {**body, "model": NATIVE.upstream_model, "store": False}


def test_only_its_own_dialect_is_passed_and_only_where_it_is_spoken():
    assert asked(target(OPENAI)).path == b"/chat/completions"
    # One client sends such a body to chat's path, and waits for chunks.
    found = asked(dialect=OPENAI, stream=True)
    assert found.path == b"/chat/completions"
    assert check_chat(found.filter.feed(CHAT_STREAM), usage=True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"store": True}, "store"),
        ({"store": 7}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
    ],
)
def test_what_needs_a_memory_is_refused_here_as_well(body, param):
    with pytest.raises(Refused) as caught:
        asked(**body)
    assert caught.value.param == param
    if param in {"conversation", "prompt", "background"}:
        with pytest.raises(Refused):
            asked(remembers=True, **body)


THEIRS = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAAabc"}


def test_thoughts_that_the_provider_did_not_seal_are_not_sent():
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed("hm", "sig", "")}
    bare = {"type": "reasoning", "id": "rs_3", "summary": [{"type": "summary_text", "text": "hm"}]}
    words = {"role": "user", "content": 'about "reasoning"'}
    found = asked(input=[ours, words, THEIRS, bare, MESSAGE])
    assert json.loads(found.body)["input"] == [words, THEIRS, MESSAGE]
    assert found.dropped == ("input.reasoning",)
    assert asked(input=[words, THEIRS]).dropped == ()
    # What cannot be read is the provider's to refuse.
    assert sent(input=[7, {"type": "reasoning", "encrypted_content": 7}])["input"][0] == 7


def test_of_a_remembered_request_the_names_that_were_given_here_stay_here():
    items = [{"type": "message", "id": "msg_x_in0", "role": "user", "content": "hi"}, MESSAGE, THEIRS]
    body = sent(input=items, remembers=True, store=True, previous_response_id="resp_1")
    assert body["input"] == [{"type": "message", "role": "user", "content": "hi"}, MESSAGE, THEIRS]
    assert body["store"] is False
    assert "previous_response_id" not in body
    assert "include" not in body


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ["reasoning.encrypted_content"]), (["x"], ["x", "reasoning.encrypted_content"])],
)
def test_thoughts_of_a_response_that_is_kept_come_sealed(given, expected):
    more = {} if given is None else {"include": given}
    body = sent(remembers=True, store=True, reasoning={"effort": "low"}, **more)
    assert body["include"] == expected
    assert sent(remembers=True, store=False, reasoning={"effort": "low"}, **more).get("include") == given


def test_a_long_body_goes_in_parts_and_says_the_same():
    long = "x" * 100_000
    found = asked(input=long)
    assert isinstance(found.body, tuple)
    assert json.loads(b"".join(found.body)) == {"model": NATIVE.upstream_model, "input": long, "store": False}


# Whole replies.


def test_a_whole_reply_passes_untouched_and_is_counted():
    body = json.dumps(ended(service_tier="flex"), indent=1).encode()
    usage, passed = asked().read(body)
    assert (passed, usage.units, usage.service, usage.estimated) == (body, UNITS, "flex", False)


def test_a_thought_that_a_client_only_points_at_is_left_out_and_named():
    """The AI SDK does so where it was not told that nothing is stored."""
    words = {"type": "message", "role": "user", "content": "hi"}
    thought, other = ({"type": "item_reference", "id": known} for known in ("rs_1", "msg_1"))
    found = asked(input=[thought, words])
    assert (json.loads(found.body)["input"], found.dropped) == ([words], ("input.reasoning",))
    assert sent(input=[words, other])["input"] == [words, other]
    there = asked(replace(target(OPENAI), responses=False), input=[thought, words])
    assert "input.item_reference" in there.dropped
    with pytest.raises(Refused, match="item_reference"):
        asked(replace(target(OPENAI), responses=False), input=[words, other])


def test_a_remembered_reply_bears_the_names_that_it_has_here():
    told = asked(remembers=True, store=True, previous_response_id="resp_0")
    _, passed = told.read(json.dumps(ended(x=1)).encode())
    own = {"id": "resp_1", "store": True, "previous_response_id": "resp_0"}
    assert json.loads(passed) == {**ended(x=1), **own}


CALLS = [
    SEARCH,
    SEARCH | {"action": {"type": "open_page"}},
    {"type": "code_interpreter_call"},
    {"type": "shell_call", "environment": {"type": "local"}},
    {"type": "shell_call", "environment": {"type": "container_reference"}},
    {"type": "function_call", "name": "f"},
    {"type": "mcp_call"},
]


def test_calls_of_tools_that_run_at_the_provider_are_counted():
    usage, _ = asked().read(json.dumps(response(output=[MESSAGE, *CALLS], usage=USAGE)).encode())
    assert usage.units == {**UNITS, "search": 1, "tool_call:code_interpreter": 1, "tool_call:shell": 1}
    said = response(output=[SEARCH], usage=USAGE, tool_usage={"web_search": {"num_requests": 3}})
    usage, _ = asked().read(json.dumps(said).encode())
    assert usage.units == {**UNITS, "search": 3}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (b"[]", errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (b"{}", errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (b'{"output": "x"}', errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (json.dumps(ended()).encode()[:-9], errors.ERROR_KIND_UPSTREAM_PROTOCOL),
        (b'{"error": {"code": "rate_limit_exceeded"}}', errors.ERROR_KIND_UPSTREAM_RATE_LIMITED),
        (json.dumps(response("failed")).encode(), errors.ERROR_KIND_UPSTREAM_UNAVAILABLE),
        (json.dumps(response("failed", error={"code": "server_error"})).encode(),
         errors.ERROR_KIND_UPSTREAM_UNAVAILABLE),
        (json.dumps(response("failed", error={"code": "invalid_image", "message": "x"})).encode(),
         errors.ERROR_KIND_INVALID_REQUEST),
        (json.dumps(response("failed", error={"code": "invalid_prompt"})).encode(), errors.ERROR_KIND_CONTENT_POLICY),
    ],
)  # fmt: skip
def test_replies_that_are_none_and_that_failed(body, kind):
    found = asked().read(body)
    assert isinstance(found, UpstreamProblem)
    assert found.kind == kind


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": -1, "output_tokens": 2}, {"output_tokens": 1}, "x"])
def test_usage_that_says_nothing_is_none(usage):
    found, _ = asked().read(json.dumps(response(output=[MESSAGE], usage=usage)).encode())
    assert found is None


# Streams.


def read(*pieces, told=None):
    one = NativeStream(told or {})
    return b"".join(map(one.feed, pieces)) + one.finish(), one


def test_a_stream_passes_untouched_wherever_it_is_cut():
    check_responses(STREAM)
    for cut in range(len(STREAM)):
        out, one = read(STREAM[:cut], STREAM[cut:])
        assert (out, one.complete, one.usage.units) == (STREAM, True, UNITS), cut
        assert one.frames == 2


def test_a_remembered_stream_bears_the_names_that_it_has_here():
    told = {name: Raw(value) for name, value in TOLD.items()}
    out, one = read(STREAM, told=told)
    assert check_responses(out)["id"] == "resp_ours"
    assert one.usage.units == UNITS
    whole = [data["response"] for _, data in frames(out) if "response" in data]
    assert len(whole) == 3
    for found in whole:
        assert (found["id"], found["store"], found["previous_response_id"]) == ("resp_ours", True, "resp_before")
    assert SAID + DONE in out
    for cut in range(len(STREAM)):
        assert read(STREAM[:cut], STREAM[cut:], told=told)[0] == out


def test_nothing_goes_out_before_there_is_something_of_an_answer():
    one = NativeStream({})
    assert one.feed(b": hello\n\n" + OPENING) == b""
    assert one.feed(BEGUN) == OPENING + BEGUN
    assert not one.complete
    assert one.frames == 1


ERROR = {"type": "server_error", "code": "rate_limit_exceeded", "message": "slow down"}
FAILURES = {
    "nested": event("error", 2, error=ERROR),
    "flat": event("error", 2, code="rate_limit_exceeded", message="slow down", param=None),
    "failed": event("response.failed", 2, response=response("failed", error=ERROR)),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_stream_that_fails(failure):
    out, one = read(OPENING + failure)
    assert (out, one.problem.kind, one.complete) == (b"", errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, False)
    # In the same read as the first words: nothing is out yet, and another provider may be asked.
    out, one = read(OPENING + BEGUN + SAID + failure)
    assert (out, one.complete) == (b"", False)
    out, one = read(OPENING + BEGUN, SAID + failure + DONE, LAST)
    assert (out, one.problem.kind) == (OPENING + BEGUN + SAID, errors.ERROR_KIND_UPSTREAM_RATE_LIMITED)


def test_what_a_stream_that_failed_used_is_known():
    failed = event("response.failed", 8, response=response("failed", error=ERROR, usage=USAGE))
    _, one = read(OPENING + BEGUN, SAID + failed)
    assert one.usage.units == UNITS


def test_an_incomplete_response_is_complete_as_a_stream():
    last = event("response.incomplete", 8, response=ended(status="incomplete") | {"output": [ANSWER]})
    out, one = read(OPENING + BEGUN + SAID + DONE + last)
    assert (out.endswith(last), one.complete) == (True, True)


def test_a_stream_that_breaks_off_is_not_complete():
    for cut in range(len(STREAM) - 2):
        out, one = read(STREAM[:cut])
        if not one.complete:
            assert STREAM.startswith(out)
        else:
            assert cut >= len(STREAM) - 2


@pytest.mark.parametrize("rest", [b"data: [DONE]\n\n", b"\n\n", OPENING])
def test_nothing_follows_the_end(rest):
    assert read(STREAM + rest)[0] == STREAM
    assert read(STREAM, rest)[0] == STREAM


def test_line_ends_of_the_other_kind():
    out, one = read(STREAM.replace(b"\n", b"\r\n"))
    assert one.complete
    assert one.usage.units == UNITS
    assert out.replace(b"\r\n", b"\n") == STREAM


@pytest.mark.parametrize(
    "stream",
    [b"<html>\n\n</html>\n\n", b"data: {\n\n", b'{"error": {}}\n\n', OPENING + BEGUN + b'data: {"response"\n\n',
     OPENING + BEGUN + event("response.completed", 3, response={"output": "x"})],
)  # fmt: skip
def test_what_is_no_stream_is_a_problem(stream):
    _, one = read(stream)
    assert one.problem is not None
    assert one.problem.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL


def test_a_frame_that_does_not_end():
    one = NativeStream({})
    assert one.feed(b"data: " + b"x" * (1 << 24)) == b""
    assert one.problem is not None


# What the provider's data says.


def with_quirks(**data):
    return replace(NATIVE, quirks=WireQuirks(Quirks.model_validate(data)))


def test_what_data_says_of_the_responses_api_is_done_to_bodies_that_pass():
    quirks = {
        "rename": {"max_output_tokens": "max_tokens"},
        "drop": ["safety_identifier", "truncation"],
        "values": {"service_tier": {"flex": "on_demand"}},
        "always": {"plan": "x"},
        "default": {"top_p": 0.5},
        "drop_in_messages": ["phase"],
        "developer_role": "system",
        "stream_options": False,
    }
    said = [
        {"role": "developer", "content": "be brief", "phase": "commentary"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
    ]
    found = asked(
        with_quirks(responses=quirks), input=said, max_output_tokens=64, safety_identifier="u", truncation=None,
        service_tier="flex", stream_options={"include_obfuscation": False},
    )  # fmt: skip
    assert json.loads(found.body) == {
        "model": NATIVE.upstream_model, "store": False, "max_tokens": 64, "service_tier": "on_demand", "plan": "x",
        "top_p": 0.5, "input": [{"role": "system", "content": "be brief"}, said[1]],
    }  # fmt: skip
    assert found.dropped == ("safety_identifier", "input.phase")


@pytest.mark.parametrize(
    ("quirks", "body", "param"),
    [
        ({"refuse": ["include"]}, {"include": ["message.output_text.logprobs"]}, "include"),
        ({"accept": {"truncation": ["disabled"]}}, {"truncation": "auto"}, "truncation"),
    ],
)
def test_what_would_change_the_form_of_the_answer_is_refused_by_name(quirks, body, param):
    with pytest.raises(Refused) as refused:
        asked(with_quirks(responses=quirks), **body)
    assert refused.value.param == param


def test_what_data_says_of_chat_says_nothing_of_the_responses_api():
    chats = {"drop": ["user"], "refuse": ["tools"], "rename": {"max_output_tokens": "x"}, "developer_role": "system"}
    body = {"user": "u", "tools": [{"type": "web_search"}], "max_output_tokens": 64}
    said = [{"role": "developer", "content": "a"}]
    found = asked(with_quirks(request=chats), input=said, **body)
    assert json.loads(found.body) == {"model": NATIVE.upstream_model, "store": False, "input": said, **body}
    assert found.dropped == ()


def test_the_next_target_gets_what_the_caller_said():
    data = json.dumps({"model": "asked", "input": [{"role": "developer", "content": "a"}], "user": "u"}).encode()
    opened = wire.Open(dialect=RESPONSE, operation=wire.OPERATION_CHAT, model="asked", body_length=len(data))
    members = read_body(data)
    sending(opened, members, with_quirks(responses={"drop": ["user"], "developer_role": "system"}), data)
    assert json.loads(sending(opened, members, NATIVE, data).body)["user"] == "u"
    assert json.loads(bytes(members["input"]))[0]["role"] == "developer"


def test_what_a_provider_wants_in_the_query_is_there():
    assert asked(with_quirks(query={"api-version": "preview"})).path == b"/responses?api-version=preview"


@pytest.mark.parametrize("field", ["drop", "refuse"])
def test_that_nothing_is_stored_is_always_said(field):
    with pytest.raises(ValueError, match="another member than store"):
        Quirks.model_validate({"responses": {field: ["store"]}})
