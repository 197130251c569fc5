"""Booking from Apache Kafka: one billing process with a real broker and Valkey beside it, and nothing else."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.events import EventSource, Publisher, Template, price_document
from benchmarks.processes import processor_seconds, stop
from benchmarks.results import Results
from tollgate.billing.v1 import billing_pb2, billing_pb2_grpc
from tollgate_kit.event_log import new_producer
from tollgate_kit.grpc_io import new_channel

FUNDS_PICO = 10**18
PARTITIONS = 12
ROUNDS = 2
WAIT_SECONDS = 600.0
STOP_SECONDS = 30


def run(directory: Path, results: Results, events: int) -> None:
    """Prints rows a second and what each process takes of the processors a row."""
    # Tests start the same servers; here nothing is asserted of them.
    from tests.servers.kafka import KafkaBroker
    from tests.servers.valkey import RedisServer, valkey_binary

    (directory / "state").mkdir(parents=True)
    (directory / "valkey").mkdir()
    (directory / "state" / "config-version.json").write_bytes(price_document())
    broker, valkey = KafkaBroker(directory), RedisServer(valkey_binary(), directory / "valkey")
    broker.start()
    valkey.start()
    socket = f"unix:{directory}/billing.sock"
    process = _start(directory, socket, f"{broker.url}?partitions={PARTITIONS}", valkey.url)
    pids = {"billing": process.pid, "broker": broker.pid, "valkey": valkey.pid}
    try:
        asyncio.run(_run(results, socket, f"{broker.url}?partitions={PARTITIONS}", valkey.url, pids, events // ROUNDS))
    finally:
        stop(process, STOP_SECONDS)
        valkey.stop()
        broker.stop()


def _start(directory: Path, socket: str, event_log: str, redis: str) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOLLGATE_", "OTEL_"))}
    settings = {
        "ADDRESS": socket,
        "ADMIN_ADDRESS": f"unix:{directory}/admin.sock",
        "CONFIG_ADDRESSES": f"unix:{directory}/nobody.sock",
        "STATE_DIRECTORY": str(directory / "state"),
        "DATABASE_URL": f"sqlite:///{directory}/ledger.sqlite",
        "CLICKHOUSE_DSN": f"chdb:///{directory}/usage",
        "REDIS_URL": redis,
        "EVENT_LOG_URL": event_log,
    }
    environment = kept | {f"TOLLGATE_BILLING_{name}": value for name, value in settings.items()}
    with (directory / "billing.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "tollgate_billing"], env=environment, stderr=log)


async def _run(results: Results, socket: str, event_log: str, redis: str, pids: dict[str, int], count: int) -> None:
    channel = new_channel(socket)
    stub: Any = billing_pb2_grpc.BillingServiceStub(channel)  # type: ignore[no-untyped-call]
    grant = billing_pb2.GrantRequest(
        organization_id="org", currency="USD", amount_pico=FUNDS_PICO, idempotency_key="bench", reason="bench"
    )
    await stub.Grant(grant, timeout=WAIT_SECONDS, wait_for_ready=True)
    source = EventSource(Template("org", "proj", "sha256:bench"), seed=2)
    print(f"\nBooking {ROUNDS} x {count} events that wait in Apache Kafka, {PARTITIONS} partitions, broker beside it:")
    for number in range(1, ROUNDS + 1):
        # So that all of it waits before billing sees any.
        os.kill(pids["billing"], signal.SIGSTOP)
        async with Publisher(new_producer(event_log), redis) as publisher:
            await publisher.publish(list(source.make(count, seconds=60)))
        used = {kind: processor_seconds([pid]) for kind, pid in pids.items()}
        began = time.monotonic()
        os.kill(pids["billing"], signal.SIGCONT)
        await _booked(stub, number * count)
        rate = count / (time.monotonic() - began)
        micros = {kind: (processor_seconds([pid]) - used[kind]) * 1e6 / count for kind, pid in pids.items()}
        results.add("kafka", events=count, partitions=PARTITIONS, rate=rate, **micros)
        each = ", ".join(f"{kind} {value:.1f}" for kind, value in micros.items())
        print(f"  {rate:.0f} rows a second; us of processor a row: {each}", flush=True)
    await channel.close()


async def _booked(stub: Any, rows: int) -> None:
    last = time.monotonic() + WAIT_SECONDS
    while True:
        status = await stub.GetStatus(billing_pb2.GetStatusRequest(), timeout=60)
        if status.mismatches or status.poison:
            raise RuntimeError(f"billing does not agree with the events: {status}")
        if status.rows >= rows and not status.lag_ms:
            return
        if time.monotonic() > last:
            raise RuntimeError(f"billing did not book {rows} rows: {status}")
        await asyncio.sleep(0.05)
