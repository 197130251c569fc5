"""Holds over a connection that breaks: money that was held for a request that is refused comes back."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Self

import pytest
from services.edge.tests.fakes.inference import eventually
from tests.servers.valkey import ClusterNode, RedisServer

from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.alone import Alone
from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult, LimitSet, Scope
from tollgate_holds.holds import Holds

pytestmark = pytest.mark.integration

ORGANIZATION = "org_admission"
FUNDS = 10**12
AMOUNT = 10**9


class Waiting:
    """A request that waits for its hold."""

    def __init__(self, hold_id: str, tries: int = 0) -> None:
        self.hold_id, self.tries = hold_id, tries
        self.admission_deadline = 1.0
        self.started_us = 1
        self.ticket: Ticket | None = None
        self.result: asyncio.Future[HoldResult | None] = asyncio.get_running_loop().create_future()

    def admitted(self, result: HoldResult | None) -> None:
        self.result.set_result(result)

    def broke(self) -> None:
        pytest.fail("it can take every result")


class Wire:
    """A way to the server that can lose commands and replies, and refuses to connect while it is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._clients: set[asyncio.StreamWriter] = set()
        self._serving: list[asyncio.Task[None]] = []
        self.losing = False
        self.deaf = False
        self.cut = False
        self.lost = asyncio.Event()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        self._server.close()
        self.drop()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    def drop(self) -> None:
        for writer in self._clients:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cut:
            await _closed(writer)
            return
        self._clients.add(writer)
        self._serving.append(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, commands = await asyncio.open_connection("127.0.0.1", self._target)
        copying = asyncio.create_task(self._copy_answers(answers, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self.deaf:
                    commands.write(data)
        await _closed(commands)
        await copying
        self._clients.discard(writer)
        await _closed(writer)

    async def _copy_answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await answers.read(65536):
                if self.losing:
                    self.lost.set()
                else:
                    writer.write(data)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Broken:
    """An admission over a wire that can lose replies, and a second connection that cannot."""

    def __init__(self, valkey: RedisServer, alone: Alone | None = None) -> None:
        self.wire, self.direct, self._alone = Wire(valkey.port), Holds(valkey.url), alone
        self.begun: list[tuple[LimitSet, int, int]] = []
        self.limits = LimitSet(ORGANIZATION, (Scope("key", "k", tokens=1000, slots=5),))

    async def __aenter__(self) -> Self:
        # It does not give up by itself, however long a slow machine takes while the server says nothing.
        self.holds = Holds(await self.wire.start(), timeout_seconds=60)
        for one in (self.holds, self.direct):
            await one.start()
            assert await one.wait_ready(60)
        await self.direct.pipe.call("FLUSHALL")
        await self.direct.rebuild(ORGANIZATION, FUNDS)
        self.admission = Admission(
            self.holds,
            hold_ttl_seconds=300,
            slot_ttl_seconds=60,
            pause_seconds=0,
            on_no_wallet=pytest.fail,
            alone=self._alone,
            on_new_budget=lambda *what: self.begun.append(what),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in (self.holds, self.direct):
            await one.close()
        await self.wire.stop()

    def hold(self, request: Waiting, *, prepaid: bool = True, first: Ticket | None = None) -> Ticket:
        ticket = Ticket(self.limits, 100)
        if first is not None:
            ticket.verdict = first.verdict
        self.admission.hold_limited(ORGANIZATION, request, AMOUNT, ticket, prepaid=prepaid)
        return ticket

    async def hold_unheard(self) -> Waiting:
        """Places a hold that Redis has and nobody here knows of; returns its request, which waits."""
        request = Waiting("req_lost")
        self.wire.losing = self.wire.cut = True
        self.admission.hold(ORGANIZATION, request, AMOUNT)
        await self.wire.lost.wait()
        assert (await self.direct.balance(ORGANIZATION)).held == AMOUNT
        return request

    async def lose_replies(self) -> None:
        """What was sent has been done, and nobody here knows."""
        await self.wire.lost.wait()
        self.wire.drop()
        while self.holds.ready:  # noqa: ASYNC110 - the pipe knows of no event for this.
            await asyncio.sleep(0.01)

    async def come_back(self) -> None:
        self.wire.losing = self.wire.deaf = self.wire.cut = False
        assert await self.holds.wait_ready(60)
        await self.admission.drain()

    async def tokens(self) -> int:
        return int(await self.direct.pipe.call("HGET", f"{{{ORGANIZATION}}}:window:key:k", "t"))  # type: ignore[call-overload]

    async def open(self) -> int:
        return int(await self.direct.pipe.call("ZCARD", f"{{{ORGANIZATION}}}:slots:key:k"))  # type: ignore[call-overload]


async def test_a_limited_hold_whose_reply_was_lost_is_counted_once(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        request = Waiting("req_1")
        broken.wire.losing = broken.wire.cut = True
        ticket = broken.hold(request)
        await broken.lose_replies()
        await broken.come_back()
        assert await request.result is HoldResult.DONE
        assert (await broken.tokens(), await broken.open()) == (100, 1)
        # The second that it counted in is not known, so what it counted is left to pass.
        assert ticket.second == 0
        broken.admission.settle(ORGANIZATION, "req_1", 5, ticket, 30)
        await broken.admission.drain()
        assert (await broken.tokens(), await broken.open()) == (100, 0)


@pytest.mark.parametrize("booked_meanwhile", [False, True])
async def test_a_settle_whose_reply_was_lost_corrects_once(valkey: RedisServer, *, booked_meanwhile: bool) -> None:
    async with Broken(valkey) as broken:
        request = Waiting("req_1")
        ticket = broken.hold(request)
        assert await request.result is HoldResult.DONE
        broken.wire.losing = broken.wire.cut = True
        broken.admission.settle(ORGANIZATION, "req_1", 5, ticket, 30)
        await broken.lose_replies()
        assert await broken.tokens() == 30
        if booked_meanwhile:
            await broken.direct.book(ORGANIZATION, "t/0", "b1", [("req_1", 5)])
        await broken.come_back()
        assert (await broken.tokens(), await broken.open()) == (30, 0)


async def test_what_billing_booked_before_edge_settled_is_corrected_all_the_same(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        request = Waiting("req_1")
        ticket = broken.hold(request)
        assert await request.result is HoldResult.DONE
        await broken.direct.book(ORGANIZATION, "t/0", "b1", [("req_1", 5)])
        broken.admission.settle(ORGANIZATION, "req_1", 5, ticket, 130)
        await broken.admission.drain()
        assert (await broken.tokens(), await broken.open()) == (130, 0)


async def test_a_budget_that_begins_is_told_what_it_took_before(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        scopes = (Scope("key", "k", requests=9), Scope("project", "p", budget_pico=3 * AMOUNT))
        broken.limits = LimitSet(ORGANIZATION, scopes)
        requests = [Waiting(f"req_{number}") for number in range(4)]
        broken.hold(requests[0])
        assert await requests[0].result is HoldResult.DONE
        assert broken.begun == [(broken.limits, 2, 1)]
        window = (await broken.direct.pipe.call("HGET", f"{{{ORGANIZATION}}}:budget:project:p", "id")).decode()  # type: ignore[attr-defined]
        broken.admission.use_budget(broken.limits, 2, window, AMOUNT)
        await broken.admission.drain()
        for request in requests[1:3]:
            broken.hold(request)
        assert [await request.result for request in requests[1:3]] == [HoldResult.DONE, HoldResult.OVER_BUDGET]
        assert len(broken.begun) == 1
        assert requests[2].ticket is not None
        assert "budget of project p has too little left" in requests[2].ticket.refusal(0).message
        # What the first one did not cost may be spent again.
        broken.admission.settle(ORGANIZATION, "req_0", 0, requests[0].ticket)
        broken.hold(requests[3])
        assert await requests[3].result is HoldResult.DONE


async def test_who_pays_later_goes_on_alone_when_the_reply_is_lost(valkey: RedisServer) -> None:
    async with Broken(valkey, Alone(FUNDS, lambda: 7.0)) as broken:
        later, ahead = Waiting("req_1"), Waiting("req_2")
        broken.wire.losing = broken.wire.cut = True
        ticket = broken.hold(later, prepaid=False)
        broken.hold(ahead)
        await broken.lose_replies()
        assert await later.result is HoldResult.DONE
        assert (ticket.era, ticket.second) == (1, 7)
        assert not ahead.result.done()
        await broken.come_back()
        assert await ahead.result is HoldResult.DONE
        broken.admission.settle(ORGANIZATION, "req_1", 5, ticket, 30)
        assert broken.admission.waiting == 0


async def test_a_hold_whose_reply_was_lost_is_given_back_when_its_request_is_refused(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        request = await broken.hold_unheard()
        await broken.lose_replies()
        broken.admission.expire(request.admission_deadline + 1)
        assert await request.result is None
        await broken.come_back()
        await given_back(broken)


@contextlib.asynccontextmanager
async def standing_still(valkey: RedisServer) -> AsyncIterator[None]:
    """Redis does nothing and its connections stay, until afterwards."""
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(valkey.pid, signal.SIGCONT)


async def given_back(broken: Broken) -> None:
    """Waits until nothing is held and the wallet is as it was."""
    async with asyncio.timeout(60):
        # What Redis was asked before comes first.
        await broken.admission.drain()
        while (await broken.direct.balance(ORGANIZATION)).held:
            await broken.admission.drain()
    assert (await broken.direct.balance(ORGANIZATION)).wallet == FUNDS
    assert broken.admission.waiting == 0


async def test_a_redis_that_stands_still_keeps_nobody_longer_than_their_time(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        late, patient = Waiting("req_late"), Waiting("req_patient")
        patient.admission_deadline = 3.0
        async with standing_still(valkey):
            for request in (late, patient):
                broken.admission.hold(ORGANIZATION, request, AMOUNT)
            await eventually(lambda: broken.admission.round_trips == 1)
            broken.admission.expire(late.admission_deadline)
            assert not late.result.done()
            broken.admission.expire(2.0)
            assert late.result.result() is None
            assert not patient.result.done()
            # Answered once, however long it goes on.
            broken.admission.expire(2.5)
        assert await patient.result is HoldResult.DONE
        broken.admission.settle(ORGANIZATION, "req_patient", 0)
        # Redis has placed both.
        await given_back(broken)


async def test_a_limited_hold_that_redis_places_too_late_counts_nowhere(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        request = Waiting("req_late")
        async with standing_still(valkey):
            broken.hold(request)
            await eventually(lambda: broken.admission.round_trips == 1)
            broken.admission.expire(2.0)
            assert request.result.result() is None
        await given_back(broken)
        assert (await broken.tokens(), await broken.open()) == (0, 0)


async def test_who_pays_later_goes_on_alone_while_redis_stands_still(valkey: RedisServer) -> None:
    alone = Alone(FUNDS, lambda: 7.0)
    async with Broken(valkey, alone) as broken:
        later, ahead = Waiting("req_later"), Waiting("req_ahead")
        async with standing_still(valkey):
            ticket = broken.hold(later, prepaid=False)
            broken.hold(ahead)
            await eventually(lambda: broken.admission.round_trips == 1)
            broken.admission.expire(2.0)
            assert (later.result.result(), ahead.result.result()) == (HoldResult.DONE, None)
            assert (ticket.era, ticket.second) == (1, 7)
            assert alone.unverified_pico() == AMOUNT
        await given_back(broken)
        # As while Redis is away: it counts in no limit there, and nothing is counted here once Redis is back.
        assert (await broken.tokens(), await broken.open()) == (0, 0)
        assert alone.unverified_pico() == 0
        broken.admission.settle(ORGANIZATION, "req_later", 5, ticket, 30)
        await given_back(broken)


async def test_a_hold_that_was_given_up_is_not_placed_again_when_the_connection_breaks(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        request = await broken.hold_unheard()
        broken.admission.expire(2.0)
        assert request.result.result() is None
        await broken.lose_replies()
        assert broken.admission.waiting == 0
        await broken.come_back()
        await given_back(broken)


@pytest.mark.parametrize("late", [False, True])
async def test_an_error_in_a_lost_call_answers_who_waits_and_connects_anew(
    valkey: RedisServer, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("planted")

    async with Broken(valkey) as broken:
        request = await broken.hold_unheard()
        if late:
            broken.admission.expire(2.0)
            assert request.result.result() is None
        monkeypatch.setattr(broken.admission, "_failed", fails)
        await broken.lose_replies()
        monkeypatch.undo()
        assert await request.result is None
        assert broken.admission.waiting == 0
        await broken.come_back()
        await given_back(broken)


@pytest.mark.parametrize("limited", [False, True])
async def test_an_error_between_the_answers_of_a_batch_leaves_nobody_waiting(
    valkey: RedisServer, monkeypatch: pytest.MonkeyPatch, *, limited: bool
) -> None:
    async with Broken(valkey) as broken:
        requests = [Waiting(f"req_{number}") for number in range(4)]

        def fails(organization: str, request: Waiting, result: HoldResult) -> None:
            if request is requests[1]:
                raise RuntimeError("planted")
            Admission._answer(broken.admission, organization, request, result)

        monkeypatch.setattr(broken.admission, "_answer", fails)
        for request in requests:
            if limited:
                broken.hold(request)
            else:
                broken.admission.hold(ORGANIZATION, request, AMOUNT)
        assert [await request.result for request in requests] == [HoldResult.DONE, None, None, None]
        assert broken.admission.waiting == 0
        await broken.admission.drain()
        assert (await broken.direct.balance(ORGANIZATION)).held == AMOUNT


async def test_a_second_try_takes_its_hold_over_before_anybody_else_has_it(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        await broken.direct.rebuild(ORGANIZATION, AMOUNT)
        first, other, second = Waiting("req_1"), Waiting("req_2"), Waiting("req_1.2", tries=1)
        broken.admission.hold(ORGANIZATION, first, AMOUNT)
        assert await first.result is HoldResult.DONE
        # The other one stands before it in the same call.
        for request in (other, second):
            broken.admission.hold(ORGANIZATION, request, AMOUNT)
        assert [await other.result, await second.result] == [HoldResult.INSUFFICIENT, HoldResult.DONE]
        assert [hold.hold_id for hold in await broken.direct.records(ORGANIZATION)] == ["req_1.2"]


async def test_a_second_try_takes_its_place_and_its_counts_over(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        broken.limits = LimitSet(ORGANIZATION, (Scope("key", "k", tokens=100, slots=1),))
        first, other, second = Waiting("req_1"), Waiting("req_2"), Waiting("req_1.2", tries=1)
        ticket = broken.hold(first)
        assert await first.result is HoldResult.DONE
        broken.hold(other)
        again = broken.hold(second, first=ticket)
        assert [await other.result, await second.result] == [HoldResult.LIMITED, HoldResult.DONE]
        assert (await broken.tokens(), await broken.open()) == (100, 1)
        broken.admission.settle(ORGANIZATION, "req_1.2", 5, again, 30)
        await broken.admission.drain()
        assert (await broken.tokens(), await broken.open()) == (30, 0)


async def test_a_second_hold_that_redis_places_too_late_is_given_back(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        first, second = Waiting("req_1"), Waiting("req_1.2", tries=1)
        ticket = broken.hold(first)
        assert await first.result is HoldResult.DONE
        async with standing_still(valkey):
            broken.hold(second, first=ticket)
            await eventually(lambda: broken.admission.round_trips == 2)
            broken.admission.expire(2.0)
            assert second.result.result() is None
        await given_back(broken)
        assert (await broken.tokens(), await broken.open()) == (0, 0)


@pytest.mark.parametrize("sent", [False, True])
async def test_a_second_hold_that_redis_never_took_ends_the_place_of_the_first(
    valkey: RedisServer, *, sent: bool
) -> None:
    async with Broken(valkey) as broken:
        first, second = Waiting("req_1"), Waiting("req_1.2", tries=1)
        ticket = broken.hold(first)
        assert await first.result is HoldResult.DONE
        assert await broken.open() == 1
        broken.wire.cut = True
        if sent:
            broken.wire.deaf = True
            broken.hold(second, first=ticket)
            await eventually(lambda: broken.admission.round_trips == 2)
        broken.wire.drop()
        if not sent:
            await eventually(lambda: not broken.holds.ready)
            broken.hold(second, first=ticket)
        broken.admission.expire(2.0)
        assert await second.result is None
        await eventually(lambda: not broken.holds.ready)
        await broken.come_back()
        # What the first one holds of the wallet is for billing to book.
        assert await broken.open() == 0
        assert (await broken.direct.balance(ORGANIZATION)).held == AMOUNT


async def test_a_second_hold_that_is_one_too_many_ends_the_place_of_the_first(valkey: RedisServer) -> None:
    async with Broken(valkey) as broken:
        first, second = Waiting("req_1"), Waiting("req_1.2", tries=1)
        ticket = broken.hold(first)
        assert await first.result is HoldResult.DONE
        # As many others wait as may.
        broken.admission.waiting += 20_000
        broken.hold(second, first=ticket)
        broken.admission.waiting -= 20_000
        assert await second.result is None
        await broken.admission.drain()
        assert await broken.open() == 0
        assert (await broken.direct.balance(ORGANIZATION)).held == AMOUNT


async def test_a_server_that_sends_its_callers_elsewhere_is_not_asked_again_and_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = ClusterNode(tmp_path_factory.mktemp("cluster"))
    server.start()
    holds = Holds(server.url)
    try:
        server.own()
        await holds.start()
        assert await holds.wait_ready(60)
        await holds.rebuild(ORGANIZATION, FUNDS)
        admission = Admission(holds, hold_ttl_seconds=300, pause_seconds=0, on_no_wallet=pytest.fail)
        served, refused = Waiting("req_1"), Waiting("req_2")
        admission.hold(ORGANIZATION, served, AMOUNT)
        assert await served.result is HoldResult.DONE
        server.disown()
        admission.hold(ORGANIZATION, refused, AMOUNT)
        await eventually(lambda: holds.pipe.problem)
        admission.expire(asyncio.get_running_loop().time())
        assert await refused.result is None
        assert b"rejected_calls=1," in server.command(b"INFO", b"commandstats").partition(b"cmdstat_evalsha:")[2]
    finally:
        await holds.close()
        server.stop()
