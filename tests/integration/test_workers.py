"""`tollgate up --workers 2`: two edges and two routers under load, and what one of them takes with it when it dies."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from tests.integration.audit import Auditor, charged_finals, check_money
from tests.integration.metrics import admin_address, scrape
from tests.integration.product import Product
from tests.integration.traffic import Call, Crowd, mixed_calls
from tests.servers.process import wait_until

pytestmark = pytest.mark.integration

AT_ONCE = 5
WAVES, MOST_WAVES = 8, 40
REQUESTS = 400
MOST_CROWDS = 5
CLIENTS = 16
# A killed process leaves holds, which expire soon here.
SETTINGS = {"TOLLGATE_EDGE_HOLD_TTL_SECONDS": "10", "TOLLGATE_BILLING_RECONCILE_SECONDS": "2"}
# Under way when a process dies, which is when all of them have begun.
STREAM = Call(
    "stream",
    "/chat/completions",
    {
        "model": "gpt-5-mini",
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me [[sim:chunks=40,hold=20]]"}],
    },
)
CHAT = Call("chat", "/chat/completions", {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Tell me"}]})


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("workers"), ["--workers", "2"], SETTINGS)
    try:
        yield product.start()
    finally:
        product.stop()


def open_requests(product: Product, service: str) -> dict[int, int]:
    """Returns how many requests each process of a service has open, by process id."""
    name = f"tollgate_{service}_open_requests"
    return {
        pid: round(scrape(admin_address(product, f"{service}-{slot}")).value(name))
        for slot, pid in enumerate(product.pids(service))
    }


def ended(product: Product, name: str) -> float:
    """Returns how many requests have ended at a process."""
    return scrape(admin_address(product, name)).value(f"tollgate_{name.partition('-')[0]}_requests_total")


def test_there_are_two_of_each(workers: Product) -> None:
    assert {service: len(pids) for service, pids in workers.ready["processes"].items()} == {
        "edge": 2, "router": 2, "billing": 1, "media-jobs": 1, "valkey": 1, "simulator": 1,
    }  # fmt: skip


@pytest.mark.parametrize("service", ["edge", "router"])
async def test_a_killed_process_takes_its_own_requests_with_it_and_no_others(workers: Product, service: str) -> None:
    auditor = await asyncio.to_thread(Auditor, workers)
    crowd = Crowd(workers.base_url, auditor.key, AT_ONCE * MOST_WAVES)
    streaming, spread = [], dict[int, int]()
    for wave in range(1, MOST_WAVES + 1):
        # Whoever is awake takes the connections that come together, which may be the same process several times.
        streaming.append(asyncio.create_task(crowd.send([STREAM] * AT_ONCE)))
        count = wave * AT_ONCE
        await asyncio.to_thread(wait_until, lambda count=count: crowd.begun == count, f"{count} streams to have begun")
        spread = await asyncio.to_thread(open_requests, workers, service)
        if wave >= WAVES and all(spread.values()):
            break
    victim = max(spread, key=lambda pid: spread[pid])
    # Neither is idle, so that there is something to break and something to go on.
    assert all(spread.values()), spread
    os.kill(victim, signal.SIGKILL)
    # The others go on meanwhile: new connections are taken at once, by who is left.
    others = Crowd(workers.base_url, auditor.key, CLIENTS)
    await others.send([CHAT] * 4)
    await asyncio.to_thread(workers.release)
    await asyncio.gather(*streaming)
    broken = [answer for answer in crowd.answers if not answer.answered]
    assert len(broken) == spread[victim]
    if service == "router":
        # Edge is still there to say so.
        assert all(answer.whole and b'"error"' in answer.text for answer in broken)
    assert [answer for answer in others.answers if not answer.answered] == []
    wait_until(lambda: victim not in workers.pids(service) and len(workers.pids(service)) == 2, "another process")
    answered = [answer.request_id for answer in [*crowd.answers, *others.answers] if answer.answered]
    books = await asyncio.to_thread(auditor.close, answered)
    finals = charged_finals(books.rows)
    assert {request_id: len(finals[request_id]) for request_id in answered} == dict.fromkeys(answered, 1)
    check_money(books)


async def test_all_processes_share_the_load(workers: Product) -> None:
    names = [f"{service}-{slot}" for service in ("edge", "router") for slot in (0, 1)]
    before = after = {name: ended(workers, name) for name in names}
    answers = 0
    for seed in range(8, 8 + MOST_CROWDS):
        # Whoever is awake takes the connections that come together, which may be one process for all of them.
        crowd = Crowd(workers.base_url, workers.api_key, CLIENTS)
        calls = mixed_calls(REQUESTS, seed=seed)
        await crowd.send([call for call in calls if call.kind in {"chat", "stream", "embeddings"}])
        assert [answer for answer in crowd.answers if not answer.answered] == []
        answers += len(crowd.answers)
        await asyncio.to_thread(workers.wait_settled)
        after = {name: ended(workers, name) for name in names}
        if all(after[name] > before[name] for name in names):
            break
    assert all(after[name] > before[name] for name in names), (before, after)
    for service in ("edge", "router"):
        assert sum(after[name] - before[name] for name in names if name.startswith(service)) == answers
