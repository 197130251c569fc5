"""Dead letters: one suite of their store for the fake, chDB and HTTP; and replayed by a real process on both logs."""

import asyncio
import base64
import time
import uuid

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError
from services.billing.tests.fakes.events import NOW_US, usage_event
from services.billing.tests.fakes.letters import FakeLetterStore
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.integration.running import TOPIC, BillingProcess, send, servers_of

from tollgate.billing.v1 import dead_letters_pb2 as wire
from tollgate_billing.adapters.letters import ClickHouseLetters, UsageProducer
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rows import rows_of
from tollgate_billing.errors import Unavailable
from tollgate_billing.letter_ports import LetterId
from tollgate_billing.ports import Letter
from tollgate_kit.event_log import Record, new_producer

pytestmark = pytest.mark.integration

FUNDS = 10**13
AHEAD_US = 3600 * 10**6


@pytest.fixture(params=["fake", "chdb", "http"])
async def kept(request, open_clickhouse):
    """A usage store and what finds its dead letters."""
    if request.param == "fake":
        store = FakeUsageStore()
        yield store, FakeLetterStore(store)
        return
    clickhouse, _ = await open_clickhouse(request.param)
    yield ClickHouseUsageStore(clickhouse), ClickHouseLetters(clickhouse)
    await clickhouse.close()


def poison_row(at_us, offset, value=b"\x00\xff", partition=3):
    return {
        "topic": "usage.recorded.v1",
        "partition": partition,
        "offset": offset,
        "logged_at": at_us,
        "reason": "why",
        "key_base64": base64.b64encode(b"key").decode(),
        "value_base64": base64.b64encode(value).decode(),
    }


async def test_letters_are_found_newest_first_page_by_page_each_once(kept):
    store, letters = kept
    # Rows of other tests are in the same tables: these are later than all of them.
    at_us = 2 * NOW_US + uuid.uuid4().int % 10**12 * 100
    made = [poison_row(at_us + place // 2, place) for place in range(5)]
    await store.insert_poison(made, uuid.uuid4().hex)
    await store.insert_poison(made[:2], uuid.uuid4().hex)
    found, before = [], LetterId(at_us + 100, 0, 0)
    while len(page := await letters.letters(2, before)) == 2 and page[-1].at_us >= at_us:
        found += page
        before = LetterId(page[-1].at_us, page[-1].partition, page[-1].offset)
    found += [one for one in page if one.at_us >= at_us]
    assert [one.offset for one in found] == [4, 3, 2, 1, 0]
    expected = Letter("usage.recorded.v1", 3, 4, at_us + 2, b"key", b"\x00\xff", "why")
    assert found[0] == expected == await letters.letter(LetterId(at_us + 2, 3, 4))
    for nobody in (LetterId(at_us + 2, 3, 5), LetterId(at_us + 2, 1 << 40, 4), LetterId(10**18 - 1, 3, 4)):
        assert await letters.letter(nobody) is None
    assert await letters.letters(1, LetterId(1, 0, 0)) == []
    assert len(await letters.letters(1, None)) == 1


async def test_what_is_booked_is_told_by_its_event(kept):
    store, letters = kept
    epoch = uuid.uuid4().hex
    event = usage_event(epoch)
    judged = [Judged(decode(event.SerializeToString(), 0, NOW_US), exceptional=False)]
    bounds = Bounds(epoch, "topic", 0, 0, 1)
    await store.insert_usage(rows_of(judged, bounds, NOW_US), bounds.batch)
    assert await letters.booked({epoch, "nobody"}) == {event.event_id}
    assert await letters.booked({"nobody"}) == set()


async def test_a_log_that_is_away_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    producer = new_producer(f"sqlite:///{tmp_path}/log/events.sqlite")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "events.sqlite").write_text("this is no database" * 100)
    with pytest.raises(Unavailable):
        await UsageProducer(producer).send("usage.recorded.v1", [(b"k", b"v")])
    await producer.close()


@pytest.fixture(params=["embedded", "cluster"])
def billing(request, tmp_path, valkey):
    valkey.clear()
    process = BillingProcess(tmp_path, servers_of(request.param, request, tmp_path, valkey))
    yield process
    process.clean()


async def letter_in(client, state, request_id):
    """Waits until the letter of a request has a state; returns it."""
    async with asyncio.timeout(120):
        while True:
            reply = await client.letters.ListDeadLetters(wire.ListDeadLettersRequest(), timeout=30)
            found = {one.request_id: one for one in reply.letters}
            if request_id in found and found[request_id].state == state:
                return found[request_id]
            await asyncio.sleep(0.1)


async def test_a_real_process_books_a_letter_once_however_often_it_is_replayed(billing):
    """A router's clock is an hour and some seconds ahead: its event is poison, and good when these have passed."""
    url = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    good = usage_event("good", at_us=time.time_ns() // 1000)
    producer = new_producer(url)
    # The topic is there then, and so is a connection: what follows is in the log before the seconds have passed.
    await producer.send(TOPIC, [Record(b"good", good.SerializeToString())])
    early = usage_event("early", at_us=time.time_ns() // 1000 + AHEAD_US + 3 * 10**6)
    early.started_at_us = early.ended_at_us
    await producer.send(TOPIC, [Record(b"early", early.SerializeToString()), Record(b"key", b"\xff torn")])
    await producer.close()
    await client.booked(1)
    ready = await letter_in(client, "ready", "early")
    shown = await client.letters.GetDeadLetter(wire.GetDeadLetterRequest(id=ready.id), timeout=30)
    assert shown.value == early.SerializeToString()
    assert "an hour after" in shown.letter.reason
    replay = wire.ReplayDeadLettersRequest(ids=[ready.id])
    for _ in range(3):
        reply = await client.letters.ReplayDeadLetters(replay, timeout=60)
        assert {one.state for one in reply.letters} <= {"sent", "booked"}
    await letter_in(client, "booked", "early")
    await send(url, [usage_event("last", at_us=time.time_ns() // 1000)])
    await client.booked(3)
    charged = 3 * good.charge_pico
    assert (await client.total()).charge_pico == charged
    assert (await client.balance()).ledger_pico == FUNDS - charged
    assert (await client.balance()).wallet_pico == FUNDS - charged
    everything = await client.letters.ReplayDeadLetters(wire.ReplayDeadLettersRequest(all=True), timeout=60)
    (torn,) = everything.letters
    assert (everything.sent, everything.unusable, torn.state) == (0, 1, "unusable")
    assert "not a UsageRecorded message" in torn.problem
    with pytest.raises(AioRpcError) as nobody:
        await client.letters.GetDeadLetter(wire.GetDeadLetterRequest(id="1-2-3"), timeout=30)
    assert nobody.value.code() != StatusCode.UNKNOWN
    await client.close()
