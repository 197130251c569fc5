"""The way between edge and router is cut and falls silent under load: errors are well formed, and the books agree."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from tests.chaos.answers import problem_of
from tests.integration.audit import Auditor, charged_finals, check_money, check_replies
from tests.integration.between import Between
from tests.integration.product import Product
from tests.integration.traffic import Crowd, mixed_calls

from tollgate_cli.home import Home

pytestmark = pytest.mark.integration

# Streams are renewed at once, so that the next one takes the way that the test is in.
SETTINGS = {
    "TOLLGATE_ROUTER_STREAM_AGE_SECONDS": "1",
    "TOLLGATE_EDGE_REQUEST_TIMEOUT_SECONDS": "8",
    "TOLLGATE_EDGE_HOLD_TTL_SECONDS": "10",
    "TOLLGATE_MEDIA_JOBS_HOLD_SECONDS": "10",
    "TOLLGATE_BILLING_RECONCILE_SECONDS": "2",
}
CLIENTS = 12
CUTS = 6
ANSWERS_BETWEEN = 40
WAIT_SECONDS = 120.0


@pytest.fixture
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("network"), environment=SETTINGS)
    try:
        yield running.start()
    finally:
        running.stop()


async def test_a_network_that_is_cut_and_falls_silent_costs_nobody_money(product: Product) -> None:
    auditor = Auditor(product)
    crowd = Crowd(product.base_url, auditor.key, CLIENTS)
    stopping = asyncio.Event()
    own = Home(product.home).run / "router-0.sock"
    behind = own.rename(own.with_name("behind.sock"))
    way = Between(str(own), str(behind))
    async with way.open():
        load = asyncio.create_task(crowd.send_until(stopping, mixed_calls(1000, seed=9)))
        try:
            for number in range(CUTS):
                await _until(lambda: way.connections > 0, f"edge takes the way, before cut {number}")
                await _answers(crowd, ANSWERS_BETWEEN)
                way.cut()
            await _answers(crowd, ANSWERS_BETWEEN)
            way.fall_silent()
            # Edge tells callers when their time is up, whatever the router would say.
            await _until(lambda: any(one.status == 504 for one in crowd.answers), "a caller is told that it took long")
            way.go_on()
            await _answers(crowd, ANSWERS_BETWEEN)
        finally:
            way.go_on()
            stopping.set()
            await load
        answered = [answer for answer in crowd.answers if answer.answered]
        books = await asyncio.to_thread(auditor.close, [answer.request_id for answer in answered])
    finals = charged_finals(books.rows)
    assert {answer.request_id: len(finals[answer.request_id]) for answer in answered} == {
        answer.request_id: 1 for answer in answered
    }
    # Whoever stayed has a whole answer or an error that it can read; a document of which a part had come just ends.
    ended = [one for one in crowd.answers if not one.call.leaves and (one.whole or one.call.stream)]
    assert [problem for one in ended if (problem := problem_of(one))] == []
    # Something was under way each time: the cuts were no quiet ones.
    assert way.cuts >= CUTS
    assert "witness" in {row["status"] for row in books.rows}
    check_replies(books, answered)
    check_money(books)


async def _answers(crowd: Crowd, more: int) -> None:
    wanted = sum(one.answered for one in crowd.answers) + more
    await _until(lambda: sum(one.answered for one in crowd.answers) >= wanted, f"{wanted} answers")


async def _until(there: Callable[[], bool], what: str) -> None:
    async def look() -> None:
        # Clients and processes outside know of no event.
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    try:
        await asyncio.wait_for(look(), WAIT_SECONDS)
    except TimeoutError:
        pytest.fail(f"waited {WAIT_SECONDS:.0f} s until {what}")
