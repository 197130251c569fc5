"""Each kind of difference is planted in real books (chDB, SQLite, Valkey) and in fakes, and is named."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
import sqlalchemy as sa
from grpc.aio import AioRpcError
from services.billing.tests.fakes.books import FakeLedgerBooks, FakeUsageBooks
from services.billing.tests.fakes.dead_letters import FakeDeadLetters
from services.billing.tests.fakes.events import BOOK, UNCONFIRMED, usage_event
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.letters import FakeLetterStore, FakeUsageTopic
from services.billing.tests.fakes.prices import FakePrices
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.fakes.wallets import FakeWallets
from services.billing.tests.integration.running import BillingProcess, send

from tollgate.billing.v1 import billing_pb2
from tollgate.events.v1.refused_pb2 import RequestRefused, RequestsRefused
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.ledger_books import SqlLedgerBooks
from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_tables import ACCOUNTS
from tollgate_billing.adapters.usage_books import ClickHouseUsageBooks
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.api.books_reply import books_reply
from tollgate_billing.domain.books import Report, missing_offsets, parse_batch
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.postings import REVENUE
from tollgate_billing.domain.rows import Block
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import Grant
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.compare_books import CompareBooks
from tollgate_billing.use_cases.compare_provider_costs import CompareProviderCosts
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.record_batch import Batch, RecordBatch, SourceState
from tollgate_billing.use_cases.replay_letters import ReplayLetters
from tollgate_holds.holds import Holds
from tollgate_kit.clock import ManualClock, SystemClock
from tollgate_kit.event_log import Claim, Record, Stored, new_producer
from tollgate_kit.sql import Database
from tollgate_rating import INT64_MAX

pytestmark = pytest.mark.integration
FUNDS = 10**12
CHARGE = 60 * 10**6
SECOND_US = 10**6
PATIENCE_SECONDS = 180


class Tampering:
    """A usage store that loses rows, keeps them twice or changes what they were charged, by their request."""

    def __init__(self, store):
        self._store = store
        self.lost, self.dearer = set(), {}

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def insert_usage(self, rows, token):
        columns = rows.columns
        charges = [
            charge + self.dearer.get(request, 0)
            for request, charge in zip(columns["request_id"], columns["charge"], strict=True)
        ]
        lineage = zip(columns["request_id"], columns["src_offset"], columns["src_index"], strict=True)
        lost = {(offset, index) for request, offset, index in lineage if request in self.lost}
        rows = Block({**columns, "charge": charges}).without(lost)
        if rows:
            await self._store.insert_usage(rows, token)


class Books:
    """Billing's stores with what writes and compares them, for an organization of the test's own."""

    def __init__(self, store, ledger, wallets, usage_books, ledger_books):
        self.organization = f"org-{uuid.uuid4().hex[:12]}"
        self.epoch = uuid.uuid4().hex
        self.clock = ManualClock(SystemClock().now_us())
        self.began_us = self.clock.now_us()
        self.store, self.ledger, self.wallets = Tampering(store), ledger, wallets
        self.usage_books = usage_books
        self.counters = BillingCounters()
        lock = asyncio.Lock()
        self.keep = KeepWallets(ledger, wallets, self.counters, lock)
        self.record = RecordBatch(
            store=self.store,
            ledger=ledger,
            wallets=wallets,
            prices=FakePrices(BOOK),
            letters=FakeDeadLetters(),
            clock=self.clock,
            counters=self.counters,
            reached=lambda _name: None,
            keep=self.keep,
        )
        # None of these letters is booked: they are of no topic that is replayed.
        letters = ReplayLetters(FakeLetterStore(FakeUsageStore()), FakeUsageTopic(lambda _: None), self.clock)
        self.compare = CompareBooks(
            usage_books, ledger_books, ledger, wallets, self.keep, self.counters, self.clock, letters
        )
        self.state, self.offset = SourceState(), 0

    async def fund(self):
        await self.keep.grant(Grant(self.organization, "USD", FUNDS, self.organization, "test", self.clock.now_us()))

    def event(self, name, **fields):
        return usage_event(self.name(name), organization=self.organization, at_us=self.clock.now_us(), **fields)

    def name(self, name):
        return f"{self.organization}-{name}"

    async def book(self, *events, post=True):
        """Books events or bytes as one batch and returns its name."""
        source = Bounds(self.epoch, "topic", 0, self.offset, self.offset + len(events))
        claim = Claim("topic", 0, self.epoch, self.offset)
        records = [
            Stored(
                claim,
                self.offset + place,
                self.clock.now_us(),
                b"k",
                event if isinstance(event, bytes) else event.SerializeToString(),
            )
            for place, event in enumerate(events)
        ]
        self.offset += len(events)
        await self.ledger.claim(source.source, "owner")
        batch = Batch(source, "owner", records, resumed=False, started_us=self.clock.now_us())
        await self.record.prepare(batch, self.state)
        await self.record.write(batch)
        if post:
            await self.record.book(batch)
            self.record.finish(batch)
        return source.batch

    async def hold(self, name, amount, settled=None):
        """What edge does; Redis keeps its own time."""
        if isinstance(self.wallets, FakeWallets):
            self.wallets.hold(self.organization, self.name(name), amount)
            if settled is not None:
                self.wallets.settle(self.organization, self.name(name), settled)
        else:
            await self.wallets.holds.hold(self.organization, self.name(name), amount, 60)
            if settled is not None:
                await self.wallets.holds.settle(self.organization, self.name(name), settled)

    async def differences(self, seconds=120):
        """Compares after so much time, and returns what concerns this organization or batch."""
        self.clock.advance(seconds)
        report = await self.compare(self.began_us - SECOND_US, self.clock.now_us() + SECOND_US)
        assert report.cut == 0
        self.report = report
        return [
            one
            for one in report.differences
            if one.organization_id == self.organization or self.epoch in one.batch or one.kind == "poison"
        ]


@pytest.fixture(params=["fake", "real"])
async def books(request, tmp_path):
    if request.param == "fake":
        store, ledger = FakeUsageStore(), FakeLedger()
        made = Books(store, ledger, FakeWallets(), FakeUsageBooks(store), FakeLedgerBooks(ledger))
        await made.fund()
        yield made
        return
    clickhouse = ClickHouse(request.getfixturevalue("chdb_dsn"))
    await clickhouse.migrate()
    database = Database(f"sqlite:////{tmp_path}/ledger.sqlite", migrations="tollgate_billing:migrations")
    await database.migrate()
    holds = Holds(request.getfixturevalue("valkey").url)
    await holds.start()
    assert await holds.wait_ready(60)
    wallets = RedisWallets(holds)
    wallets.holds = holds
    made = Books(
        ClickHouseUsageStore(clickhouse),
        SqlLedger(database),
        wallets,
        ClickHouseUsageBooks(clickhouse),
        SqlLedgerBooks(database),
    )
    made.database = database
    await made.fund()
    yield made
    await holds.close()
    await clickhouse.close()
    database.close()


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
    assert found["unbooked_hold"].request_ids == (books.name("settled"),)


async def test_a_hold_that_outlives_its_booked_request(books):
    await books.book(books.event("a"))
    await books.hold("a", 500)
    if isinstance(books.wallets, FakeWallets):
        books.wallets.holds[books.organization, books.name("b")] = ["released", 0]
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


async def test_a_process_compares_its_books_keeps_refusals_and_stops_at_once(tmp_path, valkey):
    valkey.clear()
    log_url = f"sqlite:///{tmp_path}/events.sqlite"
    process = BillingProcess(
        tmp_path,
        {
            "TOLLGATE_BILLING_DATABASE_URL": f"sqlite:////{tmp_path}/ledger.sqlite",
            "TOLLGATE_BILLING_CLICKHOUSE_DSN": f"chdb:///{tmp_path}/usage",
            "TOLLGATE_BILLING_EVENT_LOG_URL": log_url,
            "TOLLGATE_BILLING_REDIS_URL": valkey.url,
            "TOLLGATE_BILLING_COMPARISON_SECONDS": "0.2",
        },
    )
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

    def measured(name):
        transport = httpx.HTTPTransport(uds=process.admin.removeprefix("unix:"))
        with httpx.Client(transport=transport, base_url="http://admin") as http:
            text = http.get("/metrics").text
        return next((line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)), "")

    async with asyncio.timeout(PATIENCE_SECONDS):
        while measured('tollgate_billing_book_differences{kind="mismatch"}') != "1.0":  # noqa: ASYNC110 - behind a port.
            await asyncio.sleep(0.1)
        while measured("tollgate_billing_refused_total") != "1.0":  # noqa: ASYNC110 - behind a port.
            await asyncio.sleep(0.1)
    assert measured('tollgate_billing_book_differences{kind="charge"}') == "0.0"
    assert "the books do not agree" in process.log()
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
    process.clean()
