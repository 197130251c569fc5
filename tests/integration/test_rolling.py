"""Every edge and router process is replaced in turn under a hundred streams and other requests: nobody notices."""

import asyncio
from pathlib import Path
from typing import Self

import pytest
from tests.integration.audit import (
    Auditor,
    Books,
    check_answers,
    check_money,
    check_prices,
    check_replies,
    check_units,
)
from tests.integration.fleet import Fleet, Member
from tests.integration.product import Product
from tests.integration.traffic import EMBEDDING_MODEL, Answer, Call, Crowd

pytestmark = pytest.mark.integration

STREAMS = 100
OTHERS = 8
CHUNKS = 20
GAP_MS = 150
# As many as SDKs take.
PATIENCE = 5
STREAM = Call(
    "stream",
    "/chat/completions",
    {
        "model": "gpt-5-mini",
        "stream": True,
        "messages": [{"role": "user", "content": f"Tell me [[sim:chunks={CHUNKS},gap_ms={GAP_MS}]]"}],
    },
)
QUICK = [
    Call("chat", "/chat/completions", {"model": "gpt-5.1", "messages": [{"role": "user", "content": "Say hello"}]}),
    Call("embeddings", "/embeddings", {"model": EMBEDDING_MODEL, "input": "hello"}),
    Call(
        "chat",
        "/chat/completions",
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Wait [[sim:slow-headers=0.5]]"}]},
    ),
]


class Load:
    """A hundred clients that stream and some that do not, all of whom keep their connections."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.streams = Crowd(base_url, api_key, STREAMS, PATIENCE)
        self.others = Crowd(base_url, api_key, OTHERS, PATIENCE)
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = asyncio.gather(
            self.streams.send_until(self._stopping, [STREAM]), self.others.send_until(self._stopping, QUICK)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._running

    @property
    def answers(self) -> list[Answer]:
        return self.streams.answers + self.others.answers

    async def goes_on(self) -> None:
        """Returns when every client has been answered about once more."""
        before = len(self.streams.answers)
        async with asyncio.timeout(120):
            while len(self.streams.answers) < before + STREAMS:  # noqa: ASYNC110 - clients outside know of no event.
                await asyncio.sleep(0.05)


def whole(answer: Answer) -> bool:
    """Tells whether the client has all that it asked for, to the last piece of a stream."""
    if not answer.answered:
        return False
    pieces = answer.text.count(b'"content":') - answer.text.count(b'"content":""')
    ended = answer.text.endswith(b"data: [DONE]\n\n") and answer.text.count(b'"finish_reason":"stop"') == 1
    return not answer.call.stream or (pieces == CHUNKS and ended)


async def replace(member: Member) -> None:
    """Stops a process in its own time and starts another in its place."""
    code = await asyncio.to_thread(member.stop)
    assert code == 0, member.tail()
    await asyncio.to_thread(member.start)


async def roll(product: Product, fleet: Fleet, members: list[Member]) -> tuple[Load, Books]:
    auditor = await asyncio.to_thread(Auditor, product)
    async with Load(fleet.base_url, auditor.key) as load:
        await load.goes_on()
        for member in members:
            await replace(member)
            await load.goes_on()
    answered = [answer.request_id for answer in load.answers if answer.answered]
    return load, await asyncio.to_thread(auditor.close, answered)


async def test_all_processes_are_replaced_and_nothing_is_lost_cut_or_billed_wrongly(
    product: Product, tmp_path: Path
) -> None:
    async with Fleet(product, tmp_path, DRAIN_SECONDS="60").running() as fleet:
        load, books = await roll(product, fleet, [*fleet.edges, *fleet.routers])
        answers = load.answers
        assert [answer for answer in answers if not whole(answer)] == []
        assert {answer.call.kind for answer in answers} == {"stream", "chat", "embeddings"}
        # Each was asked of a provider once, and taken by the caller.
        assert len(books.simulator) == len(books.rows) == len(answers)
        assert {row["status"] for row in books.rows} == {"confirmed"}
        check_money(books)
        check_answers(books, answers)
        check_replies(books, answers)
        check_units(books)
        check_prices(books, product.simulator_url)
        # Clients whose stream ended at a process that drains asked again, and were told to come back.
        assert load.streams.told_to_wait > 0
        for edge in fleet.edges:
            assert [state for state in edge.states if state in {"ready", "draining"}] == ["ready", "draining", "ready"]


async def test_without_draining_the_same_load_shows_what_breaks(product: Product, tmp_path: Path) -> None:
    async with Fleet(product, tmp_path, DRAIN_SECONDS="0").running() as fleet:
        load, books = await roll(product, fleet, [fleet.edges[0], fleet.routers[0]])
    cut = [answer for answer in load.streams.answers if not whole(answer)]
    # About half of the streams are at each process when it stops.
    assert len(cut) > STREAMS / 4
    assert all(answer.whole for answer in cut if answer.text), "a stream was cut without a word"
    check_money(books)
