"""A thousand spenders of one wallet over HTTP: what it may fall below zero by, and that no settlement is lost.

Real clients ask the whole product, over no more connections than are stated, for more than the wallet has. Every book
is read afterwards: wallet, ledger, usage store, and the ledger of the simulated provider.
"""

import asyncio
import json
import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.audit import (
    Auditor,
    Books,
    charged_finals,
    check_answers,
    check_money,
    check_prices,
    check_replies,
    check_units,
)
from tests.integration.metrics import admin_address, scrape
from tests.integration.product import Product
from tests.integration.traffic import Answer, Call, Crowd
from tests.servers.process import wait_until

pytestmark = pytest.mark.integration

SPENDERS = 1_000
CONNECTIONS = 64
# Enough for a part of them: one holds 0.0004 and more for its worst case and costs about 0.0001.
CREDIT = "0.04"
MODEL = "gpt-5-mini"
# What a dead process held expires before its requests' events may be booked, and others spend it again.
SETTINGS = {"TOLLGATE_EDGE_HOLD_TTL_SECONDS": "2", "TOLLGATE_BILLING_RECONCILE_SECONDS": "0.5"}


@pytest.fixture
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("spenders"), ["--workers", "2"], SETTINGS)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def trimming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with nearly empty wallets that are good for an answer of a hundred tokens."""
    running = Product(tmp_path_factory.mktemp("trimming"), environment={"TOLLGATE_EDGE_TRIMMED_HOLD_TOKENS": "100"})
    try:
        yield running.start()
    finally:
        running.stop()


def calls(seed: int) -> list[Call]:
    """A spender each: half of them stream, some wait for a provider that takes its time."""
    source = random.Random(seed)
    made = []
    for number in range(SPENDERS):
        faults = f"chunks={source.randint(1, 80)}" + (",slow-headers=1" if source.random() < 0.1 else "")
        body: dict[str, Any] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"Spender {number} [[sim:{faults}]]"}],
            "max_completion_tokens": 200,
        }
        if number % 2:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        made.append(Call("stream" if number % 2 else "chat", "/chat/completions", body))
    return made


def poor_tenant(product: Product, credit: str = CREDIT) -> tuple[str, str]:
    """Returns the ids of an organization that has little money, and of its project."""

    def made(*words: str) -> dict[str, Any]:
        done = product.cli(*words, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    organization = made("organizations", "create", "spenders")["id"]
    project = made("projects", "create", "spend", "--organization", "spenders")["id"]
    made("organizations", "credit", "spenders", credit)
    return organization, project


async def watched(product: Product, organization: str, sending: "asyncio.Task[None]") -> int:
    """Waits for the spenders; returns the least that was free in the wallet meanwhile, in pico-units."""
    lowest = int(product.balance(organization)["wallet_pico"])
    while not sending.done():
        lowest = min(lowest, int((await asyncio.to_thread(product.balance, organization))["wallet_pico"]))
    await sending
    return lowest


def check_spenders(books: Books, answers: list[Answer]) -> None:
    """What was answered is charged once and what was refused costs nothing, though there was not enough for all."""
    assert len(answers) == SPENDERS
    statuses = Counter(answer.status for answer in answers)
    # Nobody was refused for another reason than the money.
    assert set(statuses) <= {0, 200, 429}, statuses
    assert statuses[429] >= 100, statuses
    assert all(
        json.loads(answer.text)["error"]["code"] == "insufficient_quota" for answer in answers if answer.status == 429
    )
    check_money(books)
    check_answers(books, answers)
    check_replies(books, answers)
    assert {row["organization_id"] for row in books.rows} == {books.balance["organization_id"]}


async def test_a_thousand_spenders_never_overdraw_a_wallet_while_nobody_is_killed(product: Product) -> None:
    organization, project = poor_tenant(product)
    auditor = Auditor(product, organization, project)
    crowd = Crowd(product.base_url, auditor.key, CONNECTIONS)
    lowest = await watched(product, organization, asyncio.create_task(crowd.send(calls(7))))
    answered = [answer.request_id for answer in crowd.answers if answer.answered]
    books = await asyncio.to_thread(auditor.close, answered)
    check_spenders(books, crowd.answers)
    # Each of them has its answer or its refusal, and what the provider was asked for is what was answered.
    assert all(answer.answered or answer.status == 429 for answer in crowd.answers)
    assert len(books.simulator) == len(answered)
    check_units(books)
    check_prices(books, product.simulator_url)
    left = int(books.balance["wallet_pico"])
    assert min(lowest, left) >= 0
    # It was spent as far as it went: what is left was held by others when the last one was refused.
    assert left < CONNECTIONS * max(int(row["hold_pico"]) for row in books.rows)


async def test_spenders_overdraw_a_wallet_by_no_more_than_holds_that_expired(workers: Product) -> None:
    organization, project = await asyncio.to_thread(poor_tenant, workers)
    auditor = await asyncio.to_thread(Auditor, workers, organization, project)
    crowd = Crowd(workers.base_url, auditor.key, CONNECTIONS)
    sending = asyncio.create_task(crowd.send(calls(8)))

    def busy() -> bool:
        return crowd.begun >= 50 and open_requests(workers)[victim] > 0

    victim = workers.pids("edge")[0]
    await asyncio.to_thread(wait_until, busy, "the edge that is killed to have requests open", pause=0.01)
    os.kill(victim, signal.SIGKILL)
    await sending
    await asyncio.to_thread(wait_until, lambda: replaced(workers, victim), "another edge in its place")
    answered = [answer for answer in crowd.answers if answer.answered]
    books = await asyncio.to_thread(auditor.close, [answer.request_id for answer in answered])
    check_spenders(books, crowd.answers)
    broken = [answer for answer in crowd.answers if not answer.answered and answer.status != 429]
    assert broken, "nobody was cut off, so nothing was there to be lost"
    # The stated bound: what was held by requests whose holds expired. Those of the killed process do where their events
    # come late, and so do those of an edge that a busy machine keeps from renewing them: any so many of all, then.
    holds = sorted((int(row["hold_pico"]) for row in books.rows if row["final"]), reverse=True)
    assert int(books.balance["wallet_pico"]) >= -sum(holds[: expired(workers)])
    whole = {answer.request_id for answer in answered}
    cut = {row["request_id"] for row in books.rows if row["request_id"] not in whole and row["final"]}
    # Whoever was cut off pays once at most, for what the provider did.
    finals = charged_finals(books.rows)
    assert all(len(finals[request_id]) <= 1 for request_id in cut)


async def test_a_trimmed_hold_overdraws_a_wallet_by_no_more_than_its_worst_case_was_beyond_it(
    trimming: Product,
) -> None:
    # More than a hundred tokens cost and less than the answer does, which may be a thousand tokens long.
    credit = "0.0006"
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "All of it [[sim:chunks=600]]"}],
        "max_completion_tokens": 1_000,
    }
    organization, project = await asyncio.to_thread(poor_tenant, trimming, credit)
    auditor = await asyncio.to_thread(Auditor, trimming, organization, project)
    crowd = Crowd(trimming.base_url, auditor.key, 16)
    await crowd.send([Call("chat", "/chat/completions", body)] * 40)
    answered = [answer.request_id for answer in crowd.answers if answer.answered]
    books = await asyncio.to_thread(auditor.close, answered)
    check_money(books)
    check_answers(books, crowd.answers)
    # Whoever has all that is left is alone with it, and nobody is admitted on what is owed.
    assert Counter(answer.status for answer in crowd.answers) == {200: 1, 429: 39}
    (row,) = (row for rows in charged_finals(books.rows).values() for row in rows)
    held, charge = int(row["hold_pico"]), int(row["charge_pico"])
    assert held == int(float(credit) * 1e12)
    owed = -int(books.balance["wallet_pico"])
    assert owed == charge - held > 0
    # With money again the same request holds its worst case.
    done = await asyncio.to_thread(trimming.cli, "organizations", "credit", "spenders", "1")
    assert done.returncode == 0, done.stderr
    await crowd.send([Call("chat", "/chat/completions", body)])
    again = crowd.answers[-1].request_id
    books = await asyncio.to_thread(auditor.close, [again])
    (worst,) = (int(row["hold_pico"]) for row in charged_finals(books.rows)[again])
    assert owed <= worst - held


def expired(product: Product) -> int:
    """Returns how many holds have expired and were given back, of all that the product has served."""
    return round(scrape(admin_address(product, "billing")).value("tollgate_billing_released_holds_total"))


def replaced(product: Product, victim: int) -> bool:
    """Tells whether there are two processes of edge again, and both can be asked."""
    pids = product.pids("edge")
    if victim in pids or len(pids) != 2:
        return False
    for slot in range(len(pids)):
        with socket.socket(socket.AF_UNIX) as admin:
            try:
                admin.connect(admin_address(product, f"edge-{slot}").removeprefix("unix:"))
            except OSError:
                return False
    return True


def open_requests(product: Product) -> dict[int, int]:
    """Returns how many requests each process of edge has open, by process id."""
    return {
        pid: round(scrape(admin_address(product, f"edge-{slot}")).value("tollgate_edge_open_requests"))
        for slot, pid in enumerate(product.pids("edge"))
    }
