"""The usage store of the running product is lost under load, and comes back from the event log to the last unit."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.integration.audit import Auditor, check_answers, check_money, check_prices, check_replies, check_units
from tests.integration.product import Product
from tests.integration.traffic import Crowd, mixed_calls
from tests.servers.process import wait_until

pytestmark = pytest.mark.integration

ANSWERS = 150
CLIENTS = 8
PATIENCE = 200


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("rebuild"), environment={"TOLLGATE_BILLING_RECONCILE_SECONDS": "2"})
    try:
        yield product.start()
    finally:
        product.stop()


def lose_the_store(product: Product) -> None:
    """Takes the directory away and kills billing, which begins again with an empty one."""
    (billing,) = product.pids("billing")
    (product.home / "usage").rename(product.home / "usage-lost")
    os.kill(billing, signal.SIGKILL)
    wait_until(lambda: product.pids("billing") not in ([billing], []), "another billing process")


def rebuild(product: Product, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command, again while billing comes back."""
    found = product.cli("usage", "rebuild", *arguments)
    for _ in range(PATIENCE):
        if found.returncode == 0:
            break
        assert "Billing waits" in found.stderr + found.stdout or "unavailable" in found.stderr + found.stdout, found
        found = product.cli("usage", "rebuild", *arguments)
    return found


async def test_a_lost_usage_store_is_rebuilt_under_traffic_and_agrees_with_the_provider(own: Product) -> None:
    auditor = Auditor(own)
    crowd = Crowd(own.base_url, auditor.key, CLIENTS)
    await crowd.send(mixed_calls(ANSWERS, seed=9))
    before = await asyncio.to_thread(own.wait_booked, 1)
    # What is not committed yet is booked again by the process that comes next, and so is not lost.
    committed = "all of it to be committed"
    await asyncio.to_thread(own.wait, lambda: not int(own.get("billing/status")["lag_events"]), committed)
    stopping = asyncio.Event()
    load = asyncio.create_task(crowd.send_until(stopping, mixed_calls(1000, seed=10)))
    try:
        await asyncio.to_thread(lose_the_store, own)
        first = await asyncio.to_thread(rebuild, own, "--json")
        assert first.returncode == 0, first.stdout + first.stderr
        assert json.loads(first.stdout)["missing"] >= before["requests"]
        # Sums are made again while billing inserts beside it.
        refilled = await asyncio.to_thread(own.cli, "usage", "refill", "--json")
        assert refilled.returncode == 0, refilled.stdout + refilled.stderr
        assert json.loads(refilled.stdout)["differed"] == 0
    finally:
        stopping.set()
        await load
    answered = [answer for answer in crowd.answers if answer.answered]
    books = await asyncio.to_thread(auditor.close, [answer.request_id for answer in answered])
    check_answers(books, crowd.answers)
    check_replies(books, answered)
    check_money(books)
    check_units(books)
    check_prices(books, own.simulator_url)
    again = own.cli("usage", "rebuild")
    assert (again.returncode, " 0 rows were missing" in again.stdout) == (0, True), again.stdout + again.stderr
