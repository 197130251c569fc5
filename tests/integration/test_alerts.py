"""An alert from where it arises to whoever is told, on the whole product: events that cannot leave fill a spool."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.product import Product
from tests.integration.traffic import Call, Crowd
from tests.servers.notify import Receivers

pytestmark = pytest.mark.integration

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
RUNBOOKS = "https://wiki.example.com/runbooks"
CALL = Call("chat", "/chat/completions", {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]})
# A request is admitted while there is room for 64 KiB more: at some 84 % of this no further one is.
SPOOL_BYTES = 400_000
REQUESTS = 2_000
CLIENTS = 32


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    running = Receivers(tmp_path)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Product]:
    """The product with a small spool, and with an event log that a test can lock."""
    environment = {
        "TOLLGATE_BILLING_NOTIFY_PRIVATE_NETWORK": "true",
        "TOLLGATE_BILLING_RUNBOOK_URL": RUNBOOKS,
        "TOLLGATE_BILLING_ALERT_SECONDS": "0.5",
        "TOLLGATE_ROUTER_SPOOL_MAX_BYTES": str(SPOOL_BYTES),
    }
    running = Product(tmp_path, environment=environment)
    try:
        yield running.start()
    finally:
        running.stop()


async def test_operators_are_told_of_a_spool_that_is_nearly_full(small: Product, receivers: Receivers) -> None:
    url, secret = receivers.add("hook", "webhook", SECRET), small.directory / "hook.secret"
    secret.write_text(SECRET)
    made = small.cli("notify", "add", "oncall", "webhook", url, "--secret-file", secret, "--about", "books")
    assert made.returncode == 0, made.stderr
    log = sqlite3.connect(small.home / "log" / "events.sqlite", isolation_level=None)
    try:
        # Nobody can append any more.
        log.execute("BEGIN IMMEDIATE")
        crowd = Crowd(small.base_url, small.api_key, CLIENTS)
        await crowd.send([CALL] * REQUESTS)
        assert {answer.status for answer in crowd.answers} == {200, 503}
        (message,) = await asyncio.to_thread(receivers.messages, "hook", 1, 90)
    finally:
        log.close()
    payload = json.loads(message["text"])
    (item,) = payload["data"]["items"]
    assert (message["problem"], payload["type"], item["kind"]) == ("", "tollgate.books", "spool")
    assert item["numbers"]["process"].startswith("router ")
    assert item["numbers"]["percent"] >= 80
    assert item["runbook"] == f"{RUNBOOKS}/spool.md"
    # The log is back: everything leaves and is booked, what was refused too.
    small.wait(lambda: small.under_way() == 0, "the spool to be empty")
    booked = small.wait_booked(REQUESTS)
    refused = sum(answer.status == 503 for answer in crowd.answers)
    assert (booked["requests"], booked["total"]["errors"]) == (REQUESTS, refused)
