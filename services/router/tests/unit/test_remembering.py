"""Requests whose responses are stored: kept before the caller sees the end, gone on from, refused, and given up."""

import asyncio
import json

import pytest
from services.router.tests.fakes.dialects import check_responses
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.responses import MemoryResponses
from services.router.tests.fakes.upstream import eventually
from services.router.tests.fakes.versions import channel, snapshot
from services.router.tests.unit.test_responses_native import (
    BEGUN,
    FAILURES,
    MESSAGE,
    OPENING,
    SAID,
    STREAM,
    UNITS,
    ended,
)

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.stored import input_items, page, wanted_of
from tollgate_router.exchange.background import BackgroundRequest
from tollgate_router.use_cases.keep_responses import KeepResponses

pytestmark = pytest.mark.unit
DAY_US = 86_400_000_000
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def reply(text):
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    ).encode()


def stream(text):
    chunks = [
        {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]},
        {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"id": "chatcmpl-1", "choices": [], "usage": USAGE},
    ]
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


class Remembering:
    """A router with a store; `ask` begins a request as session does and returns it."""

    def __init__(self, directory, **more):
        self.store = MemoryResponses()
        self.router = Router(
            directory,
            snapshot([channel("a", **more), channel("b", **more)]),
            responses=self.store,
            responses_retention_days=2,
            responses_database_url="sqlite:////nowhere",
            responses_key_file=directory / "key",
        )
        self.sent = []
        self.number = 0
        self.watch = self.router.deps.background
        self.pauses, self.heads = [], []

    def ask(self, project="p", *, streams=False, **body):
        self.number += 1
        content = json.dumps({"model": "able", "stream": streams, **body}).encode()
        frame = wire.Open(
            id=self.number,
            request_id=f"req_{self.number}",
            body=content,
            body_length=len(content),
            tenant=wire.Tenant(project_id=project, api_key_id="k", route_group="default"),
            dialect=wire.DIALECT_OPENAI_RESPONSES,
            operation=wire.OPERATION_CHAT,
            model="able",
            stream=streams,
        )
        request = BackgroundRequest(self.router, frame, self.store, self.watch, self._pause)
        self.router.guarded(request, request.begin)
        return request

    async def _pause(self, seconds):
        self.pauses.append(seconds)

    def out(self):
        """Returns the bytes that left, and the End frames with them."""
        batches = [wire.RouterBatch.FromString(message) for message in self.router.outbox.take()]
        self.heads += [head for batch in batches for head in batch.head]
        ends = [end for batch in batches for end in batch.end]
        data = b"".join(frame.data for batch in batches for frame in batch.data)
        return data + b"".join(end.data for end in ends), ends

    async def ended(self):
        """Returns what left until the End of one request."""
        data, ends = self.out()
        while not ends:
            await asyncio.sleep(0)
            more, ends = self.out()
            data += more
        (end,) = ends
        return data, end

    async def turn(self, text, **body):
        request = self.ask(**body)
        await eventually(lambda: request._call is not None)
        self.router.upstream.calls[-1].reply(body=reply(text))
        data, _ = await self.ended()
        return json.loads(data)

    def asked_upstream(self):
        return json.loads(self.router.upstream.calls[-1].body)["messages"]


@pytest.fixture
def one(tmp_path):
    return Remembering(tmp_path)


async def test_turns_that_go_on_from_each_other(one):
    first = await one.turn("Hello.", input="Hi", metadata={"a": "b"})
    assert (first["id"], first["store"], first["metadata"]) == ("resp_1", True, {"a": "b"})
    second = await one.turn("Fine.", input=[{"role": "user", "content": "And you?"}], previous_response_id="resp_1")
    assert (second["previous_response_id"], second["output"][0]["content"][0]["text"]) == ("resp_1", "Fine.")
    await one.turn("Bye.", input="Bye", previous_response_id=second["id"], instructions="Be brief.")
    assert [(message["role"], message["content"]) for message in one.asked_upstream()] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "And you?"),
        ("assistant", "Fine."),
        ("user", "Bye"),
    ]
    stored = one.store.rows["p", "resp_3"]
    assert json.loads(stored.response)["id"] == "resp_3"
    assert stored.expires_at_us - stored.created_at_us == 2 * DAY_US


async def test_a_reply_is_stored_before_its_end_is_seen(one):
    one.store.gate.clear()
    request = one.ask(input="Hi")
    one.router.upstream.calls[-1].reply(body=reply("Hello."))
    await asyncio.sleep(0)
    assert one.out() == (b"", [])
    # It is paid for and whole: neither a caller that leaves nor a process that stops loses it.
    request.cancel()
    request.out_of_time()
    one.store.gate.set()
    data, end = await one.ended()
    assert json.loads(data)["store"] is True
    assert (end.outcome, end.usage.output_tokens) == (wire.OUTCOME_OK, 2)
    assert list(one.store.rows) == [("p", "resp_1")]


@pytest.mark.parametrize("why", ["cancel", "out_of_time"])
async def test_a_long_reply_that_was_stored_for_nobody_ends_all_the_same(one, why):
    one.store.gate.clear()
    request = one.ask(input="Hi")
    one.router.upstream.calls[-1].reply(body=reply("y" * 1_000_000))
    await asyncio.sleep(0)
    getattr(request, why)()
    one.store.gate.set()
    await eventually(lambda: one.router.events)
    data, (end,) = one.out()
    # A process that stops sends the rest, whoever takes it; a caller that left gets nothing, and pays for what was
    # made.
    expected = (wire.OUTCOME_OK, True) if why == "out_of_time" else (wire.OUTCOME_CANCELLED, False)
    assert (end.outcome, len(data) > 1_000_000) == expected
    (event,) = one.router.events
    assert event.usage.output_tokens == 2
    assert one.router.deps.counters.waiting_reply_bytes == 0
    assert list(one.store.rows) == [("p", "resp_1")]


async def test_the_last_event_of_a_stream_waits_for_the_store(one):
    one.store.gate.clear()
    one.ask(input="Hi", streams=True)
    call = one.router.upstream.calls[-1]
    call.sink.upstream_head(200, [])
    call.sink.upstream_data(stream("Hello."))
    call.sink.upstream_end()
    await asyncio.sleep(0)
    before, ends = one.out()
    assert b"response.output_text.done" in before
    assert b"response.completed" not in before
    assert not ends
    one.store.gate.set()
    rest, end = await one.ended()
    said = check_responses(before + rest)
    assert (said["id"], said["store"], end.outcome) == ("resp_1", True, wire.OUTCOME_OK)
    assert json.loads(one.store.rows["p", "resp_1"].response) == said


async def test_a_store_that_is_away_costs_no_reply(one):
    one.store.away = "the disk is gone"
    said = await one.turn("Hello.", input="Hi")
    assert (said["store"], said["output"][0]["content"][0]["text"]) == (False, "Hello.")
    one.ask(input="Hi", streams=True)
    call = one.router.upstream.calls[-1]
    call.sink.upstream_head(200, [])
    call.sink.upstream_data(stream("Hello."))
    call.sink.upstream_end()
    data, end = await one.ended()
    assert (check_responses(data)["store"], end.outcome) == (False, wire.OUTCOME_OK)
    one.ask(input="More", previous_response_id="resp_1")
    _, end = await one.ended()
    assert (end.error.kind, end.error.retry_after_ms) == (errors.ERROR_KIND_UNAVAILABLE, 1000)


@pytest.mark.parametrize("project", ["p", "other"])
async def test_a_response_that_is_not_there(one, project):
    await one.turn("Hello.", input="Hi")
    previous = "resp_1" if project == "other" else "resp_9"
    one.ask(project, input="More", previous_response_id=previous)
    _, end = await one.ended()
    assert (end.error.kind, end.error.param) == (errors.ERROR_KIND_INVALID_REQUEST, "previous_response_id")
    assert len(one.router.upstream.calls) == 1


async def test_what_is_not_to_be_stored(one):
    said = await one.turn("Hello.", input="Hi", store=False)
    assert said["store"] is False
    assert not one.store.rows


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x", "store": 7}, "store"),
        ({"input": "x", "previous_response_id": 7}, "previous_response_id"),
        ({"input": "x", "previous_response_id": "r" * 300}, "previous_response_id"),
        ({"input": 7}, "input"),
        ({}, "input"),
        ({"input": "x", "background": 7}, "background"),
        ({"input": "x", "background": True, "store": False}, "background"),
        ({"input": "x", "background": True, "stream": True}, "stream"),
        # What no provider can be asked, while there is a caller to hear it.
        ({"input": [{"type": "message", "role": "x", "content": "y"}], "background": True}, "input"),
        ({"input": "x", "conversation": "conv_1"}, "conversation"),
    ],
)
async def test_bodies_that_are_refused(one, body, param):
    one.ask(**body)
    _, end = await one.ended()
    assert (end.error.kind, end.error.param) == (errors.ERROR_KIND_INVALID_REQUEST, param)
    assert not one.router.upstream.calls


async def test_a_caller_that_leaves_while_turns_are_read(one):
    await one.turn("Hello.", input="Hi")
    one.store.gate.clear()
    request = one.ask(input="More", previous_response_id="resp_1")
    request.cancel()
    one.store.gate.set()
    _, end = await one.ended()
    await asyncio.sleep(0)
    assert end.outcome == wire.OUTCOME_CANCELLED
    assert len(one.router.upstream.calls) == 1


async def test_a_provider_that_fails_is_stored_nowhere(one):
    one.ask(input="Hi")
    one.router.upstream.calls[-1].reply(status=400, body=b'{"error":{"message":"no"}}')
    _, end = await one.ended()
    assert end.outcome != wire.OUTCOME_OK
    assert not one.store.rows


async def test_what_has_expired_is_forgotten(one):
    await one.turn("Hello.", input="Hi")
    one.router.clock.advance(3 * 86_400)
    keep = KeepResponses(one.store, one.router.clock)
    assert await keep.forget() == 1
    assert not one.store.rows


async def test_a_store_that_comes_back(one):
    one.store.away = "no route"
    keep = KeepResponses(one.store, one.router.clock)
    stopping = asyncio.Event()
    running = asyncio.create_task(keep.run(stopping))
    await eventually(lambda: "no route" in keep.problem)
    stopping.set()
    await running
    one.store.away = ""
    stopping.clear()
    running = asyncio.create_task(keep.run(stopping))
    await eventually(lambda: not keep.problem)
    stopping.set()
    await running


def test_pages_of_input():
    items = [{"role": "user", "content": str(number)} for number in range(5)]
    stored = input_items({"input": json.dumps(items).encode()}, "resp_1")
    newest = json.loads(page(stored, after="", limit=2, newest_first=True))
    assert [item["content"] for item in newest["data"]] == ["4", "3"]
    assert (newest["has_more"], newest["last_id"]) == (True, newest["data"][-1]["id"])
    rest = json.loads(page(stored, after=newest["last_id"], limit=5, newest_first=True))
    assert ([item["content"] for item in rest["data"]], rest["has_more"]) == (["2", "1", "0"], False)
    assert json.loads(page(stored, after="", limit=1, newest_first=False))["data"][0]["type"] == "message"
    assert wanted_of({}).store is True


# At a provider that speaks the Responses API.


@pytest.fixture
def native(tmp_path):
    return Remembering(tmp_path, responses=True)


async def test_turns_at_a_provider_that_speaks_the_dialect(native):
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAAabc"}
    native.ask(input="Hi", reasoning={"effort": "low"})
    native.router.upstream.calls[-1].reply(body=json.dumps(ended() | {"output": [thought, MESSAGE]}).encode())
    data, end = await native.ended()
    first = json.loads(data)
    assert (first["id"], first["store"], first["previous_response_id"]) == ("resp_1", True, None)
    assert (end.usage.input_tokens, end.usage.reasoning_tokens) == (UNITS["input"], UNITS["reasoning"])
    native.ask(input="And you?", previous_response_id="resp_1", streams=True)
    await eventually(lambda: len(native.router.upstream.calls) == 2)
    call = native.router.upstream.calls[-1]
    asked = json.loads(call.body)
    assert [item["type"] for item in asked["input"]] == ["message", "reasoning", "message", "message"]
    assert (asked["store"], "previous_response_id" in asked) == (False, False)
    native.store.gate.clear()
    call.sink.upstream_head(200, [])
    call.sink.upstream_data(STREAM)
    call.sink.upstream_end()
    await asyncio.sleep(0)
    before, ends = native.out()
    assert b"response.completed" not in before
    assert not ends
    native.store.gate.set()
    rest, end = await native.ended()
    said = check_responses(before + rest)
    assert (said["id"], said["previous_response_id"], end.outcome) == ("resp_2", "resp_1", wire.OUTCOME_OK)
    assert json.loads(native.store.rows["p", "resp_2"].response) == said


async def test_a_response_that_fails_before_its_first_words_is_asked_for_elsewhere_unless_it_is_stored(native):
    for stored, attempts in ((False, 2), (True, 1)):
        native.router.upstream.calls.clear()
        native.ask(input="Hi", streams=True, store=stored)
        for stream in (OPENING + FAILURES["failed"], STREAM):
            call = native.router.upstream.calls[-1]
            call.sink.upstream_head(200, [])
            call.sink.upstream_data(stream)
            call.sink.upstream_end()
        data, end = await native.ended()
        assert len(native.router.upstream.calls) == attempts
        if stored:
            assert (end.outcome, data, native.store.rows) == (wire.OUTCOME_UPSTREAM_ERROR, b"", {})
        else:
            assert (end.outcome, check_responses(data)["status"]) == (wire.OUTCOME_OK, "completed")


@pytest.mark.parametrize(
    ("fails", "elsewhere"),
    [
        (lambda call: call.fail(FailureKind.REFUSED, sent=False), True),
        (lambda call: call.reply(429), True),
        (lambda call: call.reply(503), False),
        (lambda call: call.fail(FailureKind.CUT), False),
    ],
    ids=["nothing was sent", "refused by the provider", "failed", "broke off"],
)
async def test_a_response_that_is_to_be_stored_is_made_once(one, fails, elsewhere):
    one.ask(input="Hi")
    fails(one.router.upstream.calls[0])
    assert len(one.router.upstream.calls) == 1 + elsewhere
    one.ask(input="Hi", store=False)
    place = len(one.router.upstream.calls)
    fails(one.router.upstream.calls[-1])
    assert len(one.router.upstream.calls) == place + 1


async def test_a_response_that_breaks_off_is_stored_nowhere(native):
    native.ask(input="Hi", streams=True)
    call = native.router.upstream.calls[-1]
    call.sink.upstream_head(200, [])
    call.sink.upstream_data(OPENING + BEGUN + SAID)
    call.fail()
    _, end = await native.ended()
    assert (end.outcome, end.usage.output_tokens) == (wire.OUTCOME_UPSTREAM_CUT, 2)
    assert not native.store.rows
