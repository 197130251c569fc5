"""Requests that go on without their callers: the reply at once, and all that is kept of them until their End."""

import asyncio
import json

import pytest
from services.edge.tests.fakes.door import clean
from services.edge.tests.fakes.inference import chat, eventually

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.integration
LONG = 60
QUEUED = b'{"id":"resp_1","status":"queued"}'
BODY = json.dumps({"model": "a-model", "input": "hi", "background": True}).encode()


def detached(frame):
    header = wire.Header(name=b"x-tollgate-dropped", value=b"seed")
    return wire.Head(id=frame.id, status=200, headers=[header], detached=QUEUED)


async def begun(bench):
    """Returns a client that was let go, and the frame of its request."""
    client = await bench.client()
    client.send(chat(path="/v1/responses", body=BODY))
    frame = await bench.stream.next()
    bench.stream.pending[frame.id].deliver(detached(frame), b"", None)
    status, headers, body = await client.reply()
    assert (status, body, headers[b"content-type"]) == (200, QUEUED, b"application/json")
    assert headers[b"x-tollgate-dropped"] == b"seed"
    return client, frame


async def test_its_caller_is_let_go_and_it_is_settled_at_its_end(bench):
    client, frame = await begun(bench)
    assert len(bench.gateway.open) == 1
    # The memory of its body is counted until the end.
    assert bench.gateway.body_bytes == len(BODY)
    assert not bench.admission.settled
    # The connection serves others meanwhile, and may close.
    client.send(chat())
    other = await bench.stream.next()
    bench.stream.reply(other.id, b"{}")
    assert (await client.reply())[2] == b"{}"
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    assert not bench.stream.cancels
    # What else comes is for nobody.
    bench.stream.data(frame.id, b"more")
    bench.stream.end(frame.id, charge_pico=3)
    assert [charge for _, charge in bench.admission.settled] == [7, 3]
    assert bench.stream.acks == [other.id, frame.id]
    await clean(bench)


async def test_what_it_holds_is_kept(bench):
    _, frame = await begun(bench)
    bench.later(200)
    assert bench.admission.renewed == [frame.request_id]
    bench.stream.end(frame.id)
    await clean(bench)


async def test_an_end_with_an_error_that_comes_with_it(bench):
    client = await bench.client()
    client.send(chat(path="/v1/responses", body=BODY))
    frame = await bench.stream.next()
    end = wire.End(id=frame.id, outcome=wire.OUTCOME_UPSTREAM_ERROR)
    end.error.kind = errors.ERROR_KIND_UPSTREAM_UNAVAILABLE
    bench.stream.pending[frame.id].deliver(detached(frame), b"", end)
    assert (await client.reply())[::2] == (200, QUEUED)
    assert bench.stream.acks == [frame.id]
    await clean(bench)


async def test_a_caller_that_left_before(bench):
    client = await bench.client()
    client.send(chat(path="/v1/responses", body=BODY))
    frame = await bench.stream.next()
    await client.close()
    await eventually(lambda: bench.stream.cancels == [(frame.id, wire.CANCEL_REASON_CLIENT_GONE)])
    bench.stream.pending[frame.id].deliver(detached(frame), b"", None)
    assert not bench.gateway.open
    bench.stream.end(frame.id)
    assert bench.stream.acks == [frame.id]
    await clean(bench)


async def test_its_router_is_lost(bench):
    _, frame = await begun(bench)
    bench.stream.lose()
    # Nothing of the answer reached anybody: nothing is charged, and nobody is asked again.
    assert bench.witness.records == [(frame.request_id, 1, 0)]
    await clean(bench)


async def test_what_was_kept_without_an_event_is_witnessed(bench):
    _, frame = await begun(bench)
    bench.stream.end(frame.id, error=errors.ERROR_KIND_INTERNAL, unrecorded=True)
    # Its answer may be there for whoever asks for it: it is not free, and its hold waits for billing.
    assert bench.witness.records == [(frame.request_id, 1, len(QUEUED))]
    assert (bench.admission.settled, bench.admission.forgotten) == ([], [])
    await clean(bench)


async def test_its_time_is_up(bench):
    _, frame = await begun(bench)
    bench.later(bench.settings.request_timeout_seconds + 2)
    assert bench.stream.cancels == [(frame.id, wire.CANCEL_REASON_DEADLINE)]
    bench.stream.end(frame.id)
    await clean(bench)


async def test_a_process_that_stops_waits_for_it(bench):
    _, frame = await begun(bench)
    drain = asyncio.create_task(bench.gateway.drain_detached(LONG))
    await asyncio.sleep(0)
    assert not drain.done()
    bench.stream.end(frame.id)
    await asyncio.wait_for(drain, LONG)
    assert not bench.stream.cancels
    await clean(bench)


async def test_a_process_whose_time_to_stop_is_up(bench):
    _, frame = await begun(bench)
    await bench.gateway.drain_detached(0)
    assert bench.stream.cancels == [(frame.id, wire.CANCEL_REASON_DRAINING)]
    bench.stream.end(frame.id)
    await clean(bench)
