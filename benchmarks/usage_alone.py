"""Booking what waits in a log: one billing process with Valkey and perhaps a broker beside it, and nothing else."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.events import EventSource, Publisher, Template, price_document
from benchmarks.processes import forget_peak, peak_bytes, processor_seconds, stop, thread_seconds
from benchmarks.results import Results
from benchmarks.usage_insert import without_fsync
from tollgate.billing.v1 import billing_pb2, billing_pb2_grpc
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_kit.event_log import new_producer
from tollgate_kit.grpc_io import new_channel

FUNDS_PICO = 10**18
PARTITIONS = 12
ROUNDS = 3
# Of a round: so many that most of a round is neither its begin nor its end, and every partition has a long backlog.
EVENTS = 300_000
# So many organizations with four projects' worth of models each: a batch moves as many wallets.
ORGANIZATIONS = 20
SECONDS = 60
WAIT_SECONDS = 600.0
STOP_SECONDS = 30
POLL_SECONDS = 0.3
COUNTS = re.compile(rb"^tollgate_billing_(events|batches)_total (\S+)$", re.MULTILINE)
TITLES = {
    "kafka": f"Apache Kafka, {PARTITIONS} partitions, broker beside it",
    "alone": "a log in a file",
    "unsynced": "a log in a file, into a usage store without fsync",
    "smaller": "a log in a file, in batches of 20,000 at most",
}
# What billing has set beside what is shipped.
SETTINGS = {"smaller": {"BATCH_MAX_EVENTS": "20000"}}


def run(directory: Path, results: Results, count: int, kind: str) -> None:
    """Books `count` events a round; `kind` is one of TITLES.

    Prints rows a second, and what each process takes of the processors a row.
    """
    # Tests start the same servers; here nothing is asserted of them.
    from tests.servers.valkey import RedisServer, valkey_binary

    (directory / "state").mkdir(parents=True)
    (directory / "valkey").mkdir()
    (directory / "state" / "config-version.json").write_bytes(price_document())
    if kind == "unsynced":
        asyncio.run(_unsynced(store_of(directory)))
    valkey = RedisServer(valkey_binary(), directory / "valkey")
    with _log(directory, kind) as (event_log, beside):
        valkey.start()
        address = f"unix:{directory}/billing.sock"
        process = start(directory, address, event_log, valkey.url, store_of(directory), **SETTINGS.get(kind, {}))
        pids = {"billing": process.pid, "valkey": valkey.pid, **beside}
        try:
            asyncio.run(_run(results, kind, directory, event_log, valkey.url, pids, count))
        finally:
            stop(process, STOP_SECONDS)
            valkey.stop()


def store_of(directory: Path) -> str:
    """Returns where an embedded usage store in `directory` is."""
    return f"chdb:///{directory}/usage"


async def _unsynced(dsn: str) -> None:
    """Makes the tables that billing will find, and has them not wait for the disk."""
    clickhouse = ClickHouse(dsn)
    await clickhouse.migrate()
    await without_fsync(clickhouse)
    await clickhouse.close()


@contextlib.contextmanager
def _log(directory: Path, kind: str) -> Iterator[tuple[str, Mapping[str, int]]]:
    if kind != "kafka":
        yield f"sqlite:///{directory}/events.sqlite", {}
        return
    from tests.servers.kafka import KafkaBroker

    broker = KafkaBroker(directory)
    broker.start()
    try:
        yield f"{broker.url}?partitions={PARTITIONS}", {"broker": broker.pid}
    finally:
        broker.stop()


def start(directory: Path, address: str, event_log: str, redis: str, dsn: str, **more: str) -> subprocess.Popen[bytes]:
    """Starts a billing process in `directory`; `more` are settings without their prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    settings = {
        "ADDRESS": address,
        "ADMIN_ADDRESS": f"unix:{directory}/admin.sock",
        "CONFIG_ADDRESSES": f"unix:{directory}/nobody.sock",
        "STATE_DIRECTORY": str(directory / "state"),
        "DATABASE_URL": f"sqlite:///{directory}/ledger.sqlite",
        "CLICKHOUSE_DSN": dsn,
        "REDIS_URL": redis,
        "EVENT_LOG_URL": event_log,
        **more,
    }
    environment = kept | {f"TOLLGATE_BILLING_{name}": value for name, value in settings.items()}
    with (directory / "billing.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "tollgate_billing"], env=environment, stderr=log)


async def _run(
    results: Results, kind: str, directory: Path, event_log: str, redis: str, pids: Mapping[str, int], count: int
) -> None:
    channel = new_channel(f"unix:{directory}/billing.sock")
    stub: Any = billing_pb2_grpc.BillingServiceStub(channel)  # type: ignore[no-untyped-call]
    source = EventSource(Template("org", "proj", "sha256:bench"), seed=2, organizations=ORGANIZATIONS)
    await fund(stub, source)
    before = 0
    print(f"\nBooking {ROUNDS} x {count} events of {ORGANIZATIONS} organizations that wait in {TITLES[kind]}:")
    for number in range(1, ROUNDS + 1):
        # So that all of it waits before billing sees any.
        os.kill(pids["billing"], signal.SIGSTOP)
        async with Publisher(new_producer(event_log), redis) as publisher:
            await publisher.publish(list(source.make(count, seconds=SECONDS)))
        used = {name: processor_seconds([pid]) for name, pid in pids.items()}
        threads = thread_seconds(pids["billing"])
        forget_peak(pids["billing"])
        began = time.monotonic()
        os.kill(pids["billing"], signal.SIGCONT)
        total = await asyncio.to_thread(_wait, directory / "admin.sock", number * count)
        rate = count / (time.monotonic() - began)
        batches, before = total - before, total
        micros = {name: (processor_seconds([pid]) - used[name]) * 1e6 / count for name, pid in pids.items()}
        inside = {
            name: (seconds - threads.get(name, 0.0)) * 1e6 / count
            for name, seconds in thread_seconds(pids["billing"]).items()
        }
        await check(stub, number * count)
        partitions = PARTITIONS if kind == "kafka" else 1
        peak = peak_bytes(pids["billing"])
        results.add(kind, events=count, partitions=partitions, batches=batches, rate=rate, peak=peak, **micros)
        print(f"  {rate:.0f} rows a second in {batches} batches; us of processor a row: {_listed(micros)}", flush=True)
        inside = {name: value for name, value in inside.items() if value >= 0.5}
        print(f"    billing by thread: {_listed(inside)}; its memory at most {peak / 1e6:.0f} MB")
    await channel.close()


async def fund(stub: Any, source: EventSource) -> None:
    """Gives each organization of a source more than it will spend, once billing is there."""
    for organization in source.organizations:
        grant = billing_pb2.GrantRequest(
            organization_id=organization,
            currency="USD",
            amount_pico=FUNDS_PICO,
            idempotency_key=f"bench-{organization}",
            reason="bench",
        )
        await stub.Grant(grant, timeout=WAIT_SECONDS, wait_for_ready=True)


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in sorted(values.items(), key=lambda one: -one[1]))


def _wait(admin: Path, events: int) -> int:
    """Waits until billing has committed so many events; returns in how many batches, all of its life.

    Its counters are asked: the status is a question to the store, which takes a tenth of what is measured.
    """
    last = time.monotonic() + WAIT_SECONDS
    while True:
        found = counts(admin)
        if found["events"] >= events:
            return found["batches"]
        if time.monotonic() > last:
            raise RuntimeError(f"billing did not book {events} events: {found}")
        time.sleep(POLL_SECONDS)


def counts(admin: Path) -> dict[str, int]:
    """Returns how many `events` and `batches` billing has booked since its start."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(admin))
        connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65_536), b""))
    return {name.decode(): int(float(value)) for name, value in COUNTS.findall(text)}


async def check(stub: Any, rows: int) -> None:
    """Raises RuntimeError unless billing has so many rows and agrees with all of them."""
    status = await stub.GetStatus(billing_pb2.GetStatusRequest(), timeout=60)
    if status.rows != rows or status.lag_ms or status.mismatches or status.poison:
        raise RuntimeError(f"billing does not agree with the {rows} events: {status}")
