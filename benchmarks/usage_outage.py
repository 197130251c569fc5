"""A server behind billing is killed and comes back while events keep coming: how soon and how fast booking goes on.

The usage store and the broker are killed in turn, for as long as AWAY_SECONDS. Events come at a fixed rate all the
while; those that the broker does not take wait with who sends them, as in a spool, and are sent in order when it does.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.events import A_CALL, TOPIC, EventSource, Publisher, Template, price_document
from benchmarks.processes import forget_peak, peak_bytes, stop
from benchmarks.results import Results
from benchmarks.usage_alone import ORGANIZATIONS, PARTITIONS, STOP_SECONDS, check, counts, fund, start
from tollgate.billing.v1 import billing_pb2_grpc
from tollgate_kit.event_log import EventLogUnavailable, EventProducer, Record, new_producer
from tollgate_kit.grpc_io import new_channel

AWAY_SECONDS = 45
# How many come while a server is away.
EVENTS = AWAY_SECONDS * 2_000
TICK_SECONDS = 0.1
LOOK_SECONDS = 0.05
# Somebody who is up to date is this far behind what arrives: a batch closes by age within this time.
BEHIND_SECONDS = 3.0
# Before the first accident and between two.
STEADY_SECONDS = 10.0
WAIT_SECONDS = 600.0
RETRY_SECONDS = 0.2


@dataclass(slots=True)
class Feed:
    """Makes `rate` events a second, whose money is held and settled, and appends them to the log in their order."""

    source: EventSource
    publisher: Publisher
    producer: EventProducer
    rate: float
    made: int = 0
    waiting: list[Record] = field(default_factory=list)
    done: bool = False
    _all_made: bool = False

    async def make(self) -> None:
        """Goes on until it is `done`. What a busy machine has delayed comes at once, so that the rate is kept."""
        began = time.monotonic()
        while not self.done:
            due = int((time.monotonic() - began) * self.rate) - self.made
            if due > 0:
                some = list(self.source.make(min(due, A_CALL), seconds=TICK_SECONDS))
                await self.publisher.settle(some)
                self.waiting += [Record(event.request_id.encode(), event.SerializeToString()) for event, _ in some]
                self.made += len(some)
            if due <= A_CALL:
                await asyncio.sleep(TICK_SECONDS)
        self._all_made = True

    async def send(self) -> None:
        """Goes on until all are made and nothing waits."""
        while self.waiting or not self._all_made:
            part = self.waiting[:A_CALL]
            if not part:
                await asyncio.sleep(TICK_SECONDS / 2)
                continue
            try:
                await self.producer.send(TOPIC, part)
            except EventLogUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                del self.waiting[: len(part)]


def run(directory: Path, results: Results, events: int) -> None:
    """Has `events` come while a server is away; prints how booking went on with it."""
    # Tests start the same servers; here nothing is asserted of them.
    from tests.servers.clickhouse import ClickHouseServer
    from tests.servers.kafka import KafkaBroker
    from tests.servers.valkey import RedisServer, valkey_binary

    for name in ("state", "valkey", "kafka", "clickhouse"):
        (directory / name).mkdir(parents=True)
    (directory / "state" / "config-version.json").write_bytes(price_document())
    valkey = RedisServer(valkey_binary(), directory / "valkey")
    servers = {"usage store": ClickHouseServer(directory / "clickhouse"), "broker": KafkaBroker(directory / "kafka")}
    with contextlib.ExitStack() as stack:
        for server in (valkey, *servers.values()):
            server.start()
            stack.callback(server.stop)
        event_log = f"{servers['broker'].url}?partitions={PARTITIONS}"
        address = f"unix:{directory}/billing.sock"
        process = start(directory, address, event_log, valkey.url, servers["usage store"].dsn)
        stack.callback(stop, process, STOP_SECONDS)
        billing = Billing(directory / "admin.sock", process.pid)
        asyncio.run(_run(results, billing, servers, address, event_log, valkey.url, events / AWAY_SECONDS))


@dataclass(frozen=True, slots=True)
class Billing:
    """The process that is looked at."""

    admin: Path
    pid: int

    async def booked(self) -> int:
        """Returns how many events it has committed."""
        return (await asyncio.to_thread(counts, self.admin))["events"]

    async def until(self, done: Callable[[int], bool]) -> tuple[float, int]:
        """Waits until `done` of the events that are booked; returns when that was seen, and how many they were."""
        last = time.monotonic() + WAIT_SECONDS
        while not done(booked := await self.booked()):
            if time.monotonic() > last:
                raise RuntimeError(f"billing has booked {booked} events and no more")
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic(), booked


async def _run(
    results: Results, billing: Billing, servers: Any, address: str, event_log: str, redis: str, rate: float
) -> None:
    channel = new_channel(address)
    stub: Any = billing_pb2_grpc.BillingServiceStub(channel)  # type: ignore[no-untyped-call]
    source = EventSource(Template("org", "proj", "sha256:bench"), seed=3, organizations=ORGANIZATIONS)
    await fund(stub, source)
    print(f"\n{rate:.0f} events a second, and a server is killed for {AWAY_SECONDS} s:", flush=True)
    async with Publisher(new_producer(event_log), redis) as publisher:
        feed = Feed(source, publisher, new_producer(event_log), rate)
        async with _coming(feed):
            for name, server in servers.items():
                await asyncio.sleep(STEADY_SECONDS)
                row = await _outage(billing, feed, server)
                _print(results.add("outage", server=name, **row))
    await billing.until(lambda booked: booked == feed.made)
    await check(stub, feed.made)
    await channel.close()


@contextlib.asynccontextmanager
async def _coming(feed: Feed) -> AsyncIterator[None]:
    """Has events come while it is open; at the end all that were made are in the log."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed.make())
        tasks.create_task(feed.send())
        yield
        feed.done = True
    await feed.producer.close()


async def _outage(billing: Billing, feed: Feed, server: Any) -> dict[str, float]:
    """Kills a server and starts it again. Seconds count from when it answers, which it says by itself."""
    behind = math.ceil(feed.rate * BEHIND_SECONDS)
    await billing.until(lambda booked: booked >= feed.made - behind)
    forget_peak(billing.pid)
    before = peak_bytes(billing.pid)
    server.kill()
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(server.start)
    back, made, found = time.monotonic(), feed.made, await billing.booked()
    first, booked = await billing.until(lambda booked: booked > found)
    # What waited when it was back is booked, and so is all that came since, but for what is always under way.
    drained, last = await billing.until(lambda booked: booked >= feed.made - behind)
    arriving = (feed.made - made) / (time.monotonic() - back)
    return {
        "away_s": AWAY_SECONDS,
        "arriving": arriving,
        "waiting": made - found,
        "first_s": first - back,
        "drained_s": drained - back,
        # Of what is booked after the first commit, unless that was all.
        "drain": (last - booked) / (drained - first) if drained > first else (last - found) / (drained - back),
        "before": before,
        "peak": peak_bytes(billing.pid),
    }


def _print(row: dict[str, Any]) -> None:
    print(
        f"  {row['server']}: {row['waiting']} waited when it was back; the first commit after {row['first_s']:.1f} s,"
        f" all booked after {row['drained_s']:.1f} s\n    {row['drain']:.0f} rows a second meanwhile,"
        f" {row['drain'] / row['arriving']:.1f} times what arrived ({row['arriving']:.0f});"
        f" memory {row['before'] / 1e6:.0f} MB before, {row['peak'] / 1e6:.0f} MB at most",
        flush=True,
    )
