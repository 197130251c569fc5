"""The use cases of media-jobs put together over fakes."""

import random

from prometheus_client import CollectorRegistry

from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import CountingIds
from tollgate_kit.tracing import NoTracing
from tollgate_media_jobs.adapters.configuration import load_abilities
from tollgate_media_jobs.domain.channels import Channel, Target, Version
from tollgate_media_jobs.domain.job import ImageRequest, Reported, Tenant
from tollgate_media_jobs.ports import Answer, Drawn
from tollgate_media_jobs.telemetry import Metrics
from tollgate_media_jobs.use_cases.create_job import CreateCommand, CreateJob
from tollgate_media_jobs.use_cases.ingest_job import IngestJob
from tollgate_media_jobs.use_cases.moves import Moves
from tollgate_media_jobs.use_cases.notices import Bell, Notices
from tollgate_media_jobs.use_cases.read_jobs import ReadJobs
from tollgate_media_jobs.use_cases.submit_job import SubmitJob
from tollgate_media_jobs.use_cases.work import KeepHolds, PublishOutbox, RunJob
from tollgate_rating import PriceBook, PriceTable

from .images import png
from .outside import Failpoints, FakeBlobs, FakeEventLog, FakeFetcher, FakeHolds, FakeProvider, FakeVersions
from .stores import FakeBooks, FakeJobs, FakeOutbox, FakeQueue, Memory

DOLLAR = 10**12
TENANT = Tenant("org_a", "proj_a", "key_a", "default", "default", "batch,search", "ada")
TRACEPARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
OWNER = "worker"
GRACE_US = 30_000_000


def book(**models):
    prices = {
        "gpt-image-1": {
            "input": "5",
            "image_output": "0",
            "output": "0",
            "image": "0.25",
            "image:1024x1024:low": "0.011",
        }
    }
    return PriceBook(name="public", effective_us=0, currency="USD", models=prices | models)


def version(*channels, books=None, model="gpt-image-1", kind="image", rates=()):
    """One level of channels by name, or of (name, weight)."""
    books = (book(),) if books is None else books
    targets = []
    for entry in channels or ("main",):
        name, weight = entry if isinstance(entry, tuple) else (entry, 1)
        targets.append(
            Target(Channel(name, "simulator", "http://127.0.0.1:9", private_network=True), f"up-{model}", weight)
        )
    return Version(
        digest="sha256:one",
        price_table=PriceTable(books, rates=rates),
        kinds={model: kind},
        books={one.digest: one for one in books},
        routes={("default", model): [targets]},
    )


def answer(*drawn, tokens=None, size="", quality=""):
    pictures = drawn or (png(),)
    made = [Drawn(url=one) if isinstance(one, str) else Drawn(data=one) for one in pictures]
    return Answer(200, made, Reported(tokens or {}, size, quality))


class Bench:
    def __init__(self, *, stop="", wallet=100 * DOLLAR):
        self.memory = Memory()
        self.clock, self.ids = ManualClock(), CountingIds()
        self.jobs, self.queue = FakeJobs(self.memory), FakeQueue(self.memory)
        self.outbox, self.books = FakeOutbox(self.memory), FakeBooks(self.memory)
        self.holds, self.blobs = FakeHolds(org_a=wallet), FakeBlobs()
        self.provider, self.fetcher = FakeProvider(), FakeFetcher()
        self.event_log, self.versions = FakeEventLog(), FakeVersions(version())
        self.notices, self.outbox_bell = Notices(), Bell()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.tracing = NoTracing()
        self.trace_sample_ratio = 1.0
        self.failpoints = Failpoints(stop)
        self.created = []
        self.build()

    def build(self):
        shared = {"clock": self.clock, "failpoints": self.failpoints}
        moves = Moves(
            jobs=self.jobs,
            blobs=self.blobs,
            holds=self.holds,
            notices=self.notices,
            outbox_bell=self.outbox_bell,
            metrics=self.metrics,
            tracing=self.tracing,
            trace_sample_ratio=self.trace_sample_ratio,
            **shared,
        )
        self.submit = SubmitJob(
            owner=OWNER,
            queue=self.queue,
            moves=moves,
            blobs=self.blobs,
            holds=self.holds,
            versions=self.versions,
            provider=self.provider,
            random_source=random.Random(7),
            max_attempts=3,
            unknown_grace_seconds=GRACE_US / 1e6,
            **shared,
        )
        self.ingest = IngestJob(
            owner=OWNER,
            jobs=self.jobs,
            queue=self.queue,
            books=self.books,
            versions=self.versions,
            moves=moves,
            blobs=self.blobs,
            fetcher=self.fetcher,
            ids=self.ids,
            metrics=self.metrics,
            max_tries=3,
            max_pixels=1_000_000,
            max_asset_bytes=1_000_000,
            **shared,
        )
        self.run = RunJob(self.jobs, self.submit, self.ingest)
        self.admit = CreateJob(
            blobs=self.blobs,
            jobs=self.jobs,
            books=self.books,
            holds=self.holds,
            versions=self.versions,
            abilities=load_abilities(),
            ids=self.ids,
            random_source=random.Random(8),
            deadline_seconds=1800,
            on_created=lambda: self.created.append(1),
            **shared,
        )
        self.keep_holds = KeepHolds(self.queue, self.holds, self.metrics)
        self.publish = PublishOutbox(
            outbox=self.outbox,
            event_log=self.event_log,
            bell=self.outbox_bell,
            tracing=self.tracing,
            random_source=random.Random(9),
            poll_seconds=1,
            lease_seconds=30,
            **shared,
        )
        self.read = ReadJobs(self.jobs, self.blobs, self.notices, self.clock, poll_seconds=60, max_wait_seconds=600)

    async def create(self, command):
        """Returns the job, of a command that no limit refuses."""
        return (await self.admit(command)).job

    def restart(self):
        """What a new process finds: the stores, and nothing of what was in memory."""
        self.failpoints = Failpoints()
        self.build()

    async def work(self):
        """Takes what is due and runs it, once."""
        now = self.clock.now_us()
        claimed = await self.queue.claim(OWNER, 100, now, now + 15_000_000)
        for job in claimed:
            await self.run(job)
        return len(claimed)

    def job(self, job_id="job_1"):
        return self.memory.jobs[job_id]


def command(**changes):
    values = {
        "tenant": TENANT,
        "model": "gpt-image-1",
        "image": ImageRequest("a red fox", "1024x1024", "low"),
        "request_id": "req_1",
        "traceparent": TRACEPARENT,
    }
    return CreateCommand(**(values | changes))
