"""A step of one request fails inside edge: that one gets 500, and everything beside it goes on.

An error is planted at each place where requests of many callers are taken one after the other.
"""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from services.edge.tests.fakes.door import CHUNK, answered, asked, clean, error_of, streaming
from services.edge.tests.fakes.inference import Bench, chat, eventually

from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.link import RouterPeer
from tollgate_holds.holds import Holds
from tollgate_streams.server import StreamServer

pytestmark = pytest.mark.integration

FUNDS = 10**15
NEVER = 10**9


@pytest.fixture
def plant(monkeypatch, caplog):
    """Plants an error in a method: calls raise it, as many as are asked for; then it does what it did."""

    def planted(owner, name, times=1):
        whole, left = getattr(owner, name), [None] * times

        def method(*arguments, **options):
            if left:
                left.pop()
                raise RuntimeError("planted")
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, name, method)

    yield planted
    said = [record for record in caplog.get_records("call") if record.exc_info and record.levelno >= logging.ERROR]
    # Whoever reads the log finds where it was.
    assert said


async def failed(client):
    """Asserts that the next reply is a well-formed 500."""
    status, _, body = await client.reply()
    assert (status, error_of(body)["code"]) == (500, "internal_error")


async def served(bench, client):
    client.send(chat())
    assert (await answered(bench, client))[0] == 200


@pytest.mark.parametrize("before", [0, 1], ids=["parsed", "known"])
async def test_a_request_that_fails_as_it_begins_leaves_its_connection_to_the_next(bench, plant, before):
    client = await bench.client()
    for _ in range(before):
        await served(bench, client)
    plant(bench.keys, "cached")
    client.send(chat())
    await failed(client)
    await served(bench, client)
    await clean(bench)


async def test_a_key_that_the_store_cannot_say_anything_of(bench, plant, monkeypatch):
    found = asyncio.get_running_loop().create_future()
    found.set_result(bench.keys.principal)
    monkeypatch.setattr(bench.keys, "cached", lambda _: None)
    monkeypatch.setattr(bench.keys, "authenticate", lambda _: found)
    plant(bench.keys, "authenticate")
    client = await bench.client()
    client.send(chat())
    await failed(client)
    await served(bench, client)
    await eventually(lambda: bench.gateway.key_checks == 0)
    await clean(bench)


async def test_of_those_that_wait_for_a_router_one_that_fails_ends_alone(bench, plant, tmp_path):
    bench.pool.streams.clear()
    clients = []
    for number in range(3):
        clients.append(await bench.client())
        clients[-1].send(chat())
        await eventually(lambda number=number: bench.gateway.parked == number + 1)
    server = StreamServer(f"unix:{tmp_path}/r")
    server.add_stream("/tollgate.exchange.v1.ExchangeService/Exchange", lambda _: SimpleNamespace())
    await server.start()

    def ready():
        bench.pool.streams.append(bench.stream)
        bench.gateway._router_ready()

    plant(bench.stream, "open")
    stopping = asyncio.Event()
    peer = RouterPeer(f"unix:{tmp_path}/r", 0.0, ready, bench.counters)
    running = asyncio.create_task(peer.run(stopping))
    await failed(clients[0])
    for client in clients[1:]:
        assert (await answered(bench, client))[0] == 200
    # The router is still served, and would be connected to again.
    assert (peer.stream is not None, running.done()) == (True, False)
    stopping.set()
    peer.stream.cancel()
    await running
    await server.stop(0)
    await clean(bench)


async def test_a_sweep_that_fails_for_one_request_reaches_those_behind_it(bench, plant):
    begun = [await streaming(bench) for _ in range(3)]
    for client, _ in begun:
        await client.until(CHUNK)
    plant(bench.admission, "renew")
    bench.later(bench.settings.hold_ttl_seconds / 2)
    found = []
    for client, frame_id in begun:
        bench.stream.data(frame_id, b"data: last\n\n")
        bench.stream.end(frame_id)
        found.append(await client.rest_of_stream())
    # Its time is over in words; to the others it was silence, which the sweep ended with a comment.
    broken = [text for text in found if b"last" not in text]
    assert len(broken) == 1
    assert b"internal_error" in broken[0]
    assert sum(b": " in text and b"last" in text for text in found) == 2
    await clean(bench)


class FailingDoor:
    """Stands among the connections, and cannot say whether its time is over."""

    taken_at = 0.0
    told = 0

    def check_deadline(self, _now):
        raise RuntimeError("planted")

    def broke(self):
        self.told += 1

    def unread(self, _now):
        return 0


async def test_a_connection_whose_deadline_cannot_be_told_keeps_no_other_from_its_own(bench):
    client = await bench.client()
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
    await eventually(lambda: any(getattr(door, "url", b"") for door in bench.gateway.doors))
    bench.gateway.doors.add(failing := FailingDoor())
    bench.later(100)
    assert (await client.reply())[0] == 408
    assert failing.told == 1
    bench.gateway.doors.discard(failing)
    await clean(bench)


async def test_of_those_whom_no_router_came_for_one_that_fails_ends_alone(bench, plant):
    bench.pool.streams.clear()
    clients = [await bench.client() for _ in range(2)]
    for client in clients:
        client.send(chat())
    await eventually(lambda: bench.gateway.parked == 2)
    plant(bench.admission, "forget")
    bench.later(60)
    assert {(await client.reply())[0] for client in clients} == {500, 503}
    await clean(bench)


async def test_of_those_that_redis_answers_together_one_that_fails_ends_alone(valkey, plant):
    valkey.clear()
    holds = Holds(valkey.url)
    await holds.start()
    assert await holds.wait_ready(10)
    await holds.rebuild("org_1", FUNDS)
    async with Bench().serving() as bench:
        admission = bench.gateway.admission = Admission(
            holds, hold_ttl_seconds=60, pause_seconds=NEVER, on_no_wallet=lambda _: None
        )
        clients = [await bench.client() for _ in range(3)]
        plant(bench.pool, "pick")
        connection = holds.pipe._connection
        for client in clients:
            client.send(chat())
        # One call holds for all of them.
        await eventually(lambda: admission.waiting == len(clients))
        await admission.drain()
        assert admission.round_trips == 1
        replied = [asyncio.create_task(client.reply()) for client in clients]
        for _ in range(2):
            frame = await bench.stream.next()
            bench.stream.reply(frame.id, b"{}")
        statuses = [status for status, _, _ in await asyncio.gather(*replied)]
        assert sorted(statuses) == [200, 200, 500]
        assert admission.waiting == 0
        # The connection to Redis is the one that it was, and the money of the one that failed came back.
        await admission.drain()
        assert holds.pipe._connection is connection
        assert (await holds.balance("org_1")).held == 0
        await clean(bench)
    await holds.close()


async def test_a_lost_router_that_cannot_be_written_down_is_told_of_all_the_same(bench, plant):
    plain, _ = await asked(bench, chat())
    client, _ = await streaming(bench)
    await client.until(CHUNK)
    plant(bench.witness, "record", times=2)
    bench.stream.lose()
    await failed(plain)
    assert b"internal_error" in await client.rest_of_stream()
    await clean(bench)


async def test_a_second_try_that_fails_before_it_begins_gives_back_what_it_holds(bench, plant):
    bench.pool.streams.append(bench.spare)
    client, frame = await asked(bench, chat())
    plant(bench.pool, "pick")
    bench.stream.lose()
    await failed(client)
    assert bench.admission.forgotten == [f"{frame.request_id}.2"]
    await clean(bench)
