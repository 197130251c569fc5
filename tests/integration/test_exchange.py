"""The stream between edge and routers, from outside: clients and providers on sockets, routers that come and go."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from services.edge.tests.fakes.inference import MODEL, Client, chat, eventually
from tests.integration.between import Between
from tests.integration.gateway import Call, Gateway, answer_whole, event, reply

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.measured import gateway_samples
from tollgate_router.exchange.long_reply import WINDOW_BYTES

pytestmark = pytest.mark.integration

LIVE = 200
LARGE_BYTES = 96 * 1024 * 1024
# The most that a loop hands to a protocol at once.
READ_BYTES = 256 * 1024
AT_REST = 60


@pytest.fixture
def make_gateway(tmp_path: Path, valkey: Any) -> Any:
    valkey.clear()

    def make(**options: Any) -> Gateway:
        return Gateway(tmp_path, valkey.url, **options)

    return make


def request(text: str = "hi", *, stream: bool = False, **more: Any) -> bytes:
    body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": text}], **more}
    return chat(body=json.dumps(body).encode())


class Stage:
    """A provider whose streams send a first chunk and wait for `go_on`; what is not a stream is answered then too."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        if not call.body.get("stream"):
            await self.go_on.wait()
            await answer_whole(call)
            return
        await call.begin()
        await call.send(event("first"))
        await self.go_on.wait()
        await call.send(event("second"))
        await call.end()


def figures(gateway: Gateway) -> dict[str, Any]:
    """Returns what edge and the first router measure, by name."""
    samples = (*gateway_samples(gateway.inference), *gateway.routers[0].parts.samples())
    return {name: value for name, _, value in samples}


def queued(one: socket.socket) -> int:
    """Returns the bytes that the kernel has of a connection on this machine: not sent, or not read, at either end."""
    ports = {one.getsockname()[1], one.getpeername()[1]}
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if {int(end.partition(":")[2], 16) for end in (local, remote)} == ports:
            total += sum(int(size, 16) for size in queues.split(":"))
    return total


async def begun(client: Client) -> None:
    """Asks for a stream and waits for its first chunk."""
    client.send(request(stream=True))
    await client.until(b"first")


@pytest.mark.parametrize("shut", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_caller_that_left_asked_for_is_cancelled_at_a_provider_that_says_nothing(
    make_gateway: Any, *, stream: bool, shut: bool
) -> None:
    async with make_gateway().running() as gateway:
        gateway.upstream.script = Stage()
        client = await gateway.bench.client()
        client.send(request(stream=stream))
        await (client.until(b"first") if stream else eventually(lambda: gateway.upstream.calls))
        (call,) = gateway.upstream.calls
        if shut:
            client.writer.write_eof()
        else:
            await client.close()
        await eventually(lambda: not gateway.inference.doors)
        assert gateway.bench.counters.client_gone == 1
        # Edge's cancellation has reached the provider: its connection is closed.
        await eventually(lambda: call.gone)


async def test_a_stalled_reader_costs_its_own_window_and_nobody_else_anything(make_gateway: Any) -> None:
    piece = event("y" * 60_000)

    async def answer(call: Call) -> None:
        await call.begin()
        if call.body["messages"][0]["content"] == "large":
            while call.sent < LARGE_BYTES:
                await call.send(piece)
        else:
            for _ in range(20):
                await call.send(event("x"))
        await call.end()

    async with make_gateway().running() as gateway:
        gateway.upstream.script = answer
        stalled = await gateway.bench.client(receive_buffer=4096)
        await eventually(lambda: len(gateway.inference.doors) == 1)
        (door,) = gateway.inference.doors
        # Of fixed size: one that the system makes larger later takes what edge held, and nothing more is asked for.
        door.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOW_BYTES)
        stalled.send(request("large", stream=True))
        await eventually(lambda: gateway.upstream.calls and gateway.upstream.calls[0].sent > 0)

        async def live() -> bytes:
            client = await gateway.bench.client()
            client.send(request(stream=True))
            status, _, body = await client.reply()
            assert status == 200
            return bytes(body)

        bodies = await asyncio.gather(*(live() for _ in range(LIVE)))
        assert {body.count(b'"x"') for body in bodies} == {20}
        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
        (large,) = [call for call in gateway.upstream.calls if call.body["messages"][0]["content"] == "large"]
        await eventually(lambda: figures(gateway)["tollgate_router_stalled_requests"] == 1)
        await eventually(lambda: figures(gateway)["tollgate_edge_stalled_requests"] == 1)
        # The provider was told to wait: of what it sent, edge and router hold one window, and the read that filled it.
        ours: list[int] = []

        def held() -> int:
            ours.append(large.sent - large.waiting() - queued(large.socket) - queued(stalled.socket) - stalled.unread())
            return ours[-1]

        # It fills, however slowly the system hands it on, and then nothing moves.
        await eventually(lambda: held() > WINDOW_BYTES // 2)
        await eventually(lambda: [held()] * AT_REST == ours[-AT_REST:])
        assert WINDOW_BYTES // 2 < ours[-1] <= WINDOW_BYTES + READ_BYTES
        assert figures(gateway)["tollgate_router_credit_stalls_total"] >= 1
        assert len(gateway.inference.open) == 1
        # It reads on, and gets every byte of it.
        size, tail = 0, b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            read = await asyncio.wait_for(stalled.reader.read(1 << 20), 30)
            assert read
            size, tail = size + len(read), (tail + read)[-64:]
        assert b"[DONE]" in tail
        assert size > LARGE_BYTES


async def test_a_stream_that_is_old_is_replaced_without_a_lost_request(make_gateway: Any) -> None:
    stage = Stage()
    async with make_gateway(stream_age_seconds=0.3).running() as gateway:
        gateway.upstream.script = stage
        long = await gateway.bench.client()
        await begun(long)
        gateway.upstream.script = answer_whole
        (peer,) = gateway.pool.peers
        streams, asked = [peer.stream], 0
        while len(streams) < 4:
            await asyncio.gather(*(gateway.ask(5) for _ in range(4)))
            asked += 20
            if peer.stream is not None and peer.stream is not streams[-1]:
                streams.append(peer.stream)
        # It began three streams ago and is finished where it began.
        stage.go_on.set()
        rest = await long.rest_of_stream()
        assert b"[DONE]" in rest
        assert len(gateway.upstream.calls) == asked + 1


async def test_a_router_that_vanishes_takes_only_streams_that_had_begun(make_gateway: Any) -> None:
    stage = Stage()
    async with make_gateway(routers=2).running() as gateway:
        gateway.upstream.script = stage
        streams, wholes = [], []
        for _ in range(4):
            streams.append(await gateway.bench.client())
            await begun(streams[-1])
        for _ in range(4):
            wholes.append(await gateway.bench.client())
            wholes[-1].send(request())
        await eventually(lambda: len(gateway.upstream.calls) == 8)
        assert [router.parts.deps.open_requests for router in gateway.routers] == [4, 4]
        await gateway.routers[0].vanish()
        # What had delivered nothing is asked for once more, elsewhere; the provider is told that nobody waits.
        await eventually(lambda: len(gateway.upstream.calls) == 10)
        await eventually(lambda: gateway.upstream.gone == 4)
        stage.go_on.set()
        for client in wholes:
            assert (await client.reply())[0] == 200
        tails = [await client.rest_of_stream() for client in streams]
        broken = [tail for tail in tails if b'"error"' in tail]
        assert len(broken) == 2
        assert all(tail.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for tail in tails)
        # Two attempts of the same request, each with its event; the broken streams are the witness's.
        assert len(gateway.bench.witness.records) == 4
        assert [peer.broken for peer in gateway.pool.peers] == [1, 0]
        # The stream comes back, and so do requests on it.
        await gateway.ask(3)


async def test_a_router_that_drains_finishes_what_it_has_and_takes_no_more(make_gateway: Any) -> None:
    stage = Stage()
    async with make_gateway(routers=2).running() as gateway:
        gateway.upstream.script = stage
        clients = [await gateway.bench.client() for _ in range(4)]
        for client in clients:
            await begun(client)
        first, second = gateway.routers
        draining = asyncio.create_task(first.parts.exchange.drain(30))
        await eventually(lambda: all(session.draining for session in first.parts.deps.sessions))
        gateway.upstream.script = answer_whole
        # What is on its way while edge has not heard of it is answered too.
        await gateway.ask(20)
        await eventually(lambda: gateway.pool.connected == 1)
        calls = sum(second.parts.deps.counters.attempts.values())
        await gateway.ask(20)
        assert sum(second.parts.deps.counters.attempts.values()) == calls + 20
        stage.go_on.set()
        for client in clients:
            assert b"[DONE]" in await client.rest_of_stream()
        await asyncio.wait_for(draining, 30)
        assert first.parts.deps.open_requests == 0


async def test_a_router_whose_time_is_up_ends_what_has_begun_and_leaves_the_rest_to_another(make_gateway: Any) -> None:
    stage = Stage()
    async with make_gateway(routers=2).running() as gateway:
        gateway.upstream.script = stage
        streams = [await gateway.bench.client() for _ in range(4)]
        for client in streams:
            await begun(client)
        wholes = [await gateway.bench.client() for _ in range(4)]
        for client in wholes:
            client.send(request())
        await eventually(lambda: len(gateway.upstream.calls) == 8)
        first, _ = gateway.routers
        settled = gateway.bench.counters.ends.total()
        await first.parts.exchange.drain(0)
        # Two streams were here: the provider was told to stop, edge has taken their ends and knows what they cost.
        assert first.parts.deps.open_requests == 2
        await eventually(lambda: gateway.upstream.gone == 2)
        assert gateway.bench.counters.ends.total() == settled + 2
        await first.vanish()
        await eventually(lambda: len(gateway.upstream.calls) == 10)
        stage.go_on.set()
        for client in wholes:
            assert (await client.reply())[0] == 200
        tails = [await client.rest_of_stream() for client in streams]
        broken = [tail for tail in tails if b'"error"' in tail]
        assert len(broken) == 2
        assert all(b"service_unavailable" in tail for tail in broken)
        assert all(tail.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for tail in tails)
        # Of what was asked elsewhere nothing had been delivered.
        assert [delivered for _, _, delivered in gateway.bench.witness.records] == [0, 0]


async def test_large_bodies_travel_in_frames_and_arrive_whole(make_gateway: Any) -> None:
    sizes = [70_000, 300_000, 5_000_000, 5_000_000]
    async with make_gateway(routers=2).running() as gateway:

        async def ask(size: int) -> None:
            client = await gateway.bench.client()
            client.send(request("z" * size))
            assert (await client.reply())[0] == 200

        await asyncio.gather(*map(ask, sizes))
        arrived = sorted(len(call.body["messages"][0]["content"]) for call in gateway.upstream.calls)
        assert arrived == sorted(sizes)
        assert gateway.inference.body_bytes == 0


async def test_a_request_that_takes_too_long_ends_with_504(make_gateway: Any) -> None:
    stage = Stage()
    gateway = make_gateway()
    # Long enough for it to come to the provider on a busy machine.
    gateway.edge_settings["request_timeout_seconds"] = 2.0
    async with gateway.running():
        gateway.upstream.script = stage
        client = await gateway.bench.client()
        client.send(request())
        status, headers, body = await client.reply()
        assert (status, json.loads(body)["error"]["code"]) == (504, "upstream_timeout")
        assert headers[b"x-request-id"]
        await eventually(lambda: gateway.upstream.gone == 1)


async def test_a_request_whose_way_to_the_router_fell_silent_is_answered_in_time(
    make_gateway: Any, tmp_path: Path
) -> None:
    stage, gateway = Stage(), make_gateway()
    way = Between(f"{tmp_path}/between.sock", f"{tmp_path}/router-0.sock")
    gateway.edge_settings |= {"router_addresses": f"unix:{way.path}", "request_timeout_seconds": 100.0}
    async with way.open(), gateway.running():
        gateway.upstream.script = stage
        whole, stream = await gateway.bench.client(), await gateway.bench.client()
        whole.send(request())
        await begun(stream)
        await eventually(lambda: len(gateway.upstream.calls) == 2)
        way.fall_silent()
        stage.go_on.set()
        gateway.bench.later(102)
        status, _, body = await whole.reply()
        assert (status, json.loads(body)["error"]["code"]) == (504, "timeout")
        tail = await stream.rest_of_stream()
        assert b'"code":"timeout"' in tail.replace(b": ", b":")
        assert not gateway.inference.open
        (peer,) = gateway.pool.peers
        assert peer.open_requests == 2
        # When the router is heard again, what it charged is settled, though the callers have had their answer.
        way.go_on()
        await eventually(lambda: peer.open_requests == 0)
        await eventually(lambda: figures(gateway)["tollgate_router_unacknowledged"] == 0)
        await gateway.admission.drain()
        assert (await gateway.holds.balance("org_1")).held == 0
        assert not gateway.bench.witness.records
        await gateway.ask(1)


def long_reply(size: int) -> bytes:
    message = {"role": "assistant", "content": "y" * size}
    return json.dumps({**json.loads(reply()), "choices": [{"index": 0, "message": message}]}).encode()


async def test_a_long_whole_reply_waits_at_the_router_for_a_caller_that_reads_slowly(make_gateway: Any) -> None:
    body = long_reply(20_000_000)

    async def answer(call: Call) -> None:
        await call.whole(body if call.body["messages"][0]["content"] == "long" else reply())

    async with make_gateway().running() as gateway:
        gateway.upstream.script = answer
        client = await gateway.bench.client(receive_buffer=4096)
        client.send(request("long"))
        await eventually(lambda: figures(gateway)["tollgate_router_stalled_requests"] == 1)
        await eventually(lambda: figures(gateway)["tollgate_edge_stalled_requests"] == 1)
        # The provider is done; others are served meanwhile.
        await gateway.ask(5)
        gateway.bench.later(0)
        found = figures(gateway)
        assert 0 < found["tollgate_edge_reply_bytes"] < 600_000
        assert found["tollgate_router_body_bytes"] > len(body)
        assert found["tollgate_router_exchange_queued_bytes"] == 0
        # It reads on, and gets every byte of it, in chunks.
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            piece = await asyncio.wait_for(client.reader.read(1 << 20), 30)
            assert piece
            received += piece
        assert received.count(b"y") >= 20_000_000
        assert len(received) < len(body) + 10_000
        await eventually(lambda: figures(gateway)["tollgate_router_body_bytes"] == 0)
        assert gateway.bench.counters.ends == {wire.OUTCOME_OK: 6}


class Slow:
    """A provider whose replies come but for their end, and their end when `go_on` is set."""

    def __init__(self, body: bytes, held: int) -> None:
        self.go_on = asyncio.Event()
        self._body, self._held = body, held

    async def __call__(self, call: Call) -> None:
        if call.body["messages"][0]["content"] != "long":
            await answer_whole(call)
            return
        await call.promise(len(self._body))
        await call.write(self._body[: self._held])
        await self.go_on.wait()
        await call.write(self._body[self._held :])


async def test_long_replies_that_come_slowly_take_no_more_memory_than_their_limit(make_gateway: Any) -> None:
    body, held, limit, asked = long_reply(1_000_000), 900_000, 3_200_000, 12
    async with make_gateway(max_gathered_reply_bytes=limit).running() as gateway:
        gateway.upstream.script = slow = Slow(body, held)
        clients = [await gateway.bench.client() for _ in range(asked)]
        for client in clients:
            client.send(request("long"))

        def gathered() -> tuple[int, int]:
            found = figures(gateway)
            refused = found["tollgate_router_replies_refused_total"]
            return found["tollgate_router_gathered_reply_bytes"], asked - refused

        # As many as have room are gathered; the others are given up, each as it needs more than there is.
        await eventually(lambda: gathered()[0] == gathered()[1] * held)
        room = gathered()[1]
        # One more may have had to go, when several were nearly as long as they get.
        assert limit // held - 1 <= room <= limit // held
        await eventually(lambda: gateway.upstream.gone == asked - room)
        # Short ones are answered all the while.
        await gateway.ask(3)
        assert gathered() == (room * held, room)
        slow.go_on.set()
        replies = [await client.reply() for client in clients]
        whole = [json.loads(found)["choices"][0]["message"]["content"] for status, _, found in replies if status == 200]
        assert [len(text) for text in whole] == [1_000_000] * room
        refused = [(status, headers, json.loads(text)["error"]) for status, headers, text in replies if status != 200]
        assert {(status, headers[b"retry-after"], error["code"]) for status, headers, error in refused} == {
            (503, b"1", "service_unavailable")
        }
        await eventually(lambda: figures(gateway)["tollgate_router_gathered_reply_bytes"] == 0)
        # Nothing is held of who was given up, and they may come again.
        await eventually(lambda: figures(gateway)["tollgate_router_body_bytes"] == 0)
        clients[0].send(request("long"))
        assert (await clients[0].reply())[0] == 200


async def test_requests_wait_for_a_router_and_are_told_when_none_comes(make_gateway: Any) -> None:
    gateway = make_gateway()
    async with gateway.running():
        (router,) = gateway.routers
        await router.vanish()
        await eventually(lambda: gateway.pool.connected == 0)
        client = await gateway.bench.client()
        client.send(request())
        await eventually(lambda: gateway.inference.open)
        gateway.bench.later(gateway.inference.settings.router_wait_seconds + 1)
        status, headers, body = await client.reply()
        assert status == 503
        assert headers[b"retry-after"] == b"1"
        assert json.loads(body)["error"]["message"]
