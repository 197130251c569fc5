"""The end of a stream to a router: whatever ends it, what was open is told, and the peer may connect anew."""

import asyncio

import pytest
from grpc import aio

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.link import RouterStream

pytestmark = pytest.mark.unit


class Call:
    """A gRPC call whose reader finds out that it has ended by `ended`, and its writer from `finished` on."""

    def __init__(self, error):
        self.ended = asyncio.Event()
        self.finished = False
        self.written = []
        self._error = error

    async def read(self):
        await self.ended.wait()
        return aio.EOF

    async def write(self, message):
        if self.finished:
            raise self._error
        self.written.append(message)

    async def done_writing(self):
        if self.finished:
            raise self._error

    def cancel(self):
        self.ended.set()


class Open:
    """A request that is open on the stream."""

    def __init__(self):
        self.told = 0

    def lost(self):
        self.told += 1


def away():
    return aio.AioRpcError(14, aio.Metadata(), aio.Metadata(), "away")


@pytest.mark.parametrize("error", [asyncio.InvalidStateError("RPC already finished."), away()])
async def test_a_write_to_a_call_that_has_ended_loses_nothing_but_the_stream(error):
    call, request = Call(error), Open()
    stream = RouterStream(call, 0.0)
    running = asyncio.create_task(stream.run())
    frame_id = stream.open(request)
    stream.outbox.open(0, id=frame_id)
    await asyncio.sleep(0.01)
    assert wire.EdgeBatch.FromString(call.written[0]).open[0].id == frame_id
    # The call has ended, and something is to be written before the reader finds out.
    call.finished = True
    stream.outbox.cancel(frame_id, wire.CANCEL_REASON_CLIENT_GONE)
    await asyncio.sleep(0.01)
    call.ended.set()
    await running
    assert stream.closed
    assert stream.changed.is_set()
    assert request.told == 1
    assert not stream.pending


@pytest.mark.parametrize("error", [asyncio.InvalidStateError("RPC already finished."), away()])
async def test_a_stream_that_ends_while_it_is_finished_is_no_error(error):
    call = Call(error)
    stream = RouterStream(call, 0.0)
    stream.outbox.ack(1)
    call.finished = True
    await stream.finish()
