"""Each kind of difference is planted in real books (chDB, SQLite, Valkey) and in fakes, and is named."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa
from grpc.aio import AioRpcError
from services.billing.tests.fakes.events import UNCONFIRMED, WITNESS, usage_event
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.wallets import FakeWallets
from services.billing.tests.integration.planted_books import CHARGE, FUNDS, SECOND_US
from services.billing.tests.integration.running import BillingProcess, send, servers_of

from tollgate.billing.v1 import billing_pb2, reports_pb2, reports_pb2_grpc
from tollgate.events.v1.refused_pb2 import RequestRefused, RequestsRefused
from tollgate_billing.adapters.sql_tables import ACCOUNTS
from tollgate_billing.api.books_reply import books_reply
from tollgate_billing.domain.books import Report, missing_offsets, parse_batch
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.postings import REVENUE
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.use_cases.compare_provider_costs import CompareProviderCosts
from tollgate_billing.use_cases.record_batch import Batch, SourceState
from tollgate_holds import LimitSet, Operation, Scope
from tollgate_kit.clock import SystemClock
from tollgate_kit.event_log import Claim, Record, Stored, new_producer
from tollgate_kit.grpc_io import new_channel
from tollgate_rating import INT64_MAX

pytestmark = pytest.mark.integration
PATIENCE_SECONDS = 180


async def test_sound_books_agree(books):
    await books.hold("open", 500)
    await books.hold("settled", 500, settled=CHARGE)
    await books.book(books.event("a"), books.event("b", final=False, charge_pico=0), books.event("c"))
    # A final that nobody confirmed, and the one that takes its place.
    await books.book(books.event("d", status=UNCONFIRMED))
    await books.book(books.event("d", tried=2), books.event("e"))
    assert await books.differences(seconds=30) == []
    assert books.report.batches >= 3
    assert books.report.rows >= 7
    assert books.report.holds >= 2
    assert books.counters.counts["comparisons"] == 1


async def test_a_row_that_is_lost(books):
    books.store.lost.add(books.name("b"))
    batch = await books.book(books.event("a"), books.event("b"), books.event("c"))
    found = {one.kind: one for one in await books.differences()}
    assert set(found) == {"charge", "cost"}
    one = found["charge"]
    assert (one.batch, one.found_pico, one.expected_pico) == (batch, 2 * CHARGE, 3 * CHARGE)
    assert "no rows of the records at 1" in one.detail


async def test_a_batch_whose_rows_are_all_lost(books):
    books.store.lost.update({books.name("a"), books.name("b")})
    batch = await books.book(books.event("a"), books.event("b"))
    found = {one.kind: one for one in await books.differences()}
    assert (found["charge"].batch, found["charge"].found_pico) == (batch, 0)
    assert "at 0, 1" in found["charge"].detail


async def test_a_row_that_was_charged_otherwise(books):
    books.store.dearer[books.name("b")] = 7
    await books.book(books.event("a"), books.event("b", input_tokens=20))
    (one,) = await books.differences()
    assert (one.kind, one.found_pico - one.expected_pico) == ("charge", 7)
    assert books.name("b") in one.request_ids


async def test_rows_that_are_there_twice(books):
    bounds = Bounds(books.epoch, "topic", 0, 0, 1)
    await books.book(books.event("a"))
    history = await books.store.history({books.name("a")}, Bounds(books.epoch, "topic", 1, 0, 1))
    assert len(history[books.name("a")]) == 1
    books.state, books.offset = SourceState(), 0
    record = Stored(
        Claim("topic", 0, books.epoch, 0), 0, books.clock.now_us(), b"k", books.event("a").SerializeToString()
    )
    twice = Batch(bounds, "owner", [record], resumed=False, started_us=0)
    await books.record.prepare(twice, books.state)
    await books.store.insert_usage(twice.prepared.rows, "again/" + bounds.batch)
    found = {one.kind: one for one in await books.differences()}
    assert found["repeated_event"].request_ids == (books.name("a"),)
    assert found["charge"].request_ids == (books.name("a"),)
    assert found["charge"].found_pico == 2 * CHARGE


async def test_a_request_that_was_charged_twice(books):
    await books.book(books.event("a"))
    await books.book(books.event("a", attempt=2))
    (one,) = await books.differences()
    assert (one.kind, one.request_ids) == ("double_charge", (books.name("a"),))


async def test_a_batch_that_the_ledger_has_not_got(books):
    batch = await books.book(books.event("a"), post=False)
    # It may be on its way.
    assert await books.differences(seconds=60) == []
    (one,) = await books.differences(seconds=600)
    assert (one.kind, one.batch) == ("unposted_batch", batch)


async def test_an_account_that_does_not_add_up(books):
    await books.book(books.event("a"))
    if isinstance(books.ledger, FakeLedger):
        books.ledger.accounts[books.organization, REVENUE, "USD"] += 5
    else:
        change = (
            sa.update(ACCOUNTS)
            .where(ACCOUNTS.c.organization_id == books.organization, ACCOUNTS.c.account == REVENUE)
            .values(balance_pico=ACCOUNTS.c.balance_pico + 5)
        )
        await books.database.write(lambda connection: connection.execute(change))
    (one,) = await books.differences()
    assert (one.kind, one.found_pico, one.expected_pico) == ("account", CHARGE + 5, CHARGE)
    assert one.detail == f"account {REVENUE} in USD is not the sum of its transfers, by 0.000000000005"
    far = books_reply(Report(0, 1, differences=[replace(one, found_pico=10**20)]), lag_events=0, lag_ms=0)
    assert far.differences[0].found_pico == INT64_MAX


async def test_a_wallet_that_is_another_or_missing(books):
    await books.hold("open", 500)
    await books.wallets.rebuild(books.organization, FUNDS + 3)
    (one,) = await books.differences(seconds=1)
    assert (one.kind, one.found_pico, one.expected_pico) == ("wallet", FUNDS + 3 - 500, FUNDS - 500)
    if isinstance(books.wallets, FakeWallets):
        del books.wallets.wallet[books.organization]
    else:
        await books.wallets.holds.pipe.call("DEL", f"{{{books.organization}}}:wallet")
    (one,) = await books.differences(seconds=1)
    assert one.kind == "wallet"
    assert "there is no wallet" in one.detail


async def test_holds_that_hang(books):
    await books.hold("left", 500)
    await books.hold("settled", 500, settled=20)
    if isinstance(books.wallets, FakeWallets):
        now = books.clock.now_us()
        books.wallets.times[books.organization, books.name("left")] = now + 60 * SECOND_US
        books.wallets.times[books.organization, books.name("settled")] = now
    assert await books.differences(seconds=120) == []
    (one,) = await books.differences(seconds=900)
    assert (one.kind, one.request_ids, one.found_pico) == ("expired_hold", (books.name("left"),), 500)
    found = {one.kind: one for one in await books.differences(seconds=3600)}
    unbooked = found["unbooked_hold"]
    assert (unbooked.request_ids, unbooked.found_pico) == ((books.name("settled"),), 20)
    assert "tollgate dlq list" in unbooked.next_step


async def test_a_hold_that_outlives_its_booked_request(books):
    await books.book(books.event("a"))
    await books.hold("a", 500)
    if isinstance(books.wallets, FakeWallets):
        books.wallets.holds[books.organization, books.name("b")] = ["released", 0]
    found = [one for one in await books.differences() if one.kind == "leaked_hold"]
    assert [one.request_ids for one in found] == [(books.name("a"),)]


async def test_a_second_try_holds_when_the_first_one_is_booked(books):
    await books.book(books.event("a", status=WITNESS, charge_pico=0, input_tokens=0, output_tokens=0))
    await books.hold("a.2", 500)
    assert await books.differences() == []
    await books.book(books.event("a", tried=2))
    await books.hold("a.2", 500)
    found = [one for one in await books.differences() if one.kind == "leaked_hold"]
    assert [one.request_ids for one in found] == [(books.name("a"),)]


async def test_what_was_rated_otherwise_and_what_could_not_be_read(books):
    await books.book(books.event("a", charge_pico=CHARGE + 1), b"\xff\xffno event" + books.epoch.encode())
    found = {one.kind: one for one in await books.differences() if one.kind in {"mismatch", "poison"}}
    assert found["mismatch"].request_ids == (books.name("a"),)
    assert (found["mismatch"].found_pico, found["mismatch"].expected_pico) == (CHARGE + 1, CHARGE)
    assert "not a UsageRecorded message" in found["poison"].detail


def test_names_of_batches():
    assert parse_batch("epoch/topic/3/7-9") == ("epoch/topic/3", 7, 9)
    for name in ("", "grant/x", "epoch/topic/3/7", "epoch/topic/3/a-b", "/1-2"):
        assert parse_batch(name) is None
        assert missing_offsets(name, [], 3) == []
    assert missing_offsets("e/t/0/5-9", [6, 8], 10) == [5, 7]
    assert missing_offsets("e/t/0/5-9", [], 2) == [5, 6]


async def test_what_a_provider_says_that_we_cost_it(books):
    provider = books.organization
    await books.book(
        books.event("a", provider=provider, upstream_model="gpt-4o-2024-08-06", cost_pico=5 * 10**10),
        books.event("b", provider=provider, upstream_model="gpt-4o-2024-08-06", cost_pico=2 * 10**10, final=False),
        books.event("c", provider=provider, upstream_model="o3", cost_pico=1),
        books.event("d", provider="another", upstream_model="o3", cost_pico=10**12),
    )
    # One that lost was paid for all the same.
    await books.book(books.event("e", provider=provider, upstream_model="o3", cost_pico=10, status=UNCONFIRMED))
    await books.book(books.event("e", provider=provider, upstream_model="o3", cost_pico=100, tried=2))
    day = datetime.fromtimestamp(books.began_us / 1e6 - 1, UTC).date()
    found = await books.usage_books.provider_costs(provider, books.began_us - 2 * SECOND_US, books.began_us)
    assert found == [
        (day.isoformat(), "gpt-4o-2024-08-06", "USD", 7 * 10**10),
        (day.isoformat(), "o3", "USD", 111),
    ]
    assert await books.usage_books.provider_costs(provider, books.began_us, books.began_us + SECOND_US) == []
    statement = f'start_time,amount_value,line_item\n{day.isoformat()},0.07,"gpt-4o, input"\n'
    compare = CompareProviderCosts(books.usage_books)
    with pytest.raises(InvalidQuery):
        await compare("openai", b"nothing")
    (one,) = [one for one in await compare("openai", statement.encode()) if one.model == "gpt-4o"]
    # This provider is none of OpenAI's.
    assert (one.theirs_pico, one.ours_pico) == (7 * 10**10, 0)


def measured(process, name):
    """Returns what a process measures under a name; empty for nothing."""
    transport = httpx.HTTPTransport(uds=process.admin.removeprefix("unix:"))
    with httpx.Client(transport=transport, base_url="http://admin", timeout=60) as http:
        text = http.get("/metrics").text
    return next((line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)), "")


async def take_back_once(process, client, asked):
    """Charges a request twice and takes it back, as an operator does."""
    now = SystemClock().now_us()
    before = (await client.balance()).ledger_pico
    finals = [usage_event("twice", at_us=now, attempt=attempt) for attempt in (1, 2)]
    await send(process.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], finals)
    await client.booked(6)
    assert [one.kind for one in (await client.call("CompareBooks", asked)).differences] == ["double_charge"]
    channel = new_channel(process.socket)
    stub = reports_pb2_grpc.ReportServiceStub(channel)
    wanted = reports_pb2.TakeBackRepeatedRequest(from_us=asked.from_us, to_us=now + 10**9, apply=True)
    found = await stub.TakeBackRepeated(wanted, timeout=60)
    assert (found.sent, [(row.request_id, row.charge_pico) for row in found.rows]) == (1, [("twice", CHARGE)])
    await client.booked(8)
    assert (await stub.TakeBackRepeated(wanted, timeout=60)).sent == 0
    await channel.close()
    balance = await client.balance()
    assert balance.ledger_pico == balance.wallet_pico == before - CHARGE
    assert list((await client.call("CompareBooks", asked)).differences) == []


@pytest.fixture
def process(tmp_path, valkey):
    """A billing process that is not started yet."""
    valkey.clear()
    made = BillingProcess(tmp_path, servers_of("embedded", None, tmp_path, valkey))
    yield made
    made.clean()


async def test_a_settled_hold_that_nobody_books_is_named_and_after_its_time_booked(process, holds):
    process.servers["TOLLGATE_BILLING_RECONCILE_SECONDS"] = "0.2"
    process.start()
    client = process.client()
    await client.grant(FUNDS)
    # Redis keeps its own time, and the loss is that of a request of a key with a budget.
    limits = LimitSet("org", (Scope("key", "key_1", budget_pico=10_000), Scope("project", "prj_1")))
    await holds.admit_limited(Operation.HOLD, "lost", 500, limits, ttl_seconds=600, slot_seconds=600)
    await holds.hold("org", "fresh", 500, 600)
    for name in ("fresh", "lost"):
        await holds.settle("org", name, 20)
    # Settled two hours ago.
    state, at, rest = (await holds.pipe.call("HGET", "{org}:holds", "lost")).split(b":", 2)
    old = b":".join((state, str(int(at) - 7200).encode(), rest))
    await holds.pipe.call("HSET", "{org}:holds", "lost", old)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while measured(process, "tollgate_billing_unbooked_holds") != "1.0":  # noqa: ASYNC110 - behind a port.
            await asyncio.sleep(0.1)
    asked = billing_pb2.CompareBooksRequest(from_us=SystemClock().now_us() - 60 * SECOND_US)
    (one,) = (await client.call("CompareBooks", asked)).differences
    assert (one.kind, list(one.request_ids), one.found_pico) == ("unbooked_hold", ["lost"], 20)
    assert "TOLLGATE_BILLING_UNBOOKED_HOLD_SECONDS" in one.next_step
    await client.close()
    assert process.stop() == 0

    # Whoever keeps up for as long as it waits books it; once, also where others do the same.
    process.servers["TOLLGATE_BILLING_UNBOOKED_HOLD_SECONDS"] = "2"
    process.start()
    client = process.client()
    await client.booked(2)
    assert {
        (row[0], row[1], row[2])
        for row in await client.sql("SELECT request_id, status, toString(charge) FROM usage_events")
    } == {("lost", "settled", "0.00000000002"), ("fresh", "settled", "0.00000000002")}
    assert await client.sql("SELECT api_key_id FROM usage_events WHERE request_id = 'lost'") == [["key_1"]]
    balance = await client.balance()
    assert (balance.ledger_pico, balance.wallet_pico, balance.settled_unbooked_pico) == (FUNDS - 40, FUNDS - 40, 0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while measured(process, "tollgate_billing_unbooked_holds") != "0.0":  # noqa: ASYNC110 - behind a port.
            await asyncio.sleep(0.1)
    assert list((await client.call("CompareBooks", asked)).differences) == []
    # What the spool had, found after all.
    late = usage_event("lost", at_us=SystemClock().now_us(), status=UNCONFIRMED, replay=True)
    await send(process.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [late])
    await client.booked(4)
    balance = await client.balance()
    assert balance.ledger_pico == balance.wallet_pico == FUNDS - 20 - CHARGE
    assert list((await client.call("CompareBooks", asked)).differences) == []
    await take_back_once(process, client, asked)
    await client.close()
    assert process.stop() == 0


async def test_a_process_compares_its_books_keeps_refusals_and_stops_at_once(process):
    log_url = process.servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
    process.servers["TOLLGATE_BILLING_COMPARISON_SECONDS"] = "0.2"
    process.start()
    client = process.client()
    await client.grant(FUNDS)
    now = SystemClock().now_us()
    producer = new_producer(log_url)
    refused = RequestsRefused(requests=[RequestRefused(request_id="r", refused_at_us=now, status=401, code="no")])
    await producer.send("request.refused.v1", [Record(b"r", refused.SerializeToString())])
    await producer.close()
    await send(log_url, [usage_event("a", at_us=now), usage_event("b", at_us=now, charge_pico=1)])
    await client.booked(2)

    async with asyncio.timeout(PATIENCE_SECONDS):
        mismatches = 'tollgate_billing_book_differences{kind="mismatch"}'
        while measured(process, mismatches) != "1.0":  # noqa: ASYNC110 - behind a port.
            await asyncio.sleep(0.1)
        while measured(process, "tollgate_billing_refused_total") != "1.0":  # noqa: ASYNC110 - behind a port.
            await asyncio.sleep(0.1)
    assert measured(process, 'tollgate_billing_book_differences{kind="charge"}') == "0.0"
    await process.says("the books do not agree")
    found = await client.call("ListRequests", billing_pb2.ListRequestsRequest(kind="refused"))
    assert [row.request_id for row in found.rows] == ["r"]
    for from_us, to_us in ((0, 5), (5, 5), (-1, 5), (1, 91 * 86_400 * SECOND_US)):
        with pytest.raises(AioRpcError):
            await client.stub.CompareBooks(billing_pb2.CompareBooksRequest(from_us=from_us, to_us=to_us), timeout=10)
    with pytest.raises(AioRpcError):
        await client.stub.CompareProviderCosts(
            billing_pb2.CompareProviderCostsRequest(provider="openai", content=b"nothing"), timeout=10
        )
    await client.close()
    assert process.stop() == 0
