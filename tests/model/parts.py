"""Routers, edge and billing of the model: the product's classes, spools on disk, the rest in memory."""

import asyncio
import os
import random
from types import SimpleNamespace

from libs.kit.tests.fakes.memory_log import MemoryConsumer, MemoryLog, MemoryProducer
from services.billing.tests.fakes.crash import Crash, guarded
from services.billing.tests.fakes.event_log import TOPIC
from services.billing.tests.fakes.events import BOOK
from services.billing.tests.fakes.process import Process, World

from tests.model.overlap import Overlapping
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.adapters.usage_store import TIMES
from tollgate_billing.consumers.intake import BatchLimits
from tollgate_billing.domain.rerated import rate_row, rerated_event
from tollgate_billing.errors import Unavailable
from tollgate_edge.domain.principal import Principal
from tollgate_edge.faces import OPENAI
from tollgate_edge.inference.witness import Witness
from tollgate_kit.event_log import Record
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_kit.tracing import NoTracing
from tollgate_rating import PriceBook, PriceTable
from tollgate_router.exchange.recorder import AttemptResult, Recorder, usage_fields

ORGANIZATION = "org"
FUNDS = 10**12
HOLD = 10**9
VERSION = SimpleNamespace(digest="version", price_table=PriceTable([BOOK]), model=lambda *_: None)
# What a model that has no price at first costs in the end.
LATER = PriceBook(name="public", effective_us=1, currency="USD", models={"later": {"input": "2", "output": "3"}})
_AGAIN = events.UsageRecorded(replay=True).SerializeToString()
_SEGMENT_BYTES = 2_000


class Slot:
    """A process with a spool: `kill` loses what it had not written, `start` is the next one in the same directory."""

    def __init__(self, directory, log, clock):
        self.directory, self._log, self._clock = directory, log, clock
        self.spool = None
        self.start()

    def start(self):
        """Adopts the directory; what is in it is queued again."""
        self.spool = Spool.open(self.directory, segment_bytes=_SEGMENT_BYTES)
        self.producer = MemoryProducer(self._log)
        self.publisher = Publisher(self.spool, self.producer, TOPIC, again=self._mark())
        self._recover()

    @property
    def alive(self):
        """Whether it runs."""
        return self.spool is not None

    def kill(self, *, torn=False):
        """Ends it as SIGKILL does. `torn`: the last frame that was being written is there in part."""
        os.close(self.spool._fd)
        os.close(self.spool._lock_fd)
        if torn:
            with self.spool._current.path.open("ab") as file:
                file.write(b"E\x40\x00\x00")
        self.spool = None

    async def publish(self, fault=""):
        """One turn of the publisher; with a fault, its first call to the log fails so."""
        self.producer.fault = fault if self.publisher.depth() else ""
        await self.publisher._send_all()

    def _mark(self):
        return _AGAIN

    def _recover(self):
        raise NotImplementedError


class RouterSlot(Slot):
    """A router: `unacknowledged` are events whose End edge has not acknowledged, by request and try."""

    def _recover(self):
        self.unacknowledged = {}
        self.recorder = Recorder(
            spool=self.spool,
            publisher=self.publisher,
            tracing=NoTracing(),
            random_source=random.Random(1),
            sample_ratio=0,
            slow_us=1 << 40,
        )
        self.recorder.publish_recovered()

    def finish(self, call, tried, tokens, attempts):
        """Records the attempts of a try, the last of which answered; nothing is on disk yet. Returns the charge."""
        opened = wire.Open(
            request_id=call.name,
            started_at_us=call.started_us,
            model=call.model,
            operation=wire.OPERATION_CHAT,
            tenant=wire.Tenant(organization_id=ORGANIZATION, project_id="project", api_key_id="key"),
            **{"try": tried},
        )
        recorded = []
        for number in range(1, attempts + 1):
            last = number == attempts
            units = {"input": 10, "output": tokens} if last else {}
            result = AttemptResult(
                target=None,
                number=number,
                final=last,
                outcome=wire.OUTCOME_OK if last else wire.OUTCOME_UPSTREAM_ERROR,
                upstream_status=200 if last else 500,
                error_kind=0,
                units=units,
                usage=usage_fields(units),
                estimated=False,
                ended_us=self._clock.now_us(),
                timings={"upstream_started_us": 0, "first_byte_us": 0, "total_us": 0},
                trace_kept=False,
            )
            made, charge = self.recorder.record(opened, VERSION, result)
            recorded.append(made)
        self.unacknowledged[call.name, tried] = recorded
        return charge.charge_pico

    def acknowledged(self, name, tried):
        """Edge's Ack has come."""
        for one in self.unacknowledged.pop((name, tried), ()):
            self.recorder.confirm(one)
        self.spool.flush()

    def lose_stream_of(self, name, tried):
        """One try ends on a stream that is no more."""
        for one in self.unacknowledged.pop((name, tried)):
            self.recorder.give_up(one)

    def lose_stream(self):
        """The stream to edge broke: no Ack comes any more."""
        for recorded in self.unacknowledged.values():
            for one in recorded:
                self.recorder.give_up(one)
        self.unacknowledged.clear()


class EdgeSlot(Slot):
    def _recover(self):
        self.witness = Witness(self.spool, self.publisher, self._clock)

    def _mark(self):
        return _AGAIN

    def testify(self, call, delivered):
        """Writes down what was delivered of a try that ended without End."""
        exchange = SimpleNamespace(
            principal=Principal(
                api_key_id="key",
                organization_id=ORGANIZATION,
                project_id="project",
                price_group="",
                route_group="",
                prepaid=True,
            ),
            face=OPENAI,
            hold_pico=0,
            marks=("203.0.113.0/24", 7),
            asked=SimpleNamespace(model=call.model, stream=True, likely=(), max_output_tokens=None, choices=1),
            body=b"",
            body_length=40,
            operation=wire.OPERATION_CHAT,
            request_id=call.name,
            tries=call.tried,
            started_us=call.started_us,
            trace_id="0" * 32,
            span_id="0" * 16,
        )
        self.witness.record(exchange, delivered, VERSION)


class GuardedConsumer(MemoryConsumer):
    """A consumer at each of whose calls a process may end or stand still."""

    def __init__(self, log, fuse):
        super().__init__(log, "billing", [TOPIC])
        self.fuse = fuse

    start = guarded(MemoryConsumer.start)
    commit = guarded(MemoryConsumer.commit)
    ends = guarded(MemoryConsumer.ends)

    @guarded
    async def poll(self, limit, wait_seconds, only=()):
        return await MemoryConsumer.poll(self, limit, 0, only)


# As many inserts may pass, and those of the step that is under way, while a process stands still for no longer.
STILL_INSERTS, STILL_SECONDS = 3, 10
# What one step inserts at most: two batches, an older one, and what is set aside of them.
_A_STEP = 3


class ModelWorld(World):
    """Billing's stores and a log with partitions. `build` changes what a process is made of: a broken build."""

    def __init__(self, build=None):
        # A window of few tokens, so that some are forgotten before they are needed.
        super().__init__(window=STILL_INSERTS + _A_STEP)
        self.started = 0
        self.log = MemoryLog(partitions=2, clock=self.clock)
        self.log.topic(TOPIC)
        self.prices.books[LATER.digest] = LATER
        self.build = build
        if build is not None:
            self.store = build.store(self.store)

    def new_consumer(self):
        made = GuardedConsumer(self.log, self.fuse)
        return self.build.consumer(made) if self.build is not None else made

    def new_process(self):
        """Returns another process, whose batches have another size: settings change, and what was begun does not."""
        self.started += 1
        self.limits = BatchLimits(events=(3, 2, 4)[self.started % 3], size_bytes=1 << 20, age_seconds=1.0)
        return Process(self)

    def new_record(self, **parts):
        return self.build.record(**parts) if self.build is not None else Overlapping(**parts)

    def now(self):
        """Returns what tells later how long somebody has stood still, and what was inserted meanwhile."""
        return self.store.inserts, self.clock.monotonic()

    def forgets_soon(self, since):
        """Whether the store is about to forget what was written since then, too soon for anybody to ask it."""
        inserts, at = since
        return self.store.inserts - inserts >= STILL_INSERTS and self.clock.monotonic() - at <= STILL_SECONDS

    def append(self, event, *, at_us=None):
        """Puts what billing sends into the log, in the partition of its request."""
        value = event if isinstance(event, bytes) else event.SerializeToString()
        key = events.UsageRecorded.FromString(value).request_id.encode()
        self.log.append(TOPIC, [Record(key, value)])

    async def sweep(self):
        """Compares wallets and looks at holds, as billing does once a minute. Raises Unavailable."""
        self.behind = self.unread()
        await self.process.keep.reconcile()

    def rated_later(self):
        """Returns the events that charge what the store has without a price at this moment."""
        corrected = {row["corrects_event_id"] for row in self.store.usage if row["kind"] == "adjustment"}
        price = LATER.price("later", "")
        found = []
        for row in self.store.usage:
            stands = row["kind"] == "usage" and row["final"] and not row["superseded"]
            if stands and row["unpriced"] and row["event_id"] not in corrected:
                named = {f"{name}_us" if name in TIMES else name: value for name, value in row.items()}
                found.append(rerated_event(named, rate_row(named, price, price, None)))
        return found

    def unread(self):
        """Whether a record is not committed yet."""
        committed = {number: self.log.committed.get(("billing", TOPIC, number), (0, "")) for number in (0, 1)}
        return any(
            committed[number] != (len(records), "") and (records or committed[number][1])
            for number, records in enumerate(self.log.topic(TOPIC))
        )

    async def step(self):
        """Steps billing, starting it when there is none; a crash leaves none. Nothing that is away is waited for."""
        try:
            if self.process is None:
                process = self.new_process()
                await process.keep.resume()
                self.process = process
            await self.process.consumer.step(_stopped())
        except Unavailable:
            return
        except Crash:
            self.crashes += 1
            self.process = None

    async def hang(self, calls):
        """Steps billing until it stands still at one of its next calls, and leaves it there.

        One that is gone is started first. Returns the gate that lets it go on and its task, or None when it came to
        the end of the step before. Raises Unavailable when it cannot start.
        """
        if self.process is None:
            process = self.new_process()
            await process.keep.resume()
            self.process = process
        gates = len(self.fuse.gates)
        self.fuse.pause = calls
        task = asyncio.ensure_future(self.process.consumer.step(_stopped()))
        while not task.done() and len(self.fuse.gates) == gates:
            await asyncio.wait({task}, timeout=0.0005)
        self.fuse.pause = None
        if task.done():
            task.result()
            return None
        self.process = None
        return self.fuse.gates[-1], task


def _stopped():
    stopped = asyncio.Event()
    stopped.set()
    return stopped
