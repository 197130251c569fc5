"""The loop of a busy router stands still between two writes of stream data, once for all sessions."""

import asyncio
from pathlib import Path

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, route, snapshot

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.exchange.rest import Rest
from tollgate_router.exchange.service import ExchangeDeps
from tollgate_router.exchange.session import Session

pytestmark = pytest.mark.unit
MANY = 12


class Stream:
    """Edge's end, which takes everything; `order` is what happens: a message with data of so many requests, a rest."""

    writable = True

    def __init__(self, order: list[object]) -> None:
        self._order = order
        self.sent = asyncio.Event()

    def send(self, message: bytes) -> None:
        self._order.append(len(wire.RouterBatch.FromString(message).data))
        self.sent.set()


@pytest.fixture
def order() -> list[object]:
    return []


@pytest.fixture
def deps(tmp_path: Path, order: list[object]) -> ExchangeDeps:
    found = Router(tmp_path, snapshot([channel("a", "able")], [route("able", ["a"])])).deps
    found.rest = Rest(0.002, lambda seconds: order.append(f"rest {seconds}"))
    return found


async def written(deps: ExchangeDeps, order: list[object], *streams: int, ended: int = 0) -> None:
    """Has sessions write data of so many streams each, in one turn of the loop, and waits for what follows."""
    calls = []
    for count in streams:
        calls.append(Stream(order))
        session = Session(deps, calls[-1])  # type: ignore[arg-type]
        for number in range(count):
            session.outbox.data(number, b"data: {}\n\n")
        for number in range(ended):
            session.outbox.end(id=number)
    for call in calls:
        await call.sent.wait()
    # A rest is due in the next turn.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_after_a_write_of_many_streams_the_loop_rests(deps, order):
    await written(deps, order, MANY)
    assert order == [MANY, "rest 0.002"]


async def test_after_a_write_of_few_it_does_not(deps, order):
    await written(deps, order, MANY - 1)
    assert order == [MANY - 1]


async def test_sessions_that_write_in_one_turn_rest_once_and_after_the_last(deps, order):
    await written(deps, order, MANY, 3, MANY)
    assert order == [MANY, 3, MANY, "rest 0.002"]
    await written(deps, order, MANY)
    assert order[4:] == [MANY, "rest 0.002"]


async def test_replies_that_end_are_no_streams(deps, order):
    await written(deps, order, 1, ended=MANY)
    assert order == [1]


@pytest.mark.parametrize(("pause", "rested"), [(0.002, [0.002]), (1.0, [0.003]), (0.0, [])])
async def test_it_rests_for_the_pause_and_never_for_long(pause, rested):
    slept: list[float] = []
    Rest(pause, slept.append).wrote(MANY)
    await asyncio.sleep(0)
    assert slept == rested
