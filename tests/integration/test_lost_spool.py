"""A router's disk is lost with events that nobody else has: what edge settled is booked, and replaced if they come."""

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.admin_port import ask_admin
from tests.integration.product import Product
from tests.servers.kafka import KafkaBroker

from tollgate_cli.home import Home

pytestmark = pytest.mark.integration

CALLS = 12
CALL = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Whose is the bill?"}]}
SECONDS = 5
ESTIMATED = "tollgate_billing_estimated_holds_total"


@pytest.fixture(params=["embedded", "cluster"])
def hasty(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Product]:
    """The product, which waits for an event for seconds only; the cluster's has its data on servers of their own."""
    servers: dict[str, str] = request.getfixturevalue("servers") if request.param == "cluster" else {}
    environment = servers | {
        "TOLLGATE_BILLING_UNBOOKED_HOLD_SECONDS": str(SECONDS),
        "TOLLGATE_BILLING_RECONCILE_SECONDS": "0.5",
        "TOLLGATE_BILLING_ALERT_SECONDS": "0.5",
    }
    running = Product(tmp_path, environment=environment)
    try:
        yield running.start()
    finally:
        running.stop()


def ask(product: Product) -> str:
    headers = {"authorization": f"Bearer {product.api_key}"}
    reply = httpx.post(f"{product.base_url}/chat/completions", json=CALL, headers=headers, timeout=60, trust_env=False)
    assert reply.status_code == 200, reply.text
    return reply.headers["x-request-id"]


def rows_of(product: Product, names: set[str]) -> list[dict[str, Any]]:
    return [row for row in product.requests() if row["request_id"] in names]


def measured(product: Product, name: str) -> float:
    _, text = ask_admin(Home(product.home).run / "billing-admin.sock", "/metrics")
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))


def agrees(product: Product) -> None:
    done = product.cli("reconcile")
    assert done.returncode == 0, done.stdout + done.stderr


def lose_the_spool(product: Product) -> None:
    """Takes the directory away and kills the router, which begins again with an empty one."""
    (router,) = product.pids("router")
    # It goes on writing into the files that it has open.
    (product.home / "router-0" / "spool").rename(product.home / "router-0" / "spool-lost")
    os.kill(router, signal.SIGKILL)
    product.wait(lambda: product.pids("router") not in ([router], []), "another router")


@contextlib.contextmanager
def nobody_can_append(product: Product, request: pytest.FixtureRequest) -> Iterator[None]:
    """Meanwhile the event log takes nothing: what is answered stays in the router's spool."""
    file = product.home / "log" / "events.sqlite"
    if file.exists():
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as log:
            log.execute("BEGIN IMMEDIATE")
            yield
        return
    broker: KafkaBroker = request.getfixturevalue("kafka_broker")
    # Killed and not stopped for a while: what is sent to one that stands still is read when it goes on.
    broker.kill()
    try:
        yield
    finally:
        broker.start()


def test_what_was_settled_is_booked_and_a_late_event_takes_its_place(
    hasty: Product, request: pytest.FixtureRequest
) -> None:
    product = hasty
    ask(product)
    product.wait_booked(1)
    before = int(product.balance()["ledger_pico"])
    estimated = measured(product, ESTIMATED)
    with nobody_can_append(product, request):
        names = {ask(product) for _ in range(CALLS)}
        product.wait(lambda: int(product.balance()["held_pico"]) == 0, "edge to settle all of them")
        settled = int(product.balance()["settled_unbooked_pico"])
        lose_the_spool(product)
    assert settled > 0

    booked = product.wait_booked(CALLS + 1)
    rows = rows_of(product, names)
    assert (len(rows), {row["request_id"] for row in rows}) == (CALLS, names)
    assert {(row["status"], row["estimated"], row["model"]) for row in rows} == {("settled", True, "")}
    assert sum(row["charge_pico"] for row in rows) == settled
    # The wallet is the ledger less what was charged, and nobody names these holds any more.
    assert before - int(product.balance()["ledger_pico"]) == settled
    agrees(product)
    shown = product.cli("evidence", next(iter(names)), "--json")
    assert json.loads(shown.stdout)["hold"]["state"] == "none", shown.stdout
    assert measured(product, ESTIMATED) - estimated == CALLS
    assert measured(product, "tollgate_billing_unbooked_holds") == 0

    # The disk is found: its events take the place of the estimates, to the last unit.
    assert product.stop() == 0
    spool = product.home / "router-0" / "spool"
    spool.rename(product.home / "router-0" / "spool-empty")
    (product.home / "router-0" / "spool-lost").rename(spool)
    product.start()
    product.wait(lambda: len(rows_of(product, names)) == 3 * CALLS, "the events of the spool to be booked")
    product.wait_settled()
    # Each estimate, what took its place, and the adjustment that takes it back.
    found = rows_of(product, names)
    real = [row for row in found if row["model"]]
    assert len(real) == CALLS
    assert sum(row["charge_pico"] for row in found) == sum(row["charge_pico"] for row in real) == settled
    assert before - int(product.balance()["ledger_pico"]) == settled
    assert product.usage()["requests"] == booked["requests"]
    agrees(product)
