"""The loops of a worker: take jobs and run them, keep leases and holds alive, publish the outbox."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

from tollgate.events.v1 import usage_pb2 as events
from tollgate_kit.clock import Clock
from tollgate_kit.tracing import Tracing, record_publish
from tollgate_media_jobs.domain.job import Job
from tollgate_media_jobs.domain.states import JobState
from tollgate_media_jobs.errors import HoldsUnavailable, Unavailable
from tollgate_media_jobs.ports import EventLog, Failpoints, Holds, HoldState, Jobs, Outbox, Parcel, Queue
from tollgate_media_jobs.telemetry import SPAN_PUBLISH, Metrics
from tollgate_media_jobs.use_cases.ingest_job import IngestJob
from tollgate_media_jobs.use_cases.notices import Bell
from tollgate_media_jobs.use_cases.submit_job import SubmitJob

log = logging.getLogger(__name__)

_OUTBOX_BATCH = 100
_BROKEN_PAUSE_US = 5_000_000
_REPLAY = events.UsageRecorded(replay=True).SerializeToString()


class RunJob:
    """Does the next thing for a job, whatever state it is in."""

    def __init__(self, jobs: Jobs, submit: SubmitJob, ingest: IngestJob) -> None:
        self._jobs = jobs
        self._submit = submit
        self._ingest = ingest

    async def __call__(self, job: Job) -> None:
        """Takes a leased job as far as it goes now."""
        if job.state is JobState.QUEUED:
            ingesting = await self._submit.submit(job)
            if ingesting is not None:
                await self._ingest(ingesting)
        elif job.state is JobState.SUBMITTING:
            await self._submit.abandon(job)
        elif job.state is JobState.SUBMIT_UNKNOWN:
            await self._submit.resolve(job, await self._jobs.attempt(job.id, job.attempt))
        elif job.state is JobState.INGESTING:
            await self._ingest(job)


class Worker:
    """Runs up to `max_running` jobs at a time; wakes by the bell, and by a slow look for what others left."""

    def __init__(
        self,
        *,
        owner: str,
        queue: Queue,
        run: RunJob,
        bell: Bell,
        clock: Clock,
        max_running: int,
        lease_seconds: float,
        idle_poll_seconds: float,
    ) -> None:
        self._owner = owner
        self._queue = queue
        self._run = run
        self._bell = bell
        self._clock = clock
        self._max_running = max_running
        self._lease_us = round(lease_seconds * 1e6)
        self._idle_poll_seconds = idle_poll_seconds
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    async def step(self) -> None:
        """Takes what is due, then waits for the bell."""
        free = self._max_running - len(self._running)
        now = self._clock.now_us()
        if free > 0:
            claimed = await self._queue.claim(self._owner, free, now, now + self._lease_us)
            for job in claimed:
                if job.id in self._running:
                    # Its lease ran out while this process stood still or its database was away; now it has one again.
                    continue
                task = asyncio.create_task(self._run(job))
                self._running[job.id] = task
                task.add_done_callback(self._finished(job))
            if len(claimed) == free:
                return
        await self._bell.wait(self._idle_poll_seconds)

    async def renew(self) -> None:
        """Keeps the leases of what runs."""
        await self._queue.renew(self._owner, list(self._running), self._clock.now_us() + self._lease_us)

    async def drain(self, seconds: float) -> None:
        """Waits for what runs, then drops it: a call that is cut off here is found by its lease and never repeated."""
        tasks = list(self._running.values())
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=seconds)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _finished(self, job: Job) -> Callable[[asyncio.Task[None]], None]:
        def done(task: asyncio.Task[None]) -> None:
            self._running.pop(job.id, None)
            self._bell.ring()
            error = None if task.cancelled() else task.exception()
            if error is not None:
                known = isinstance(error, Unavailable)
                fields = {"job": job.id, "error": str(error)}
                log.error("a job broke off", exc_info=None if known else error, extra={"fields": fields})
                if not known:
                    pause = asyncio.create_task(self._pause(job))
                    self._running[job.id] = pause
                    pause.add_done_callback(lambda _: self._running.pop(job.id, None))

        return done

    async def _pause(self, job: Job) -> None:
        due = self._clock.now_us() + _BROKEN_PAUSE_US
        try:
            await self._queue.let_go(self._owner, job.id, due, ingest_failed=True)
        except Unavailable as error:
            log.warning("a lease stays until it ends", extra={"fields": {"job": job.id, "error": str(error)}})


class KeepHolds:
    def __init__(self, queue: Queue, holds: Holds, metrics: Metrics) -> None:
        self._queue = queue
        self._holds = holds
        self._metrics = metrics

    async def step(self) -> None:
        """Renews the hold of every open job."""
        await self._renew(await self._queue.waiting())

    async def keep_places(self) -> None:
        """Renews those of jobs with a limit of concurrency, whose places expire sooner than money."""
        jobs = await self._queue.waiting()
        await self._renew([job for job in jobs if any(scope.slots for scope in job.tenant.limits)])

    async def _renew(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                state = await self._holds.renew(job)
            except HoldsUnavailable as error:
                log.warning("holds cannot be renewed", extra={"fields": {"error": str(error)}})
                return
            if state is not HoldState.HELD:
                self._metrics.holds_gone.inc()
                log.error("the hold of an open job is gone", extra={"fields": {"job": job.id}})


class PublishOutbox:
    """Sends what transitions wrote, at least once; whatever is taken again says so."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        event_log: EventLog,
        bell: Bell,
        clock: Clock,
        tracing: Tracing,
        random_source: Random,
        failpoints: Failpoints,
        poll_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._lease_us = round(lease_seconds * 1e6)
        self._outbox = outbox
        self._event_log = event_log
        self._bell = bell
        self._clock = clock
        self._tracing = tracing
        self._random = random_source
        self._failpoints = failpoints
        self._poll_seconds = poll_seconds

    async def step(self) -> None:
        """Sends one batch, then waits for the bell when there was none."""
        if not await self.send():
            await self._bell.wait(self._poll_seconds)

    async def send(self) -> int:
        """Sends one batch; returns its size."""
        now = self._clock.now_us()
        parcels = await self._outbox.take(_OUTBOX_BATCH, now, now + self._lease_us)
        if not parcels:
            return 0
        self._failpoints.reach("after_take")
        await self._event_log.send([(parcel.message, _payload(parcel)) for parcel in parcels])
        self._failpoints.reach("after_send")
        await self._outbox.remove([parcel.id for parcel in parcels])
        done = self._clock.now_us()
        for parcel in parcels:
            message = parcel.message
            way = (message.traceparent, now, done, message.topic)
            record_publish(self._tracing, self._random, SPAN_PUBLISH, *way)
        return len(parcels)


def _payload(parcel: Parcel) -> bytes:
    # Protobuf messages concatenate: the flag is set by appending a message that holds only it.
    return parcel.message.payload + _REPLAY if parcel.tries else parcel.message.payload
