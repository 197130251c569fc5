"""Responses that run in the background: queued, made, cancelled, lost with their process, and what each costs."""

import asyncio
import json
from types import SimpleNamespace

import grpc
import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.responses import MemoryResponses
from services.router.tests.fakes.upstream import eventually
from services.router.tests.unit.test_remembering import Remembering, stream
from services.router.tests.unit.test_responses_native import STREAM

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import responses_pb2
from tollgate_kit.grpc_io import ERROR_METADATA_KEY
from tollgate_router.api.responses import StoredResponses
from tollgate_router.exchange.background import BackgroundRequest
from tollgate_router.exchange.session import Session
from tollgate_router.use_cases.watch_background import LEASE_US

pytestmark = pytest.mark.unit
LEASE_SECONDS = LEASE_US / 1e6
# Of `stream`: three in, two out.
USED = (3, 2)
NOTHING = (0, 0)


class AbortedError(Exception):
    """A call was refused with this error."""

    def __init__(self, error):
        super().__init__(error.message)
        self.error = error


class Context:
    """Of a call that may be refused."""

    def set_trailing_metadata(self, pairs):
        self.pairs = dict(pairs)

    async def abort(self, code, words):
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        raise AbortedError(errors.Error.FromString(self.pairs[ERROR_METADATA_KEY]))


class Owner:
    """Asks for responses of one project as edge does."""

    def __init__(self, one, project="p"):
        self._one, self._project = one, project
        self._service = StoredResponses(one.store, one.watch, one.router.clock)

    def _about(self, kind, response_id):
        return kind(project_id=self._project, response_id=response_id)

    async def get(self, response_id="resp_1"):
        asked = self._about(responses_pb2.GetResponseRequest, response_id)
        return json.loads((await self._service.GetResponse(asked, Context())).response)

    async def cancel(self, response_id="resp_1"):
        asked = self._about(responses_pb2.CancelResponseRequest, response_id)
        return json.loads((await self._service.CancelResponse(asked, Context())).response)

    async def delete(self, response_id="resp_1"):
        await self._service.DeleteResponse(self._about(responses_pb2.DeleteResponseRequest, response_id), Context())


@pytest.fixture
def one(tmp_path):
    return Remembering(tmp_path)


@pytest.fixture
def native(tmp_path):
    return Remembering(tmp_path, responses=True)


async def queued(one, **body):
    """Begins a response and returns it as its caller got it, with the call that makes it."""
    calls = len(one.router.upstream.calls)
    one.ask(**{"input": "Hi", "background": True, **body})
    await eventually(lambda: len(one.router.upstream.calls) > calls)
    data, ends = one.out()
    assert (data, ends) == (b"", [])
    return json.loads(one.heads[-1].detached), one.router.upstream.calls[-1]


def says(call, data):
    call.sink.upstream_head(200, [])
    call.sink.upstream_data(data)


def ends(call, data):
    says(call, data)
    call.sink.upstream_end()


async def outcome(one):
    """Returns outcome, tokens and words of the error of what ended; nothing of it is for a caller any more."""
    data, end = await one.ended()
    assert data == b""
    assert not one.watch.running
    assert not one.router.open_calls()
    return end.outcome, (end.usage.input_tokens, end.usage.output_tokens), end.error.message


# Queued, in progress, completed.


async def test_from_queued_to_completed(one):
    first, call = await queued(one, metadata={"a": "b"}, instructions="Be brief.")
    assert (first["id"], first["status"], first["background"], first["store"]) == ("resp_1", "queued", True, True)
    assert (first["metadata"], first["output"], first["model"]) == ({"a": "b"}, [], "able")
    assert json.loads(call.body)["stream"] is True
    owner = Owner(one)
    assert await owner.get() == first
    says(call, stream("Hello.")[:60])
    await one.watch.look()
    assert (await owner.get())["status"] == "queued"
    call.sink.upstream_data(stream("Hello.")[60:])
    await one.watch.look()
    call.sink.upstream_end()
    assert await outcome(one) == (wire.OUTCOME_OK, USED, "")
    last = await owner.get()
    assert (last["status"], last["background"], last["output"][0]["content"][0]["text"]) == (
        "completed",
        True,
        "Hello.",
    )
    assert (last["created_at"], last["instructions"]) == (first["created_at"], "Be brief.")
    assert last["usage"]["total_tokens"] == 5
    # It is a turn as any other.
    second = await one.turn("Fine.", input="And you?", previous_response_id="resp_1")
    assert second["previous_response_id"] == "resp_1"
    assert [message["content"] for message in one.asked_upstream()] == ["Hi", "Hello.", "And you?"]


async def test_in_progress_once_words_come(one):
    _, call = await queued(one)
    says(call, stream("Hello.").partition(b"\n\n")[0] + b"\n\n")
    assert (await Owner(one).get())["status"] == "queued"
    await one.watch.look()
    assert (await Owner(one).get())["status"] == "in_progress"


async def test_a_provider_that_speaks_the_dialect_is_asked_in_the_foreground(native):
    first, call = await queued(native)
    asked = json.loads(call.body)
    assert (asked["stream"], asked["store"], "background" in asked) == (True, False, False)
    ends(call, STREAM)
    found, used, _ = await outcome(native)
    assert (found, used[1]) == (wire.OUTCOME_OK, 2)
    last = await Owner(native).get()
    assert (last["id"], last["status"], last["background"], last["store"]) == ("resp_1", "completed", True, True)
    assert last["created_at"] == first["created_at"]


async def test_what_was_left_out_is_told_at_once(one):
    await queued(one, prompt_cache_key="x", text={"verbosity": "low"})
    (dropped,) = [header.value for header in one.heads[-1].headers if header.name == b"x-tollgate-dropped"]
    assert b"verbosity" in dropped


async def test_an_answer_that_reached_its_limit(one):
    _, call = await queued(one)
    ends(call, stream("Hel").replace(b'"stop"', b'"length"'))
    assert await outcome(one) == (wire.OUTCOME_OK, USED, "")
    last = await Owner(one).get()
    assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_sessions_make_such_requests(one):
    session = SimpleNamespace(deps=one.router.deps, outbox=one.router.outbox)
    frame = wire.Open(id=1, request_id="req_1", dialect=wire.DIALECT_OPENAI_RESPONSES)
    assert type(Session._request(session, frame)) is BackgroundRequest


async def test_a_gateway_that_stores_nothing(tmp_path, one):
    router = Router(tmp_path / "other", one.router.deps.snapshot)
    body = b'{"model":"able","input":"Hi","background":true}'
    router.open(body=body, dialect=wire.DIALECT_OPENAI_RESPONSES)
    error = router.end().error
    assert (error.kind, error.param) == (errors.ERROR_KIND_INVALID_REQUEST, "background")
    assert not router.upstream.calls


async def test_a_store_that_is_away_begins_nothing(one):
    one.store.away = "the disk is gone"
    one.ask(input="Hi", background=True)
    _, end = await one.ended()
    assert (end.error.kind, end.error.retry_after_ms) == (errors.ERROR_KIND_UNAVAILABLE, 1000)
    assert not one.heads
    assert not one.router.upstream.calls


async def test_a_caller_that_leaves_before_it_knows_the_id(one):
    one.store.gate.clear()
    request = one.ask(input="Hi", background=True)
    request.cancel(wire.CANCEL_REASON_CLIENT_GONE)
    one.store.gate.set()
    _, end = await one.ended()
    assert end.outcome == wire.OUTCOME_CANCELLED
    await eventually(lambda: request._task is None)
    assert not one.store.rows
    assert not one.heads
    assert not one.router.upstream.calls


# Cancelled and deleted.


async def test_cancelled_by_its_owner(one):
    _, call = await queued(one)
    says(call, stream("Hello.").partition(b"\n\n")[0] + b"\n\n")
    owner = Owner(one)
    found = await owner.cancel()
    assert (found["status"], found["background"], found["output"]) == ("cancelled", True, [])
    assert call.cancelled
    found_outcome, used, words = await outcome(one)
    # What came until then, as of any caller that leaves.
    assert (found_outcome, used[1], words) == (wire.OUTCOME_CANCELLED, 2, "The response was cancelled.")
    assert await owner.cancel() == await owner.get() == found


async def test_cancelled_before_the_provider_said_anything(one):
    _, call = await queued(one)
    await Owner(one).cancel()
    assert call.cancelled
    assert (await outcome(one))[:2] == (wire.OUTCOME_CANCELLED, NOTHING)


async def test_deleted_while_it_runs(one):
    _, call = await queued(one)
    says(call, stream("Hello.").partition(b"\n\n")[0] + b"\n\n")
    await Owner(one).delete()
    assert call.cancelled
    found, used, _ = await outcome(one)
    assert (found, used[1]) == (wire.OUTCOME_CANCELLED, 2)
    assert not one.store.rows


@pytest.mark.parametrize("what", ["cancel", "delete"])
async def test_through_another_process(one, what):
    _, call = await queued(one)
    elsewhere = Owner(SimpleNamespace(store=one.store, watch=None, router=one.router))
    await getattr(elsewhere, what)()
    assert not call.cancelled
    await one.watch.look()
    assert call.cancelled
    assert (await outcome(one))[0] == wire.OUTCOME_CANCELLED


async def test_cancelled_through_another_process_when_it_was_nearly_there(one):
    _, call = await queued(one)
    await Owner(SimpleNamespace(store=one.store, watch=None, router=one.router)).cancel()
    ends(call, stream("Hello."))
    assert (await outcome(one))[:2] == (wire.OUTCOME_CANCELLED, USED)
    assert (await Owner(one).get())["status"] == "cancelled"


async def test_a_cancel_that_comes_too_late(one):
    _, call = await queued(one)
    ends(call, stream("Hello."))
    assert (await outcome(one))[:2] == (wire.OUTCOME_OK, USED)
    assert (await Owner(one).cancel())["status"] == "completed"


async def test_a_response_that_was_not_made_in_the_background_is_not_cancelled(one):
    await one.turn("Hello.", input="Hi")
    with pytest.raises(AbortedError) as refused:
        await Owner(one).cancel()
    assert refused.value.error.kind == errors.ERROR_KIND_INVALID_REQUEST
    assert refused.value.error.message == "Cannot cancel a synchronous response."


@pytest.mark.parametrize("ask", ["get", "cancel", "delete"])
async def test_of_another_project(one, ask):
    _, call = await queued(one)
    with pytest.raises(AbortedError) as refused:
        await getattr(Owner(one, "other"), ask)()
    assert refused.value.error.kind == errors.ERROR_KIND_NOT_FOUND
    assert not call.cancelled


# Failed.


async def failure(one):
    """Returns what its owner reads of a response that failed."""
    found = await Owner(one).get()
    assert (found["status"], found["output"]) == ("failed", [])
    return found["error"]["code"], found["error"]["message"]


async def test_a_provider_that_refuses(one):
    _, call = await queued(one)
    call.reply(status=400, body=b'{"error":{"message":"no such thing"}}')
    found, used, words = await outcome(one)
    assert (found, used) == (wire.OUTCOME_UPSTREAM_ERROR, NOTHING)
    assert await failure(one) == ("invalid_prompt", words)


async def test_another_provider_is_asked(one):
    _, call = await queued(one)
    call.reply(status=503, body=b"{}")
    await eventually(lambda: len(one.router.upstream.calls) == 2)
    ends(one.router.upstream.calls[-1], stream("Hello."))
    assert await outcome(one) == (wire.OUTCOME_OK, USED, "")
    assert (await Owner(one).get())["status"] == "completed"


async def test_an_answer_that_breaks_off_costs_nothing(one):
    _, call = await queued(one)
    says(call, stream("Hello.").partition(b"\n\n")[0] + b"\n\n")
    call.fail()
    found, used, words = await outcome(one)
    assert (found, used) == (wire.OUTCOME_UPSTREAM_CUT, NOTHING)
    assert await failure(one) == ("server_error", words)


@pytest.mark.parametrize(
    ("reason", "found", "words"),
    [
        (wire.CANCEL_REASON_DRAINING, wire.OUTCOME_UPSTREAM_CUT, "stopped"),
        # The stream from edge broke.
        (wire.CANCEL_REASON_UNSPECIFIED, wire.OUTCOME_UPSTREAM_CUT, "stopped"),
        (wire.CANCEL_REASON_DEADLINE, wire.OUTCOME_TIMEOUT, "time"),
    ],
)
async def test_edge_does_not_wait_any_more(one, reason, found, words):
    _, call = await queued(one)
    says(call, stream("Hello.").partition(b"\n\n")[0] + b"\n\n")
    (running,) = one.watch.running.values()
    running.cancel(reason)
    running.cancel(reason)
    assert call.cancelled
    assert (await outcome(one))[:2] == (found, NOTHING)
    code, said = await failure(one)
    assert code == "server_error"
    assert words in said


async def test_a_process_that_stops(one):
    _, call = await queued(one)
    (running,) = one.watch.running.values()
    running.out_of_time()
    assert call.cancelled
    assert (await outcome(one))[:2] == (wire.OUTCOME_UPSTREAM_CUT, NOTHING)
    assert "stopped" in (await failure(one))[1]


async def test_a_process_that_is_gone(one):
    _, call = await queued(one)
    one.router.clock.advance(LEASE_SECONDS - 1)
    assert (await Owner(one).get())["status"] == "queued"
    one.router.clock.advance(1)
    assert "gone" in (await failure(one))[1]
    # Whoever was told so is not told otherwise by a process that was only away, nor charged.
    ends(call, stream("Hello."))
    assert (await outcome(one))[:2] == (wire.OUTCOME_UPSTREAM_CUT, NOTHING)
    assert "gone" in (await failure(one))[1]
    assert (await Owner(one).cancel())["status"] == "failed"


async def test_a_process_that_says_that_it_is_there(one):
    _, call = await queued(one)
    for _ in range(5):
        one.router.clock.advance(LEASE_SECONDS * 0.9)
        await one.watch.look()
        assert (await Owner(one).get())["status"] == "queued"
    # A store that is away for a while ends nothing.
    one.store.away = "no route"
    await one.watch.look()
    one.store.away = ""
    ends(call, stream("Hello."))
    assert (await outcome(one))[0] == wire.OUTCOME_OK


async def test_a_store_that_comes_back(one):
    _, call = await queued(one)
    tries = []

    async def pause(seconds):
        tries.append(seconds)
        one.store.away = "" if len(tries) == 3 else "no route"

    (running,) = one.watch.running.values()
    running._pause = pause
    one.store.away = "no route"
    ends(call, stream("Hello."))
    assert (await outcome(one))[:2] == (wire.OUTCOME_OK, USED)
    assert len(tries) == 3
    assert (await Owner(one).get())["status"] == "completed"


async def test_a_store_that_stays_away(one):
    _, call = await queued(one)
    one.store.away = "no route"
    ends(call, stream("Hello."))
    assert (await outcome(one))[:2] == (wire.OUTCOME_UPSTREAM_CUT, NOTHING)
    assert one.pauses
    one.store.away = ""
    one.router.clock.advance(LEASE_SECONDS)
    assert (await failure(one))[0] == "server_error"


async def test_what_has_no_answer_is_not_gone_on_from(one):
    _, call = await queued(one)
    for status in ("queued", "cancelled"):
        one.ask(input="More", previous_response_id="resp_1")
        _, end = await one.ended()
        assert (end.error.kind, end.error.param) == (errors.ERROR_KIND_INVALID_REQUEST, "previous_response_id")
        assert status in end.error.message
        if status == "queued":
            await Owner(one).cancel()
            await outcome(one)
    assert call.cancelled


async def test_one_that_goes_on_from_another(one):
    await one.turn("Hello.", input="Hi")
    first, call = await queued(one, input="And you?", previous_response_id="resp_1")
    assert first["previous_response_id"] == "resp_1"
    assert [message["content"] for message in one.asked_upstream()] == ["Hi", "Hello.", "And you?"]
    ends(call, stream("Fine."))
    await outcome(one)
    assert (await Owner(one).get("resp_2"))["output"][0]["content"][0]["text"] == "Fine."


class ClosingResponses(MemoryResponses):
    """Answers nothing more once it was asked for the turns before."""

    async def chain(self, project_id, response_id, now_us):
        found = await super().chain(project_id, response_id, now_us)
        self.gate.clear()
        return found


async def test_a_step_that_begins_another(one):
    await one.turn("Hello.", input="Hi")
    slow = ClosingResponses()
    slow.rows, one.store = one.store.rows, slow
    request = one.ask(input="And you?", previous_response_id="resp_1", background=True)
    await eventually(lambda: not slow.gate.is_set())
    for _ in range(3):
        await asyncio.sleep(0)
    # It waits for the store, and is known to: the loop itself keeps no task alive.
    assert request._task is not None
    slow.gate.set()
    await eventually(lambda: len(one.router.upstream.calls) == 2)
    await Owner(one).cancel("resp_2")
    assert (await outcome(one))[0] == wire.OUTCOME_CANCELLED


async def test_the_loop_that_looks(one):
    _, call = await queued(one)
    stopping = asyncio.Event()
    running = asyncio.create_task(one.watch.run(stopping))
    await one.store.delete("p", "resp_1")
    await eventually(lambda: call.cancelled)
    stopping.set()
    await running
