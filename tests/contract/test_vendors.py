"""One conformance suite for every compatible provider in data, against simulated vendors that speak as they document.

The simulator's ways come from the vendors' pages, the provider files too, and neither from the other: what is wrong in
one of them fails here. Streams are checked by grammars that share no code with the translators.
"""

import json

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages, check_responses

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import (
    Channel,
    ChannelModel,
    Credential,
    Declared,
    compile_version,
    load_catalogue,
    parse_version,
)
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import Bench, UpstreamProblem
from tollgate_router.errors import Refused
from tollgate_simulator_provider import chat, compatible, faults, operations
from tollgate_simulator_provider.refusals import Refused as RefusedByWire
from tollgate_simulator_provider.refusals import RefusedByVendor, error_body
from tollgate_simulator_provider.vendors import vendors

pytestmark = pytest.mark.contract
OPENAI, ANTHROPIC, GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI
RESPONSES = wire.DIALECT_OPENAI_RESPONSES
CATALOGUE = load_catalogue()
CHATS = sorted(name for name in vendors() if "chat" in CATALOGUE.providers[name].operations)
KINDS = {
    "rate_limit": errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    "quota": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "auth": errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
    "overloaded": errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
    "context_length": errors.ERROR_KIND_CONTEXT_LENGTH,
    "content_policy": errors.ERROR_KIND_CONTENT_POLICY,
    "invalid_parameter": errors.ERROR_KIND_INVALID_REQUEST,
    "model_not_found": errors.ERROR_KIND_MODEL_NOT_FOUND,
    "timeout": errors.ERROR_KIND_UPSTREAM_TIMEOUT,
}
TOOL = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}}


class Vendor:
    """A simulated vendor behind its provider's data: what is asked goes through the router's own translation."""

    def __init__(self, name):
        declared = Channel(
            name="c", provider=name, base_url="http://vendor/v1", models=(ChannelModel(name="m"),),
            credentials=(Credential(env="KEY"),),
        )  # fmt: skip
        (channel,) = parse_version(compile_version(Declared(channels=(declared,)), CATALOGUE)).channels
        self.name = name
        self.target = Target(
            channel="c", key_index=0, provider=name, origin=Origin("http", "vendor", 80), base_path="/v1",
            upstream_model="up", conforming=channel.conforming, weight=1, header_block=b"",
            max_tokens_name=channel.max_tokens_name,
            quirks=NO_QUIRKS if channel.quirks is None else WireQuirks(channel.quirks),
        )  # fmt: skip

    def sending(self, body, *, dialect=OPENAI, stream=False, usage=False):
        raw = json.dumps(body).encode()
        opened = wire.Open(
            dialect=dialect, operation=wire.OPERATION_CHAT, stream=stream, usage_wanted=usage, model="m",
            started_at_us=1_000_000, request_id="r1", body_length=len(raw),
        )  # fmt: skip
        return sending(opened, read_body(raw), self.target, raw)

    def answer(self, asked):
        """Returns status, body or frames, and the units that the simulator counted."""
        request = json.loads(asked.body if isinstance(asked.body, bytes) else b"".join(asked.body))
        found = faults.in_text(str(request["messages"]))
        try:
            if found.refuse:
                raise compatible.refusal(self.name, found.refuse)
            compatible.check(self.name, request)
        except RefusedByVendor as refused:
            return refused.status, [refused.body], {}
        except RefusedByWire as refused:
            return refused.status, [error_body(refused.status, refused.message, param=refused.param)], {}
        reply = compatible.build(self.name, request, chat.build(request, found, "chatcmpl-sim", 7))
        return 200, list(reply.frames()) if request.get("stream") else [reply.body()], reply.units

    def ask(self, body, **how):
        """Returns what the caller gets: bytes, or the problem; what was left out; the units and those reported."""
        asked = self.sending(body, **how)
        assert asked.path == b"/chat/completions"
        status, pieces, units = self.answer(asked)
        if status != 200:
            return self.target.quirks.errors.of_reply(status, b"".join(pieces)), asked.dropped, units, None
        if asked.filter is None:
            found = asked.read(b"".join(pieces))
            return (found, asked.dropped, units, None) if isinstance(found, UpstreamProblem) else (
                found[1], asked.dropped, units, found[0].units if found[0] else None
            )  # fmt: skip
        # Frames are cut where it hurts: in the middle, and two to a read.
        stream = b"".join(pieces)
        parts = [stream[at : at + 97] for at in range(0, len(stream), 97)]
        out = b"".join(map(asked.filter.feed, parts)) + asked.filter.finish()
        if asked.filter.problem is not None:
            return asked.filter.problem, asked.dropped, units, None
        assert asked.filter.complete
        return out, asked.dropped, units, asked.filter.usage.units if asked.filter.usage else None


@pytest.fixture(params=CHATS)
def vendor(request):
    return Vendor(request.param)


def question(text="How are you?", **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def refusal_or_answer(vendor, **more):
    """Returns what refused the request before it was sent, or the vendor's answer, which is none of its refusals."""
    try:
        body, dropped, _, _ = vendor.ask(question(**more))
    except Refused as refused:
        return refused, b""
    assert isinstance(body, bytes), body
    assert dropped == ()
    return None, body


def test_every_compatible_provider_has_a_simulated_vendor():
    own = {"simulator", "openai-compatible", "openai", "gemini-openai"}
    known = {
        name
        for name, provider in CATALOGUE.providers.items()
        if provider.wire == "openai" and "chat" in provider.operations and not (provider.simulates or provider.platform)
    }
    assert known - own <= set(CHATS)


def test_a_chat(vendor):
    body, _, units, reported = vendor.ask(question())
    reply = json.loads(body)
    (choice,) = reply["choices"]
    assert choice["message"]["role"] == "assistant"
    assert "You said: How are you?" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    assert "error" not in reply
    assert reported == units


def test_a_stream_with_its_usage(vendor):
    stream, _, units, reported = vendor.ask(question(stream=True), stream=True, usage=True)
    said = check_chat(stream, usage=True)
    assert "You said: How are you?" in said["text"]
    assert said["reason"] == "stop"
    assert said["usage"]["total_tokens"] == sum(units.values())
    assert reported == units


def test_a_stream_whose_usage_nobody_asked_for(vendor):
    stream, _, units, reported = vendor.ask(question(stream=True), stream=True)
    assert check_chat(stream, usage=False)["text"]
    assert reported == units


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_where_clients_look(vendor, stream):
    found, _, units, reported = vendor.ask(question("Think [[sim:reasoning=5]]", stream=stream), stream=stream)
    assert units["reasoning"] == 5
    assert reported == units
    if stream:
        said = check_chat(found, usage=False)
        thought, text = said["thought"], said["text"]
    else:
        message = json.loads(found)["choices"][0]["message"]
        thought, text = message["reasoning_content"], message["content"]
        assert set(message) & {"reasoning", "reasoning_details", "thinking"} == set()
    assert len(thought.split()) == 5
    assert text.startswith("[simulated]")


def test_tools(vendor):
    tool = {"type": "function", "function": {"name": "weather", "parameters": TOOL}}
    asked = question("weather in Berlin", tools=[tool])
    if vendor.name == "perplexity":
        with pytest.raises(Refused) as refused:
            vendor.sending(asked)
        assert refused.value.param == "tools"
        return
    reply = json.loads(vendor.ask(asked)[0])
    (call,) = reply["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], reply["choices"][0]["finish_reason"]) == ("weather", "tool_calls")
    stream = vendor.ask({**asked, "stream": True}, stream=True)[0]
    said = check_chat(stream, usage=False)
    assert said["reason"] == "tool_calls"
    ((call_id, name, arguments),) = said["calls"].values()
    assert (bool(call_id), name) == (True, "weather")
    assert json.loads(arguments) == {"city": "simulated", "days": 1}


def test_json_is_answered_or_refused_by_name(vendor):
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    for form in ({"type": "json_object"}, schema):
        refused, body = refusal_or_answer(vendor, response_format=form)
        if refused is not None:
            assert (refused.param, form) == ("response_format", schema)
        else:
            assert isinstance(json.loads(json.loads(body)["choices"][0]["message"]["content"]), dict)


def test_parameters_are_taken_left_out_by_name_or_refused_by_name(vendor):
    given = {
        "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.5, "stop": ["zz"], "seed": 3, "user": "u",
        "presence_penalty": 0.1, "frequency_penalty": 0.1, "logit_bias": {"5": 1}, "store": False,
        "service_tier": "auto", "metadata": {"a": "b"}, "n": 1, "logprobs": False, "parallel_tool_calls": True,
    }  # fmt: skip
    body, dropped, _, _ = vendor.ask(question(**given))
    assert isinstance(body, bytes), body
    assert json.loads(body)["choices"][0]["finish_reason"] == "length", "the limit did not arrive"
    sent = json.loads(vendor.sending(question(**given)).body)
    gone = {name for name in given if name not in sent}
    renamed = {"max_completion_tokens", "seed", "user"} - set(dropped)
    # What says what is so anyway is left out without a word.
    assert gone - renamed - {"n", "logprobs", "store"} <= set(dropped)
    for name, value in (("n", 2), ("logprobs", True)):
        refused, _ = refusal_or_answer(vendor, **{name: value})
        assert refused is None or refused.param == name


def test_messages_that_other_clients_wrote(vendor):
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": None},
        {"role": "user", "content": "Bye"},
    ]
    body, _, _, _ = vendor.ask({"model": "m", "messages": messages})
    assert isinstance(body, bytes), body


THOUGHT = {"type": "reasoning.text", "id": "reasoning-text-1", "format": "MiniMax-response-v1", "index": 0}


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=["chat", "messages"])
def test_minimax_gets_its_thoughts_back_as_it_says_them(dialect):
    vendor = Vendor("minimax")
    said = {"reasoning_content": "hm", "content": "So."}
    if dialect == ANTHROPIC:
        thought = {"type": "thinking", "thinking": "hm", "signature": ""}
        said = {"content": [thought, {"type": "text", "text": "So."}]}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", **said}, {"role": "user", "content": "b"}]
    asked = vendor.sending({"model": "m", "max_tokens": 9, "messages": turns}, dialect=dialect)
    assert asked.dropped == ()
    _, turn, _ = json.loads(asked.body)["messages"]
    assert turn == {"role": "assistant", "content": "So.", "reasoning_details": [{**THOUGHT, "text": "hm"}]}
    assert vendor.answer(asked)[0] == 200


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in CHATS for kind in vendors()[name].refused], ids=str
)
def test_recorded_errors_mean_what_they_mean(name, kind):
    problem, _, _, _ = Vendor(name).ask(question(f"[[sim:refuse={kind}]]"))
    assert isinstance(problem, UpstreamProblem), problem
    assert problem.kind == KINDS[kind], problem
    assert problem.bench is {"quota": Bench.BALANCE, "auth": Bench.CREDENTIALS}.get(kind, Bench.NONE)
    recorded = json.dumps(vendors()[name].refused[kind]["body"])
    if kind == "invalid_parameter" and "{param}" in recorded:
        assert problem.param == "messages"
    # An error within a stream means the same.
    if vendors()[name].refused[kind]["status"] == 200:
        streamed, _, _, _ = Vendor(name).ask(question(f"[[sim:refuse={kind}]]", stream=True), stream=True)
        assert streamed.kind == problem.kind


@pytest.mark.parametrize("name", [name for name in CHATS if "failed" in vendors()[name].ends])
def test_an_answer_that_ends_with_an_error_is_none(name):
    for stream in (False, True):
        found, _, _, _ = Vendor(name).ask(question("[[sim:finish=failed]]", stream=stream), stream=stream)
        assert isinstance(found, UpstreamProblem)
        assert found.kind == errors.ERROR_KIND_UPSTREAM_UNAVAILABLE


@pytest.mark.parametrize("dialect", [ANTHROPIC, GEMINI, RESPONSES], ids=["messages", "contents", "responses"])
def test_every_dialect_speaks_to_every_vendor(vendor, dialect):
    text = "Think [[sim:reasoning=3]]"
    body, check, key = {
        ANTHROPIC: (
            {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": text}]},
            check_messages,
            0,
        ),
        GEMINI: ({"contents": [{"role": "user", "parts": [{"text": text}]}]}, check_contents, 1),
        RESPONSES: ({"model": "m", "input": text}, check_responses, 2),
    }[dialect]
    stream, _, units, reported = vendor.ask({**body, "stream": True}, dialect=dialect, stream=True)
    said = check(stream)
    thought, answer = (
        lambda: tuple(next(b[k] for b in said["blocks"] if b["type"] == k) for k in ("thinking", "text")),
        lambda: (said["thought"], said["text"]),
        lambda: (said["output"][0]["summary"][0]["text"], said["output"][1]["content"][0]["text"]),
    )[key]()
    assert (len(thought.split()), "You said: Think" in answer) == (3, True)
    assert reported == units


def test_a_caller_who_leaves_is_charged_for_what_came(vendor):
    asked = vendor.sending(question("[[sim:chunks=40]]", stream=True), stream=True)
    _, pieces, _ = vendor.answer(asked)
    out = b"".join(map(asked.filter.feed, pieces[:20]))
    assert out.count(b'"content"') >= 10
    assert asked.filter.frames >= 10
    assert not asked.filter.complete


VECTORS = sorted(
    name
    for name, one in CATALOGUE.providers.items()
    if "embeddings" in one.operations and one.wire == "openai" and name != "simulator"
)


@pytest.mark.parametrize("name", VECTORS)
def test_embeddings(name):
    given = {"model": "m", "input": ["a", "b"], "user": "u", "encoding_format": "float"}
    raw = json.dumps(given).encode()
    opened = wire.Open(dialect=OPENAI, operation=wire.OPERATION_EMBEDDINGS, model="m", body_length=len(raw))
    vendor = Vendor(name)
    asked = sending(opened, read_body(raw), vendor.target, raw)
    sent = json.loads(asked.body)
    assert (asked.path, asked.filter, sent["model"], sent["input"]) == (b"/embeddings", None, "up", ["a", "b"])
    gone = {given_name for given_name in given if given_name not in sent}
    assert gone - set(asked.dropped) <= {"encoding_format"}
    assert ("embedding_type" in sent) == (name == "jina")
    reply, units = operations.embeddings({"model": "up", "input": ["a", "b"]})
    usage, body = asked.read(json.dumps(reply).encode())
    assert (usage.units, len(json.loads(body)["data"])) == (units, 2)
    problem = vendor.target.quirks.errors.of_reply(402, b'{"detail": "Account balance not enough", "message": "x"}')
    assert problem.bench is Bench.BALANCE
