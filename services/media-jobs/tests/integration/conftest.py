"""A provider on loopback, and media-jobs as a process of its own."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import grpc
import pytest
from media_jobs_fakes.provider_server import ProviderServer

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.media.v1 import media_pb2 as media
from tollgate.media.v1 import media_pb2_grpc
from tollgate_holds.holds import Holds
from tollgate_kit.event_log import new_consumer
from tollgate_kit.grpc_io import new_channel
from tollgate_resources import Channel, Declared, PriceBook, compile_version, load_catalogue

DOLLAR = 10**12
PATIENCE_SECONDS = 180
# Not of the catalogue: an operator's own model, priced by the picture in a book of their own.
MODEL = "our-painter"
PRICES = PriceBook(
    name="public",
    effective="2025-01-01T00:00:00Z",
    currency="USD",
    models={MODEL: {"input": "5", "image": "0.25", "image:1024x1024:low": "0.011"}},
)
TENANT = wire.Tenant(
    organization_id="org_a", project_id="proj_a", api_key_id="key_a", price_group="default", route_group="default"
)
TRACEPARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
def provider():
    server = ProviderServer()
    server.start()
    yield server
    server.stop()


class Process:
    """media-jobs over a directory, restarted at will; the configuration comes from its copy on disk."""

    def __init__(self, directory, provider, redis_url, database_url, socket_directory):
        self.directory = directory
        self.address = f"unix:{socket_directory}/media.sock"
        self.log = directory / "events.sqlite"
        self.environment = {
            "ADDRESS": self.address,
            "CONFIG_ADDRESSES": f"unix:{socket_directory}/nobody.sock",
            "STATE_DIRECTORY": str(directory / "state"),
            "DATABASE_URL": database_url or f"sqlite:///{directory}/media.sqlite",
            "REDIS_URL": redis_url,
            "EVENT_LOG_URL": f"sqlite:///{self.log}",
            "ASSET_STORE_URL": f"file://{directory}/assets",
            "IDLE_POLL_SECONDS": "0.1",
            "LEASE_SECONDS": "0.6",
            "UNKNOWN_GRACE_SECONDS": "0.2",
            "ANSWER_TIMEOUT_SECONDS": "20",
        }
        channel = Channel(
            name="main", provider="simulator", base_url=provider.base_url, models=[MODEL], private_network=True
        )
        (directory / "state").mkdir()
        document = compile_version(Declared(channels=(channel,), price_books=(PRICES,)), load_catalogue())
        (directory / "state" / "config-version.json").write_bytes(document)
        self.child = None
        self.channel = None

    async def start(self, **settings):
        environment = {f"TOLLGATE_MEDIA_JOBS_{name}": value for name, value in self.environment.items()}
        environment |= {f"TOLLGATE_MEDIA_JOBS_{name.upper()}": str(value) for name, value in settings.items()}
        with (self.directory / "media-jobs.log").open("ab") as log:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tollgate_media_jobs", env=os.environ | environment, stderr=log
            )
        self.channel = new_channel(self.address)
        await asyncio.wait_for(self.channel.channel_ready(), PATIENCE_SECONDS)
        self.stub = media_pb2_grpc.MediaServiceStub(self.channel)

    async def ended(self):
        """Waits until the process has ended by itself; returns its code."""
        code = await asyncio.wait_for(self.child.wait(), PATIENCE_SECONDS)
        await self.channel.close()
        return code

    async def kill(self):
        self.child.kill()
        await self.ended()

    async def stop(self):
        if self.child is not None and self.child.returncode is None:
            self.child.send_signal(signal.SIGTERM)
            assert await self.ended() == 0, self.text()

    def text(self):
        return (self.directory / "media-jobs.log").read_text()

    async def create(self, prompt, request_id="req_1", **changes):
        image = media.ImageParameters(prompt=prompt, size="1024x1024", quality="low", count=changes.pop("count", 1))
        values = {"tenant": TENANT, "kind": media.JOB_KIND_TEXT_TO_IMAGE, "model": MODEL, "image": image}
        request = media.CreateJobRequest(request_id=request_id, traceparent=TRACEPARENT, **(values | changes))
        return (await self.stub.CreateJob(request)).job

    async def create_unheard(self, prompt):
        """Creates a job with a process that may die before it answers."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self.create(prompt)

    async def wait(self, job_id, seconds=PATIENCE_SECONDS):
        request = media.WaitJobRequest(
            organization_id="org_a", project_id="proj_a", job_id=job_id, timeout_ms=seconds * 1000
        )
        return (await self.stub.WaitJob(request)).job

    async def jobs(self):
        return (await self.stub.ListJobs(media.ListJobsRequest(organization_id="org_a", project_id="proj_a"))).jobs

    async def read(self, asset_id, organization_id="org_a", project_id="proj_a"):
        request = media.ReadAssetRequest(organization_id=organization_id, project_id=project_id, asset_id=asset_id)
        return [reply async for reply in self.stub.ReadAsset(request)]

    async def events(self, count):
        """Waits until the log has `count` usage events; returns what it has by then."""
        consumer = new_consumer(f"sqlite:///{self.log}", "test", ["usage.recorded.v1"])
        await consumer.start()
        found = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < count:
                found += await consumer.poll(100, 1)
        found += await consumer.poll(100, 0.3)
        await consumer.close()
        return [events.UsageRecorded.FromString(record.value) for record in found]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    return "" if request.param == "sqlite" else request.getfixturevalue("postgresql").new_database("media")


@pytest.fixture
async def holds(valkey):
    made = Holds(valkey.url)
    await made.start()
    assert await made.wait_ready(60)
    await made.pipe.call("FLUSHALL")
    await made.rebuild("org_a", 100 * DOLLAR)
    yield made
    await made.close()


@pytest.fixture
async def media_jobs(tmp_path, provider, valkey, holds, database_url):
    with tempfile.TemporaryDirectory(prefix="tgm-") as sockets:
        process = Process(tmp_path, provider, valkey.url, database_url, Path(sockets))
        yield process
        await process.stop()
        if process.child is not None and process.child.returncode is None:
            await process.kill()
