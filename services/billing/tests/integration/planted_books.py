"""Billing's stores with what writes and compares them, and differences to plant in them."""

import asyncio
import uuid

from services.billing.tests.fakes.books import FakeLedgerBooks, FakeUsageBooks
from services.billing.tests.fakes.dead_letters import FakeDeadLetters
from services.billing.tests.fakes.events import BOOK, usage_event
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.letters import FakeLetterStore, FakeUsageTopic
from services.billing.tests.fakes.prices import FakePrices
from services.billing.tests.fakes.rollups import FakeRollups
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.fakes.wallets import FakeWallets

from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.ledger_books import SqlLedgerBooks
from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.usage_books import ClickHouseUsageBooks
from tollgate_billing.adapters.usage_rollups import ClickHouseRollups
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.rows import Block
from tollgate_billing.ports import Grant
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.compare_books import CompareBooks
from tollgate_billing.use_cases.compare_rollups import CompareRollups
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.record_batch import Batch, RecordBatch, SourceState
from tollgate_billing.use_cases.replay_letters import ReplayLetters
from tollgate_billing.use_cases.take_back_repeated import TakeBackRepeated
from tollgate_holds.holds import Holds
from tollgate_kit.clock import ManualClock, SystemClock
from tollgate_kit.event_log import Claim, Stored
from tollgate_kit.sql import Database

FUNDS = 10**12
CHARGE = 60 * 10**6
SECOND_US = 10**6


class Tampering:
    """A usage store that loses rows, keeps them twice or changes what they were charged, by their request."""

    def __init__(self, store):
        self._store = store
        self.lost, self.dearer = set(), {}

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def insert_usage(self, rows, token, *more):
        columns = rows.columns
        charges = [
            charge + self.dearer.get(request, 0)
            for request, charge in zip(columns["request_id"], columns["charge"], strict=True)
        ]
        lineage = zip(columns["request_id"], columns["src_offset"], columns["src_index"], strict=True)
        lost = {(offset, index) for request, offset, index in lineage if request in self.lost}
        rows = Block({**columns, "charge": charges}).without(lost)
        if rows:
            await self._store.insert_usage(rows, token, *more)


class Books:
    """Billing's stores with what writes and compares them, for an organization of the test's own."""

    def __init__(self, store, ledger, wallets, usage_books, ledger_books, rollups):
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
            boottime=self.clock.monotonic,
            counters=self.counters,
            reached=lambda _name: None,
            keep=self.keep,
        )
        # None of these letters is booked: they are of no topic that is replayed.
        letters = ReplayLetters(
            FakeLetterStore(FakeUsageStore()), FakeLedger(), FakeUsageTopic(lambda _: None), self.clock
        )
        self.compare = CompareBooks(
            usage_books,
            ledger_books,
            ledger,
            wallets,
            self.keep,
            self.counters,
            self.clock,
            letters,
            CompareRollups(rollups),
        )
        self.state, self.offset = SourceState(), 0
        # What was sent to the log and not booked yet.
        self.sent = []
        self.take_back = TakeBackRepeated(usage_books, store, FakeUsageTopic(self.sent.append), self.clock)

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

    async def insert_again(self, *events):
        """Inserts rows of the first batch once more, as after its token was forgotten; nothing is booked."""
        claim, at_us = Claim("topic", 0, self.epoch, 0), self.began_us
        records = [Stored(claim, place, at_us, b"k", one.SerializeToString()) for place, one in enumerate(events)]
        bounds = Bounds(self.epoch, "topic", 0, 0, 3)
        again = Batch(bounds, "owner", records, resumed=False, started_us=0)
        await self.record.prepare(again, SourceState())
        await self.store.insert_usage(again.prepared.rows, "again/" + bounds.batch)

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


async def opened_books(request, tmp_path):
    """Yields the books of a test: in memory, or in chDB, SQLite and Valkey."""
    if request.param == "fake":
        store, ledger = FakeUsageStore(), FakeLedger()
        made = Books(store, ledger, FakeWallets(), FakeUsageBooks(store), FakeLedgerBooks(ledger), FakeRollups(store))
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
        ClickHouseRollups(clickhouse),
    )
    made.clickhouse = clickhouse
    made.database = database
    await made.fund()
    yield made
    await holds.close()
    await clickhouse.close()
    database.close()
