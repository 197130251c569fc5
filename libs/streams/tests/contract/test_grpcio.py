"""Each end of ours opposite grpcio: a stream that echoes, messages of every size, ends, refusals, unary calls."""

import asyncio

import grpc
import pytest
from grpc import aio

from tollgate_streams.client import NotOpened, call
from tollgate_streams.server import StreamServer

pytestmark = pytest.mark.contract

PATH = "/test.Echo/Stream"
# Longer than a frame of 16 KiB and than the first window of 64 KiB.
SIZES = (0, 1, 100, 16_379, 16_380, 65_535, 300_000, 3_000_000)


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.messages, self.reason, self.ended = [], None, False
        self.changed = asyncio.Event()

    def on_headers(self, headers, *, last):
        pass

    def on_message(self, message):
        self.messages.append(message)
        self.changed.set()

    def on_end(self):
        self.ended = True
        self.changed.set()

    def on_lost(self, reason):
        self.reason = reason
        self.changed.set()

    def on_writable(self):
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Echo(Listener):
    """Sends back what it gets, and ends when the client does."""

    def __init__(self, its_call):
        super().__init__()
        self.call = its_call

    def on_message(self, message):
        super().on_message(message)
        self.call.send(message)

    def on_end(self):
        super().on_end()
        self.call.finish("0" if self.messages else "3", "" if self.messages else "nothing, è 100 %")


class Servicer(grpc.GenericRpcHandler):
    """The same by grpcio."""

    def service(self, details):
        if details.method != PATH:
            return None

        async def echo(_, context):
            await context.send_initial_metadata(())
            while isinstance(message := await context.read(), bytes):
                await context.write(message)

        return grpc.stream_stream_rpc_method_handler(echo)


@pytest.fixture
async def theirs(tmp_path):
    """Yields the address of a server of grpcio."""
    server = aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Servicer(),))
    address = f"unix:{tmp_path}/theirs.sock"
    server.add_insecure_port(address)
    await server.start()
    yield address
    await server.stop(0)


@pytest.fixture
async def ours():
    """Yields a server of ours, on TCP, and the listeners of its calls."""
    server, listeners = StreamServer("127.0.0.1:0"), []

    def accept(its_call):
        listeners.append(Echo(its_call))
        return listeners[-1]

    server.add_stream(PATH, accept)
    server.add_registered_method_handlers("test.Unary", {"Twice": Twice(), "Fails": Fails(), "Aborts": Aborts()})
    await server.start()
    yield server, listeners
    await server.stop(0)


class Twice:
    request_deserializer = bytes
    response_serializer = bytes

    async def unary_unary(self, request, _):
        return request * 2


class Fails(Twice):
    async def unary_unary(self, request, _):
        raise ZeroDivisionError(request)


class Aborts(Twice):
    async def unary_unary(self, _, context):
        context.set_trailing_metadata((("reason-bin", b"\x00\xff why"),))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now, è 100 %")


def channel(server):
    """Returns a channel of grpcio to ours."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    return aio.insecure_channel(f"127.0.0.1:{server.port}", options=options)


async def test_our_client_at_a_server_of_grpcio(theirs):
    listener = Listener()
    ours = await call(theirs, PATH, listener)
    await ours.taken()
    sent = [bytes([number]) * size for number, size in enumerate(SIZES)]
    for message in sent:
        ours.send(message)
    await listener.until(lambda: len(listener.messages) == len(sent))
    assert listener.messages == sent
    ours.done_writing()
    await listener.until(lambda: listener.ended)
    assert ours.status == "0"
    assert ours.closed


async def test_our_client_is_refused_by_a_server_of_grpcio(theirs):
    ours = await call(theirs, "/test.Echo/None", Listener())
    with pytest.raises(NotOpened):
        await ours.taken()


async def test_a_server_of_grpcio_goes_away(tmp_path):
    server = aio.server()
    server.add_generic_rpc_handlers((Servicer(),))
    address = f"unix:{tmp_path}/gone.sock"
    server.add_insecure_port(address)
    await server.start()
    listener = Listener()
    ours = await call(address, PATH, listener)
    await ours.taken()
    await server.stop(0)
    await listener.until(lambda: listener.reason is not None or listener.ended)
    assert ours.closed


async def test_a_client_of_grpcio_at_our_server(ours):
    server, listeners = ours
    async with channel(server) as their_channel:
        # Two calls share the connection.
        calls = [their_channel.stream_stream(PATH)() for _ in range(2)]
        for each in calls:
            for number, size in enumerate(SIZES):
                message = bytes([number]) * size
                await each.write(message)
                assert await each.read() == message
        for each in calls:
            await each.done_writing()
            assert await each.read() is aio.EOF
            assert await each.code() is grpc.StatusCode.OK
    assert [listener.ended for listener in listeners] == [True, True]


async def test_what_a_server_of_ours_says_at_the_end_and_a_cancel(ours):
    server, listeners = ours
    async with channel(server) as their_channel:
        refused = their_channel.stream_stream(PATH)()
        await refused.done_writing()
        assert await refused.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await refused.details() == "nothing, è 100 %"
        cancelled = their_channel.stream_stream(PATH)()
        await cancelled.write(b"one")
        assert await cancelled.read() == b"one"
        cancelled.cancel()
        await listeners[1].until(lambda: listeners[1].reason is not None)
        assert "reset" in listeners[1].reason


async def test_unary_calls_of_grpcio_at_our_server(ours):
    server, _ = ours
    async with channel(server) as their_channel:
        assert await their_channel.unary_unary("/test.Unary/Twice")(b"ab") == b"abab"
        assert len(await their_channel.unary_unary("/test.Unary/Twice")(b"x" * 2_000_000)) == 4_000_000
        with pytest.raises(aio.AioRpcError) as failed:
            await their_channel.unary_unary("/test.Unary/Fails")(b"secret")
        assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.UNKNOWN, "Internal error.")
        with pytest.raises(aio.AioRpcError) as aborted:
            await their_channel.unary_unary("/test.Unary/Aborts")(b"")
        assert aborted.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert aborted.value.details() == "not now, è 100 %"
        assert dict(aborted.value.trailing_metadata())["reason-bin"] == b"\x00\xff why"
        with pytest.raises(aio.AioRpcError) as unknown:
            await their_channel.unary_unary("/test.Unary/None")(b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_our_server_stops_under_an_open_call(ours):
    server, listeners = ours
    listener = Listener()
    own = await call(f"127.0.0.1:{server.port}", PATH, listener)
    await own.taken()
    own.send(b"one")
    await listener.until(lambda: listener.messages)
    await server.stop(0)
    await listener.until(lambda: listener.reason is not None)
    assert listeners[0].reason is not None
    assert not listeners[0].ended
