"""Composition root of media-jobs: the only file that builds adapters and wires them."""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Mapping

from tollgate.media.v1 import media_pb2_grpc
from tollgate_holds.holds import Holds as RedisHolds
from tollgate_kit.admin import AdminServer
from tollgate_kit.clock import SystemClock
from tollgate_kit.config_client import ConfigClient
from tollgate_kit.event_log import new_producer
from tollgate_kit.grpc_io import new_server
from tollgate_kit.ids import RandomIds
from tollgate_kit.lifecycle import Lifecycle, forever, stop_on_signals
from tollgate_kit.metrics import new_registry
from tollgate_kit.process_metrics import LoopMeasures
from tollgate_kit.tracing import new_tracing
from tollgate_media_jobs.adapters.assets import ObjectBlobs, new_store
from tollgate_media_jobs.adapters.configuration import VersionHolder, load_abilities
from tollgate_media_jobs.adapters.credentials import Credentials
from tollgate_media_jobs.adapters.egress import EgressClients
from tollgate_media_jobs.adapters.event_log import ProducerEventLog
from tollgate_media_jobs.adapters.failpoints import KillingFailpoint, NoFailpoints
from tollgate_media_jobs.adapters.holds import WalletHolds
from tollgate_media_jobs.adapters.providers.fetcher import HttpFetcher
from tollgate_media_jobs.adapters.providers.openai_images import OpenAIImages
from tollgate_media_jobs.adapters.sql.database import Database
from tollgate_media_jobs.adapters.sql.jobs import SqlJobs
from tollgate_media_jobs.adapters.sql.outbox import SqlBooks, SqlOutbox
from tollgate_media_jobs.adapters.sql.queue import SqlQueue
from tollgate_media_jobs.api.service import MediaService
from tollgate_media_jobs.domain.states import TERMINAL, JobState
from tollgate_media_jobs.errors import StoreUnavailable
from tollgate_media_jobs.ports import Failpoints
from tollgate_media_jobs.settings import MediaJobsSettings
from tollgate_media_jobs.telemetry import LOOP_FAMILIES, SERVICE, Metrics
from tollgate_media_jobs.use_cases.create_job import CreateJob
from tollgate_media_jobs.use_cases.ingest_job import IngestJob
from tollgate_media_jobs.use_cases.moves import Moves
from tollgate_media_jobs.use_cases.notices import Bell, Notices
from tollgate_media_jobs.use_cases.read_jobs import ReadJobs
from tollgate_media_jobs.use_cases.submit_job import SubmitJob
from tollgate_media_jobs.use_cases.work import KeepHolds, PublishOutbox, RunJob, Worker

log = logging.getLogger(__name__)

_GAUGE_SECONDS = 5.0


class MediaJobs:
    """The parts of a running process."""

    def __init__(self, settings: MediaJobsSettings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        self._schema_ready = False
        self.measures = LoopMeasures(SERVICE, self.lifecycle, lambda: self.config.digest)
        registry = new_registry(LOOP_FAMILIES, self.measures.samples)
        self.metrics = Metrics(registry)
        self.admin = AdminServer(settings.admin_address, self.lifecycle, registry, lambda: self.config.digest)
        self.tracing = new_tracing("media-jobs", slot=settings.slot, environment=environment)
        self.database = Database(settings.database_url.get_secret_value())
        self.redis = RedisHolds(settings.redis_url.get_secret_value())
        self.producer = new_producer(settings.event_log_url)
        self.versions = VersionHolder()
        self.config = ConfigClient(settings.config_addresses, settings.state_directory, self._apply)
        self.clients = EgressClients(
            settings.ports,
            ca_file=settings.ca_file,
            connect_seconds=settings.connect_timeout_seconds,
            total_seconds=max(settings.answer_timeout_seconds, settings.fetch_timeout_seconds),
        )
        self.work_bell, self.outbox_bell = Bell(), Bell()
        self._wire(settings, environment)
        self.lifecycle.add_blocker(self.config.missing)
        self.lifecycle.add_blocker(lambda: None if self._schema_ready else "the database cannot be reached")
        self.lifecycle.add_blocker(lambda: None if self.redis.ready else "Redis cannot be reached")

    def _wire(self, settings: MediaJobsSettings, environment: Mapping[str, str]) -> None:
        self.clock, self.ids = SystemClock(), RandomIds()
        self.random = random.Random()  # noqa: S311 - spreads load, keeps no secret.
        self.owner = f"{settings.slot}-{self.ids.new('worker')}"
        self.failpoints: Failpoints = KillingFailpoint(settings.failpoint) if settings.failpoint else NoFailpoints()
        self.jobs, self.queue = SqlJobs(self.database), SqlQueue(self.database)
        self.outbox, self.books = SqlOutbox(self.database), SqlBooks(self.database)
        self.blobs = ObjectBlobs(new_store(settings.asset_store_url))
        self.holds = WalletHolds(self.redis, settings.hold_seconds, settings.slot_ttl_seconds)
        self.notices = Notices()
        self.moves = Moves(
            jobs=self.jobs,
            blobs=self.blobs,
            holds=self.holds,
            clock=self.clock,
            notices=self.notices,
            outbox_bell=self.outbox_bell,
            metrics=self.metrics,
            tracing=self.tracing,
            trace_sample_ratio=settings.trace_sample_ratio,
            failpoints=self.failpoints,
        )
        self.service = self._service(settings)
        self._loops(settings, RunJob(self.jobs, self._submit(settings, environment), self._ingest(settings)))

    def _submit(self, settings: MediaJobsSettings, environment: Mapping[str, str]) -> SubmitJob:
        provider = OpenAIImages(
            self.clients,
            Credentials(environment, self.random),
            max_answer_bytes=settings.max_answer_bytes,
            total_seconds=settings.answer_timeout_seconds,
        )
        return SubmitJob(
            owner=self.owner,
            queue=self.queue,
            moves=self.moves,
            blobs=self.blobs,
            holds=self.holds,
            versions=self.versions,
            provider=provider,
            clock=self.clock,
            random_source=self.random,
            failpoints=self.failpoints,
            max_attempts=settings.max_attempts,
            unknown_grace_seconds=settings.unknown_grace_seconds,
        )

    def _ingest(self, settings: MediaJobsSettings) -> IngestJob:
        fetcher = HttpFetcher(
            self.clients, max_bytes=settings.max_asset_bytes, total_seconds=settings.fetch_timeout_seconds
        )
        return IngestJob(
            owner=self.owner,
            jobs=self.jobs,
            queue=self.queue,
            books=self.books,
            versions=self.versions,
            moves=self.moves,
            blobs=self.blobs,
            fetcher=fetcher,
            clock=self.clock,
            ids=self.ids,
            metrics=self.metrics,
            failpoints=self.failpoints,
            max_tries=settings.ingest_tries,
            max_pixels=settings.max_pixels,
            max_asset_bytes=settings.max_asset_bytes,
        )

    def _service(self, settings: MediaJobsSettings) -> MediaService:
        create = CreateJob(
            jobs=self.jobs,
            books=self.books,
            holds=self.holds,
            versions=self.versions,
            abilities=load_abilities(),
            clock=self.clock,
            ids=self.ids,
            random_source=self.random,
            blobs=self.blobs,
            failpoints=self.failpoints,
            deadline_seconds=settings.deadline_seconds,
            on_created=self._created,
        )
        read = ReadJobs(
            self.jobs,
            self.blobs,
            self.notices,
            self.clock,
            poll_seconds=settings.idle_poll_seconds,
            max_wait_seconds=settings.max_wait_seconds,
        )
        return MediaService(create, read)

    def _loops(self, settings: MediaJobsSettings, run_job: RunJob) -> None:
        self.worker = Worker(
            owner=self.owner,
            queue=self.queue,
            run=run_job,
            bell=self.work_bell,
            clock=self.clock,
            max_running=settings.max_running,
            lease_seconds=settings.lease_seconds,
            idle_poll_seconds=settings.idle_poll_seconds,
        )
        self.keep_holds = KeepHolds(self.queue, self.holds, self.metrics)
        self.publish = PublishOutbox(
            outbox=self.outbox,
            event_log=ProducerEventLog(self.producer),
            bell=self.outbox_bell,
            clock=self.clock,
            tracing=self.tracing,
            random_source=self.random,
            failpoints=self.failpoints,
            poll_seconds=settings.idle_poll_seconds,
            lease_seconds=settings.outbox_lease_seconds,
        )

    def _created(self) -> None:
        self.metrics.created.inc()
        self.work_bell.ring()

    def _apply(self, digest: str, document: bytes) -> None:
        self.versions.apply(digest, document)
        self.work_bell.ring()

    async def serve(self) -> None:
        """Runs until told to stop, then drains."""
        stopping = self.lifecycle.stopping
        server = new_server(self.settings.address)
        media_pb2_grpc.add_MediaServiceServicer_to_server(self.service, server)  # type: ignore[no-untyped-call]
        with stop_on_signals(self.lifecycle, self.settings.supervisor_fd):
            self.measures.lag.start()
            await self.admin.start()
            await self.redis.start()
            configuring = asyncio.create_task(self.config.run(stopping))
            await self._migrate()
            publishing_ends = asyncio.Event()
            loops = self._start_loops(stopping, publishing_ends)
            if not stopping.is_set():
                await server.start()
                self.lifecycle.ready()
                log.info("serving", extra={"fields": {"address": self.settings.address}})
            await stopping.wait()
            self.work_bell.ring()
            await server.stop(1)
            await self.worker.drain(self.settings.drain_seconds)
            publishing_ends.set()
            self.outbox_bell.ring()
            await self._stop(configuring, *loops)

    def _start_loops(self, stopping: asyncio.Event, publishing_ends: asyncio.Event) -> list[asyncio.Task[None]]:
        settings = self.settings
        publish = forever("publishing", self.publish.step, pause_seconds=0, stopping=publishing_ends)
        renew = forever(
            "renewing leases", self.worker.renew, pause_seconds=settings.lease_seconds / 3, stopping=publishing_ends
        )
        steps = [
            publish,
            renew,
            forever("working", self.worker.step, pause_seconds=0, stopping=stopping),
            forever("renewing holds", self.keep_holds.step, pause_seconds=settings.hold_seconds / 3, stopping=stopping),
            forever(
                "renewing places",
                self.keep_holds.keep_places,
                pause_seconds=settings.slot_ttl_seconds / 3,
                stopping=stopping,
            ),
            forever("counting", self._count, pause_seconds=_GAUGE_SECONDS, stopping=stopping),
        ]
        return [asyncio.create_task(step) for step in steps]

    async def _stop(self, *tasks: asyncio.Task[None]) -> None:
        await asyncio.wait(tasks, timeout=5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.clients.close()
        await self.producer.close()
        await self.redis.close()
        self.tracing.shutdown()
        self.database.close()
        self.measures.lag.stop()
        self.lifecycle.stopped()
        await self.admin.stop()

    async def _migrate(self) -> None:
        """Makes the schema; waits for a database that is away."""
        while not self._schema_ready and not self.lifecycle.stopping.is_set():
            try:
                await self.database.migrate()
                self._schema_ready = True
            except StoreUnavailable as error:
                log.warning("the database is away", extra={"fields": {"error": str(error)}})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.lifecycle.stopping.wait(), 1)

    async def _count(self) -> None:
        counts = await self.queue.counts()
        for state in JobState:
            if state not in TERMINAL:
                self.metrics.waiting.labels(state.name.lower()).set(counts.get(int(state), 0))
        self.metrics.outbox.set(await self.outbox.depth())


async def run(settings: MediaJobsSettings) -> None:
    """Builds the process and serves until told to stop."""
    await MediaJobs(settings, os.environ).serve()
