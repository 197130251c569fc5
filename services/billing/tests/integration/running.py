"""A billing process of its own, started as a supervisor would, with the servers of a profile behind it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
from services.billing.tests.fakes.events import BOOK
from services.billing.tests.integration.databases import new_clickhouse_database

from tollgate.billing.v1 import billing_pb2, billing_pb2_grpc, dead_letters_pb2_grpc
from tollgate_kit.event_log import Record, new_producer
from tollgate_kit.grpc_io import new_channel
from tollgate_resources import digest
from tollgate_resources.models import PriceBook as DeclaredBook

TOPIC = "usage.recorded.v1"


def version_document():
    """Returns a configuration version that has the events' price book, and its digest."""
    book = DeclaredBook.model_validate(
        {
            "name": "public",
            "effective": "1970-01-01T00:00:00Z",
            "currency": "USD",
            "models": {
                "m": {"input": "1", "output": "10"},
                "picture": {"image": "0.02", "image:1024x1024": "0.04"},
            },
        }
    )
    assert book.rated().digest == BOOK.digest
    plain = {"price_books": [book.model_dump(mode="json", exclude_none=True)]}
    document = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    return document, digest(document)


class BillingProcess:
    """`servers` are the variables that say where SQL, Redis, the log and the usage store are."""

    def __init__(self, directory, servers):
        self.directory = directory
        self.socket = f"unix:/tmp/tg-{uuid.uuid4().hex[:10]}.sock"
        self.admin = f"unix:/tmp/tg-{uuid.uuid4().hex[:10]}.sock"
        self.servers = servers
        self.program = ("-m", "tollgate_billing")
        self.process = None
        self.starts = 0
        state = directory / "state"
        state.mkdir(exist_ok=True)
        (state / "config-version.json").write_bytes(version_document()[0])

    def start(self, failpoint=""):
        self.starts += 1
        environment = {
            **os.environ,
            "TOLLGATE_BILLING_ADDRESS": self.socket,
            "TOLLGATE_BILLING_ADMIN_ADDRESS": self.admin,
            "TOLLGATE_BILLING_CONFIG_ADDRESSES": f"unix:{self.directory}/nobody.sock",
            "TOLLGATE_BILLING_STATE_DIRECTORY": str(self.directory / "state"),
            "TOLLGATE_BILLING_BATCH_AGE_SECONDS": "0.1",
            "TOLLGATE_BILLING_BATCH_MAX_EVENTS": "40",
            # Sums by minute of old events are compared too.
            "TOLLGATE_BILLING_USAGE_MINUTE_DAYS": "0",
            "TOLLGATE_BILLING_FAILPOINT": failpoint,
            **self.servers,
        }
        log = (self.directory / "billing.log").open("ab")
        self.process = subprocess.Popen([sys.executable, *self.program], env=environment, stderr=log)
        log.close()

    async def died(self, seconds=180):
        """Waits until the process has ended; returns its exit status."""
        return await asyncio.to_thread(self.process.wait, seconds)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def stands_still(self, seconds=180):
        """Waits until the process has stopped itself at a failpoint, and not ended."""
        async with asyncio.timeout(seconds):
            while "\nState:\tT" not in Path(f"/proc/{self.process.pid}/status").read_text():  # noqa: ASYNC240
                assert self.process.poll() is None, self.log()[-2000:]
                await asyncio.sleep(0.05)

    def stand_still(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        """Lets a process run that stands still."""
        self.process.send_signal(signal.SIGCONT)

    async def says(self, words, times=1, seconds=180):
        """Waits until the process has logged words so many times."""
        async with asyncio.timeout(seconds):
            while self.log().count(words) < times:  # noqa: ASYNC110 - a file.
                await asyncio.sleep(0.05)

    def stop(self):
        """Ends the process in good order; returns its exit status."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.terminate()
        # Draining takes up to 20 s, and leaving what does not answer a little more.
        return self.process.wait(90)

    def log(self):
        return (self.directory / "billing.log").read_text()

    def clean(self):
        if self.process is not None:
            self.go_on()
        try:
            self.stop()
        finally:
            if self.process is not None:
                self.kill()
        for address in (self.socket, self.admin):
            path = address.removeprefix("unix:")
            if os.path.exists(path):  # noqa: PTH110 - a socket's name.
                os.unlink(path)  # noqa: PTH108

    def client(self):
        return BillingClient(self)


def servers_of(profile, request, directory, valkey):
    """Returns the settings of a profile's servers: "embedded", or "cluster" with PostgreSQL, Kafka and ClickHouse."""
    if profile == "embedded":
        return {
            "TOLLGATE_BILLING_DATABASE_URL": f"sqlite:////{directory}/ledger.sqlite",
            "TOLLGATE_BILLING_CLICKHOUSE_DSN": f"chdb:///{directory}/usage",
            "TOLLGATE_BILLING_EVENT_LOG_URL": f"sqlite:///{directory}/events.sqlite",
            "TOLLGATE_BILLING_REDIS_URL": valkey.url,
        }
    return {
        "TOLLGATE_BILLING_DATABASE_URL": request.getfixturevalue("postgresql").new_database("ledger"),
        "TOLLGATE_BILLING_CLICKHOUSE_DSN": new_clickhouse_database(request.getfixturevalue("clickhouse_server")),
        "TOLLGATE_BILLING_EVENT_LOG_URL": request.getfixturevalue("fresh_kafka").url + "?partitions=2",
        "TOLLGATE_BILLING_REDIS_URL": valkey.url,
    }


class BillingClient:
    """Calls the process, waiting for it to come up."""

    def __init__(self, process):
        self._process = process
        self._channel = new_channel(process.socket)
        self.stub = billing_pb2_grpc.BillingServiceStub(self._channel)
        self.letters = dead_letters_pb2_grpc.DeadLetterServiceStub(self._channel)

    async def close(self):
        await self._channel.close()

    async def call(self, name, request, seconds=180):
        """Repeats a call until it is answered."""
        from grpc import aio

        deadline = time.monotonic() + seconds
        while True:
            try:
                return await getattr(self.stub, name)(request, timeout=60)
            except aio.AioRpcError:
                if time.monotonic() > deadline or self._process.process.poll() is not None:
                    raise
                await asyncio.sleep(0.1)

    async def grant(self, amount, key="first", organization="org"):
        request = billing_pb2.GrantRequest(
            organization_id=organization, currency="USD", amount_pico=amount, idempotency_key=key, reason="test"
        )
        return await self.call("Grant", request)

    async def booked(self, rows, seconds=180):
        """Waits until all is booked and there are `rows` rows."""
        deadline = time.monotonic() + seconds
        while True:
            status = await self.call("GetStatus", billing_pb2.GetStatusRequest())
            if status.rows >= rows and not status.lag_events and not status.lag_ms:
                return status
            assert time.monotonic() < deadline, f"{status} {self._process.log()[-2000:]}"
            await asyncio.sleep(0.1)

    async def unready(self, words, seconds=180):
        """Waits until /readyz says that the process is not ready, with these words in its reason; returns it."""
        return await self._readiness(503, words, seconds)

    async def ready(self, seconds=180):
        """Waits until /readyz says that the process is ready: it holds a partition, and nothing is away."""
        await self._readiness(200, "", seconds)

    async def _readiness(self, status, words, seconds):
        transport = httpx.AsyncHTTPTransport(uds=self._process.admin.removeprefix("unix:"))
        deadline = time.monotonic() + seconds
        said = ""
        async with httpx.AsyncClient(transport=transport, base_url="http://billing") as admin:
            while True:
                # It may be starting.
                with contextlib.suppress(httpx.TransportError):
                    reply = await admin.get("/readyz")
                    said = reply.text
                    if reply.status_code == status and words in said:
                        return said
                assert time.monotonic() < deadline, f"{said} {self._process.log()[-2000:]}"
                await asyncio.sleep(0.1)

    async def balance(self, organization="org"):
        return await self.call("GetBalance", billing_pb2.GetBalanceRequest(organization_id=organization))

    async def sql(self, text):
        """Returns the rows of a SELECT."""
        reply = await self.call("RunSql", billing_pb2.RunSqlRequest(sql=text))
        return [json.loads(row) for row in reply.rows_json]

    async def total(self):
        return (await self.call("QueryUsage", billing_pb2.QueryUsageRequest())).total


async def send(url, events):
    """Appends events or bytes to the log."""
    producer = new_producer(url)
    records = [
        Record(b"key", event)
        if isinstance(event, bytes)
        else Record(event.request_id.encode(), event.SerializeToString())
        for event in events
    ]
    await producer.send(TOPIC, records)
    await producer.close()
