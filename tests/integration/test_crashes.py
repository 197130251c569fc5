"""kill -9 of each process in turn, under load: everything comes back by itself and every answer is charged once."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.integration.audit import Auditor, charged_finals, check_money, check_replies
from tests.integration.product import Product
from tests.integration.traffic import Crowd, mixed_calls
from tests.servers.process import wait_until

pytestmark = pytest.mark.integration

VICTIMS = ("edge", "router", "billing", "media-jobs", "valkey", "simulator")
# What a dead process held expires soon, and is looked for often.
SETTINGS = {
    "TOLLGATE_EDGE_HOLD_TTL_SECONDS": "10",
    "TOLLGATE_MEDIA_JOBS_HOLD_SECONDS": "10",
    "TOLLGATE_BILLING_RECONCILE_SECONDS": "2",
}
ANSWERS_BETWEEN = 20
ANSWER_SECONDS = 120.0
CLIENTS = 12


@pytest.fixture
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("crashes"), environment=SETTINGS)
    try:
        yield product.start()
    finally:
        product.stop()


async def test_every_answer_is_charged_once_whoever_is_killed(embedded: Product) -> None:
    auditor = Auditor(embedded)
    crowd = Crowd(embedded.base_url, auditor.key, CLIENTS)
    stopping = asyncio.Event()
    load = asyncio.create_task(crowd.send_until(stopping, mixed_calls(1000, seed=4)))
    try:
        for victim in VICTIMS:
            await _answers(crowd, ANSWERS_BETWEEN, f"before {victim} is killed")
            await asyncio.to_thread(kill, embedded, victim)
            await _answers(crowd, ANSWERS_BETWEEN, f"after {victim} was killed")
    finally:
        stopping.set()
        await load
    answered = [answer for answer in crowd.answers if answer.answered]
    books = await asyncio.to_thread(auditor.close, [answer.request_id for answer in answered])
    finals = charged_finals(books.rows)
    assert {answer.request_id: len(finals[answer.request_id]) for answer in answered} == {
        answer.request_id: 1 for answer in answered
    }
    # Requests were under way when edge and the router died: the kills were no quiet ones.
    assert {"confirmed", "unconfirmed"} <= {row["status"] for row in books.rows}
    check_replies(books, answered)
    check_money(books)


def kill(product: Product, service: str) -> None:
    """Crashes a service's process and waits until the supervisor has put another in its place."""
    (victim,) = product.pids(service)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: product.pids(service) not in ([victim], []), f"another {service} in the place of {victim}")


async def _answers(crowd: Crowd, more: int, when: str) -> None:
    """Waits until so many more requests of each common kind, and an image, were answered."""
    wanted = {"chat": more, "stream": more, "embeddings": more, "image": 1}
    before = _answered(crowd)

    async def all_there() -> None:
        # Clients outside know of no event.
        while any(_answered(crowd)[kind] < before[kind] + count for kind, count in wanted.items()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    try:
        await asyncio.wait_for(all_there(), ANSWER_SECONDS)
    except TimeoutError:
        pytest.fail(f"{before} went to {_answered(crowd)}, not by {wanted}, {when}")


def _answered(crowd: Crowd) -> Counter[str]:
    return Counter(answer.call.kind for answer in crowd.answers if answer.answered)
