"""A billing process over fakes: made again after each crash, while what it writes to outlives it."""

import asyncio
import random

from services.billing.tests.fakes.crash import Crash, Fuse
from services.billing.tests.fakes.dead_letters import FakeDeadLetters
from services.billing.tests.fakes.event_log import FakeConsumer, FakeLog
from services.billing.tests.fakes.events import BOOK
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.letters import FakeLetterStore, FakeUsageTopic
from services.billing.tests.fakes.prices import FakePrices
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.fakes.wallets import FakeWallets

from tollgate_billing.consumers.intake import BatchLimits
from tollgate_billing.consumers.usage_recorded import UsageRecordedConsumer
from tollgate_billing.ports import Grant
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.book_settled import BookSettled
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.record_batch import RecordBatch
from tollgate_billing.use_cases.replay_letters import ReplayLetters
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds
from tollgate_kit.tracing import NoTracing


class World:
    """The stores, the log and Redis, which no crash of billing touches."""

    def __init__(self, limits=None, window=100):
        self.fuse = Fuse()
        self.clock = ManualClock()
        self.limits = limits or BatchLimits(events=4, size_bytes=1 << 20, age_seconds=1.0)
        self.log = FakeLog()
        self.store = FakeUsageStore(window, self.fuse)
        self.ledger = FakeLedger(self.fuse)
        self.wallets = FakeWallets(self.fuse, self.clock)
        self.prices = FakePrices(BOOK, fuse=self.fuse)
        self.letters = FakeDeadLetters(self.fuse)
        self.counters = BillingCounters()
        self.ids = CountingIds()
        self.tracing = NoTracing()
        self.crashes = 0
        self.process = None
        # Whether a process says that it has events to book still, and what its sweeps found.
        self.behind = False
        self.swept = []
        # What the log had no longer when a process came to it.
        self.forgotten = []

    async def fund(self, organization="org", amount=10**12, key="first"):
        keep = KeepWallets(self.ledger, self.wallets, self.counters, asyncio.Lock())
        await keep.grant(Grant(organization, "USD", amount, key, "test", self.clock.now_us()))

    def new_consumer(self):
        """Returns what a process reads the log with."""
        return FakeConsumer(self.log, self.fuse)

    def new_record(self, **parts):
        """Returns what a process books batches with."""
        return RecordBatch(**parts)

    def append(self, event, *, at_us=None):
        """Puts an event into the log; returns its offset."""
        value = event if isinstance(event, bytes) else event.SerializeToString()
        return self.log.append(value, at_us or self.clock.now_us())

    async def run(self, steps=1):
        """Steps the process, starting it when there is none; a crash leaves none."""
        for _ in range(steps):
            try:
                if self.process is None:
                    process = Process(self)
                    await process.keep.resume()
                    self.process = process
                await self.process.consumer.step(asyncio.Event())
            except Crash:
                self.crashes += 1
                self.process = None

    async def settle(self):
        """Runs without crashes until all is booked."""
        self.fuse.left = None
        for _ in range(len(self.log.records[0]) + 3):
            self.clock.advance(2)
            await self.run()
        assert self.log.committed[0] == (len(self.log.records[0]), "")

    def sums(self):
        """Returns what the usage rows, the ledger and Redis say was charged, in pico-units."""
        rows = sum(row["charge"] for row in self.store.usage)
        ledger = 10**12 - self.ledger.accounts["org", "wallet", "USD"]
        held = sum(amount for state, amount in self.wallets.holds.values() if state != "released")
        return int(rows.scaleb(12)) if rows else 0, ledger, 10**12 - self.wallets.wallet["org"] - held


class Process:
    def __init__(self, world):
        lock = asyncio.Lock()
        self.topic = FakeUsageTopic(world.append, world.fuse)
        self.estimate = BookSettled(
            world.ledger,
            world.wallets,
            self.topic,
            lambda: world.behind,
            world.clock,
            world.counters,
            after_seconds=world.wallets.overdue_seconds,
        )
        self.keep = KeepWallets(
            world.ledger,
            world.wallets,
            world.counters,
            lock,
            lambda organization, found: world.swept.append((organization, found)),
            self.estimate,
        )
        self.record = world.new_record(
            store=world.store,
            ledger=world.ledger,
            wallets=world.wallets,
            prices=world.prices,
            letters=world.letters,
            clock=world.clock,
            boottime=world.clock.monotonic,
            counters=world.counters,
            reached=lambda _name: None,
            keep=self.keep,
        )
        self.letters = ReplayLetters(
            FakeLetterStore(world.store, world.fuse),
            world.ledger,
            self.topic,
            world.clock,
        )
        self.consumer = UsageRecordedConsumer(
            forgotten=world.forgotten.append,
            consumer=world.new_consumer(),
            record=self.record,
            ledger=world.ledger,
            limits=world.limits,
            clock=world.clock,
            booking=lock,
            tracing=world.tracing,
            random_source=random.Random(1),
            counters=world.counters,
            reached=lambda _name: None,
            new_owner=lambda: world.ids.new("owner"),
        )
