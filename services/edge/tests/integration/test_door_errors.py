"""A step of one request fails inside edge: that one gets 500, and everything beside it goes on.

An error is planted at each place where requests of many callers are taken one after the other.
"""

import asyncio
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from services.edge.tests.fakes.door import CHUNK, answered, asked, clean, error_of, streaming
from services.edge.tests.fakes.inference import Bench, chat, eventually

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.alone import Alone
from tollgate_edge.inference.exchange import InferenceExchange
from tollgate_edge.inference.guarding import guarded
from tollgate_edge.inference.link import RouterPeer
from tollgate_holds import LimitSet, Scope
from tollgate_holds.holds import Holds
from tollgate_streams.server import StreamServer

pytestmark = pytest.mark.integration

FUNDS = 10**15
NEVER = 10**9


@pytest.fixture
async def bench():
    """One that writes a line of every request, with nothing left behind afterwards."""
    async with Bench(access_log="on").serving() as made:
        yield made
        await clean(made)


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
    assert await holds.wait_ready(60)
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


async def test_replies_of_redis_that_cannot_be_taken_end_who_waits_for_them_and_no_connection(valkey, plant):
    valkey.clear()
    holds = Holds(valkey.url)
    await holds.start()
    assert await holds.wait_ready(10)
    await holds.rebuild("org_1", FUNDS)
    async with Bench().serving() as bench:
        admission = bench.gateway.admission = Admission(
            holds, hold_ttl_seconds=60, pause_seconds=NEVER, on_no_wallet=lambda _: None
        )
        connection = holds.pipe._connection
        clients = [await bench.client() for _ in range(2)]
        for client in clients:
            client.send(chat())
        await eventually(lambda: admission.waiting == len(clients))
        plant(admission, "done")
        await admission.drain()
        for client in clients:
            status, _, body = await client.reply()
            assert (status, error_of(body)["code"]) == (503, "service_unavailable")
        # Redis had placed both.
        await admission.drain()
        assert (await holds.balance("org_1")).held == 0
        clients[0].send(chat())
        await eventually(lambda: admission.waiting == 1)
        await admission.drain()
        assert (await answered(bench, clients[0]))[0] == 200
        assert admission.waiting == 0
        assert holds.pipe._connection is connection
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


async def test_a_request_whose_caller_left_and_whose_lost_router_cannot_be_written_down_leaves_its_line(bench, plant):
    limits = LimitSet("org_1", (Scope("key", "key_1", slots=1),))
    bench.keys.principal = replace(bench.keys.principal, limits=limits)
    client, frame = await asked(bench, chat())
    await client.close()
    await eventually(lambda: bench.stream.cancels)
    plant(bench.witness, "record")
    bench.stream.lose()
    (line,) = bench.access_lines()
    assert (line["request_id"], line["outcome"], line["tries"]) == (frame.request_id, "router_lost", 1)
    assert bench.admission.ended == [frame.request_id]
    await clean(bench)


async def test_a_second_try_that_fails_before_it_begins_gives_back_what_it_holds(bench, plant):
    bench.pool.streams.append(bench.spare)
    client, frame = await asked(bench, chat())
    plant(bench.pool, "pick")
    bench.stream.lose()
    await failed(client)
    assert bench.admission.forgotten == [f"{frame.request_id}.2"]
    await clean(bench)


# A try whose Open cannot be made never began: the router hears nothing of it, and what it holds goes back.

LIMITS = LimitSet("org_1", (Scope("key", "key_1", slots=1),))


def fails_to_open(bench, plant, where, stream):
    plant(*{"fields": (bench.gateway, "common_of"), "id": (stream, "open"), "frame": (stream.outbox, "open")}[where])


def untouched(stream):
    """Nothing of a request is left at a stream, and nothing was said of one."""
    return stream.opened.empty() and not (stream.pending or stream.cancels or stream.acks)


@pytest.mark.parametrize("limits", [None, LIMITS], ids=["wallet", "limits"])
@pytest.mark.parametrize("where", ["fields", "id", "frame"])
async def test_a_first_try_that_cannot_be_opened_gives_back_what_it_holds(bench, plant, where, limits):
    bench.keys.principal = replace(bench.keys.principal, limits=limits)
    fails_to_open(bench, plant, where, bench.stream)
    client = await bench.client()
    client.send(chat())
    await failed(client)
    assert bench.admission.forgotten == bench.admission.held
    assert (bench.admission.ended, bench.admission.settled) == ([], [])
    assert untouched(bench.stream)
    (line,) = bench.access_lines()
    assert (line["status"], line["tries"], line["outcome"]) == (500, 0, "refused")
    await served(bench, client)
    await clean(bench)


@pytest.mark.parametrize("limits", [None, LIMITS], ids=["wallet", "limits"])
@pytest.mark.parametrize("where", ["fields", "id", "frame"])
async def test_a_second_try_that_cannot_be_opened_gives_back_what_it_holds(bench, plant, where, limits):
    bench.keys.principal = replace(bench.keys.principal, limits=limits)
    bench.pool.streams.append(bench.spare)
    client, frame = await asked(bench, chat())
    fails_to_open(bench, plant, where, bench.spare)
    bench.stream.lose()
    await failed(client)
    assert bench.admission.forgotten == [f"{frame.request_id}.2"]
    assert (bench.admission.ended, bench.admission.settled) == ([], [])
    assert untouched(bench.spare)
    (line,) = bench.access_lines()
    assert (line["status"], line["tries"], line["outcome"]) == (500, 1, "router_lost")
    await clean(bench)


async def test_a_second_try_that_cannot_be_opened_cancels_nobody_else(bench, plant):
    client, _ = await asked(bench, chat())
    bench.pool.streams.append(bench.spare)
    bench.pool.streams.remove(bench.stream)
    other = await bench.client()
    other.send(chat())
    frame = await bench.spare.next()
    plant(bench.spare, "open")
    bench.stream.lose()
    await failed(client)
    assert bench.spare.cancels == []
    assert list(bench.spare.pending) == [frame.id]
    bench.spare.reply(frame.id, b"{}")
    assert (await other.reply())[0] == 200
    await clean(bench)


async def test_a_second_hold_that_cannot_be_asked_for_gives_the_first_one_back(bench, plant):
    bench.keys.principal = replace(bench.keys.principal, limits=LIMITS)
    bench.pool.streams.append(bench.spare)
    client, frame = await asked(bench, chat())
    plant(bench.gateway, "hold_limited")
    bench.stream.lose()
    await failed(client)
    # The first try began: what it costs is for billing, and its slots stand under its own id.
    assert (bench.admission.ended, bench.admission.forgotten) == ([frame.request_id], [])
    await clean(bench)


@pytest.fixture
async def by_itself():
    """A bench that Redis is away for, with an organization that pays later; one request of its key at once."""
    async with Bench().serving() as made:
        made.gateway.admission = Admission(
            Holds("unix:///nowhere"),
            hold_ttl_seconds=60,
            pause_seconds=0,
            on_no_wallet=lambda _: None,
            alone=Alone(FUNDS, lambda: 7.0),
        )
        made.keys.principal = replace(made.keys.principal, prepaid=False, limits=LIMITS)
        yield made
        await clean(made)


async def without_its_first_router(bench):
    """Returns a client whose request waits for its second try: no other router is there."""
    client, _ = await asked(bench, chat())
    refused = await bench.client()
    refused.send(chat())
    # The place of the key is taken.
    assert (await refused.reply())[0] == 429
    bench.stream.lose()
    await eventually(lambda: bench.gateway.parked == 1)
    bench.pool.streams.append(bench.spare)
    return client


async def has_room(bench):
    """Asserts that the place of the key, and what the organization may spend, are free again."""
    client = await bench.client()
    client.send(chat())
    frame = await bench.spare.next()
    bench.spare.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    await clean(bench)


async def test_a_second_try_that_is_served_without_redis_gives_its_place_back(by_itself):
    client = await without_its_first_router(by_itself)
    by_itself.gateway._router_ready()
    frame = await by_itself.spare.next()
    by_itself.spare.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    assert by_itself.gateway.admission._alone.unverified_pico() == 7
    await has_room(by_itself)


async def test_a_second_try_that_cannot_be_opened_without_redis_gives_its_place_back(by_itself, plant):
    client = await without_its_first_router(by_itself)
    plant(by_itself.gateway, "common_of")
    by_itself.gateway._router_ready()
    await failed(client)
    assert by_itself.gateway.admission._alone.unverified_pico() == 0
    await has_room(by_itself)


# An End is taken once, whatever becomes of the reply that it comes with.


def ends(bench, frame_id, *, unrecorded=False, error=None):
    """Takes a reply that is whole, as a stream does: by then the request is no longer open there."""
    end = wire.End(id=frame_id, outcome=wire.OUTCOME_OK, charge_pico=7, unrecorded=unrecorded)
    if error is not None:
        end.error.kind = error
    request = bench.stream.pending.pop(frame_id)
    guarded(request, request.deliver, None, b"" if error is not None else b"{}", end)


def ended_once(bench, frame):
    """Asserts that one End was acknowledged, settled and written down, with the 500 that its caller was told."""
    assert (bench.stream.acks, bench.stream.cancels) == ([frame.id], [])
    assert bench.admission.settled == [(frame.request_id, 7)]
    assert (bench.admission.forgotten, bench.admission.ended) == ([], [])
    (line,) = bench.access_lines()
    assert (line["status"], line["error"], line["charge_pico"]) == (500, "internal_error", 7)


@pytest.mark.parametrize("name", ["_write_reply", "_head"])
async def test_a_reply_that_cannot_be_written_is_settled_all_the_same(bench, plant, name):
    client, frame = await asked(bench, chat())
    plant(InferenceExchange, name)
    ends(bench, frame.id)
    await failed(client)
    ended_once(bench, frame)
    await clean(bench)


async def test_an_error_that_cannot_be_written_is_settled_all_the_same(bench, plant):
    client, frame = await asked(bench, chat())
    plant(InferenceExchange, "_write_error_end")
    ends(bench, frame.id, error=errors.ERROR_KIND_UPSTREAM_CUT)
    await failed(client)
    ended_once(bench, frame)
    await clean(bench)


async def test_a_reply_that_can_be_told_nothing_of_is_settled_and_its_connection_closed(bench, plant):
    client, frame = await asked(bench, chat())
    plant(InferenceExchange, "_head", times=2)
    ends(bench, frame.id)
    assert await client.rest() == b""
    assert (bench.stream.acks, bench.stream.cancels) == ([frame.id], [])
    assert bench.admission.settled == [(frame.request_id, 7)]
    assert (bench.admission.forgotten, bench.admission.ended) == ([], [])
    assert len(bench.access_lines()) == 1
    await clean(bench)


async def test_the_end_of_a_stream_that_cannot_be_written_is_settled_all_the_same(bench, plant):
    client, frame_id = await streaming(bench)
    await client.until(CHUNK)
    plant(InferenceExchange, "_write_reply")
    ends(bench, frame_id)
    assert b"internal_error" in await client.rest_of_stream()
    assert (bench.stream.acks, bench.stream.cancels) == ([frame_id], [])
    assert (len(bench.admission.settled), bench.admission.ended) == (1, [])
    assert len(bench.access_lines()) == 1
    await clean(bench)


async def test_what_no_router_recorded_and_cannot_be_written_is_given_back_once(bench, plant):
    client, frame = await asked(bench, chat())
    plant(InferenceExchange, "_write_error_end")
    ends(bench, frame.id, unrecorded=True, error=errors.ERROR_KIND_UNAVAILABLE)
    await failed(client)
    assert bench.stream.acks == [frame.id]
    assert (bench.admission.forgotten, bench.admission.settled) == ([frame.request_id], [])
    assert len(bench.access_lines()) == 1
    await clean(bench)
