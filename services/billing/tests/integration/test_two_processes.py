"""Two billing processes of one ledger: they take turns, and each finishes what the other left in between."""

import asyncio
import contextlib
import random
import sys
import uuid

import pytest
from services.billing.tests.fakes.dead_letters import FakeDeadLetters
from services.billing.tests.fakes.events import BOOK, NOW_US, usage_event
from services.billing.tests.fakes.prices import FakePrices
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_turns import SqlTurns
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.errors import LedgerUnavailable
from tollgate_billing.ports import Grant
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.record_batch import Batch, RecordBatch, SourceState
from tollgate_holds.holds import Holds
from tollgate_kit.clock import ManualClock
from tollgate_kit.event_log import Claim, Stored
from tollgate_kit.sql import Database

pytestmark = pytest.mark.integration

MIGRATIONS = "tollgate_billing:migrations"
FIRST = 10**12
HOLD = 5 * 10**9
# What an event of usage_event costs.
CHARGE = 60_000_000
HOLDER = """
import asyncio, sys
from tollgate_billing.adapters.sql_turns import SqlTurns

async def main():
    async with SqlTurns(sys.argv[1]):
        print("taken", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


class Died(BaseException):
    """Where a process ends."""


class Stopping(RedisWallets):
    """Wallets that a batch reaches when `go` is set; `dead` ends the process there."""

    def __init__(self, holds):
        super().__init__(holds)
        self.go, self.reached = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.dead = False

    async def book(self, effect, source, batch):
        self.reached.set()
        await self.go.wait()
        if self.dead:
            raise Died
        return await super().book(effect, source, batch)


class Process:
    """A billing process: connections, turns and memory of its own. It books its own partition of the log."""

    def __init__(self, url, redis, partition, turns=None):
        self.database, self.holds = Database(url, migrations=MIGRATIONS), Holds(redis)
        self.turns = turns or SqlTurns(url)
        self.ledger, self.wallets = SqlLedger(self.database), Stopping(self.holds)
        counters = BillingCounters()
        self.keep = KeepWallets(self.ledger, self.wallets, counters, self.turns)
        self.record = RecordBatch(
            store=FakeUsageStore(),
            ledger=self.ledger,
            wallets=self.wallets,
            prices=FakePrices(BOOK),
            letters=FakeDeadLetters(),
            clock=ManualClock(),
            boottime=ManualClock().monotonic,
            counters=counters,
            reached=lambda _name: None,
            keep=self.keep,
        )
        self.partition, self.offset, self.state = partition, 0, SourceState()

    async def open(self):
        await self.holds.start()
        assert await self.holds.wait_ready(60)
        await self.ledger.claim(self._bounds(0, 0).source, "me")
        return self

    async def close(self):
        if isinstance(self.turns, SqlTurns):
            self.turns.close()
        await self.holds.close()
        self.database.close()

    async def held(self, organization, count):
        """Returns new requests that hold money, with their events."""
        made = [f"req-{uuid.uuid4().hex[:10]}" for _ in range(count)]
        for one in made:
            await self.holds.hold(organization, one, HOLD, 600)
        return [usage_event(one, organization=organization) for one in made]

    def batch(self, messages):
        """Returns the next batch of this process."""
        claim = Claim("t", self.partition, "e", self.offset)
        low, self.offset = self.offset, self.offset + len(messages)
        records = [
            Stored(claim, low + place, NOW_US, b"k", one.SerializeToString()) for place, one in enumerate(messages)
        ]
        return Batch(self._bounds(low, self.offset), "me", records, resumed=False, started_us=NOW_US)

    async def book(self, batch):
        await self.record.prepare(batch, self.state)
        await self.record.write(batch)
        async with self.turns:
            await self.record.book(batch)
        self.record.finish(batch)

    def _bounds(self, low, high):
        return Bounds("e", "t", self.partition, low, high)


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request, tmp_path):
    """A ledger that several processes open."""
    if request.param == "sqlite":
        made = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        made = request.getfixturevalue("postgresql").new_database("ledger")
    database = Database(made, migrations=MIGRATIONS)
    await database.migrate()
    database.close()
    return made


@pytest.fixture
async def two(url, redis_url):
    """Two processes."""
    made = [await Process(url, redis_url, partition).open() for partition in (0, 1)]
    yield made
    for one in made:
        await one.close()


@pytest.fixture
def redis_url(valkey):
    return valkey.url


async def funded(process):
    organization = f"org-{uuid.uuid4().hex[:8]}"
    await process.keep.grant(Grant(organization, "USD", FIRST, organization, "test", NOW_US))
    return organization


async def agrees(process, organization, charges):
    """Checks that ledger and wallet say that so many requests were charged and none is held."""
    _, balance = await process.ledger.balance(organization)
    state = await process.wallets.state(organization)
    assert (balance, state.wallet, state.held, state.settled) == (FIRST - charges * CHARGE, balance, 0, 0)


async def test_a_wallet_is_not_rebuilt_while_another_process_is_between_ledger_and_redis(two):
    one, other = two
    organization = await funded(one)
    one.wallets.go.clear()
    booking = asyncio.create_task(one.book(one.batch(await one.held(organization, 3))))
    await one.wallets.reached.wait()
    rebuilding = asyncio.create_task(other.keep.rebuild(organization))
    # Time enough to do harm, for who would not wait its turn.
    await asyncio.wait({rebuilding}, timeout=0.5)
    one.wallets.go.set()
    await booking
    assert await rebuilding == (FIRST - 3 * CHARGE, False)
    await agrees(other, organization, 3)


async def test_a_wallet_that_is_made_out_of_turn_goes_wrong(url, redis_url):
    """That the test above can fail: a lock for each process, as it was, and nobody who finishes for another."""
    one, other = [await Process(url, redis_url, part, asyncio.Lock()).open() for part in (0, 1)]
    organization = await funded(one)
    one.wallets.go.clear()
    booking = asyncio.create_task(one.book(one.batch(await one.held(organization, 3))))
    await one.wallets.reached.wait()
    _, balance = await other.ledger.balance(organization)
    await other.wallets.rebuild(organization, balance)
    one.wallets.go.set()
    await booking
    with pytest.raises(AssertionError):
        await agrees(other, organization, 3)
    for process in (one, other):
        await process.close()


async def test_what_a_dead_process_left_is_finished_before_a_wallet_is_made(two):
    one, other = two
    organization = await funded(one)
    await other.keep.resume()
    one.wallets.dead = True
    batch = one.batch(await one.held(organization, 3))
    with pytest.raises(Died):
        await one.book(batch)
    assert await other.keep.rebuild(organization) == (FIRST - 3 * CHARGE, False)
    await agrees(other, organization, 3)
    # Whoever takes over the partition does the batch again, to no effect.
    other.partition = 0
    await other.ledger.claim(batch.bounds.source, "me")
    batch.prepared = None
    await other.book(batch)
    await agrees(other, organization, 3)


async def test_a_missing_wallet_is_made_with_what_a_dead_process_left(two):
    one, other = two
    organization = await funded(one)
    one.wallets.dead = True
    with pytest.raises(Died):
        await one.book(one.batch(await one.held(organization, 2)))
    mine = await other.held(organization, 1)
    wallet, holds, booked = (f"{{{organization}}}:{name}" for name in ("wallet", "holds", "booked"))
    await other.holds.pipe.call("DEL", wallet, holds, booked)
    await other.book(other.batch(mine))
    await agrees(other, organization, 3)


async def test_two_processes_book_grant_and_rebuild_at_once(two):
    organization = await funded(two[0])
    source = random.Random(5)
    granted = 0

    async def work(process):
        nonlocal granted
        for number in range(12):
            await process.book(process.batch(await process.held(organization, source.randint(1, 4))))
            await process.keep.rebuild(organization)
            if number % 4 == 0:
                granted += 1
                key = f"{organization}/{process.partition}/{number}"
                await process.keep.grant(Grant(organization, "USD", 7, key, "test", NOW_US))

    await asyncio.gather(*map(work, two))
    _, balance = await two[0].ledger.balance(organization)
    state = await two[1].wallets.state(organization)
    assert (state.wallet, state.held, state.settled) == (balance, 0, 0)
    assert balance == FIRST + 7 * granted - CHARGE * sum(process.offset for process in two)


async def test_the_turn_of_a_killed_process_goes_to_the_next(url):
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, url), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    impatient, patient = SqlTurns(url, wait_seconds=0.2), SqlTurns(url)
    try:
        assert await child.stdout.readline() == b"taken\n"
        with pytest.raises(LedgerUnavailable, match="another billing process"):
            async with impatient:
                pass
        waiting = asyncio.create_task(patient.__aenter__())
        await asyncio.wait({waiting}, timeout=0.2)
        assert not waiting.done()
        child.kill()
        await waiting
        await patient.__aexit__()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()
        impatient.close()
        patient.close()


async def test_who_gives_up_waiting_leaves_nothing_taken(url):
    holder, quitter = SqlTurns(url), SqlTurns(url)
    async with holder:
        waiting = asyncio.create_task(quitter.__aenter__())
        await asyncio.wait({waiting}, timeout=0.1)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    for turns in (holder, quitter, holder):
        async with turns:
            pass
    holder.close()
    quitter.close()
