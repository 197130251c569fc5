"""The consumer's protocol over fakes: what a crash, an outage or another owner leaves behind is put right."""

import asyncio

import pytest
from services.billing.tests.fakes.crash import Crash
from services.billing.tests.fakes.events import UNCONFIRMED, WITNESS, usage_event
from services.billing.tests.fakes.process import Process, World
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate_billing.consumers.intake import BatchLimits
from tollgate_billing.errors import UsageStoreUnavailable
from tollgate_billing.ports import Grant

pytestmark = pytest.mark.unit


def charge(*events):
    return sum(event.charge_pico for event in events)


@pytest.fixture
async def world():
    made = World()
    await made.fund()
    return made


async def test_events_become_rows_transfers_and_a_smaller_wallet(world):
    events = [usage_event(f"r{number}", output_tokens=number) for number in range(6)]
    for event in events:
        world.wallets.hold("org", event.request_id, 10**9)
        world.append(event)
    await world.settle()
    assert world.sums() == (charge(*events),) * 3
    assert world.wallets.holds == {}
    assert len({row["batch"] for row in world.store.usage}) == 2


async def test_the_intent_is_there_before_anything_is_written_and_gone_after(world):
    world.append(usage_event("a"))
    world.clock.advance(5)
    await world.run(2)
    world.clock.advance(5)
    await world.run(2)
    assert [metadata for _, _, metadata in world.log.commits] == ["i1;0;1;1", ""]


async def test_a_batch_closes_by_count_size_or_age(world):
    world.limits = BatchLimits(events=3, size_bytes=1 << 20, age_seconds=1.0)
    for number in range(4):
        world.append(usage_event(f"r{number}"))
    await world.run(3)
    assert len(world.store.usage) == 3
    await world.run(3)
    assert len(world.store.usage) == 3
    world.clock.advance(1.1)
    await world.run()
    assert len(world.store.usage) == 4
    world.limits = BatchLimits(events=100, size_bytes=10, age_seconds=1e6)
    world.process = None
    world.append(usage_event("big"))
    await world.run(2)
    assert len(world.store.usage) == 5


async def test_poison_is_kept_with_its_bytes_and_its_neighbours_are_unharmed(world):
    good = [usage_event("a"), usage_event("b")]
    world.append(good[0])
    world.append(b"\xff poison")
    world.append(good[1])
    await world.settle()
    assert world.sums() == (charge(*good),) * 3
    assert [(letter.offset, letter.value) for letter in world.letters.letters] == [(1, b"\xff poison")]
    assert [row["offset"] for row in world.store.poison] == [1]
    assert world.counters.counts["poison"] == 1


async def test_what_had_no_price_is_kept_at_charge_0_and_told_once_a_batch(world, caplog):
    nothing = {"unpriced": True, "charge_pico": 0, "cost_pico": 0, "model": "not-in-book"}
    for event in (usage_event("a", **nothing), usage_event("b"), usage_event("c", **nothing)):
        world.append(event)
    await world.settle()
    assert world.counters.counts["unpriced"] == 2
    (told,) = [one for one in caplog.records if "no price" in one.message]
    assert (told.levelname, told.fields) == ("ERROR", {"events": 2, "request_id": "a", "model": "not-in-book"})


async def test_a_batch_of_poison_alone_is_committed(world):
    world.append(b"\xff")
    await world.settle()
    assert world.store.usage == []


async def test_a_wrong_charge_is_a_row_a_counter_and_still_booked(world):
    wrong = usage_event("a", charge_pico=7)
    world.append(wrong)
    await world.settle()
    assert world.sums() == (7, 7, 7)
    assert [(row["request_id"], row["found_pico"]) for row in world.store.mismatches] == [("a", 7)]
    assert world.counters.mismatches["charge"] == 1


async def step_once(world):
    """One step of the consumer, which then is asked to stop."""
    stopped = asyncio.Event()
    stopped.set()
    await world.process.consumer.step(stopped)


async def book_without_redis(world):
    """Closes the open batch while Redis is away: it reaches the usage store and the ledger, not the wallet."""
    world.wallets.away = True
    world.clock.advance(5)
    await world.run(1)
    world.clock.advance(5)
    await step_once(world)


async def test_redis_away_stops_everything_and_nothing_is_skipped(world):
    event = usage_event("a")
    world.append(event)
    await book_without_redis(world)
    assert "booking waits" in world.process.consumer.problem
    assert world.log.committed[0] == (0, "i1;0;1;1")
    world.append(usage_event("b"))
    await step_once(world)
    assert len(world.store.usage) == 1
    world.wallets.away = False
    await world.settle()
    assert world.process.consumer.problem == ""
    assert world.sums() == (charge(event, event),) * 3


async def test_a_missing_wallet_is_made_from_the_ledger(world):
    event = usage_event("a")
    world.append(event)
    world.wallets.wallet.clear()
    world.wallets.booked.clear()
    await world.settle()
    assert world.wallets.wallet["org"] == 10**12 - event.charge_pico


async def test_a_drifted_wallet_is_found_and_repaired(world):
    world.append(usage_event("a"))
    await world.settle()
    world.wallets.hold("org", "live", 500)
    right = world.wallets.wallet["org"]
    world.wallets.wallet["org"] -= 123
    await world.process.keep.reconcile()
    assert world.wallets.wallet["org"] == right
    assert (world.counters.counts["drifted_wallets"], world.counters.counts["drift_pico"]) == (1, 123)
    await world.process.keep.reconcile()
    assert world.counters.counts["drifted_wallets"] == 1


@pytest.mark.parametrize("touch", ["reconcile", "grant", "rebuild"])
async def test_a_wallet_is_not_compared_while_a_batch_is_between_ledger_and_redis(world, touch):
    """The same process goes on: Redis was away between the two, and is back before the batch is tried again."""
    event = usage_event("a")
    world.append(event)
    world.wallets.hold("org", "a", 2 * event.charge_pico)
    world.wallets.settle("org", "a", event.charge_pico)
    world.clock.advance(5)
    await world.run(1)
    world.wallets.away = True
    world.clock.advance(5)
    stopped = asyncio.Event()
    stopped.set()
    await world.process.consumer.step(stopped)
    assert world.sums()[1] == event.charge_pico
    world.wallets.away = False
    keep, more = world.process.keep, 0
    if touch == "reconcile":
        await keep.reconcile()
    elif touch == "rebuild":
        await keep.rebuild("org")
    else:
        more = 10**9
        await keep.grant(Grant("org", "USD", more, "more", "test", world.clock.now_us()))
    right = 10**12 + more - event.charge_pico
    assert world.wallets.wallet["org"] == right
    await world.settle()
    assert world.wallets.wallet["org"] == right
    assert world.counters.counts["drifted_wallets"] == 0


async def test_a_wallet_is_not_compared_before_the_last_batch_has_reached_it(world):
    """The ledger has a batch that Redis has not, and the process is gone: comparing first would book it twice."""
    event = usage_event("a")
    world.append(event)
    await book_without_redis(world)
    assert world.sums()[1:] == (event.charge_pico, 0)
    world.process, world.wallets.away = None, False
    fresh = Process(world)
    await fresh.keep.reconcile()
    assert world.sums()[2] == event.charge_pico
    await world.settle()
    assert world.sums() == (event.charge_pico,) * 3


async def test_who_lost_the_source_posts_nothing_any_more(world):
    world.append(usage_event("a"))
    await world.run(1)
    old = world.process
    world.process = None
    world.clock.advance(5)
    await world.run(3)
    world.clock.advance(5)
    await world.settle()
    world.append(usage_event("b"))
    world.clock.advance(5)
    for _ in range(3):
        await old.consumer.step(asyncio.Event())
    assert len(world.store.usage) == 1
    await world.settle()
    assert world.sums() == (charge(usage_event("a"), usage_event("b")),) * 3


async def test_a_forgotten_token_does_not_double_rows():
    world = World(window=1)
    await world.fund()
    event = usage_event("a")
    world.append(event)
    await world.run(1)
    world.clock.advance(5)
    original = world.ledger.post

    async def crash(posting):
        raise Crash

    world.ledger.post = crash
    await world.run(1)
    world.ledger.post = original
    # Other inserts push the token out of the window while nobody is here.
    await world.store.insert_usage([], "another")
    await world.store.insert_usage([], "and another")
    await world.settle()
    assert len(world.store.usage) == 1
    assert world.sums() == (event.charge_pico,) * 3


async def test_a_topic_made_again_is_another_source(world):
    first, second = usage_event("a"), usage_event("b")
    world.append(first)
    await world.settle()
    world.log.epoch, world.log.records[0], world.log.committed[0] = "second epoch", [], (0, "")
    world.process = None
    world.append(second)
    await world.settle()
    assert world.sums() == (charge(first, second),) * 3


async def test_an_open_exception_closes_when_something_confirmed_wins(world):
    world.append(usage_event("a", status=WITNESS, attempt=0))
    await world.settle()
    assert set(world.ledger.exceptions) == {"a"}
    assert world.process.consumer.open_exceptions == 1
    # A normal event of a request that is open is compared as well.
    world.append(usage_event("a"))
    await world.settle()
    assert world.ledger.exceptions == {}
    assert world.sums() == (charge(usage_event("a")),) * 3


async def test_duplicates_of_an_unfinished_batch_are_not_taken_for_seen(world):
    """A batch that is tried again in the same process must not find its own ids."""
    world.append(usage_event("a", status=UNCONFIRMED))
    world.store.away = True
    world.clock.advance(5)
    await world.run(1)
    world.clock.advance(5)
    await step_once(world)
    world.store.away = False
    await world.settle()
    assert len(world.store.usage) == 1


@pytest.mark.parametrize("left", range(1, 60))
async def test_a_crash_at_any_call_changes_nothing_in_the_end(left):
    world = World()
    await world.fund()
    events = [
        usage_event("a"),
        usage_event("b", status=WITNESS, attempt=0, output_tokens=9),
        usage_event("c", tried=1, attempt=1, final=False),
        usage_event("c", tried=1, attempt=2),
        b"\xff",
        usage_event("b", status=UNCONFIRMED, output_tokens=2),
        usage_event("a", replay=True),
        usage_event("d", charge_pico=3),
    ]
    for event in events:
        if not isinstance(event, bytes):
            world.wallets.holds.setdefault(("org", event.request_id), ["held", 0])
        world.append(event)
    world.fuse.left = left
    for _ in range(12):
        world.clock.advance(2)
        await world.run()
    await world.settle()
    expected = charge(usage_event("a"), events[5], events[3]) + 3
    assert world.sums() == (expected,) * 3
    assert world.wallets.holds == {}
    assert len(world.store.usage) == 7
    assert [row["offset"] for row in world.store.poison] == [4]
    lineage = [(row["src_offset"], row["src_index"]) for row in world.store.usage]
    assert len(lineage) == len(set(lineage))


class Watching(FakeUsageStore):
    """Says of each insert whether the batch after it was decided before it ended."""

    def __init__(self, world):
        super().__init__(fuse=world.fuse)
        self.world, self.ahead = world, []

    async def insert_usage(self, rows, token, *more):
        await super().insert_usage(rows, token, *more)
        (intake,) = self.world.process.consumer._intakes.values()
        if others := [task for task in asyncio.all_tasks() if "_look_ahead" in task.get_coro().__qualname__]:
            await asyncio.wait(others)
        self.ahead.append(None if intake.ahead is None else intake.ahead.prepared is not None)


async def test_a_batch_is_decided_while_the_one_before_it_is_written(world):
    world.limits = BatchLimits(events=2, size_bytes=1 << 20, age_seconds=1.0)
    world.store = Watching(world)
    # The fourth comes twice, in two batches; the fifth needs the rows of earlier ones, so that its batch waits.
    events = [usage_event(name) for name in "abcddefg"]
    events[5] = usage_event("e", status=WITNESS, attempt=0)
    for event in events:
        world.append(event)
    await world.settle()
    assert world.store.ahead == [True, False, True, None]
    assert world.sums() == (charge(*events[:4], *events[5:]),) * 3
    assert world.counters.counts["duplicates"] == 1


async def test_a_batch_that_was_decided_ahead_has_no_intent_and_is_made_again_after_a_crash(world):
    world.limits = BatchLimits(events=2, size_bytes=1 << 20, age_seconds=1.0)
    events = [usage_event(name) for name in "abcd"]
    for event in events:
        world.append(event)
    world.wallets.away = True
    await world.run(1)
    (intake,) = world.process.consumer._intakes.values()
    assert intake.ahead.prepared is not None
    assert (world.log.committed[0], len(world.store.usage)) == ((0, "i1;0;2;2"), 2)
    assert world.process.consumer.lag_ms >= 0
    world.process, world.wallets.away = None, False
    await world.settle()
    assert world.sums() == (charge(*events),) * 3


async def two_under_way(world, names="abcd"):
    """Stops where the first batch of two events is written and not booked, and the second one is written beside it."""
    world.limits = BatchLimits(events=2, size_bytes=1 << 20, age_seconds=1.0)
    events = [usage_event(name) for name in names]
    for event in events:
        world.append(event)
    world.wallets.away = True
    await world.run(1)
    await step_once(world)
    return events


async def test_a_batch_is_written_while_the_one_before_it_is_booked_and_the_log_has_both_intents(world):
    events = await two_under_way(world)
    assert world.log.committed[0] == (0, "i1;0;2;2,i1;2;4;2")
    assert (len(world.store.usage), {batch for batch, _ in world.ledger.transfers if "-" in batch}) == (
        4,
        {"epoch/usage.recorded.v1/0/0-2"},
    )
    # Nothing goes on beyond that.
    await step_once(world)
    assert world.log.committed[0] == (0, "i1;0;2;2,i1;2;4;2")
    world.wallets.away = False
    await world.settle()
    assert world.log.commits[-2:] == [(0, 2, "i1;2;4;2"), (0, 4, "")]
    assert world.sums() == (charge(*events),) * 3


async def test_two_batches_that_a_process_left_are_made_again_one_after_the_other(world):
    events = await two_under_way(world)
    world.process, world.wallets.away = None, False
    # With others that came meanwhile, both would be other batches.
    world.limits = BatchLimits(events=5, size_bytes=1 << 20, age_seconds=1.0)
    events.append(usage_event("e"))
    world.append(events[-1])
    await world.settle()
    assert [row["batch"].rpartition("/")[2] for row in world.store.usage] == ["0-2", "0-2", "2-4", "2-4", "4-5"]
    assert (0, 2, "i1;2;4;2") in world.log.commits
    assert world.counters.counts["repeated_batches"] == 2
    assert world.sums() == (charge(*events),) * 3


async def test_a_source_that_a_late_process_claimed_in_the_ledger_is_claimed_again(world):
    """It stood still since before it lost the partition; the log knows, and the ledger does not."""
    world.append(usage_event("a"))
    await world.settle()
    await world.ledger.claim("epoch/usage.recorded.v1/0", "who was late")
    world.append(usage_event("b"))
    await world.settle()
    assert world.sums() == (charge(usage_event("a"), usage_event("b")),) * 3


async def test_exceptions_that_another_owner_left_are_known_when_a_source_comes_back(world):
    """One process has a source, loses it to another that books a witness, and gets it again."""
    world.append(usage_event("a"))
    await world.settle()
    first, world.process = world.process, None
    world.append(usage_event("b", status=WITNESS, attempt=0))
    await world.settle()
    assert set(world.ledger.exceptions) == {"b"}
    world.process = first
    await world.process.consumer._consumer.start()
    world.append(usage_event("b", output_tokens=3))
    await world.settle()
    assert world.ledger.exceptions == {}
    assert world.sums() == (charge(usage_event("a"), usage_event("b", output_tokens=3)),) * 3


class HalfStore(FakeUsageStore):
    """Breaks off between the rows and their sums, which have tokens of their own as each rollup has."""

    def __init__(self, breaks):
        super().__init__()
        self.breaks, self.summed, self.seen = breaks, 0, set()

    def _insert(self, table, rows, token):
        super()._insert(table, rows, token)
        if table == "usage":
            self.breaks -= 1
            if self.breaks >= 0:
                raise UsageStoreUnavailable("killed")
            self.summed += len(rows) if token not in self.seen else 0
            self.seen.add(token)


@pytest.mark.parametrize("breaks", [0, 1, 2])
async def test_sums_that_an_insert_left_out_are_made_up_for(world, breaks):
    world.store = HalfStore(breaks)
    for name in "abcde":
        world.append(usage_event(name))
    world.clock.advance(5)
    await world.run(1)
    while world.process.consumer.problem:
        world.clock.advance(5)
        await step_once(world)
    # And by another process, which finds the intent.
    world.process = None
    await world.settle()
    assert world.store.summed == len(world.store.usage) == 5
