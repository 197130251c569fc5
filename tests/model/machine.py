"""The rule machine: requests end, messages are lost, processes die or stand still, parts are away; then all adds up."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from services.billing.tests.fakes.crash import Crash
from services.billing.tests.fakes.event_log import TOPIC

from tests.model.calls import Call, key_of, running
from tests.model.parts import FUNDS, HOLD, ORGANIZATION, EdgeSlot, ModelWorld, RouterSlot
from tollgate.events.v1 import usage_pb2 as events
from tollgate_billing.domain.event import rerated_id
from tollgate_billing.errors import Unavailable
from tollgate_holds import hold_id_of
from tollgate_kit.event_log import Record

RANKS = {events.EVENT_STATUS_CONFIRMED: 2, events.EVENT_STATUS_UNCONFIRMED: 1, events.EVENT_STATUS_WITNESS: 0}
FAULTS = ["", "", "before", "after", "part"]
WITHIN_US = 29 * 60 * 10**6
fuses = st.integers(1, 40)
routers = st.integers(0, 1)


class UsageMachine(RuleBasedStateMachine):
    """Everything that may happen to usage events between a router and the ledger, in any order."""

    build = None

    def __init__(self):
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="tollgate-model-"))
        self.world = ModelWorld(self.build() if self.build else None)
        log, clock = self.world.log, self.world.clock
        self.routers = [RouterSlot(self.directory / f"router{number}", log, clock) for number in (0, 1)]
        self.edge = EdgeSlot(self.directory / "edge", log, clock)
        self.calls = []
        # Ends and Acks under way, in order: (router, "end" or "ack", call, try, charge).
        self.net = []
        # Of each event on a disk, the router whose disk it is, or None for edge's.
        self.spooled = {}
        # Disks that were taken away, with the events that are nowhere else.
        self.disks = []
        self.gone = set()
        self.poison = []
        self.old = []
        self.zombies = []

    @initialize()
    @running
    async def fund(self):
        await self.world.fund(ORGANIZATION, FUNDS)

    # Requests.

    @rule(router=routers)
    def open(self, router):
        if not self.edge.alive or not self.routers[router].alive or ORGANIZATION not in self.world.wallets.wallet:
            return
        call = Call(f"r{len(self.calls)}", self.world.clock.now_us(), router)
        call.at_router.add((router, 1))
        self.world.wallets.hold(ORGANIZATION, call.name, HOLD)
        self.calls.append(call)

    @rule(router=routers, count=st.integers(1, 8), tokens=st.integers(1, 9), published=st.booleans())
    @running
    async def requests(self, router, count, tokens, published):
        """Some requests go the whole way as they should."""
        for _ in range(count):
            before = len(self.calls)
            self.open(router)
            for call in self.calls[before:]:
                self._finish(call, router, 1, tokens, 1)
        while self.net:
            self._arrives(*self.net.pop(0))
        if published and self.routers[router].alive:
            await self.routers[router].publish()

    @precondition(lambda self: self._open())
    @rule(which=st.integers(0, 3), size=st.integers(1, 900))
    def deliver(self, which, size):
        for call in self._open()[which : which + 1]:
            call.delivered += size

    @precondition(lambda self: any(call.at_router for call in self.calls))
    @rule(which=st.integers(0, 5), tokens=st.integers(0, 9), attempts=st.integers(1, 2), flushed=st.booleans())
    def finish(self, which, tokens, attempts, flushed):
        """A router's try ends, whether edge still waits for it or not; or the router dies before it is on disk."""
        running_tries = [(call, *one) for call in self.calls for one in sorted(call.at_router)]
        for call, number, tried in running_tries[which : which + 1]:
            self._finish(call, number, tried, tokens, attempts, flushed=flushed)

    def _finish(self, call, number, tried, tokens, attempts, *, flushed=True):
        router = self.routers[number]
        call.at_router.discard((number, tried))
        charge = router.finish(call, tried, tokens, attempts)
        if not flushed:
            self._kill_router(number, torn=True)
            return
        router.spool.flush()
        self.spooled.update({(call.name, tried, attempt): number for attempt in range(1, attempts + 1)})
        if call.phase == "open" and (call.router, call.tried) == (number, tried):
            self.net.append((number, "end", call, tried, charge))
        else:
            # Its stream is not the one that it was opened on.
            router.lose_stream_of(call.name, tried)

    @precondition(lambda self: self.net)
    @rule(which=st.integers(0, 3))
    def message(self, which):
        """One of the messages under way arrives; those of a router and kind stay in order."""
        if which >= len(self.net):
            return
        first = next(one for one in self.net if one[:2] == self.net[which][:2])
        self.net.remove(first)
        self._arrives(*first)

    def _arrives(self, number, kind, call, tried, charge):
        if kind == "ack":
            self.routers[number].acknowledged(call.name, tried)
        elif call.phase == "open" and call.tried == tried:
            call.phase, call.taken = "done", charge
            self.net.append((number, "ack", call, tried, 0))

    @precondition(lambda self: self._unsettled())
    @rule(which=st.integers(0, 3))
    def settle(self, which):
        for call in self._unsettled()[which : which + 1]:
            self._settle(call)

    def _settle(self, call):
        call.settled = True
        self.world.wallets.settle(ORGANIZATION, call.held, call.taken)

    # Streams and processes.

    @rule(number=routers)
    def break_stream(self, number):
        self.net = [one for one in self.net if one[0] != number]
        if self.routers[number].alive:
            self.routers[number].lose_stream()
        if self.edge.alive:
            for call in [one for one in self._open() if one.router == number]:
                self._stream_lost(call)

    def _stream_lost(self, call):
        other = 1 - call.router
        if call.tried == 1 and not call.delivered and self.routers[other].alive:
            self.edge.testify(call, 0)
            self.spooled[call.name, call.tried, 0] = None
            before = call.held
            call.router, call.tried = other, 2
            self.world.wallets.hold_again(ORGANIZATION, before, call.held, HOLD)
            call.at_router.add((other, 2))
            return
        self.edge.testify(call, call.delivered)
        self.spooled[call.name, call.tried, 0] = None
        call.phase = "gone"

    @rule(number=routers, torn=st.booleans())
    def kill_router(self, number, torn):
        if self.routers[number].alive:
            self._kill_router(number, torn=torn)

    def _kill_router(self, number, *, torn):
        self.routers[number].kill(torn=torn)
        for call in self.calls:
            call.at_router = {one for one in call.at_router if one[0] != number}
        self.break_stream(number)

    @precondition(lambda self: len(self.disks) < 3)
    @rule(number=routers)
    def take_disk(self, number):
        """A router is gone with its disk, and another one begins without; what was in its spool is nowhere else."""
        if self.routers[number].alive:
            self._kill_router(number, torn=False)
        router, logged = self.routers[number], {key_of(event) for event in self._logged()}
        lost = {key for key, of in self.spooled.items() if of == number} - logged - self.gone
        self.gone |= lost
        taken = self.directory / f"taken{len(list(self.directory.iterdir()))}"
        router.directory.rename(taken)
        router.start()
        self.disks.append((taken, lost))

    @precondition(lambda self: len(self.disks) < 3)
    @rule(router=routers, tokens=st.integers(0, 9), again=st.booleans())
    def lose_answer(self, router, tokens, again):
        """A request is answered and settled, by its second try or its first, and the answer's router loses its disk."""
        before = len(self.calls)
        self.open(router)
        for call in self.calls[before:]:
            if again:
                self.break_stream(router)
            if call.phase != "open":
                continue
            number = call.router
            self._finish(call, number, call.tried, tokens, 1)
            while self.net:
                self._arrives(*self.net.pop(0))
            self._settle(call)
            self.take_disk(number)

    @precondition(lambda self: self.disks)
    @rule(which=routers)
    @running
    async def find_disk(self, which):
        """A disk is found again: a router adopts its spool and sends what is in it."""
        taken, lost = self.disks.pop(which % len(self.disks))
        slot = RouterSlot(taken, self.world.log, self.world.clock)
        while slot.publisher.depth():
            await slot.publish()
        slot.kill()
        self.gone -= lost

    @rule(torn=st.booleans())
    def kill_edge(self, torn):
        if not self.edge.alive:
            return
        self.edge.kill(torn=torn)
        self.net.clear()
        for call in self._open():
            call.phase = "gone"
        for router in self.routers:
            if router.alive:
                router.lose_stream()

    @precondition(lambda self: not all(slot.alive for slot in (*self.routers, self.edge)))
    @rule()
    def start_again(self):
        for slot in (*self.routers, self.edge):
            if not slot.alive:
                slot.start()

    @rule(which=st.integers(0, 2), fault=st.sampled_from(FAULTS))
    @running
    async def publish(self, which, fault):
        slot = (*self.routers, self.edge)[which]
        if slot.alive:
            await slot.publish(fault)

    # The log.

    @rule(partition=routers, back=st.integers(1, 4))
    def deliver_twice(self, partition, back):
        """A record of the last half hour comes again, to the byte, without a mark."""
        records = self.world.log.topic(TOPIC)[partition]
        if len(records) < back:
            return
        at_us, key, value, headers = records[-back]
        if self.world.clock.now_us() - at_us < WITHIN_US:
            records.append((self.world.clock.now_us(), key, value, headers))

    @rule(times=st.integers(1, 2))
    def rate_later(self, times):
        """An operator has charged what had no price, as far as it is booked, and may ask twice."""
        for event in self.world.rated_later() * times:
            self.world.log.append(TOPIC, [Record(event.request_id.encode(), event.SerializeToString())])

    @rule()
    def append_poison(self):
        value = b"\xff%d" % len(self.poison)
        self.poison.append(value)
        self.world.log.append(TOPIC, [Record(b"k%d" % len(self.poison), value)])

    @precondition(lambda self: not self.world.unread())
    @rule()
    def make_topic_again(self):
        self.old += self.world.log.all(TOPIC)
        self.world.log.recreate(TOPIC)

    @rule(seconds=st.sampled_from([0.6, 1.1, 30, 40 * 60]))
    def advance(self, seconds):
        self.world.clock.advance(seconds)

    # Billing.

    @rule(steps=st.integers(1, 4))
    @running
    async def book(self, steps):
        await self._book(None, steps)

    @precondition(lambda self: self.world.unread())
    @rule(crash=fuses)
    @running
    async def crash(self, crash):
        """Billing ends at one of its next calls."""
        await self._book(crash, 4)

    async def _book(self, crash, steps):
        self.world.fuse.left = crash
        for _ in range(steps):
            await self._wake_in_time()
            await self.world.step()
            self.world.clock.advance(0.6)
        self.world.fuse.left = None

    @precondition(lambda self: len(self.zombies) < 2 and self.world.unread())
    @rule(calls=fuses)
    @running
    async def stand_still(self, calls):
        """Billing stops in the midst of something, and another one takes over."""
        try:
            found = await self.world.hang(calls)
        except Crash:
            self.world.process = None
            return
        except Unavailable:
            return
        if found is not None:
            self.zombies.append((*found, self.world.now()))

    @precondition(lambda self: self.zombies)
    @rule(which=routers)
    @running
    async def zombie_goes_on(self, which):
        await self._wake(self.zombies.pop(which % len(self.zombies)))

    async def _wake(self, zombie):
        zombie[0].set()
        await zombie[1]

    async def _wake_in_time(self):
        """Before the store forgets what a zombie is about to write, unless it stood still for so long that it asks."""
        for zombie in [one for one in self.zombies if self.world.forgets_soon(one[-1])]:
            self.zombies.remove(zombie)
            with contextlib.suppress(Crash):
                await self._wake(zombie)

    @rule()
    def kill_billing(self):
        self.world.process = None

    @rule(store=st.booleans(), wallets=st.booleans())
    def away(self, store, wallets):
        self.world.store.away, self.world.wallets.away = store, wallets

    @precondition(lambda self: self.world.process is not None)
    @rule(lost=st.booleans())
    @running
    async def compare_wallets(self, lost):
        """Wallets are compared with the ledger, or made again after Redis lost one, while all goes on."""
        try:
            if lost:
                self.world.wallets.wallet.pop(ORGANIZATION, None)
                await self.world.process.keep.rebuild(ORGANIZATION)
            else:
                await self.world.sweep()
        except Unavailable:
            return

    @precondition(lambda self: self.world.process is not None and self._settled_holds())
    @rule()
    @running
    async def hours_pass(self):
        """Billing keeps up for so long that what was settled and never booked is estimated."""
        for _ in range(2):
            try:
                await self.world.sweep()
            except Unavailable:
                return
            self.world.clock.advance(61 * 60)
        await self._book(None, 2)

    @invariant()
    def what_runs_is_held(self):
        """Nobody else may spend what a call that is open may cost, whatever is booked of its first try meanwhile."""
        held = self.world.wallets.holds
        for call in self._open():
            assert held.get((ORGANIZATION, call.held)) == ["held", HOLD], f"{call} holds nothing"

    def _unsettled(self):
        return [call for call in self.calls if call.phase == "done" and not call.settled]

    def _settled_holds(self):
        return {name for (_, name), (state, _) in self.world.wallets.holds.items() if state == "settled"}

    def _logged(self):
        """Returns the usage events that ever came into the log, in the order of their partitions."""
        values = [*self.old, *self.world.log.all(TOPIC)]
        return [events.UsageRecorded.FromString(value) for value in values if value not in self.poison]

    def _open(self):
        return [call for call in self.calls if call.phase == "open"]

    # Rest.

    def teardown(self):
        try:
            self.loop.run_until_complete(self._rest())
            self._check()
        finally:
            for slot in (*self.routers, self.edge):
                if slot.alive:
                    slot.kill()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.directory)
            logging.disable(logging.NOTSET)

    async def _rest(self):
        """Nothing is away any more, all goes to its end, and holds that nobody settled expire."""
        self.world.fuse.left = None
        self.world.store.away = self.world.wallets.away = False
        self.start_again()
        for call in self.calls:
            for number, tried in sorted(call.at_router):
                self._finish(call, number, tried, 5, 1)
        while self.net:
            self._arrives(*self.net.pop(0))
        for slot in (*self.routers, self.edge):
            while slot.publisher.depth():
                await slot.publish()
        for zombie in self.zombies:
            await self._wake(zombie)
        # One that was behind joins anew, as the broker has it.
        self.world.process = None
        await self._book_all()
        # A wallet that Redis lost is made again; one that differs stays as it is, and is found by the check.
        wallets = self.world.wallets
        if ORGANIZATION not in wallets.wallet:
            await self.world.process.keep.rebuild(ORGANIZATION)
        if settled := self._settled_holds():
            # Nobody else's: what is in the log is booked.
            tries = {hold_id_of(name, tried) for name, tried, _ in self.gone}
            assert settled <= tries, "settled, in the log, and not booked"
            for _ in range(2):
                await self.world.sweep()
                self.world.clock.advance(61 * 60)
            await self.world.sweep()
            await self._book_all()
        for key, (state, amount) in list(wallets.holds.items()):
            if state == "held":
                del wallets.holds[key]
                wallets.wallet[ORGANIZATION] += amount

    async def _book_all(self):
        for _ in range(20 + 2 * len(self.world.log.all(TOPIC))):
            self.world.clock.advance(1.1)
            await self.world.step()
        assert not self.world.unread(), "billing does not come to an end"

    def _check(self):
        """One row for each event, one charge for each request, and one sum in rows, ledger and wallet."""
        world = self.world
        assert [slot.spool.records for slot in (*self.routers, self.edge)] == [0, 0, 0]
        best, seen, later, estimates, last = {}, {}, {}, {}, Counter()
        for event in self._logged():
            tried = getattr(event, "try")
            if event.status == events.EVENT_STATUS_SETTLED:
                seen.setdefault(event.event_id, event)
                estimates[event.request_id] = max((tried, event.charge_pico), estimates.get(event.request_id, (0, 0)))
                continue
            if event.source == events.EVENT_SOURCE_BILLING:
                later[event.event_id] = event.charge_pico
                continue
            seen.setdefault(event.event_id, event)
            rank = (RANKS[event.status], tried)
            last[event.request_id] = max(last[event.request_id], tried * event.final)
            if event.final and (event.request_id not in best or rank > best[event.request_id][0]):
                best[event.request_id] = (rank, event)
        logged = {key_of(event) for event in seen.values() if event.source != events.EVENT_SOURCE_BILLING}
        lost = self.spooled.keys() - logged - self.gone
        assert not lost, f"lost before the log: {lost}"
        rows = Counter(row["event_id"].bytes for row in world.store.usage if row["kind"] == "usage")
        # What was rated later is nothing where something better had come.
        once = Counter(dict.fromkeys([*seen, *(one for one in later if one in rows)], 1))
        assert rows == once, "not one row for each event"
        charged = Counter()
        for row in world.store.usage:
            charged[row["request_id"]] += int(row["charge"].scaleb(12))
        expected = {
            request: later.get(rerated_id(event.event_id), 0) if event.unpriced else event.charge_pico
            for request, (_, event) in best.items()
        }
        # An estimate counts where nothing came of its try or a later one.
        expected |= {request: charge for request, (tried, charge) in estimates.items() if tried > last[request]}
        assert +charged == +Counter(expected)
        gone = {name for name, *_ in self.gone}
        for call in self.calls:
            if call.name in gone and not call.settled:
                continue
            assert call.taken is None or call.model == "later" or charged[call.name] == call.taken, (
                f"{call} is charged {charged[call.name]}"
            )
        total = sum(charged.values())
        assert world.sums() == (total, total, total), f"rows, ledger, wallet: {world.sums()}"
        assert sum(world.ledger.accounts.values()) == 0
        assert not world.wallets.holds
        cost = int(sum(row["cost"] for row in world.store.usage).scaleb(12)) if world.store.usage else 0
        assert world.ledger.accounts.get((ORGANIZATION, "payable", "USD"), 0) == cost
        assert world.counters.counts["drifted_wallets"] == 0
        assert {letter.value for letter in world.letters.letters} == set(self.poison)
