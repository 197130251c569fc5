"""A usage event that could not be booked, in the running product: `tollgate dlq` lists, shows and replays it."""

import json
import time

import pytest
from tests.integration.product import Product

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.event_log import Record, new_producer
from tollgate_kit.ids import event_id

pytestmark = pytest.mark.integration
HOUR_US = 3600 * 10**6
# By how much more a clock is ahead: a busy machine may take so long to look at the event that it is none any more.
AHEAD_SECONDS = (5, 20, 60)


def early(tenant: wire.Tenant, begin: int) -> tuple[str, bytes]:
    """Returns request id and event of a request that began at this time, in microseconds."""
    name = f"req_early{begin}"
    event = events.UsageRecorded(
        event_id=event_id(name, 1, 1, events.EVENT_SOURCE_ROUTER),
        request_id=name,
        attempt=1,
        source=events.EVENT_SOURCE_ROUTER,
        final=True,
        status=events.EVENT_STATUS_CONFIRMED,
        started_at_us=begin,
        ended_at_us=begin,
        tenant=tenant,
        model="m",
        outcome=wire.OUTCOME_OK,
        unpriced=True,
        **{"try": 1},
    )
    return name, event.SerializeToString()


def letter_of(product: Product, name: str) -> dict[str, str]:
    listed = json.loads(product.cli("dlq", "list", "--limit", "100", "--json").stdout)["items"]
    return next((one for one in listed if one["request_id"] == name), {})


async def too_early(product: Product) -> str:
    """Returns the id of a request whose event billing has set aside, as of a clock that is an hour ahead."""
    tenant = wire.Tenant(
        organization_id=str(product.balance()["organization_id"]), project_id="proj_1", api_key_id="key_1"
    )
    producer = new_producer(f"sqlite://{product.home / 'log' / 'events.sqlite'}")
    try:
        for more_seconds in AHEAD_SECONDS:
            name, event = early(tenant, time.time_ns() // 1000 + HOUR_US + more_seconds * 10**6)
            await producer.send("usage.recorded.v1", [Record(name.encode(), event)])

            def arrived(name: str = name) -> bool:
                return bool(letter_of(product, name) or product.requests(request_id=name))

            product.wait(arrived, f"{name} to be set aside or booked")
            if letter_of(product, name):
                return name
    finally:
        await producer.close()
    raise AssertionError(f"billing took more than {AHEAD_SECONDS[-1]} s to look at an event")


async def test_an_event_of_a_clock_that_is_ahead_is_replayed_and_booked_once(product: Product) -> None:
    name = await too_early(product)

    def letter() -> dict[str, str]:
        return letter_of(product, name)

    product.wait(lambda: letter().get("state") == "ready", "the letter to become good")
    letter_id = letter()["id"]
    shown = product.cli("dlq", "show", letter_id)
    assert f'"request_id": "{name}"' in shown.stdout, shown.stderr
    assert "an hour after" in shown.stdout
    for _ in range(2):
        sent = product.cli("dlq", "replay", letter_id)
        assert sent.returncode == 0, sent.stderr
    product.wait(lambda: letter().get("state") == "booked", "the letter to be booked")
    again = product.cli("dlq", "replay", letter_id)
    assert (again.returncode, f"{letter_id}: booked" in again.stdout) == (0, True)
    product.wait_settled()
    assert len(product.requests(request_id=name)) == 1
    missing = product.cli("dlq", "replay", "1-2-3")
    assert (missing.returncode, "no dead letter" in missing.stderr) == (1, True)
    assert product.cli("dlq", "show", "nonsense").returncode == 1
    # What was booked in the end is no difference of the books.
    compared = product.cli("reconcile", "--json")
    assert compared.returncode == 0, compared.stdout
